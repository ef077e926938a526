//! Copying a tree out of the pool to a directory of this machine, through the API.
//!
//! The copy is made beside its destination under a hidden name and moved there when it is whole, so that whatever happens leaves either
//! nothing or all of it. Kept are types, modes, times, links among the copied files, holes and extended attributes, and owners
//! where this user may set them. Devices and sockets need root.
//!
//! Everything below the destination's directory is reached by descriptors and single names, so a tree may be deeper than the
//! longest path that the kernel takes.

mod existing;
mod metadata;
mod trail;
mod work;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use offshoot_control::{Client, PoolPath};
use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use crate::failure::{Failure, Outcome};
use crate::output::Output;
pub(crate) use existing::{Existing, measure};
use work::Work;

/// How to copy.
pub(crate) struct LocalCopy<'a> {
    pub(crate) client: &'a Client,
    pub(crate) output: Output,
    pub(crate) parents: bool,
    pub(crate) replace: bool,
    pub(crate) sync: bool,
}

/// What was copied.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copied {
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) bytes: u64,
}

/// Something under a hidden name; it goes when this is dropped.
struct Hidden {
    directory: File,
    name: OsString,
}

impl Hidden {
    /// A name in `directory` that nothing has.
    fn new(directory: &File, purpose: &str) -> io::Result<Self> {
        for number in 0.. {
            let name = OsString::from(format!(".offshoot-{purpose}-{}-{number}", std::process::id()));
            if !exists(directory.as_fd(), &name)? {
                return Ok(Self { directory: directory.try_clone()?, name });
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Err(error) = existing::remove(self.directory.as_fd(), &self.name) {
            tracing::warn!(name = %self.name.display(), %error, "it could not be removed");
        }
    }
}

impl LocalCopy<'_> {
    /// Copies what is at `source` to `destination`.
    pub(crate) async fn run(&self, source: &PoolPath, destination: &Path) -> Outcome<Copied> {
        let tried = |why: String| Failure::new(format!("cannot copy to {}: {why}", destination.display()));
        let failed = |error: io::Error| tried(error.to_string());
        let replaces = self.examine(destination)?;
        let absolute = std::path::absolute(destination).map_err(failed)?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(tried("it has no name".into()));
        };
        if self.parents {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let directory = File::open(parent).map_err(failed)?;
        let copy = Hidden::new(&directory, "restore").map_err(failed)?;
        let links = Hidden::new(&directory, "links").map_err(failed)?;
        let mut work = Work::start(self, source, destination, &directory, &links.name).await?;
        work.copy(&copy.name).await?;
        let copied = work.copied();
        drop(work);
        drop(links);
        if self.sync {
            rustix::fs::syncfs(&directory)
                .map_err(|error| tried(format!("it cannot be made durable: {error}")))?;
        }
        put_in_place(directory.as_fd(), &copy.name, name, replaces).map_err(failed)?;
        if self.sync {
            let synced = directory.sync_all();
            synced.map_err(|error| tried(format!("it cannot be made durable: {error}")))?;
        }
        Ok(copied)
    }

    /// Whether something would be replaced, if that and the directory above are as asked for. Changes nothing.
    pub(crate) fn examine(&self, destination: &Path) -> Outcome<bool> {
        let tried = |why: String| Failure::new(format!("cannot copy to {}: {why}", destination.display()));
        let exists = std::fs::symlink_metadata(destination).is_ok();
        if exists && !self.replace {
            return Err(tried("it exists already".into())
                .advise("name another destination, or replace this one with --replace"));
        }
        let absolute = std::path::absolute(destination).map_err(|error| tried(error.to_string()))?;
        if let Some(parent) = absolute.parent().filter(|parent| !self.parents && !parent.is_dir()) {
            return Err(tried(format!("the directory {} does not exist", parent.display()))
                .advise("make it, or give --parents"));
        }
        Ok(exists)
    }
}

/// The destination becomes the copy in one step; what was there takes the hidden name and goes with it.
fn put_in_place(directory: BorrowedFd<'_>, copy: &OsStr, name: &OsStr, replace: bool) -> io::Result<()> {
    let flags = if replace { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    match rustix::fs::renameat_with(directory, copy, directory, name, flags) {
        // A file system that knows no flags: in two steps, then.
        Err(Errno::INVAL | Errno::NOSYS) => {
            if replace {
                existing::remove(directory, name)?;
            }
            Ok(rustix::fs::renameat(directory, copy, directory, name)?)
        }
        done => Ok(done?),
    }
}

/// Whether a directory has this name.
fn exists(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_its_place_in_one_step() {
        let directory = tempfile::tempdir().unwrap();
        let (copy, place) = (directory.path().join("copy"), directory.path().join("place"));
        let open = File::open(directory.path()).unwrap();
        let put = |replace| put_in_place(open.as_fd(), OsStr::new("copy"), OsStr::new("place"), replace);
        std::fs::create_dir(&copy).unwrap();
        std::fs::write(copy.join("new"), "").unwrap();
        put(false).unwrap();
        assert!(place.join("new").exists() && !copy.exists());

        std::fs::write(&copy, "newer").unwrap();
        assert!(put(false).is_err());
        put(true).unwrap();
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "newer");
        drop(Hidden { directory: open, name: "copy".into() });
        assert!(!copy.exists());
    }

    #[test]
    fn a_hidden_name_is_one_that_nothing_has() {
        let directory = tempfile::tempdir().unwrap();
        let open = File::open(directory.path()).unwrap();
        let first = Hidden::new(&open, "test").unwrap();
        std::fs::write(directory.path().join(&first.name), "").unwrap();
        let second = Hidden::new(&open, "test").unwrap();
        assert_ne!(first.name, second.name);
        drop(second);
        assert!(directory.path().join(&first.name).exists());
        drop(first);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
