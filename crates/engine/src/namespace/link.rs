//! Further names of a file.

use std::sync::Arc;

use super::change::{Change, Outcome, orphan_key};
use super::descend::{attributes, visible_ino};
use super::{Interrupt, ORPHANS, Place, Trail, Where};
use crate::record::{Entry, Identity, LINKS_MAX, SideKey, Totals};
use crate::tree;
use crate::{Error, ErrorKind, Ino, Kind};

impl Change<'_> {
    pub(super) fn link(&mut self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Outcome, Interrupt> {
        let trail = self.directory_trail(parent)?;
        let source = self.trail(ino)?;
        if trail.orphan {
            return Err(ErrorKind::NotFound.into());
        }
        let key = self.hasher.key(name);
        let (mut inode, place) = self.found(&source)?;
        if inode.kind == Kind::Directory {
            return Err(ErrorKind::IsDirectory.into());
        }
        if inode.nlink >= LINKS_MAX {
            return Err(ErrorKind::TooManyLinks.into());
        }
        if place.read_only {
            return Err(ErrorKind::ReadOnly.into());
        }
        let target = self.pull_entry(&trail, &key)?;
        if self.look(&trail, &key)?.is_some() {
            return Err(ErrorKind::Exists.into());
        }
        inode.ctime = self.time;
        if source.orphan {
            return self.name_orphan(ino, inode, place, parent, &trail, key, target);
        }
        if place.outer != target.realm {
            return Err(Error::new(
                ErrorKind::CrossRealm,
                "a file and its further names must lie in the same clone",
            )
            .into());
        }
        let side_key = match source.side {
            Some(side_key) => {
                // It has several names already.
                let time = self.time;
                let mut after = None;
                self.change_at(&source, &mut |inode, place| {
                    inode.nlink += 1;
                    inode.ctime = time;
                    after = Some(attributes(inode, place));
                    Ok(Totals::default())
                })?;
                self.insert_entry(&trail, &key, side_key.into())?;
                let after = after.expect("the inode was changed");
                self.locations.remember(after.ino, parent, Where::Name(key), false);
                return Ok(Outcome::Attributes(Box::new(after)));
            }
            None => SideKey {
                foreign: inode.identity.as_ref().map(|identity| identity.foreign()),
                number: inode.number,
            },
        };
        // The second name: the inode moves to the side tree of the realm.
        let root = self.realm_root_trail(&source)?;
        let root_ino = self.locations.realm_root(self.locations.get(ino).map_or(Ino::ROOT, |l| l.parent))?;
        inode.nlink = 2;
        let after = attributes(&inode, place);
        let directory = Trail { keys: source.keys[..source.keys.len() - 1].into(), ..source.clone() };
        let old_key = source.keys.last().expect("only the root has an empty trail").clone();
        let nodes = self.nodes;
        self.pull_entry(&directory, &old_key)?;
        self.change_at(&root, &mut |inode, _| {
            let realm = inode.directory_mut().and_then(|d| d.realm.as_mut()).ok_or(ErrorKind::Stale)?;
            tree::pull(&mut realm.side, &side_key, nodes)?;
            Ok(Totals::default())
        })?;
        let mut inode = Some(inode);
        self.change_at(&root, &mut |root, _| {
            let realm = root.directory_mut().and_then(|d| d.realm.as_mut()).ok_or(ErrorKind::Stale)?;
            let inode = inode.take().expect("one change of one inode");
            tree::insert(&mut realm.side, side_key, Arc::new(inode), nodes)?;
            Ok(Totals::default())
        })?;
        self.change_at(&directory, &mut |inode, _| {
            let directory = inode.directory_mut().ok_or(ErrorKind::NotDirectory)?;
            let linked = Entry::from(side_key);
            let added = linked.totals();
            let old = tree::insert(&mut directory.entries, old_key.clone(), linked, nodes)?;
            let delta = added.plus(old.map(|entry| entry.totals().negated()).unwrap_or_default());
            directory.totals = directory.totals.plus(delta);
            Ok(delta)
        })?;
        self.insert_entry(&trail, &key, side_key.into())?;
        self.locations.moved(ino, root_ino, Where::Side(side_key));
        self.locations.remember(ino, parent, Where::Name(key), false);
        Ok(Outcome::Attributes(Box::new(after)))
    }

    /// Gives the first name to a file that has none.
    #[expect(clippy::too_many_arguments, reason = "all are parts of one step of `link`")]
    fn name_orphan(
        &mut self,
        ino: Ino,
        mut inode: crate::record::Inode,
        place: Place,
        parent: Ino,
        trail: &Trail,
        key: crate::kinds::EntryKey,
        target: Place,
    ) -> Result<Outcome, Interrupt> {
        let orphans = Trail { orphan: true, ..Trail::default() };
        let old_key = orphan_key(ino);
        if self.look(&orphans, &old_key)?.is_none() {
            return Err(ErrorKind::CrossRealm.into());
        }
        let used = (place.realm != target.realm && place.realm.id != 0).then_some(place.realm);
        self.prepare_uses(used)?;
        self.pull_entry(&orphans, &old_key)?;
        self.take_entry(&orphans, &old_key)?;
        self.count_uses(used, None)?;
        inode.nlink = 1;
        inode.identity = (place.realm != target.realm)
            .then(|| Box::new(Identity { realm: place.realm, home: target.realm.uid }));
        let after = attributes(&inode, place);
        debug_assert_eq!(visible_ino(&inode, place), ino);
        self.insert_entry(trail, &key, inode.into())?;
        self.locations.moved(ino, parent, Where::Name(key.clone()));
        if let Some(location) = self.locations.get_mut(ino) {
            location.gone = None;
        }
        self.locations.remember(ino, parent, Where::Name(key), false);
        debug_assert_ne!(parent, ORPHANS);
        Ok(Outcome::Attributes(Box::new(after)))
    }
}
