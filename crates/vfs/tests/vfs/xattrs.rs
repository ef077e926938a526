//! Extended attributes and their namespaces.

use futures::executor::block_on;
use offshoot_engine::{Ino, Kind, XattrMode};
use offshoot_vfs::{Access, CLONE_ATTRIBUTE, Caller, Code, Create, INFO_ATTRIBUTE};

use crate::world::{World, code, user};

#[test]
fn an_attribute_is_set_read_listed_and_removed() {
    let world = World::new();
    let root = Caller::root();
    let file = world.file("f", "").ino;
    let set = |value: &'static [u8], how| block_on(world.vfs.set_xattr(&root, file, b"user.a", value, how));
    assert_eq!(code(set(b"1", XattrMode::Replace)), Code::NoAttribute);
    set(b"1", XattrMode::Create).unwrap();
    assert_eq!(code(set(b"2", XattrMode::Create)), Code::Exists);
    set(b"2", XattrMode::Replace).unwrap();
    assert_eq!(block_on(world.vfs.xattr(&root, file, b"user.a")).unwrap(), &b"2"[..]);
    assert_eq!(block_on(world.vfs.xattrs(&root, file)).unwrap(), [b"user.a"]);
    block_on(world.vfs.remove_xattr(&root, file, b"user.a")).unwrap();
    assert_eq!(code(block_on(world.vfs.xattr(&root, file, b"user.a"))), Code::NoAttribute);
}

#[test]
fn a_value_has_at_most_64_kib() {
    let world = World::new();
    let file = world.file("f", "").ino;
    let set = |bytes| {
        let value = vec![1; bytes];
        block_on(world.vfs.set_xattr(&Caller::root(), file, b"user.a", &value, XattrMode::Set))
    };
    set(64 << 10).unwrap();
    assert_eq!(code(set((64 << 10) + 1)), Code::AttributeTooLarge);
}

#[test]
fn each_namespace_has_its_own_rule() {
    let world = World::new();
    let root = Caller::root();
    let file = world.file("f", "").ino;
    let set = |caller: &Caller, ino, name: &'static [u8]| {
        block_on(world.vfs.set_xattr(caller, ino, name, b"v", XattrMode::Set))
    };
    assert_eq!(code(set(&user(7), file, b"user.a")), Code::Access);
    assert_eq!(code(set(&user(7), file, b"trusted.a")), Code::NotPermitted);
    set(&root, file, b"trusted.a").unwrap();
    assert_eq!(code(block_on(world.vfs.xattr(&user(7), file, b"trusted.a"))), Code::NoAttribute);
    assert!(block_on(world.vfs.xattrs(&user(7), file)).unwrap().is_empty());
    let link = block_on(world.vfs.create(&root, Ino::ROOT, b"l", Create::symlink("f"))).unwrap().ino;
    assert_eq!(code(set(&root, link, b"user.a")), Code::NotPermitted);
    assert_eq!(code(set(&root, file, b"system.other")), Code::NotSupported);
    assert_eq!(code(set(&root, file, b"user.offshoot.other")), Code::NotPermitted);
}

#[test]
fn a_write_ends_file_capabilities() {
    let world = World::new();
    let root = Caller::root();
    let file = world.file("f", "").ino;
    let name = b"security.capability";
    block_on(world.vfs.set_xattr(&root, file, name, b"v", XattrMode::Set)).unwrap();
    let handle = world.open(file, Access::WRITE);
    world.write(&handle, 0, "x");
    assert_eq!(code(block_on(world.vfs.xattr(&root, file, name))), Code::NoAttribute);
}

#[test]
fn setting_the_virtual_attribute_clones() {
    let world = World::new();
    let root = Caller::root();
    let directory = world.make(&root, Ino::ROOT, "d", Kind::Directory, 0o755).ino;
    world.make(&root, directory, "below", Kind::File, 0o644);
    let clone = |value: &'static [u8]| {
        block_on(world.vfs.set_xattr(&root, directory, CLONE_ATTRIBUTE, value, XattrMode::Set))
    };
    clone(b"/e").unwrap();
    block_on(world.vfs.resolve(b"/e/below")).unwrap();
    assert_eq!(code(clone(b"/e")), Code::Exists);
    assert_eq!(code(clone(b"relative")), Code::Invalid);
    assert_eq!(code(block_on(world.vfs.xattr(&root, directory, CLONE_ATTRIBUTE))), Code::NoAttribute);
    assert!(block_on(world.vfs.xattrs(&root, directory)).unwrap().is_empty());
}

#[test]
fn the_info_of_a_clone_names_its_origin() {
    let world = World::new();
    let root = Caller::root();
    let directory = world.make(&root, Ino::ROOT, "d", Kind::Directory, 0o755).ino;
    block_on(world.vfs.set_xattr(&root, directory, CLONE_ATTRIBUTE, b"/e", XattrMode::Set)).unwrap();
    let clone = block_on(world.vfs.resolve(b"/e")).unwrap();
    let document = block_on(world.vfs.xattr(&root, clone.ino(), INFO_ATTRIBUTE)).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["path"], "/e");
    assert_eq!(document["origin"]["path"], "/d");
    assert_eq!(document["clone_root"], true);
}
