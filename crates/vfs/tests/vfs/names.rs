//! Paths, links, removal and moves.

use futures::executor::block_on;
use offshoot_engine::{Ino, Kind, RenameMode};
use offshoot_vfs::{Access, Caller, Code, Create};

use crate::world::{World, code, user};

#[test]
fn a_path_leads_to_its_inode_and_says_what_is_missing() {
    let world = World::new();
    let root = Caller::root();
    block_on(world.vfs.create_directories(&root, b"/a/b/c")).unwrap();
    block_on(world.vfs.create_directories(&root, b"/a/b/c")).unwrap();
    assert_eq!(block_on(world.vfs.resolve(b"/a/b")).unwrap().attributes().kind, Kind::Directory);
    let error = block_on(world.vfs.resolve(b"/a/x/c")).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (Code::NoEntry, "/a/x does not exist"));
    world.file("f", "");
    assert_eq!(code(block_on(world.vfs.resolve(b"/f/c"))), Code::NotDirectory);
    assert_eq!(code(block_on(world.vfs.create_directories(&root, b"/f/c"))), Code::NotDirectory);
}

#[test]
fn symbolic_links_are_not_followed() {
    let world = World::new();
    let root = Caller::root();
    block_on(world.vfs.create_directories(&root, b"/a/b")).unwrap();
    block_on(world.vfs.create(&root, Ino::ROOT, b"l", Create::symlink("a"))).unwrap();
    assert_eq!(code(block_on(world.vfs.resolve(b"/l/b"))), Code::NotDirectory);
    let link = block_on(world.vfs.resolve(b"/l")).unwrap();
    assert_eq!(block_on(world.vfs.read_link(link.ino())).unwrap(), "a");
    assert_eq!(code(block_on(world.vfs.open(&root, link.ino(), Access::READ))), Code::Loop);
}

#[test]
fn a_directory_must_be_searchable_and_writable() {
    let world = World::new();
    let shut = world.make(&Caller::root(), Ino::ROOT, "shut", Kind::Directory, 0o700).ino;
    world.make(&Caller::root(), shut, "f", Kind::File, 0o666);
    assert_eq!(code(block_on(world.vfs.lookup(&user(7), shut, b"f"))), Code::Access);
    assert_eq!(code(block_on(world.vfs.resolve_for(&user(7), b"/shut/f"))), Code::Access);
    let create = Create::new(Kind::File, 0o644, 0);
    assert_eq!(code(block_on(world.vfs.create(&user(7), shut, b"g", create))), Code::Access);
    assert_eq!(code(block_on(world.vfs.unlink(&user(7), shut, b"f"))), Code::Access);
    assert_eq!(code(block_on(world.vfs.read_dir(&user(7), shut, 0, 10, false))), Code::Access);
}

#[test]
fn a_sticky_directory_protects_entries_from_removal_and_moves() {
    let world = World::new();
    let sticky = world.make(&Caller::root(), Ino::ROOT, "tmp", Kind::Directory, 0o1777).ino;
    world.make(&user(7), sticky, "f", Kind::File, 0o666);
    assert_eq!(code(block_on(world.vfs.unlink(&user(8), sticky, b"f"))), Code::NotPermitted);
    let moved = block_on(world.vfs.rename(&user(8), sticky, b"f", sticky, b"g", RenameMode::Replace));
    assert_eq!(code(moved), Code::NotPermitted);
    world.make(&user(8), sticky, "mine", Kind::File, 0o666);
    let over = block_on(world.vfs.rename(&user(8), sticky, b"mine", sticky, b"f", RenameMode::Replace));
    assert_eq!(code(over), Code::NotPermitted);
    block_on(world.vfs.unlink(&user(7), sticky, b"f")).unwrap();
}

#[test]
fn a_directory_that_changes_its_parent_must_be_writable() {
    let world = World::new();
    let home = world.make(&Caller::root(), Ino::ROOT, "home", Kind::Directory, 0o777).ino;
    let other = world.make(&Caller::root(), Ino::ROOT, "other", Kind::Directory, 0o777).ino;
    world.make(&Caller::root(), home, "d", Kind::Directory, 0o755);
    let across = block_on(world.vfs.rename(&user(7), home, b"d", other, b"d", RenameMode::Replace));
    assert_eq!(code(across), Code::Access);
    block_on(world.vfs.rename(&user(7), home, b"d", home, b"e", RenameMode::Replace)).unwrap();
}

#[test]
fn a_file_can_have_several_names_and_a_directory_cannot() {
    let world = World::new();
    let root = Caller::root();
    let file = world.file("f", "same").ino;
    let linked = block_on(world.vfs.link(&root, file, Ino::ROOT, b"g")).unwrap();
    assert_eq!((linked.ino, linked.nlink), (file, 2));
    block_on(world.vfs.unlink(&root, Ino::ROOT, b"f")).unwrap();
    assert_eq!(world.content("/g"), "same");
    let directory = world.make(&root, Ino::ROOT, "d", Kind::Directory, 0o755).ino;
    assert_eq!(code(block_on(world.vfs.link(&root, directory, Ino::ROOT, b"e"))), Code::NotPermitted);
}

#[test]
fn a_move_can_refuse_replace_or_swap() {
    let world = World::new();
    let root = Caller::root();
    world.file("a", "A");
    world.file("b", "B");
    let rename = |mode| block_on(world.vfs.rename_path(&root, b"/a", b"/b", mode));
    assert_eq!(code(rename(RenameMode::NoReplace)), Code::Exists);
    rename(RenameMode::Exchange).unwrap();
    assert_eq!((world.content("/a"), world.content("/b")), ("B".into(), "A".into()));
    rename(RenameMode::Replace).unwrap();
    assert_eq!(world.content("/b"), "B");
    assert_eq!(code(block_on(world.vfs.resolve(b"/a"))), Code::NoEntry);
}

#[test]
fn names_have_at_most_255_bytes() {
    let world = World::new();
    let create = |name: &[u8]| {
        block_on(world.vfs.create(&Caller::root(), Ino::ROOT, name, Create::new(Kind::File, 0o644, 0)))
    };
    create(&[b'x'; 255]).unwrap();
    assert_eq!(code(create(&[b'x'; 256])), Code::NameTooLong);
    assert_eq!(code(block_on(world.vfs.lookup(&Caller::root(), Ino::ROOT, &[b'x'; 256]))), Code::NameTooLong);
    assert_eq!(code(create(b"..")), Code::Invalid);
}

#[test]
fn removing_by_path_wants_recursion_said() {
    let world = World::new();
    let root = Caller::root();
    block_on(world.vfs.create_directories(&root, b"/a/b")).unwrap();
    assert_eq!(code(block_on(world.vfs.remove_path(&root, b"/a", false))), Code::NotEmpty);
    assert_eq!(code(block_on(world.vfs.remove_path(&root, b"/", true))), Code::Busy);
    block_on(world.vfs.remove_path(&root, b"/a", true)).unwrap();
    assert_eq!(code(block_on(world.vfs.resolve(b"/a"))), Code::NoEntry);
}

#[test]
fn device_nodes_are_for_root() {
    let world = World::new();
    let home = world.make(&Caller::root(), Ino::ROOT, "home", Kind::Directory, 0o777).ino;
    let device = || Create { rdev: 0x103, ..Create::new(Kind::CharDevice, 0o666, 0) };
    assert_eq!(code(block_on(world.vfs.create(&user(7), home, b"null", device()))), Code::NotPermitted);
    let made = block_on(world.vfs.create(&Caller::root(), home, b"null", device())).unwrap();
    assert_eq!((made.kind, made.rdev), (Kind::CharDevice, 0x103));
}
