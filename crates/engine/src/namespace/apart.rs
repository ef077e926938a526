//! Taking removed trees apart, as far as realms need it.
//!
//! A removal is one step, whatever lies below. But clones below end with it, and files that moved in from another clone no
//! longer use their realm. So a removed directory with any of those goes to the orphans, held open or not. The background
//! takes out of it what carries an identity, a few entries at a time, guided by the weights of the trees. Directories
//! on the way, and nested clones with more below, become orphans of their own. What remains needs no look and is dropped
//! as a whole. Each step is an operation, so that it is done once, whatever happens in between.

use std::ops::ControlFlow;

use super::change::{Change, Looked, Outcome, orphan_key};
use super::descend::visible_ino;
use super::{Interrupt, Place, State, Trail};
use crate::kinds::EntryKey;
use crate::record::{Entry, Inode, Realm, Scope, SideKey, Sums, Totals};
use crate::tree::{self, Missing, Nodes};
use crate::{ErrorKind, Ino, Timestamp};

/// Whether a removed inode has to be taken apart.
pub(super) fn has_identities(inode: &Inode, nodes: &dyn Nodes) -> Result<bool, Missing> {
    let Some(directory) = inode.directory() else { return Ok(false) };
    if directory.totals.identities() > 0 {
        return Ok(true);
    }
    match &directory.realm {
        // A copy has no uses of its own.
        Some(realm) if realm.scope != Scope::Removed => Ok(tree::total_weight(&realm.side, nodes)? > 0),
        _ => Ok(false),
    }
}

impl State {
    /// Drops all orphans but those that have to be taken apart; returns their numbers.
    pub(crate) fn drop_orphans(&mut self, time: Timestamp, nodes: &dyn Nodes) -> Result<Vec<Ino>, Missing> {
        let mut kept = Vec::new();
        let Some(directory) = self.orphans.directory() else { return Ok(Vec::new()) };
        let first = EntryKey { hash: 0, name: Default::default() };
        let missing = tree::scan(&directory.entries, &first, nodes, &mut |key, entry| {
            let Entry::Inode(inode) = entry else { return ControlFlow::Continue(()) };
            match has_identities(inode, nodes) {
                Ok(true) => kept.push((key.clone(), inode.clone())),
                Ok(false) => {}
                Err(missing) => return ControlFlow::Break(missing),
            }
            ControlFlow::Continue(())
        })?;
        if let Some(missing) = missing {
            return Err(missing);
        }
        let mut orphans = State::new(time).orphans;
        let directory = orphans.directory_mut().expect("the orphans lie in a directory");
        let mut inos = Vec::with_capacity(kept.len());
        for (key, inode) in kept {
            let realm = inode.identity.as_ref().map_or(Realm::ROOT, |identity| identity.realm);
            inos.push(Ino::new(realm.id, inode.number));
            let entry = Entry::Inode(inode);
            directory.add(entry.sums());
            tree::insert(&mut directory.entries, key, entry, nodes)?;
        }
        self.orphans = orphans;
        Ok(inos)
    }
}

/// An entry that is taken out.
struct Taken {
    key: EntryKey,
    sums: Sums,
    used: Option<Realm>,
    /// What becomes an orphan of its own.
    orphan: Option<(Inode, Place)>,
}

impl Change<'_> {
    /// Takes out of an orphan what carries an identity. Answers whether it is gone now (1) or more is left (0). With no
    /// `entries` it goes unread, as it cannot be read: the realms that are used below are never free again.
    pub(super) fn take_apart(&mut self, ino: Ino, entries: u32) -> Result<Outcome, Interrupt> {
        let orphans = Trail { orphan: true, ..Trail::default() };
        let key = orphan_key(ino);
        let Looked { inode, place, .. } = self.look(&orphans, &key)?.ok_or(ErrorKind::Stale)?;
        if entries == 0 {
            drop(inode);
            self.take_entry(&orphans, &key)?;
            return Ok(Outcome::Amount(1));
        }
        let limit = entries as usize;
        let taken = self.entries_to_take(&inode, place, limit)?;
        let side = self.side_to_take(&inode, place, limit - taken.len())?;
        drop(inode);
        let is_last = taken.len() + side.len() < limit;

        // Everything that is changed has to be in memory first.
        self.pull_entry(&orphans, &key)?;
        for entry in &taken {
            self.prepare_uses(entry.used)?;
            if let Some((inode, place)) = &entry.orphan {
                self.pull_entry(&orphans, &orphan_key(visible_ino(inode, *place)))?;
            }
        }
        for (_, used) in &side {
            self.prepare_uses(*used)?;
        }
        let (nodes, trail) =
            (self.nodes, Trail { keys: [key.clone()].into_iter().collect(), ..orphans.clone() });
        self.change_at(&trail, &mut |inode, _| {
            let directory = inode.directory_mut().ok_or(ErrorKind::NotDirectory)?;
            for entry in &taken {
                tree::pull(&mut directory.entries, &entry.key, nodes)?;
            }
            for (key, _) in &side {
                let realm = directory.realm.as_mut().ok_or(ErrorKind::Stale)?;
                tree::pull(&mut realm.side, key, nodes)?;
            }
            Ok(Totals::default())
        })?;

        self.change_at(&trail, &mut |inode, _| {
            let directory = inode.directory_mut().ok_or(ErrorKind::NotDirectory)?;
            let mut delta = Sums::default();
            for entry in &taken {
                tree::remove(&mut directory.entries, &entry.key, nodes)?;
                delta = delta.plus(entry.sums.negated());
            }
            for (key, _) in &side {
                let realm = directory.realm.as_mut().ok_or(ErrorKind::Stale)?;
                tree::remove(&mut realm.side, key, nodes)?;
            }
            directory.add(delta);
            Ok(delta.totals)
        })?;
        for (_, used) in side {
            self.count_uses(None, used)?;
        }
        for Taken { used, orphan, .. } in taken {
            self.count_uses(None, used)?;
            if let Some((inode, place)) = orphan {
                let ino = visible_ino(&inode, place);
                self.adopt_orphan(inode, place)?;
                self.ending.apart.push(ino);
            }
        }
        if is_last {
            self.take_entry(&orphans, &key)?;
        }
        Ok(Outcome::Amount(u64::from(is_last)))
    }

    /// The first entries of a directory that carry identities or lead to some.
    fn entries_to_take(&self, inode: &Inode, place: Place, limit: usize) -> Result<Vec<Taken>, Interrupt> {
        let mut found: Vec<(EntryKey, Inode)> = Vec::new();
        let directory = inode.directory().ok_or(ErrorKind::NotDirectory)?;
        tree::scan_weighty(&directory.entries, self.nodes, &mut |key, entry| {
            if found.len() >= limit {
                return ControlFlow::Break(());
            }
            if let Entry::Inode(inode) = entry {
                found.push((key.clone(), (**inode).clone()));
            }
            ControlFlow::Continue(())
        })?;
        let mut taken = Vec::with_capacity(found.len());
        for (key, inode) in found {
            let used = inode.used_realm(place.realm);
            let sums = inode.sums();
            let orphan = if has_identities(&inode, self.nodes)? {
                match place.below(&inode, &self.state.aliases, self.nodes) {
                    Ok(below) => Some((inode, below)),
                    // A nested clone that was never seen here: nothing was made in it.
                    Err(Interrupt::Alias(_)) => None,
                    Err(other) => return Err(other),
                }
            } else {
                None
            };
            taken.push(Taken { key, sums, used, orphan });
        }
        Ok(taken)
    }

    /// The first inodes with identities in the side tree of a realm's root, and the realms that they use.
    fn side_to_take(
        &self,
        inode: &Inode,
        place: Place,
        limit: usize,
    ) -> Result<Vec<(SideKey, Option<Realm>)>, Interrupt> {
        let mut found = Vec::new();
        let Some(realm) = inode.directory().and_then(|directory| directory.realm.as_ref()) else {
            return Ok(found);
        };
        if realm.scope == Scope::Removed {
            return Ok(found);
        }
        tree::scan_weighty(&realm.side, self.nodes, &mut |key, inode| {
            if found.len() >= limit {
                return ControlFlow::Break(());
            }
            found.push((*key, inode.used_realm(place.realm)));
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}
