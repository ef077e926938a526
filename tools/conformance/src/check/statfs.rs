//! `statvfs`.

use libc::{ENOENT, ST_RDONLY};

use crate::expect::{equal, holds, refused};
use crate::sys::{self, path_limit, statvfs};

checks! { "statfs";
    /// free is at most all, and what others may have at most what is free
    fn counts_are_in_order(t) {
        let all = statvfs(t.root())?;
        holds(all.f_blocks > 0, "there are blocks")?;
        holds(all.f_bfree <= all.f_blocks, "free blocks are blocks")?;
        holds(all.f_bavail <= all.f_bfree, "available blocks are free")?;
        holds(all.f_ffree <= all.f_files, "free files are files")?;
        holds(all.f_favail <= all.f_ffree, "available files are free")?;
    }

    /// block sizes are powers of two
    fn block_sizes(t) {
        let all = statvfs(t.root())?;
        holds(all.f_bsize.is_power_of_two() && all.f_bsize >= 512, "f_bsize is a power of two")?;
        holds(all.f_frsize.is_power_of_two() && all.f_frsize >= 512, "f_frsize is a power of two")?;
    }

    /// names may have 255 bytes
    fn longest_name(t) {
        equal(statvfs(t.root())?.f_namemax, 255)?;
        equal(path_limit(t.root(), libc::_PC_NAME_MAX), Some(255))?;
    }

    /// every file of the mount gives the same answer
    fn same_everywhere(t) {
        let (root, file) = (statvfs(t.root())?, statvfs(t.file("f", b"")?)?);
        equal((root.f_blocks, root.f_bsize, root.f_fsid), (file.f_blocks, file.f_bsize, file.f_fsid))?;
        equal(root.f_flag, file.f_flag)?;
        holds(root.f_flag & ST_RDONLY == 0, "the mount is writable")?;
    }

    /// what is not there is ENOENT
    fn missing(t) {
        refused(statvfs(t.at("x")).map(drop), ENOENT)?;
        sys::symlink("x", t.at("l"))?;
        refused(statvfs(t.at("l")).map(drop), ENOENT)?;
    }
}
