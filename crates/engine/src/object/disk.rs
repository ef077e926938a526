//! The system calls that local media are made of: whole writes and reads at an offset, and durable directory entries.
//!
//! Everything here blocks the calling thread and answers plain [`io::Error`]s; the callers name the thing in theirs.

use std::fs::File;
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

/// Most buffers that Linux takes in one call (`IOV_MAX`).
const BUFFERS_MAX: usize = 1024;

/// Bytes after which the medium gets to work.
const PIECE_BYTES: usize = 4 << 20;

/// Stored bytes are for the owner of the pool only: whoever may read them bypasses every permission inside it.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Makes a file that must not exist and opens it for reading and writing.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)
}

/// Makes a directory; one that exists is no error.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Makes a directory with all its ancestors and makes their entries durable.
pub(crate) fn ensure_directories(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|a| !a.exists()).collect();
    for directory in missing.iter().rev() {
        create_directory(directory)?;
    }
    for (directory, parent) in path.ancestors().zip(path.ancestors().skip(1)) {
        let is_new = missing.contains(&directory);
        match sync_directory(parent) {
            // A directory that was there may lie in one that we may not read; then its maker answers for it.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && !is_new => {}
            synced => synced?,
        }
        if !is_new {
            break;
        }
    }
    Ok(())
}

/// Writes `parts` one after the other from `offset` on.
pub(crate) fn write_all_at<P: AsRef<[u8]>>(file: &File, offset: u64, parts: &[P]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().map(|p| IoSlice::new(p.as_ref())).filter(|s| !s.is_empty()).collect();
    let mut rest = slices.as_mut_slice();
    let mut position = offset;
    while !rest.is_empty() {
        match rustix::io::pwritev(file, &rest[..rest.len().min(BUFFERS_MAX)], position) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                position += n as u64;
                IoSlice::advance_slices(&mut rest, n);
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Writes `parts` one after the other from the start. What is long is on its way to the medium while the rest is still being
/// written, so that a sync afterwards has less to wait for.
pub(crate) fn write_object(file: &File, parts: &[Bytes]) -> io::Result<()> {
    let mut offset = 0;
    for part in parts {
        for piece in part.chunks(PIECE_BYTES) {
            write_all_at(file, offset, &[piece])?;
            let length = NonZeroU64::new(piece.len() as u64);
            if piece.len() == PIECE_BYTES {
                // Begins to write dirty pages and drops none of them. Where it is not known, the sync does all of it.
                let _ = rustix::fs::fadvise(file, offset, length, rustix::fs::Advice::DontNeed);
            }
            offset += piece.len() as u64;
        }
    }
    Ok(())
}

/// Reads `length` bytes from `offset`, or fewer where the file ends.
pub(crate) fn read_at(file: &File, offset: u64, length: usize) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let position = offset + bytes.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), position) {
            Ok(0) => break,
            Ok(_) => {}
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    // The allocator may have given more room than was asked for.
    bytes.truncate(length);
    Ok(Bytes::from(bytes))
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Gives a file another name in one step; a taken name is `AlreadyExists` and changes nothing.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system knows the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_new(from, to),
        other => Ok(other?),
    }
}

/// The same with a hard link, which refuses a taken name everywhere.
fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::hard_link(from, to)?;
    // The file has its new name; an old one that stays is a leftover like any other.
    let _ = std::fs::remove_file(from);
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;

    /// A file system of a few MiB that is unmounted when dropped. Only root can have one.
    pub(crate) struct TinyMedium {
        pub(crate) kind: &'static str,
        directory: tempfile::TempDir,
    }

    impl TinyMedium {
        /// Of 1 MiB in memory; `None` with a printed reason if this machine does not let us.
        pub(crate) fn tmpfs() -> Option<Self> {
            Self::mount("tmpfs", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"], |_| true)
        }

        /// Of 8 MiB on a loop device; `None` with a printed reason if this machine does not let us.
        pub(crate) fn ext4() -> Option<Self> {
            Self::mount("ext4", &["-t", "ext4", "-o", "loop"], |image| {
                File::create(image).and_then(|f| f.set_len(8 << 20)).is_ok()
                    && succeeds(
                        Command::new("mkfs.ext4")
                            .args(["-q", "-m0", "-Onone,extent,has_journal,filetype"])
                            .arg(image),
                    )
            })
        }

        fn mount(
            kind: &'static str,
            arguments: &[&str],
            prepare: impl FnOnce(&Path) -> bool,
        ) -> Option<Self> {
            let directory = tempfile::tempdir().expect("a temporary directory can be made");
            let (image, place) = (directory.path().join("image"), directory.path().join("medium"));
            std::fs::create_dir(&place).expect("a directory can be made");
            let mut command = Command::new("mount");
            command.args(arguments);
            if kind == "ext4" {
                command.arg(&image);
            }
            if !is_root() || !prepare(&image) || !succeeds(command.arg(&place)) {
                println!(
                    "skipped for {kind}: a file system of a few MiB cannot be mounted here, which takes root"
                );
                return None;
            }
            Some(Self { kind, directory })
        }

        pub(crate) fn path(&self) -> PathBuf {
            self.directory.path().join("medium")
        }
    }

    impl Drop for TinyMedium {
        fn drop(&mut self) {
            if !succeeds(Command::new("umount").arg(self.path())) {
                // Files are still open, as when a test fails; it goes when they are closed.
                succeeds(Command::new("umount").arg("--lazy").arg(self.path()));
            }
        }
    }

    fn is_root() -> bool {
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("/proc is mounted")) == 0
    }

    fn succeeds(command: &mut Command) -> bool {
        command.output().is_ok_and(|output| output.status.success())
    }

    #[test]
    fn an_object_is_written_whole_in_pieces() {
        let place = tempfile::tempdir().unwrap();
        let file = create_new(&place.path().join("object")).unwrap();
        let bytes: Vec<u8> = (0..2 * PIECE_BYTES + 5).map(|n| (n / 7) as u8).collect();
        let parts = [&bytes[..3], &bytes[3..2 * PIECE_BYTES + 4], &[], &bytes[2 * PIECE_BYTES + 4..]];
        write_object(&file, &parts.map(Bytes::copy_from_slice)).unwrap();
        assert!(read_at(&file, 0, bytes.len() + 1).unwrap() == bytes);
    }

    #[test]
    fn a_rename_never_replaces() {
        for flag_is_known in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let (from, to) = (directory.path().join("from"), directory.path().join("to"));
            let rename = if flag_is_known { rename_new } else { link_new };
            std::fs::write(&from, "new").unwrap();
            std::fs::write(&to, "old").unwrap();
            assert_eq!(rename(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(std::fs::read(&to).unwrap(), b"old");
            std::fs::remove_file(&to).unwrap();
            rename(&from, &to).unwrap();
            assert_eq!(std::fs::read(&to).unwrap(), b"new");
            assert_eq!(rename(&from, &to).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }
}
