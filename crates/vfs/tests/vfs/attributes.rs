//! Owners, modes, times and sizes.

use futures::executor::block_on;
use offshoot_engine::{Ino, Kind, SetTime, Timestamp};
use offshoot_vfs::{Access, AccessTime, AttributeChange, Caller, Code, Create};

use crate::world::{START_SECS, World, code, user};

const DAY_SECS: i64 = 86_400;

fn chmod(mode: u32) -> AttributeChange {
    AttributeChange { mode: Some(mode), ..AttributeChange::default() }
}

#[test]
fn the_mask_is_applied_where_no_list_is_inherited() {
    let world = World::new();
    let create = Create::new(Kind::File, 0o6777, 0o027);
    let made = block_on(world.vfs.create(&Caller::root(), Ino::ROOT, b"f", create)).unwrap();
    assert_eq!(made.mode, 0o6750);
}

#[test]
fn a_new_inode_belongs_to_who_made_it_or_to_the_group_of_the_directory() {
    let world = World::new();
    let root = Caller::root();
    let shared = world.make(&root, Ino::ROOT, "shared", Kind::Directory, 0o2777);
    block_on(world.vfs.set_attributes(
        &root,
        shared.ino,
        None,
        AttributeChange { gid: Some(50), ..chmod(0o2777) },
    ))
    .unwrap();
    let below = world.make(&user(7), shared.ino, "below", Kind::Directory, 0o755);
    assert_eq!((below.uid, below.gid, below.mode), (7, 50, 0o2755));
    let file = world.make(&user(7), below.ino, "file", Kind::File, 0o644);
    assert_eq!((file.uid, file.gid, file.mode), (7, 50, 0o644));
}

#[test]
fn chmod_and_chown_are_for_the_owner_and_for_root() {
    let world = World::new();
    let home = world.make(&Caller::root(), Ino::ROOT, "home", Kind::Directory, 0o777);
    let file = world.make(&user(7), home.ino, "f", Kind::File, 0o644).ino;
    let set = |caller: &Caller, change| block_on(world.vfs.set_attributes(caller, file, None, change));
    assert_eq!(code(set(&user(8), chmod(0o777))), Code::NotPermitted);
    assert_eq!(set(&user(7), chmod(0o600)).unwrap().mode, 0o600);
    let give_away = AttributeChange { uid: Some(8), ..AttributeChange::default() };
    assert_eq!(code(set(&user(7), give_away)), Code::NotPermitted);
    assert_eq!(set(&Caller::root(), give_away).unwrap().uid, 8);
}

#[test]
fn changing_the_owner_ends_set_id_bits() {
    let world = World::new();
    let root = Caller::root();
    let file = world.make(&root, Ino::ROOT, "f", Kind::File, 0o6755).ino;
    let change = AttributeChange { gid: Some(9), ..AttributeChange::default() };
    let after = block_on(world.vfs.set_attributes(&root, file, None, change)).unwrap();
    assert_eq!((after.mode, after.gid), (0o755, 9));
}

#[test]
fn a_write_ends_set_id_bits_unless_root_makes_it() {
    let world = World::new();
    let file = world.make(&Caller::root(), Ino::ROOT, "f", Kind::File, 0o6755).ino;
    let handle = world.open(file, Access::WRITE);
    let data = || bytes::Bytes::from_static(b"x");
    block_on(world.vfs.write(&handle, 0, data(), false)).unwrap();
    assert_eq!(world.stat(file).mode, 0o6755);
    block_on(world.vfs.write(&handle, 0, data(), true)).unwrap();
    assert_eq!(world.stat(file).mode, 0o755);
}

#[test]
fn set_group_id_without_group_execute_survives_a_write() {
    let world = World::new();
    let file = world.make(&Caller::root(), Ino::ROOT, "f", Kind::File, 0o2644).ino;
    let handle = world.open(file, Access::WRITE);
    block_on(world.vfs.write(&handle, 0, bytes::Bytes::from_static(b"x"), true)).unwrap();
    assert_eq!(world.stat(file).mode, 0o2644);
}

#[test]
fn times_may_be_set_by_the_owner_and_touched_by_a_writer() {
    let world = World::new();
    let home = world.make(&Caller::root(), Ino::ROOT, "home", Kind::Directory, 0o777);
    let file = world.make(&user(7), home.ino, "f", Kind::File, 0o666).ino;
    let early = Timestamp { secs: -5, nanos: 7 };
    let set = AttributeChange {
        atime: Some(SetTime::At(early)),
        mtime: Some(SetTime::At(early)),
        ..AttributeChange::default()
    };
    assert_eq!(code(block_on(world.vfs.set_attributes(&user(8), file, None, set))), Code::NotPermitted);
    let after = block_on(world.vfs.set_attributes(&user(7), file, None, set)).unwrap();
    assert_eq!((after.atime, after.mtime), (early, early));
    let now = AttributeChange { atime: Some(SetTime::Now), mtime: Some(SetTime::Now), ..set };
    let after = block_on(world.vfs.set_attributes(&user(8), file, None, now)).unwrap();
    assert_eq!(after.mtime.secs, START_SECS);
}

#[test]
fn a_size_can_be_set_through_a_handle_that_was_opened_when_the_mode_allowed() {
    let world = World::new();
    let home = world.make(&Caller::root(), Ino::ROOT, "home", Kind::Directory, 0o777);
    let file = world.make(&user(7), home.ino, "f", Kind::File, 0o600).ino;
    let handle = block_on(world.vfs.open(&user(7), file, Access::WRITE)).unwrap();
    block_on(world.vfs.set_attributes(&user(7), file, None, chmod(0))).unwrap();
    let size = AttributeChange { size: Some(10), ..AttributeChange::default() };
    assert_eq!(code(block_on(world.vfs.set_attributes(&user(7), file, None, size))), Code::Access);
    let after = block_on(world.vfs.set_attributes(&user(7), file, Some(&handle), size)).unwrap();
    assert_eq!(after.size, 10);
}

#[test]
fn reading_moves_the_access_time_once_a_day() {
    let world = World::new();
    let file = world.file("f", "content").ino;
    let read = || drop(world.read(&world.open(file, Access::READ)));
    world.clock.advance(10);
    read();
    let first = world.stat(file);
    assert_eq!(first.atime.secs, START_SECS + 10);
    assert_eq!(first.ctime.secs, START_SECS, "an access time is no change");
    world.clock.advance(10);
    read();
    assert_eq!(world.stat(file).atime, first.atime);
    world.clock.advance(DAY_SECS);
    read();
    assert_eq!(world.stat(file).atime.secs, START_SECS + 20 + DAY_SECS);
}

#[test]
fn access_times_can_be_left_alone() {
    let world = World::new();
    let file = world.file("f", "content").ino;
    world.clock.advance(10);
    let quiet = world.vfs.with_access_time(AccessTime::None);
    let handle = block_on(quiet.open(&Caller::root(), file, Access::READ)).unwrap();
    block_on(quiet.read(&handle, 0, 10)).unwrap();
    world.read(&world.open(file, Access::READ | Access::KEEP_ACCESS_TIME));
    assert_eq!(world.stat(file).atime.secs, START_SECS);
}
