//! Shared writable mappings: bytes that the kernel holds and the pool has not seen are in a clone all the same.
//!
//! The one `unsafe` block maps a file and writes to the mapping, which is what is tested; the mapping is as long as the
//! slice, lives until it is unmapped at the end of the block's function, and nobody else has it.
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};

use offshoot_vfs::ClonePath;
use rustix::fs::XattrFlags;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::world::World;

const LENGTH: usize = 64 << 10;

/// Writes through a mapping of `file`, runs `meanwhile` while it is mapped, then unmaps it.
fn with_mapped(file: &File, byte: u8, meanwhile: impl FnOnce()) {
    let flags = MapFlags::SHARED;
    // SAFETY: see the head of this file.
    unsafe {
        let place =
            mmap(std::ptr::null_mut(), LENGTH, ProtFlags::READ | ProtFlags::WRITE, flags, file, 0).unwrap();
        std::slice::from_raw_parts_mut(place.cast::<u8>(), LENGTH).fill(byte);
        meanwhile();
        munmap(place, LENGTH).unwrap();
    }
}

fn new_file(world: &World, name: &str) -> File {
    let file =
        OpenOptions::new().create(true).truncate(true).read(true).write(true).open(world.path(name)).unwrap();
    file.set_len(LENGTH as u64).unwrap();
    file
}

fn all(content: &[u8], byte: u8) -> bool {
    content.len() == LENGTH && content.iter().all(|found| *found == byte)
}

#[test]
fn a_clone_by_path_has_what_was_written_to_a_mapping() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    let file = new_file(&world, "d/f");
    for round in 1..=5 {
        with_mapped(&file, round, || {
            world.clone_path("/d", &format!("/c{round}"), ClonePath::default()).unwrap();
        });
        assert!(all(&fs::read(world.path(&format!("c{round}/f"))).unwrap(), round), "round {round}");
    }
}

#[test]
fn a_clone_by_attribute_has_what_was_written_to_a_mapping() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    let file = new_file(&world, "d/f");
    with_mapped(&file, 9, || {
        rustix::fs::setxattr(world.path("d"), "user.offshoot.clone", b"/c", XattrFlags::empty()).unwrap();
    });
    assert!(all(&fs::read(world.path("c/f")).unwrap(), 9));
}

#[test]
fn a_mapping_of_a_file_with_several_names_is_brought_in() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    let file = new_file(&world, "f");
    fs::hard_link(world.path("f"), world.path("d/g")).unwrap();
    with_mapped(&file, 3, || world.clone_path("/d", "/c", ClonePath::default()).unwrap());
    assert!(all(&fs::read(world.path("c/g")).unwrap(), 3));
}

#[test]
fn a_mapping_of_a_file_that_was_closed_is_brought_in() {
    let world = World::new();
    let file = new_file(&world, "f");
    let second = file.try_clone().unwrap();
    with_mapped(&second, 4, || {
        drop(file);
        world.clone_path("/f", "/c", ClonePath::default()).unwrap();
    });
    assert!(all(&fs::read(world.path("c")).unwrap(), 4));
}
