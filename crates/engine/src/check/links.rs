//! Do files with several names have as many as they say?
//!
//! Where the whole of a realm is below its root, every name is found. A clone of a part of a realm counts names outside of
//! that part too: there at least those that are found must be counted. Removed trees are taken apart and not looked at.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Marker, Way};
use crate::address::Address;
use crate::kinds::{DirectoryTree, SideTree};
use crate::record::{Directory, Entry, Scope, SideKey};
use crate::tree::{Body, Link};
use crate::{ErrorKind, Result};

/// Pairs of directory and side trees that were compared.
pub(super) type Compared = FxHashSet<(Option<Address>, Option<Address>)>;

impl Marker<'_> {
    /// Compares the side tree of a realm's root with the names below it.
    pub(super) async fn compare_links(&mut self, directory: &Directory, way: &Way) -> Result<()> {
        let Some(root) = &directory.realm else { return Ok(()) };
        let entries = directory.entries.as_ref().and_then(Link::address);
        let side = root.side.as_ref().and_then(Link::address);
        let nothing = directory.totals.links == 0 && (side.is_none() || root.scope != Scope::Whole);
        if nothing
            || root.scope == Scope::Removed
            || way.is_removed()
            || !self.compared.insert((entries, side))
        {
            return Ok(());
        }
        match self.names_and_counts(directory, entries, side, root.scope, way).await {
            // The damaged node is found when it is marked.
            Err(error) if error.kind() == ErrorKind::Corrupt => Ok(()),
            other => other,
        }
    }

    async fn names_and_counts(
        &mut self,
        directory: &Directory,
        entries: Option<Address>,
        side: Option<Address>,
        scope: Scope,
        way: &Way,
    ) -> Result<()> {
        let mut names: FxHashMap<SideKey, u32> = FxHashMap::default();
        let mut stack: Vec<Address> = entries.into_iter().filter(|_| directory.totals.links > 0).collect();
        let mut seen: FxHashSet<Address> = FxHashSet::default();
        while let Some(address) = stack.pop() {
            // Within one realm nothing is in two places; what is would be counted without end where it is so again below.
            if !seen.insert(address) {
                self.find(Some(way), format!("node {address:?} is in two places of one clone"));
                continue;
            }
            match &self.inner.node::<DirectoryTree>(&Link::Stored(address)).await?.body {
                Body::Branch(children) => {
                    stack.extend(children.iter().filter_map(|child| child.link.address()));
                }
                Body::Leaf(entries) => {
                    for (_, entry) in entries {
                        match entry {
                            Entry::Linked(key) => *names.entry(**key).or_default() += 1,
                            Entry::Inode(inode) => stack.extend(
                                inode
                                    .directory()
                                    .filter(|below| below.totals.links > 0 && below.realm.is_none())
                                    .and_then(|below| below.entries.as_ref())
                                    .and_then(Link::address),
                            ),
                        }
                    }
                }
            }
        }
        let mut stack: Vec<Address> = side.into_iter().collect();
        while let Some(address) = stack.pop() {
            match &self.inner.node::<SideTree>(&Link::Stored(address)).await?.body {
                Body::Branch(children) => {
                    stack.extend(children.iter().filter_map(|child| child.link.address()));
                }
                Body::Leaf(inodes) => {
                    for (key, inode) in inodes {
                        let found = names.remove(key).unwrap_or(0);
                        let is_right = match scope {
                            Scope::Whole => inode.nlink == found,
                            Scope::Part | Scope::Removed => inode.nlink >= found.max(1),
                        };
                        if !is_right {
                            let message = format!(
                                "file {} says {} names and has {found} in this clone",
                                key.number, inode.nlink
                            );
                            self.find(Some(way), message);
                        }
                    }
                }
            }
        }
        for (key, count) in names {
            self.find(Some(way), format!("{count} names lead to file {}, which is not there", key.number));
        }
        Ok(())
    }
}
