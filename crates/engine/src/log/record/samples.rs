//! One record of every kind, for tests and for the fuzzer to begin with.

use bytes::Bytes;

use super::{
    Address, AllocateMode, AttributeChange, FrameLink, NewInode, Operation, RenameMode, WriteData, XattrMode,
};
use crate::address::SegmentId;
use crate::record::{AliasKey, Foreign, Name, Realm, SideKey};
use crate::{Ino, Kind, Timestamp};

fn new(kind: Kind) -> NewInode {
    NewInode {
        kind,
        mode: 0o4755,
        uid: u32::MAX,
        gid: 1000,
        rdev: 0x0801,
        target: Bytes::from_static(b"to/where"),
        xattrs: vec![(b"user.a".to_vec(), vec![0; 300]), (b"user.b".to_vec(), Vec::new())],
    }
}

/// One operation of each kind and mode, with small and with large values.
pub(crate) fn operations() -> Vec<Operation> {
    let (a, b) = (Ino(1), Ino(u64::MAX));
    let (name, long) = (Name::from_slice(b"name"), Name::from_vec(vec![0xff; 255]));
    let time = Timestamp { secs: -5, nanos: 999_999_999 };
    let key = SideKey { foreign: Some(Foreign { home: 0, realm: (1 << 63) - 1 }), number: (1 << 40) - 1 };
    let links = vec![(SideKey { foreign: None, number: 16 }, 1), (key, u32::MAX)];
    let address = Address::new(SegmentId((1 << 40) - 1), Address::ITEMS_MAX - 1);
    let kinds = [
        Kind::File,
        Kind::Directory,
        Kind::Symlink,
        Kind::Fifo,
        Kind::Socket,
        Kind::CharDevice,
        Kind::BlockDevice,
    ];
    let mut all: Vec<_> =
        kinds.map(|kind| Operation::Create { parent: b, name: name.clone(), new: new(kind) }).into();
    for mode in [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange, RenameMode::Whiteout] {
        all.push(Operation::Rename {
            parent: a,
            name: name.clone(),
            new_parent: b,
            new_name: long.clone(),
            mode,
        });
    }
    for (read_only, replace) in [(false, false), (true, false), (false, true), (true, true)] {
        all.push(Operation::Clone {
            source: a,
            parent: b,
            name: long.clone(),
            read_only,
            replace,
            source_path: vec![b'/'; 300],
            links: links.clone(),
        });
    }
    for mode in [
        AllocateMode::Allocate { keep_size: false },
        AllocateMode::Allocate { keep_size: true },
        AllocateMode::PunchHole,
        AllocateMode::ZeroRange { keep_size: false },
        AllocateMode::ZeroRange { keep_size: true },
    ] {
        all.push(Operation::Allocate { ino: a, offset: u64::MAX, length: 0, mode });
    }
    for (how, mode) in
        [(XattrMode::Set, None), (XattrMode::Create, Some(0)), (XattrMode::Replace, Some(0o7777))]
    {
        all.push(Operation::SetXattr { ino: a, name: b"user.x".to_vec(), value: vec![7; 300], how, mode });
    }
    let stored = WriteData::Stored(vec![(address, 1), (address, u32::MAX)]);
    for (offset, data) in [(None, WriteData::Bytes(Bytes::from_static(b"data"))), (Some(u64::MAX), stored)] {
        all.push(Operation::Write { ino: b, offset, data, clear_set_id: offset.is_none() });
    }
    let set = AttributeChange {
        mode: Some(0),
        uid: Some(u32::MAX),
        gid: None,
        size: Some(u64::MAX),
        atime: Some(time),
        mtime: None,
        ctime: Some(time),
    };
    let runs = vec![(0, 1), (u64::MAX, u32::MAX)];
    all.extend([
        Operation::Defragment { ino: b, frame: FrameLink::Stored(address), runs },
        Operation::CreateUnnamed { parent: a, new: new(Kind::File) },
        Operation::Link { ino: a, parent: b, name: name.clone() },
        Operation::Unlink { parent: a, name: name.clone() },
        Operation::RemoveDirectory { parent: b, name: long },
        Operation::RemoveTree { parent: a, name, links },
        Operation::SetAttributes { ino: b, set },
        Operation::SetAttributes { ino: a, set: AttributeChange::default() },
        Operation::CloneRange {
            source: a,
            source_offset: 1,
            destination: b,
            destination_offset: 2,
            length: 3,
        },
        Operation::RemoveXattr { ino: a, name: b"user.x".to_vec() },
        Operation::Alias(AliasKey { outer: 7, foreign: Foreign { home: 300, realm: 0 } }),
        Operation::DropOrphan { ino: b },
        Operation::TakeApart { ino: b, entries: u32::MAX },
        Operation::FreeRealm { realm: Realm { id: (1 << 24) - 1, uid: (1 << 63) - 1 }, aliases: 1 },
    ]);
    all
}
