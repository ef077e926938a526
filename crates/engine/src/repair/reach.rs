//! What a state leads to, with the number of links to each item.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::address::{Address, ItemKind, SegmentId};
use crate::kinds::{AliasTree, FrameLink, RealmTree, visit_inode};
use crate::namespace::State;
use crate::pool::Inner;
use crate::tree::{Link, Tree, Visitor, with_stack};
use crate::{ErrorKind, Result};

/// Stored items and the links to them.
#[derive(Default)]
pub(crate) struct Reach {
    pub(crate) counts: FxHashMap<Address, (ItemKind, u32)>,
    work: Vec<(Address, ItemKind)>,
    /// Nodes that are only in memory, by where they are.
    seen: FxHashSet<usize>,
    /// Segments that there are, to whom frames in others matter only. Frames are many.
    segments: Option<FxHashSet<SegmentId>>,
}

impl Reach {
    /// Marks everything that a state leads to. What cannot be read leads nowhere.
    pub(crate) async fn of(inner: &Inner, state: &State) -> Result<Self> {
        Self::without(inner, state, |_| false).await
    }

    /// What a state leads to and no segment has. Takes memory for nodes only.
    pub(crate) async fn absent(inner: &Inner, state: &State) -> Result<Vec<(Address, ItemKind)>> {
        let segments: FxHashSet<SegmentId> = inner.items.table().keys().copied().collect();
        let mut reach = Self { segments: Some(segments), ..Self::default() };
        reach.state(inner, state, |_| false).await?;
        let segments = reach.segments.unwrap_or_default();
        let absent = reach.counts.iter().filter(|(address, _)| !segments.contains(&address.segment()));
        Ok(absent.map(|(address, (kind, _))| (*address, *kind)).collect())
    }

    /// As [`Reach::of`], but what is `bad` leads nowhere, also if it is still in memory.
    pub(super) async fn without(inner: &Inner, state: &State, bad: impl Fn(Address) -> bool) -> Result<Self> {
        let mut reach = Self::default();
        reach.state(inner, state, bad).await?;
        Ok(reach)
    }

    async fn state(&mut self, inner: &Inner, state: &State, bad: impl Fn(Address) -> bool) -> Result<()> {
        visit_inode(&state.root, self);
        visit_inode(&state.orphans, self);
        state.aliases.iter().for_each(|link| AliasTree::visit_link(link, self));
        state.realms.iter().for_each(|link| RealmTree::visit_link(link, self));
        self.follow(inner, bad).await
    }

    async fn follow(&mut self, inner: &Inner, bad: impl Fn(Address) -> bool) -> Result<()> {
        while let Some((address, kind)) = self.work.pop() {
            if bad(address) {
                continue;
            }
            match inner.items.node(crate::tree::Missing { address, kind }).await {
                Ok(node) => node.visit(self),
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn stored(&mut self, address: Address, kind: ItemKind) {
        if kind == ItemKind::Frame
            && let Some(segments) = &self.segments
            && segments.contains(&address.segment())
        {
            return;
        }
        let known = self.counts.entry(address).or_insert((kind, 0));
        known.1 += 1;
        if known.1 == 1 && kind != ItemKind::Frame {
            self.work.push((address, kind));
        }
    }

    fn tree<K: Tree>(&mut self, link: &Link<K>) {
        match (link.address(), link) {
            (Some(address), _) => self.stored(address, K::KIND),
            (None, Link::Memory(node)) => {
                if self.seen.insert(Arc::as_ptr(node) as usize) {
                    with_stack(|| node.visit(self));
                }
            }
            (None, Link::Stored(_)) => unreachable!("stored links have addresses"),
        }
    }
}

impl Visitor for Reach {
    fn frame(&mut self, link: &FrameLink) {
        if let Some(address) = link.address().filter(|address| !address.is_lost()) {
            self.stored(address, ItemKind::Frame);
        }
    }
    fn plain<K: Tree>(&mut self, link: &Link<K>) {
        self.tree(link);
    }
}
