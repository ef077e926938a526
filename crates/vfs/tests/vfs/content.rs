//! Content of open files.

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::{AllocateMode, Ino, Kind, SeekTarget};
use offshoot_vfs::{Access, Caller, Code, Create};

use crate::world::{World, code, user};

#[test]
fn a_handle_does_what_it_was_opened_for() {
    let world = World::new();
    let file = world.file("f", "content").ino;
    let reader = world.open(file, Access::READ);
    assert_eq!(code(block_on(world.vfs.write(&reader, 0, Bytes::from_static(b"x"), false))), Code::BadHandle);
    let writer = world.open(file, Access::WRITE);
    assert_eq!(code(block_on(world.vfs.read(&writer, 0, 1))), Code::BadHandle);
    let directory = world.make(&Caller::root(), Ino::ROOT, "d", Kind::Directory, 0o755).ino;
    assert_eq!(code(block_on(world.vfs.open(&Caller::root(), directory, Access::WRITE))), Code::IsDirectory);
    assert_eq!(code(block_on(world.vfs.open(&user(7), file, Access::WRITE))), Code::Access);
}

#[test]
fn opening_can_empty_a_file() {
    let world = World::new();
    let file = world.file("f", "content").ino;
    let handle = world.open(file, Access::READ | Access::WRITE | Access::TRUNCATE);
    assert_eq!(world.read(&handle), "");
}

#[test]
fn appending_goes_to_the_end_wherever_it_is_asked_to_go() {
    let world = World::new();
    let file = world.file("f", "one").ino;
    let handle = world.open(file, Access::READ | Access::WRITE | Access::APPEND);
    world.write(&handle, 0, "two");
    assert_eq!(block_on(world.vfs.append(&handle, Bytes::from_static(b"3"), false)).unwrap(), 6);
    assert_eq!(world.read(&handle), "onetwo3");
}

#[test]
fn a_removed_file_lives_until_its_last_handle_is_closed() {
    let world = World::new();
    let root = Caller::root();
    let file = world.file("f", "still here").ino;
    let (first, second) = (world.open(file, Access::READ), world.open(file, Access::READ | Access::WRITE));
    block_on(world.vfs.unlink(&root, Ino::ROOT, b"f")).unwrap();
    block_on(world.vfs.close(&first)).unwrap();
    world.write(&second, 10, " and grows");
    assert_eq!(world.read(&second), "still here and grows");
    assert_eq!(world.stat(file).nlink, 0);
    block_on(world.vfs.close(&second)).unwrap();
    block_on(world.vfs.close(&second)).unwrap();
}

#[test]
fn a_file_without_a_name_can_be_given_one() {
    let world = World::new();
    let root = Caller::root();
    let create = Create::new(Kind::File, 0o600, 0);
    let (made, handle) =
        block_on(world.vfs.create_unnamed(&root, Ino::ROOT, create, Access::READ | Access::WRITE)).unwrap();
    world.write(&handle, 0, "named later");
    block_on(world.vfs.link(&root, made.ino, Ino::ROOT, b"f")).unwrap();
    block_on(world.vfs.close(&handle)).unwrap();
    assert_eq!(world.content("/f"), "named later");
}

#[test]
fn a_hole_is_found_and_can_be_punched() {
    let world = World::new();
    let file = world.file("f", "").ino;
    let handle = world.open(file, Access::READ | Access::WRITE);
    let block = Bytes::from(vec![7; 128 << 10]);
    block_on(world.vfs.write(&handle, 1 << 20, block, false)).unwrap();
    let seek = |offset, target| block_on(world.vfs.seek(&handle, offset, target));
    assert_eq!(seek(0, SeekTarget::Data).unwrap(), 1 << 20);
    assert_eq!(seek(0, SeekTarget::Hole).unwrap(), 0);
    let end = (1 << 20) + (128 << 10);
    assert_eq!(seek(1 << 20, SeekTarget::Hole).unwrap(), end);
    assert_eq!(code(seek(end, SeekTarget::Data)), Code::NoData);
    block_on(world.vfs.allocate(&handle, 1 << 20, 128 << 10, AllocateMode::PunchHole, false)).unwrap();
    assert_eq!(code(seek(0, SeekTarget::Data)), Code::NoData);
    assert_eq!(world.stat(file).size, end);
    let nothing = world.vfs.allocate(&handle, 0, 0, AllocateMode::PunchHole, false);
    assert_eq!(code(block_on(nothing)), Code::Invalid);
}

#[test]
fn a_range_is_copied_up_to_the_end_of_its_source() {
    let world = World::new();
    let source = world.open(world.file("a", "0123456789").ino, Access::READ);
    let target = world.open(world.file("b", "").ino, Access::READ | Access::WRITE);
    let copy = |length| block_on(world.vfs.copy_range(&source, 4, &target, 2, length, false));
    assert_eq!(copy(100).unwrap(), 6);
    assert_eq!(world.read(&target), "\x00\x00456789");
    let appending = world.open(target.ino(), Access::WRITE | Access::APPEND);
    let refused = world.vfs.copy_range(&source, 0, &appending, 0, 4, false);
    assert_eq!(code(block_on(refused)), Code::BadHandle);
}

#[test]
fn offsets_end_where_signed_numbers_do() {
    let world = World::new();
    let handle = world.open(world.file("f", "").ino, Access::WRITE);
    let write = |offset| block_on(world.vfs.write(&handle, offset, Bytes::from_static(b"xy"), false));
    assert_eq!(code(write(i64::MAX as u64 - 1)), Code::TooLarge);
    assert_eq!(code(write(u64::MAX)), Code::TooLarge);
}
