//! Between the words of the wire and those of the POSIX layer.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo, OpenFlags, RenameFlags, TimeOrNow};
use offshoot_engine::{AllocateMode, Attributes, Kind, RenameMode, SetTime, Timestamp, XattrMode};
use offshoot_vfs::{Access, Code, Error};

/// What programs are told to read and write at a time: large enough that buffered output of a file reaches the pool in few requests.
const FILE_BLOCK_BYTES: u32 = 64 << 10;
const BLOCK_BYTES: u32 = 4 << 10;
const SECTOR_BYTES: u64 = 512;

pub(super) fn errno(error: &Error) -> Errno {
    if error.code() == Code::Io {
        match error.engine() {
            Some(cause) => tracing::error!(%error, ?cause, "request failed"),
            None => tracing::error!(%error, "request failed"),
        }
    }
    Errno::from_i32(error.errno())
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
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

pub(super) fn file_attr(attributes: &Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(attributes.ino.0),
        size: attributes.size,
        blocks: attributes.allocated.div_ceil(SECTOR_BYTES),
        atime: system_time(attributes.atime),
        mtime: system_time(attributes.mtime),
        ctime: system_time(attributes.ctime),
        crtime: system_time(attributes.btime),
        kind: file_type(attributes.kind),
        perm: attributes.mode as u16,
        nlink: attributes.nlink,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: attributes.rdev,
        blksize: if attributes.kind == Kind::File { FILE_BLOCK_BYTES } else { BLOCK_BYTES },
        flags: 0,
    }
}

/// Attributes of an answer that says: no such name. The kernel remembers it as long as a name.
pub(super) fn absent() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

pub(super) fn system_time(time: Timestamp) -> SystemTime {
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let moved = if time.secs < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    moved.and_then(|whole| whole.checked_add(Duration::from_nanos(time.nanos.into()))).unwrap_or(UNIX_EPOCH)
}

/// A time that `fuser` took off the wire. Version 0.18 gives a time of `-s` seconds and `n` nanoseconds before 1970 as the epoch less
/// `s + n`, so the two parts come back by taking them apart again; the mount test with times before 1970 holds it to that.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timestamp { secs: after.as_secs() as i64, nanos: after.subsec_nanos() },
        Err(before) => {
            let before = before.duration();
            Timestamp { secs: (before.as_secs() as i64).wrapping_neg(), nanos: before.subsec_nanos() }
        }
    }
}

pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(timestamp(time)),
    }
}

/// What a file is opened for. Appending is not handed on: the kernel has found the end of the file, under its lock, and keeps the page
/// that it wrote at that place. Durable writes are asked for with each write.
pub(super) fn access(flags: OpenFlags) -> Access {
    let mut access = match flags.0 & libc::O_ACCMODE {
        libc::O_RDONLY => Access::READ,
        libc::O_WRONLY => Access::WRITE,
        _ => Access::READ | Access::WRITE,
    };
    if flags.0 & libc::O_TRUNC != 0 {
        access |= Access::TRUNCATE | Access::WRITE;
    }
    if flags.0 & libc::O_NOATIME != 0 {
        access |= Access::KEEP_ACCESS_TIME;
    }
    access
}

pub(super) fn is_durable(flags: OpenFlags) -> bool {
    flags.0 & (libc::O_SYNC | libc::O_DSYNC) != 0
}

pub(super) fn rename_mode(flags: RenameFlags) -> Option<RenameMode> {
    if flags.is_empty() {
        Some(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Some(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Some(RenameMode::Exchange)
    } else {
        None
    }
}

pub(super) fn allocate_mode(mode: i32) -> Option<AllocateMode> {
    let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
    match mode & !libc::FALLOC_FL_KEEP_SIZE {
        0 => Some(AllocateMode::Allocate { keep_size }),
        libc::FALLOC_FL_PUNCH_HOLE if keep_size => Some(AllocateMode::PunchHole),
        libc::FALLOC_FL_ZERO_RANGE => Some(AllocateMode::ZeroRange { keep_size }),
        _ => None,
    }
}

pub(super) fn xattr_mode(flags: i32) -> Option<XattrMode> {
    match flags {
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
    fn times_before_1970_keep_their_nanoseconds() {
        let early = Timestamp { secs: -2, nanos: 750_000_000 };
        assert_eq!(UNIX_EPOCH.duration_since(system_time(early)).unwrap(), Duration::from_millis(1250));
        let extreme = Timestamp { secs: i64::MIN, nanos: 0 };
        assert_eq!(timestamp(system_time(extreme)), extreme);
        let late = Timestamp { secs: i64::MAX, nanos: 999_999_999 };
        assert_eq!(timestamp(system_time(late)), late);
    }

    #[test]
    fn open_flags_say_what_for() {
        assert_eq!(access(OpenFlags(libc::O_RDONLY)), Access::READ);
        assert_eq!(access(OpenFlags(libc::O_WRONLY | libc::O_APPEND)), Access::WRITE);
        assert_eq!(
            access(OpenFlags(libc::O_RDWR | libc::O_TRUNC)),
            Access::READ | Access::WRITE | Access::TRUNCATE
        );
        assert!(is_durable(OpenFlags(libc::O_DSYNC)) && is_durable(OpenFlags(libc::O_SYNC)));
        assert!(!is_durable(OpenFlags(libc::O_RDWR)));
    }

    #[test]
    fn ranges_that_would_move_content_are_not_for_us() {
        assert_eq!(allocate_mode(0), Some(AllocateMode::Allocate { keep_size: false }));
        assert_eq!(allocate_mode(libc::FALLOC_FL_PUNCH_HOLE), None);
        assert_eq!(allocate_mode(libc::FALLOC_FL_COLLAPSE_RANGE), None);
        assert_eq!(allocate_mode(libc::FALLOC_FL_INSERT_RANGE), None);
        let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        assert_eq!(allocate_mode(punch), Some(AllocateMode::PunchHole));
        let zero = libc::FALLOC_FL_ZERO_RANGE;
        assert_eq!(allocate_mode(zero), Some(AllocateMode::ZeroRange { keep_size: false }));
    }

    #[test]
    fn a_rename_knows_three_ways() {
        assert_eq!(rename_mode(RenameFlags::empty()), Some(RenameMode::Replace));
        assert_eq!(rename_mode(RenameFlags::RENAME_WHITEOUT), None);
        let both = RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE;
        assert_eq!(rename_mode(both), None);
    }
}
