//! The mounts of this machine: which are ours, which of them a path lies below, and which have lost their server.
//!
//! Ours have the file system type `fuse.offshoot` and a source of `offshoot:` followed by what names the pool.
//! Reading the mount table never touches a mount, so it cannot hang on one whose server is gone; everything that
//! does touch one says so. Mounting itself is not done here: that is `serve::fuse`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use rustix::io::Errno;

/// The file system type of our mounts in the mount table.
pub const FILE_SYSTEM_TYPE: &str = "fuse.offshoot";

/// Major and minor number of `/dev/fuse`.
const FUSE_NUMBER: (u32, u32) = (10, 229);

const TABLE: &str = "/proc/self/mountinfo";

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number of the file system, which FUSE also counts its connections by.
    pub device: (u32, u32),
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The directory of the file system that is visible there; not `/` for bind mounts.
    pub root: PathBuf,
    /// The type, such as `ext4` or `fuse.offshoot`.
    pub file_system: String,
    /// What is mounted, such as `/dev/sda1` or `offshoot:/srv/pool`.
    pub source: OsString,
    /// The mount refuses changes.
    pub read_only: bool,
}

/// A local path that lies below one of our mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The mount.
    pub mount: Mount,
    /// The path in the pool: absolute, without `.`, `..` and empty components.
    pub pool_path: Vec<u8>,
}

/// Why a mount could not be examined or cleared.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The mount table cannot be read.
    #[error("the mount table {TABLE} cannot be read")]
    Table(#[source] io::Error),
    /// The server behind a mount is gone.
    #[error(
        "the server behind the mount at {0} is gone; `offshoot up` or `offshoot mount {0}` brings it back"
    )]
    Dead(PathBuf),
    /// A path cannot be looked at.
    #[error("{path} cannot be examined")]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A dead mount cannot be taken away.
    #[error("the dead mount at {mount_point} cannot be removed: {reason}")]
    Clear {
        /// Where it is.
        mount_point: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Whether this machine can mount at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FuseDevice {
    /// `/dev/fuse` opens.
    Ready,
    /// There is none: the kernel lacks FUSE, or a container hides it.
    Missing,
    /// It is there, but this user may not open it.
    Forbidden,
    /// What is there is something else.
    Other,
}

impl Mount {
    /// True if it is one of ours.
    pub fn is_offshoot(&self) -> bool {
        self.file_system == FILE_SYSTEM_TYPE
    }

    /// True if its server is gone. Asks the mount itself.
    pub fn is_dead(&self) -> bool {
        is_dead(&self.mount_point)
    }
}

/// All mounts of this machine as this process sees them, in mount order.
///
/// # Errors
/// `Table`.
pub fn mounts() -> Result<Vec<Mount>, MountError> {
    let table = std::fs::read(TABLE).map_err(MountError::Table)?;
    Ok(parse(&table))
}

/// Our mounts only.
///
/// # Errors
/// `Table`.
pub fn offshoot_mounts() -> Result<Vec<Mount>, MountError> {
    Ok(mounts()?.into_iter().filter(Mount::is_offshoot).collect())
}

/// The mount at exactly this place, the topmost one if there are several.
///
/// # Errors
/// `Table`.
pub fn mount_at(path: &Path) -> Result<Option<Mount>, MountError> {
    let wanted = absolute(path);
    // A dead mount cannot be canonicalised, so only its parent is.
    let wanted = match (wanted.parent().map(std::fs::canonicalize), wanted.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => wanted,
    };
    Ok(mounts()?.into_iter().rev().find(|mount| mount.mount_point == wanted))
}

/// Finds our mount that `path` lies below and the path in its pool. The path need not exist; symbolic links on the way
/// are followed, the last component is not. `None`: it lies on something else.
///
/// # Errors
/// `Table`, `Dead`.
pub fn locate(path: &Path) -> Result<Option<Located>, MountError> {
    let table = mounts()?;
    let path = absolute(path);
    // Where a path cannot be walked, its words decide.
    let resolved = resolve(&path).unwrap_or_else(|_| normal(&path));
    match locate_in(&table, &resolved) {
        Some(located) if located.mount.is_dead() => Err(MountError::Dead(located.mount.mount_point)),
        located => Ok(located),
    }
}

/// True if something is mounted at `path` whose server is gone.
pub fn is_dead(path: &Path) -> bool {
    // Attributes may come from the kernel's cache long after the server has died; the space is always asked for.
    rustix::fs::statvfs(path).is_err_and(|error| matches!(error, Errno::NOTCONN | Errno::CONNABORTED))
}

/// Takes away a mount whose server is gone. Programs that still have files open there keep getting errors.
///
/// # Errors
/// `Clear`.
pub fn clear_dead(mount_point: &Path) -> Result<(), MountError> {
    let clear = |reason: String| MountError::Clear { mount_point: mount_point.to_owned(), reason };
    match rustix::mount::unmount(mount_point, rustix::mount::UnmountFlags::DETACH) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => {
            let output = Command::new("fusermount3").args(["-u", "-z", "--"]).arg(mount_point).output();
            match output {
                Ok(output) if output.status.success() => Ok(()),
                Ok(output) => Err(clear(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
                Err(error) => {
                    Err(clear(format!("fusermount3 cannot be run ({error}); install the package fuse3")))
                }
            }
        }
        Err(error) => Err(clear(io::Error::from(error).to_string())),
    }
}

/// Whether `/dev/fuse` is there, is what it should be, and can be opened.
pub fn fuse_device() -> FuseDevice {
    let path = Path::new("/dev/fuse");
    if std::fs::metadata(path).is_ok_and(|found| !is_fuse(&found)) {
        return FuseDevice::Other;
    }
    match std::fs::OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => FuseDevice::Ready,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => FuseDevice::Forbidden,
        Err(_) => FuseDevice::Missing,
    }
}

/// Whether this is the kernel's device, by its number.
fn is_fuse(found: &std::fs::Metadata) -> bool {
    let number = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
    found.file_type().is_char_device() && number == FUSE_NUMBER
}

/// `path` from the root, `.` and `..` still in it where they were.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Follows the symbolic links of the part that exists, but not of the last component.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let Some((parent, name)) = path.parent().zip(path.file_name()) else {
        return std::fs::canonicalize(path);
    };
    let mut missing = vec![name.to_owned()];
    let mut existing = parent;
    loop {
        match std::fs::canonicalize(existing) {
            Ok(mut found) => {
                found.extend(missing.iter().rev());
                return Ok(normal(&found));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let Some((parent, name)) = existing.parent().zip(existing.file_name()) else {
                    return Err(error);
                };
                missing.push(name.to_owned());
                existing = parent;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Takes `.` and `..` out by the words of the path alone.
fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => result.push(name),
            Component::ParentDir => {
                result.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    result
}

fn locate_in(table: &[Mount], path: &Path) -> Option<Located> {
    let mut best: Option<&Mount> = None;
    for mount in table {
        let depth = |mount: &Mount| mount.mount_point.components().count();
        // A later mount at the same place lies over the earlier one.
        if path.starts_with(&mount.mount_point) && best.is_none_or(|best| depth(mount) >= depth(best)) {
            best = Some(mount);
        }
    }
    let mount = best.filter(|mount| mount.is_offshoot())?;
    let below = path.strip_prefix(&mount.mount_point).ok()?;
    let mut pool_path = mount.root.clone();
    if !below.as_os_str().is_empty() {
        pool_path.push(below);
    }
    Some(Located { mount: mount.clone(), pool_path: pool_path.into_os_string().into_vec() })
}

/// Any bytes as a table of mounts, and what a path is in it.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub fn fuzz_table(table: &[u8], path: &Path) {
    let located = locate_in(&parse(table), &normal(path));
    assert!(located.is_none_or(|located| located.mount.is_offshoot()));
}

/// The fields of `proc_pid_mountinfo(5)`; lines that do not fit are left out.
fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (major, minor) = std::str::from_utf8(fields.nth(2)?).ok()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let root = fields.next()?;
    let mount_point = fields.next()?;
    let options = fields.next()?;
    // Any number of optional fields, then a dash.
    fields.by_ref().find(|field| *field == b"-")?;
    let file_system = fields.next()?;
    let source = fields.next()?;
    Some(Mount {
        device,
        mount_point: PathBuf::from(unescape(mount_point)),
        root: PathBuf::from(unescape(root)),
        file_system: String::from_utf8_lossy(&unescape(file_system).into_vec()).into_owned(),
        source: unescape(source),
        read_only: options.split(|byte| *byte == b',').any(|option| option == b"ro"),
    })
}

/// Undoes the kernel's `\ooo` for blanks, tabs, newlines and backslashes.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..b'8').contains(d)));
        match octal {
            Some(digits) => {
                bytes.push(
                    digits.iter().fold(0u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')),
                );
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsStr::from_bytes(&bytes).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
30 22 0:40 / /mnt/my\\040pool rw,nosuid - fuse.offshoot offshoot:/srv/a\\134b rw,user_id=0\n\
31 22 0:41 /inner /srv/bound ro,nosuid shared:7 master:2 - fuse.offshoot offshoot:/srv/x rw\n\
32 30 0:42 / /mnt/my\\040pool/over rw - tmpfs tmpfs rw\n\
33 22 0:43 / /twice rw - fuse.offshoot offshoot:/one rw\n\
34 33 0:44 / /twice rw - fuse.offshoot offshoot:/two rw\n\
broken line\n";

    fn located(path: &str) -> Option<(String, String)> {
        locate_in(&parse(TABLE), Path::new(path)).map(|located| {
            let path = String::from_utf8(located.pool_path).unwrap();
            (located.mount.source.into_string().unwrap(), path)
        })
    }

    #[test]
    fn the_device_is_known_by_its_number() {
        assert!(!is_fuse(&std::fs::metadata("/dev/null").unwrap()));
        assert!(!is_fuse(&std::fs::metadata("/").unwrap()));
    }

    #[test]
    fn the_table_is_read_with_its_escapes_and_optional_fields() {
        let table = parse(TABLE);
        assert_eq!(table.len(), 6);
        assert_eq!(table[1].mount_point, Path::new("/mnt/my pool"));
        assert_eq!(table[1].device, (0, 40));
        assert_eq!(table[1].source, OsStr::new("offshoot:/srv/a\\b"));
        assert!(table[1].is_offshoot() && !table[0].is_offshoot());
        assert!(table[2].read_only && !table[1].read_only);
        assert_eq!(table[2].root, Path::new("/inner"));
    }

    #[test]
    fn a_path_is_located_below_the_deepest_mount() {
        let pool = "offshoot:/srv/a\\b".to_owned();
        assert_eq!(located("/mnt/my pool/data/x"), Some((pool.clone(), "/data/x".to_owned())));
        assert_eq!(located("/mnt/my pool"), Some((pool, "/".to_owned())));
        assert_eq!(located("/mnt/my pool/over/x"), None);
        assert_eq!(located("/mnt/my poolish"), None);
        assert_eq!(located("/data/x"), None);
    }

    #[test]
    fn a_bind_mount_shows_a_part_of_the_pool() {
        assert_eq!(located("/srv/bound/x"), Some(("offshoot:/srv/x".to_owned(), "/inner/x".to_owned())));
    }

    #[test]
    fn the_topmost_of_two_mounts_counts() {
        assert_eq!(located("/twice/x"), Some(("offshoot:/two".to_owned(), "/x".to_owned())));
    }

    #[test]
    fn dots_are_taken_out_without_leaving_the_root() {
        assert_eq!(normal(Path::new("/a/./b/../c//d/")), Path::new("/a/c/d"));
        assert_eq!(normal(Path::new("/../../a")), Path::new("/a"));
    }

    #[test]
    fn links_on_the_way_are_followed_but_not_the_last_one() {
        let directory = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(directory.path()).unwrap();
        std::fs::create_dir(base.join("real")).unwrap();
        std::os::unix::fs::symlink("real", base.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", base.join("real/last")).unwrap();
        assert_eq!(resolve(&base.join("link/last")).unwrap(), base.join("real/last"));
        assert_eq!(resolve(&base.join("link/new/deep")).unwrap(), base.join("real/new/deep"));
        assert_eq!(resolve(&base.join("link/../x")).unwrap(), base.join("x"));
    }

    #[test]
    fn a_directory_of_this_machine_is_no_mount_of_ours() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(locate(&directory.path().join("x")).unwrap(), None);
        assert!(!is_dead(directory.path()));
        assert!(mounts().unwrap().iter().any(|mount| mount.mount_point == Path::new("/")));
    }
}
