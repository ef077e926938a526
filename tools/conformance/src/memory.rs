//! Mapped files and aligned buffers for the checks of `mmap` and `O_DIRECT`.
//!
//! This file is `unsafe` because a mapping is raw memory. It is sound because a [`Mapping`] keeps its own address and length, copies
//! bytes in and out within them, and is used only while the file below it is long enough (a shorter one raises SIGBUS).
#![allow(unsafe_code)]

use libc::c_int;

use crate::sys::{Error, File, Result};

/// A mapped part of a file, unmapped when dropped.
pub(crate) struct Mapping {
    address: *mut libc::c_void,
    length: usize,
}

fn failed(call: &'static str) -> Error {
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    Error { call, on: String::new(), errno }
}

impl Mapping {
    /// `mmap` of `length` bytes from `offset` with `PROT_*` and `MAP_SHARED` or `MAP_PRIVATE`.
    pub(crate) fn new(
        file: &File,
        length: usize,
        protection: c_int,
        flags: c_int,
        offset: i64,
    ) -> Result<Mapping> {
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, file.raw(), offset) };
        if address == libc::MAP_FAILED { Err(failed("mmap")) } else { Ok(Mapping { address, length }) }
    }

    /// Copies `data` to `offset` of the mapping.
    pub(crate) fn set(&mut self, offset: usize, data: &[u8]) {
        assert!(offset + data.len() <= self.length);
        unsafe {
            std::ptr::copy_nonoverlapping(data.as_ptr(), self.address.cast::<u8>().add(offset), data.len());
        }
    }

    /// A copy of `length` bytes at `offset`.
    pub(crate) fn get(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.length);
        let mut out = vec![0u8; length];
        unsafe {
            std::ptr::copy_nonoverlapping(self.address.cast::<u8>().add(offset), out.as_mut_ptr(), length);
        }
        out
    }

    /// `msync` of all of it.
    pub(crate) fn sync(&self) -> Result<()> {
        let result = unsafe { libc::msync(self.address, self.length, libc::MS_SYNC) };
        if result == 0 { Ok(()) } else { Err(failed("msync")) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        unsafe { libc::munmap(self.address, self.length) };
    }
}

/// A buffer that starts at a multiple of 4,096, as `O_DIRECT` wants it.
pub(crate) struct AlignedBuffer {
    pages: Vec<Page>,
}

#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

impl AlignedBuffer {
    /// `pages` pages of `fill`.
    pub(crate) fn new(pages: usize, fill: u8) -> AlignedBuffer {
        AlignedBuffer { pages: vec![Page([fill; 4096]); pages] }
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // Pages are plain bytes without padding, so all of them are one initialised slice.
        unsafe { std::slice::from_raw_parts(self.pages.as_ptr().cast(), self.pages.len() * 4096) }
    }

    /// The bytes, to be filled.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        unsafe { std::slice::from_raw_parts_mut(self.pages.as_mut_ptr().cast(), self.pages.len() * 4096) }
    }
}
