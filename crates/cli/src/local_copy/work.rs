//! The copy itself: through the tree in post-order, one directory page of the pool at a time.
//!
//! Directories are open to their owner alone until everything is in them. The first copy of a file with several names gets one
//! more name in a hidden directory, from where the others are linked, wherever they are; that directory goes at the end.

use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use offshoot_control::path::text;
use offshoot_control::wire::{AttributesBody, Entry, FileKind, Xattr};
use offshoot_control::{Client, PoolPath};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::metadata::{Target, dress};
use super::trail::Trail;
use super::{Copied, LocalCopy};
use crate::failure::{Failure, Outcome};
use crate::output::{ProgressLine, Unit};

/// A copy at work.
pub(super) struct Work<'a> {
    client: &'a Client,
    source: PoolPath,
    destination: PathBuf,
    progress: ProgressLine,
    bytes_total: u64,
    copied: Copied,
    trail: Trail<Level>,
    /// Where in the pool the directory is that the trail has led to.
    here: PoolPath,
    links: Links,
}

/// A directory on the way.
struct Level {
    attributes: AttributesBody,
    /// Entries that were told and not copied yet.
    waiting: VecDeque<Entry>,
    /// Where the rest of the entries begins; `None` if all were told.
    next: Option<u64>,
}

/// Files with several names that have been copied.
struct Links {
    parent: Arc<OwnedFd>,
    name: OsString,
    /// Made with the first of them.
    directory: Option<OwnedFd>,
    known: HashSet<u64>,
}

impl<'a> Work<'a> {
    /// Prepares a copy of `source` to somewhere in `directory`; `destination` is for messages.
    pub(super) async fn start(
        copy: &LocalCopy<'a>,
        source: &PoolPath,
        destination: &Path,
        directory: &File,
        links: &OsStr,
    ) -> Outcome<Self> {
        let bytes_total = copy.client.info(source, false).await?.logical_bytes;
        let failed =
            |error: io::Error| Failure::new(format!("cannot copy to {}: {error}", destination.display()));
        let trail = Trail::new(directory.as_fd()).map_err(failed)?;
        let links =
            Links { parent: trail.here(), name: links.to_owned(), directory: None, known: HashSet::new() };
        Ok(Self {
            client: copy.client,
            source: source.clone(),
            destination: destination.to_owned(),
            progress: copy.output.progress("copying", Unit::Bytes),
            bytes_total,
            copied: Copied::default(),
            trail,
            here: source.clone(),
            links,
        })
    }

    /// What has been copied.
    pub(super) fn copied(&self) -> Copied {
        self.copied
    }

    /// Copies everything to `name`.
    pub(super) async fn copy(&mut self, name: &OsStr) -> Outcome {
        let source = self.source.clone();
        let itself = self.client.entry(&source).await?.entries;
        let first = itself.into_iter().next().ok_or_else(|| Failure::new(format!("{source} is gone")))?;
        if first.attributes.kind != FileKind::Directory {
            return self.one(&source, name, &first).await;
        }
        self.enter(&source, name, first.attributes)?;
        while let Some(level) = self.trail.load() {
            if let Some(entry) = level.waiting.pop_front() {
                let from = self.here.join(entry.name.as_bytes());
                let from = from.map_err(|error| Failure::new(error.to_string()))?;
                let name = OsStr::from_bytes(entry.name.as_bytes());
                if entry.attributes.kind == FileKind::Directory {
                    self.enter(&from, name, entry.attributes)?;
                } else {
                    self.one(&from, name, &entry).await?;
                }
            } else if let Some(after) = level.next.take() {
                let page = self.client.entries(&self.here, after).await?;
                level.waiting = page.entries.into();
                level.next = page.next;
            } else {
                self.leave().await?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, from: &PoolPath, name: &OsStr, attributes: AttributesBody) -> Outcome {
        let level = Level { attributes, waiting: VecDeque::new(), next: Some(0) };
        let entered = (|| {
            rustix::fs::mkdirat(self.trail.here(), name, Mode::from_raw_mode(0o700))?;
            self.trail.enter(name, level)?;
            // The mask and default lists of the place may have said otherwise.
            Ok(rustix::fs::fchmod(self.trail.here(), Mode::from_raw_mode(0o700))?)
        })();
        entered.map_err(|error| self.not_written(from, &error))?;
        self.here = from.clone();
        self.copied.directories += 1;
        Ok(())
    }

    /// All is in the directory: it gets its attributes, and the work goes on above it.
    async fn leave(&mut self) -> Outcome {
        let left = self.trail.leave().map_err(|error| self.not_written(&self.here, &error))?;
        let from = self.here.clone();
        if let Some((directory, level)) = left {
            self.dress(&from, Target::Open(directory.as_fd()), &level.attributes).await?;
        }
        self.here = from.split().map_or_else(PoolPath::root, |(above, _)| above);
        Ok(())
    }

    /// Copies what is no directory.
    async fn one(&mut self, from: &PoolPath, name: &OsStr, entry: &Entry) -> Outcome {
        let attributes = &entry.attributes;
        let place = self.trail.here();
        let at = place.as_fd();
        let several = attributes.nlink > 1;
        self.copied.files += 1;
        if several
            && self.links.link(attributes.ino, at, name).map_err(|error| self.not_written(from, &error))?
        {
            return Ok(());
        }
        let made = match attributes.kind {
            FileKind::File => {
                let file = self.content(from, at, name, attributes).await?;
                self.dress(from, Target::Open(file.as_fd()), attributes).await?;
                None
            }
            FileKind::Symlink => {
                let target = entry.target.as_ref().map_or(&b""[..], |target| target.as_bytes());
                Some(rustix::fs::symlinkat(OsStr::from_bytes(target), at, name))
            }
            FileKind::Fifo => Some(node(at, name, FileType::Fifo, 0)),
            FileKind::Socket => Some(node(at, name, FileType::Socket, 0)),
            FileKind::CharDevice => Some(node(at, name, FileType::CharacterDevice, attributes.rdev)),
            FileKind::BlockDevice => Some(node(at, name, FileType::BlockDevice, attributes.rdev)),
            FileKind::Directory => None,
        };
        if let Some(made) = made {
            made.map_err(|error| self.not_written(from, &error.into()))?;
            self.dress(from, Target::Entry(at, name), attributes).await?;
        }
        if several {
            let kept = self.links.keep(attributes.ino, at, name);
            kept.map_err(|error| self.not_written(from, &error))?;
        }
        Ok(())
    }

    /// Copies the bytes of a file; holes stay holes.
    async fn content(
        &mut self,
        from: &PoolPath,
        at: BorrowedFd<'_>,
        name: &OsStr,
        attributes: &AttributesBody,
    ) -> Outcome<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(at, name, flags, Mode::from_raw_mode(0o600));
        let file = File::from(file.map_err(|error| self.not_written(from, &error.into()))?);
        let size = attributes.size_bytes;
        if attributes.allocated_bytes >= size {
            self.range(from, &file, 0, size).await?;
        } else {
            file.set_len(size).map_err(|error| self.not_written(from, &error))?;
            let mut after = 0;
            loop {
                let list = self.client.extents(from, after).await?;
                for extent in list.extents {
                    self.range(from, &file, extent.offset_bytes, extent.length_bytes).await?;
                }
                let Some(next) = list.next else { break };
                after = next;
            }
        }
        let length = file.metadata().map_err(|error| self.not_written(from, &error))?.len();
        if length != size {
            return Err(Failure::new(format!(
                "{from} has {size} bytes, but {length} arrived; it may have changed"
            )));
        }
        Ok(file)
    }

    async fn range(&mut self, from: &PoolPath, file: &File, offset: u64, length: u64) -> Outcome {
        let mut pieces = self.client.content(from, offset, length).await?;
        let mut position = offset;
        while let Some(piece) = pieces.next().await? {
            file.write_all_at(&piece, position).map_err(|error| self.not_written(from, &error))?;
            position += piece.len() as u64;
            self.copied.bytes += piece.len() as u64;
            self.progress.update(self.copied.bytes, Some(self.bytes_total));
        }
        Ok(())
    }

    async fn dress(&self, from: &PoolPath, target: Target<'_>, attributes: &AttributesBody) -> Outcome {
        let mut xattrs: Vec<Xattr> = Vec::new();
        if attributes.has_xattrs {
            xattrs = self.client.xattrs(from).await?.xattrs;
        }
        dress(target, attributes, &xattrs).map_err(|(what, error)| {
            Failure::new(format!("cannot set the {what} of {}: {error}", self.shown(from)))
        })
    }

    fn not_written(&self, from: &PoolPath, error: &io::Error) -> Failure {
        Failure::new(format!("cannot write {}: {error}", self.shown(from)))
    }

    /// Where the copy of something is to be, in words.
    fn shown(&self, from: &PoolPath) -> String {
        match from.below(&self.source).filter(|below| !below.is_empty()) {
            Some(below) => format!("{}/{}", self.destination.display(), text(below)),
            None => self.destination.display().to_string(),
        }
    }
}

impl Links {
    /// Gives a file that has been copied one more name; false if it has not been.
    fn link(&self, ino: u64, at: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
        let Some(directory) = self.directory.as_ref().filter(|_| self.known.contains(&ino)) else {
            return Ok(false);
        };
        rustix::fs::linkat(directory, ino.to_string(), at, name, AtFlags::empty())?;
        Ok(true)
    }

    /// Remembers a file that has been copied.
    fn keep(&mut self, ino: u64, at: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        if self.directory.is_none() {
            rustix::fs::mkdirat(&self.parent, &self.name, Mode::from_raw_mode(0o700))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            self.directory = Some(rustix::fs::openat(&self.parent, &self.name, flags, Mode::empty())?);
        }
        if let Some(directory) = &self.directory {
            rustix::fs::linkat(at, name, directory, ino.to_string(), AtFlags::empty())?;
            self.known.insert(ino);
        }
        Ok(())
    }
}

fn node(at: BorrowedFd<'_>, name: &OsStr, kind: FileType, rdev: u32) -> rustix::io::Result<()> {
    rustix::fs::mknodat(at, name, kind, Mode::from_raw_mode(0o600), u64::from(rdev))
}
