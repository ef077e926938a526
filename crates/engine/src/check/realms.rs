//! Are realm ids given out once, counted right and never lost?
//!
//! Whether an identity is a use of its realm depends on where it is met, so this goes down from the roots realm by realm, to
//! what weighs something: into each clone that has a number, however many share its nodes.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Marker, Way};
use crate::format::manifest::Manifest;
use crate::kinds::{AliasTree, DirectoryTree, RealmTree, SideTree};
use crate::pool::Inner;
use crate::record::{AliasKey, Entry, Inode, Realm, RealmKey, RealmValue, Scope};
use crate::segment::Pinned;
use crate::tree::{self, Body, Link, Root, Tree};
use crate::{ErrorKind, Result};

/// What is to be looked through, and the realm around it.
enum Task {
    Directory(Link<DirectoryTree>, Realm, Way),
    Side(Link<SideTree>, Realm, Way),
}

/// Uses of realms that were found.
pub(crate) struct Uses<'a> {
    inner: &'a Inner,
    aliases: &'a Root<AliasTree>,
    nodes: Pinned<'a>,
    /// By `uid`: the id, and how often it is used.
    pub(crate) found: FxHashMap<u64, (u32, u64)>,
    /// Realms that have aliases.
    pub(crate) outers: FxHashSet<u64>,
    /// Realms that have one id here and another there.
    conflicts: Vec<(Way, String)>,
    tasks: Vec<Task>,
}

/// Compares all uses of realms with what the pool says of them.
pub(super) async fn check(inner: &Inner, manifest: &Manifest, marker: &mut Marker<'_>) -> Result<()> {
    let uses = Uses::find(inner, &manifest.root, &manifest.orphans, &manifest.aliases).await?;
    for (way, message) in &uses.conflicts {
        marker.find(Some(way), message.clone());
    }
    if !marker.damage.bad.is_empty() {
        // What uses a realm cannot be known from what cannot be read.
        return Ok(());
    }
    let leaks = manifest.abandoned > 0;
    let mut leaked = 0_u64;
    let Uses { mut found, outers, .. } = uses;
    let mut ids: Vec<(u32, u32)> = Vec::new();
    let next = manifest.next_realm;
    let mut known: FxHashSet<u64> = [Realm::ROOT.uid, Realm::ORPHANS.uid].into_iter().collect();
    for (key, value) in all::<RealmTree>(inner, &manifest.realms).await? {
        match (key, value) {
            (RealmKey::Uses(uid), RealmValue::Uses { id, uses }) => {
                known.insert(uid);
                let (found_id, found_uses) = found.remove(&uid).unwrap_or((id, 0));
                if leaks && found_id == id && found_uses < uses && uid < next.uid {
                    leaked += 1;
                } else if (found_id, found_uses) != (id, uses) || uid >= next.uid {
                    let message = format!(
                        "realm {uid} has the id {id} and {uses} uses by the tree of realms; \
                         {found_uses} uses of the id {found_id} were found"
                    );
                    marker.find(None, message);
                }
                ids.push((id, id));
            }
            (RealmKey::Free(last), RealmValue::Free { count }) if count <= last => {
                ids.push((last + 1 - count, last));
            }
            (key, value) => marker.find(None, format!("the tree of realms says {value:?} of {key:?}")),
        }
    }
    for (uid, (id, uses)) in found {
        marker.find(
            None,
            format!("realm {uid} (id {id}) is used {uses} times and the tree of realms has none"),
        );
    }
    for outer in outers.difference(&known) {
        marker.find(None, format!("realm {outer} is gone and still has aliases"));
    }
    if leaked > 0 {
        let message = format!(
            "{leaked} numbers of clones are not used again: {} nodes could not be read when they were freed",
            manifest.abandoned
        );
        marker.find(None, message);
    }
    ids.sort_unstable();
    let mut expected = 1;
    for (first, last) in ids {
        if first < expected {
            marker.find(None, format!("realm id {first} is used twice, or used and free"));
        } else if first > expected {
            marker.find(None, format!("realm ids {expected} to {} are neither used nor free", first - 1));
        }
        expected = expected.max(last + 1);
    }
    if expected < next.id {
        marker.find(None, format!("realm ids {expected} to {} are neither used nor free", next.id - 1));
    } else if expected > next.id {
        marker.find(None, format!("realm id {} exists and was never given out", expected - 1));
    }
    Ok(())
}

impl<'a> Uses<'a> {
    /// Finds all uses in a state. What cannot be read is passed over.
    pub(crate) async fn find(
        inner: &'a Inner,
        root: &Inode,
        orphans: &Inode,
        aliases: &'a Root<AliasTree>,
    ) -> Result<Self> {
        let mut uses = Self {
            inner,
            aliases,
            nodes: Pinned::new(&inner.items),
            found: FxHashMap::default(),
            outers: FxHashSet::default(),
            conflicts: Vec::new(),
            tasks: Vec::new(),
        };
        uses.below(root, Realm::ROOT, &Way(None));
        uses.below(orphans, Realm::ORPHANS, &Way::removed());
        while let Some(task) = uses.tasks.pop() {
            // A node that cannot be read was found already.
            match uses.look(task).await {
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                other => other?,
            }
        }
        for (key, realm) in all::<AliasTree>(inner, aliases).await? {
            uses.outers.insert(key.outer);
            uses.found.entry(realm.uid).or_insert((realm.id, 0)).1 += 1;
        }
        Ok(uses)
    }

    /// Plans to look below a directory that was met as part of `realm`.
    fn below(&mut self, inode: &Inode, realm: Realm, way: &Way) {
        let Some(directory) = inode.directory() else { return };
        if directory.totals.identities() > 0
            && let Some(link) = &directory.entries
        {
            self.tasks.push(Task::Directory(link.clone(), realm, way.clone()));
        }
        if let Some(root) = &directory.realm
            && root.scope != Scope::Removed
            && let Some(link) = &root.side
        {
            self.tasks.push(Task::Side(link.clone(), realm, way.clone()));
        }
    }

    async fn look(&mut self, task: Task) -> Result<()> {
        match task {
            Task::Directory(link, realm, way) => match &self.inner.node(&link).await?.body {
                Body::Branch(children) => {
                    for child in children.iter().filter(|child| child.weight > 0) {
                        self.tasks.push(Task::Directory(child.link.clone(), realm, way.clone()));
                    }
                }
                Body::Leaf(entries) => {
                    for (key, entry) in entries {
                        if let Entry::Inode(inode) = entry {
                            self.entry(inode, realm, &way.below(&key.name)).await?;
                        }
                    }
                }
            },
            Task::Side(link, realm, way) => match &self.inner.node(&link).await?.body {
                Body::Branch(children) => {
                    for child in children.iter().filter(|child| child.weight > 0) {
                        self.tasks.push(Task::Side(child.link.clone(), realm, way.clone()));
                    }
                }
                Body::Leaf(entries) => {
                    for (_, inode) in entries {
                        self.count(inode.used_realm(realm), &way);
                    }
                }
            },
        }
        Ok(())
    }

    async fn entry(&mut self, inode: &Inode, outer: Realm, way: &Way) -> Result<()> {
        self.count(inode.used_realm(outer), way);
        if inode.directory().is_none() {
            return Ok(());
        }
        let realm = match inode.identity.as_deref() {
            None => outer,
            Some(identity) if identity.home == outer.uid => identity.realm,
            Some(identity) => {
                let key = AliasKey { outer: outer.uid, foreign: identity.foreign() };
                match self.alias(&key).await? {
                    Some(alias) => alias,
                    // Nobody has seen it here, and nothing in it has a number.
                    None => return Ok(()),
                }
            }
        };
        self.below(inode, realm, way);
        Ok(())
    }

    fn count(&mut self, used: Option<Realm>, way: &Way) {
        let Some(realm) = used else { return };
        let found = self.found.entry(realm.uid).or_insert((realm.id, 0));
        found.1 += 1;
        if found.0 != realm.id {
            let message =
                format!("realm {} has the id {} here and {} elsewhere", realm.uid, realm.id, found.0);
            self.conflicts.push((way.clone(), message));
        }
    }

    async fn alias(&self, key: &AliasKey) -> Result<Option<Realm>> {
        loop {
            match tree::find(self.aliases, key, &self.nodes) {
                Ok(found) => return Ok(found.map(|(node, index)| *node.value(index))),
                Err(missing) => self.nodes.fetch(missing).await?,
            }
        }
    }
}

/// All entries of a small tree. What cannot be read is left out: it was found already.
pub(crate) async fn all<K: Tree>(inner: &Inner, root: &Root<K>) -> Result<Vec<(K::Key, K::Value)>> {
    let mut found = Vec::new();
    let mut stack: Vec<Link<K>> = root.iter().cloned().collect();
    while let Some(link) = stack.pop() {
        match inner.node(&link).await {
            Ok(node) => match &node.body {
                Body::Branch(children) => {
                    stack.extend(children.iter().map(|child| child.link.clone()));
                }
                Body::Leaf(entries) => found.extend(entries.iter().cloned()),
            },
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
