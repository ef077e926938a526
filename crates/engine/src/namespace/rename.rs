//! Moving names.

use bytes::Bytes;

use super::change::{Change, Looked, Outcome};
use super::descend::visible_ino;
use super::{Interrupt, Place, Where};
use crate::kinds::EntryKey;
use crate::pool::{NewInode, RenameMode};
use crate::record::{Entry, Identity};
use crate::{Error, ErrorKind, Ino, Kind};

/// The realm that a new identity uses.
fn used_realm(identity: &Option<Identity>) -> Option<crate::record::Realm> {
    identity.map(|identity| identity.realm).filter(|realm| realm.id != 0)
}

/// What stands for a name that was removed from a lower layer.
fn whiteout() -> NewInode {
    NewInode {
        kind: Kind::CharDevice,
        mode: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        target: Bytes::new(),
        xattrs: Vec::new(),
    }
}

impl Change<'_> {
    pub(super) fn rename(
        &mut self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<Outcome, Interrupt> {
        let (from, to) = (self.directory_trail(parent)?, self.directory_trail(new_parent)?);
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
        self.prepare_move(&source, &moved_in)?;
        if mode == RenameMode::Exchange {
            let target = target.expect("an exchange was checked to have a target");
            let moved_out = self.identity_after(&target, to_place, from_place)?;
            self.prepare_move(&target, &moved_out)?;
            self.count_move(&source, &moved_in)?;
            self.count_move(&target, &moved_out)?;
            let source_entry = self.moved_entry(&source, moved_in);
            let target_entry = self.moved_entry(&target, moved_out);
            self.replace_entry(&to, &new_key, source_entry)?;
            self.replace_entry(&from, &old_key, target_entry)?;
            self.note_moved(new_parent, new_key, &source)?;
            self.note_moved(parent, old_key, &target)?;
            return Ok(Outcome::Done);
        }
        let whiteout = match mode {
            RenameMode::Whiteout => {
                let number = self.new_number()?;
                Some(self.make_inode(number, &whiteout()))
            }
            _ => None,
        };
        if let Some(target) = target {
            self.remove_name(&to, &new_key, target)?;
        }
        self.count_move(&source, &moved_in)?;
        // Put before taken: taking may drop a leaf, and the new name might then belong to one that is not in memory.
        let entry = self.moved_entry(&source, moved_in);
        self.insert_entry(&to, &new_key, entry)?;
        match whiteout {
            Some(inode) => {
                self.replace_entry(&from, &old_key, inode.into())?;
                self.state.next_number += 1;
            }
            None => self.take_entry(&from, &old_key).map(drop)?,
        }
        self.note_moved(new_parent, new_key, &source)?;
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
            RenameMode::Replace | RenameMode::Whiteout => {}
        }
        match (source.inode.kind == Kind::Directory, target.inode.directory()) {
            (false, Some(_)) => Err(ErrorKind::IsDirectory.into()),
            (true, None) => Err(ErrorKind::NotDirectory.into()),
            (true, Some(directory)) if !directory.is_empty() => Err(ErrorKind::NotEmpty.into()),
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

    /// Brings into memory what [`Change::note_moved`] changes.
    fn prepare_move(&mut self, moved: &Looked, identity: &Option<Option<Identity>>) -> Result<(), Interrupt> {
        if let Some(after) = identity {
            self.prepare_uses(moved.inode.used_realm(moved.place.outer))?;
            self.prepare_uses(used_realm(after))?;
        }
        match &moved.linked {
            Some((root, side)) => self.prepare_drop(root, *side),
            None => Ok(()),
        }
    }

    /// Counts the uses of realms that come and go with a new identity.
    fn count_move(&mut self, moved: &Looked, identity: &Option<Option<Identity>>) -> Result<(), Interrupt> {
        match identity {
            Some(after) => self.count_uses(used_realm(after), moved.inode.used_realm(moved.place.outer)),
            None => Ok(()),
        }
    }

    /// The entry of what moves, with its new identity.
    fn moved_entry(&self, moved: &Looked, identity: Option<Option<Identity>>) -> Entry {
        if let Some((_, side)) = &moved.linked {
            return (*side).into();
        }
        let mut inode = moved.inode.clone();
        inode.ctime = self.time;
        if let Some(identity) = identity {
            inode.identity = identity.map(Box::new);
        }
        inode.into()
    }

    /// Notes the new place of what moved; what has several names is only changed in the side tree.
    fn note_moved(&mut self, parent: Ino, key: EntryKey, moved: &Looked) -> Result<(), Interrupt> {
        let Some((root, side)) = &moved.linked else {
            let ino = visible_ino(&moved.inode, moved.place);
            self.locations.moved(ino, parent, Where::Name(key));
            return Ok(());
        };
        let time = self.time;
        let trail = crate::namespace::Trail { side: Some(*side), ..root.clone() };
        self.change_at(&trail, &mut |inode, _| {
            inode.ctime = time;
            Ok(crate::record::Totals::default())
        })
    }
}
