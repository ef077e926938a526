//! Encoding of inodes, directory entries and extents.

use std::sync::Arc;

use super::codec::{Reader, Writer, out_of_range, time_bytes, varint_bytes};
use crate::kinds::{Extent, FrameLink, decode_uid};
use crate::record::{
    Content, Directory, Entry, FILE_BYTES_MAX, Foreign, Identity, Inode, Realm, RealmRoot, Scope, SideKey,
    Totals, XattrFrame, XattrList, Xattrs,
};
use crate::report::Origin;
use crate::tree::{Link, Root, Tree};
use crate::{Ino, Kind, Result};

/// Upper bound of the encoded size of an entry, in bytes.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    match entry {
        Entry::Inode(inode) => 1 + inode_bytes(inode),
        Entry::Linked(_) => 31,
    }
}

/// Encoded size of an inode, in bytes. Never too low, and not more than a few bytes too high, so that nodes fill well.
pub(crate) fn inode_bytes(inode: &Inode) -> usize {
    let content = match &inode.content {
        Content::None => 0,
        Content::Inline(bytes) => varint_bytes(bytes.len() as u64) + bytes.len(),
        Content::Extents(extents) => {
            varint_bytes(extents.len() as u64)
                + extents
                    .iter()
                    .map(|(offset, extent)| varint_bytes(*offset) + extent_bytes(extent))
                    .sum::<usize>()
        }
        Content::Tree(_) => 8,
        Content::Directory(directory) => {
            let Totals { files, directories, bytes, links, clones, foreign } = directory.totals;
            let numbers = [
                directory.count,
                u64::from(directory.subdirectories),
                files,
                directories,
                bytes,
                links,
                clones,
                foreign,
            ];
            let realm = if directory.realm.is_some() { 9 } else { 1 };
            8 + numbers.into_iter().map(varint_bytes).sum::<usize>() + realm
        }
    };
    let xattrs = match &inode.xattrs {
        Xattrs::None => 0,
        Xattrs::Inline(list) => 3 + xattr_list_bytes(list),
        Xattrs::Frame(..) => 13,
    };
    let identity = if inode.identity.is_some() { 24 } else { 0 };
    let origin = inode.origin.as_ref().map_or(0, |origin| 28 + origin.path.len());
    let numbers = [
        inode.number,
        u64::from(inode.mode),
        u64::from(inode.uid),
        u64::from(inode.gid),
        u64::from(inode.nlink),
        u64::from(inode.rdev),
        inode.size,
        inode.allocated,
    ];
    let times = [inode.atime, inode.mtime, inode.ctime, inode.btime];
    // Type, flags, and the forms of attributes and content.
    4 + numbers.into_iter().map(varint_bytes).sum::<usize>()
        + times.into_iter().map(time_bytes).sum::<usize>()
        + identity
        + origin
        + xattrs
        + content
}

fn extent_bytes(extent: &Extent) -> usize {
    8 + varint_bytes(u64::from(extent.start)) + varint_bytes(u64::from(extent.length))
}

/// Encoded size of a list of attributes, in bytes (upper bound).
pub(crate) fn xattr_list_bytes(list: &XattrList) -> usize {
    list.iter().map(|(name, value)| name.len() + value.len() + 6).sum()
}

/// Format: 0 for the realm itself, else the home's `uid` plus one, then the realm's; then the number.
pub(crate) fn encode_side_key(key: &SideKey, out: &mut Writer) {
    match key.foreign {
        None => out.varint(0),
        Some(foreign) => {
            out.varint(foreign.home + 1);
            out.varint(foreign.realm);
        }
    }
    out.varint(key.number);
}

pub(crate) fn decode_side_key(from: &mut Reader<'_>) -> Result<SideKey> {
    let foreign = match from.varint()? {
        0 => None,
        home if home > 1 << 63 => return Err(out_of_range("realm")),
        home => Some(Foreign { home: home - 1, realm: decode_uid(from)? }),
    };
    Ok(SideKey { foreign, number: from.varint()? })
}

pub(crate) fn encode_entry(entry: &Entry, out: &mut Writer) {
    match entry {
        Entry::Inode(inode) => {
            out.u8(0);
            encode_inode(inode, out);
        }
        Entry::Linked(key) => {
            out.u8(1);
            encode_side_key(key, out);
        }
    }
}

pub(crate) fn decode_entry(from: &mut Reader<'_>) -> Result<Entry> {
    Ok(match from.u8()? {
        0 => decode_inode(from)?.into(),
        1 => decode_side_key(from)?.into(),
        _ => return Err(out_of_range("directory entry")),
    })
}

pub(crate) fn encode_extent(extent: &Extent, out: &mut Writer) {
    out.u64(extent.frame.address().expect("frames are stored before their extents").raw());
    out.varint(u64::from(extent.start));
    out.varint(u64::from(extent.length));
}

pub(crate) fn decode_extent(from: &mut Reader<'_>) -> Result<Extent> {
    let frame = FrameLink::Stored(crate::tree::decode_address(from)?);
    let extent = Extent { frame, start: from.varint_u32()?, length: from.varint_u32()? };
    if extent.length == 0 || extent.start.checked_add(extent.length).is_none() {
        return Err(out_of_range("extent"));
    }
    Ok(extent)
}

/// Whether an extent lies in a file of any size, behind the one before it.
pub(crate) fn is_possible_extent(before: Option<&(u64, Extent)>, offset: u64, extent: &Extent) -> bool {
    let end = |offset: u64, extent: &Extent| offset.checked_add(u64::from(extent.length));
    let is_behind = before.is_none_or(|(last, extent)| end(*last, extent).is_some_and(|end| end <= offset));
    is_behind && end(offset, extent).is_some_and(|end| end <= FILE_BYTES_MAX)
}

pub(crate) fn encode_realm(realm: Realm, out: &mut Writer) {
    out.varint(u64::from(realm.id));
    out.varint(realm.uid);
}

pub(crate) fn decode_realm(from: &mut Reader<'_>) -> Result<Realm> {
    let realm = Realm { id: from.varint_u32()?, uid: decode_uid(from)? };
    if realm.id >= 1 << 24 {
        return Err(out_of_range("realm"));
    }
    Ok(realm)
}

fn encode_root<K: Tree>(root: &Root<K>, out: &mut Writer) {
    out.u64(
        root.as_ref()
            .map_or(0, |link| link.address().expect("children are stored before their parent").raw()),
    );
}

fn decode_root<K: Tree>(from: &mut Reader<'_>) -> Result<Root<K>> {
    match from.u64()? {
        0 => Ok(None),
        raw => match crate::address::Address::from_raw(raw) {
            Some(address) => Ok(Some(Link::Stored(address))),
            None => Err(out_of_range("address")),
        },
    }
}

/// The stored number of a kind.
pub(crate) fn kind_to_u8(kind: Kind) -> u8 {
    match kind {
        Kind::File => 0,
        Kind::Directory => 1,
        Kind::Symlink => 2,
        Kind::Fifo => 3,
        Kind::Socket => 4,
        Kind::CharDevice => 5,
        Kind::BlockDevice => 6,
    }
}

pub(crate) fn kind_from_u8(byte: u8) -> Result<Kind> {
    Ok(match byte {
        0 => Kind::File,
        1 => Kind::Directory,
        2 => Kind::Symlink,
        3 => Kind::Fifo,
        4 => Kind::Socket,
        5 => Kind::CharDevice,
        6 => Kind::BlockDevice,
        _ => return Err(out_of_range("file type")),
    })
}

const FLAG_READ_ONLY: u8 = 1;
const FLAG_IDENTITY: u8 = 2;
const FLAG_ORIGIN: u8 = 4;
const FLAGS: u8 = 7;
/// Beside the scope of a realm's root.
const REALM_READ_ONLY: u8 = 4;

pub(crate) fn encode_inode(inode: &Inode, out: &mut Writer) {
    let mut flags = 0;
    if inode.read_only {
        flags |= FLAG_READ_ONLY;
    }
    if inode.identity.is_some() {
        flags |= FLAG_IDENTITY;
    }
    if inode.origin.is_some() {
        flags |= FLAG_ORIGIN;
    }
    out.u8(kind_to_u8(inode.kind));
    out.u8(flags);
    out.varint(inode.number);
    out.varint(u64::from(inode.mode));
    out.varint(u64::from(inode.uid));
    out.varint(u64::from(inode.gid));
    out.varint(u64::from(inode.nlink));
    out.varint(u64::from(inode.rdev));
    out.varint(inode.size);
    out.varint(inode.allocated);
    for time in [inode.atime, inode.mtime, inode.ctime, inode.btime] {
        out.time(time);
    }
    if let Some(identity) = &inode.identity {
        encode_realm(identity.realm, out);
        out.varint(identity.home);
    }
    if let Some(origin) = &inode.origin {
        out.varint(origin.ino.0);
        out.bytes(&origin.path);
        out.time(origin.time);
    }
    match &inode.xattrs {
        Xattrs::None => out.u8(0),
        Xattrs::Inline(list) => {
            out.u8(1);
            encode_xattrs(list, out);
        }
        Xattrs::Frame(held) => {
            out.u8(2);
            out.u64(held.frame.address().expect("frames are stored before their inode").raw());
            out.varint(u64::from(held.length));
        }
    }
    match &inode.content {
        Content::None => out.u8(0),
        Content::Inline(bytes) => {
            out.u8(1);
            out.bytes(bytes);
        }
        Content::Extents(extents) => {
            out.u8(2);
            out.varint(extents.len() as u64);
            for (offset, extent) in extents {
                out.varint(*offset);
                encode_extent(extent, out);
            }
        }
        Content::Tree(link) => {
            out.u8(3);
            out.u64(link.address().expect("children are stored before their parent").raw());
        }
        Content::Directory(directory) => {
            out.u8(4);
            encode_root(&directory.entries, out);
            out.varint(directory.count);
            out.varint(u64::from(directory.subdirectories));
            let Totals { files, directories, bytes, links, clones, foreign } = directory.totals;
            for value in [files, directories, bytes, links, clones, foreign] {
                out.varint(value);
            }
            match &directory.realm {
                None => out.u8(0),
                Some(realm) => {
                    let scope = match realm.scope {
                        Scope::Whole => 1,
                        Scope::Part => 2,
                        Scope::Removed => 3,
                    };
                    out.u8(scope | if realm.read_only { REALM_READ_ONLY } else { 0 });
                    encode_root(&realm.side, out);
                }
            }
        }
    }
}

pub(crate) fn decode_inode(from: &mut Reader<'_>) -> Result<Inode> {
    let kind = kind_from_u8(from.u8()?)?;
    let flags = from.u8()?;
    if flags & !FLAGS != 0 {
        return Err(out_of_range("inode flag"));
    }
    let number = from.varint()?;
    let mode = from.varint()?;
    if number >= 1 << 40 || mode > 0o7777 {
        return Err(out_of_range("inode"));
    }
    let uid = from.varint_u32()?;
    let gid = from.varint_u32()?;
    let nlink = from.varint_u32()?;
    let rdev = from.varint_u32()?;
    let size = from.varint()?;
    let allocated = from.varint()?;
    if size > FILE_BYTES_MAX {
        return Err(out_of_range("file size"));
    }
    let (atime, mtime, ctime, btime) = (from.time()?, from.time()?, from.time()?, from.time()?);
    let identity = if flags & FLAG_IDENTITY != 0 {
        Some(Box::new(Identity { realm: decode_realm(from)?, home: decode_uid(from)? }))
    } else {
        None
    };
    let origin = if flags & FLAG_ORIGIN != 0 {
        Some(Arc::new(Origin { ino: Ino(from.varint()?), path: from.bytes()?.to_vec(), time: from.time()? }))
    } else {
        None
    };
    let xattrs = match from.u8()? {
        0 => Xattrs::None,
        1 => Xattrs::Inline(Arc::new(decode_xattrs(from)?)),
        2 => {
            let frame = FrameLink::Stored(crate::tree::decode_address(from)?);
            Xattrs::Frame(Box::new(XattrFrame { frame, length: from.varint_u32()? }))
        }
        _ => return Err(out_of_range("attribute list")),
    };
    let content = match from.u8()? {
        0 => Content::None,
        1 => Content::Inline(from.bytes()?.into()),
        2 => {
            let count = from.count(11)?;
            let mut extents: Vec<(u64, Extent)> = Vec::with_capacity(count);
            for _ in 0..count {
                let (offset, extent) = (from.varint()?, decode_extent(from)?);
                if !is_possible_extent(extents.last(), offset, &extent) {
                    return Err(out_of_range("extent order"));
                }
                extents.push((offset, extent));
            }
            Content::Extents(extents)
        }
        3 => Content::Tree(Link::Stored(crate::tree::decode_address(from)?)),
        4 => Content::Directory(Box::new(decode_directory(from)?)),
        _ => return Err(out_of_range("content")),
    };
    let fits = match kind {
        Kind::File => matches!(content, Content::Inline(_) | Content::Extents(_) | Content::Tree(_)),
        Kind::Directory => matches!(content, Content::Directory(_)),
        Kind::Symlink => matches!(content, Content::Inline(_)),
        Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => matches!(content, Content::None),
    };
    if !fits {
        return Err(out_of_range("content"));
    }
    let read_only = flags & FLAG_READ_ONLY != 0;
    let mode = mode as u16;
    Ok(Inode {
        number,
        kind,
        mode,
        read_only,
        uid,
        gid,
        nlink,
        rdev,
        size,
        allocated,
        atime,
        mtime,
        ctime,
        btime,
        content,
        xattrs,
        identity,
        origin,
    })
}

fn decode_directory(from: &mut Reader<'_>) -> Result<Directory> {
    let entries = decode_root(from)?;
    let count = from.varint()?;
    let subdirectories = from.varint_u32()?;
    let totals = Totals {
        files: from.varint()?,
        directories: from.varint()?,
        bytes: from.varint()?,
        links: from.varint()?,
        clones: from.varint()?,
        foreign: from.varint()?,
    };
    let realm = match from.u8()? {
        0 => None,
        flags => {
            let scope = match flags & !REALM_READ_ONLY {
                1 => Scope::Whole,
                2 => Scope::Part,
                3 => Scope::Removed,
                _ => return Err(out_of_range("clone flag")),
            };
            let read_only = flags & REALM_READ_ONLY != 0;
            Some(Box::new(RealmRoot { side: decode_root(from)?, read_only, scope }))
        }
    };
    Ok(Directory { entries, count, subdirectories, totals, realm })
}

pub(crate) fn encode_xattrs(list: &XattrList, out: &mut Writer) {
    out.varint(list.len() as u64);
    for (name, value) in list {
        out.bytes(name);
        out.bytes(value);
    }
}

pub(crate) fn decode_xattrs(from: &mut Reader<'_>) -> Result<XattrList> {
    let count = from.count(2)?;
    let mut list = XattrList::with_capacity(count);
    for _ in 0..count {
        let name = from.bytes()?.to_vec();
        if list.last().is_some_and(|(last, _)| *last >= name) {
            return Err(out_of_range("attribute order"));
        }
        list.push((name, from.bytes()?.to_vec()));
    }
    Ok(list)
}
