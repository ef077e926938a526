//! Servers that were killed and cannot end, and how they are helped.
//!
//! Word of a change to the kernel (`FUSE_NOTIFY_INVAL_ENTRY`) waits for the lock of a directory. Whoever holds that lock may
//! wait for an answer of the server. If the server is killed at that moment, the thread that sends the word cannot end, for the
//! kernel does not interrupt that wait; the process keeps its files, `/dev/fuse` among them; so the kernel does not learn
//! that nobody will answer, and everything waits for ever. Ending the connection from outside is the only way out.
//!
//! A connection is known by the minor number of its file system's device. It outlives its mount as long as programs have
//! files open there.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::mount::{Mount, MountError, mounts};

/// The kernel's switches for connections, where somebody has mounted them.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// True if the process has been killed and a thread of it is still there. Shortly after a kill that is nothing unusual.
pub fn is_dying(process: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).map_or(0, Iterator::count);
    has_ended(&stat) && threads > 1
}

/// Whether the first thread has ended, by the line in `/proc/PID/stat`. Its second field, the name, may contain anything.
fn has_ended(stat: &str) -> bool {
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().bytes().next());
    matches!(state, Some(b'Z' | b'X'))
}

/// The connections that this process sees mounts of: those of `source`, and all others.
///
/// # Errors
/// `Table`.
pub fn connections(source: &OsStr) -> Result<(Vec<u32>, Vec<u32>), MountError> {
    let is_ours = |mount: &Mount| mount.is_offshoot() && mount.source == source;
    let (ours, others): (Vec<Mount>, Vec<Mount>) = mounts()?.into_iter().partition(is_ours);
    let minors = |mounts: Vec<Mount>| mounts.into_iter().map(|mount| mount.device.1).collect();
    let is_unnamed = |mount: &Mount| mount.device.0 == 0;
    Ok((minors(ours), minors(others.into_iter().filter(is_unnamed).collect())))
}

/// Ends a connection: whoever waits for an answer, or asks for anything later, gets an error. Mounts stay, dead, for a new
/// server to clear. Only for the connection of a server that is dying.
///
/// # Errors
/// There is no such connection; this user may not end it, or may not reach the kernel's switches.
pub fn end_connection(connection: u32) -> io::Result<()> {
    let path = format!("{connection}/abort");
    let switch = rustix::fs::openat(switches()?, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&switch, b"1")?;
    Ok(())
}

/// The directory of switches: one that only we see, where we may mount, else what is mounted.
fn switches() -> io::Result<OwnedFd> {
    let own = || {
        let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    own().or_else(|_: rustix::io::Errno| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(CONNECTIONS, flags, Mode::empty())?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_process_is_known_by_its_state_whatever_its_name() {
        assert!(has_ended("12 (offshoot) Z 1 12"));
        assert!(has_ended("12 (a ) S (b) Z 1 12"));
        assert!(!has_ended("12 (Z) S 1 12"));
        assert!(!has_ended(""));
    }

    #[test]
    fn nobody_who_lives_is_dying() {
        assert!(!is_dying(std::process::id()));
        assert!(!is_dying(u32::MAX));
    }

    #[test]
    fn an_unknown_source_has_no_connection_and_an_unknown_connection_no_end() {
        assert!(connections(OsStr::new("offshoot:/no/such/pool")).unwrap().0.is_empty());
        end_connection(u32::MAX).unwrap_err();
    }
}
