//! Files without a name: `O_TMPFILE`.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use futures::executor::block_on;
use offshoot_engine::Ino;
use offshoot_vfs::Code;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::world::World;

fn unnamed(directory: &Path, flags: OFlags) -> rustix::io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC | flags;
    Ok(rustix::fs::open(directory, flags, Mode::from_raw_mode(0o640))?.into())
}

fn give_name(file: &File, name: &Path) -> rustix::io::Result<()> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, path, CWD, name, AtFlags::SYMLINK_FOLLOW)
}

fn is_gone(world: &World, ino: u64) -> bool {
    block_on(world.vfs.attributes(Ino(ino))).is_err_and(|error| error.code() == Code::Stale)
}

#[test]
fn it_holds_content_and_goes_with_its_last_handle() {
    let world = World::new();
    let mut file = unnamed(world.mount_point(), OFlags::empty()).unwrap();
    file.write_all(b"unseen").unwrap();
    file.rewind().unwrap();
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    let attributes = file.metadata().unwrap();
    assert_eq!((content.as_str(), attributes.nlink(), attributes.mode()), ("unseen", 0, 0o100_640));
    assert_eq!(fs::read_dir(world.mount_point()).unwrap().count(), 0);
    let ino = attributes.ino();
    assert!(!is_gone(&world, ino));
    drop(file);
    // The kernel releases a file and forgets its inode after `close` has returned.
    for _ in 0..200 {
        if is_gone(&world, ino) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the file is still there");
}

#[test]
fn it_can_be_given_a_name_and_is_then_like_any_other() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    let mut file = unnamed(&world.path("d"), OFlags::empty()).unwrap();
    file.write_all(b"first").unwrap();
    let number = file.metadata().unwrap().ino();
    give_name(&file, &world.path("d/f")).unwrap();
    file.write_all(b" second").unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 1);
    drop(file);
    let found = fs::metadata(world.path("d/f")).unwrap();
    assert_eq!((found.ino(), found.nlink()), (number, 1));
    assert_eq!(fs::read(world.path("d/f")).unwrap(), b"first second");
    fs::hard_link(world.path("d/f"), world.path("d/g")).unwrap();
    fs::remove_file(world.path("d/f")).unwrap();
    assert_eq!(fs::read(world.path("d/g")).unwrap(), b"first second");
    fs::remove_file(world.path("d/g")).unwrap();
    fs::remove_dir(world.path("d")).unwrap();
}

#[test]
fn one_that_was_opened_exclusively_never_gets_a_name() {
    let world = World::new();
    let file = unnamed(world.mount_point(), OFlags::EXCL).unwrap();
    assert_eq!(give_name(&file, &world.path("f")), Err(Errno::NOENT));
}

#[test]
fn there_is_none_in_a_read_only_clone() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    let options = offshoot_vfs::ClonePath { read_only: true, ..Default::default() };
    world.clone_path("/d", "/s", options).unwrap();
    assert_eq!(unnamed(&world.path("s"), OFlags::empty()).unwrap_err(), Errno::ROFS);
}

#[test]
fn one_that_is_open_when_the_mount_goes_is_freed() {
    let world = World::new();
    let file = unnamed(world.mount_point(), OFlags::empty()).unwrap();
    let ino = file.metadata().unwrap().ino();
    world.session.unmount(true).unwrap();
    drop(file);
    world.session.unmount(false).unwrap();
    assert!(is_gone(&world, ino));
}

#[test]
fn it_can_get_its_name_in_another_clone_and_keeps_its_number() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    world.clone_path("/d", "/c", offshoot_vfs::ClonePath::default()).unwrap();
    for (made_in, named) in [("c", "d/f"), ("d", "c/f"), ("c", "c/g")] {
        let mut file = unnamed(&world.path(made_in), OFlags::empty()).unwrap();
        file.write_all(b"content").unwrap();
        let number = file.metadata().unwrap().ino();
        give_name(&file, &world.path(named)).unwrap();
        file.write_all(b" and more").unwrap();
        drop(file);
        assert_eq!(fs::metadata(world.path(named)).unwrap().ino(), number, "{named}");
        assert_eq!(fs::read(world.path(named)).unwrap(), b"content and more", "{named}");
    }
    world.clone_path("/c", "/e", offshoot_vfs::ClonePath::default()).unwrap();
    fs::write(world.path("c/f"), b"changed").unwrap();
    assert_eq!(fs::read(world.path("e/f")).unwrap(), b"content and more");
}
