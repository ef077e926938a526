//! Access control lists: what they grant, and how they and the mode follow each other.

use futures::executor::block_on;
use offshoot_engine::{Ino, Kind, XattrMode};
use offshoot_vfs::acl::{ACCESS, Acl, DEFAULT};
use offshoot_vfs::permission::{READ, WRITE};
use offshoot_vfs::{AttributeChange, Caller, Code, Create};

use crate::world::{World, code, user};

const NOBODY: u32 = u32::MAX;

fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut value = 2u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&bits.to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

/// owner rw-, user 7 rw-, group r--, mask rw-, other ---
fn for_user_7() -> Vec<u8> {
    list(&[(1, 6, NOBODY), (2, 6, 7), (4, 4, NOBODY), (16, 6, NOBODY), (32, 0, NOBODY)])
}

#[test]
fn a_list_grants_what_the_bits_do_not() {
    let world = World::new();
    let root = Caller::root();
    let file = world.make(&root, Ino::ROOT, "f", Kind::File, 0o600).ino;
    let allowed = |uid| block_on(world.vfs.check_access(&user(uid), file, READ | WRITE));
    assert_eq!(code(allowed(7)), Code::Access);
    block_on(world.vfs.set_xattr(&root, file, ACCESS, &for_user_7(), XattrMode::Set)).unwrap();
    allowed(7).unwrap();
    assert_eq!(code(allowed(8)), Code::Access);
    assert_eq!(world.stat(file).mode, 0o660, "the group's bits show the mask");
}

#[test]
fn chmod_changes_the_mask_of_the_list() {
    let world = World::new();
    let root = Caller::root();
    let file = world.make(&root, Ino::ROOT, "f", Kind::File, 0o600).ino;
    block_on(world.vfs.set_xattr(&root, file, ACCESS, &for_user_7(), XattrMode::Set)).unwrap();
    let change = AttributeChange { mode: Some(0o640), ..AttributeChange::default() };
    let after = block_on(world.vfs.set_attributes(&root, file, None, change)).unwrap();
    assert_eq!(after.mode, 0o640);
    block_on(world.vfs.check_access(&user(7), file, READ)).unwrap();
    assert_eq!(code(block_on(world.vfs.check_access(&user(7), file, WRITE))), Code::Access);
    let stored = block_on(world.vfs.xattr(&root, file, ACCESS)).unwrap();
    assert_eq!(Acl::decode(&stored).unwrap().unwrap().mode(), 0o640);
}

#[test]
fn a_list_that_bits_can_say_is_not_kept() {
    let world = World::new();
    let root = Caller::root();
    let file = world.make(&root, Ino::ROOT, "f", Kind::File, 0o4600).ino;
    block_on(world.vfs.set_xattr(&root, file, ACCESS, &for_user_7(), XattrMode::Set)).unwrap();
    let plain = Acl::from_mode(0o751).encode();
    block_on(world.vfs.set_xattr(&root, file, ACCESS, &plain, XattrMode::Set)).unwrap();
    assert_eq!(world.stat(file).mode, 0o4751);
    assert_eq!(code(block_on(world.vfs.xattr(&root, file, ACCESS))), Code::NoAttribute);
}

#[test]
fn a_default_list_is_inherited_and_puts_the_mask_aside() {
    let world = World::new();
    let root = Caller::root();
    let directory = world.make(&root, Ino::ROOT, "d", Kind::Directory, 0o755).ino;
    block_on(world.vfs.set_xattr(&root, directory, DEFAULT, &for_user_7(), XattrMode::Set)).unwrap();
    let create = |name: &'static [u8], kind, mode| {
        block_on(world.vfs.create(&root, directory, name, Create::new(kind, mode, 0o077))).unwrap()
    };
    let file = create(b"f", Kind::File, 0o666);
    assert_eq!(file.mode, 0o660);
    block_on(world.vfs.check_access(&user(7), file.ino, READ | WRITE)).unwrap();
    assert_eq!(code(block_on(world.vfs.xattr(&root, file.ino, DEFAULT))), Code::NoAttribute);
    let below = create(b"d", Kind::Directory, 0o777);
    assert_eq!(block_on(world.vfs.xattr(&root, below.ino, DEFAULT)).unwrap(), for_user_7());
    let link = block_on(world.vfs.create(&root, directory, b"l", Create::symlink("f"))).unwrap();
    assert!(!link.has_xattrs);
}

#[test]
fn lists_are_set_by_the_owner_only() {
    let world = World::new();
    let file = world.file("f", "").ino;
    let set = block_on(world.vfs.set_xattr(&user(8), file, ACCESS, &for_user_7(), XattrMode::Set));
    assert_eq!(code(set), Code::NotPermitted);
    let on_file =
        block_on(world.vfs.set_xattr(&Caller::root(), file, DEFAULT, &for_user_7(), XattrMode::Set));
    assert_eq!(code(on_file), Code::Access);
}
