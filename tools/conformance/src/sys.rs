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
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use libc::{c_int, c_long, c_uint, off_t};

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Name of the call.
    pub call: &'static str,
    /// What it worked on; empty for a descriptor.
    pub on: String,
    /// Error number.
    pub errno: i32,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}) gave {}", self.call, shorten(&self.on), errno_name(self.errno))
    }
}

/// What every call gives.
pub type Result<T> = std::result::Result<T, Error>;

fn shorten(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// The name of an error number, as manuals spell it.
pub fn errno_name(errno: i32) -> String {
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
pub struct Stat(libc::stat);

impl Stat {
    /// Permission bits with set-id and sticky bits.
    pub fn mode(&self) -> u32 {
        self.0.st_mode & 0o7777
    }
    /// The type, as `S_IFREG` and the like.
    pub fn kind(&self) -> u32 {
        self.0.st_mode & libc::S_IFMT
    }
    /// Inode number.
    pub fn ino(&self) -> u64 {
        self.0.st_ino
    }
    /// Number of the file system.
    pub fn dev(&self) -> u64 {
        self.0.st_dev
    }
    /// Device number of a device node.
    pub fn rdev(&self) -> u64 {
        self.0.st_rdev
    }
    /// Number of names.
    pub fn nlink(&self) -> u64 {
        self.0.st_nlink
    }
    /// Owner.
    pub fn uid(&self) -> u32 {
        self.0.st_uid
    }
    /// Group.
    pub fn gid(&self) -> u32 {
        self.0.st_gid
    }
    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.0.st_size.cast_unsigned()
    }
    /// Blocks of 512 bytes in use.
    pub fn blocks(&self) -> u64 {
        self.0.st_blocks.cast_unsigned()
    }
    /// Preferred size of a transfer, in bytes.
    pub fn block_size(&self) -> i64 {
        self.0.st_blksize
    }
    /// Access time, seconds and nanoseconds.
    pub fn atime(&self) -> (i64, i64) {
        (self.0.st_atime, self.0.st_atime_nsec)
    }
    /// Modification time.
    pub fn mtime(&self) -> (i64, i64) {
        (self.0.st_mtime, self.0.st_mtime_nsec)
    }
    /// Change time.
    pub fn ctime(&self) -> (i64, i64) {
        (self.0.st_ctime, self.0.st_ctime_nsec)
    }
}

/// `stat`, following a symbolic link.
pub fn stat(path: impl AsRef<Path>) -> Result<Stat> {
    let (path, mut out) = (path.as_ref(), MaybeUninit::uninit());
    let name = c_path(path);
    done("stat", path, unsafe { libc::stat(name.as_ptr(), out.as_mut_ptr()) })?;
    Ok(Stat(unsafe { out.assume_init() }))
}

/// `lstat`, of a symbolic link itself.
pub fn lstat(path: impl AsRef<Path>) -> Result<Stat> {
    let (path, mut out) = (path.as_ref(), MaybeUninit::uninit());
    let name = c_path(path);
    done("lstat", path, unsafe { libc::lstat(name.as_ptr(), out.as_mut_ptr()) })?;
    Ok(Stat(unsafe { out.assume_init() }))
}

/// `open` with `O_CLOEXEC`.
pub fn open(path: impl AsRef<Path>, flags: c_int, mode: u32) -> Result<File> {
    let path = path.as_ref();
    let name = c_path(path);
    let fd = unsafe { libc::open(name.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    if fd < 0 { Err(failed("open", path)) } else { Ok(File(unsafe { OwnedFd::from_raw_fd(fd) })) }
}

/// `openat` relative to an open directory.
pub fn open_at(directory: &File, name: &str, flags: c_int, mode: u32) -> Result<File> {
    let path = c_name(OsStr::new(name));
    let fd = unsafe { libc::openat(directory.raw(), path.as_ptr(), flags | libc::O_CLOEXEC, mode) };
    if fd < 0 { Err(failed("openat", name)) } else { Ok(File(unsafe { OwnedFd::from_raw_fd(fd) })) }
}

macro_rules! path_calls {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $kind:ty),*) = $call:expr;)+) => {
        $($(#[$doc])*
        pub fn $name(path: impl AsRef<Path>, $($arg: $kind),*) -> Result<()> {
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
pub const KEEP: u32 = u32::MAX;

macro_rules! two_path_calls {
    ($($(#[$doc:meta])* $name:ident = |$a:ident, $b:ident $(, $arg:ident: $kind:ty)*| $call:expr;)+) => {
        $($(#[$doc])*
        pub fn $name(from: impl AsRef<Path>, to: impl AsRef<Path> $(, $arg: $kind)*) -> Result<()> {
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
pub fn effective_access(path: impl AsRef<Path>, what: c_int) -> Result<()> {
    let path = path.as_ref();
    let name = c_path(path);
    done("faccessat", path, unsafe {
        libc::faccessat(libc::AT_FDCWD, name.as_ptr(), what, libc::AT_EACCESS)
    })
}

/// What a symbolic link says, up to `limit` bytes.
pub fn readlink_up_to(path: impl AsRef<Path>, limit: usize) -> Result<OsString> {
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
pub fn readlink(path: impl AsRef<Path>) -> Result<OsString> {
    readlink_up_to(path, 8192)
}

fn timespec(time: (i64, i64)) -> libc::timespec {
    libc::timespec { tv_sec: time.0, tv_nsec: time.1 }
}

/// A time that means "now".
pub const NOW: (i64, i64) = (0, libc::UTIME_NOW);
/// A time that means "as it is".
pub const OMIT: (i64, i64) = (0, libc::UTIME_OMIT);

/// Sets access and modification time; `flags` may be `AT_SYMLINK_NOFOLLOW`.
pub fn utimens(path: impl AsRef<Path>, atime: (i64, i64), mtime: (i64, i64), flags: c_int) -> Result<()> {
    let path = path.as_ref();
    let name = c_path(path);
    let times = [timespec(atime), timespec(mtime)];
    done("utimensat", path, unsafe { libc::utimensat(libc::AT_FDCWD, name.as_ptr(), times.as_ptr(), flags) })
}

/// Sets both times to now by passing none, as `touch` does.
pub fn utimens_null(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let name = c_path(path);
    done("utimensat", path, unsafe {
        libc::utimensat(libc::AT_FDCWD, name.as_ptr(), std::ptr::null(), 0)
    })
}

/// What `statvfs` says.
pub fn statvfs(path: impl AsRef<Path>) -> Result<libc::statvfs> {
    let (path, mut out) = (path.as_ref(), MaybeUninit::uninit());
    let name = c_path(path);
    done("statvfs", path, unsafe { libc::statvfs(name.as_ptr(), out.as_mut_ptr()) })?;
    Ok(unsafe { out.assume_init() })
}

/// Sets an extended attribute; `flags` may be `XATTR_CREATE` or `XATTR_REPLACE`.
pub fn setxattr(path: impl AsRef<Path>, name: &str, value: &[u8], flags: c_int) -> Result<()> {
    let path = path.as_ref();
    let (at, key) = (c_path(path), c_name(OsStr::new(name)));
    done("setxattr", path, unsafe {
        libc::setxattr(at.as_ptr(), key.as_ptr(), value.as_ptr().cast(), value.len(), flags)
    })
}

/// [`setxattr`] on a symbolic link itself.
pub fn lsetxattr(path: impl AsRef<Path>, name: &str, value: &[u8], flags: c_int) -> Result<()> {
    let path = path.as_ref();
    let (at, key) = (c_path(path), c_name(OsStr::new(name)));
    done("lsetxattr", path, unsafe {
        libc::lsetxattr(at.as_ptr(), key.as_ptr(), value.as_ptr().cast(), value.len(), flags)
    })
}

/// An extended attribute, up to `limit` bytes; a limit of 0 gives an empty value and the length.
pub fn getxattr_up_to(path: impl AsRef<Path>, name: &str, limit: usize) -> Result<(Vec<u8>, usize)> {
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
pub fn getxattr(path: impl AsRef<Path>, name: &str) -> Result<Vec<u8>> {
    Ok(getxattr_up_to(path, name, 65536)?.0)
}

/// [`getxattr`] of a symbolic link itself.
pub fn lgetxattr(path: impl AsRef<Path>, name: &str) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let (at, key) = (c_path(path), c_name(OsStr::new(name)));
    let mut buffer = vec![0u8; 65536];
    let length = unsafe { libc::lgetxattr(at.as_ptr(), key.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len()) };
    if length < 0 {
        return Err(failed("lgetxattr", path));
    }
    buffer.truncate(length.cast_unsigned());
    Ok(buffer)
}

/// The names of all extended attributes as the kernel gives them, sorted, with room for `limit` bytes.
pub fn listxattr_up_to(path: impl AsRef<Path>, limit: usize) -> Result<Vec<String>> {
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
pub fn listxattr(path: impl AsRef<Path>) -> Result<Vec<String>> {
    listxattr_up_to(path, 65536)
}

/// Removes an extended attribute.
pub fn removexattr(path: impl AsRef<Path>, name: &str) -> Result<()> {
    let path = path.as_ref();
    let (at, key) = (c_path(path), c_name(OsStr::new(name)));
    done("removexattr", path, unsafe { libc::removexattr(at.as_ptr(), key.as_ptr()) })
}

/// Gives this thread its own umask and working directory.
pub fn own_file_context() -> Result<()> {
    done("unshare", Path::new("CLONE_FS"), unsafe { libc::unshare(libc::CLONE_FS) })
}

/// Sets the umask (of this thread after [`own_file_context`]) and gives the old one.
pub fn umask(mask: u32) -> u32 {
    unsafe { libc::umask(mask) }
}

/// The effective user.
pub fn effective_uid() -> u32 {
    unsafe { libc::geteuid() }
}

/// Changes the ids of this thread only, for good. The C library's own functions would change all threads.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    let call = |name, result: c_long| if result == 0 { Ok(()) } else { Err(failed(name, "")) };
    unsafe {
        call("setgroups", libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()))?;
        call("setresgid", libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        call("setresuid", libc::syscall(libc::SYS_setresuid, uid, uid, uid))
    }
}

/// Changes the ids that file access uses, of this thread only; the real ids stay.
pub fn become_effective_user(uid: u32, gid: u32) -> Result<()> {
    let call = |name, result: c_long| if result == 0 { Ok(()) } else { Err(failed(name, "")) };
    unsafe {
        call("setgroups", libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>()))?;
        call("setresgid", libc::syscall(libc::SYS_setresgid, KEEP, gid, KEEP))?;
        call("setresuid", libc::syscall(libc::SYS_setresuid, KEEP, uid, KEEP))
    }
}

/// An open file, closed when dropped.
#[derive(Debug)]
pub struct File(OwnedFd);

impl File {
    /// The descriptor's number.
    pub fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// A path that leads to this file while it is open.
    pub fn proc_path(&self) -> String {
        format!("/proc/self/fd/{}", self.raw())
    }

    fn done(call: &'static str, result: c_int) -> Result<()> {
        if result == 0 { Ok(()) } else { Err(failed(call, "")) }
    }

    fn count(call: &'static str, result: isize) -> Result<usize> {
        usize::try_from(result).map_err(|_| failed(call, ""))
    }

    /// Writes at the file's position and gives how many bytes were taken.
    pub fn write(&self, data: &[u8]) -> Result<usize> {
        Self::count("write", unsafe { libc::write(self.raw(), data.as_ptr().cast(), data.len()) })
    }

    /// Reads up to `limit` bytes at the file's position.
    pub fn read(&self, limit: usize) -> Result<Vec<u8>> {
        let mut buffer = vec![0u8; limit];
        let got = Self::count("read", unsafe { libc::read(self.raw(), buffer.as_mut_ptr().cast(), limit) })?;
        buffer.truncate(got);
        Ok(buffer)
    }

    /// Writes at `offset`.
    pub fn pwrite(&self, data: &[u8], offset: i64) -> Result<usize> {
        Self::count("pwrite", unsafe { libc::pwrite(self.raw(), data.as_ptr().cast(), data.len(), offset) })
    }

    /// Reads up to `limit` bytes at `offset`.
    pub fn pread(&self, limit: usize, offset: i64) -> Result<Vec<u8>> {
        let mut buffer = vec![0u8; limit];
        let got = self.pread_into(&mut buffer, offset)?;
        buffer.truncate(got);
        Ok(buffer)
    }

    /// Reads into `buffer` at `offset`.
    pub fn pread_into(&self, buffer: &mut [u8], offset: i64) -> Result<usize> {
        Self::count("pread", unsafe {
            libc::pread(self.raw(), buffer.as_mut_ptr().cast(), buffer.len(), offset)
        })
    }

    /// Writes several pieces at the file's position in one call.
    pub fn writev(&self, parts: &[&[u8]]) -> Result<usize> {
        let parts: Vec<libc::iovec> = parts
            .iter()
            .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() })
            .collect();
        Self::count("writev", unsafe { libc::writev(self.raw(), parts.as_ptr(), parts.len() as c_int) })
    }

    /// Moves the position, or finds data and holes.
    pub fn seek(&self, offset: i64, whence: c_int) -> Result<i64> {
        let at = unsafe { libc::lseek(self.raw(), offset, whence) };
        if at < 0 { Err(failed("lseek", "")) } else { Ok(at) }
    }

    /// `fstat`.
    pub fn stat(&self) -> Result<Stat> {
        let mut out = MaybeUninit::uninit();
        Self::done("fstat", unsafe { libc::fstat(self.raw(), out.as_mut_ptr()) })?;
        Ok(Stat(unsafe { out.assume_init() }))
    }

    /// Sets the size.
    pub fn truncate(&self, size: i64) -> Result<()> {
        Self::done("ftruncate", unsafe { libc::ftruncate(self.raw(), size) })
    }

    /// Sets permission bits.
    pub fn chmod(&self, mode: u32) -> Result<()> {
        Self::done("fchmod", unsafe { libc::fchmod(self.raw(), mode) })
    }

    /// Sets owner and group.
    pub fn chown(&self, uid: u32, gid: u32) -> Result<()> {
        Self::done("fchown", unsafe { libc::fchown(self.raw(), uid, gid) })
    }

    /// Sets access and modification time.
    pub fn utimens(&self, atime: (i64, i64), mtime: (i64, i64)) -> Result<()> {
        let times = [timespec(atime), timespec(mtime)];
        Self::done("futimens", unsafe { libc::futimens(self.raw(), times.as_ptr()) })
    }

    /// Data and attributes to disk.
    pub fn fsync(&self) -> Result<()> {
        Self::done("fsync", unsafe { libc::fsync(self.raw()) })
    }

    /// Data to disk.
    pub fn fdatasync(&self) -> Result<()> {
        Self::done("fdatasync", unsafe { libc::fdatasync(self.raw()) })
    }

    /// The whole file system to disk.
    pub fn syncfs(&self) -> Result<()> {
        Self::done("syncfs", unsafe { libc::syncfs(self.raw()) })
    }

    /// Starts to write a range back.
    pub fn sync_file_range(&self, offset: i64, length: i64, flags: c_uint) -> Result<()> {
        Self::done("sync_file_range", unsafe { libc::sync_file_range(self.raw(), offset, length, flags) })
    }

    /// Allocates, punches or zeroes.
    pub fn fallocate(&self, mode: c_int, offset: i64, length: i64) -> Result<()> {
        Self::done("fallocate", unsafe { libc::fallocate(self.raw(), mode, offset, length) })
    }

    /// Drops clean cached pages.
    pub fn drop_cache(&self) -> Result<()> {
        let errno = unsafe { libc::posix_fadvise(self.raw(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        if errno == 0 { Ok(()) } else { Err(Error { call: "posix_fadvise", on: String::new(), errno }) }
    }

    /// `flock`.
    pub fn flock(&self, operation: c_int) -> Result<()> {
        Self::done("flock", unsafe { libc::flock(self.raw(), operation) })
    }

    /// A record lock: `command` is `F_SETLK`, `F_OFD_SETLK`, `F_GETLK` and so on; `kind` is `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
    pub fn record_lock(&self, command: c_int, kind: c_int, start: i64, length: i64) -> Result<libc::flock> {
        let mut lock = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: start,
            l_len: length,
            l_pid: 0,
        };
        Self::done("fcntl", unsafe { libc::fcntl(self.raw(), command, &raw mut lock) }.min(0))?;
        Ok(lock)
    }

    /// The status flags.
    pub fn flags(&self) -> Result<c_int> {
        let flags = unsafe { libc::fcntl(self.raw(), libc::F_GETFL) };
        if flags < 0 { Err(failed("fcntl", "F_GETFL")) } else { Ok(flags) }
    }

    /// Sets the status flags.
    pub fn set_flags(&self, flags: c_int) -> Result<()> {
        Self::done("fcntl", unsafe { libc::fcntl(self.raw(), libc::F_SETFL, flags) })
    }

    /// One more descriptor of the same open file.
    pub fn duplicate(&self) -> Result<File> {
        let fd = unsafe { libc::fcntl(self.raw(), libc::F_DUPFD_CLOEXEC, 0) };
        if fd < 0 { Err(failed("dup", "")) } else { Ok(File(unsafe { OwnedFd::from_raw_fd(fd) })) }
    }

    /// Sets an extended attribute.
    pub fn setxattr(&self, name: &str, value: &[u8], flags: c_int) -> Result<()> {
        let key = c_name(OsStr::new(name));
        Self::done("fsetxattr", unsafe {
            libc::fsetxattr(self.raw(), key.as_ptr(), value.as_ptr().cast(), value.len(), flags)
        })
    }

    /// An extended attribute.
    pub fn getxattr(&self, name: &str) -> Result<Vec<u8>> {
        let key = c_name(OsStr::new(name));
        let mut buffer = vec![0u8; 65536];
        let length = Self::count("fgetxattr", unsafe {
            libc::fgetxattr(self.raw(), key.as_ptr(), buffer.as_mut_ptr().cast(), buffer.len())
        })?;
        buffer.truncate(length);
        Ok(buffer)
    }
}

/// Copies a range inside the kernel; gives how many bytes were copied.
pub fn copy_range(from: &File, from_offset: i64, to: &File, to_offset: i64, length: usize) -> Result<usize> {
    let (mut source, mut target): (off_t, off_t) = (from_offset, to_offset);
    let copied = unsafe {
        libc::copy_file_range(from.raw(), &raw mut source, to.raw(), &raw mut target, length, 0)
    };
    File::count("copy_file_range", copied)
}

/// Copies in the kernel at both files' positions.
pub fn copy_at_positions(from: &File, to: &File, length: usize) -> Result<usize> {
    let null = std::ptr::null_mut();
    File::count("copy_file_range", unsafe {
        libc::copy_file_range(from.raw(), null, to.raw(), null, length, 0)
    })
}

/// An open directory stream.
pub struct Directory(*mut libc::DIR);

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// Its inode number.
    pub ino: u64,
    /// Its type, `DT_REG` and the like.
    pub kind: u8,
}

impl Directory {
    /// `opendir`.
    pub fn open(path: impl AsRef<Path>) -> Result<Directory> {
        let path = path.as_ref();
        let name = c_path(path);
        let stream = unsafe { libc::opendir(name.as_ptr()) };
        if stream.is_null() { Err(failed("opendir", path)) } else { Ok(Directory(stream)) }
    }

    /// The next entry, `.` and `..` included.
    pub fn next(&mut self) -> Result<Option<Entry>> {
        unsafe {
            *libc::__errno_location() = 0;
            let entry = libc::readdir64(self.0);
            if entry.is_null() {
                return if errno() == 0 { Ok(None) } else { Err(failed("readdir", "")) };
            }
            let name = std::ffi::CStr::from_ptr((*entry).d_name.as_ptr()).to_bytes().to_vec();
            Ok(Some(Entry { name, ino: (*entry).d_ino, kind: (*entry).d_type }))
        }
    }

    /// The inode number of the next entry called `name`; 0 if there is none.
    pub fn next_named(&mut self, name: &[u8]) -> Result<u64> {
        while let Some(entry) = self.next()? {
            if entry.name == name {
                return Ok(entry.ino);
            }
        }
        Ok(0)
    }

    /// All further entries without `.` and `..`.
    pub fn rest(&mut self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while let Some(entry) = self.next()? {
            if entry.name != b"." && entry.name != b".." {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// `telldir`.
    pub fn tell(&self) -> i64 {
        unsafe { libc::telldir(self.0) }
    }

    /// `seekdir`.
    pub fn seek(&mut self, position: i64) {
        unsafe { libc::seekdir(self.0, position) }
    }

    /// `rewinddir`.
    pub fn rewind(&mut self) {
        unsafe { libc::rewinddir(self.0) }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        unsafe { libc::closedir(self.0) };
    }
}
