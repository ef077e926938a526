//! What can be done to a state. Every operation is complete in itself: replaying it on the same state gives the same.

use std::sync::Arc;

use bytes::Bytes;

use crate::address::Address;
use crate::frame::Frame;
use crate::kinds::FrameLink;
use crate::pool::{AllocateMode, NewInode, RenameMode, XattrMode};
use crate::record::{AliasKey, Name, Realm, SideKey};
use crate::{Ino, Timestamp};

/// The bytes of a write.
#[derive(Clone)]
pub(crate) enum WriteData {
    /// Few bytes: they go into the log themselves.
    Bytes(Bytes),
    /// Many bytes, as frames one after the other: they are stored before the log names them.
    Frames(Vec<Arc<Frame>>),
    /// As the log names them: address and length in bytes.
    Stored(Vec<(Address, u32)>),
}

impl WriteData {
    /// Bytes.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Frames(frames) => frames.iter().map(|frame| u64::from(frame.length())).sum(),
            Self::Stored(frames) => frames.iter().map(|(_, length)| u64::from(*length)).sum(),
        }
    }
}

/// Attributes to set, with times made absolute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AttributeChange {
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) atime: Option<Timestamp>,
    pub(crate) mtime: Option<Timestamp>,
    pub(crate) ctime: Option<Timestamp>,
}

/// One operation.
#[derive(Clone)]
pub(crate) enum Operation {
    Create {
        parent: Ino,
        name: Name,
        new: NewInode,
    },
    CreateUnnamed {
        parent: Ino,
        new: NewInode,
    },
    Link {
        ino: Ino,
        parent: Ino,
        name: Name,
    },
    Unlink {
        parent: Ino,
        name: Name,
    },
    RemoveDirectory {
        parent: Ino,
        name: Name,
    },
    /// `links`: names below it of files that have several, counted by file.
    RemoveTree {
        parent: Ino,
        name: Name,
        links: Vec<(SideKey, u32)>,
    },
    Rename {
        parent: Ino,
        name: Name,
        new_parent: Ino,
        new_name: Name,
        mode: RenameMode,
    },
    /// `links`: as of [`Operation::RemoveTree`], below what is replaced.
    Clone {
        source: Ino,
        parent: Ino,
        name: Name,
        read_only: bool,
        replace: bool,
        source_path: Vec<u8>,
        links: Vec<(SideKey, u32)>,
    },
    SetAttributes {
        ino: Ino,
        set: AttributeChange,
    },
    /// At the end of the file if `offset` is `None`.
    Write {
        ino: Ino,
        offset: Option<u64>,
        data: WriteData,
        clear_set_id: bool,
    },
    Allocate {
        ino: Ino,
        offset: u64,
        length: u64,
        mode: AllocateMode,
    },
    CloneRange {
        source: Ino,
        source_offset: u64,
        destination: Ino,
        destination_offset: u64,
        length: u64,
    },
    /// Makes one frame of the data between the first and the end of the last run; nothing that can be seen changes. `runs`: offset and length of
    /// what lies between holes; the frame has their bytes one after the other.
    Defragment {
        ino: Ino,
        frame: FrameLink,
        runs: Vec<(u64, u32)>,
    },
    SetXattr {
        ino: Ino,
        name: Vec<u8>,
        value: Vec<u8>,
        how: XattrMode,
        mode: Option<u32>,
    },
    RemoveXattr {
        ino: Ino,
        name: Vec<u8>,
    },
    /// Gives a realm its alias within another.
    Alias(AliasKey),
    /// Frees a removed inode that is no longer held open.
    DropOrphan {
        ino: Ino,
    },
    /// Takes up to `entries` clones, moved files and what they lie in out of a removed directory that nobody can reach; it goes
    /// with the last of them.
    TakeApart {
        ino: Ino,
        entries: u32,
    },
    /// Takes up to `aliases` aliases of a realm that has ended back, and its id with the last of them.
    FreeRealm {
        realm: Realm,
        aliases: u32,
    },
}

impl Operation {
    /// The addresses of frames that the operation names.
    pub(crate) fn stored_frames(&self) -> Vec<Address> {
        match self {
            Self::Write { data: WriteData::Stored(frames), .. } => {
                frames.iter().map(|(address, _)| *address).collect()
            }
            Self::Defragment { frame, .. } => frame.address().into_iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The known inodes that the operation names.
    pub(crate) fn inodes(&self) -> [Option<Ino>; 2] {
        match self {
            Self::Create { parent, .. }
            | Self::CreateUnnamed { parent, .. }
            | Self::Unlink { parent, .. }
            | Self::RemoveDirectory { parent, .. }
            | Self::RemoveTree { parent, .. } => [Some(*parent), None],
            Self::Link { ino, parent, .. } => [Some(*ino), Some(*parent)],
            Self::Rename { parent, new_parent, .. } => [Some(*parent), Some(*new_parent)],
            Self::Clone { source, parent, .. } => [Some(*source), Some(*parent)],
            Self::SetAttributes { ino, .. }
            | Self::Write { ino, .. }
            | Self::Allocate { ino, .. }
            | Self::Defragment { ino, .. }
            | Self::SetXattr { ino, .. }
            | Self::RemoveXattr { ino, .. }
            | Self::DropOrphan { ino } => [Some(*ino), None],
            Self::CloneRange { source, destination, .. } => [Some(*source), Some(*destination)],
            Self::Alias(_) | Self::TakeApart { .. } | Self::FreeRealm { .. } => [None, None],
        }
    }
}
