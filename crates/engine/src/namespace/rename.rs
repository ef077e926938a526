//! Moving names.

use super::change::{Change, Looked, Outcome};
use super::descend::visible_ino;
use super::{Interrupt, Place, Where};
use crate::kinds::EntryKey;
use crate::pool::RenameMode;
use crate::record::{Entry, Identity};
use crate::{Error, ErrorKind, Ino, Kind};

impl Change<'_> {
    pub(super) fn rename(
        &mut self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<Outcome, Interrupt> {
        let (from, to) = (self.trail(parent)?, self.trail(new_parent)?);
        Self::refuse_removed(&from)?;
        Self::refuse_removed(&to)?;
        let (old_key, new_key) = (self.hasher.key(name), self.hasher.key(new_name));
        let source = self.look(&from, &old_key)?.ok_or(ErrorKind::NotFound)?;
        let target = self.look(&to, &new_key)?;
        let source_ino = visible_ino(&source.inode, source.place);
        let from_place = self.pull_entry(&from, &old_key)?;
        let to_place = self.pull_entry(&to, &new_key)?;
        if source.inode.kind == Kind::Directory && self.locations.is_within(new_parent, source_ino) {
            return Err(Error::new(ErrorKind::Invalid, "a directory cannot be moved into itself").into());
        }
        if let Some(target) = &target {
            let target_ino = visible_ino(&target.inode, target.place);
            if target_ino == source_ino && mode != RenameMode::NoReplace {
                // Two names of one file: POSIX says that nothing happens.
                return Ok(Outcome::Done);
            }
            self.check_target(mode, &source, target, parent, target_ino)?;
        } else if mode == RenameMode::Exchange {
            return Err(ErrorKind::NotFound.into());
        }
        let moved_in = self.identity_after(&source, from_place, to_place)?;
        if mode == RenameMode::Exchange {
            let target = target.expect("an exchange was checked to have a target");
            let moved_out = self.identity_after(&target, to_place, from_place)?;
            let source_entry = self.take_entry(&from, &old_key)?;
            let target_entry = self.take_entry(&to, &new_key)?;
            self.place_entry((new_parent, &new_key), source_entry, &source, moved_in)?;
            self.place_entry((parent, &old_key), target_entry, &target, moved_out)?;
            return Ok(Outcome::Done);
        }
        if let Some(target) = target {
            self.remove_name(&to, &new_key, target)?;
        }
        let entry = self.take_entry(&from, &old_key)?;
        self.place_entry((new_parent, &new_key), entry, &source, moved_in)?;
        Ok(Outcome::Done)
    }

    /// Whether the target may be replaced by, or exchanged with, the source.
    fn check_target(
        &self,
        mode: RenameMode,
        source: &Looked,
        target: &Looked,
        parent: Ino,
        target_ino: Ino,
    ) -> Result<(), Interrupt> {
        match mode {
            RenameMode::NoReplace => return Err(ErrorKind::Exists.into()),
            RenameMode::Exchange => {
                if target.inode.kind == Kind::Directory && self.locations.is_within(parent, target_ino) {
                    return Err(
                        Error::new(ErrorKind::Invalid, "a directory cannot be moved into itself").into()
                    );
                }
                return Ok(());
            }
            RenameMode::Replace => {}
        }
        match (source.inode.kind == Kind::Directory, target.inode.directory()) {
            (false, Some(_)) => Err(ErrorKind::IsDirectory.into()),
            (true, None) => Err(ErrorKind::NotDirectory.into()),
            (true, Some(directory)) if directory.count > 0 => Err(ErrorKind::NotEmpty.into()),
            _ => Ok(()),
        }
    }

    /// The identity that an inode needs at its new place; `None` in the outer option leaves it as it is.
    fn identity_after(
        &self,
        moved: &Looked,
        from: Place,
        to: Place,
    ) -> Result<Option<Option<Identity>>, Interrupt> {
        if from.realm == to.realm {
            return Ok(None);
        }
        if moved.linked.is_some() {
            return Err(Error::new(
                ErrorKind::CrossRealm,
                "a file with several names cannot be moved from one clone into another",
            )
            .into());
        }
        if moved.inode.kind == Kind::Directory && !moved.inode.is_realm_root() {
            return Err(Error::new(
                ErrorKind::CrossRealm,
                "a directory cannot be moved from one clone into another; clone or copy it there",
            )
            .into());
        }
        let realm = moved.place.realm;
        let is_root = moved.inode.is_realm_root();
        Ok(Some((is_root || realm != to.realm).then_some(Identity { realm, home: to.realm.uid })))
    }

    /// Puts a moved entry at its new place, with its new identity.
    fn place_entry(
        &mut self,
        (parent, key): (Ino, &EntryKey),
        mut entry: Entry,
        moved: &Looked,
        identity: Option<Option<Identity>>,
    ) -> Result<(), Interrupt> {
        let ino = visible_ino(&moved.inode, moved.place);
        let linked = matches!(entry, Entry::Linked(_));
        if let Entry::Inode(inode) = &mut entry {
            inode.ctime = self.time;
            if let Some(identity) = identity {
                inode.identity = identity.map(Box::new);
            }
        }
        let trail = self.trail(parent)?;
        self.pull_entry(&trail, key)?;
        self.insert_entry(&trail, key, entry)?;
        if !linked {
            self.locations.moved(ino, parent, Where::Name(key.clone()));
        } else if let Some((root, side)) = &moved.linked {
            let time = self.time;
            let trail = crate::namespace::Trail { side: Some(*side), ..root.clone() };
            self.change_at(&trail, &mut |inode, _| {
                inode.ctime = time;
                Ok(crate::record::Totals::default())
            })?;
        }
        Ok(())
    }
}
