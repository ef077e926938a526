//! Inodes and directory entries as the trees hold them.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::kinds::{DirectoryTree, Extent, FileTree, FrameLink, SideTree};
use crate::report::Origin;
use crate::tree::{Link, Root};
use crate::{Kind, Timestamp};

/// A name in a directory, 1 to 255 bytes.
pub(crate) type Name = SmallVec<[u8; 24]>;

/// Bytes of content that an inode can hold itself.
pub(crate) const INLINE_BYTES_MAX: usize = 512;
/// Extents that an inode can hold itself.
pub(crate) const EXTENTS_MAX: usize = 8;
/// Encoded bytes of extended attributes that an inode can hold itself.
pub(crate) const INLINE_XATTR_BYTES_MAX: usize = 512;
/// Largest offset after the last byte of a file.
pub(crate) const FILE_BYTES_MAX: u64 = i64::MAX as u64;
/// Names that one file can have.
pub(crate) const LINKS_MAX: u32 = 1 << 30;

/// An identity domain: the number that users see, which is used again once nothing shows it any more, and one that never is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Realm {
    /// 24 bits; two realms never have it at one time.
    pub(crate) id: u32,
    /// Never reused.
    pub(crate) uid: u64,
}

impl Realm {
    pub(crate) const ROOT: Realm = Realm { id: 0, uid: 0 };
    /// The realm of removed inodes that are still open.
    pub(crate) const ORPHANS: Realm = Realm { id: 0, uid: 1 };
    pub(crate) const FIRST: Realm = Realm { id: 1, uid: 2 };
}

/// Set where an inode's realm is not simply that of the directory it lies in: on the roots of clones, and on files
/// that moved in from another realm. In a directory of realm `home` the inode belongs to `realm`; met in any other realm
/// (a clone of `home`), it belongs to an alias of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) realm: Realm,
    /// `uid` of the realm that the containing directory had when this was written.
    pub(crate) home: u64,
}

/// Sums over everything below a directory, itself excluded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Entries that are not directories.
    pub(crate) files: u64,
    pub(crate) directories: u64,
    /// Allocated content bytes of files with one name.
    pub(crate) bytes: u64,
    /// Entries that lead to the side tree.
    pub(crate) links: u64,
    /// Roots of clones.
    pub(crate) clones: u64,
    /// Files with one name that carry an [`Identity`].
    pub(crate) foreign: u64,
}

impl Totals {
    /// Entries that carry an [`Identity`]: what a removal has to look for, because realms end or lose a use with them.
    pub(crate) fn identities(self) -> u64 {
        self.clones.wrapping_add(self.foreign)
    }

    pub(crate) fn plus(self, other: Totals) -> Totals {
        Totals {
            files: self.files.wrapping_add(other.files),
            directories: self.directories.wrapping_add(other.directories),
            bytes: self.bytes.wrapping_add(other.bytes),
            links: self.links.wrapping_add(other.links),
            clones: self.clones.wrapping_add(other.clones),
            foreign: self.foreign.wrapping_add(other.foreign),
        }
    }

    /// Two's complement negation, to be used with [`Totals::plus`].
    pub(crate) fn negated(self) -> Totals {
        Totals {
            files: self.files.wrapping_neg(),
            directories: self.directories.wrapping_neg(),
            bytes: self.bytes.wrapping_neg(),
            links: self.links.wrapping_neg(),
            clones: self.clones.wrapping_neg(),
            foreign: self.foreign.wrapping_neg(),
        }
    }
}

/// How much of the names that its side tree counts lies below the root of a realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of them: the pool's root, and clones of whole realms.
    Whole,
    /// Perhaps not all: a clone of a part of a realm.
    Part,
    /// It is no root of a realm, but a directory that was removed while something in it was held open; it has brought a copy
    /// of its realm's side tree along.
    Removed,
}

/// What makes a directory the root of a clone.
#[derive(Clone)]
pub(crate) struct RealmRoot {
    /// Inodes of the realm that have or had several names.
    pub(crate) side: Root<SideTree>,
    pub(crate) read_only: bool,
    pub(crate) scope: Scope,
}

/// What the entries of one directory add up to. All of it wraps around, as [`Totals`] do: sums that damage made wrong stay wrong by
/// the same amount whatever is put and taken, until a repair counts anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) count: u64,
    pub(crate) subdirectories: u32,
    pub(crate) totals: Totals,
}

impl Sums {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.wrapping_add(other.count),
            subdirectories: self.subdirectories.wrapping_add(other.subdirectories),
            totals: self.totals.plus(other.totals),
        }
    }

    /// Two's complement negation, to be used with [`Sums::plus`].
    pub(crate) fn negated(self) -> Self {
        Self {
            count: self.count.wrapping_neg(),
            subdirectories: self.subdirectories.wrapping_neg(),
            totals: self.totals.negated(),
        }
    }
}

/// A directory's content.
#[derive(Clone, Default)]
pub(crate) struct Directory {
    pub(crate) entries: Root<DirectoryTree>,
    pub(crate) count: u64,
    pub(crate) subdirectories: u32,
    pub(crate) totals: Totals,
    /// Present on the pool's root and on the roots of clones.
    pub(crate) realm: Option<Box<RealmRoot>>,
}

impl Directory {
    /// Whether it has no entries. A count that damage made zero is not enough: what it does not count would go unasked.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && self.entries.is_none()
    }

    pub(crate) fn sums(&self) -> Sums {
        Sums { count: self.count, subdirectories: self.subdirectories, totals: self.totals }
    }

    pub(crate) fn set_sums(&mut self, sums: Sums) {
        Sums { count: self.count, subdirectories: self.subdirectories, totals: self.totals } = sums;
    }

    pub(crate) fn add(&mut self, sums: Sums) {
        self.set_sums(self.sums().plus(sums));
    }
}

/// What an inode holds.
#[derive(Clone)]
pub(crate) enum Content {
    /// Nothing: fifos, sockets, device nodes.
    None,
    /// The first bytes of a file, or the target of a symbolic link. A file reads as zeros from their end to its size.
    Inline(Box<[u8]>),
    /// Extents by offset, ascending, without overlap.
    Extents(Vec<(u64, Extent)>),
    Tree(Link<FileTree>),
    Directory(Box<Directory>),
}

/// Extended attributes, sorted by name.
pub(crate) type XattrList = Vec<(Vec<u8>, Vec<u8>)>;

/// Where extended attributes are.
#[derive(Clone)]
pub(crate) enum Xattrs {
    None,
    Inline(Arc<XattrList>),
    /// An encoded list in a frame.
    Frame(Box<XattrFrame>),
}

/// Extended attributes that are too many for the inode.
#[derive(Clone)]
pub(crate) struct XattrFrame {
    pub(crate) frame: FrameLink,
    /// Bytes.
    pub(crate) length: u32,
}

/// An inode. Pools hold millions of them in memory: what only a few have lies behind a pointer.
#[derive(Clone)]
pub(crate) struct Inode {
    pub(crate) number: u64,
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    /// A read-only clone of a file. (A directory's flag is in its [`RealmRoot`].)
    pub(crate) read_only: bool,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u32,
    pub(crate) rdev: u32,
    pub(crate) size: u64,
    pub(crate) allocated: u64,
    pub(crate) atime: Timestamp,
    pub(crate) mtime: Timestamp,
    pub(crate) ctime: Timestamp,
    pub(crate) btime: Timestamp,
    pub(crate) content: Content,
    pub(crate) xattrs: Xattrs,
    pub(crate) identity: Option<Box<Identity>>,
    pub(crate) origin: Option<Arc<Origin>>,
}

/// Tells inodes that came from elsewhere apart by their [`Identity`]: the same number may come twice from one realm, by different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Foreign {
    /// `uid` of the realm that it came into.
    pub(crate) home: u64,
    /// `uid` of the realm that it came from.
    pub(crate) realm: u64,
}

/// Key of an alias: what came from elsewhere, met in a clone (`uid` of its realm) of the place that it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AliasKey {
    pub(crate) outer: u64,
    pub(crate) foreign: Foreign,
}

/// Key of an inode in a side tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SideKey {
    /// `None` for inodes of the realm itself, else where an inode from another realm came from.
    pub(crate) foreign: Option<Foreign>,
    pub(crate) number: u64,
}

/// Key in the tree of realms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RealmKey {
    /// The `uid` of a realm.
    Uses(u64),
    /// The last of a range of ids that are free.
    Free(u32),
}

/// Value in the tree of realms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RealmValue {
    /// The id, and the number of identities and aliases that say the realm.
    Uses { id: u32, uses: u64 },
    /// The number of ids in the range.
    Free { count: u32 },
}

/// What a name leads to. A pointer, so that a leaf that is copied shares its inodes with the copy, and that putting
/// an entry into a leaf moves little.
#[derive(Clone)]
pub(crate) enum Entry {
    Inode(Arc<Inode>),
    /// One of several names of an inode in the realm's side tree.
    Linked(Box<SideKey>),
}

impl From<Inode> for Entry {
    fn from(inode: Inode) -> Self {
        Self::Inode(Arc::new(inode))
    }
}

impl From<SideKey> for Entry {
    fn from(key: SideKey) -> Self {
        Self::Linked(Box::new(key))
    }
}

impl Identity {
    pub(crate) fn foreign(&self) -> Foreign {
        Foreign { home: self.home, realm: self.realm.uid }
    }
}

impl Inode {
    /// Whether anything that it leads to is more than an address.
    pub(crate) fn leads_into_memory(&self) -> bool {
        let content = match &self.content {
            Content::None | Content::Inline(_) => false,
            Content::Extents(extents) => extents.iter().any(|(_, extent)| extent.frame.is_in_memory()),
            Content::Tree(link) => link.is_in_memory(),
            Content::Directory(directory) => {
                directory.entries.as_ref().is_some_and(Link::is_in_memory)
                    || directory
                        .realm
                        .as_ref()
                        .is_some_and(|realm| realm.side.as_ref().is_some_and(Link::is_in_memory))
            }
        };
        content || matches!(&self.xattrs, Xattrs::Frame(held) if held.frame.is_in_memory())
    }

    pub(crate) fn directory(&self) -> Option<&Directory> {
        match &self.content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(crate) fn directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(crate) fn is_realm_root(&self) -> bool {
        self.directory().is_some_and(|directory| directory.realm.is_some())
    }

    /// The realm that its identity says, if it lies in a directory of realm `outer` and was put there: that is a use of the realm.
    /// What clones inherit is none, nor are orphans.
    pub(crate) fn used_realm(&self, outer: Realm) -> Option<Realm> {
        let identity = self.identity.as_deref()?;
        let is_use = identity.home == outer.uid && outer != Realm::ORPHANS && identity.realm.id != 0;
        is_use.then_some(identity.realm)
    }

    /// What this inode adds to the totals of the directory it lies in.
    pub(crate) fn totals(&self) -> Totals {
        match self.directory() {
            Some(directory) => {
                let mut totals = directory.totals;
                totals.directories = totals.directories.wrapping_add(1);
                let is_clone = directory.realm.as_ref().is_some_and(|realm| realm.scope != Scope::Removed);
                totals.clones = totals.clones.wrapping_add(u64::from(is_clone));
                totals
            }
            None => Totals {
                files: 1,
                bytes: self.allocated,
                foreign: u64::from(self.identity.is_some()),
                ..Totals::default()
            },
        }
    }

    /// What this inode adds to the directory it lies in.
    pub(crate) fn sums(&self) -> Sums {
        let subdirectories = u32::from(self.kind == Kind::Directory);
        Sums { count: 1, subdirectories, totals: self.totals() }
    }
}

impl Entry {
    pub(crate) fn totals(&self) -> Totals {
        match self {
            Self::Inode(inode) => inode.totals(),
            Self::Linked(_) => Totals { files: 1, links: 1, ..Totals::default() },
        }
    }

    /// What the entry adds to the directory that it stands in.
    pub(crate) fn sums(&self) -> Sums {
        match self {
            Self::Inode(inode) => inode.sums(),
            Self::Linked(_) => Sums { count: 1, subdirectories: 0, totals: self.totals() },
        }
    }
}
