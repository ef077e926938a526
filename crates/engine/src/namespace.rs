//! The name space: what the pool's trees mean, and every operation that changes them.
//!
//! A [`State`] is everything that a checkpoint keeps and the log changes. [`Change::apply`] executes one
//! [`Operation`] on it, synchronously, with all of its nodes in memory; replaying a log calls the same function.
//! An operation that needs a node or a realm alias that is not there stops with [`Interrupt`] before it has changed anything.

mod apart;
mod change;
mod clone;
mod descend;
mod file;
mod found;
mod link;
mod locations;
mod operation;
mod realms;
mod remove;
mod rename;
mod xattr;

pub(crate) use change::{Change, Outcome};
pub(crate) use descend::{Found, Holder, Place, View, attributes, visible_ino};
pub use locations::KNOWN_INODE_BYTES;
pub(crate) use locations::{Location, Locations, Trail, Where, stale};
pub(crate) use operation::{AttributeChange, Operation, WriteData};
pub(crate) use realms::{Ending, REALM_IDS};
pub(crate) use xattr::{check_xattr_size, decode_frame as decode_xattr_frame, list as xattr_list};

use siphasher::sip::SipHasher13;

use crate::format::manifest::Manifest;
use crate::kinds::{AliasTree, EntryKey, RealmTree};
use crate::record::{AliasKey, Content, Directory, Inode, Name, Realm, RealmRoot, Scope, Totals, Xattrs};
use crate::tree::{Missing, Root};
use crate::{Error, ErrorKind, Ino, Kind, Result, Timestamp};

/// The directory of removed inodes that are still open; no name leads to it.
pub(crate) const ORPHANS: Ino = Ino(2);
/// The first number that a new inode can get.
pub(crate) const FIRST_NUMBER: u64 = 16;

/// Everything that operations change.
#[derive(Clone)]
pub(crate) struct State {
    /// The root directory.
    pub(crate) root: Inode,
    /// The directory of removed inodes that are still open.
    pub(crate) orphans: Inode,
    pub(crate) aliases: Root<AliasTree>,
    /// How often each realm is used, and which ids are free.
    pub(crate) realms: Root<RealmTree>,
    pub(crate) next_number: u64,
    /// The lowest id that no realm has had yet, and the next `uid`.
    pub(crate) next_realm: Realm,
    /// Operations applied since the pool was made.
    pub(crate) sequence: u64,
}

impl State {
    /// The state that a manifest has.
    pub(crate) fn of_manifest(manifest: &Manifest) -> Self {
        Self {
            root: manifest.root.clone(),
            orphans: manifest.orphans.clone(),
            aliases: manifest.aliases.clone(),
            realms: manifest.realms.clone(),
            next_number: manifest.next_number,
            next_realm: manifest.next_realm,
            sequence: manifest.sequence,
        }
    }

    /// An empty pool.
    pub(crate) fn new(time: Timestamp) -> Self {
        Self {
            root: Self::base(Ino::ROOT.number(), 0o755, time),
            orphans: Self::base(ORPHANS.number(), 0o700, time),
            aliases: None,
            realms: None,
            next_number: FIRST_NUMBER,
            next_realm: Realm::FIRST,
            sequence: 0,
        }
    }

    fn base(number: u64, mode: u16, time: Timestamp) -> Inode {
        let realm = Some(Box::new(RealmRoot { side: None, read_only: false, scope: Scope::Whole }));
        Inode {
            number,
            kind: Kind::Directory,
            mode,
            read_only: false,
            uid: 0,
            gid: 0,
            nlink: 2,
            rdev: 0,
            size: 0,
            allocated: 0,
            atime: time,
            mtime: time,
            ctime: time,
            btime: time,
            content: Content::Directory(Box::new(Directory {
                entries: None,
                count: 0,
                subdirectories: 0,
                totals: Totals::default(),
                realm,
            })),
            xattrs: Xattrs::None,
            identity: None,
            origin: None,
        }
    }
}

/// Why an operation could not be executed now.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// A node has to be fetched first.
    Missing(Missing),
    /// A realm has to be given an alias first.
    Alias(AliasKey),
    /// What it was prepared for has changed; it has to be prepared anew.
    Changed,
    /// All realm ids are in use.
    NoRealm,
    /// Nothing may be changed while the pool is being repaired.
    Paused,
    /// It fails.
    Error(Error),
}

impl From<Missing> for Interrupt {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing)
    }
}

impl From<Error> for Interrupt {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<ErrorKind> for Interrupt {
    fn from(kind: ErrorKind) -> Self {
        Self::Error(kind.into())
    }
}

/// Hashes names to positions, with a key of the pool's own, so that nobody can craft collisions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameHasher {
    pub(crate) key: [u64; 2],
    /// Bits of a hash that are used; all but for tests.
    pub(crate) mask: u64,
}

impl NameHasher {
    pub(crate) fn key(&self, name: &[u8]) -> EntryKey {
        use std::hash::Hasher;
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        hasher.write(name);
        let hash = ((hasher.finish() & self.mask) >> 1).max(4);
        EntryKey { hash, name: Name::from_slice(name) }
    }
}

/// Refuses names that no directory can hold.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > 255 {
        return Err(ErrorKind::NameTooLong.into());
    }
    if name.is_empty() || name == b"." || name == b".." || name.iter().any(|b| *b == b'/' || *b == 0) {
        let shown = String::from_utf8_lossy(name);
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("`{shown}` cannot be the name of a directory entry"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
