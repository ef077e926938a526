//! Cloning by path.

use futures::executor::block_on;
use offshoot_engine::{Ino, Kind, XattrMode};
use offshoot_vfs::{Access, AttributeChange, Caller, ClonePath, Code, Create};

use crate::world::{START_SECS, World, code, user};

fn plain() -> ClonePath {
    ClonePath::default()
}

#[test]
fn both_sides_of_a_clone_go_their_own_way() {
    let world = World::new();
    let root = Caller::root();
    let file = world.file("a", "old").ino;
    block_on(world.vfs.clone_path(&root, b"/a", b"/b", plain())).unwrap();
    world.write(&world.open(file, Access::WRITE), 0, "new");
    assert_eq!((world.content("/a"), world.content("/b")), ("new".into(), "old".into()));
}

#[test]
fn a_destination_must_be_free_and_its_parent_there() {
    let world = World::new();
    let root = Caller::root();
    world.file("a", "A");
    world.file("b", "B");
    let clone = |to: &'static [u8], options| block_on(world.vfs.clone_path(&root, b"/a", to, options));
    let error = clone(b"/b", plain()).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (Code::Exists, "/b exists already"));
    clone(b"/b", ClonePath { replace: true, ..plain() }).unwrap();
    assert_eq!(world.content("/b"), "A");
    assert_eq!(code(clone(b"/x/y/c", plain())), Code::NoEntry);
    clone(b"/x/y/c", ClonePath { parents: true, ..plain() }).unwrap();
    assert_eq!(world.content("/x/y/c"), "A");
    assert_eq!(code(clone(b"/", plain())), Code::Invalid);
    let missing = world.vfs.clone_path(&root, b"/missing", b"/z", plain());
    assert_eq!(code(block_on(missing)), Code::NoEntry);
}

#[test]
fn nothing_changes_in_a_read_only_clone() {
    let world = World::new();
    let root = Caller::root();
    block_on(world.vfs.create_directories(&root, b"/d")).unwrap();
    let directory = block_on(world.vfs.resolve(b"/d")).unwrap();
    world.make(&root, directory.ino(), "f", Kind::File, 0o644);
    block_on(world.vfs.clone_path(&root, b"/d", b"/s", ClonePath { read_only: true, ..plain() })).unwrap();
    let snapshot = block_on(world.vfs.resolve(b"/s")).unwrap();
    let file = block_on(world.vfs.resolve(b"/s/f")).unwrap();
    assert_eq!(code(block_on(world.vfs.open(&root, file.ino(), Access::WRITE))), Code::ReadOnly);
    let create = Create::new(Kind::File, 0o644, 0);
    assert_eq!(code(block_on(world.vfs.create(&root, snapshot.ino(), b"g", create))), Code::ReadOnly);
    let chmod = AttributeChange { mode: Some(0), ..AttributeChange::default() };
    assert_eq!(code(block_on(world.vfs.set_attributes(&root, file.ino(), None, chmod))), Code::ReadOnly);
    let set = world.vfs.set_xattr(&root, file.ino(), b"user.a", b"v", XattrMode::Set);
    assert_eq!(code(block_on(set)), Code::ReadOnly);
    assert_eq!(code(block_on(world.vfs.unlink(&root, snapshot.ino(), b"f"))), Code::ReadOnly);
    world.clock.advance(100);
    assert_eq!(world.content("/s/f"), "");
    assert_eq!(world.stat(file.ino()).atime.secs, START_SECS);
    block_on(world.vfs.remove_path(&root, b"/s", true)).unwrap();
}

#[test]
fn only_the_owner_clones_and_only_to_where_it_may_write() {
    let world = World::new();
    let home = world.make(&Caller::root(), Ino::ROOT, "home", Kind::Directory, 0o777).ino;
    world.make(&user(7), home, "mine", Kind::File, 0o644);
    let clone = |uid, to: &'static [u8]| {
        block_on(world.vfs.clone_path(&user(uid), b"/home/mine", to, plain())).map(|cloned| cloned.uid)
    };
    assert_eq!(code(clone(8, b"/home/theirs")), Code::NotPermitted);
    assert_eq!(code(clone(7, b"/clone")), Code::Access);
    assert_eq!(clone(7, b"/home/clone").unwrap(), 7);
}
