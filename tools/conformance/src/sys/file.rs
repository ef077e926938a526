//! [`File`]: the calls that work on an open file.
//!
//! Sound for the same reason as the module above: every pointer comes from a live slice, string or local variable.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_uint, off_t};

use super::{Error, Result, Stat, c_name, failed, timespec};

/// An open file, closed when dropped.
#[derive(Debug)]
pub(crate) struct File(pub(super) OwnedFd);

impl File {
    /// The descriptor's number.
    pub(crate) fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// A path that leads to this file while it is open.
    pub(crate) fn proc_path(&self) -> String {
        format!("/proc/self/fd/{}", self.raw())
    }

    fn done(call: &'static str, result: c_int) -> Result<()> {
        if result == 0 { Ok(()) } else { Err(failed(call, "")) }
    }

    fn count(call: &'static str, result: isize) -> Result<usize> {
        usize::try_from(result).map_err(|_| failed(call, ""))
    }

    /// Writes at the file's position and gives how many bytes were taken.
    pub(crate) fn write(&self, data: &[u8]) -> Result<usize> {
        Self::count("write", unsafe { libc::write(self.raw(), data.as_ptr().cast(), data.len()) })
    }

    /// Reads up to `limit` bytes at the file's position.
    pub(crate) fn read(&self, limit: usize) -> Result<Vec<u8>> {
        let mut buffer = vec![0u8; limit];
        let got = Self::count("read", unsafe { libc::read(self.raw(), buffer.as_mut_ptr().cast(), limit) })?;
        buffer.truncate(got);
        Ok(buffer)
    }

    /// Writes at `offset`.
    pub(crate) fn pwrite(&self, data: &[u8], offset: i64) -> Result<usize> {
        Self::count("pwrite", unsafe { libc::pwrite(self.raw(), data.as_ptr().cast(), data.len(), offset) })
    }

    /// Reads up to `limit` bytes at `offset`.
    pub(crate) fn pread(&self, limit: usize, offset: i64) -> Result<Vec<u8>> {
        let mut buffer = vec![0u8; limit];
        let got = self.pread_into(&mut buffer, offset)?;
        buffer.truncate(got);
        Ok(buffer)
    }

    /// Reads into `buffer` at `offset`.
    pub(crate) fn pread_into(&self, buffer: &mut [u8], offset: i64) -> Result<usize> {
        Self::count("pread", unsafe {
            libc::pread(self.raw(), buffer.as_mut_ptr().cast(), buffer.len(), offset)
        })
    }

    /// Writes several pieces at the file's position in one call.
    pub(crate) fn writev(&self, parts: &[&[u8]]) -> Result<usize> {
        let parts: Vec<libc::iovec> = parts
            .iter()
            .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() })
            .collect();
        Self::count("writev", unsafe { libc::writev(self.raw(), parts.as_ptr(), parts.len() as c_int) })
    }

    /// Moves the position, or finds data and holes.
    pub(crate) fn seek(&self, offset: i64, whence: c_int) -> Result<i64> {
        let at = unsafe { libc::lseek(self.raw(), offset, whence) };
        if at < 0 { Err(failed("lseek", "")) } else { Ok(at) }
    }

    /// `fstat`.
    pub(crate) fn stat(&self) -> Result<Stat> {
        let mut out = MaybeUninit::uninit();
        Self::done("fstat", unsafe { libc::fstat(self.raw(), out.as_mut_ptr()) })?;
        Ok(Stat(unsafe { out.assume_init() }))
    }

    /// Sets the size.
    pub(crate) fn truncate(&self, size: i64) -> Result<()> {
        Self::done("ftruncate", unsafe { libc::ftruncate(self.raw(), size) })
    }

    /// Sets permission bits.
    pub(crate) fn chmod(&self, mode: u32) -> Result<()> {
        Self::done("fchmod", unsafe { libc::fchmod(self.raw(), mode) })
    }

    /// Sets owner and group.
    pub(crate) fn chown(&self, uid: u32, gid: u32) -> Result<()> {
        Self::done("fchown", unsafe { libc::fchown(self.raw(), uid, gid) })
    }

    /// Sets access and modification time.
    pub(crate) fn utimens(&self, atime: (i64, i64), mtime: (i64, i64)) -> Result<()> {
        let times = [timespec(atime), timespec(mtime)];
        Self::done("futimens", unsafe { libc::futimens(self.raw(), times.as_ptr()) })
    }

    /// Data and attributes to disk.
    pub(crate) fn fsync(&self) -> Result<()> {
        Self::done("fsync", unsafe { libc::fsync(self.raw()) })
    }

    /// Data to disk.
    pub(crate) fn fdatasync(&self) -> Result<()> {
        Self::done("fdatasync", unsafe { libc::fdatasync(self.raw()) })
    }

    /// The whole file system to disk.
    pub(crate) fn syncfs(&self) -> Result<()> {
        Self::done("syncfs", unsafe { libc::syncfs(self.raw()) })
    }

    /// Starts to write a range back.
    pub(crate) fn sync_file_range(&self, offset: i64, length: i64, flags: c_uint) -> Result<()> {
        Self::done("sync_file_range", unsafe { libc::sync_file_range(self.raw(), offset, length, flags) })
    }

    /// Allocates, punches or zeroes.
    pub(crate) fn fallocate(&self, mode: c_int, offset: i64, length: i64) -> Result<()> {
        Self::done("fallocate", unsafe { libc::fallocate(self.raw(), mode, offset, length) })
    }

    /// Drops clean cached pages.
    pub(crate) fn drop_cache(&self) -> Result<()> {
        let errno = unsafe { libc::posix_fadvise(self.raw(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        if errno == 0 { Ok(()) } else { Err(Error { call: "posix_fadvise", on: String::new(), errno }) }
    }

    /// `flock`.
    pub(crate) fn flock(&self, operation: c_int) -> Result<()> {
        Self::done("flock", unsafe { libc::flock(self.raw(), operation) })
    }

    /// A record lock: `command` is `F_SETLK`, `F_OFD_SETLK`, `F_GETLK` and so on; `kind` is `F_RDLCK`, `F_WRLCK` or `F_UNLCK`.
    pub(crate) fn record_lock(
        &self,
        command: c_int,
        kind: c_int,
        start: i64,
        length: i64,
    ) -> Result<libc::flock> {
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
    pub(crate) fn flags(&self) -> Result<c_int> {
        let flags = unsafe { libc::fcntl(self.raw(), libc::F_GETFL) };
        if flags < 0 { Err(failed("fcntl", "F_GETFL")) } else { Ok(flags) }
    }

    /// Sets the status flags.
    pub(crate) fn set_flags(&self, flags: c_int) -> Result<()> {
        Self::done("fcntl", unsafe { libc::fcntl(self.raw(), libc::F_SETFL, flags) })
    }

    /// One more descriptor of the same open file.
    pub(crate) fn duplicate(&self) -> Result<File> {
        let fd = unsafe { libc::fcntl(self.raw(), libc::F_DUPFD_CLOEXEC, 0) };
        if fd < 0 { Err(failed("dup", "")) } else { Ok(File(unsafe { OwnedFd::from_raw_fd(fd) })) }
    }

    /// Sets an extended attribute.
    pub(crate) fn setxattr(&self, name: &str, value: &[u8], flags: c_int) -> Result<()> {
        let key = c_name(OsStr::new(name));
        Self::done("fsetxattr", unsafe {
            libc::fsetxattr(self.raw(), key.as_ptr(), value.as_ptr().cast(), value.len(), flags)
        })
    }

    /// An extended attribute.
    pub(crate) fn getxattr(&self, name: &str) -> Result<Vec<u8>> {
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
pub(crate) fn copy_range(
    from: &File,
    from_offset: i64,
    to: &File,
    to_offset: i64,
    length: usize,
) -> Result<usize> {
    let (mut source, mut target): (off_t, off_t) = (from_offset, to_offset);
    let copied =
        unsafe { libc::copy_file_range(from.raw(), &raw mut source, to.raw(), &raw mut target, length, 0) };
    File::count("copy_file_range", copied)
}

/// Copies in the kernel at both files' positions.
pub(crate) fn copy_at_positions(from: &File, to: &File, length: usize) -> Result<usize> {
    let null = std::ptr::null_mut();
    File::count("copy_file_range", unsafe {
        libc::copy_file_range(from.raw(), null, to.raw(), null, length, 0)
    })
}

/// Makes `to` share all data of `from` (`FICLONE`).
pub(crate) fn share_all(from: &File, to: &File) -> Result<()> {
    File::done("ioctl FICLONE", unsafe { libc::ioctl(to.raw(), libc::FICLONE, from.raw()) })
}
