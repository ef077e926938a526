//! Making and taking down the mount itself: by system call as root, through `fusermount3` as an ordinary user.
//!
//! A mount whose server died answers `ENOTCONN` for everything. Mounting over one is a wish to have it back: the dead one is
//! detached first.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::device::DEVICE;
use super::{FILE_SYSTEM_TYPE, FuseOptions, MountError};

const HELPER: &str = "fusermount3";
const SUBTYPE: &str = "offshoot";

/// A mount that was made, and the device through which the kernel talks to it.
pub(super) struct Mount {
    pub(super) device: OwnedFd,
    pub(super) point: MountPoint,
    /// A dead mount was in the way and has been detached.
    pub(super) replaced_dead: bool,
}

/// Where a mount of ours is.
#[derive(Debug)]
pub(super) struct MountPoint {
    path: PathBuf,
    /// `major:minor` of the mounted file system. Tells ours from others as long as it exists; then the number is used again.
    device_number: String,
    /// It was taken down, or its last request was answered: what is mounted there from now on is not ours.
    ended: AtomicBool,
}

impl MountPoint {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn device_number(&self) -> &str {
        &self.device_number
    }

    /// Remembers that nothing of ours is mounted there any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    fn is_mounted(&self) -> bool {
        !self.ended.load(Ordering::Acquire)
            && mounted_at(&self.path).is_some_and(|found| found.device_number == self.device_number)
    }

    /// Takes the mount down; with `lazy` it goes from the tree at once and ends when nothing of it is open any more.
    pub(super) fn unmount(&self, lazy: bool) -> Result<(), MountError> {
        if !self.is_mounted() {
            return Ok(());
        }
        detach(&self.path, lazy)?;
        self.end();
        Ok(())
    }
}

/// Mounts at an empty directory.
pub(super) fn mount(options: &FuseOptions, source: &str) -> Result<Mount, MountError> {
    let (path, replaced_dead) = prepare(&options.mount_point)?;
    let device = match mount_directly(&path, options, source)? {
        Some(device) => device,
        None => mount_with_helper(&path, options, source)?,
    };
    let device_number = mounted_at(&path).map(|found| found.device_number).ok_or_else(|| {
        system("find the mount that was just made at", &path, io::Error::from(io::ErrorKind::NotFound))
    })?;
    let point = MountPoint { path, device_number, ended: AtomicBool::new(false) };
    Ok(Mount { device, point, replaced_dead })
}

/// The absolute path of the mount point, fit to be mounted on.
fn prepare(point: &Path) -> Result<(PathBuf, bool), MountError> {
    let absolute = std::path::absolute(point).map_err(|error| system("find", point, error))?;
    let mut replaced_dead = false;
    if is_dead(&absolute) {
        tracing::warn!(mount_point = %absolute.display(), "the server of an earlier mount died; detaching what it left");
        detach(&absolute, true)?;
        replaced_dead = true;
    }
    Ok((fit(absolute)?, replaced_dead))
}

/// Whether a mount could be made at a directory. Changes nothing; a mount there whose server died is no hindrance.
///
/// # Errors
/// `Missing`, `NotDirectory`, `NotEmpty`, `AlreadyMounted`, `System`.
pub fn examine_mount_point(point: &Path) -> Result<(), MountError> {
    let absolute = std::path::absolute(point).map_err(|error| system("find", point, error))?;
    if is_dead(&absolute) {
        return Ok(());
    }
    fit(absolute).map(|_| ())
}

/// The path of a directory that can be mounted on.
fn fit(absolute: PathBuf) -> Result<PathBuf, MountError> {
    let metadata = std::fs::metadata(&absolute).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => MountError::Missing(absolute.clone()),
        _ => system("look at", &absolute, error),
    })?;
    if !metadata.is_dir() {
        return Err(MountError::NotDirectory(absolute));
    }
    let path = absolute.canonicalize().map_err(|error| system("find", &absolute, error))?;
    if mounted_at(&path).is_some_and(|found| found.kind == FILE_SYSTEM_TYPE) {
        return Err(MountError::AlreadyMounted(path));
    }
    let mut entries = std::fs::read_dir(&path).map_err(|error| system("list", &path, error))?;
    if entries.next().is_some() {
        return Err(MountError::NotEmpty(path));
    }
    Ok(path)
}

/// Whether the server of what is mounted here is gone. Attributes may come from the kernel's cache long after; the space is always
/// asked for.
fn is_dead(point: &Path) -> bool {
    rustix::fs::statvfs(point).is_err_and(|error| matches!(error, Errno::NOTCONN | Errno::CONNABORTED))
}

/// Mounts by system call; `None` where only the helper may.
fn mount_directly(path: &Path, options: &FuseOptions, source: &str) -> Result<Option<OwnedFd>, MountError> {
    let device = match File::options().read(true).write(true).open(DEVICE) {
        Ok(device) => OwnedFd::from(device),
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound => Err(MountError::NoDevice),
                io::ErrorKind::PermissionDenied if !rustix::process::geteuid().is_root() => Ok(None),
                _ => Err(MountError::DeviceDenied(error)),
            };
        }
    };
    let mut data = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    if options.allow_other {
        data.push_str(",allow_other");
    }
    let mut flags = MountFlags::empty();
    if !options.trusted {
        flags |= MountFlags::NOSUID | MountFlags::NODEV;
    }
    if options.read_only {
        flags |= MountFlags::RDONLY;
    }
    let data = std::ffi::CString::new(data)
        .map_err(|error| system("mount on", path, io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    match rustix::mount::mount(source, path, FILE_SYSTEM_TYPE, flags, data.as_c_str()) {
        Ok(()) => Ok(Some(device)),
        Err(Errno::PERM) => Ok(None),
        Err(Errno::NODEV) => Err(MountError::NoDevice),
        Err(error) => Err(system("mount on", path, error.into())),
    }
}

/// Mounts through the setuid helper, which hands the device back over a socket. The socket is its standard input, so that no other
/// descriptor has to be passed on.
fn mount_with_helper(path: &Path, options: &FuseOptions, source: &str) -> Result<OwnedFd, MountError> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| system("mount on", path, error))?;
    let source = source.replace('\\', "\\\\").replace(',', "\\,");
    let mut words = format!("fsname={source},subtype={SUBTYPE},default_permissions");
    for (wanted, word) in [(options.allow_other, "allow_other"), (options.read_only, "ro")] {
        if wanted {
            words.push(',');
            words.push_str(word);
        }
    }
    let child = Command::new(HELPER)
        .args(["-o", &words, "--"])
        .arg(path)
        .env("_FUSE_COMMFD", "0")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(MountError::NoHelper)?;
    let device = receive(&ours);
    let output = child.wait_with_output().map_err(|error| system("mount on", path, error))?;
    match device {
        Ok(Some(device)) if output.status.success() => Ok(device),
        Err(error) => Err(system("mount on", path, error)),
        Ok(_) => {
            let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if words.contains("user_allow_other") {
                Err(MountError::AllowOther)
            } else if words.contains(DEVICE) && words.contains("denied") {
                Err(MountError::DeviceDenied(io::Error::new(io::ErrorKind::PermissionDenied, words)))
            } else {
                Err(MountError::Refused(words))
            }
        }
    }
}

/// The descriptor that the helper sends, or none if it hangs up without.
fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received =
        rustix::io::retry_on_intr(|| rustix::net::recvmsg(socket, &mut parts, &mut control, flags))?;
    if received.bytes == 0 {
        return Ok(None);
    }
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

/// Takes down what is mounted at `path`.
fn detach(path: &Path, lazy: bool) -> Result<(), MountError> {
    let mut flags = UnmountFlags::NOFOLLOW;
    if lazy {
        flags |= UnmountFlags::DETACH;
    }
    match rustix::mount::unmount(path, flags) {
        Ok(()) => Ok(()),
        Err(Errno::BUSY) => Err(MountError::InUse(path.to_owned())),
        Err(Errno::PERM) => detach_with_helper(path, lazy),
        Err(error) => Err(system("unmount", path, error.into())),
    }
}

fn detach_with_helper(path: &Path, lazy: bool) -> Result<(), MountError> {
    let mut command = Command::new(HELPER);
    command.arg("-u");
    if lazy {
        command.arg("-z");
    }
    let output = command.arg("--").arg(path).stdin(Stdio::null()).output().map_err(MountError::NoHelper)?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if words.contains("busy") {
        Err(MountError::InUse(path.to_owned()))
    } else {
        Err(MountError::Refused(words))
    }
}

fn system(doing: &'static str, mount_point: &Path, source: io::Error) -> MountError {
    MountError::System { doing, mount_point: mount_point.to_owned(), source }
}

#[derive(Debug, PartialEq, Eq)]
struct Mounted {
    device_number: String,
    kind: String,
}

/// What is mounted on top at exactly this path.
fn mounted_at(path: &Path) -> Option<Mounted> {
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    find_mounted(&table, path)
}

/// Finds the last entry for `path` in the format of `proc_pid_mountinfo(5)`.
fn find_mounted(table: &[u8], path: &Path) -> Option<Mounted> {
    table.split(|byte| *byte == b'\n').rev().find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        if unescape(fields.get(4)?) != path.as_os_str().as_bytes() {
            return None;
        }
        let separator = fields.iter().position(|field| *field == b"-")?;
        let word = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        Some(Mounted { device_number: word(fields.get(2)?), kind: word(fields.get(separator + 1)?) })
    })
}

/// Undoes the octal escapes (`\040` is a space) of the kernel's tables.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits =
            after.get(..3).filter(|digits| byte == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        if let Some(digits) = digits {
            let value = digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            plain.push(value as u8);
            rest = &after[3..];
        } else {
            plain.push(byte);
            rest = after;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        90 22 0:50 / /mnt/a\\040b rw,nosuid shared:2 master:1 - fuse.offshoot offshoot:x rw,user_id=0\n\
        91 22 0:51 / /mnt/c rw - tmpfs none rw\n\
        92 91 0:52 / /mnt/c rw - fuse.offshoot offshoot:y rw\n";

    #[test]
    fn the_topmost_mount_at_a_path_is_found() {
        let found = find_mounted(TABLE, Path::new("/mnt/c")).unwrap();
        assert_eq!(found, Mounted { device_number: "0:52".into(), kind: FILE_SYSTEM_TYPE.into() });
        let spaced = find_mounted(TABLE, Path::new("/mnt/a b")).unwrap();
        assert_eq!(spaced.device_number, "0:50");
        assert_eq!(find_mounted(TABLE, Path::new("/mnt")), None);
    }

    #[test]
    fn a_mount_point_must_be_an_empty_directory() {
        let place = tempfile::tempdir().unwrap();
        let missing = place.path().join("missing");
        assert!(matches!(prepare(&missing), Err(MountError::Missing(_))));
        assert!(matches!(examine_mount_point(&missing), Err(MountError::Missing(_))));
        let file = place.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert!(matches!(prepare(&file), Err(MountError::NotDirectory(_))));
        assert!(matches!(prepare(place.path()), Err(MountError::NotEmpty(_))));
        assert!(matches!(examine_mount_point(place.path()), Err(MountError::NotEmpty(_))));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(prepare(place.path()), Ok((_, false))));
    }
}
