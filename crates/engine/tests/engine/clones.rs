//! Clones of everything, everywhere, and many of them.

use std::collections::HashSet;

use futures::executor::block_on;
use offshoot_engine::{CloneOptions, ErrorKind, Ino, Kind, Pool, RenameMode};

use crate::world::{World, at, clone, create, file, kind, list, read, write};

fn check(pool: &Pool) {
    block_on(pool.checkpoint()).unwrap();
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

/// Numbers of everything below a directory.
fn numbers(pool: &Pool, directory: Ino, into: &mut Vec<Ino>) {
    into.push(directory);
    for item in list(pool, directory) {
        if item.attributes.kind == Kind::Directory {
            block_on(pool.lookup(directory, &item.name)).unwrap();
            numbers(pool, item.attributes.ino, into);
            pool.forget(item.attributes.ino, 1);
        } else {
            into.push(item.attributes.ino);
        }
    }
}

fn assert_unique(pool: &Pool) {
    let mut all = Vec::new();
    numbers(pool, Ino::ROOT, &mut all);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "every number is there once");
}

#[test]
fn an_empty_directory_is_cloned_to_an_empty_directory() {
    let world = World::new();
    let pool = world.open();
    let empty = create(&pool, Ino::ROOT, "empty", Kind::Directory);
    let copy = clone(&pool, empty, Ino::ROOT, "copy");
    assert!(copy.clone_root && copy.size == 0 && copy.nlink == 2 && copy.ino != empty);
    file(&pool, "copy/f", b"x");
    assert_eq!((list(&pool, empty).len(), list(&pool, copy.ino).len()), (0, 1));
    assert_eq!(kind(block_on(pool.rmdir(Ino::ROOT, b"copy"))), Some(ErrorKind::NotEmpty));
    block_on(pool.unlink(copy.ino, b"f")).unwrap();
    block_on(pool.rmdir(Ino::ROOT, b"copy")).unwrap();
    check(&pool);
}

#[test]
fn the_root_can_be_cloned_into_itself_again_and_again() {
    let world = World::new();
    let pool = world.open();
    file(&pool, "f", b"one");
    for n in 0..10 {
        let copy = clone(&pool, Ino::ROOT, Ino::ROOT, &format!("c{n}"));
        assert_eq!(copy.size, n + 1, "the clone does not contain itself");
        write(&pool, at(&pool, "f"), 0, format!("{n}").as_bytes());
    }
    // 2^10 files: each clone holds all clones before it.
    assert_eq!(block_on(pool.status()).files, 1024);
    assert_eq!(read(&pool, at(&pool, "c9/c8/c7/f")), b"6ne");
    assert_eq!(read(&pool, at(&pool, "c5/c0/f")), b"one");
    assert_unique(&pool);
    check(&pool);
    drop(pool);
    assert_unique(&world.open());
}

#[test]
fn a_directory_is_cloned_into_itself_as_it_was_before() {
    let world = World::new();
    let pool = world.open();
    let a = create(&pool, Ino::ROOT, "a", Kind::Directory);
    file(&pool, "a/f", b"before");
    clone(&pool, a, a, "b");
    write(&pool, at(&pool, "a/f"), 0, b"after ");
    assert_eq!(read(&pool, at(&pool, "a/b/f")), b"before");
    assert_eq!(list(&pool, at(&pool, "a/b")).len(), 1);
    let replace = CloneOptions { replace: true, ..CloneOptions::default() };
    block_on(pool.clone_inode(a, a, b"b", replace.clone())).unwrap();
    assert_eq!(read(&pool, at(&pool, "a/b/f")), b"after ");
    assert_eq!(read(&pool, at(&pool, "a/b/b/f")), b"before");
    let inner = at(&pool, "a/b/b");
    assert_eq!(kind(block_on(pool.clone_inode(inner, a, b"b", replace.clone()))), Some(ErrorKind::Invalid));
    assert_eq!(kind(block_on(pool.clone_inode(a, Ino::ROOT, b"a", replace))), Some(ErrorKind::Invalid));
    assert_unique(&pool);
    check(&pool);
}

#[test]
fn a_chain_of_a_thousand_clones_is_as_good_as_the_first() {
    let world = World::new();
    let pool = world.open();
    create(&pool, Ino::ROOT, "c0", Kind::Directory);
    create(&pool, at(&pool, "c0"), "d", Kind::Directory);
    for n in 0..20 {
        file(&pool, &format!("c0/d/f{n}"), format!("file {n}").repeat(100).as_bytes());
    }
    block_on(pool.checkpoint()).unwrap();
    let before = block_on(pool.status()).live_bytes;
    for n in 0..1000 {
        clone(&pool, at(&pool, &format!("c{n}")), Ino::ROOT, &format!("c{}", n + 1));
    }
    for _ in 0..3 {
        block_on(pool.gc()).unwrap();
    }
    let each = (block_on(pool.status()).live_bytes - before) / 1000;
    assert!(each < 300, "{each} bytes for each clone");
    assert_eq!(read(&pool, at(&pool, "c1000/d/f7")), "file 7".repeat(100).as_bytes());
    write(&pool, at(&pool, "c1000/d/f7"), 0, b"F");
    write(&pool, at(&pool, "c500/d/f7"), 0, b"G");
    assert_eq!(read(&pool, at(&pool, "c999/d/f7"))[0], b'f');
    // A chain in depth: each clone lies in the one before.
    let pool = {
        block_on(pool.close()).unwrap();
        world.open()
    };
    assert_eq!(read(&pool, at(&pool, "c500/d/f7"))[0], b'G');
    assert_eq!(block_on(pool.status()).directories, 1 + 2 * 1001);
    assert_unique(&pool);
    check(&pool);
}

#[test]
fn ten_thousand_clones_with_a_write_in_some_share_all_else() {
    let world = World::new();
    let pool = world.open();
    let original = create(&pool, Ino::ROOT, "original", Kind::Directory);
    for n in 0..200 {
        file(&pool, &format!("original/f{n}"), &vec![n as u8; 3000]);
    }
    block_on(pool.checkpoint()).unwrap();
    let before = block_on(pool.status()).live_bytes;
    let clones = create(&pool, Ino::ROOT, "clones", Kind::Directory);
    for n in 0..10_000 {
        let copy = clone(&pool, original, clones, &format!("{n}")).ino;
        if n % 100 == 0 {
            let victim = block_on(pool.lookup(copy, b"f100")).unwrap().ino;
            write(&pool, victim, 1000, format!("clone {n}").as_bytes());
        }
        pool.forget(copy, 1);
    }
    for _ in 0..3 {
        block_on(pool.gc()).unwrap();
    }
    let status = block_on(pool.status());
    let grown = status.live_bytes - before;
    assert!(grown < 10_000 * 300 + 100 * 16_384, "{grown} bytes: {status:?}");
    assert_eq!((status.files, status.directories), (200 * 10_001, 10_003));
    check(&pool);
    drop(pool);
    let pool = world.open();
    for n in [0, 1, 4999, 5000, 9900, 9999] {
        let bytes = read(&pool, at(&pool, &format!("clones/{n}/f100")));
        let expected = format!("clone {n}");
        assert_eq!(bytes[1000..].starts_with(expected.as_bytes()), n % 100 == 0);
        assert_eq!((bytes[0], bytes.len()), (100, 3000));
    }
    block_on(pool.remove_tree(Ino::ROOT, b"clones")).unwrap();
    for _ in 0..4 {
        block_on(pool.gc()).unwrap();
    }
    let left = block_on(pool.status()).live_bytes;
    assert!(left <= before + 4096, "{left} bytes are left of {before}");
    check(&pool);
}

/// A file keeps its number when it moves into a clone, where its twin may have the same number within the realm. The table
/// of files with several names told the two apart by that number only.
#[test]
fn twins_that_meet_in_a_clone_and_get_more_names_stay_two_files() {
    let world = World::new();
    let pool = world.open();
    let a = create(&pool, Ino::ROOT, "a", Kind::Directory);
    file(&pool, "a/f", b"original");
    let b = clone(&pool, a, Ino::ROOT, "b").ino;
    write(&pool, at(&pool, "b/f"), 0, b"the copy");
    block_on(pool.rename(a, b"f", b, b"g", RenameMode::Replace)).unwrap();
    block_on(pool.link(at(&pool, "b/f"), b, b"f2")).unwrap();
    block_on(pool.link(at(&pool, "b/g"), b, b"g2")).unwrap();
    for (path, content) in [("f", "the copy"), ("f2", "the copy"), ("g", "original"), ("g2", "original")] {
        let ino = at(&pool, &format!("b/{path}"));
        assert_eq!(String::from_utf8(read(&pool, ino)).unwrap(), content, "{path}");
        assert_eq!(block_on(pool.attributes(ino)).unwrap().nlink, 2);
    }
    assert_ne!(at(&pool, "b/f"), at(&pool, "b/g"));
    check(&pool);
}

#[test]
fn a_read_only_clone_refuses_every_change_and_goes_as_a_whole() {
    let world = World::new();
    let pool = world.open();
    let a = create(&pool, Ino::ROOT, "a", Kind::Directory);
    create(&pool, a, "d", Kind::Directory);
    file(&pool, "a/d/f", b"x");
    let options = CloneOptions { read_only: true, ..CloneOptions::default() };
    let snapshot = block_on(pool.clone_inode(a, Ino::ROOT, b"s", options)).unwrap();
    let (d, f) = (at(&pool, "s/d"), at(&pool, "s/d/f"));
    let refused = Some(ErrorKind::ReadOnly);
    assert!(snapshot.read_only && block_on(pool.attributes(f)).unwrap().read_only);
    assert_eq!(kind(block_on(pool.write(f, 0, "y".into(), false))), refused);
    assert_eq!(kind(block_on(pool.append(f, "y".into(), false))), refused);
    assert_eq!(kind(block_on(pool.set_attributes(f, Default::default()))), refused);
    assert_eq!(kind(block_on(pool.unlink(d, b"f"))), refused);
    assert_eq!(kind(block_on(pool.remove_tree(snapshot.ino, b"d"))), refused);
    assert_eq!(kind(block_on(pool.create(d, b"g", crate::world::new(Kind::File)))), refused);
    assert_eq!(kind(block_on(pool.rename(d, b"f", Ino::ROOT, b"f", RenameMode::Replace))), refused);
    assert_eq!(kind(block_on(pool.clone_inode(a, d, b"c", CloneOptions::default()))), refused);
    let writable = clone(&pool, snapshot.ino, Ino::ROOT, "w");
    write(&pool, at(&pool, "w/d/f"), 0, b"y");
    assert!(!writable.read_only);
    block_on(pool.rmdir(Ino::ROOT, b"s")).unwrap();
    assert_eq!(read(&pool, at(&pool, "w/d/f")), b"y");
    check(&pool);
}
