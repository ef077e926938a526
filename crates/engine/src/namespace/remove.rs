//! Removing names, directories and whole trees.

use std::sync::Arc;

use super::apart::has_identities;
use super::change::{Change, Looked, Outcome, orphan_key};
use super::descend::{attributes, visible_ino};
use super::{Interrupt, ORPHANS, Trail, Where};
use crate::kinds::EntryKey;
use crate::record::{RealmRoot, Scope, SideKey, Totals};
use crate::simulation::mutant::{self, Mutant};
use crate::tree;
use crate::{Error, ErrorKind, Ino, Kind};

impl Change<'_> {
    pub(super) fn unlink(&mut self, parent: Ino, name: &[u8]) -> Result<Outcome, Interrupt> {
        let trail = self.directory_trail(parent)?;
        let key = self.hasher.key(name);
        let looked = self.look(&trail, &key)?.ok_or(ErrorKind::NotFound)?;
        if looked.inode.kind == Kind::Directory {
            return Err(ErrorKind::IsDirectory.into());
        }
        self.remove_name(&trail, &key, looked)?;
        Ok(Outcome::Done)
    }

    pub(super) fn remove_directory(&mut self, parent: Ino, name: &[u8]) -> Result<Outcome, Interrupt> {
        let trail = self.directory_trail(parent)?;
        let key = self.hasher.key(name);
        let looked = self.look(&trail, &key)?.ok_or(ErrorKind::NotFound)?;
        let directory = looked.inode.directory().ok_or(ErrorKind::NotDirectory)?;
        let is_snapshot = directory.realm.as_ref().is_some_and(|realm| realm.read_only);
        if !directory.is_empty() && !is_snapshot {
            return Err(ErrorKind::NotEmpty.into());
        }
        self.remove_name(&trail, &key, looked)?;
        Ok(Outcome::Done)
    }

    pub(super) fn remove_tree(
        &mut self,
        parent: Ino,
        name: &[u8],
        links: &[(SideKey, u32)],
    ) -> Result<Outcome, Interrupt> {
        let trail = self.directory_trail(parent)?;
        let key = self.hasher.key(name);
        let looked = self.look(&trail, &key)?.ok_or(ErrorKind::NotFound)?;
        self.remove_tree_at(&trail, &key, looked, links)?;
        Ok(Outcome::Done)
    }

    /// Removes a name and what it leads to, unless that has further names or is held open.
    pub(super) fn remove_name(
        &mut self,
        trail: &Trail,
        key: &EntryKey,
        looked: Looked,
    ) -> Result<(), Interrupt> {
        self.pull_entry(trail, key)?;
        match looked.linked.clone() {
            None => self.remove_whole(trail, key, looked),
            Some((root, side_key)) => self.remove_link(trail, key, &root, side_key),
        }
    }

    fn remove_whole(&mut self, trail: &Trail, key: &EntryKey, looked: Looked) -> Result<(), Interrupt> {
        let Looked { mut inode, place, .. } = looked;
        let ino = visible_ino(&inode, place);
        let is_directory = inode.kind == Kind::Directory;
        let held = if is_directory {
            // Plain removal of an empty directory needs no content to live on; its attributes are kept.
            inode.directory().is_some_and(|d| !d.is_empty())
                && (self.replay || self.locations.any_held_within(ino))
        } else {
            self.is_held(ino)
        };
        let used = inode.used_realm(place.outer);
        self.prepare_uses(used)?;
        let is_apart = !held && has_identities(&inode, self.nodes)?;
        if !held && !is_apart {
            self.take_entry(trail, key)?;
            self.count_uses(None, used)?;
            inode.nlink = 0;
            inode.ctime = self.time;
            self.locations.removed(ino, attributes(&inode, place));
            return Ok(());
        }
        let mut has_copies = false;
        if held && is_directory && !inode.is_realm_root() {
            // Below the orphans it has to bring its realm's side tree along.
            let root = self.realm_root_trail(trail)?;
            let side =
                self.view().inode(&root)?.0.directory().and_then(|d| d.realm.clone()).and_then(|r| r.side);
            has_copies = tree::total_weight(&side, self.nodes)? > 0;
            let directory = inode.directory_mut().expect("it is a directory");
            directory.realm = Some(Box::new(RealmRoot { side, read_only: false, scope: Scope::Removed }));
        }
        let orphans = Trail { orphan: true, ..Trail::default() };
        let orphan = orphan_key(ino);
        self.pull_entry(&orphans, &orphan)?;
        self.take_entry(trail, key)?;
        self.count_uses(None, used)?;
        inode.nlink = 0;
        inode.ctime = self.time;
        let after = self.adopt_orphan(inode, place)?;
        self.locations.removed(ino, after);
        if is_apart {
            // Nobody can reach it: it is gone, but for the background.
            self.ending.apart.push(ino);
            return Ok(());
        }
        if has_copies {
            self.ending.copies.push(ino);
        }
        self.locations.moved(ino, ORPHANS, Where::Name(orphan));
        if is_directory && let Some(location) = self.locations.get_mut(ino) {
            location.realm_root = true;
        }
        Ok(())
    }

    /// Removes one of several names.
    fn remove_link(
        &mut self,
        trail: &Trail,
        key: &EntryKey,
        root: &Trail,
        side_key: SideKey,
    ) -> Result<(), Interrupt> {
        self.prepare_drop(root, side_key)?;
        self.take_entry(trail, key)?;
        if mutant::is_on(Mutant::ForgetLink) {
            return Ok(());
        }
        self.drop_links(root, side_key, 1)
    }

    /// Brings what [`Change::drop_links`] needs into memory.
    pub(super) fn prepare_drop(&mut self, root: &Trail, side_key: SideKey) -> Result<(), Interrupt> {
        let nodes = self.nodes;
        self.change_at(root, &mut |inode, _| {
            let realm = inode.directory_mut().and_then(|d| d.realm.as_mut()).ok_or(ErrorKind::Stale)?;
            tree::pull(&mut realm.side, &side_key, nodes)?;
            Ok(Totals::default())
        })?;
        let (orphan, used) = {
            let (holder, at) = self.view().inode(root)?;
            let (inode, place) = self.view().side(&holder, at, side_key)?;
            (orphan_key(visible_ino(&inode, place)), inode.used_realm(place.outer))
        };
        self.prepare_uses(used)?;
        self.pull_entry(&Trail { orphan: true, ..Trail::default() }, &orphan)?;
        Ok(())
    }

    /// Counts names of a file down, of which it has several or had; what has none any more goes.
    pub(super) fn drop_links(
        &mut self,
        root: &Trail,
        side_key: SideKey,
        count: u32,
    ) -> Result<(), Interrupt> {
        let (nodes, time) = (self.nodes, self.time);
        let (mut inode, place, is_copy) = {
            let (holder, at) = self.view().inode(root)?;
            let realm = holder.directory().and_then(|directory| directory.realm.as_ref());
            let is_copy = realm.is_some_and(|realm| realm.scope == Scope::Removed);
            let (inode, place) = self.view().side(&holder, at, side_key)?;
            ((*inode).clone(), place, is_copy)
        };
        let ino = visible_ino(&inode, place);
        let last = inode.nlink <= count;
        // All names that it had elsewhere went before, and it lives on as an orphan: this was a copy of it.
        let is_orphan =
            is_copy && self.look(&Trail { orphan: true, ..Trail::default() }, &orphan_key(ino))?.is_some();
        self.change_at(root, &mut |root, _| {
            let realm = root.directory_mut().and_then(|d| d.realm.as_mut()).ok_or(ErrorKind::Stale)?;
            if last {
                tree::remove(&mut realm.side, &side_key, nodes)?;
            } else {
                tree::update::<_, _, Interrupt>(&mut realm.side, &side_key, nodes, |inode| {
                    let inode = Arc::make_mut(inode);
                    inode.nlink -= count;
                    inode.ctime = time;
                    Ok(())
                })?;
            }
            Ok(Totals::default())
        })?;
        if last && !is_orphan {
            if !is_copy {
                self.count_uses(None, inode.used_realm(place.outer))?;
            }
            inode.nlink = 0;
            inode.ctime = time;
            let after = attributes(&inode, place);
            let held = self.is_held(ino);
            if held {
                self.adopt_orphan(inode, place)?;
            }
            self.locations.removed(ino, after);
            if held {
                self.locations.moved(ino, ORPHANS, Where::Name(orphan_key(ino)));
            }
        }
        Ok(())
    }

    /// Removes a name with everything below it. `links` are the names below it of files that have several.
    pub(super) fn remove_tree_at(
        &mut self,
        trail: &Trail,
        key: &EntryKey,
        looked: Looked,
        links: &[(SideKey, u32)],
    ) -> Result<(), Interrupt> {
        let root = self.realm_root_trail(trail)?;
        for (side_key, _) in links {
            self.prepare_drop(&root, *side_key)?;
        }
        self.remove_name(trail, key, looked)?;
        for (side_key, count) in links {
            self.drop_links(&root, *side_key, *count)?;
        }
        Ok(())
    }

    /// Refuses a change below a place that has been removed.
    pub(super) fn refuse_removed(trail: &Trail) -> Result<(), Interrupt> {
        if trail.orphan {
            return Err(Error::new(ErrorKind::NotFound, "the directory has been removed").into());
        }
        Ok(())
    }
}
