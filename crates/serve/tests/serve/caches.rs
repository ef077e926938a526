//! What the kernel remembers never outlives a change that was made elsewhere.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;

use futures::executor::block_on;
use offshoot_engine::RenameMode;
use offshoot_serve::fuse::{FuseOptions, FuseSession};
use offshoot_vfs::{Caller, ClonePath};

use crate::world::{Place, World};

fn is_missing<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[test]
fn a_name_that_was_missing_is_seen_when_the_control_plane_makes_it() {
    let world = World::new();
    fs::write(world.path("a"), b"content").unwrap();
    assert!(is_missing(fs::metadata(world.path("b"))));
    world.clone_path("/a", "/b", ClonePath::default()).unwrap();
    assert_eq!(fs::read(world.path("b")).unwrap(), b"content");
    assert_eq!(fs::read_dir(world.mount_point()).unwrap().count(), 2);
}

#[test]
fn a_replaced_file_shows_its_new_content() {
    let world = World::new();
    fs::write(world.path("a"), b"new content").unwrap();
    fs::write(world.path("b"), b"old").unwrap();
    assert_eq!(fs::read(world.path("b")).unwrap(), b"old");
    world.clone_path("/a", "/b", ClonePath { replace: true, ..ClonePath::default() }).unwrap();
    assert_eq!(fs::read(world.path("b")).unwrap(), b"new content");
}

#[test]
fn a_removed_tree_is_gone_from_the_mount() {
    let world = World::new();
    fs::create_dir_all(world.path("d/e")).unwrap();
    fs::write(world.path("d/e/f"), b"").unwrap();
    assert_eq!(fs::read_dir(world.path("d/e")).unwrap().count(), 1);
    block_on(world.vfs.remove_path(&Caller::root(), b"/d", true)).unwrap();
    assert!(is_missing(fs::metadata(world.path("d/e/f"))));
    assert!(is_missing(fs::metadata(world.path("d"))));
}

#[test]
fn a_move_by_the_control_plane_is_seen_on_both_ends() {
    let world = World::new();
    fs::write(world.path("a"), b"moved").unwrap();
    assert!(is_missing(fs::metadata(world.path("b"))));
    block_on(world.vfs.rename_path(&Caller::root(), b"/a", b"/b", RenameMode::Replace)).unwrap();
    assert!(is_missing(fs::metadata(world.path("a"))));
    assert_eq!(fs::read(world.path("b")).unwrap(), b"moved");
}

#[test]
fn two_mounts_of_one_pool_agree() {
    let world = World::new();
    let place = Place::new();
    let options = FuseOptions::new(place.path());
    let second = FuseSession::mount(world.vfs.clone(), world.runtime.handle().clone(), options).unwrap();
    let there = place.path().join("f");
    assert!(is_missing(fs::metadata(&there)));
    fs::write(world.path("f"), b"one").unwrap();
    eventually(|| fs::read(&there).is_ok_and(|content| content == b"one"));
    fs::write(&there, b"two, longer").unwrap();
    eventually(|| fs::read(world.path("f")).is_ok_and(|content| content == b"two, longer"));
    fs::hard_link(world.path("f"), world.path("g")).unwrap();
    eventually(|| fs::metadata(&there).is_ok_and(|found| found.nlink() == 2));
    fs::remove_file(world.path("g")).unwrap();
    eventually(|| fs::metadata(&there).is_ok_and(|found| found.nlink() == 1));
    second.unmount(false).unwrap();
}

/// Every inode that the kernel had ever seen took memory of the server until the kernel needed its own.
#[test]
fn the_kernel_forgets_what_nobody_uses_when_it_knows_too_much() {
    if asks_to_forget() {
        forgets_what_nobody_uses(false);
    } else {
        eprintln!("not tested: this kernel cannot be asked to forget inodes");
    }
}

/// As Linux before 6.18: nothing bounded what it knew there, and a walk over many files took the server's memory.
#[test]
fn an_older_kernel_forgets_names_that_nobody_uses() {
    forgets_what_nobody_uses(true);
}

fn forgets_what_nobody_uses(forgets_by_name: bool) {
    let world = World::new();
    let place = Place::new();
    let options = FuseOptions { known_max: 200, forgets_by_name, ..FuseOptions::new(place.path()) };
    let mount = FuseSession::mount(world.vfs.clone(), world.runtime.handle().clone(), options).unwrap();
    fs::create_dir(place.path().join("d")).unwrap();
    let held = fs::File::create(place.path().join("d/held")).unwrap();
    for n in 0..2000 {
        fs::write(place.path().join(format!("d/f{n}")), b"content").unwrap();
    }
    let known = || block_on(world.vfs.pool().status()).known_inodes;
    eventually(|| known() <= 200);
    // What is open stays under its name, and what was forgotten is found again.
    assert_eq!(held.metadata().unwrap().len(), 0);
    let name = fs::read_link(format!("/proc/self/fd/{}", held.as_raw_fd())).unwrap();
    assert_eq!(name, place.path().canonicalize().unwrap().join("d/held"));
    fs::remove_file(place.path().join("d/held")).unwrap();
    assert_eq!(held.metadata().unwrap().nlink(), 0);
    drop(held);
    for n in [0, 1999] {
        assert_eq!(fs::read(place.path().join(format!("d/f{n}"))).unwrap(), b"content");
    }
    mount.unmount(false).unwrap();
}

/// Whether this is Linux 6.18 or later.
fn asks_to_forget() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(18))
}

/// Another session's changes are told soon, but are not waited for.
fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("it did not come true");
}
