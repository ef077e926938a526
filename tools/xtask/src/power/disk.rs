//! A disk that remembers everything it is told: a file of a FUSE file system that this process serves, under a loop device,
//! with a file system on it.
//!
//! The file is opened for direct I/O, so every write of the loop device comes here before it is answered; a flush of the
//! block device comes as an fsync. One thread answers, so the order of the recording is the order of the answers.
//! The disk can also fail: see [`Fault`].

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, WriteFlags,
};

use super::image::Image;
use super::recording::{Event, Recording};
use crate::cleanup::{Guard, Undo};
use crate::{mounts, program};

const LIMIT: Duration = Duration::from_secs(60);
/// How long the kernel may believe an answer.
const VALID: Duration = Duration::from_secs(60);
const FILE: INodeNo = INodeNo(2);
const NAME: &str = "disk";

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not.
    None,
    /// Every write and flush is answered with an error, and nothing of it is done.
    Dead,
    /// So many more writes fail.
    Writes(u32),
    /// So many more flushes fail, and make nothing durable.
    Flushes(u32),
    /// Nothing is answered until the fault is taken back.
    Hang,
}

struct State {
    first: Image,
    now: Image,
    events: Vec<Event>,
    written_bytes: u64,
    fault: Fault,
}

#[derive(Clone)]
struct Shared(Arc<(Mutex<State>, Condvar)>);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state once the disk does not hang.
    fn answering(&self) -> MutexGuard<'_, State> {
        let state = self.state();
        let awake = self.0.1.wait_while(state, |state| state.fault == Fault::Hang);
        awake.unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, ino: INodeNo) -> FileAttr {
        let is_file = ino == FILE;
        FileAttr {
            ino,
            size: if is_file { self.state().now.size() } else { 0 },
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Shared {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&VALID, &self.attributes(FILE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&VALID, &self.attributes(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = self.answering();
        let mut bytes = vec![0; (size as usize).min(state.now.size().saturating_sub(offset) as usize)];
        state.now.read(offset, &mut bytes);
        drop(state);
        reply.data(&bytes);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.answering();
        match state.fault {
            Fault::Dead => return reply.error(Errno::EIO),
            Fault::Writes(left) if left > 0 => {
                state.fault = Fault::Writes(left - 1);
                return reply.error(Errno::EIO);
            }
            _ => {}
        }
        state.now.write(offset, data);
        state.written_bytes += data.len() as u64;
        state.events.push(Event::Write(offset, data.to_vec()));
        drop(state);
        reply.written(data.len() as u32);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let mut state = self.answering();
        match state.fault {
            Fault::Dead => return reply.error(Errno::EIO),
            Fault::Flushes(left) if left > 0 => {
                state.fault = Fault::Flushes(left - 1);
                return reply.error(Errno::EIO);
            }
            _ => {}
        }
        state.events.push(Event::Flush);
        drop(state);
        reply.ok();
    }
}

/// What a disk has been told, for those who work on it.
#[derive(Clone)]
pub(crate) struct Watch(Shared);

impl Watch {
    /// Events so far.
    pub(crate) fn events(&self) -> u64 {
        self.0.state().events.len() as u64
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.state().written_bytes
    }

    /// Fails from now on, or no more.
    pub(crate) fn set_fault(&self, fault: Fault) {
        self.0.state().fault = fault;
        self.0.0.1.notify_all();
    }
}

/// A recording disk with a mounted file system; goes when dropped.
pub(crate) struct Disk {
    shared: Shared,
    kind: String,
    point: PathBuf,
    // In the order in which they go.
    mount: Option<Guard>,
    _front: Guard,
    session: Option<BackgroundSession>,
}

impl Disk {
    /// Shows `image`, which holds a file system of type `kind`, and mounts it at `DIR/disk`.
    pub(crate) fn mount(image: Image, kind: &str, dir: &Path) -> Result<Self> {
        let (front, point) = (dir.join("front"), dir.join("disk"));
        std::fs::create_dir(&front)?;
        std::fs::create_dir(&point)?;
        let state = State {
            first: image.clone(),
            now: image,
            events: Vec::new(),
            written_bytes: 0,
            fault: Fault::None,
        };
        let shared = Shared(Arc::new((Mutex::new(state), Condvar::new())));
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("power".into()), MountOption::Subtype("power".into())];
        let session =
            fuser::spawn_mount(shared.clone(), &front, &config).context("cannot serve the recording disk")?;
        let front_guard = Guard::new(Undo::Mount(front.clone()));
        let mut disk = Self {
            shared,
            kind: kind.to_owned(),
            point: point.clone(),
            mount: None,
            _front: front_guard,
            session: Some(session),
        };
        let said =
            program::output(Command::new("losetup").args(["--find", "--show"]).arg(front.join(NAME)), LIMIT)?;
        let device = PathBuf::from(said.trim());
        let attached = Guard::new(Undo::Loop(device.clone()));
        let name = device.file_name().context("losetup named no device")?;
        let cache = Path::new("/sys/block").join(name).join("queue/write_cache");
        ensure!(
            std::fs::read_to_string(&cache)?.trim() == "write back",
            "{} sends no flushes, so power cuts cannot be tested on it",
            device.display()
        );
        program::output(Command::new("mount").args(["-t", kind]).arg(&device).arg(&point), LIMIT)?;
        disk.mount = Some(Guard::new(Undo::Mount(point)));
        // Detaching a device that is mounted lets it go with the mount.
        drop(attached);
        Ok(disk)
    }

    /// Where the file system is mounted.
    pub(crate) fn point(&self) -> &Path {
        &self.point
    }

    pub(crate) fn watch(&self) -> Watch {
        Watch(self.shared.clone())
    }

    /// Takes it away and returns what it was told until then.
    pub(crate) fn stop(mut self) -> Result<Recording> {
        let recording = self.recording();
        self.watch().set_fault(Fault::None);
        drop(self.mount.take());
        ensure!(!mounts::is_mounted(&self.point), "{} stays mounted", self.point.display());
        Ok(recording)
    }

    /// What it was told so far.
    pub(crate) fn recording(&self) -> Recording {
        let state = self.shared.state();
        Recording { kind: self.kind.clone(), first: state.first.clone(), events: state.events.clone() }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What still wants to write must get an answer, or nothing could be unmounted.
        self.watch().set_fault(Fault::None);
        drop(self.mount.take());
        drop(self.session.take());
    }
}

/// A fresh file system of type `kind` and `size_bytes`.
pub(crate) fn format(kind: &str, size_bytes: u64, dir: &Path) -> Result<Image> {
    let path = dir.join("fresh.img");
    std::fs::File::create(&path)?.set_len(size_bytes)?;
    let mut command = match kind {
        "ext4" => {
            let mut command = Command::new("mkfs.ext4");
            command.args(["-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"]);
            command
        }
        _ => {
            let mut command = Command::new(format!("mkfs.{kind}"));
            command.args(["-q", "-f", "-K"]);
            command
        }
    };
    program::output(command.arg(&path), LIMIT)?;
    let image = Image::load(&path)?;
    std::fs::remove_file(&path)?;
    Ok(image)
}
