//! The least that a FUSE file system can be: every name exists, and nothing is behind it. What a call costs here, it
//! costs in the kernel and in the protocol.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo,
    MountOption, ReplyAttr, ReplyEntry, Request,
};

use crate::cleanup::{Guard, Undo};

/// How long the kernel may believe an answer.
pub(super) const VALID: Duration = Duration::from_secs(60);

struct Nothing;

/// Numbers of directories are even, those of files odd.
pub(super) fn attributes(ino: u64) -> FileAttr {
    let kind = if ino == 1 || ino.is_multiple_of(2) { FileType::Directory } else { FileType::RegularFile };
    FileAttr {
        ino: INodeNo(ino),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm: 0o755,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Nothing {
    /// `d` starts a directory's name, anything else a file's; the digits in the name make the number.
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let digits = name.as_bytes().iter().filter(|byte| byte.is_ascii_digit());
        let number = digits.fold(1_u64, |number, digit| number * 10 + u64::from(digit - b'0'));
        let is_file = u64::from(name.as_bytes().first() != Some(&b'd'));
        // Files of one name in different directories are different files.
        let ino = (number + (u64::from(parent) << 32)) * 2 + is_file;
        reply.entry(&VALID, &attributes(ino), Generation(0));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if u64::from(ino) == 0 {
            reply.error(Errno::ENOENT);
        } else {
            reply.attr(&VALID, &attributes(ino.into()));
        }
    }
}

/// A mount of it; goes when dropped.
pub(super) struct Hollow {
    point: PathBuf,
    _guard: Guard,
    _session: BackgroundSession,
}

impl Hollow {
    /// Mounts at a new directory.
    pub(super) fn mount(point: &Path) -> Result<Self> {
        std::fs::create_dir(point)?;
        let mut config = Config::default();
        config.mount_options =
            vec![MountOption::FSName("hollow".into()), MountOption::Subtype("hollow".into())];
        config.n_threads = Some(2);
        let session =
            fuser::spawn_mount(Nothing, point, &config).context("cannot mount the empty file system")?;
        Ok(Self {
            point: point.to_owned(),
            _guard: Guard::new(Undo::Mount(point.to_owned())),
            _session: session,
        })
    }

    pub(super) fn point(&self) -> &Path {
        &self.point
    }
}
