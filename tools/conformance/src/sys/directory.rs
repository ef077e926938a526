//! [`Directory`]: reading directories through the C library's streams.
//!
//! Sound because a stream is owned by one [`Directory`], which cannot be shared between threads, and an entry is copied before the
//! next call.
#![allow(unsafe_code)]

use std::path::Path;

use super::{Result, c_path, errno, failed};

/// An open directory stream.
pub(crate) struct Directory(*mut libc::DIR);

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: Vec<u8>,
    /// Its inode number.
    pub(crate) ino: u64,
    /// Its type, `DT_REG` and the like.
    pub(crate) kind: u8,
}

impl Directory {
    /// `opendir`.
    pub(crate) fn open(path: impl AsRef<Path>) -> Result<Directory> {
        let path = path.as_ref();
        let name = c_path(path);
        let stream = unsafe { libc::opendir(name.as_ptr()) };
        if stream.is_null() { Err(failed("opendir", path)) } else { Ok(Directory(stream)) }
    }

    /// The next entry, `.` and `..` included.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
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
    pub(crate) fn next_named(&mut self, name: &[u8]) -> Result<u64> {
        while let Some(entry) = self.next()? {
            if entry.name == name {
                return Ok(entry.ino);
            }
        }
        Ok(0)
    }

    /// All further entries without `.` and `..`.
    pub(crate) fn rest(&mut self) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        while let Some(entry) = self.next()? {
            if entry.name != b"." && entry.name != b".." {
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    /// `telldir`.
    pub(crate) fn tell(&self) -> i64 {
        unsafe { libc::telldir(self.0) }
    }

    /// `seekdir`.
    pub(crate) fn seek(&mut self, position: i64) {
        unsafe { libc::seekdir(self.0, position) }
    }

    /// `rewinddir`.
    pub(crate) fn rewind(&mut self) {
        unsafe { libc::rewinddir(self.0) }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        unsafe { libc::closedir(self.0) };
    }
}
