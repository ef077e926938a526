//! Aliases and the tree of realms, made from what uses them.
//!
//! What is used is known from the trees. A realm that nothing uses any more has ended, and stays until the background sees that
//! nobody knows a number of it. An id of which nothing is known is free, unless a client knows a number of it.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashSet;

use super::rebuild::Rebuilder;
use crate::Result;
use crate::check::realms::Uses;
use crate::kinds::{AliasTree, RealmTree};
use crate::namespace::State;
use crate::record::{AliasKey, Entry, Realm, RealmKey, RealmValue};
use crate::tree::{self, Body, Link, Root, Tree};

/// What was done.
#[derive(Debug, Default)]
pub(super) struct RealmsDone {
    pub(super) aliases_lost: bool,
    pub(super) aliases_dropped: u64,
    /// Entries of the tree of realms that are others now.
    pub(super) realms_changed: u64,
}

/// A small tree: what can be read of it, and whether that is all.
async fn read<K: Tree>(
    rebuilder: &Rebuilder<'_>,
    root: &Root<K>,
) -> Result<(BTreeMap<K::Key, K::Value>, bool)> {
    let (mut found, mut is_whole) = (BTreeMap::new(), true);
    let mut stack: Vec<Link<K>> = root.iter().cloned().collect();
    while let Some(link) = stack.pop() {
        let Some(node) = rebuilder.node(&link).await? else {
            is_whole = false;
            continue;
        };
        match &node.body {
            Body::Branch(children) => {
                for child in children {
                    let below = rebuilder.node(&child.link).await?;
                    is_whole &= below.is_some_and(|below| below.weight == child.weight);
                    stack.push(child.link.clone());
                }
            }
            Body::Leaf(entries) => found.extend(entries.iter().cloned()),
        }
    }
    Ok((found, is_whole))
}

/// A tree with these entries.
fn make<K: Tree>(rebuilder: &Rebuilder<'_>, entries: &BTreeMap<K::Key, K::Value>) -> Root<K> {
    let mut root = None;
    for (key, value) in entries {
        tree::insert(&mut root, key.clone(), value.clone(), &rebuilder.nodes)
            .expect("a tree that is being made is in memory");
    }
    root
}

impl Rebuilder<'_> {
    /// Makes aliases and realms of a state whose directories were rebuilt fit what uses them.
    pub(super) async fn realms(&self, state: &mut State) -> Result<RealmsDone> {
        let mut done = RealmsDone::default();
        let (mut aliases, all_aliases) = read::<AliasTree>(self, &state.aliases).await?;
        let (old, all_realms) = read::<RealmTree>(self, &state.realms).await?;
        done.aliases_lost = !all_aliases;
        if !all_aliases {
            state.aliases = make::<AliasTree>(self, &aliases);
        }
        // Aliases of a realm that is no more go, and with them perhaps the last use of another.
        let mut expected = loop {
            let (expected, gone) = self.expected(state, &old, &aliases).await?;
            if gone.is_empty() {
                break expected;
            }
            done.aliases_dropped += gone.len() as u64;
            aliases.retain(|key, _| !gone.contains(key));
            state.aliases = make::<AliasTree>(self, &aliases);
        };
        self.put_free(state, &old, &mut expected);
        if !all_realms || expected != old {
            let changed = expected.iter().filter(|(key, value)| old.get(key) != Some(value)).count();
            let gone = old.keys().filter(|key| !expected.contains_key(key)).count();
            done.realms_changed = ((changed + gone) as u64).max(1);
            state.realms = make::<RealmTree>(self, &expected);
        }
        Ok(done)
    }

    /// All realms, and aliases of what is none.
    async fn expected(
        &self,
        state: &State,
        old: &BTreeMap<RealmKey, RealmValue>,
        aliases: &BTreeMap<AliasKey, Realm>,
    ) -> Result<(BTreeMap<RealmKey, RealmValue>, Vec<AliasKey>)> {
        let uses = Uses::find(self.inner, &state.root, &state.orphans, &state.aliases).await?;
        let mut expected = BTreeMap::new();
        let mut ids: FxHashSet<u32> = FxHashSet::default();
        for (uid, (id, uses)) in &uses.found {
            expected.insert(RealmKey::Uses(*uid), RealmValue::Uses { id: *id, uses: *uses });
            ids.insert(*id);
        }
        for (key, value) in old {
            if let (RealmKey::Uses(_), RealmValue::Uses { id, .. }) = (key, value)
                && !expected.contains_key(key)
                && ids.insert(*id)
            {
                expected.insert(*key, RealmValue::Uses { id: *id, uses: 0 });
            }
        }
        // What was removed and is still held open shows the id of its realm.
        let orphans = state.orphans.directory().and_then(|directory| directory.entries.clone());
        for (_, entry) in self.entries(&orphans).await? {
            if let Entry::Inode(inode) = entry
                && let Some(identity) = &inode.identity
                && identity.realm.id != 0
                && ids.insert(identity.realm.id)
            {
                let value = RealmValue::Uses { id: identity.realm.id, uses: 0 };
                expected.insert(RealmKey::Uses(identity.realm.uid), value);
            }
        }
        let is_known = |uid: u64| {
            [Realm::ROOT.uid, Realm::ORPHANS.uid].contains(&uid)
                || expected.contains_key(&RealmKey::Uses(uid))
        };
        let gone = aliases.keys().filter(|key| !is_known(key.outer)).copied().collect();
        Ok((expected, gone))
    }

    /// Adds ranges of free ids: all that no realm has.
    fn put_free(
        &self,
        state: &mut State,
        old: &BTreeMap<RealmKey, RealmValue>,
        expected: &mut BTreeMap<RealmKey, RealmValue>,
    ) {
        let mut ids: BTreeSet<u32> = BTreeSet::new();
        for (key, value) in &*expected {
            if let (RealmKey::Uses(uid), RealmValue::Uses { id, .. }) = (key, value) {
                ids.insert(*id);
                state.next_realm.uid = state.next_realm.uid.max(uid + 1);
                state.next_realm.id = state.next_realm.id.max(id + 1);
            }
        }
        let was_free = |id: u32| {
            let range = old.range(RealmKey::Free(id)..).next();
            matches!(range, Some((RealmKey::Free(last), RealmValue::Free { count })) if id > last - count)
        };
        let mut free: Option<(u32, u32)> = None;
        for id in 1..state.next_realm.id {
            let is_taken = ids.contains(&id);
            if !is_taken && !was_free(id) && self.inner.locations.lock().knows_realm(id) {
                // Its record is lost. It is freed once nobody knows a number of it.
                let uid = state.next_realm.uid;
                state.next_realm.uid += 1;
                expected.insert(RealmKey::Uses(uid), RealmValue::Uses { id, uses: 0 });
            } else if !is_taken {
                let (_, count) = free.unwrap_or((0, 0));
                free = Some((id, count + 1));
                continue;
            }
            if let Some((last, count)) = free.take() {
                expected.insert(RealmKey::Free(last), RealmValue::Free { count });
            }
        }
        if let Some((last, count)) = free {
            expected.insert(RealmKey::Free(last), RealmValue::Free { count });
        }
    }
}
