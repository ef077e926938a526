//! Space of the whole file system, as `statfs` shows it.

use crate::path::NAME_BYTES_MAX;
use crate::vfs::Vfs;

/// Inode numbers that one clone can give out.
const NUMBERS: u64 = 1 << 40;

/// What `statfs` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Inodes in use.
    pub files: u64,
    /// Inodes that can still be made.
    pub free_files: u64,
    /// Longest name, in bytes.
    pub name_bytes_max: u32,
}

impl Vfs {
    /// Free and used space.
    pub async fn space(&self) -> Space {
        let status = self.pool().status().await;
        let files = status.files.saturating_add(status.directories);
        Space {
            total_bytes: status.total_bytes,
            free_bytes: status.free_bytes,
            files,
            free_files: NUMBERS.saturating_sub(files),
            name_bytes_max: NAME_BYTES_MAX as u32,
        }
    }
}
