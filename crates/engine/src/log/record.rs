//! Operations as the log holds them.

use bytes::Bytes;

use crate::address::Address;
use crate::format::codec::{Reader, Writer, out_of_range};
use crate::format::inode::{
    decode_realm, decode_side_key, encode_realm, encode_side_key, kind_from_u8, kind_to_u8,
};
use crate::kinds::{EntryKey, FrameLink, decode_alias_key};
use crate::namespace::{AttributeChange, Operation, Where, WriteData};
use crate::pool::{AllocateMode, NewInode, RenameMode, XattrMode};
use crate::record::{Name, SideKey};
use crate::{Ino, Result, Timestamp};

/// One record of the log.
pub(crate) enum Record {
    /// Where an inode is that a following operation names.
    Locate { ino: Ino, parent: Ino, place: Where, realm_root: bool },
    /// An operation and the time at which it was executed.
    Operation(Timestamp, Operation),
}

const LOCATE_NAME: u8 = 1;
const LOCATE_SIDE: u8 = 2;
const CREATE: u8 = 16;
const CREATE_UNNAMED: u8 = 17;
const LINK: u8 = 18;
const UNLINK: u8 = 19;
const REMOVE_DIRECTORY: u8 = 20;
const REMOVE_TREE: u8 = 21;
const RENAME: u8 = 22;
const CLONE: u8 = 23;
const SET_ATTRIBUTES: u8 = 24;
const WRITE: u8 = 25;
const WRITE_STORED: u8 = 26;
const ALLOCATE: u8 = 27;
const CLONE_RANGE: u8 = 28;
const SET_XATTR: u8 = 29;
const REMOVE_XATTR: u8 = 30;
const ALIAS: u8 = 31;
const DROP_ORPHAN: u8 = 32;
const TAKE_APART: u8 = 33;
const FREE_REALM: u8 = 34;
const DEFRAGMENT: u8 = 35;

pub(crate) fn encode_locate(ino: Ino, parent: Ino, place: &Where, realm_root: bool, out: &mut Writer) {
    match place {
        Where::Name(key) => {
            out.u8(LOCATE_NAME);
            out.varint(ino.0);
            out.varint(parent.0);
            out.u64(key.hash);
            out.bytes(&key.name);
            out.u8(u8::from(realm_root));
        }
        Where::Side(key) => {
            out.u8(LOCATE_SIDE);
            out.varint(ino.0);
            out.varint(parent.0);
            encode_side_key(key, out);
        }
    }
}

fn encode_new(new: &NewInode, out: &mut Writer) {
    out.u8(kind_to_u8(new.kind));
    out.varint(u64::from(new.mode));
    out.varint(u64::from(new.uid));
    out.varint(u64::from(new.gid));
    out.varint(u64::from(new.rdev));
    out.bytes(&new.target);
    out.varint(new.xattrs.len() as u64);
    for (name, value) in &new.xattrs {
        out.bytes(name);
        out.bytes(value);
    }
}

fn decode_new(from: &mut Reader<'_>) -> Result<NewInode> {
    Ok(NewInode {
        kind: kind_from_u8(from.u8()?)?,
        mode: from.varint_u32()?,
        uid: from.varint_u32()?,
        gid: from.varint_u32()?,
        rdev: from.varint_u32()?,
        target: Bytes::copy_from_slice(from.bytes()?),
        xattrs: (0..from.count(2)?)
            .map(|_| Ok((from.bytes()?.to_vec(), from.bytes()?.to_vec())))
            .collect::<Result<_>>()?,
    })
}

fn encode_links(links: &[(SideKey, u32)], out: &mut Writer) {
    out.varint(links.len() as u64);
    for (key, count) in links {
        encode_side_key(key, out);
        out.varint(u64::from(*count));
    }
}

fn decode_links(from: &mut Reader<'_>) -> Result<Vec<(SideKey, u32)>> {
    (0..from.count(3)?).map(|_| Ok((decode_side_key(from)?, from.varint_u32()?))).collect()
}

fn encode_option<T>(value: Option<T>, out: &mut Writer, encode: impl FnOnce(T, &mut Writer)) {
    match value {
        None => out.u8(0),
        Some(value) => {
            out.u8(1);
            encode(value, out);
        }
    }
}

fn decode_option<'a, T>(
    from: &mut Reader<'a>,
    decode: impl FnOnce(&mut Reader<'a>) -> Result<T>,
) -> Result<Option<T>> {
    match from.u8()? {
        0 => Ok(None),
        1 => decode(from).map(Some),
        _ => Err(out_of_range("option")),
    }
}

/// Writes an operation down. The addresses of frames that are not stored yet are left open: `frames` is told where each has to be
/// filled in.
pub(crate) fn encode_operation(
    time: Timestamp,
    operation: &Operation,
    out: &mut Writer,
    frames: &mut Vec<(usize, std::sync::Arc<crate::frame::Frame>)>,
) {
    let head = |tag: u8, out: &mut Writer| {
        out.u8(tag);
        out.time(time);
    };
    match operation {
        Operation::Create { parent, name, new } => {
            head(CREATE, out);
            out.varint(parent.0);
            out.bytes(name);
            encode_new(new, out);
        }
        Operation::CreateUnnamed { parent, new } => {
            head(CREATE_UNNAMED, out);
            out.varint(parent.0);
            encode_new(new, out);
        }
        Operation::Link { ino, parent, name } => {
            head(LINK, out);
            out.varint(ino.0);
            out.varint(parent.0);
            out.bytes(name);
        }
        Operation::Unlink { parent, name } => {
            head(UNLINK, out);
            out.varint(parent.0);
            out.bytes(name);
        }
        Operation::RemoveDirectory { parent, name } => {
            head(REMOVE_DIRECTORY, out);
            out.varint(parent.0);
            out.bytes(name);
        }
        Operation::RemoveTree { parent, name, links } => {
            head(REMOVE_TREE, out);
            out.varint(parent.0);
            out.bytes(name);
            encode_links(links, out);
        }
        Operation::Rename { parent, name, new_parent, new_name, mode } => {
            head(RENAME, out);
            out.varint(parent.0);
            out.bytes(name);
            out.varint(new_parent.0);
            out.bytes(new_name);
            out.u8(match mode {
                RenameMode::Replace => 0,
                RenameMode::NoReplace => 1,
                RenameMode::Exchange => 2,
                RenameMode::Whiteout => 3,
            });
        }
        Operation::Clone { source, parent, name, read_only, replace, source_path, links } => {
            head(CLONE, out);
            out.varint(source.0);
            out.varint(parent.0);
            out.bytes(name);
            out.u8(u8::from(*read_only) | u8::from(*replace) << 1);
            out.bytes(source_path);
            encode_links(links, out);
        }
        Operation::SetAttributes { ino, set } => {
            head(SET_ATTRIBUTES, out);
            out.varint(ino.0);
            for value in [set.mode, set.uid, set.gid] {
                encode_option(value, out, |value, out| out.varint(u64::from(value)));
            }
            encode_option(set.size, out, |value, out| out.varint(value));
            for value in [set.atime, set.mtime, set.ctime] {
                encode_option(value, out, |value, out| out.time(value));
            }
        }
        Operation::Write { ino, offset, data, clear_set_id } => {
            head(if matches!(data, WriteData::Bytes(_)) { WRITE } else { WRITE_STORED }, out);
            out.varint(ino.0);
            encode_option(*offset, out, |value, out| out.varint(value));
            out.u8(u8::from(*clear_set_id));
            match data {
                WriteData::Bytes(bytes) => out.bytes(bytes),
                WriteData::Frames(list) => {
                    out.varint(list.len() as u64);
                    for frame in list {
                        out.varint(u64::from(frame.length()));
                        frames.push((out.bytes.len(), frame.clone()));
                        out.u64(0);
                    }
                }
                WriteData::Stored(list) => {
                    out.varint(list.len() as u64);
                    for (address, length) in list {
                        out.varint(u64::from(*length));
                        out.u64(address.raw());
                    }
                }
            }
        }
        Operation::Allocate { ino, offset, length, mode } => {
            head(ALLOCATE, out);
            out.varint(ino.0);
            out.varint(*offset);
            out.varint(*length);
            out.u8(match mode {
                AllocateMode::Allocate { keep_size: false } => 0,
                AllocateMode::Allocate { keep_size: true } => 1,
                AllocateMode::PunchHole => 2,
                AllocateMode::ZeroRange { keep_size: false } => 3,
                AllocateMode::ZeroRange { keep_size: true } => 4,
            });
        }
        Operation::CloneRange { source, source_offset, destination, destination_offset, length } => {
            head(CLONE_RANGE, out);
            out.varint(source.0);
            out.varint(*source_offset);
            out.varint(destination.0);
            out.varint(*destination_offset);
            out.varint(*length);
        }
        Operation::Defragment { ino, frame, runs } => {
            head(DEFRAGMENT, out);
            out.varint(ino.0);
            match frame {
                FrameLink::Memory(frame) => {
                    frames.push((out.bytes.len(), frame.clone()));
                    out.u64(0);
                }
                FrameLink::Stored(address) => out.u64(address.raw()),
            }
            out.varint(runs.len() as u64);
            for (offset, length) in runs {
                out.varint(*offset);
                out.varint(u64::from(*length));
            }
        }
        Operation::SetXattr { ino, name, value, how, mode } => {
            head(SET_XATTR, out);
            out.varint(ino.0);
            out.bytes(name);
            out.bytes(value);
            out.u8(match how {
                XattrMode::Set => 0,
                XattrMode::Create => 1,
                XattrMode::Replace => 2,
            });
            encode_option(*mode, out, |value, out| out.varint(u64::from(value)));
        }
        Operation::RemoveXattr { ino, name } => {
            head(REMOVE_XATTR, out);
            out.varint(ino.0);
            out.bytes(name);
        }
        Operation::Alias(key) => {
            head(ALIAS, out);
            out.varint(key.outer);
            out.varint(key.foreign.home);
            out.varint(key.foreign.realm);
        }
        Operation::DropOrphan { ino } => {
            head(DROP_ORPHAN, out);
            out.varint(ino.0);
        }
        Operation::TakeApart { ino, entries } => {
            head(TAKE_APART, out);
            out.varint(ino.0);
            out.varint(u64::from(*entries));
        }
        Operation::FreeRealm { realm, aliases } => {
            head(FREE_REALM, out);
            encode_realm(*realm, out);
            out.varint(u64::from(*aliases));
        }
    }
}

fn ino(from: &mut Reader<'_>) -> Result<Ino> {
    Ok(Ino(from.varint()?))
}

fn name(from: &mut Reader<'_>) -> Result<Name> {
    let bytes = from.bytes()?;
    if bytes.is_empty() || bytes.len() > 255 {
        return Err(out_of_range("name"));
    }
    Ok(Name::from_slice(bytes))
}

fn flag(from: &mut Reader<'_>) -> Result<bool> {
    match from.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(out_of_range("flag")),
    }
}

/// The next record.
pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Record> {
    let tag = from.u8()?;
    match tag {
        LOCATE_NAME => {
            let (ino, parent) = (ino(from)?, ino(from)?);
            let key = EntryKey { hash: from.u64()?, name: name(from)? };
            return Ok(Record::Locate { ino, parent, place: Where::Name(key), realm_root: flag(from)? });
        }
        LOCATE_SIDE => {
            let (ino, parent) = (ino(from)?, ino(from)?);
            let key = decode_side_key(from)?;
            return Ok(Record::Locate { ino, parent, place: Where::Side(key), realm_root: false });
        }
        _ => {}
    }
    let time = from.time()?;
    Ok(Record::Operation(time, decode_operation(tag, from)?))
}

fn decode_operation(tag: u8, from: &mut Reader<'_>) -> Result<Operation> {
    Ok(match tag {
        CREATE => Operation::Create { parent: ino(from)?, name: name(from)?, new: decode_new(from)? },
        CREATE_UNNAMED => Operation::CreateUnnamed { parent: ino(from)?, new: decode_new(from)? },
        LINK => Operation::Link { ino: ino(from)?, parent: ino(from)?, name: name(from)? },
        UNLINK => Operation::Unlink { parent: ino(from)?, name: name(from)? },
        REMOVE_DIRECTORY => Operation::RemoveDirectory { parent: ino(from)?, name: name(from)? },
        REMOVE_TREE => {
            Operation::RemoveTree { parent: ino(from)?, name: name(from)?, links: decode_links(from)? }
        }
        RENAME => Operation::Rename {
            parent: ino(from)?,
            name: name(from)?,
            new_parent: ino(from)?,
            new_name: name(from)?,
            mode: match from.u8()? {
                0 => RenameMode::Replace,
                1 => RenameMode::NoReplace,
                2 => RenameMode::Exchange,
                3 => RenameMode::Whiteout,
                _ => return Err(out_of_range("rename mode")),
            },
        },
        CLONE => {
            let (source, parent, name) = (ino(from)?, ino(from)?, name(from)?);
            let flags = from.u8()?;
            if flags > 3 {
                return Err(out_of_range("clone flag"));
            }
            let source_path = from.bytes()?.to_vec();
            let (read_only, replace) = (flags & 1 != 0, flags & 2 != 0);
            let links = decode_links(from)?;
            Operation::Clone { source, parent, name, read_only, replace, source_path, links }
        }
        SET_ATTRIBUTES => Operation::SetAttributes {
            ino: ino(from)?,
            set: AttributeChange {
                mode: decode_option(from, |from| from.varint_u32())?,
                uid: decode_option(from, |from| from.varint_u32())?,
                gid: decode_option(from, |from| from.varint_u32())?,
                size: decode_option(from, |from| from.varint())?,
                atime: decode_option(from, |from| from.time())?,
                mtime: decode_option(from, |from| from.time())?,
                ctime: decode_option(from, |from| from.time())?,
            },
        },
        WRITE | WRITE_STORED => {
            let ino = ino(from)?;
            let offset = decode_option(from, |from| from.varint())?;
            let clear_set_id = flag(from)?;
            let data = if tag == WRITE {
                WriteData::Bytes(Bytes::copy_from_slice(from.bytes()?))
            } else {
                let frame = |from: &mut Reader<'_>| -> Result<(Address, u32)> {
                    let length = from.varint_u32()?;
                    Ok((crate::tree::decode_address(from)?, length))
                };
                WriteData::Stored((0..from.count(9)?).map(|_| frame(from)).collect::<Result<_>>()?)
            };
            Operation::Write { ino, offset, data, clear_set_id }
        }
        ALLOCATE => Operation::Allocate {
            ino: ino(from)?,
            offset: from.varint()?,
            length: from.varint()?,
            mode: match from.u8()? {
                0 => AllocateMode::Allocate { keep_size: false },
                1 => AllocateMode::Allocate { keep_size: true },
                2 => AllocateMode::PunchHole,
                3 => AllocateMode::ZeroRange { keep_size: false },
                4 => AllocateMode::ZeroRange { keep_size: true },
                _ => return Err(out_of_range("allocate mode")),
            },
        },
        CLONE_RANGE => Operation::CloneRange {
            source: ino(from)?,
            source_offset: from.varint()?,
            destination: ino(from)?,
            destination_offset: from.varint()?,
            length: from.varint()?,
        },
        DEFRAGMENT => Operation::Defragment {
            ino: ino(from)?,
            frame: FrameLink::Stored(crate::tree::decode_address(from)?),
            runs: (0..from.count(2)?)
                .map(|_| Ok((from.varint()?, from.varint_u32()?)))
                .collect::<Result<_>>()?,
        },
        SET_XATTR => Operation::SetXattr {
            ino: ino(from)?,
            name: from.bytes()?.to_vec(),
            value: from.bytes()?.to_vec(),
            how: match from.u8()? {
                0 => XattrMode::Set,
                1 => XattrMode::Create,
                2 => XattrMode::Replace,
                _ => return Err(out_of_range("attribute mode")),
            },
            mode: decode_option(from, |from| from.varint_u32())?,
        },
        REMOVE_XATTR => Operation::RemoveXattr { ino: ino(from)?, name: from.bytes()?.to_vec() },
        ALIAS => Operation::Alias(decode_alias_key(from)?),
        DROP_ORPHAN => Operation::DropOrphan { ino: ino(from)? },
        TAKE_APART => Operation::TakeApart { ino: ino(from)?, entries: from.varint_u32()? },
        FREE_REALM => Operation::FreeRealm { realm: decode_realm(from)?, aliases: from.varint_u32()? },
        _ => return Err(out_of_range("log record")),
    })
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
