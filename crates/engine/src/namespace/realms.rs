//! Realms: giving out ids, counting what uses them, and taking them back.
//!
//! A realm is *used* by every identity that was written where it counts (on the root of a clone, on a file that moved in from
//! elsewhere) and by every alias that leads to it. When the last use goes the realm has *ended*. Its id is free once nobody
//! can see it any more either: no orphan has it and no client knows a number with it. Until then it is among the
//! [`Ending`], and the background looks again.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::change::{Change, Outcome};
use super::{Interrupt, Trail};
use crate::kinds::{EntryKey, RealmTree};
use crate::record::{AliasKey, Foreign, Name, Realm, RealmKey, RealmValue, Sums, Totals};
use crate::simulation::mutant::{self, Mutant};
use crate::tree::{self, Missing, Nodes, Root};
use crate::{ErrorKind, Ino};

/// Ids that a pool has; 0 is the root's and the orphans'.
pub(crate) const REALM_IDS: u32 = 1 << 24;

/// What waits for the background. It can be found in the state; this only saves looking for it.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Removed directories, among the orphans, that have to be taken apart.
    pub(crate) apart: Vec<Ino>,
    /// Realms without a use, by `uid`, with their ids.
    pub(crate) realms: BTreeMap<u64, u32>,
    /// Removed directories that somebody holds open and whose copies of side tree have identities of their own: no use of a realm
    /// tells of those.
    pub(crate) copies: Vec<Ino>,
}

impl Ending {
    /// Realms of a state without a use.
    pub(crate) fn find(realms: &Root<RealmTree>, nodes: &dyn Nodes) -> Result<BTreeMap<u64, u32>, Missing> {
        let mut found = BTreeMap::new();
        tree::scan_weighty(realms, nodes, &mut |key, value| match (key, value) {
            (RealmKey::Uses(uid), RealmValue::Uses { id, .. }) => {
                found.insert(*uid, *id);
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(()),
        })?;
        Ok(found)
    }
}

/// Keys of the orphans whose numbers show a realm's id: from the first to before the second.
pub(crate) fn orphan_range(id: u32) -> (EntryKey, EntryKey) {
    let bound = |id: u32| EntryKey { hash: u64::from(id) << 39, name: Name::new() };
    (bound(id), bound(id + 1))
}

impl Change<'_> {
    /// The realm that the next clone or alias makes: the lowest free id, else one that was never used.
    pub(super) fn new_realm(&mut self) -> Result<Realm, Interrupt> {
        let Realm { id, uid } = self.state.next_realm;
        tree::pull(&mut self.state.realms, &RealmKey::Uses(uid), self.nodes)?;
        let id = match self.first_free()? {
            Some((last, count)) => {
                tree::pull(&mut self.state.realms, &RealmKey::Free(last), self.nodes)?;
                last + 1 - count
            }
            None if id < self.realm_ids => id,
            None => return Err(Interrupt::NoRealm),
        };
        Ok(Realm { id, uid })
    }

    /// Notes that the realm that [`Change::new_realm`] gave exists, with one use.
    pub(super) fn realm_made(&mut self, realm: Realm) -> Result<(), Interrupt> {
        let nodes = self.nodes;
        let value = RealmValue::Uses { id: realm.id, uses: 1 };
        tree::insert(&mut self.state.realms, RealmKey::Uses(realm.uid), value, nodes)?;
        self.state.next_realm.uid += 1;
        match self.first_free()? {
            None => self.state.next_realm.id += 1,
            Some((last, 1)) => {
                tree::remove(&mut self.state.realms, &RealmKey::Free(last), nodes)?;
            }
            Some((last, count)) => {
                let value = RealmValue::Free { count: count - 1 };
                tree::insert(&mut self.state.realms, RealmKey::Free(last), value, nodes)?;
            }
        }
        Ok(())
    }

    /// The lowest range of free ids: its last, and how many there are.
    fn first_free(&self) -> Result<Option<(u32, u32)>, Missing> {
        self.free_from(0)
    }

    /// The first range of free ids that ends at `id` or above.
    fn free_from(&self, id: u32) -> Result<Option<(u32, u32)>, Missing> {
        tree::scan(
            &self.state.realms,
            &RealmKey::Free(id),
            self.nodes,
            &mut |key, value| match (key, value) {
                (RealmKey::Free(last), RealmValue::Free { count }) => ControlFlow::Break((*last, *count)),
                _ => ControlFlow::Continue(()),
            },
        )
    }

    fn uses(&self, uid: u64) -> Result<Option<(u32, u64)>, Missing> {
        Ok(match tree::find(&self.state.realms, &RealmKey::Uses(uid), self.nodes)? {
            Some((node, index)) => match node.value(index) {
                RealmValue::Uses { id, uses } => Some((*id, *uses)),
                RealmValue::Free { .. } => None,
            },
            None => None,
        })
    }

    /// Brings into memory what counting uses of a realm changes.
    pub(super) fn prepare_uses(&mut self, realm: Option<Realm>) -> Result<(), Interrupt> {
        match realm {
            Some(realm) => Ok(tree::pull(&mut self.state.realms, &RealmKey::Uses(realm.uid), self.nodes)?),
            None => Ok(()),
        }
    }

    /// Counts one more use of a realm, and one less of another.
    pub(super) fn count_uses(&mut self, more: Option<Realm>, less: Option<Realm>) -> Result<(), Interrupt> {
        if more == less {
            return Ok(());
        }
        for (realm, change) in [(more, 1), (less, -1)] {
            let Some(realm) = realm else { continue };
            // A realm that is not there is damage, which `check` tells; nothing else should fail for it.
            let Some((id, uses)) = self.uses(realm.uid)? else { continue };
            let uses = uses.saturating_add_signed(change);
            let value = RealmValue::Uses { id, uses };
            tree::insert(&mut self.state.realms, RealmKey::Uses(realm.uid), value, self.nodes)?;
            if uses == 0 {
                self.ending.realms.insert(realm.uid, id);
            } else {
                self.ending.realms.remove(&realm.uid);
            }
        }
        Ok(())
    }

    /// Gives a realm its alias within another.
    pub(super) fn alias(&mut self, key: AliasKey) -> Result<Outcome, Interrupt> {
        let known = [Realm::ROOT.uid, Realm::ORPHANS.uid].contains(&key.outer);
        if !known && self.uses(key.outer)?.is_none() {
            // What is looked at was removed meanwhile; an alias in it would stay for ever.
            return Err(ErrorKind::Stale.into());
        }
        if tree::find(&self.state.aliases, &key, self.nodes)?.is_none() {
            let realm = self.new_realm()?;
            tree::pull(&mut self.state.aliases, &key, self.nodes)?;
            tree::insert(&mut self.state.aliases, key, realm, self.nodes)?;
            self.realm_made(realm)?;
        }
        Ok(Outcome::Done)
    }

    /// Takes a realm that has ended back: first its aliases, `aliases` of them at most, then its id. Answers whether the
    /// id is free now (1) or aliases are left (0).
    pub(super) fn free_realm(&mut self, realm: Realm, aliases: u32) -> Result<Outcome, Interrupt> {
        let nodes = self.nodes;
        if self.uses(realm.uid)? != Some((realm.id, 0)) {
            return Err(Interrupt::Changed);
        }
        let (from, to) = orphan_range(realm.id);
        let orphans = self.orphans_between(&from, &to, !self.replay)?;
        let is_known = self.locations.knows_realm(realm.id) && !mutant::is_on(Mutant::ReuseRealmEarly);
        let is_seen = orphans.count > 0 || is_known;
        if !self.replay && (is_seen || !self.ending.copies.is_empty()) {
            return Err(Interrupt::Changed);
        }
        let mut found = Vec::new();
        let first = AliasKey { outer: realm.uid, foreign: Foreign { home: 0, realm: 0 } };
        let more = tree::scan(&self.state.aliases, &first, nodes, &mut |key, alias| {
            if key.outer != realm.uid {
                return ControlFlow::Break(false);
            }
            if found.len() >= aliases as usize {
                return ControlFlow::Break(true);
            }
            found.push((*key, *alias));
            ControlFlow::Continue(())
        })?;
        let more = more.unwrap_or(false);
        for (key, alias) in &found {
            tree::pull(&mut self.state.aliases, key, nodes)?;
            self.prepare_uses(Some(*alias))?;
        }
        if !more {
            self.prepare_free(realm)?;
        }
        if orphans.count > 0 {
            // Only a replay still has them, and would take them for what has their numbers next.
            self.drop_orphans_between(&from, &to, orphans)?;
        }
        self.locations.forget_realm(realm.id);
        for (key, alias) in found {
            self.count_uses(None, Some(alias))?;
            tree::remove(&mut self.state.aliases, &key, nodes)?;
        }
        if more {
            return Ok(Outcome::Amount(0));
        }
        self.put_free(realm)?;
        self.ending.realms.remove(&realm.uid);
        Ok(Outcome::Amount(1))
    }

    /// Brings into memory what [`Change::put_free`] changes.
    fn prepare_free(&mut self, realm: Realm) -> Result<(), Interrupt> {
        let nodes = self.nodes;
        let mut keys =
            vec![RealmKey::Uses(realm.uid), RealmKey::Free(realm.id - 1), RealmKey::Free(realm.id)];
        keys.extend(self.free_from(realm.id)?.map(|(last, _)| RealmKey::Free(last)));
        for key in keys {
            tree::pull(&mut self.state.realms, &key, nodes)?;
        }
        Ok(())
    }

    /// Lets a realm go and puts its id with the free ones. What is put comes before what is taken: taking may drop a leaf.
    fn put_free(&mut self, realm: Realm) -> Result<(), Interrupt> {
        let nodes = self.nodes;
        let below = match tree::find(&self.state.realms, &RealmKey::Free(realm.id - 1), nodes)? {
            Some((node, index)) => match node.value(index) {
                RealmValue::Free { count } => *count,
                RealmValue::Uses { .. } => 0,
            },
            None => 0,
        };
        let above = self.free_from(realm.id)?.filter(|(last, count)| *last + 1 - *count == realm.id + 1);
        let (last, count) = match above {
            Some((last, count)) => (last, count + 1 + below),
            None => (realm.id, 1 + below),
        };
        let value = RealmValue::Free { count };
        tree::insert(&mut self.state.realms, RealmKey::Free(last), value, nodes)?;
        if below > 0 {
            tree::remove(&mut self.state.realms, &RealmKey::Free(realm.id - 1), nodes)?;
        }
        tree::remove(&mut self.state.realms, &RealmKey::Uses(realm.uid), nodes)?;
        Ok(())
    }

    /// Orphans in a range: all of them, or with `any` at least one if there are some.
    fn orphans_between(&self, from: &EntryKey, to: &EntryKey, any: bool) -> Result<Sums, Interrupt> {
        let mut found = Sums::default();
        let Some(directory) = self.state.orphans.directory() else { return Ok(found) };
        tree::scan(&directory.entries, from, self.nodes, &mut |key, entry| {
            if key >= to || (any && found.count > 0) {
                return ControlFlow::Break(());
            }
            found = found.plus(entry.sums());
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    fn drop_orphans_between(
        &mut self,
        from: &EntryKey,
        to: &EntryKey,
        orphans: Sums,
    ) -> Result<(), Interrupt> {
        let nodes = self.nodes;
        self.change_at(&Trail { orphan: true, ..Trail::default() }, &mut |inode, _| {
            let directory = inode.directory_mut().ok_or(ErrorKind::NotDirectory)?;
            tree::remove_range(&mut directory.entries, from, to, nodes)?;
            directory.add(orphans.negated());
            Ok(Totals::default())
        })
    }
}
