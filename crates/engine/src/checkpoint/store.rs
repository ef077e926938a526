//! Writing what a snapshot has in memory only.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::address::Address;
use crate::frame::Frame;
use crate::kinds::{AliasTree, DirectoryTree, FileTree, FrameLink, Ledger, RealmTree, SideTree, visit_inode};
use crate::namespace::State;
use crate::refcount::{EdgeCollector, Edges};
use crate::segment::{Items, SegmentWriter};
use crate::tree::{Body, Link, Root, Tree, Visitor, with_stack};

/// Collects frames that are not stored, in the order of the trees.
#[derive(Default)]
pub(super) struct FrameCollector {
    pub(super) frames: Vec<Arc<Frame>>,
    seen: FxHashSet<usize>,
}

impl FrameCollector {
    pub(super) fn state(&mut self, state: &State) {
        visit_inode(&state.root, self);
        visit_inode(&state.orphans, self);
    }

    fn tree<K: Tree>(&mut self, link: &Link<K>) {
        if let Link::Memory(node) = link
            && node.address().is_none()
            && self.seen.insert(Arc::as_ptr(node) as usize)
        {
            with_stack(|| node.visit(self));
        }
    }
}

impl Visitor for FrameCollector {
    fn directory(&mut self, link: &Link<DirectoryTree>) {
        self.tree(link);
    }
    fn file(&mut self, link: &Link<FileTree>) {
        self.tree(link);
    }
    fn side(&mut self, link: &Link<SideTree>) {
        self.tree(link);
    }
    fn frame(&mut self, link: &FrameLink) {
        if let FrameLink::Memory(frame) = link
            && frame.address().is_none()
            && self.seen.insert(Arc::as_ptr(frame) as usize)
        {
            self.frames.push(frame.clone());
        }
    }
    fn plain<K: Tree>(&mut self, _: &Link<K>) {}
}

/// Writes nodes that are not stored, children first, and counts their links.
pub(super) struct NodeStorer<'a> {
    pub(super) writer: &'a mut SegmentWriter,
    pub(super) edges: &'a mut Edges,
    pub(super) items: &'a Items,
    pub(super) interval: u64,
}

impl NodeStorer<'_> {
    pub(super) fn state(&mut self, state: &State) {
        visit_inode(&state.root, self);
        visit_inode(&state.orphans, self);
        if let Some(link) = &state.aliases {
            AliasTree::visit_link(link, self);
        }
        if let Some(link) = &state.realms {
            RealmTree::visit_link(link, self);
        }
    }

    /// Writes the ledger; returns the addresses of its new nodes. They have no counts.
    pub(super) fn ledger(&mut self, root: &Root<Ledger>) -> Vec<Address> {
        let mut written = Vec::new();
        if let Some(link) = root {
            self.ledger_nodes(link, &mut written);
        }
        written
    }

    fn ledger_nodes(&mut self, link: &Link<Ledger>, written: &mut Vec<Address>) {
        let Link::Memory(node) = link else { return };
        if node.address().is_some() {
            return;
        }
        if let Body::Branch(children) = &node.body {
            children.iter().for_each(|child| self.ledger_nodes(&child.link, written));
        }
        written.push(self.write(node));
    }

    fn tree<K: Tree>(&mut self, link: &Link<K>) {
        let Link::Memory(node) = link else { return };
        if node.address().is_some() {
            return;
        }
        with_stack(|| node.visit(self));
        let address = self.write(node);
        self.items.born(address, K::KIND, self.interval);
        let mut links = EdgeCollector::default();
        node.visit(&mut links);
        for (address, _) in links.edges {
            *self.edges.entry(address).or_default() += 1;
        }
    }

    fn write<K: Tree>(&mut self, node: &Arc<crate::tree::Node<K>>) -> Address {
        let address = self.writer.append(K::KIND, &node.encode());
        self.items.keep_node(address, K::wrap(Arc::new(node.settled(address))));
        node.set_address(address);
        address
    }
}

impl Visitor for NodeStorer<'_> {
    fn frame(&mut self, _: &FrameLink) {}
    fn plain<K: Tree>(&mut self, link: &Link<K>) {
        self.tree(link);
    }
}

/// The addresses that the new nodes of a ledger lead to, and their own.
pub(super) fn stored_below(link: &Link<Ledger>, into: &mut FxHashSet<Address>) {
    into.extend(link.address());
    if let Link::Memory(node) = link
        && let Body::Branch(children) = &node.body
    {
        children.iter().for_each(|child| stored_below(&child.link, into));
    }
}
