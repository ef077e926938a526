//! What is set of a copy once its content is there: owner, extended attributes, mode, times, in the order in which they do not
//! undo each other.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use offshoot_control::wire::{AttributesBody, FileKind, Time, Xattr};
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// What is dressed.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// An entry of a directory that cannot or must not be opened: a link, a pipe, a socket, a device.
    Entry(BorrowedFd<'a>, &'a OsStr),
}

/// What could not be set, and why.
pub(super) type Refused = (&'static str, io::Error);

/// Sets everything. Owners that this user may not give stay this user's; attributes that the file system does not take are told
/// to the log.
pub(super) fn dress(
    target: Target<'_>,
    attributes: &AttributesBody,
    xattrs: &[Xattr],
) -> Result<(), Refused> {
    match target.set_owner(attributes) {
        Err(Errno::PERM) => tracing::debug!(ino = attributes.ino, "its owner is this user now"),
        done => done.map_err(|error| ("owner", error.into()))?,
    }
    // Before the mode, which may forbid it to others than root.
    for xattr in xattrs {
        let name = OsStr::from_bytes(xattr.name.as_bytes());
        if let Err(error) = target.set_xattr(name, xattr.value.as_bytes()) {
            tracing::warn!(ino = attributes.ino, attribute = %xattr.name, %error, "an attribute was not kept");
        }
    }
    if attributes.kind != FileKind::Symlink {
        let mode = Mode::from_raw_mode(attributes.mode);
        target.set_mode(mode).map_err(|error| ("mode", error.into()))?;
    }
    let times =
        Timestamps { last_access: timespec(attributes.atime), last_modification: timespec(attributes.mtime) };
    target.set_times(&times).map_err(|error| ("times", error.into()))
}

impl Target<'_> {
    fn set_owner(self, attributes: &AttributesBody) -> rustix::io::Result<()> {
        let owner = Some(Uid::from_raw_unchecked(attributes.uid));
        let group = Some(Gid::from_raw_unchecked(attributes.gid));
        match self {
            Self::Open(file) => rustix::fs::fchown(file, owner, group),
            Self::Entry(at, name) => rustix::fs::chownat(at, name, owner, group, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    fn set_mode(self, mode: Mode) -> rustix::io::Result<()> {
        match self {
            Self::Open(file) => rustix::fs::fchmod(file, mode),
            // Never a symbolic link, which this would follow.
            Self::Entry(at, name) => rustix::fs::chmodat(at, name, mode, AtFlags::empty()),
        }
    }

    fn set_xattr(self, name: &OsStr, value: &[u8]) -> rustix::io::Result<()> {
        match self {
            Self::Open(file) => rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()),
            Self::Entry(at, entry) => {
                // No call takes a directory and a name; the kernel's link to the directory makes a short path of them.
                let path = std::path::Path::new("/proc/self/fd").join(at.as_raw_fd().to_string()).join(entry);
                rustix::fs::lsetxattr(&path, name, value, XattrFlags::empty())
            }
        }
    }

    fn set_times(self, times: &Timestamps) -> rustix::io::Result<()> {
        match self {
            Self::Open(file) => rustix::fs::futimens(file, times),
            Self::Entry(at, name) => rustix::fs::utimensat(at, name, times, AtFlags::SYMLINK_NOFOLLOW),
        }
    }
}

fn timespec(time: Time) -> Timespec {
    Timespec { tv_sec: time.0.secs, tv_nsec: i64::from(time.0.nanos) }
}
