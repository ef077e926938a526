//! Times that a program sets and reads: exact, at any distance, and the birth time.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags, Timespec, Timestamps, statx, utimensat};

use crate::world::World;

fn set(path: &Path, seconds: i64, nanoseconds: i64) -> rustix::io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    utimensat(CWD, path, &Timestamps { last_access: time, last_modification: time }, AtFlags::empty())
}

fn both(path: &Path) -> [(i64, i64); 2] {
    let found = fs::metadata(path).unwrap();
    [(found.atime(), found.atime_nsec()), (found.mtime(), found.mtime_nsec())]
}

#[test]
fn times_keep_their_nanoseconds_before_1970_too() {
    let world = World::new();
    let path = world.path("f");
    File::create(&path).unwrap();
    for (seconds, nanoseconds) in [(-1, 500_000_000), (-2, 0), (0, 1), (1 << 33, 999_999_999)] {
        set(&path, seconds, nanoseconds).unwrap();
        assert_eq!(both(&path), [(seconds, nanoseconds); 2]);
    }
}

/// The library that was used before panicked at the first of these, and each cost a thread. The kernel cuts the
/// nanoseconds of the first and the last second that there is.
#[test]
fn the_ends_of_time_hurt_nobody() {
    let world = World::new();
    let path = world.path("f");
    File::create(&path).unwrap();
    for _ in 0..40 {
        for seconds in [i64::MIN, i64::MAX, i64::MIN + 1, i64::MAX - 1, -1] {
            set(&path, seconds, 0).unwrap();
            assert_eq!(both(&path), [(seconds, 0); 2]);
        }
        set(&path, i64::MIN + 1, 999_999_999).unwrap();
        assert_eq!(both(&path), [(i64::MIN + 1, 999_999_999); 2]);
    }
    fs::write(&path, b"still served").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"still served");
    assert!(fs::read_dir(world.mount_point()).unwrap().all(|entry| entry.unwrap().metadata().is_ok()));
    assert!(world.session.is_alive());
}

#[test]
fn extreme_times_survive_the_kernels_memory() {
    let world = World::new();
    let path = world.path("f");
    File::create(&path).unwrap();
    set(&path, i64::MIN, 0).unwrap();
    // Seen through another mount, whose kernel side has never been told.
    let place = crate::world::Place::new();
    let options = offshoot_serve::fuse::FuseOptions::new(place.path());
    let session =
        offshoot_serve::fuse::FuseSession::mount(world.vfs.clone(), world.runtime.handle().clone(), options)
            .unwrap();
    assert_eq!(both(&place.path().join("f")), [(i64::MIN, 0); 2]);
    session.unmount(false).unwrap();
}

fn birth(path: &Path) -> Option<(i64, u32)> {
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::BTIME | StatxFlags::BASIC_STATS).unwrap();
    let has = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    has.then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec))
}

#[test]
fn the_birth_time_is_that_of_the_inode_and_stays() {
    let world = World::new();
    let path = world.path("f");
    fs::write(&path, b"content").unwrap();
    let made = fs::metadata(&path).unwrap();
    let born = birth(&path).expect("the kernel is told a birth time");
    assert!((born.0 - made.mtime()).abs() <= 1, "{born:?} is not when it was made");
    fs::write(&path, b"changed").unwrap();
    set(&path, 5, 5).unwrap();
    fs::rename(&path, world.path("g")).unwrap();
    assert_eq!(birth(&world.path("g")), Some(born));
    let attributes = fs::metadata(world.path("g")).unwrap();
    assert_eq!((attributes.mtime(), attributes.len()), (5, 7), "what comes with it is right too");
    fs::create_dir(world.path("d")).unwrap();
    assert!(birth(&world.path("d")).is_some());
    let device = world.path("null");
    let dev = rustix::fs::makedev(0x123, 0x45678);
    let made = rustix::fs::mknodat(CWD, &device, rustix::fs::FileType::CharacterDevice, 0o600.into(), dev);
    if rustix::process::geteuid().is_root() {
        made.unwrap();
        let found =
            statx(CWD, &device, AtFlags::empty(), StatxFlags::BTIME | StatxFlags::BASIC_STATS).unwrap();
        assert_eq!((found.stx_rdev_major, found.stx_rdev_minor), (0x123, 0x45678));
    }
}
