//! What the kernel asks for, by number (`enum fuse_opcode`). What is not named here is answered with `ENOSYS`, after which the
//! kernel does without.

pub(in crate::fuse) const LOOKUP: u32 = 1;
pub(in crate::fuse) const FORGET: u32 = 2;
pub(in crate::fuse) const GETATTR: u32 = 3;
pub(in crate::fuse) const SETATTR: u32 = 4;
pub(in crate::fuse) const READLINK: u32 = 5;
pub(in crate::fuse) const SYMLINK: u32 = 6;
pub(in crate::fuse) const MKNOD: u32 = 8;
pub(in crate::fuse) const MKDIR: u32 = 9;
pub(in crate::fuse) const UNLINK: u32 = 10;
pub(in crate::fuse) const RMDIR: u32 = 11;
pub(in crate::fuse) const RENAME: u32 = 12;
pub(in crate::fuse) const LINK: u32 = 13;
pub(in crate::fuse) const OPEN: u32 = 14;
pub(in crate::fuse) const READ: u32 = 15;
pub(in crate::fuse) const WRITE: u32 = 16;
pub(in crate::fuse) const STATFS: u32 = 17;
pub(in crate::fuse) const RELEASE: u32 = 18;
pub(in crate::fuse) const FSYNC: u32 = 20;
pub(in crate::fuse) const SETXATTR: u32 = 21;
pub(in crate::fuse) const GETXATTR: u32 = 22;
pub(in crate::fuse) const LISTXATTR: u32 = 23;
pub(in crate::fuse) const REMOVEXATTR: u32 = 24;
pub(in crate::fuse) const INIT: u32 = 26;
pub(in crate::fuse) const OPENDIR: u32 = 27;
pub(in crate::fuse) const READDIR: u32 = 28;
pub(in crate::fuse) const RELEASEDIR: u32 = 29;
pub(in crate::fuse) const FSYNCDIR: u32 = 30;
pub(in crate::fuse) const CREATE: u32 = 35;
pub(in crate::fuse) const DESTROY: u32 = 38;
pub(in crate::fuse) const BATCH_FORGET: u32 = 42;
pub(in crate::fuse) const FALLOCATE: u32 = 43;
pub(in crate::fuse) const READDIRPLUS: u32 = 44;
pub(in crate::fuse) const RENAME2: u32 = 45;
pub(in crate::fuse) const LSEEK: u32 = 46;
pub(in crate::fuse) const COPY_FILE_RANGE: u32 = 47;
pub(in crate::fuse) const SYNCFS: u32 = 50;
pub(in crate::fuse) const TMPFILE: u32 = 51;
pub(in crate::fuse) const STATX: u32 = 52;
pub(in crate::fuse) const COPY_FILE_RANGE_64: u32 = 53;

/// Whether the kernel waits for an answer.
pub(in crate::fuse) fn is_answered(opcode: u32) -> bool {
    !matches!(opcode, FORGET | BATCH_FORGET)
}
