//! Mounting, unmounting, and what can be in the way.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::process::{Command, Stdio};

use offshoot_serve::fuse::{FILE_SYSTEM_TYPE, FuseOptions, FuseSession, MountError};

use crate::world::{Place, World, child, new_runtime, new_vfs};

/// Tells the child processes of this file where to mount.
const MOUNT_POINT: &str = "OFFSHOOT_TEST_MOUNT_POINT";
const NOBODY: u32 = 65_534;

fn mount(place: &Place) -> Result<FuseSession, MountError> {
    let runtime = new_runtime();
    let handle = runtime.handle().clone();
    // Nothing of what these tests do runs on it.
    runtime.shutdown_background();
    FuseSession::mount(new_vfs(), handle, FuseOptions::new(place.path()))
}

fn mount_line(place: &Place) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let word = format!(" {} ", place.path().display());
    table.lines().find(|line| line.contains(&word)).map(str::to_owned)
}

#[test]
fn a_mount_says_what_it_is() {
    let world = World::new();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let word = format!(" {} ", world.mount_point().display());
    let line = table.lines().find(|line| line.contains(&word)).unwrap();
    let id = futures::executor::block_on(world.vfs.pool().status()).pool_id;
    assert!(line.contains(&format!(" - {FILE_SYSTEM_TYPE} offshoot:{id} ")), "{line}");
    assert!(!world.session.replaced_dead_mount());
}

#[test]
fn a_mount_point_must_be_there_empty_and_free() {
    let place = Place::new();
    let missing = FuseOptions::new(place.path().join("missing"));
    let runtime = new_runtime();
    let error = FuseSession::mount(new_vfs(), runtime.handle().clone(), missing).unwrap_err();
    assert!(matches!(error, MountError::Missing(_)), "{error}");
    fs::write(place.path().join("f"), b"").unwrap();
    assert!(matches!(mount(&place).unwrap_err(), MountError::NotEmpty(_)));
    fs::remove_file(place.path().join("f")).unwrap();
    let session = mount(&place).unwrap();
    let again = mount(&place).unwrap_err();
    assert!(matches!(again, MountError::AlreadyMounted(_)), "{again}");
    session.unmount(false).unwrap();
}

#[test]
fn a_mount_in_use_stays_until_it_is_unmounted_lazily() {
    let place = Place::new();
    let session = mount(&place).unwrap();
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(place.path().join("f"))
        .unwrap();
    assert!(matches!(session.unmount(false).unwrap_err(), MountError::InUse(_)));
    assert!(session.is_alive());
    session.unmount(true).unwrap();
    assert!(mount_line(&place).is_none());
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    drop(file);
    session.unmount(false).unwrap();
    assert!(!session.is_alive());
}

#[test]
fn somebody_else_may_unmount() {
    let place = Place::new();
    let session = mount(&place).unwrap();
    rustix::mount::unmount(place.path(), rustix::mount::UnmountFlags::empty()).unwrap();
    session.unmount(false).unwrap();
    assert!(!session.is_alive());
}

#[test]
fn dropping_a_session_unmounts() {
    let place = Place::new();
    drop(mount(&place).unwrap());
    assert!(mount_line(&place).is_none());
    fs::write(place.path().join("f"), b"in the directory below").unwrap();
}

#[test]
fn an_old_session_leaves_a_new_mount_alone() {
    let place = Place::new();
    let old = mount(&place).unwrap();
    old.unmount(true).unwrap();
    let new = mount(&place).unwrap();
    drop(old);
    assert!(mount_line(&place).is_some());
    assert!(new.is_alive());
    new.unmount(false).unwrap();
}

#[test]
fn a_read_only_mount_changes_nothing() {
    let place = Place::new();
    let runtime = new_runtime();
    let options = FuseOptions { read_only: true, ..FuseOptions::new(place.path()) };
    let session = FuseSession::mount(new_vfs(), runtime.handle().clone(), options).unwrap();
    let error = File::create(place.path().join("f")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
    session.unmount(false).unwrap();
}

#[test]
fn mounting_over_what_a_dead_server_left_brings_it_back() {
    let place = Place::new();
    let died = child("lifecycle::mount_and_die")
        .env(MOUNT_POINT, place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!died.success());
    let error = fs::metadata(place.path()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    let session = mount(&place).unwrap();
    assert!(session.replaced_dead_mount());
    fs::write(place.path().join("f"), b"alive").unwrap();
    session.unmount(false).unwrap();
    assert!(mount_line(&place).is_none());
}

#[test]
#[ignore = "run by mounting_over_what_a_dead_server_left_brings_it_back in a process of its own"]
fn mount_and_die() {
    let Some(place) = std::env::var_os(MOUNT_POINT) else { return };
    let runtime = new_runtime();
    let options = FuseOptions::new(place);
    let _session = FuseSession::mount(new_vfs(), runtime.handle().clone(), options).unwrap();
    std::process::abort();
}

/// In a mount namespace of its own, so that the device can be one that everybody may open, whatever the machine's own is.
const AS_NOBODY: &str = r#"
    mknod -m 666 "$1/fuse" c 10 229 && mount --bind "$1/fuse" /dev/fuse || exit 99
    shift
    exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"#;

#[test]
fn an_ordinary_user_mounts_through_the_helper() {
    if !rustix::process::geteuid().is_root() {
        // Every other test of this file then goes through the helper.
        return;
    }
    let (place, device) = (Place::new(), Place::new());
    std::os::unix::fs::chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let test = child("lifecycle::mount_as_this_user");
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", AS_NOBODY, "sh"])
        .arg(device.path())
        .arg(test.get_program())
        .args(test.get_args())
        .env(MOUNT_POINT, place.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}{}", String::from_utf8_lossy(&output.stderr));
    assert!(words.contains("1 passed"), "{words}");
    assert!(mount_line(&place).is_none());
}

#[test]
#[ignore = "run by an_ordinary_user_mounts_through_the_helper in a process of its own"]
fn mount_as_this_user() {
    let Some(place) = std::env::var_os(MOUNT_POINT) else { return };
    let runtime = new_runtime();
    let options = FuseOptions::new(&place);
    assert!(!options.allow_other);
    let session = FuseSession::mount(new_vfs(), runtime.handle().clone(), options).unwrap();
    let file = session.mount_point().join("f");
    fs::set_permissions(session.mount_point(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap_err();
    assert!(fs::write(&file, b"").is_err(), "the root of a new pool belongs to root");
    session.unmount(false).unwrap();
}
