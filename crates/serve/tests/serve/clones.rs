//! Clones that are asked for inside a mount.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use offshoot_vfs::ClonePath;
use rustix::fs::XattrFlags;

use crate::world::World;

fn clone_by_attribute(world: &World, directory: &str, destination: &str) -> rustix::io::Result<()> {
    let value = destination.as_bytes();
    rustix::fs::setxattr(world.path(directory), "user.offshoot.clone", value, XattrFlags::empty())
}

#[test]
fn an_attribute_clones_a_directory() {
    let world = World::new();
    fs::create_dir_all(world.path("d/e")).unwrap();
    fs::write(world.path("d/e/f"), b"content").unwrap();
    assert!(fs::metadata(world.path("c")).is_err());
    clone_by_attribute(&world, "d", "/c").unwrap();
    fs::write(world.path("d/e/f"), b"changed").unwrap();
    assert_eq!(fs::read(world.path("c/e/f")).unwrap(), b"content");
    assert_eq!(clone_by_attribute(&world, "d", "/c"), Err(rustix::io::Errno::EXIST));
    assert_eq!(clone_by_attribute(&world, "d", "/missing/c"), Err(rustix::io::Errno::NOENT));
}

#[test]
fn a_directory_can_be_cloned_into_itself() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    fs::write(world.path("d/f"), b"content").unwrap();
    clone_by_attribute(&world, "d", "/d/copy").unwrap();
    assert_eq!(fs::read(world.path("d/copy/f")).unwrap(), b"content");
    assert!(fs::metadata(world.path("d/copy/copy")).is_err());
}

/// An unlink holds the directory and waits for the file, the clone holds the file until it is answered, and word of the new name
/// waits for the directory. Both took the two seconds that the server waits for a kernel that is slow.
#[test]
fn a_clone_beside_a_source_that_is_removed_meanwhile_is_answered_soon() {
    let world = World::new();
    for round in 0..30 {
        let (source, name) = (world.path("f"), format!("c-{round}"));
        fs::write(&source, b"content").unwrap();
        let file = fs::File::open(&source).unwrap();
        let (start, barrier) = (Instant::now(), Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                fs::remove_file(&source).unwrap();
            });
            barrier.wait();
            let value = format!("/{name}");
            rustix::fs::fsetxattr(&file, "user.offshoot.clone", value.as_bytes(), XattrFlags::empty())
                .unwrap();
        });
        let took = start.elapsed();
        assert!(took < Duration::from_millis(1500), "round {round} took {took:?}");
        while fs::read(world.path(&name)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(5), "{name} is not shown");
        }
    }
}

#[test]
fn numbers_are_unique_in_the_mount() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    fs::write(world.path("d/f"), b"").unwrap();
    clone_by_attribute(&world, "d", "/c").unwrap();
    let number = |name| fs::metadata(world.path(name)).unwrap().ino();
    assert_ne!(number("d/f"), number("c/f"));
    assert_ne!(number("d"), number("c"));
}

#[test]
fn nobody_changes_a_read_only_clone() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    fs::write(world.path("d/f"), b"content").unwrap();
    world.clone_path("/d", "/s", ClonePath { read_only: true, ..ClonePath::default() }).unwrap();
    let refused = |result: io::Result<()>| result.unwrap_err().kind() == io::ErrorKind::ReadOnlyFilesystem;
    assert!(refused(fs::write(world.path("s/f"), b"x")));
    assert!(refused(fs::write(world.path("s/g"), b"x")));
    assert!(refused(fs::remove_file(world.path("s/f"))));
    assert_eq!(fs::read(world.path("s/f")).unwrap(), b"content");
}

#[test]
fn the_attribute_of_information_is_there_and_not_listed() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    clone_by_attribute(&world, "d", "/c").unwrap();
    let mut value = vec![0; 4096];
    let length = rustix::fs::getxattr(world.path("c"), "user.offshoot.info", &mut value).unwrap();
    let document = String::from_utf8_lossy(&value[..length]).into_owned();
    assert!(document.contains("\"path\":\"/c\"") && document.contains("\"path\":\"/d\""), "{document}");
    let mut names = [0; 64];
    assert_eq!(rustix::fs::listxattr(world.path("c"), &mut names).unwrap(), 0);
}
