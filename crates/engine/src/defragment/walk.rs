//! All files of a pool that have extents and are not shared, one after the other.

use std::collections::VecDeque;

use super::has_extents;
use crate::kinds::{DirectoryTree, SideTree};
use crate::namespace::Trail;
use crate::pool::Inner;
use crate::record::{Content, Entry, Inode};
use crate::refcount::Counts;
use crate::segment::Pinned;
use crate::tree::{Body, Link, Tree};
use crate::{ErrorKind, Result};

/// What is still to be visited of a tree, with the trail of the directory that it is of.
enum Part {
    Entries(Trail, Link<DirectoryTree>),
    Side(Trail, Link<SideTree>),
}

/// Goes through a state where everything is stored. Stops at what something else refers to, and at read-only clones.
pub(super) struct Files {
    stack: Vec<Part>,
    found: VecDeque<(Trail, Content)>,
}

impl Files {
    pub(super) fn new(root: &Inode) -> Self {
        let mut files = Self { stack: Vec::new(), found: VecDeque::new() };
        files.inode(root, Trail::default);
        files
    }

    /// The next file. What cannot be read is passed over; `check` and `scrub` report it.
    pub(super) async fn next(&mut self, inner: &Inner, counts: &Counts) -> Result<Option<(Trail, Content)>> {
        while self.found.is_empty() {
            let Some(part) = self.stack.pop() else { break };
            let visited = match &part {
                Part::Entries(trail, link) => self.entries(inner, counts, trail, link).await,
                Part::Side(trail, link) => self.side(inner, counts, trail, link).await,
            };
            match visited {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(%error, "a directory cannot be searched for fragmented files");
                }
                other => other?,
            }
        }
        Ok(self.found.pop_front())
    }

    async fn entries(
        &mut self,
        inner: &Inner,
        counts: &Counts,
        trail: &Trail,
        link: &Link<DirectoryTree>,
    ) -> Result<()> {
        if is_shared(inner, counts, link).await? {
            return Ok(());
        }
        match &inner.node(link).await?.body {
            Body::Branch(children) => {
                let below = children.iter().map(|child| Part::Entries(trail.clone(), child.link.clone()));
                self.stack.extend(below);
            }
            Body::Leaf(entries) => {
                for (key, entry) in entries {
                    if let Entry::Inode(inode) = entry {
                        self.inode(inode, || {
                            let mut trail = trail.clone();
                            trail.keys.push(key.clone());
                            trail
                        });
                    }
                }
            }
        }
        Ok(())
    }

    async fn side(
        &mut self,
        inner: &Inner,
        counts: &Counts,
        trail: &Trail,
        link: &Link<SideTree>,
    ) -> Result<()> {
        if is_shared(inner, counts, link).await? {
            return Ok(());
        }
        match &inner.node(link).await?.body {
            Body::Branch(children) => {
                let below = children.iter().map(|child| Part::Side(trail.clone(), child.link.clone()));
                self.stack.extend(below);
            }
            Body::Leaf(entries) => {
                for (key, inode) in entries {
                    self.inode(inode, || Trail { side: Some(*key), ..trail.clone() });
                }
            }
        }
        Ok(())
    }

    fn inode(&mut self, inode: &Inode, trail: impl FnOnce() -> Trail) {
        let Some(directory) = inode.directory() else {
            if has_extents(&inode.content) && !inode.read_only {
                self.found.push_back((trail(), inode.content.clone()));
            }
            return;
        };
        if directory.realm.as_ref().is_some_and(|realm| realm.read_only) {
            return;
        }
        let trail = trail();
        if let Some(side) = directory.realm.as_ref().and_then(|realm| realm.side.clone()) {
            self.stack.push(Part::Side(trail.clone(), side));
        }
        if let Some(entries) = &directory.entries {
            self.stack.push(Part::Entries(trail, entries.clone()));
        }
    }
}

async fn is_shared<K: Tree>(inner: &Inner, counts: &Counts, link: &Link<K>) -> Result<bool> {
    match link.address() {
        Some(address) => Ok(counts.of(address, &Pinned::new(&inner.items)).await? > 1),
        None => Ok(false),
    }
}
