//! A fixed sample of everything that is stored, encoded: the fingerprint of the format. Tests compare it with what was written down
//! when the format got its version, and the fuzzer begins with it.

use std::sync::Arc;

use super::VERSION;
use super::codec::Writer;
use super::inode::encode_xattrs;
use super::manifest::{self, Manifest, TableChange};
use crate::address::{Address, ItemKind, SegmentId};
use crate::descent::Descent;
use crate::kinds::{
    AliasTree, DirectoryTree, EntryKey, Extent, FileTree, FrameLink, Ledger, RealmTree, SideTree,
};
use crate::log::batch::{self, Head, Key};
use crate::log::record::{self, samples::operations};
use crate::namespace::{NameHasher, Where};
use crate::record::{
    AliasKey, Content, Directory, Entry, Foreign, Identity, Inode, Name, Realm, RealmKey, RealmRoot,
    RealmValue, Scope, SideKey, Totals, XattrFrame, XattrList, Xattrs,
};
use crate::report::Origin;
use crate::segment::codec::Codec;
use crate::segment::{Directory as SegmentDirectory, ObjectBuilder, ObjectName, PoolMark, SegmentRecord};
use crate::tree::{Body, Branch, ChangedMark, Link, Node, Nodes, Tree};
use crate::{Ino, Kind, Timestamp};

/// No node is in memory.
struct Nothing;

impl Nodes for Nothing {
    fn get(&self, _: Address) -> Option<crate::tree::AnyNode> {
        None
    }
    fn frame(&self, _: Address) -> Option<bytes::Bytes> {
        None
    }
    fn changed(&self) -> Option<ChangedMark> {
        None
    }
}

fn address(segment: u64, index: u32) -> Address {
    Address::new(SegmentId(segment), index)
}

fn leaf<K: Tree>(entries: Vec<(K::Key, K::Value)>) -> Vec<u8> {
    assert!(entries.is_sorted_by(|one, next| one.0 < next.0), "entries ascend");
    Node::<K>::new(Body::Leaf(entries.into()), &Nothing).encode()
}

fn branch<K: Tree>(keys: Vec<K::Key>) -> Vec<u8> {
    let children = keys.into_iter().zip(1..).map(|(key, n)| Branch::<K> {
        key,
        link: Link::Stored(address(1 << 20 | n, n as u32)),
        weight: n * 1000,
    });
    Node::new(Body::Branch(children.collect::<Vec<_>>().into()), &Nothing).encode()
}

fn time(secs: i64) -> Timestamp {
    Timestamp { secs, nanos: 123_456_789 }
}

fn extent(n: u32) -> Extent {
    Extent { frame: FrameLink::Stored(address(7, n)), start: n * 100, length: 90 + n }
}

fn inode(kind: Kind, content: Content) -> Inode {
    Inode {
        number: 300,
        kind,
        mode: 0o4755,
        read_only: false,
        uid: 1000,
        gid: u32::MAX,
        nlink: 2,
        rdev: 0,
        size: 70_000,
        allocated: 5000,
        atime: time(-1),
        mtime: time(1 << 40),
        ctime: time(i64::MIN),
        btime: Timestamp::default(),
        content,
        xattrs: Xattrs::None,
        identity: None,
        origin: None,
    }
}

fn attributes() -> XattrList {
    vec![(b"system.posix_acl_access".to_vec(), vec![2, 0, 0, 0]), (b"user.a".to_vec(), Vec::new())]
}

/// An inode of every form, with its name.
fn inodes() -> Vec<(&'static str, Inode)> {
    let totals = Totals { files: 1, directories: 2, bytes: 1 << 33, links: 3, clones: 4, foreign: 5 };
    let directory = |realm| {
        let entries = Some(Link::<DirectoryTree>::Stored(address(9, 1)));
        Content::Directory(Box::new(Directory { entries, count: 6, subdirectories: 2, totals, realm }))
    };
    let root = |scope, read_only| {
        Some(Box::new(RealmRoot { side: Some(Link::Stored(address(9, 2))), read_only, scope }))
    };
    let mut all = vec![
        ("file-empty", inode(Kind::File, Content::Inline(Box::default()))),
        ("file-inline", inode(Kind::File, Content::Inline(Box::from(&b"content"[..])))),
        ("file-extents", inode(Kind::File, Content::Extents(vec![(0, extent(1)), (1 << 40, extent(2))]))),
        ("file-tree", inode(Kind::File, Content::Tree(Link::Stored(address(8, 3))))),
        ("symlink", inode(Kind::Symlink, Content::Inline(Box::from(&b"to/where"[..])))),
        ("fifo", inode(Kind::Fifo, Content::None)),
        ("socket", inode(Kind::Socket, Content::None)),
        ("directory-plain", inode(Kind::Directory, directory(None))),
        ("directory-whole", inode(Kind::Directory, directory(root(Scope::Whole, false)))),
        ("directory-part", inode(Kind::Directory, directory(root(Scope::Part, true)))),
        ("directory-removed", inode(Kind::Directory, directory(root(Scope::Removed, false)))),
        ("directory-empty", inode(Kind::Directory, Content::Directory(Box::default()))),
    ];
    for (name, kind) in [("character-device", Kind::CharDevice), ("block-device", Kind::BlockDevice)] {
        all.push((name, Inode { rdev: 0x0801, ..inode(kind, Content::None) }));
    }
    let file = || inode(Kind::File, Content::Inline(Box::default()));
    all.push(("attributes-inline", Inode { xattrs: Xattrs::Inline(Arc::new(attributes())), ..file() }));
    let held = XattrFrame { frame: FrameLink::Stored(address(3, 4)), length: 3000 };
    all.push(("attributes-frame", Inode { xattrs: Xattrs::Frame(Box::new(held)), ..file() }));
    let identity = Identity { realm: Realm { id: (1 << 24) - 1, uid: 1 << 50 }, home: 77 };
    all.push(("identity", Inode { identity: Some(Box::new(identity)), ..file() }));
    let origin = Origin { ino: Ino::new(5, 300), path: b"/where/it/was".to_vec(), time: time(5) };
    all.push(("origin-read-only", Inode { origin: Some(Arc::new(origin)), read_only: true, ..file() }));
    all
}

fn key(name: &str, hash: u64) -> EntryKey {
    EntryKey { hash, name: Name::from_slice(name.as_bytes()) }
}

fn side_keys() -> [SideKey; 3] {
    [
        SideKey { foreign: None, number: 16 },
        SideKey { foreign: Some(Foreign { home: 0, realm: 9 }), number: 17 },
        SideKey { foreign: Some(Foreign { home: 1 << 60, realm: (1 << 63) - 1 }), number: (1 << 40) - 1 },
    ]
}

fn alias_keys() -> Vec<AliasKey> {
    [(2, 0, 3), (300, 1 << 40, (1 << 63) - 1)]
        .map(|(outer, home, realm)| AliasKey { outer, foreign: Foreign { home, realm } })
        .into()
}

fn nodes() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |name: &str, bytes| all.push((format!("node {name}"), bytes));
    for (name, inode) in inodes() {
        add(
            &format!("directory leaf, {name}"),
            leaf::<DirectoryTree>(vec![(key(name, 12_345), inode.into())]),
        );
    }
    let linked = side_keys().map(|side| (key("linked", 3 + side.number), Entry::from(side)));
    add("directory leaf, linked", leaf::<DirectoryTree>(linked.into()));
    add("directory leaf, empty", leaf::<DirectoryTree>(Vec::new()));
    add("directory branch", branch::<DirectoryTree>(vec![key("a", 3), key("b", 3), key("a", (1 << 63) - 1)]));
    add("file leaf", leaf::<FileTree>(vec![(0, extent(1)), (1 << 40, extent(2)), (1 << 62, extent(3))]));
    add("file branch", branch::<FileTree>(vec![0, 128, 1 << 62]));
    let linked = side_keys().map(|side| (side, Arc::new(inode(Kind::File, Content::Inline(Box::default())))));
    add("side leaf", leaf::<SideTree>(linked.into()));
    add("side branch", branch::<SideTree>(side_keys().into()));
    let realm = Realm { id: 77, uid: 1 << 40 };
    add("alias leaf", leaf::<AliasTree>(alias_keys().into_iter().map(|key| (key, realm)).collect()));
    add("alias branch", branch::<AliasTree>(alias_keys()));
    add("ledger leaf", leaf::<Ledger>(vec![(1 << 24, 0), (1 << 25, 2), (u64::MAX, u32::MAX)]));
    add("ledger branch", branch::<Ledger>(vec![1 << 24, u64::MAX]));
    let realms = vec![
        (RealmKey::Uses(2), RealmValue::Uses { id: 1, uses: 3 }),
        (RealmKey::Uses(1 << 40), RealmValue::Uses { id: (1 << 24) - 1, uses: 0 }),
        (RealmKey::Free(9), RealmValue::Free { count: 4 }),
    ];
    add("realm branch", branch::<RealmTree>(realms.iter().map(|(key, _)| *key).collect()));
    add("realm leaf", leaf::<RealmTree>(realms));
    all
}

/// The records of the log.
pub(crate) fn records() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (n, operation) in operations().into_iter().enumerate() {
        let mut out = Writer::default();
        record::encode_operation(time(7), &operation, &mut out, &mut Vec::new());
        all.push((format!("record {n}, tag {}", out.bytes[0]), out.bytes));
    }
    let places = [Where::Name(key("name", 4)), Where::Side(side_keys()[2]), Where::Side(side_keys()[0])];
    for (n, place) in places.iter().enumerate() {
        let mut out = Writer::default();
        record::encode_locate(Ino(5), Ino(u64::MAX), place, n == 0, &mut out);
        all.push((format!("record location {n}, tag {}", out.bytes[0]), out.bytes));
    }
    all
}

fn table() -> Vec<TableChange> {
    let record = SegmentRecord {
        object: ObjectName { epoch: 3, number: 1 << 33 },
        directory_offset: 1 << 20,
        directory_length: 500,
        bytes: 1 << 21,
        live_items: 40,
        live_bytes: 1 << 19,
    };
    vec![(SegmentId(1), Some(record)), (SegmentId((1 << 40) - 1), None)]
}

/// A segment table.
pub(crate) fn segment_table() -> Vec<u8> {
    manifest::encode_table(VERSION, &table()[..1]).to_vec()
}

fn whole_manifest(log_in_store: bool) -> Vec<u8> {
    let [(_, root), (_, orphans)] = inodes()
        .into_iter()
        .filter(|(name, _)| matches!(*name, "directory-whole" | "directory-removed"))
        .collect::<Vec<_>>()
        .try_into()
        .ok()
        .expect("there are two");
    let manifest = Manifest {
        version: VERSION,
        number: 5,
        epoch: 6,
        pool_id: *b"0123456789abcdef",
        hash_key: [7, 8],
        hash_mask: u64::MAX,
        time: time(9),
        root,
        orphans,
        aliases: Some(Link::Stored(address(1, 1))),
        realms: Some(Link::Stored(address(1, 2))),
        ledger: Some(Link::Stored(address(1, 3))),
        ledger_dead: vec![address(1, 4), address(2, 0)],
        garbage: vec![(address(1, 5), ItemKind::Directory), (address(1, 6), ItemKind::Realm)],
        born: vec![(address(1, 7), ItemKind::Frame)],
        next_number: 400,
        next_realm: Realm { id: 12, uid: 13 },
        next_segment: 14,
        sequence: 15,
        log: 16,
        newest_log: 17,
        durable: 18,
        abandoned: 19,
        uncounted: vec![1 << 24..1 << 25, 5 << 24..(5 << 24) + 9],
        table: 4,
        table_changes: table(),
        log_in_store,
    };
    manifest.encode().to_vec()
}

/// An object of two segments, one of which has lost an item.
fn object() -> Vec<u8> {
    let mut builder = ObjectBuilder::new(VERSION, 3, 0);
    for (segment, indexes) in [(SegmentId(1), [0, 1]), (SegmentId(300), [0, 2])] {
        let mut directory = SegmentDirectory::default();
        for index in indexes {
            let kind = if index == 0 { ItemKind::Frame } else { ItemKind::Ledger };
            directory.items.push(builder.push(segment, index, kind, 5, Codec::Raw, b"bytes"));
        }
        builder.end_segment(segment, &directory, PoolMark::of(b"0123456789abcdef"));
    }
    builder.finish().to_vec()
}

fn hashes() -> Vec<u8> {
    let hasher = NameHasher { key: [7, 8], mask: u64::MAX };
    let names: [&[u8]; 3] = [b"a", b"a longer name of a file", &[0xff; 255]];
    names.iter().flat_map(|name| hasher.key(name).hash.to_le_bytes()).collect()
}

/// Everything, each with what it is.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let mut all = nodes();
    let mut list = Writer::default();
    encode_xattrs(&attributes(), &mut list);
    all.push(("attributes in a frame".into(), list.bytes));
    all.extend(records());
    let key = Key::new(b"0123456789abcdef", [7, 8]);
    let head = Head { version: VERSION, sequence: 9, operations: 1, durable: 8 };
    all.push(("head of a batch".into(), batch::header(&key, 5, head, b"payload").to_vec()));
    all.push(("manifest".into(), whole_manifest(false)));
    all.push(("manifest, log in the store".into(), whole_manifest(true)));
    all.push(("descent".into(), Descent { id: 3, manifest: 4 }.encode().to_vec()));
    all.push(("segment table".into(), segment_table()));
    all.push(("object of segments".into(), object()));
    all.extend(crate::encryption::samples::all());
    all.push(("name hashes".into(), hashes()));
    let names = [
        ObjectName { epoch: 0x12, number: 0xabc }.path(),
        manifest::path(0xabc),
        manifest::table_path(0xabc),
    ];
    all.push(("names".into(), names.join(" ").into_bytes()));
    all
}
