//! What a caller sees of an inode.

use crate::Timestamp;

/// An inode number as users see it: the realm in the upper 24 bits, the number within it in the lower 40.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory of the pool.
    pub const ROOT: Ino = Ino(1);

    /// Joins a realm (24 bits) and a number within it (40 bits).
    pub fn new(realm: u32, number: u64) -> Self {
        debug_assert!(realm < 1 << 24 && number < 1 << 40);
        Self(u64::from(realm) << 40 | number)
    }

    /// The identity domain.
    pub fn realm(self) -> u32 {
        (self.0 >> 40) as u32
    }

    /// The number within the realm.
    pub fn number(self) -> u64 {
        self.0 & ((1 << 40) - 1)
    }
}

/// The type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket's name.
    Socket,
    /// A character device node.
    CharDevice,
    /// A block device node.
    BlockDevice,
}

/// Everything `stat` shows, and what Offshoot adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// The number, unique in the pool.
    pub ino: Ino,
    /// The type.
    pub kind: Kind,
    /// Permission bits with set-id and sticky bits, 0 to 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names; directories count 2 and one for each child directory.
    pub nlink: u32,
    /// Size in bytes; a directory's is the number of its entries.
    pub size: u64,
    /// Bytes of content that are not holes.
    pub allocated: u64,
    /// Device number of a device node (Linux `dev_t` encoding of 32 bits), else 0.
    pub rdev: u32,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Creation.
    pub btime: Timestamp,
    /// It lies in a read-only clone.
    pub read_only: bool,
    /// It is the root directory of a clone.
    pub clone_root: bool,
    /// It has extended attributes (false spares a look-up).
    pub has_xattrs: bool,
}
