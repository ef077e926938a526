//! After a checkpoint: the live state lets go of nodes and frames that are now stored.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::kinds::{AliasTree, FrameLink, RealmTree, visit_inode_mut};
use crate::pool::Inner;
use crate::tree::{AnyNode, Link, Tree, VisitorMut, with_stack};

/// Replaces links to stored nodes by their addresses. Costs the nodes that were changed since the cut. What was let go of is returned, to
/// be dropped without the lock.
pub(crate) fn settle(inner: &Inner) -> Vec<AnyNode> {
    let mut core = inner.core.write();
    let mut settler = Settler { copies: FxHashMap::default(), dropped: Vec::new() };
    let state = &mut core.state;
    visit_inode_mut(&mut state.root, &mut settler);
    visit_inode_mut(&mut state.orphans, &mut settler);
    if let Some(link) = &mut state.aliases {
        AliasTree::visit_link_mut(link, &mut settler);
    }
    if let Some(link) = &mut state.realms {
        RealmTree::visit_link_mut(link, &mut settler);
    }
    drop(core);
    let mut dropped = settler.dropped;
    dropped.extend(settler.copies.into_values().map(|(old, _)| old));
    dropped
}

struct Settler {
    /// Nodes that several links lead to: the old one, kept alive so that its place is not used again, and its settled copy.
    copies: FxHashMap<usize, (AnyNode, AnyNode)>,
    dropped: Vec<AnyNode>,
}

impl VisitorMut for Settler {
    fn tree<K: Tree>(&mut self, link: &mut Link<K>) {
        let Link::Memory(node) = link else { return };
        if let Some(address) = node.address() {
            let Link::Memory(old) = std::mem::replace(link, Link::Stored(address)) else { unreachable!() };
            self.dropped.push(K::wrap(old));
            return;
        }
        if let Some(node) = Arc::get_mut(node) {
            with_stack(|| node.visit_mut(self));
            return;
        }
        let place = Arc::as_ptr(node) as usize;
        if let Some((_, copy)) = self.copies.get(&place) {
            *node = K::unwrap(copy.clone()).expect("a copy has the kind of its original");
            return;
        }
        let mut copy = node.fork();
        with_stack(|| copy.visit_mut(self));
        let copy = Arc::new(copy);
        let old = std::mem::replace(node, copy.clone());
        self.copies.insert(place, (K::wrap(old), K::wrap(copy)));
    }

    fn frame(&mut self, link: &mut FrameLink) {
        if let Some(address) = link.address() {
            *link = FrameLink::Stored(address);
        }
    }
}
