//! Between the words of the wire and those of the POSIX layer.

use offshoot_engine::{AllocateMode, Attributes, Kind, RenameMode, SetTime, Timestamp, XattrMode};
use offshoot_vfs::{Access, Code, Error, Space};

use super::node;
use super::wire::reply;
use super::wire::request::Time;

/// What programs are told to read and write at a time: large enough that buffered output of a file reaches the pool in few requests.
const FILE_BLOCK_BYTES: u32 = 64 << 10;
/// The unit of space, and of everything that is not a file.
pub(super) const BLOCK_BYTES: u32 = 4 << 10;
const SECTOR_BYTES: u64 = 512;

/// The Linux error number, positive. What failed for want of a working pool is logged, since the caller learns no more than `EIO`.
pub(super) fn errno(error: &Error) -> i32 {
    if error.code() == Code::Io {
        match error.engine() {
            Some(cause) => tracing::error!(%error, ?cause, "request failed"),
            None => tracing::error!(%error, "request failed"),
        }
    }
    error.errno()
}

fn type_bits(kind: Kind) -> u32 {
    match kind {
        Kind::File => libc::S_IFREG,
        Kind::Directory => libc::S_IFDIR,
        Kind::Symlink => libc::S_IFLNK,
        Kind::Fifo => libc::S_IFIFO,
        Kind::Socket => libc::S_IFSOCK,
        Kind::CharDevice => libc::S_IFCHR,
        Kind::BlockDevice => libc::S_IFBLK,
    }
}

/// The type as an entry of a directory has it.
pub(super) fn entry_kind(kind: Kind) -> u32 {
    type_bits(kind) >> 12
}

/// The type in the upper bits of a mode, as `mknod` takes it.
pub(super) fn kind(mode: u32) -> Option<Kind> {
    Some(match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Kind::File,
        libc::S_IFIFO => Kind::Fifo,
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFCHR => Kind::CharDevice,
        libc::S_IFBLK => Kind::BlockDevice,
        _ => return None,
    })
}

pub(super) fn inode(attributes: &Attributes) -> reply::Inode {
    let time = |time: Timestamp| (time.secs, time.nanos);
    reply::Inode {
        node: node::of(attributes.ino),
        ino: attributes.ino.0,
        size: attributes.size,
        blocks: attributes.allocated.div_ceil(SECTOR_BYTES),
        atime: time(attributes.atime),
        mtime: time(attributes.mtime),
        ctime: time(attributes.ctime),
        btime: time(attributes.btime),
        mode: type_bits(attributes.kind) | attributes.mode,
        nlink: attributes.nlink,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: attributes.rdev,
        block_bytes: if attributes.kind == Kind::File { FILE_BLOCK_BYTES } else { BLOCK_BYTES },
    }
}

/// What an answer has that says: no such name.
pub(super) fn absent() -> reply::Inode {
    reply::Inode::default()
}

pub(super) fn space(space: &Space) -> reply::Space {
    let blocks = |bytes: u64| bytes / u64::from(BLOCK_BYTES);
    reply::Space {
        blocks: blocks(space.total_bytes),
        free_blocks: blocks(space.free_bytes),
        files: space.files.saturating_add(space.free_files),
        free_files: space.free_files,
        block_bytes: BLOCK_BYTES,
        name_bytes_max: space.name_bytes_max,
    }
}

pub(super) fn set_time(time: Time) -> SetTime {
    match time {
        Time::Now => SetTime::Now,
        Time::At { seconds, nanoseconds } => SetTime::At(Timestamp { secs: seconds, nanos: nanoseconds }),
    }
}

/// What a file is opened for. Appending is not handed on: the kernel has found the end of the file, under its lock, and keeps the page
/// that it wrote at that place. Durable writes are asked for with each write.
pub(super) fn access(flags: u32) -> Access {
    let flags = flags.cast_signed();
    let mut access = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => Access::READ,
        libc::O_WRONLY => Access::WRITE,
        _ => Access::READ | Access::WRITE,
    };
    if flags & libc::O_TRUNC != 0 {
        access |= Access::TRUNCATE | Access::WRITE;
    }
    if flags & libc::O_NOATIME != 0 {
        access |= Access::KEEP_ACCESS_TIME;
    }
    access
}

/// Whether every write has to be durable when it is answered.
pub(super) fn is_durable(flags: u32) -> bool {
    flags.cast_signed() & (libc::O_SYNC | libc::O_DSYNC) != 0
}

/// Whether what is made must not have been there.
pub(super) fn is_exclusive(flags: u32) -> bool {
    flags.cast_signed() & libc::O_EXCL != 0
}

pub(super) fn rename_mode(flags: u32) -> Option<RenameMode> {
    match flags {
        0 => Some(RenameMode::Replace),
        libc::RENAME_NOREPLACE => Some(RenameMode::NoReplace),
        libc::RENAME_EXCHANGE => Some(RenameMode::Exchange),
        libc::RENAME_WHITEOUT => Some(RenameMode::Whiteout),
        _ => None,
    }
}

pub(super) fn allocate_mode(mode: u32) -> Option<AllocateMode> {
    let mode = mode.cast_signed();
    let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
    match mode & !libc::FALLOC_FL_KEEP_SIZE {
        0 => Some(AllocateMode::Allocate { keep_size }),
        libc::FALLOC_FL_PUNCH_HOLE if keep_size => Some(AllocateMode::PunchHole),
        libc::FALLOC_FL_ZERO_RANGE => Some(AllocateMode::ZeroRange { keep_size }),
        _ => None,
    }
}

pub(super) fn xattr_mode(flags: u32) -> Option<XattrMode> {
    match flags.cast_signed() {
        0 => Some(XattrMode::Set),
        libc::XATTR_CREATE => Some(XattrMode::Create),
        libc::XATTR_REPLACE => Some(XattrMode::Replace),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_goes_both_ways() {
        for found in [Kind::File, Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice] {
            assert_eq!(kind(type_bits(found) | 0o644), Some(found));
        }
        assert_eq!(kind(0o644), Some(Kind::File));
        assert_eq!((kind(libc::S_IFDIR), kind(libc::S_IFLNK), kind(libc::S_IFMT)), (None, None, None));
        assert_eq!(entry_kind(Kind::Directory), u32::from(libc::DT_DIR));
    }

    #[test]
    fn any_time_is_a_time_to_set() {
        for (secs, nanos) in [(i64::MIN, 0), (-1, 999_999_999), (i64::MAX, 1)] {
            let set = set_time(Time::At { seconds: secs, nanoseconds: nanos });
            assert_eq!(set, SetTime::At(Timestamp { secs, nanos }));
        }
    }

    #[test]
    fn open_flags_say_what_for() {
        assert_eq!(access(libc::O_RDONLY as u32), Access::READ);
        assert_eq!(access((libc::O_WRONLY | libc::O_APPEND) as u32), Access::WRITE);
        assert_eq!(
            access((libc::O_RDWR | libc::O_TRUNC) as u32),
            Access::READ | Access::WRITE | Access::TRUNCATE
        );
        assert!(is_durable(libc::O_DSYNC as u32) && is_durable(libc::O_SYNC as u32));
        assert!(!is_durable(libc::O_RDWR as u32));
    }

    #[test]
    fn ranges_that_would_move_content_are_not_for_us() {
        assert_eq!(allocate_mode(0), Some(AllocateMode::Allocate { keep_size: false }));
        assert_eq!(allocate_mode(libc::FALLOC_FL_PUNCH_HOLE as u32), None);
        assert_eq!(allocate_mode(libc::FALLOC_FL_COLLAPSE_RANGE as u32), None);
        assert_eq!(allocate_mode(libc::FALLOC_FL_INSERT_RANGE as u32), None);
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        assert_eq!(allocate_mode(punch as u32), Some(AllocateMode::PunchHole));
        let zero = libc::FALLOC_FL_ZERO_RANGE;
        assert_eq!(allocate_mode(zero as u32), Some(AllocateMode::ZeroRange { keep_size: false }));
    }

    #[test]
    fn a_rename_knows_three_ways() {
        assert_eq!(rename_mode(0), Some(RenameMode::Replace));
        assert_eq!(rename_mode(libc::RENAME_WHITEOUT), Some(RenameMode::Whiteout));
        let both = libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE;
        assert_eq!(rename_mode(both), None);
    }
}
