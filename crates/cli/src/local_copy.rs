//! Copying a tree out of the pool to a directory of this machine, through the API.
//!
//! The copy is made beside its destination under a hidden name and moved there when it is whole, so that whatever happens leaves either
//! nothing or all of it. Kept are types, modes, times, links among the copied files, holes and extended attributes, and owners
//! where this user may set them. Devices and sockets need root.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use offshoot_control::wire::{AttributesBody, Entry, FileKind, Time};
use offshoot_control::{Client, PoolPath};
use rustix::fs::{AtFlags, CWD, FileType, Mode, RenameFlags, Timespec, Timestamps, XattrFlags};

use crate::failure::{Failure, Outcome};
use crate::output::{Output, ProgressLine, Unit};

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

/// A copy that is not whole yet; it goes when this is dropped.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        remove_all(&self.0);
    }
}

impl LocalCopy<'_> {
    /// Copies what is at `source` to `destination`.
    pub(crate) async fn run(&self, source: &PoolPath, destination: &Path) -> Outcome<Copied> {
        let tried = |why: String| Failure::new(format!("cannot copy to {}: {why}", destination.display()));
        let destination_exists = std::fs::symlink_metadata(destination).is_ok();
        if destination_exists && !self.replace {
            return Err(tried("it exists already".into())
                .advise("name another destination, or replace this one with --replace"));
        }
        let absolute = std::path::absolute(destination).map_err(|error| tried(error.to_string()))?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(tried("it has no name".into()));
        };
        if self.parents {
            std::fs::create_dir_all(parent).map_err(|error| tried(error.to_string()))?;
        } else if !parent.is_dir() {
            return Err(tried(format!("the directory {} does not exist", parent.display()))
                .advise("make it, or give --parents"));
        }
        let mut hidden = OsStr::new(".").to_owned();
        hidden.push(name);
        hidden.push(format!(".offshoot-{}", std::process::id()));
        let unfinished = Unfinished(parent.join(hidden));
        remove_all(&unfinished.0);
        let mut work = Work::start(self, source).await?;
        work.copy(source, &unfinished.0).await?;
        let copied = work.copied;
        drop(work);
        if self.sync {
            let directory = File::open(parent).map_err(|error| tried(error.to_string()))?;
            rustix::fs::syncfs(&directory)
                .map_err(|error| tried(format!("it cannot be made durable: {error}")))?;
        }
        put_in_place(&unfinished.0, &absolute, destination_exists)
            .map_err(|error| tried(error.to_string()))?;
        if self.sync {
            let synced = File::open(parent).and_then(|directory| directory.sync_all());
            synced.map_err(|error| tried(format!("it cannot be made durable: {error}")))?;
        }
        Ok(copied)
    }
}

/// The destination becomes the copy in one step; what was there takes the hidden name and goes with it.
fn put_in_place(copy: &Path, destination: &Path, replace: bool) -> io::Result<()> {
    let flags = if replace { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    match rustix::fs::renameat_with(CWD, copy, CWD, destination, flags) {
        // A file system that knows no flags: in two steps, then.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if replace {
                remove_all(destination);
            }
            std::fs::rename(copy, destination)
        }
        done => Ok(done?),
    }
}

fn remove_all(path: &Path) {
    let Ok(found) = std::fs::symlink_metadata(path) else { return };
    let removed = if found.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    if let Err(error) = removed {
        tracing::warn!(path = %path.display(), %error, "it could not be removed");
    }
}

/// A copy at work.
struct Work<'a> {
    client: &'a Client,
    progress: ProgressLine,
    bytes_total: u64,
    copied: Copied,
    /// The first copy of each file with several names.
    links: HashMap<u64, PathBuf>,
    /// Directories whose attributes are set when all is in them, the inner ones last.
    directories: Vec<(PoolPath, PathBuf, AttributesBody)>,
}

impl<'a> Work<'a> {
    async fn start(copy: &LocalCopy<'a>, source: &PoolPath) -> Outcome<Self> {
        let bytes_total = copy.client.info(source, false).await?.logical_bytes;
        Ok(Self {
            client: copy.client,
            progress: copy.output.progress("copying", Unit::Bytes),
            bytes_total,
            copied: Copied::default(),
            links: HashMap::new(),
            directories: Vec::new(),
        })
    }

    async fn copy(&mut self, source: &PoolPath, to: &Path) -> Outcome {
        let itself = self.client.entry(source).await?.entries;
        let first = itself.into_iter().next().ok_or_else(|| Failure::new(format!("{source} is gone")))?;
        let mut waiting = vec![(source.clone(), to.to_owned(), first)];
        while let Some((from, to, entry)) = waiting.pop() {
            self.one(&from, &to, &entry).await?;
            if entry.attributes.kind != FileKind::Directory {
                continue;
            }
            let mut after = 0;
            loop {
                let page = self.client.entries(&from, after).await?;
                for below in page.entries {
                    let path =
                        from.join(below.name.as_bytes()).map_err(|error| Failure::new(error.to_string()))?;
                    let to = to.join(OsStr::from_bytes(below.name.as_bytes()));
                    waiting.push((path, to, below));
                }
                let Some(next) = page.next else { break };
                after = next;
            }
        }
        while let Some((from, to, attributes)) = self.directories.pop() {
            self.dress(&from, &to, &attributes).await?;
        }
        Ok(())
    }

    async fn one(&mut self, from: &PoolPath, to: &Path, entry: &Entry) -> Outcome {
        let attributes = &entry.attributes;
        let failed = |error: io::Error| Failure::new(format!("cannot write {}: {error}", to.display()));
        if attributes.kind == FileKind::Directory {
            // Enterable by its owner until everything is in it.
            std::fs::create_dir(to)
                .and_then(|()| std::fs::set_permissions(to, Permissions::from_mode(0o700)))
                .map_err(failed)?;
            self.directories.push((from.clone(), to.to_owned(), attributes.clone()));
            self.copied.directories += 1;
            return Ok(());
        }
        if attributes.nlink > 1 {
            if let Some(first) = self.links.get(&attributes.ino) {
                std::fs::hard_link(first, to).map_err(failed)?;
                self.copied.files += 1;
                return Ok(());
            }
            self.links.insert(attributes.ino, to.to_owned());
        }
        match attributes.kind {
            FileKind::File => self.content(from, to, attributes).await?,
            FileKind::Symlink => {
                let target = entry.target.as_ref().map_or(&b""[..], |target| target.as_bytes());
                std::os::unix::fs::symlink(OsStr::from_bytes(target), to).map_err(failed)?;
            }
            FileKind::Fifo => node(to, FileType::Fifo, 0).map_err(failed)?,
            FileKind::Socket => node(to, FileType::Socket, 0).map_err(failed)?,
            FileKind::CharDevice => node(to, FileType::CharacterDevice, attributes.rdev).map_err(failed)?,
            FileKind::BlockDevice => node(to, FileType::BlockDevice, attributes.rdev).map_err(failed)?,
            FileKind::Directory => {}
        }
        self.copied.files += 1;
        self.dress(from, to, attributes).await
    }

    /// Copies the bytes of a file; holes stay holes.
    async fn content(&mut self, from: &PoolPath, to: &Path, attributes: &AttributesBody) -> Outcome {
        let failed = |error: io::Error| Failure::new(format!("cannot write {}: {error}", to.display()));
        let file = File::create_new(to).map_err(failed)?;
        let size = attributes.size_bytes;
        if attributes.allocated_bytes >= size {
            self.range(from, &file, 0, size).await.map_err(|error| error.at(to))?;
        } else {
            file.set_len(size).map_err(failed)?;
            let mut after = 0;
            loop {
                let list = self.client.extents(from, after).await?;
                for extent in list.extents {
                    let copied = self.range(from, &file, extent.offset_bytes, extent.length_bytes).await;
                    copied.map_err(|error| error.at(to))?;
                }
                let Some(next) = list.next else { break };
                after = next;
            }
        }
        let length = file.metadata().map_err(failed)?.len();
        if length != size {
            return Err(Failure::new(format!(
                "{from} has {size} bytes, but {length} arrived; it may have changed"
            )));
        }
        Ok(())
    }

    async fn range(
        &mut self,
        from: &PoolPath,
        file: &File,
        offset: u64,
        length: u64,
    ) -> Result<(), RangeError> {
        let mut pieces = self
            .client
            .content(from, offset, length)
            .await
            .map_err(|error| RangeError::Read(error.into()))?;
        let mut position = offset;
        while let Some(piece) = pieces.next().await.map_err(|error| RangeError::Read(error.into()))? {
            file.write_all_at(&piece, position).map_err(RangeError::Write)?;
            position += piece.len() as u64;
            self.copied.bytes += piece.len() as u64;
            self.progress.update(self.copied.bytes, Some(self.bytes_total));
        }
        Ok(())
    }

    /// Sets owner, mode, extended attributes and times, in the order in which they do not undo each other.
    async fn dress(&self, from: &PoolPath, to: &Path, attributes: &AttributesBody) -> Outcome {
        let failed = |what: &str, error: io::Error| {
            Failure::new(format!("cannot set the {what} of {}: {error}", to.display()))
        };
        match std::os::unix::fs::lchown(to, Some(attributes.uid), Some(attributes.gid)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tracing::debug!(path = %to.display(), "its owner is this user now");
            }
            done => done.map_err(|error| failed("owner", error))?,
        }
        if attributes.kind != FileKind::Symlink {
            std::fs::set_permissions(to, Permissions::from_mode(attributes.mode))
                .map_err(|error| failed("mode", error))?;
        }
        if attributes.has_xattrs {
            for xattr in self.client.xattrs(from).await?.xattrs {
                let name = OsStr::from_bytes(xattr.name.as_bytes());
                let set = rustix::fs::lsetxattr(to, name, xattr.value.as_bytes(), XattrFlags::empty());
                if let Err(error) = set {
                    tracing::warn!(path = %to.display(), attribute = %xattr.name, %error, "an attribute was not kept");
                }
            }
        }
        let times = Timestamps {
            last_access: timespec(attributes.atime),
            last_modification: timespec(attributes.mtime),
        };
        rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| failed("times", error.into()))
    }
}

/// Reading or writing a range failed.
enum RangeError {
    Read(Failure),
    Write(io::Error),
}

impl RangeError {
    fn at(self, to: &Path) -> Failure {
        match self {
            Self::Read(failure) => failure,
            Self::Write(error) => Failure::new(format!("cannot write {}: {error}", to.display())),
        }
    }
}

fn node(to: &Path, kind: FileType, rdev: u32) -> io::Result<()> {
    rustix::fs::mknodat(CWD.as_fd(), to, kind, Mode::from_raw_mode(0o600), u64::from(rdev))?;
    Ok(())
}

fn timespec(time: Time) -> Timespec {
    Timespec { tv_sec: time.0.secs, tv_nsec: i64::from(time.0.nanos) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_its_place_in_one_step() {
        let directory = tempfile::tempdir().unwrap();
        let (copy, place) = (directory.path().join("copy"), directory.path().join("place"));
        std::fs::create_dir(&copy).unwrap();
        std::fs::write(copy.join("new"), "").unwrap();
        put_in_place(&copy, &place, false).unwrap();
        assert!(place.join("new").exists() && !copy.exists());

        std::fs::write(&copy, "newer").unwrap();
        assert!(put_in_place(&copy, &place, false).is_err());
        put_in_place(&copy, &place, true).unwrap();
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "newer");
        drop(Unfinished(copy.clone()));
        assert!(!copy.exists());
    }
}
