//! [`Reply`]: the bytes of one answer. The buffer is used again for every request of a thread.

use std::time::Duration;

use super::padded;

/// Bytes of the header of every answer.
pub(in crate::fuse) const HEADER_BYTES: usize = 16;

/// Content stays in the kernel's cache when a file is opened.
pub(in crate::fuse) const OPEN_KEEP_CACHE: u32 = 1 << 1;
/// What is read of a directory may be cached.
pub(in crate::fuse) const OPEN_CACHE_DIRECTORY: u32 = 1 << 3;
/// Direct writes to one file may run side by side.
pub(in crate::fuse) const OPEN_PARALLEL_DIRECT_WRITES: u32 = 1 << 6;

/// Fields that an answer with extended attributes has: those of `stat`, and the birth time.
const STATX_BASIC_AND_BIRTH: u32 = 0x7ff | 0x800;
/// Bytes before the name in an entry of a directory.
const ENTRY_BYTES: usize = 24;
/// Bytes of attributes and cache times before the entry, where those go with it.
const ENTRY_PLUS_BYTES: usize = 128;

/// A point in time: seconds since 1970, which may be negative, and nanoseconds.
pub(in crate::fuse) type Time = (i64, u32);

/// What the kernel is told of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::fuse) struct Inode {
    /// By which the kernel names it.
    pub(in crate::fuse) node: u64,
    /// Which programs see.
    pub(in crate::fuse) ino: u64,
    pub(in crate::fuse) size: u64,
    /// In units of 512 bytes.
    pub(in crate::fuse) blocks: u64,
    pub(in crate::fuse) atime: Time,
    pub(in crate::fuse) mtime: Time,
    pub(in crate::fuse) ctime: Time,
    pub(in crate::fuse) btime: Time,
    /// Type and permission bits.
    pub(in crate::fuse) mode: u32,
    pub(in crate::fuse) nlink: u32,
    pub(in crate::fuse) uid: u32,
    pub(in crate::fuse) gid: u32,
    /// As the kernel packs it into 32 bits.
    pub(in crate::fuse) rdev: u32,
    pub(in crate::fuse) block_bytes: u32,
}

/// What `statfs` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fuse) struct Space {
    pub(in crate::fuse) blocks: u64,
    pub(in crate::fuse) free_blocks: u64,
    pub(in crate::fuse) files: u64,
    pub(in crate::fuse) free_files: u64,
    pub(in crate::fuse) block_bytes: u32,
    pub(in crate::fuse) name_bytes_max: u32,
}

/// One entry of a directory.
#[derive(Clone, Copy, Debug)]
pub(in crate::fuse) struct Entry<'a> {
    pub(in crate::fuse) ino: u64,
    /// Where reading goes on after it.
    pub(in crate::fuse) next: u64,
    /// Its type, as in the upper four bits of a 16-bit mode.
    pub(in crate::fuse) kind: u32,
    pub(in crate::fuse) name: &'a [u8],
}

/// The answer that is being made.
#[derive(Debug)]
pub(in crate::fuse) struct Reply {
    bytes: Vec<u8>,
}

impl Reply {
    /// An answer without anything in it.
    pub(in crate::fuse) fn new() -> Reply {
        Reply { bytes: vec![0; HEADER_BYTES] }
    }

    /// Takes everything out again.
    pub(in crate::fuse) fn clear(&mut self) {
        self.bytes.truncate(HEADER_BYTES);
    }

    /// The whole answer to the request `unique`, of which `errno` is 0 or a positive error number.
    pub(in crate::fuse) fn finish(&mut self, unique: u64, errno: i32) -> &[u8] {
        if errno != 0 {
            self.clear();
        }
        let header = header(self.bytes.len(), unique, errno);
        self.bytes[..HEADER_BYTES].copy_from_slice(&header);
        &self.bytes
    }

    /// Where content goes, at the end of what is there.
    pub(in crate::fuse) fn content(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Bytes of content so far.
    pub(in crate::fuse) fn content_bytes(&self) -> usize {
        self.bytes.len() - HEADER_BYTES
    }

    /// An inode that a name leads to; the kernel counts a reference unless the number is 0, which says that there is no such name.
    pub(in crate::fuse) fn entry(&mut self, inode: &Inode, valid: Duration) {
        let (seconds, nanoseconds) = (valid.as_secs(), valid.subsec_nanos());
        self.u64(inode.node);
        self.u64(0); // generation
        self.u64(seconds);
        self.u64(seconds);
        self.u32(nanoseconds);
        self.u32(nanoseconds);
        self.inode(inode);
    }

    /// Attributes of an inode.
    pub(in crate::fuse) fn attributes(&mut self, inode: &Inode, valid: Duration) {
        self.u64(valid.as_secs());
        self.u32(valid.subsec_nanos());
        self.u32(0);
        self.inode(inode);
    }

    /// Attributes of an inode with its birth time.
    pub(in crate::fuse) fn extended_attributes(&mut self, inode: &Inode, valid: Duration) {
        self.u64(valid.as_secs());
        self.u32(valid.subsec_nanos());
        self.u32(0);
        self.zeros(16);
        self.u32(STATX_BASIC_AND_BIRTH);
        self.u32(inode.block_bytes);
        self.u64(0); // further properties
        for value in [inode.nlink, inode.uid, inode.gid] {
            self.u32(value);
        }
        self.bytes.extend_from_slice(&(inode.mode as u16).to_ne_bytes());
        self.zeros(2);
        for value in [inode.ino, inode.size, inode.blocks, 0] {
            self.u64(value);
        }
        for (seconds, nanoseconds) in [inode.atime, inode.btime, inode.ctime, inode.mtime] {
            self.i64(seconds);
            self.u32(nanoseconds);
            self.u32(0);
        }
        let (major, minor) = unpack_device(inode.rdev);
        self.u32(major);
        self.u32(minor);
        self.zeros(8 + 14 * 8); // the device that holds it, and room for more
    }

    /// A file that was opened.
    pub(in crate::fuse) fn opened(&mut self, handle: u64, flags: u32) {
        self.u64(handle);
        self.u32(flags);
        self.u32(0);
    }

    /// How much was written or copied, or how long a value is, in bytes.
    pub(in crate::fuse) fn size(&mut self, size: u32) {
        self.u32(size);
        self.u32(0);
    }

    /// An offset, or a count that may have 64 bits.
    pub(in crate::fuse) fn offset(&mut self, offset: u64) {
        self.u64(offset);
    }

    /// What `statfs` shows.
    pub(in crate::fuse) fn space(&mut self, space: &Space) {
        let Space { blocks, free_blocks, files, free_files, .. } = *space;
        for value in [blocks, free_blocks, free_blocks, files, free_files] {
            self.u64(value);
        }
        for value in [space.block_bytes, space.name_bytes_max, space.block_bytes] {
            self.u32(value);
        }
        self.zeros(4 + 6 * 4);
    }

    /// Adds an entry, with its inode if one is given; false, and nothing changes, if the answer would have more than `limit` bytes.
    pub(in crate::fuse) fn directory_entry(
        &mut self,
        limit: usize,
        entry: &Entry<'_>,
        plus: Option<(&Inode, Duration)>,
    ) -> bool {
        let before = if plus.is_some() { ENTRY_PLUS_BYTES } else { 0 };
        let length = before + padded(ENTRY_BYTES + entry.name.len());
        if self.content_bytes() + length > limit {
            return false;
        }
        if let Some((inode, valid)) = plus {
            self.entry(inode, valid);
        }
        self.u64(entry.ino);
        self.u64(entry.next);
        self.u32(entry.name.len() as u32);
        self.u32(entry.kind);
        self.bytes.extend_from_slice(entry.name);
        self.bytes.resize(padded(self.bytes.len()), 0);
        true
    }

    fn inode(&mut self, inode: &Inode) {
        let times = [inode.atime, inode.mtime, inode.ctime];
        for value in [inode.ino, inode.size, inode.blocks] {
            self.u64(value);
        }
        times.iter().for_each(|(seconds, _)| self.i64(*seconds));
        times.iter().for_each(|(_, nanoseconds)| self.u32(*nanoseconds));
        let Inode { mode, nlink, uid, gid, rdev, block_bytes, .. } = *inode;
        for value in [mode, nlink, uid, gid, rdev, block_bytes, 0] {
            self.u32(value);
        }
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_ne_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_ne_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_ne_bytes());
    }

    fn zeros(&mut self, count: usize) {
        self.bytes.resize(self.bytes.len() + count, 0);
    }
}

/// The header of an answer of `length` bytes, itself included.
pub(in crate::fuse) fn header(length: usize, unique: u64, errno: i32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&(length as u32).to_ne_bytes());
    header[4..8].copy_from_slice(&(-errno).to_ne_bytes());
    header[8..].copy_from_slice(&unique.to_ne_bytes());
    header
}

/// Major and minor number of a device that the kernel has packed into 32 bits.
fn unpack_device(packed: u32) -> (u32, u32) {
    ((packed >> 8) & 0xfff, (packed & 0xff) | ((packed >> 12) & 0xf_ff00))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: Duration = Duration::from_millis(1500);

    fn inode() -> Inode {
        Inode { node: 7, ino: 9, mode: 0o100_644, nlink: 1, btime: (-3, 4), ..Inode::default() }
    }

    /// Sizes of the structures in the kernel's header.
    #[test]
    fn answers_have_the_lengths_that_the_kernel_wants() {
        let length = |make: &dyn Fn(&mut Reply)| {
            let mut reply = Reply::new();
            make(&mut reply);
            reply.content_bytes()
        };
        assert_eq!(length(&|reply| reply.entry(&inode(), VALID)), 128);
        assert_eq!(length(&|reply| reply.attributes(&inode(), VALID)), 104);
        assert_eq!(length(&|reply| reply.extended_attributes(&inode(), VALID)), 288);
        assert_eq!(length(&|reply| reply.opened(1, 2)), 16);
        assert_eq!(length(&|reply| reply.size(1)), 8);
        assert_eq!(length(&|reply| reply.offset(1)), 8);
        let space = Space {
            blocks: 1,
            free_blocks: 1,
            files: 1,
            free_files: 1,
            block_bytes: 4096,
            name_bytes_max: 255,
        };
        assert_eq!(length(&|reply| reply.space(&space)), 80);
    }

    #[test]
    fn the_header_has_length_negated_error_and_request() {
        let mut reply = Reply::new();
        reply.size(5);
        let bytes = reply.finish(9, 0).to_vec();
        assert_eq!(bytes[..4], 24_u32.to_ne_bytes());
        assert_eq!(bytes[4..8], 0_i32.to_ne_bytes());
        assert_eq!(bytes[8..16], 9_u64.to_ne_bytes());
        let refused = reply.finish(9, libc::ENOENT);
        assert_eq!((refused.len(), &refused[4..8]), (16, &(-libc::ENOENT).to_ne_bytes()[..]));
    }

    #[test]
    fn entries_are_padded_and_stop_at_the_limit() {
        let mut reply = Reply::new();
        let entry = |name| Entry { ino: 3, next: 4, kind: 8, name };
        assert!(reply.directory_entry(64, &entry(b"abc"), None));
        assert_eq!(reply.content_bytes(), 32);
        assert!(reply.directory_entry(64, &entry(b"abcdefgh"), None));
        assert_eq!(reply.content_bytes(), 64);
        assert!(!reply.directory_entry(64, &entry(b"x"), None));
        assert_eq!(reply.content_bytes(), 64);
        let mut plus = Reply::new();
        assert!(!plus.directory_entry(159, &entry(b"abc"), Some((&inode(), VALID))));
        assert!(plus.directory_entry(160, &entry(b"abc"), Some((&inode(), VALID))));
        assert_eq!(plus.content_bytes(), 160);
    }

    #[test]
    fn extreme_times_are_carried_as_they_are() {
        let mut reply = Reply::new();
        let times = Inode { atime: (i64::MIN, 1), mtime: (i64::MAX, 999_999_999), ..inode() };
        reply.attributes(&times, VALID);
        let bytes = reply.finish(1, 0);
        let at = |offset: usize| i64::from_ne_bytes(bytes[offset..offset + 8].try_into().unwrap());
        assert_eq!((at(16 + 16 + 24), at(16 + 16 + 32)), (i64::MIN, i64::MAX));
    }

    #[test]
    fn devices_are_unpacked_as_the_kernel_packs_them() {
        assert_eq!(unpack_device(0x0103), (1, 3));
        assert_eq!(unpack_device(0x1230_0745), (7, 0x12345));
    }
}
