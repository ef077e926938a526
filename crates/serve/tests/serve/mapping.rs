//! Shared writable mappings: bytes that the kernel holds and the pool has not seen are in a clone all the same.
//!
//! The mapping is made in a process of its own. In the process that serves the mount it would lock that process up: writing back
//! waits for requests while the lock of its memory is held, which serving them needs too.
//!
//! The one `unsafe` block maps a file and writes to the mapping, which is what is tested; the mapping is as long as the
//! slice, lives until it is unmapped at the end of the function, and nobody else has it.
#![allow(unsafe_code)]

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use offshoot_vfs::ClonePath;
use rustix::fs::XattrFlags;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::world::{World, child};

const LENGTH: usize = 64 << 10;
/// Tells the child what to map and to write.
const FILE: &str = "OFFSHOOT_TEST_MAPPED_FILE";
const BYTE: &str = "OFFSHOOT_TEST_MAPPED_BYTE";

/// Has a child write through a mapping of a file, and runs `meanwhile` while it is mapped.
fn with_mapped(world: &World, name: &str, byte: u8, meanwhile: impl FnOnce()) {
    let mut child = child("mapping::write_to_a_mapping")
        .env(FILE, world.path(name))
        .env(BYTE, byte.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().ends_with("mapped")), "the child did not map the file");
    meanwhile();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    said.for_each(drop);
    assert!(child.wait().unwrap().success());
}

#[test]
#[ignore = "run by the other tests of this file in a process of its own"]
fn write_to_a_mapping() {
    let (Some(file), Ok(byte)) = (std::env::var_os(FILE), std::env::var(BYTE)) else { return };
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(file).unwrap();
    file.set_len(LENGTH as u64).unwrap();
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: see the head of this file.
    unsafe {
        let place = mmap(std::ptr::null_mut(), LENGTH, protection, flags, &file, 0).unwrap();
        drop(file);
        std::slice::from_raw_parts_mut(place.cast::<u8>(), LENGTH).fill(byte.parse().unwrap());
        println!("mapped");
        io::stdin().read_line(&mut String::new()).unwrap();
        munmap(place, LENGTH).unwrap();
    }
}

fn all(content: &[u8], byte: u8) -> bool {
    content.len() == LENGTH && content.iter().all(|found| *found == byte)
}

#[test]
fn a_clone_by_path_has_what_was_written_to_a_mapping() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    for round in 1..=3 {
        let clone = format!("c{round}");
        with_mapped(&world, "d/f", round, || {
            world.clone_path("/d", &format!("/{clone}"), ClonePath::default()).unwrap();
        });
        assert!(all(&fs::read(world.path(&clone).join("f")).unwrap(), round), "round {round}");
    }
}

#[test]
fn a_clone_by_attribute_has_what_was_written_to_a_mapping() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    with_mapped(&world, "d/f", 9, || {
        rustix::fs::setxattr(world.path("d"), "user.offshoot.clone", b"/c", XattrFlags::empty()).unwrap();
    });
    assert!(all(&fs::read(world.path("c/f")).unwrap(), 9));
}

#[test]
fn a_mapping_of_a_file_with_several_names_is_brought_in() {
    let world = World::new();
    fs::create_dir(world.path("d")).unwrap();
    fs::write(world.path("f"), b"").unwrap();
    fs::hard_link(world.path("f"), world.path("d/g")).unwrap();
    with_mapped(&world, "f", 3, || world.clone_path("/d", "/c", ClonePath::default()).unwrap());
    assert!(all(&fs::read(world.path("c/g")).unwrap(), 3));
}
