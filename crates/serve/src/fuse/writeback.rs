//! Brings in what the kernel still holds of shared writable mappings.
//!
//! Without a write-back cache these are the only bytes that a program has written and the pool has not seen, and only a file
//! that is open for reading and writing can have them: the kernel writes the rest back when such a file is closed. For each one that is open:
//!
//! - where nobody waits for us with a lock held, open it by its path and close it, which makes the kernel write it back and wait;
//! - otherwise, or where the path does not lead there, invalidate its pages, which writes back the dirty ones first. That takes no
//!   lock of a directory, but the pages have to be read again.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::executor::block_on;
use offshoot_engine::Ino;
use offshoot_vfs::{FlushRequest, Flusher, Vfs};

use super::device::Notifier;
use super::handles::Handles;
use super::node;

pub(super) struct Writeback {
    pub(super) vfs: Vfs,
    pub(super) handles: Arc<Handles>,
    pub(super) notifier: Notifier,
    pub(super) mount_point: PathBuf,
}

impl Flusher for Writeback {
    fn flush(&self, request: FlushRequest<'_>) -> io::Result<()> {
        for ino in self.handles.mappable() {
            // What is gone is in no tree, so in no clone.
            let Ok(attributes) = block_on(self.vfs.attributes(ino)) else { continue };
            let Ok(path) = block_on(self.vfs.pool().path(ino)) else { continue };
            let one_of_several = attributes.nlink > 1;
            if attributes.nlink == 0 || !(one_of_several || is_below(&path, request.source)) {
                continue;
            }
            if request.from_client || self.reopen(ino, &path).is_err() {
                self.invalidate(ino)?;
            }
        }
        Ok(())
    }
}

impl Writeback {
    fn reopen(&self, ino: Ino, path: &[u8]) -> io::Result<()> {
        let relative = path.strip_prefix(b"/").unwrap_or(path);
        let place = self.mount_point.join(Path::new(std::ffi::OsStr::from_bytes(relative)));
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOATIME;
        let file = File::options().read(true).custom_flags(flags).open(place)?;
        if file.metadata()?.ino() == ino.0 { Ok(()) } else { Err(io::Error::from(io::ErrorKind::NotFound)) }
    }

    fn invalidate(&self, ino: Ino) -> io::Result<()> {
        self.notifier.invalidate_inode(node::of(ino), 0, 0)
    }
}

/// Whether `path` is `root` or lies below it.
fn is_below(path: &[u8], root: &[u8]) -> bool {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::is_below;

    #[test]
    fn only_what_is_cloned_is_brought_in() {
        assert!(is_below(b"/a/b", b"/a"));
        assert!(is_below(b"/a", b"/a"));
        assert!(is_below(b"/a", b"/"));
        assert!(!is_below(b"/ab", b"/a"));
        assert!(!is_below(b"/b (deleted)", b"/a"));
    }
}
