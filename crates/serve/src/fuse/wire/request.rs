//! [`Request`]: one request of the kernel, decoded from its bytes.

use super::{Fields, Malformed, opcode, padded};

/// Bytes of the header of every request.
pub(in crate::fuse) const HEADER_BYTES: usize = 40;
/// Room beside the data of the longest request: its header, its arguments and an extension.
pub(in crate::fuse) const OVERHEAD_BYTES: usize = 4 << 10;

const EXTENSION_GROUPS: u32 = 32;
const EXTENSION_HEADER_BYTES: usize = 8;

/// Which attributes a request sets (`FATTR_`).
mod valid {
    pub(super) const MODE: u32 = 1 << 0;
    pub(super) const UID: u32 = 1 << 1;
    pub(super) const GID: u32 = 1 << 2;
    pub(super) const SIZE: u32 = 1 << 3;
    pub(super) const ATIME: u32 = 1 << 4;
    pub(super) const MTIME: u32 = 1 << 5;
    pub(super) const HANDLE: u32 = 1 << 6;
    pub(super) const ATIME_NOW: u32 = 1 << 7;
    pub(super) const MTIME_NOW: u32 = 1 << 8;
}

const WRITE_KILL_SET_ID: u32 = 1 << 2;
const SETXATTR_KILL_SET_GID: u32 = 1 << 0;

/// What was agreed on that changes how requests look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::fuse) struct Dialect {
    /// Setting an extended attribute carries flags of the kernel's own (`FUSE_SETXATTR_EXT`).
    pub(in crate::fuse) long_setxattr: bool,
}

/// What every request starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fuse) struct Header {
    pub(in crate::fuse) opcode: u32,
    /// Names the request in its answer.
    pub(in crate::fuse) unique: u64,
    /// The inode that it is about.
    pub(in crate::fuse) node: u64,
    pub(in crate::fuse) uid: u32,
    pub(in crate::fuse) gid: u32,
    pub(in crate::fuse) pid: u32,
    length: u32,
    extension_bytes: usize,
}

impl Header {
    /// The header alone, which can be answered also where the rest makes no sense.
    pub(in crate::fuse) fn decode(bytes: &[u8]) -> Result<Header, Malformed> {
        let mut fields = Fields::new(bytes);
        let (length, opcode) = (fields.u32()?, fields.u32()?);
        let (unique, node) = (fields.u64()?, fields.u64()?);
        let (uid, gid, pid) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let extension_bytes = usize::from(fields.u16()?) * super::ALIGNMENT;
        fields.skip(2)?;
        Ok(Header { opcode, unique, node, uid, gid, pid, length, extension_bytes })
    }
}

/// A request with its arguments.
#[derive(Clone, Copy, Debug)]
pub(in crate::fuse) struct Request<'a> {
    pub(in crate::fuse) header: Header,
    /// Those further groups of the caller that matter for what is made.
    pub(in crate::fuse) groups: Groups<'a>,
    pub(in crate::fuse) operation: Operation<'a>,
}

/// What is asked for. Names have no NUL and at least one byte.
#[derive(Clone, Copy, Debug)]
pub(in crate::fuse) enum Operation<'a> {
    Lookup {
        name: &'a [u8],
    },
    Forget {
        count: u64,
    },
    ForgetMany(Forgets<'a>),
    Attributes,
    ExtendedAttributes,
    SetAttributes(SetAttributes),
    ReadLink,
    Symlink {
        name: &'a [u8],
        target: &'a [u8],
    },
    MakeNode {
        name: &'a [u8],
        mode: u32,
        umask: u32,
        rdev: u32,
    },
    MakeDirectory {
        name: &'a [u8],
        mode: u32,
        umask: u32,
    },
    Unlink {
        name: &'a [u8],
    },
    RemoveDirectory {
        name: &'a [u8],
    },
    Rename {
        name: &'a [u8],
        new_parent: u64,
        new_name: &'a [u8],
        flags: u32,
    },
    Link {
        node: u64,
        name: &'a [u8],
    },
    Open {
        flags: u32,
    },
    Create {
        name: &'a [u8],
        flags: u32,
        mode: u32,
        umask: u32,
    },
    CreateUnnamed {
        flags: u32,
        mode: u32,
        umask: u32,
    },
    Read {
        handle: u64,
        offset: u64,
        size: u32,
    },
    Write {
        handle: u64,
        offset: u64,
        data: &'a [u8],
        flags: u32,
        kill_set_id: bool,
    },
    Space,
    Release {
        handle: u64,
    },
    Sync,
    SetXattr {
        name: &'a [u8],
        value: &'a [u8],
        flags: u32,
        kill_set_gid: bool,
    },
    Xattr {
        name: &'a [u8],
        size: u32,
    },
    Xattrs {
        size: u32,
    },
    RemoveXattr {
        name: &'a [u8],
    },
    OpenDirectory,
    ReadDirectory {
        offset: u64,
        size: u32,
        plus: bool,
    },
    ReleaseDirectory {
        handle: u64,
    },
    Allocate {
        handle: u64,
        offset: u64,
        length: u64,
        mode: u32,
    },
    Seek {
        handle: u64,
        offset: u64,
        whence: u32,
    },
    CopyRange(CopyRange),
    Destroy,
    /// What is not served here.
    Other,
}

/// A time to set: seconds since 1970, which may be negative, and nanoseconds below a billion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fuse) enum Time {
    Now,
    At { seconds: i64, nanoseconds: u32 },
}

/// Attributes to set; `None` leaves one as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::fuse) struct SetAttributes {
    pub(in crate::fuse) handle: Option<u64>,
    pub(in crate::fuse) mode: Option<u32>,
    pub(in crate::fuse) uid: Option<u32>,
    pub(in crate::fuse) gid: Option<u32>,
    pub(in crate::fuse) size: Option<u64>,
    pub(in crate::fuse) atime: Option<Time>,
    pub(in crate::fuse) mtime: Option<Time>,
}

/// A range to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fuse) struct CopyRange {
    pub(in crate::fuse) source: u64,
    pub(in crate::fuse) source_offset: u64,
    pub(in crate::fuse) destination: u64,
    pub(in crate::fuse) destination_offset: u64,
    pub(in crate::fuse) length: u64,
    pub(in crate::fuse) flags: u64,
    /// The answer has room for 64 bits.
    pub(in crate::fuse) wide: bool,
}

/// Numbers that the kernel forgets, each with how often.
#[derive(Clone, Copy, Debug)]
pub(in crate::fuse) struct Forgets<'a>(&'a [u8]);

const FORGET_BYTES: usize = 16;

impl<'a> Forgets<'a> {
    pub(in crate::fuse) fn iter(self) -> impl Iterator<Item = (u64, u64)> + 'a {
        self.0.chunks_exact(FORGET_BYTES).filter_map(|one| {
            let mut fields = Fields::new(one);
            Some((fields.u64().ok()?, fields.u64().ok()?))
        })
    }
}

/// Group ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::fuse) struct Groups<'a>(&'a [u8]);

impl<'a> Groups<'a> {
    pub(in crate::fuse) fn iter(self) -> impl Iterator<Item = u32> + 'a {
        self.0.chunks_exact(4).filter_map(|one| Fields::new(one).u32().ok())
    }
}

impl<'a> Request<'a> {
    /// Decodes what was read from the device at one go.
    ///
    /// # Errors
    /// [`Malformed`]; what [`Header::decode`] still makes of the bytes can be answered.
    pub(in crate::fuse) fn decode(bytes: &'a [u8], dialect: Dialect) -> Result<Request<'a>, Malformed> {
        let header = Header::decode(bytes)?;
        if header.length as usize != bytes.len() {
            return Err(Malformed::Length { said: header.length, read: bytes.len() });
        }
        let end = bytes.len().checked_sub(header.extension_bytes).filter(|end| *end >= HEADER_BYTES);
        let (arguments, extensions) = bytes.split_at(end.ok_or(Malformed::Extension)?);
        let groups = decode_groups(Fields::new(extensions))?;
        let mut fields = Fields::new(arguments);
        fields.skip(HEADER_BYTES)?;
        let operation = decode_operation(header.opcode, &mut fields, dialect)?;
        Ok(Request { header, groups, operation })
    }
}

fn decode_groups<'a>(mut extensions: Fields<'a>) -> Result<Groups<'a>, Malformed> {
    let mut groups = Groups::default();
    while !extensions.rest().is_empty() {
        let (size, kind) = (extensions.u32()? as usize, extensions.u32()?);
        let length = size.checked_sub(EXTENSION_HEADER_BYTES).ok_or(Malformed::Extension)?;
        let body = extensions.bytes(length)?;
        extensions.skip(padded(size) - size)?;
        if kind == EXTENSION_GROUPS {
            let mut fields = Fields::new(body);
            let count = fields.u32()?;
            let bytes = (count as usize).checked_mul(4).and_then(|length| fields.rest().get(..length));
            groups = Groups(bytes.ok_or(Malformed::Count(count))?);
        }
    }
    Ok(groups)
}

fn decode_operation<'a>(
    opcode: u32,
    fields: &mut Fields<'a>,
    dialect: Dialect,
) -> Result<Operation<'a>, Malformed> {
    Ok(match opcode {
        opcode::LOOKUP => Operation::Lookup { name: fields.name()? },
        opcode::FORGET => Operation::Forget { count: fields.u64()? },
        opcode::BATCH_FORGET => Operation::ForgetMany(decode_forgets(fields)?),
        opcode::GETATTR => Operation::Attributes,
        opcode::STATX => Operation::ExtendedAttributes,
        opcode::SETATTR => Operation::SetAttributes(decode_set_attributes(fields)?),
        opcode::READLINK => Operation::ReadLink,
        opcode::SYMLINK => Operation::Symlink { name: fields.name()?, target: fields.text()? },
        opcode::MKNOD => {
            let (mode, rdev, umask) = (fields.u32()?, fields.u32()?, fields.u32()?);
            fields.skip(4)?;
            Operation::MakeNode { mode, rdev, umask, name: fields.name()? }
        }
        opcode::MKDIR => {
            let (mode, umask) = (fields.u32()?, fields.u32()?);
            Operation::MakeDirectory { mode, umask, name: fields.name()? }
        }
        opcode::UNLINK => Operation::Unlink { name: fields.name()? },
        opcode::RMDIR => Operation::RemoveDirectory { name: fields.name()? },
        opcode::RENAME | opcode::RENAME2 => {
            let new_parent = fields.u64()?;
            let mut flags = 0;
            if opcode == opcode::RENAME2 {
                flags = fields.u32()?;
                fields.skip(4)?;
            }
            Operation::Rename { new_parent, flags, name: fields.name()?, new_name: fields.name()? }
        }
        opcode::LINK => Operation::Link { node: fields.u64()?, name: fields.name()? },
        opcode::OPEN => Operation::Open { flags: fields.u32()? },
        opcode::CREATE | opcode::TMPFILE => {
            let (flags, mode, umask) = (fields.u32()?, fields.u32()?, fields.u32()?);
            fields.skip(4)?;
            if opcode == opcode::TMPFILE {
                // A name follows that stands for nothing.
                Operation::CreateUnnamed { flags, mode, umask }
            } else {
                Operation::Create { flags, mode, umask, name: fields.name()? }
            }
        }
        opcode::READ => Operation::Read { handle: fields.u64()?, offset: fields.u64()?, size: fields.u32()? },
        opcode::WRITE => decode_write(fields)?,
        opcode::STATFS => Operation::Space,
        opcode::RELEASE => Operation::Release { handle: fields.u64()? },
        opcode::FSYNC | opcode::FSYNCDIR | opcode::SYNCFS => Operation::Sync,
        opcode::SETXATTR => decode_set_xattr(fields, dialect)?,
        opcode::GETXATTR => {
            let size = fields.u32()?;
            fields.skip(4)?;
            Operation::Xattr { size, name: fields.name()? }
        }
        opcode::LISTXATTR => Operation::Xattrs { size: fields.u32()? },
        opcode::REMOVEXATTR => Operation::RemoveXattr { name: fields.name()? },
        opcode::OPENDIR => Operation::OpenDirectory,
        opcode::READDIR | opcode::READDIRPLUS => {
            fields.skip(8)?;
            let (offset, size) = (fields.u64()?, fields.u32()?);
            Operation::ReadDirectory { offset, size, plus: opcode == opcode::READDIRPLUS }
        }
        opcode::RELEASEDIR => Operation::ReleaseDirectory { handle: fields.u64()? },
        opcode::FALLOCATE => {
            let (handle, offset, length) = (fields.u64()?, fields.u64()?, fields.u64()?);
            Operation::Allocate { handle, offset, length, mode: fields.u32()? }
        }
        opcode::LSEEK => {
            Operation::Seek { handle: fields.u64()?, offset: fields.u64()?, whence: fields.u32()? }
        }
        opcode::COPY_FILE_RANGE | opcode::COPY_FILE_RANGE_64 => {
            let (source, source_offset) = (fields.u64()?, fields.u64()?);
            // The inode of the destination, which the handle says too.
            fields.skip(8)?;
            Operation::CopyRange(CopyRange {
                source,
                source_offset,
                destination: fields.u64()?,
                destination_offset: fields.u64()?,
                length: fields.u64()?,
                flags: fields.u64()?,
                wide: opcode == opcode::COPY_FILE_RANGE_64,
            })
        }
        opcode::DESTROY => Operation::Destroy,
        _ => Operation::Other,
    })
}

fn decode_forgets<'a>(fields: &mut Fields<'a>) -> Result<Forgets<'a>, Malformed> {
    let count = fields.u32()?;
    fields.skip(4)?;
    let length = (count as usize).checked_mul(FORGET_BYTES).ok_or(Malformed::Count(count))?;
    Ok(Forgets(fields.bytes(length).map_err(|_| Malformed::Count(count))?))
}

fn decode_set_attributes(fields: &mut Fields<'_>) -> Result<SetAttributes, Malformed> {
    let valid = fields.u32()?;
    fields.skip(4)?;
    let (handle, size, _lock_owner) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let (atime, mtime, _ctime) = (fields.i64()?, fields.i64()?, fields.i64()?);
    let (atime_nanoseconds, mtime_nanoseconds, _) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let mode = fields.u32()?;
    fields.skip(4)?;
    let (uid, gid) = (fields.u32()?, fields.u32()?);
    fields.skip(4)?;
    let has = |bit| valid & bit != 0;
    let time = |given, now, seconds, nanoseconds| match (has(given), has(now)) {
        (false, _) => Ok(None),
        (true, true) => Ok(Some(Time::Now)),
        (true, false) if nanoseconds >= 1_000_000_000 => Err(Malformed::Nanoseconds(nanoseconds)),
        (true, false) => Ok(Some(Time::At { seconds, nanoseconds })),
    };
    Ok(SetAttributes {
        handle: has(valid::HANDLE).then_some(handle),
        mode: has(valid::MODE).then_some(mode),
        uid: has(valid::UID).then_some(uid),
        gid: has(valid::GID).then_some(gid),
        size: has(valid::SIZE).then_some(size),
        atime: time(valid::ATIME, valid::ATIME_NOW, atime, atime_nanoseconds)?,
        mtime: time(valid::MTIME, valid::MTIME_NOW, mtime, mtime_nanoseconds)?,
    })
}

fn decode_write<'a>(fields: &mut Fields<'a>) -> Result<Operation<'a>, Malformed> {
    let (handle, offset, size, write_flags) = (fields.u64()?, fields.u64()?, fields.u32()?, fields.u32()?);
    fields.skip(8)?;
    let flags = fields.u32()?;
    fields.skip(4)?;
    let data = fields.bytes(size as usize)?;
    Ok(Operation::Write { handle, offset, data, flags, kill_set_id: write_flags & WRITE_KILL_SET_ID != 0 })
}

fn decode_set_xattr<'a>(fields: &mut Fields<'a>, dialect: Dialect) -> Result<Operation<'a>, Malformed> {
    let (size, flags) = (fields.u32()?, fields.u32()?);
    let mut kernel_flags = 0;
    if dialect.long_setxattr {
        kernel_flags = fields.u32()?;
        fields.skip(4)?;
    }
    let kill_set_gid = kernel_flags & SETXATTR_KILL_SET_GID != 0;
    let name = fields.name()?;
    Ok(Operation::SetXattr { name, value: fields.bytes(size as usize)?, flags, kill_set_gid })
}

#[cfg(test)]
mod tests;
