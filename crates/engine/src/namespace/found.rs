//! Giving names to what a repair has found and no name leads to.
//!
//! It comes into a directory of the root, as a clone of it would: a directory is a realm of its own, anything else takes a
//! new number. So nothing shows a number that something else has. These are no operations of the log: a checkpoint stores them.

use super::change::Change;
use super::{Interrupt, Trail};
use crate::kinds::EntryKey;
use crate::record::{Identity, Inode, Realm};
use crate::{ErrorKind, Kind};

/// The name of that directory.
pub(crate) const LOST_AND_FOUND: &[u8] = b"lost+found";

impl Change<'_> {
    /// The key of the directory for what is found; it is made if there is none. What has that name and is no directory of the root's realm
    /// stays, and the directory gets another name.
    pub(crate) fn lost_and_found(&mut self) -> Result<EntryKey, Interrupt> {
        let root = Trail::default();
        for attempt in 0.. {
            let mut name = LOST_AND_FOUND.to_vec();
            if attempt > 0 {
                name.extend_from_slice(format!("-{attempt}").as_bytes());
            }
            let key = self.hasher.key(&name);
            match self.look(&root, &key)? {
                Some(looked) if looked.inode.kind != Kind::Directory || looked.inode.is_realm_root() => {}
                Some(_) => return Ok(key),
                None => {
                    let new = crate::pool::NewInode {
                        kind: Kind::Directory,
                        mode: 0o700,
                        uid: 0,
                        gid: 0,
                        rdev: 0,
                        target: Default::default(),
                        xattrs: Vec::new(),
                    };
                    let number = self.new_number()?;
                    let inode = self.make_inode(number, &new);
                    self.pull_entry(&root, &key)?;
                    self.insert_entry(&root, &key, inode.into())?;
                    self.state.next_number += 1;
                    return Ok(key);
                }
            }
        }
        unreachable!("some name is free")
    }

    /// Puts something into that directory.
    ///
    /// # Errors
    /// `Exists`.
    pub(crate) fn put_found(
        &mut self,
        directory: &EntryKey,
        name: &[u8],
        found: &Inode,
    ) -> Result<(), Interrupt> {
        let trail = Trail { keys: [directory.clone()].into_iter().collect(), ..Trail::default() };
        let key = self.hasher.key(name);
        if self.look(&trail, &key)?.is_some() {
            return Err(ErrorKind::Exists.into());
        }
        let mut inode = found.clone();
        let realm = if inode.directory().is_some() {
            let realm = self.new_realm()?;
            inode.identity = Some(Box::new(Identity { realm, home: Realm::ROOT.uid }));
            Some(realm)
        } else {
            inode.number = self.new_number()?;
            inode.identity = None;
            inode.nlink = 1;
            None
        };
        self.pull_entry(&trail, &key)?;
        self.insert_entry(&trail, &key, inode.into())?;
        match realm {
            Some(realm) => self.realm_made(realm)?,
            None => self.state.next_number += 1,
        }
        Ok(())
    }
}
