//! One node of the model, and what can be set of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use offshoot_engine::{Kind, NewInode, Timestamp};

use super::bytes::Sparse;
use super::tree::Id;

/// Attributes to set; times are absolute.
#[derive(Clone, Debug, Default)]
pub struct Set {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<Timestamp>,
    pub mtime: Option<Timestamp>,
    pub ctime: Option<Timestamp>,
}

/// What a new inode starts with, without anything of its own.
pub fn new(kind: Kind) -> NewInode {
    NewInode { kind, mode: 0o644, uid: 0, gid: 0, rdev: 0, target: Bytes::new(), xattrs: Vec::new() }
}

#[derive(Clone, Debug)]
pub struct Node {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    pub nlink: u32,
    pub size: u64,
    pub content: Sparse,
    pub target: Vec<u8>,
    pub children: BTreeMap<Vec<u8>, Id>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub btime: Timestamp,
    /// The root of a read-only clone.
    pub read_only: bool,
    /// The root of a clone of a directory.
    pub clone_root: bool,
    /// A file that has or had several names.
    pub linked: bool,
    /// The directory that it lies in; of what is linked the root of the realm.
    pub parent: Id,
    /// Removed for good.
    pub gone: bool,
}
