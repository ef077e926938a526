//! The FUSE mount of this machine: the kernel's requests to the POSIX layer.
//!
//! The kernel checks permission (`default_permissions`, with access control lists), so callers arrive as privileged and what is
//! left to do here is what the kernel leaves to a file system: the mask and default lists of what is created, groups that are handed
//! down, and the end of set-id bits.
//!
//! Invariants:
//! - No thread that serves requests ever waits for the kernel: notifications and write-back go out from threads of
//!   their own, and a clone that was asked for through an attribute runs aside.
//! - The kernel may cache names, attributes and content for a long time, because every change that it did not make itself is told
//!   to it (`invalidate`).
//! - Node ids stand for inode numbers ([`node`]), with generation 0: numbers are not used again while the kernel knows them.
//!
//! The kernel's write-back cache stays off. With it, the kernel and not the pool decides sizes and modification times of files
//! that are written to, delays errors such as a full disk until after `close`, and would hide from a clone through another road up to
//! half a minute of accepted writes unless each is fetched back first. Writes of up to 1 MiB go through at once instead; only shared writable
//! mappings hold data back, and `writeback` brings those in before a clone.
//!
//! From the outside in: `session` makes and ends a mount and has the threads, `device` is what they read and write, `wire` knows the
//! bytes, and `operations` what they mean.
//!
//! Not here: locks, which the kernel keeps.

mod device;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handles;
mod invalidate;
mod known;
mod map;
mod mount;
mod node;
mod operations;
mod prune;
mod session;
mod wire;
mod writeback;

use std::io;
use std::path::PathBuf;

pub use mount::examine_mount_point;
pub use session::FuseSession;

/// The type that mounts have in `/proc/self/mountinfo`.
pub const FILE_SYSTEM_TYPE: &str = "fuse.offshoot";

/// How to mount.
#[derive(Clone, Debug)]
pub struct FuseOptions {
    /// An empty directory.
    pub mount_point: PathBuf,
    /// Threads that serve requests, at least 1.
    pub threads: usize,
    /// Inodes that the kernel may know and nobody uses, about; the pool remembers some 150 bytes for each. Linux before 6.18
    /// keeps directories and what has several names beyond that.
    pub known_max: usize,
    /// Have the kernel forget as one before Linux 6.18 does. For tests.
    #[doc(hidden)]
    pub forgets_by_name: bool,
    /// Users other than the one who mounts may use it.
    pub allow_other: bool,
    /// Nothing can be changed through it.
    pub read_only: bool,
    /// Device nodes work and set-id bits count; root only.
    pub trusted: bool,
    /// What stands as source in `/proc/self/mountinfo`; by default `offshoot:` and the pool's id.
    pub source: Option<String>,
}

impl FuseOptions {
    /// A mount with the usual choices: everybody may use a mount of root, nobody else one of an ordinary user.
    pub fn new(mount_point: impl Into<PathBuf>) -> FuseOptions {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        FuseOptions {
            mount_point: mount_point.into(),
            threads: (cores * 2).clamp(4, 32),
            known_max: 1 << 20,
            forgets_by_name: false,
            allow_other: rustix::process::geteuid().is_root(),
            read_only: false,
            trusted: false,
            source: None,
        }
    }
}

/// Why a mount could not be made or taken down.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// This machine has no FUSE.
    #[error(
        "/dev/fuse does not exist; load the kernel module (modprobe fuse), or give the container the device (--device /dev/fuse)"
    )]
    NoDevice,
    /// The device is there but closed to this user.
    #[error(
        "/dev/fuse cannot be opened; its mode should be 0666, and a container also needs CAP_SYS_ADMIN to mount"
    )]
    DeviceDenied(#[source] io::Error),
    /// The directory does not exist.
    #[error("mount point {} does not exist; create the directory first", .0.display())]
    Missing(PathBuf),
    /// Not a directory.
    #[error("mount point {} is not a directory", .0.display())]
    NotDirectory(PathBuf),
    /// Files would be hidden.
    #[error("mount point {} is not empty; choose an empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// There is a live mount already.
    #[error("{} is mounted already; unmount it first (offshoot umount)", .0.display())]
    AlreadyMounted(PathBuf),
    /// The mount is in use.
    #[error("{} is in use; close what is open below it, or unmount it lazily", .0.display())]
    InUse(PathBuf),
    /// A setuid helper is needed and missing.
    #[error("fusermount3 is needed to mount as an ordinary user; install the package fuse3")]
    NoHelper(#[source] io::Error),
    /// The helper refused.
    #[error("fusermount3 refused: {0}")]
    Refused(String),
    /// Others cannot be let in.
    #[error("allow_other needs the line user_allow_other in /etc/fuse.conf when an ordinary user mounts")]
    AllowOther,
    /// Anything else that the system says.
    #[error("could not {doing} {}", .mount_point.display())]
    System {
        /// What was tried.
        doing: &'static str,
        /// Where.
        mount_point: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
