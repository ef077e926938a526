//! The system calls that the checks make.
//!
//! One thin function for each call, so that a check sees the exact error number of the kernel: the standard library retries,
//! hides flags and has no word for half of these calls. Nothing here judges a result.
//!
//! This file is `unsafe` because it calls C. It is sound because every pointer that it passes comes from a live
//! `CString`, slice or local variable with its true length, and every descriptor is owned by a [`File`].
#![allow(unsafe_code)]

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use libc::{c_int, c_long, c_uint};

mod directory;
mod file;

pub(crate) use directory::{Directory, Entry};
pub(crate) use file::{File, copy_at_positions, copy_range, share_all};

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    /// Name of the call.
    pub(crate) call: &'static str,
    /// What it worked on; empty for a descriptor.
    pub(crate) on: String,
    /// Error number.
    pub(crate) errno: i32,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}) gave {}", self.call, shorten(&self.on), errno_name(self.errno))
    }
}

/// What every call gives.
pub(crate) type Result<T> = std::result::Result<T, Error>;

fn shorten(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// The name of an error number, as manuals spell it.
pub(crate) fn errno_name(errno: i32) -> String {
    let name = match errno {
        libc::E2BIG => "E2BIG",
        libc::EACCES => "EACCES",
        libc::EAGAIN => "EAGAIN",
        libc::EBADF => "EBADF",
        libc::EBUSY => "EBUSY",
        libc::EDEADLK => "EDEADLK",
        libc::EEXIST => "EEXIST",
        libc::EFAULT => "EFAULT",
        libc::EFBIG => "EFBIG",
        libc::EINTR => "EINTR",
        libc::EINVAL => "EINVAL",
        libc::EIO => "EIO",
        libc::EISDIR => "EISDIR",
        libc::ELOOP => "ELOOP",
        libc::EMFILE => "EMFILE",
        libc::EMLINK => "EMLINK",
        libc::ENAMETOOLONG => "ENAMETOOLONG",
        libc::ENODATA => "ENODATA",
        libc::ENODEV => "ENODEV",
        libc::ENOENT => "ENOENT",
        libc::ENOLCK => "ENOLCK",
        libc::ENOMEM => "ENOMEM",
        libc::ENOSPC => "ENOSPC",
        libc::ENOSYS => "ENOSYS",
        libc::ENOTCONN => "ENOTCONN",
        libc::ENOTDIR => "ENOTDIR",
        libc::ENOTEMPTY => "ENOTEMPTY",
        libc::ENOTTY => "ENOTTY",
        libc::ENXIO => "ENXIO",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EOVERFLOW => "EOVERFLOW",
        libc::EPERM => "EPERM",
        libc::EPIPE => "EPIPE",
        libc::ERANGE => "ERANGE",
        libc::EROFS => "EROFS",
        libc::ESPIPE => "ESPIPE",
        libc::ESTALE => "ESTALE",
        libc::ETXTBSY => "ETXTBSY",
        libc::EXDEV => "EXDEV",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn failed(call: &'static str, on: impl AsRef<OsStr>) -> Error {
    let errno = errno();
    Error { call, on: on.as_ref().to_string_lossy().into_owned(), errno }
}

fn c_path(path: &Path) -> CString {
    c_name(path.as_os_str())
}

fn c_name(name: &OsStr) -> CString {
    CString::new(name.as_bytes()).expect("the checks pass no NUL bytes")
}

fn done(call: &'static str, path: &Path, result: c_int) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(failed(call, path)) }
}

/// What `stat` says.
#[derive(Clone, Copy)]
pub(crate) struct Stat(libc::stat);

impl Stat {
    /// Permission bits with set-id and sticky bits.
    pub(crate) fn mode(&self) -> u32 {
        self.0.st_mode & 0o7777
    }
    /// The type, as `S_IFREG` and the like.
    pub(crate) fn kind(&self) -> u32 {
        self.0.st_mode & libc::S_IFMT
    }
    /// Inode number.
    pub(crate) fn ino(&self) -> u64 {
        self.0.st_ino
    }
    /// Number of the file system.
    pub(crate) fn dev(&self) -> u64 {
        self.0.st_dev
    }
    /// Device number of a device node.
    pub(crate) fn rdev(&self) -> u64 {
        self.0.st_rdev
    }
    /// Number of names.
    pub(crate) fn nlink(&self) -> u64 {
        self.0.st_nlink
    }
    /// Owner.
    pub(crate) fn uid(&self) -> u32 {
        self.0.st_uid
    }
    /// Group.
    pub(crate) fn gid(&self) -> u32 {
        self.0.st_gid
    }
    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.0.st_size.cast_unsigned()
    }
    /// Blocks of 512 bytes in use.
    pub(crate) fn blocks(&self) -> u64 {
        self.0.st_blocks.cast_unsigned()
    }
    /// Preferred size of a transfer, in bytes.
    pub(crate) fn block_size(&self) -> i64 {
        self.0.st_blksize
    }
    /// Access time, seconds and nanoseconds.
    pub(crate) fn atime(&self) -> (i64, i64) {
        (self.0.st_atime, self.0.st_atime_nsec)
    }
    /// Modification time.
    pub(crate) fn mtime(&self) -> (i64, i64) {
        (self.0.st_mtime, self.0.st_mtime_nsec)
    }
    /// Change time.
    pub(crate) fn ctime(&self) -> (i64, i64) {
        (self.0.st_ctime, self.0.st_ctime_nsec)
    }
}

/// `stat`, following a symbolic link.
pub(crate) fn stat(path: impl AsRef<Path>) -> Result<Stat> {
    let (path, mut out) = (path.as_ref(), MaybeUninit::uninit());
    let name = c_path(path);
    done("stat", path, unsafe { libc::stat(name.as_ptr(), out.as_mut_ptr()) })?;
    Ok(Stat(unsafe { out.assume_init() }))
}

/// `lstat`, of a symbolic link itself.
pub(crate) fn lstat(path: impl AsRef<Path>) -> Result<Stat> {
    let (path, mut out) = (path.as_ref(), MaybeUninit::uninit());
    let name = c_path(path);
    done("lstat", path, unsafe { libc::lstat(name.as_ptr(), out.as_mut_ptr()) })?;
    Ok(Stat(unsafe { out.assume_init() }))
}

/// `open` with `O_CLOEXEC`.
pub(crate) fn open(path: impl AsRef<Path>, flags: c_int, mode: u32) -> Result<File> {
    let path = path.as_ref();
    let name = c_path(path);
    let fd = unsafe { libc::open(name.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    if fd < 0 { Err(failed("open", path)) } else { Ok(File(unsafe { OwnedFd::from_raw_fd(fd) })) }
}

/// `openat` relative to an open directory.
pub(crate) fn open_at(directory: &File, name: &str, flags: c_int, mode: u32) -> Result<File> {
    let path = c_name(OsStr::new(name));
    let fd = unsafe { libc::openat(directory.raw(), path.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    if fd < 0 { Err(failed("openat", name)) } else { Ok(File(unsafe { OwnedFd::from_raw_fd(fd) })) }
}

macro_rules! path_calls {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $kind:ty),*) = $call:expr;)+) => {
        $($(#[$doc])*
        pub(crate) fn $name(path: impl AsRef<Path>, $($arg: $kind),*) -> Result<()> {
            let path = path.as_ref();
            let name = c_path(path);
            done(stringify!($name), path, unsafe { $call(name.as_ptr(), $($arg),*) })
        })+
    };
}

path_calls! {
    /// Makes a directory.
    mkdir(mode: u32) = libc::mkdir;
    /// Removes an empty directory.
    rmdir() = libc::rmdir;
    /// Removes a name.
    unlink() = libc::unlink;
    /// Makes a fifo.
    mkfifo(mode: u32) = libc::mkfifo;
    /// Makes a node of the type in `mode`.
    mknod(mode: u32, device: u64) = libc::mknod;
    /// Sets permission bits.
    chmod(mode: u32) = libc::chmod;
    /// Sets owner and group; `KEEP` keeps one.
    chown(uid: u32, gid: u32) = libc::chown;
    /// Sets owner and group of a symbolic link itself.
    lchown(uid: u32, gid: u32) = libc::lchown;
    /// Sets the size.
    truncate(size: i64) = libc::truncate;
    /// Asks whether the real user may do `what`.
    access(what: c_int) = libc::access;
    /// Sets the working directory of this thread (after [`own_file_context`]).
    chdir() = libc::chdir;
}

/// An id that keeps what is there.
pub(crate) const KEEP: u32 = u32::MAX;

macro_rules! two_path_calls {
    ($($(#[$doc:meta])* $name:ident = |$a:ident, $b:ident $(, $arg:ident: $kind:ty)*| $call:expr;)+) => {
        $($(#[$doc])*
        pub(crate) fn $name(from: impl AsRef<Path>, to: impl AsRef<Path> $(, $arg: $kind)*) -> Result<()> {
            let (first, second) = (c_path(from.as_ref()), c_path(to.as_ref()));
            let ($a, $b) = (first.as_ptr(), second.as_ptr());
            let label = format!("{} -> {}", from.as_ref().display(), to.as_ref().display());
            let result = unsafe { $call };
            done(stringify!($name), Path::new(&label), result as c_int)
        })+
    };
}

two_path_calls! {
    /// Gives a file one more name.
    link = |a, b| libc::link(a, b);
    /// `linkat` with flags such as `AT_SYMLINK_FOLLOW`.
    link_with = |a, b, flags: c_int| libc::linkat(libc::AT_FDCWD, a, libc::AT_FDCWD, b, flags);
    /// Makes a symbolic link at `to` that says `from`.
    symlink = |a, b| libc::symlink(a, b);
    /// Moves a name.
    rename = |a, b| libc::rename(a, b);
    /// `renameat2` with `RENAME_NOREPLACE` or `RENAME_EXCHANGE`.
    rename_with = |a, b, flags: c_uint|
        libc::syscall(libc::SYS_renameat2, libc::AT_FDCWD, a, libc::AT_FDCWD, b, flags);
}

/// Asks whether the effective user may do `what`.
pub(crate) fn effective_access(path: impl AsRef<Path>, what: c_int) -> Result<()> {
    let path = path.as_ref();
    let name = c_path(path);
    done("faccessat", path, unsafe { libc::faccessat(libc::AT_FDCWD, name.as_ptr(), what, libc::AT_EACCESS) })
}

/// What a symbolic link says, up to `limit` bytes.
pub(crate) fn readlink_up_to(path: impl AsRef<Path>, limit: usize) -> Result<OsString> {
    let path = path.as_ref();
    let name = c_path(path);
    let mut buffer = vec![0u8; limit];
    let length = unsafe { libc::readlink(name.as_ptr(), buffer.as_mut_ptr().cast(), limit) };
    if length < 0 {
        return Err(failed("readlink", path));
    }
    buffer.truncate(length.cast_unsigned());
    Ok(OsString::from_vec(buffer))
}

/// What a symbolic link says.
pub(crate) fn readlink(path: impl AsRef<Path>) -> Result<OsString> {
    readlink_up_to(path, 8192)
}

fn timespec(time: (i64, i64)) -> libc::timespec {
    libc::timespec { tv_sec: time.0, tv_nsec: time.1 }
}

/// A time that means "now".
pub(crate) const NOW: (i64, i64) = (0, libc::UTIME_NOW);
/// A time that means "as it is".
pub(crate) const OMIT: (i64, i64) = (0, libc::UTIME_OMIT);

/// Sets access and modification time; `flags` may be `AT_SYMLINK_NOFOLLOW`.
pub(crate) fn utimens(
    path: impl AsRef<Path>,
    atime: (i64, i64),
    mtime: (i64, i64),
    flags: c_int,
) -> Result<()> {
    let path = path.as_ref();
    let name = c_path(path);
    let times = [timespec(atime), timespec(mtime)];
    done("utimensat", path, unsafe { libc::utimensat(libc::AT_FDCWD, name.as_ptr(), times.as_ptr(), flags) })
}

/// Sets both times to now by passing none, as `touch` does.
pub(crate) fn utimens_null(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let name = c_path(path);
    done("utimensat", path, unsafe { libc::utimensat(libc::AT_FDCWD, name.as_ptr(), std::ptr::null(), 0) })
}

/// What `statvfs` says.
pub(crate) fn statvfs(path: impl AsRef<Path>) -> Result<libc::statvfs> {
    let (path, mut out) = (path.as_ref(), MaybeUninit::uninit());
    let name = c_path(path);
    done("statvfs", path, unsafe { libc::statvfs(name.as_ptr(), out.as_mut_ptr()) })?;
    Ok(unsafe { out.assume_init() })
}

/// Sets an extended attribute; `flags` may be `XATTR_CREATE` or `XATTR_REPLACE`.
pub(crate) fn setxattr(path: impl AsRef<Path>, name: &str, value: &[u8], flags: c_int) -> Result<()> {
    let path = path.as_ref();
    let (at, key) = (c_path(path), c_name(OsStr::new(name)));
    done("setxattr", path, unsafe {
        libc::setxattr(at.as_ptr(), key.as_ptr(), value.as_ptr().cast(), value.len(), flags)
    })
}

/// [`setxattr`] on a symbolic link itself.
pub(crate) fn lsetxattr(path: impl AsRef<Path>, name: &str, value: &[u8], flags: c_int) -> Result<()> {
    let path = path.as_ref();
    let (at, key) = (c_path(path), c_name(OsStr::new(name)));
    done("lsetxattr", path, unsafe {
        libc::lsetxattr(at.as_ptr(), key.as_ptr(), value.as_ptr().cast(), value.len(), flags)
    })
}

/// An extended attribute, up to `limit` bytes; a limit of 0 gives an empty value and the length.
pub(crate) fn getxattr_up_to(path: impl AsRef<Path>, name: &str, limit: usize) -> Result<(Vec<u8>, usize)> {
    let path = path.as_ref();
    let (at, key) = (c_path(path), c_name(OsStr::new(name)));
    let mut buffer = vec![0u8; limit];
    let length = unsafe { libc::getxattr(at.as_ptr(), key.as_ptr(), buffer.as_mut_ptr().cast(), limit) };
    if length < 0 {
        return Err(failed("getxattr", path));
    }
    buffer.truncate(length.cast_unsigned());
    Ok((buffer, length.cast_unsigned()))
}

/// An extended attribute.
pub(crate) fn getxattr(path: impl AsRef<Path>, name: &str) -> Result<Vec<u8>> {
    Ok(getxattr_up_to(path, name, 65536)?.0)
}

/// [`getxattr`] of a symbolic link itself.
pub(crate) fn lgetxattr(path: impl AsRef<Path>, name: &str) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let (at, key) = (c_path(path), c_name(OsStr::new(name)));
    let mut buffer = vec![0u8; 65536];
    let length =
        unsafe { libc::lgetxattr(at.as_ptr(), key.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    if length < 0 {
        return Err(failed("lgetxattr", path));
    }
    buffer.truncate(length.cast_unsigned());
    Ok(buffer)
}

/// The names of all extended attributes as the kernel gives them, sorted, with room for `limit` bytes.
pub(crate) fn listxattr_up_to(path: impl AsRef<Path>, limit: usize) -> Result<Vec<String>> {
    let path = path.as_ref();
    let at = c_path(path);
    let mut buffer = vec![0u8; limit];
    let length = unsafe { libc::listxattr(at.as_ptr(), buffer.as_mut_ptr().cast(), limit) };
    if length < 0 {
        return Err(failed("listxattr", path));
    }
    buffer.truncate(length.cast_unsigned());
    let mut names: Vec<String> = buffer
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    names.sort();
    Ok(names)
}

/// The names of all extended attributes.
pub(crate) fn listxattr(path: impl AsRef<Path>) -> Result<Vec<String>> {
    listxattr_up_to(path, 65536)
}

/// Removes an extended attribute.
pub(crate) fn removexattr(path: impl AsRef<Path>, name: &str) -> Result<()> {
    let path = path.as_ref();
    let (at, key) = (c_path(path), c_name(OsStr::new(name)));
    done("removexattr", path, unsafe { libc::removexattr(at.as_ptr(), key.as_ptr()) })
}

/// Gives this thread its own umask and working directory.
pub(crate) fn own_file_context() -> Result<()> {
    done("unshare", Path::new("CLONE_FS"), unsafe { libc::unshare(libc::CLONE_FS) })
}

/// Sets the umask (of this thread after [`own_file_context`]) and gives the old one.
pub(crate) fn umask(mask: u32) -> u32 {
    unsafe { libc::umask(mask) }
}

/// The effective user.
pub(crate) fn effective_uid() -> u32 {
    unsafe { libc::geteuid() }
}

/// Changes the ids of this thread only, for good. The C library's own functions would change all threads.
pub(crate) fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    let call = |name, result: c_long| if result == 0 { Ok(()) } else { Err(failed(name, "")) };
    unsafe {
        call("setgroups", libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        call("setresgid", libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        call("setresuid", libc::syscall(libc::SYS_setresuid, uid, uid, uid))
    }
}

/// Changes the ids that file access uses, of this thread only; the real ids stay.
pub(crate) fn become_effective_user(uid: u32, gid: u32) -> Result<()> {
    let call = |name, result: c_long| if result == 0 { Ok(()) } else { Err(failed(name, "")) };
    unsafe {
        call("setgroups", libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()))?;
        call("setresgid", libc::syscall(libc::SYS_setresgid, KEEP, gid, KEEP))?;
        call("setresuid", libc::syscall(libc::SYS_setresuid, KEEP, uid, KEEP))
    }
}

/// When an inode was made, if the file system knows.
pub(crate) fn birth_time(path: impl AsRef<Path>) -> Result<Option<(i64, i64)>> {
    let path = path.as_ref();
    let (name, mut out) = (c_path(path), MaybeUninit::<libc::statx>::zeroed());
    done("statx", path, unsafe {
        libc::statx(libc::AT_FDCWD, name.as_ptr(), 0, libc::STATX_BTIME, out.as_mut_ptr())
    })?;
    let out = unsafe { out.assume_init() };
    let known = out.stx_mask & libc::STATX_BTIME != 0;
    Ok(known.then_some((out.stx_btime.tv_sec, i64::from(out.stx_btime.tv_nsec))))
}

/// A limit such as `_PC_NAME_MAX`; none if there is no limit.
pub(crate) fn path_limit(path: impl AsRef<Path>, which: c_int) -> Option<i64> {
    let name = c_path(path.as_ref());
    let limit = unsafe { libc::pathconf(name.as_ptr(), which) };
    (limit >= 0).then_some(limit)
}
