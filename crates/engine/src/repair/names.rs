//! Files with several names: names that lead nowhere go, and each file counts the names that there are.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::rebuild::Rebuilder;
use crate::Result;
use crate::address::Address;
use crate::kinds::{DirectoryTree, EntryKey, SideTree};
use crate::record::{Directory, Entry, Inode, Scope, SideKey, Sums};
use crate::tree::{self, Body, Link, Missing, Root, Tree};

/// The trees of a realm's root: which of its names lead where does not depend on anything else.
pub(super) type RealmTrees = (Option<Address>, Option<Address>, bool);

/// What they became.
#[derive(Clone)]
pub(super) struct Reconciled {
    entries: Root<DirectoryTree>,
    sums: Sums,
    side: Root<SideTree>,
    is_changed: bool,
}

impl Rebuilder<'_> {
    /// Makes names and side tree of the root of a realm fit each other. `before` is the directory as it is stored, `now` what was
    /// left of it. Answers whether anything had to be changed.
    pub(super) async fn reconcile_names(&mut self, before: &Directory, now: &mut Directory) -> Result<bool> {
        let Some(realm) = &before.realm else { return Ok(false) };
        let has_side = realm.side.is_some();
        let is_whole = realm.scope == Scope::Whole;
        if realm.scope == Scope::Removed || (now.totals.links == 0 && !(has_side && is_whole)) {
            return Ok(false);
        }
        let key: RealmTrees = (
            before.entries.as_ref().and_then(Link::address),
            realm.side.as_ref().and_then(Link::address),
            is_whole,
        );
        let known = self.realms.get(&key).cloned();
        let reconciled = match known {
            Some(known) => known,
            None => {
                let made = self.reconcile(now, is_whole).await?;
                self.realms.insert(key, made.clone());
                made
            }
        };
        if reconciled.is_changed {
            now.entries = reconciled.entries;
            now.set_sums(reconciled.sums);
            now.realm.as_mut().expect("it is the root of a realm").side = reconciled.side;
        }
        Ok(reconciled.is_changed)
    }

    async fn reconcile(&mut self, now: &Directory, is_whole: bool) -> Result<Reconciled> {
        let mut names: FxHashMap<SideKey, u32> = FxHashMap::default();
        self.count_names(now, &mut names).await?;
        let mut side = now.realm.as_ref().and_then(|realm| realm.side.clone());
        let mut is_changed = false;
        for (key, inode) in self.entries(&side).await? {
            let found = names.remove(&key).unwrap_or(0);
            let right = if is_whole { found } else { inode.nlink.max(found).max(1) };
            if right == inode.nlink {
                continue;
            }
            is_changed = true;
            self.done.names_counted += 1;
            if right == 0 {
                self.edit(&mut side, |side, nodes| tree::remove(side, &key, nodes)).await?;
                self.unnamed.push(inode);
            } else {
                let inode = Arc::new(Inode { nlink: right, ..(*inode).clone() });
                self.edit(&mut side, |side, nodes| tree::insert(side, key, inode.clone(), nodes)).await?;
            }
        }
        // What is left leads nowhere.
        let dangling: FxHashSet<SideKey> = names.into_keys().collect();
        let mut directory = now.clone();
        if !dangling.is_empty() {
            is_changed = true;
            self.drop_names(&mut directory, &dangling).await?;
        }
        Ok(Reconciled { sums: directory.sums(), entries: directory.entries, side, is_changed })
    }

    /// Counts the names below a realm's root, or a directory of a realm.
    async fn count_names(&self, directory: &Directory, names: &mut FxHashMap<SideKey, u32>) -> Result<()> {
        let mut stack: Vec<Link<DirectoryTree>> =
            directory.entries.iter().filter(|_| directory.totals.links > 0).cloned().collect();
        while let Some(link) = stack.pop() {
            let Some(node) = self.node(&link).await? else { continue };
            match &node.body {
                Body::Branch(children) => stack.extend(children.iter().map(|child| child.link.clone())),
                Body::Leaf(entries) => {
                    for (_, entry) in entries {
                        match entry {
                            Entry::Linked(key) => *names.entry(**key).or_default() += 1,
                            Entry::Inode(inode) => {
                                stack.extend(within(inode).and_then(|d| d.entries.clone()))
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes names out of a directory of a realm and of what lies in it.
    pub(super) async fn drop_names(
        &mut self,
        directory: &mut Directory,
        gone: &FxHashSet<SideKey>,
    ) -> Result<bool> {
        let mut changes: Vec<(EntryKey, Option<Entry>)> = Vec::new();
        for (key, entry) in self.entries(&directory.entries).await? {
            match &entry {
                Entry::Linked(side) if gone.contains(&**side) => {
                    self.done.names_dropped += 1;
                    changes.push((key, None));
                }
                Entry::Linked(_) => {}
                Entry::Inode(inode) => {
                    if within(inode).is_none() {
                        continue;
                    }
                    let mut inode = (**inode).clone();
                    let below = inode.directory_mut().expect("it is a directory");
                    if Box::pin(self.drop_names(below, gone)).await? {
                        changes.push((key, Some(inode.into())));
                    }
                }
            }
        }
        if changes.is_empty() {
            return Ok(false);
        }
        for (key, entry) in changes {
            match entry {
                None => {
                    self.edit(&mut directory.entries, |entries, nodes| tree::remove(entries, &key, nodes))
                        .await?
                }
                Some(entry) => {
                    self.edit(&mut directory.entries, |entries, nodes| {
                        tree::insert(entries, key.clone(), entry.clone(), nodes)
                    })
                    .await?
                }
            };
        }
        let mut sums = Sums::default();
        self.entries(&directory.entries).await?.iter().for_each(|(_, entry)| sums = sums.plus(entry.sums()));
        directory.set_sums(sums);
        Ok(true)
    }

    /// All entries of a tree that can be read.
    pub(super) async fn entries<K: Tree>(&self, root: &Root<K>) -> Result<Vec<(K::Key, K::Value)>> {
        let mut found = Vec::new();
        let mut stack: Vec<Link<K>> = root.iter().cloned().collect();
        while let Some(link) = stack.pop() {
            let Some(node) = self.node(&link).await? else { continue };
            match &node.body {
                Body::Branch(children) => stack.extend(children.iter().rev().map(|child| child.link.clone())),
                Body::Leaf(entries) => found.extend(entries.iter().cloned()),
            }
        }
        Ok(found)
    }

    /// Changes a tree.
    pub(super) async fn edit<K: Tree, R>(
        &self,
        root: &mut Root<K>,
        change: impl Fn(&mut Root<K>, &dyn tree::Nodes) -> Result<R, Missing>,
    ) -> Result<R> {
        loop {
            match change(root, &self.nodes) {
                Ok(done) => return Ok(done),
                Err(missing) => self.nodes.fetch(missing).await?,
            }
        }
    }
}

/// The directory that an inode is, if it is one of the same realm with names of files that have several.
fn within(inode: &Inode) -> Option<&Directory> {
    inode.directory().filter(|below| below.totals.links > 0 && below.realm.is_none())
}
