//! Changes that come between what an operation has read and what it writes. The clock makes them: it is asked at that moment.

use futures::executor::block_on;
use offshoot_engine::{AllocateMode, Attributes, Ino, Kind, SetAttributes, XattrMode};
use offshoot_vfs::{Access, AttributeChange, Caller};

use crate::world::{World, user};

const ACCESS_LIST: &[u8] = b"system.posix_acl_access";

fn chmod(mode: u32) -> AttributeChange {
    AttributeChange { mode: Some(mode), ..AttributeChange::default() }
}

fn chown(uid: u32) -> AttributeChange {
    AttributeChange { uid: Some(uid), ..AttributeChange::default() }
}

/// A list of owner, one more user, group, mask and others.
fn list(user: u16, mask: u16) -> Vec<u8> {
    let entry = |tag: u16, bits: u16, id: u32| {
        [&tag.to_le_bytes()[..], &bits.to_le_bytes()[..], &id.to_le_bytes()[..]].concat()
    };
    let none = u32::MAX;
    [
        2_u32.to_le_bytes().to_vec(),
        entry(0x01, 6, none),
        entry(0x02, user, 1000),
        entry(0x04, 4, none),
        entry(0x10, mask, none),
        entry(0x20, 0, none),
    ]
    .concat()
}

/// Lets root change `ino` as soon as the pool is about to change anything.
fn meanwhile(world: &World, ino: Ino, change: AttributeChange) {
    let vfs = world.vfs.clone();
    world.clock.at_next_look(move || {
        block_on(vfs.set_attributes(&Caller::root(), ino, None, change)).unwrap();
    });
}

fn set(world: &World, ino: Ino, change: AttributeChange) -> Attributes {
    block_on(world.vfs.set_attributes(&Caller::root(), ino, None, change)).unwrap()
}

#[test]
fn a_chown_keeps_the_mode_of_a_chmod() {
    let world = World::new();
    let file = world.make(&Caller::root(), Ino::ROOT, "f", Kind::File, 0o6755).ino;
    meanwhile(&world, file, chmod(0o4640));
    let after = set(&world, file, chown(7));
    assert_eq!((after.uid, after.mode), (7, 0o640));
}

#[test]
fn a_chown_ends_set_id_bits_that_have_just_come() {
    let world = World::new();
    let file = world.make(&Caller::root(), Ino::ROOT, "f", Kind::File, 0o755).ino;
    meanwhile(&world, file, chmod(0o4755));
    assert_eq!(set(&world, file, chown(7)).mode, 0o755);
}

#[test]
fn an_owner_of_before_changes_nothing_any_more() {
    let world = World::new();
    let home = world.make(&Caller::root(), Ino::ROOT, "home", Kind::Directory, 0o777).ino;
    let file = world.make(&user(7), home, "f", Kind::File, 0o600).ino;
    meanwhile(&world, file, chown(8));
    block_on(world.vfs.set_attributes(&user(7), file, None, chmod(0o666))).unwrap_err();
    assert_eq!((world.stat(file).uid, world.stat(file).mode), (8, 0o600));
}

#[test]
fn a_chmod_keeps_a_list_that_has_just_come() {
    let world = World::new();
    let root = Caller::root();
    let file = world.make(&root, Ino::ROOT, "f", Kind::File, 0o660).ino;
    block_on(world.vfs.set_xattr(&root, file, ACCESS_LIST, &list(6, 6), XattrMode::Set)).unwrap();
    // User 1000 loses all access in between.
    let vfs = world.vfs.clone();
    world.clock.at_next_look(move || {
        block_on(vfs.set_xattr(&Caller::root(), file, ACCESS_LIST, &list(0, 6), XattrMode::Set)).unwrap();
    });
    set(&world, file, chmod(0o640));
    let now = block_on(world.vfs.xattr(&root, file, ACCESS_LIST)).unwrap();
    assert_eq!(now, list(0, 4));
}

#[test]
fn a_list_keeps_the_set_id_bits_of_a_chmod() {
    for list in [list(6, 6), list_of_bits()] {
        let world = World::new();
        let root = Caller::root();
        let file = world.make(&root, Ino::ROOT, "f", Kind::File, 0o755).ino;
        meanwhile(&world, file, chmod(0o4755));
        block_on(world.vfs.set_xattr(&root, file, ACCESS_LIST, &list, XattrMode::Set)).unwrap();
        assert_eq!(world.stat(file).mode & 0o7000, 0o4000);
    }
}

/// A list that bits alone say.
fn list_of_bits() -> Vec<u8> {
    let entry = |tag: u16, bits: u16| {
        [&tag.to_le_bytes()[..], &bits.to_le_bytes()[..], &u32::MAX.to_le_bytes()[..]].concat()
    };
    [2_u32.to_le_bytes().to_vec(), entry(0x01, 6), entry(0x04, 4), entry(0x20, 0)].concat()
}

#[test]
fn allocating_keeps_the_mode_of_a_chmod() {
    let world = World::new();
    let file = world.make(&Caller::root(), Ino::ROOT, "f", Kind::File, 0o6755).ino;
    let handle = world.open(file, Access::WRITE);
    // Between the allocation and the end of the set-id bits: once the first has been made.
    let (vfs, clock) = (world.vfs.clone(), world.clock.clone());
    let change = move || {
        block_on(vfs.set_attributes(&Caller::root(), file, None, chmod(0o4640))).unwrap();
    };
    world.clock.at_next_look(move || clock.at_next_look(change));
    let mode = AllocateMode::Allocate { keep_size: false };
    block_on(world.vfs.allocate(&handle, 0, 4096, mode, true)).unwrap();
    assert_eq!(world.stat(file).mode, 0o640);
}

#[test]
fn an_access_time_keeps_the_change_time_of_a_chmod() {
    let world = World::new();
    let file = world.file("f", "content").ino;
    let handle = world.open(file, Access::READ);
    world.clock.advance(10);
    let (vfs, clock) = (world.vfs.clone(), world.clock.clone());
    world.clock.at_next_look(move || {
        clock.advance(5);
        block_on(
            vfs.pool().set_attributes(file, SetAttributes { mode: Some(0o600), ..SetAttributes::default() }),
        )
        .unwrap();
    });
    world.read(&handle);
    let after = world.stat(file);
    let changed = crate::world::START_SECS + 15;
    assert_eq!((after.mode, after.ctime.secs, after.atime.secs), (0o600, changed, changed));
}
