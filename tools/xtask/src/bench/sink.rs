//! A FUSE file system that takes whatever is made in it and keeps nothing. What a program needs here, it needs for the
//! kernel's requests and their answers alone: no file system behind FUSE can be much faster.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyCreate, ReplyEmpty, ReplyEntry,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::hollow::{VALID, attributes};
use crate::cleanup::{Guard, Undo};

/// The number says the type: even for directories, else 1 or 3 above a multiple of 4 for files and symbolic links.
struct Everything {
    made: AtomicU64,
}

impl Everything {
    fn make(&self, kind: FileType) -> FileAttr {
        let base = 4 * (1 + self.made.fetch_add(1, Ordering::Relaxed));
        of(match kind {
            FileType::Directory => base,
            FileType::Symlink => base + 3,
            _ => base + 1,
        })
    }
}

fn of(ino: u64) -> FileAttr {
    let kind = if ino != 1 && ino % 4 == 3 { FileType::Symlink } else { attributes(ino).kind };
    FileAttr { kind, ..attributes(ino) }
}

impl Filesystem for Everything {
    fn lookup(&self, _: &Request, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(Errno::ENOENT);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&VALID, &of(ino.into()));
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.attr(&VALID, &of(ino.into()));
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.entry(&VALID, &self.make(FileType::Directory), Generation(0));
    }

    fn symlink(&self, _: &Request, _: INodeNo, _: &OsStr, _: &Path, reply: ReplyEntry) {
        reply.entry(&VALID, &self.make(FileType::Symlink), Generation(0));
    }

    fn create(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let made = self.make(FileType::RegularFile);
        reply.created(&VALID, &made, Generation(0), FileHandle(0), FopenFlags::empty());
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        reply.written(data.len() as u32);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // The kernel does not ask again.
        reply.error(Errno::ENOSYS);
    }
}

/// A mount of it; goes when dropped.
pub(super) struct Sink {
    point: PathBuf,
    _guard: Guard,
    _session: BackgroundSession,
}

impl Sink {
    /// Mounts at a new directory.
    pub(super) fn mount(point: &Path) -> Result<Self> {
        std::fs::create_dir(point)?;
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("sink".into()), MountOption::Subtype("sink".into())];
        config.n_threads = Some(2);
        let everything = Everything { made: AtomicU64::new(0) };
        let session = fuser::spawn_mount(everything, point, &config)
            .context("cannot mount the file system that keeps nothing")?;
        let guard = Guard::new(Undo::Mount(point.to_owned()));
        Ok(Self { point: point.to_owned(), _guard: guard, _session: session })
    }

    pub(super) fn point(&self) -> &Path {
        &self.point
    }
}
