//! Small stories.

use futures::executor::block_on;
use offshoot_engine::{CloneOptions, ErrorKind, Ino, Kind, RenameMode};

use crate::world::{World, at, create, kind, list, read, write};

#[test]
fn a_clone_is_isolated_from_its_original_and_survives_reopen() {
    let world = World::new();
    let pool = world.open();
    let directory = create(&pool, Ino::ROOT, "a", Kind::Directory);
    for n in 0..500 {
        let file = create(&pool, directory, &format!("f{n}"), Kind::File);
        write(&pool, file, 0, format!("content {n} {}", "x".repeat(n * 7)).as_bytes());
    }
    let clone = block_on(pool.clone_inode(directory, Ino::ROOT, b"b", CloneOptions::default())).unwrap();
    assert_ne!(clone.ino, directory);
    write(&pool, at(&pool, "b/f7"), 0, b"CHANGED");
    write(&pool, at(&pool, "a/f8"), 0, b"changed");
    for round in 0..3 {
        let pool = if round == 0 { pool.clone() } else { world.open() };
        assert!(read(&pool, at(&pool, "a/f7")).starts_with(b"content 7"));
        assert!(read(&pool, at(&pool, "b/f7")).starts_with(b"CHANGED"));
        assert!(read(&pool, at(&pool, "a/f8")).starts_with(b"changed"));
        assert!(read(&pool, at(&pool, "b/f8")).starts_with(b"content 8"));
        if round < 2 {
            block_on(pool.sync()).unwrap();
        }
        if round == 1 {
            block_on(pool.checkpoint()).unwrap();
        }
    }
    let pool = world.open();
    let error =
        block_on(pool.clone_inode(at(&pool, "a"), Ino::ROOT, b"b", CloneOptions::default())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
}

#[test]
fn everything_removed_leaves_nothing_behind() {
    let world = World::new();
    let pool = world.open();
    let directory = create(&pool, Ino::ROOT, "a", Kind::Directory);
    for n in 0..3000 {
        let file = create(&pool, directory, &format!("f{n}"), Kind::File);
        write(&pool, file, 0, &vec![n as u8; n]);
        if n % 1000 == 999 {
            block_on(pool.checkpoint()).unwrap();
            let name = format!("clone{n}");
            block_on(pool.clone_inode(directory, Ino::ROOT, name.as_bytes(), CloneOptions::default()))
                .unwrap();
        }
    }
    block_on(pool.checkpoint()).unwrap();
    for name in ["a", "clone999", "clone1999", "clone2999"] {
        block_on(pool.remove_tree(Ino::ROOT, name.as_bytes())).unwrap();
    }
    for _ in 0..6 {
        block_on(pool.gc()).unwrap();
    }
    let status = block_on(pool.status());
    assert_eq!((status.files, status.directories), (0, 1));
    assert!(status.stored_bytes < 4096, "{status:?}");
}

#[test]
fn usage_and_differences_tell_shared_from_own() {
    let world = World::new();
    let pool = world.open();
    let directory = create(&pool, Ino::ROOT, "a", Kind::Directory);
    let below = create(&pool, directory, "below", Kind::Directory);
    for n in 0..300u32 {
        let file = create(&pool, below, &format!("f{n}"), Kind::File);
        let noise: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(2_654_435_761 ^ n) >> 13) as u8).collect();
        write(&pool, file, 0, &noise);
    }
    let before = block_on(pool.usage(directory)).unwrap();
    assert_eq!((before.files, before.directories, before.shared_bytes), (300, 2, 0));
    assert!(before.exclusive_bytes > 300_000, "{before:?}");
    let clone = block_on(pool.clone_inode(directory, Ino::ROOT, b"b", CloneOptions::default())).unwrap().ino;
    let shared = block_on(pool.usage(clone)).unwrap();
    assert_eq!((shared.exclusive_bytes, shared.total_bytes), (0, before.total_bytes));
    assert_eq!(block_on(pool.usage(below)).unwrap().exclusive_bytes, 0);

    write(&pool, at(&pool, "b/below/f5"), 100, b"different");
    block_on(pool.unlink(at(&pool, "b/below"), b"f6")).unwrap();
    create(&pool, at(&pool, "b/below"), "new", Kind::File);
    let mut found = Vec::new();
    block_on(pool.diff(directory, clone, &mut |difference| {
        found.push(format!("{:?} {}", difference.change, String::from_utf8_lossy(&difference.path)));
        true
    }))
    .unwrap();
    found.sort();
    assert_eq!(found, ["Added below/new", "Modified below/f5", "Removed below/f6"]);
    let after = block_on(pool.usage(clone)).unwrap();
    assert!(after.exclusive_bytes > 0 && after.exclusive_bytes < 100_000, "{after:?}");
    let report = block_on(pool.check()).unwrap();
    assert_eq!(report.findings, [], "{report:?}");
    assert_eq!(block_on(pool.scrub()).unwrap().findings, []);
}

/// A file that was moved into a clone, and the copy of it that a clone of that clone inherits, once had one number between them in a
/// third clone, and further names of the one led to the content of the other.
#[test]
fn files_that_came_into_a_clone_by_two_ways_stay_apart() {
    let world = World::new();
    let pool = world.open();
    let clone = |from: &str, name: &str| {
        block_on(pool.clone_inode(at(&pool, from), Ino::ROOT, name.as_bytes(), CloneOptions::default()))
            .unwrap();
    };
    let rename = |from: (&str, &str), to: (&str, &str)| {
        let (old, new) = (at(&pool, from.0), at(&pool, to.0));
        block_on(pool.rename(old, from.1.as_bytes(), new, to.1.as_bytes(), RenameMode::Replace)).unwrap();
    };
    create(&pool, Ino::ROOT, "x", Kind::Directory);
    let file = create(&pool, Ino::ROOT, "f", Kind::File);
    write(&pool, file, 0, b"one");
    clone("x", "b");
    rename(("/", "f"), ("b", "f"));
    clone("b", "c");
    rename(("b", "f"), ("c", "f2"));
    write(&pool, at(&pool, "c/f2"), 0, b"two");
    clone("c", "d");
    for place in ["c", "d"] {
        let (first, second) = (at(&pool, &format!("{place}/f")), at(&pool, &format!("{place}/f2")));
        assert_ne!(first, second, "in {place}");
        block_on(pool.link(first, at(&pool, place), b"g")).unwrap();
        block_on(pool.link(second, at(&pool, place), b"g2")).unwrap();
        assert_eq!(read(&pool, at(&pool, &format!("{place}/g"))), b"one");
        assert_eq!(read(&pool, at(&pool, &format!("{place}/g2"))), b"two");
    }
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

/// A tree was removed without telling files that had names in it and elsewhere: their count of names stayed too high.
#[test]
fn removing_or_replacing_a_tree_counts_names_of_files_down() {
    let world = World::new();
    let pool = world.open();
    let keep = create(&pool, Ino::ROOT, "keep", Kind::Directory);
    let file = create(&pool, keep, "f", Kind::File);
    write(&pool, file, 0, &[7; 3000]);
    for name in ["t", "u"] {
        let tree = create(&pool, Ino::ROOT, name, Kind::Directory);
        let below = create(&pool, tree, "below", Kind::Directory);
        block_on(pool.link(file, tree, b"l1")).unwrap();
        block_on(pool.link(file, below, b"l2")).unwrap();
    }
    assert_eq!(block_on(pool.attributes(file)).unwrap().nlink, 5);
    block_on(pool.remove_tree(Ino::ROOT, b"t")).unwrap();
    assert_eq!(block_on(pool.attributes(file)).unwrap().nlink, 3);
    let replace = CloneOptions { replace: true, ..CloneOptions::default() };
    let empty = create(&pool, Ino::ROOT, "empty", Kind::Directory);
    block_on(pool.clone_inode(empty, Ino::ROOT, b"u", replace)).unwrap();
    assert_eq!(block_on(pool.attributes(file)).unwrap().nlink, 1);
    block_on(pool.sync()).unwrap();
    drop(pool);
    let pool = world.open();
    assert_eq!(block_on(pool.attributes(at(&pool, "keep/f"))).unwrap().nlink, 1);
    block_on(pool.unlink(at(&pool, "keep"), b"f")).unwrap();
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

/// Every level of directories took a piece of the thread's stack, until there was none left.
#[test]
fn directories_may_nest_deeper_than_a_stack() {
    let world = World::new();
    let pool = world.open();
    let mut at = Ino::ROOT;
    for _ in 0..1500 {
        at = create(&pool, at, "d", Kind::Directory);
    }
    create(&pool, at, "leaf", Kind::File);
    block_on(pool.checkpoint()).unwrap();
    create(&pool, at, "leaf2", Kind::File);
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
    block_on(pool.remove_tree(Ino::ROOT, b"d")).unwrap();
    block_on(pool.gc()).unwrap();
    assert_eq!(block_on(pool.status()).directories, 1);
}

/// A working directory inside a tree that was removed answered `Stale`, where every other file system shows it empty.
#[test]
fn a_known_directory_whose_tree_was_removed_is_empty() {
    let world = World::new();
    let pool = world.open();
    let a = create(&pool, Ino::ROOT, "a", Kind::Directory);
    let s = create(&pool, a, "s", Kind::Directory);
    create(&pool, s, "f", Kind::File);
    block_on(pool.remove_tree(Ino::ROOT, b"a")).unwrap();
    for directory in [a, s] {
        assert_eq!(list(&pool, directory).len(), 0);
        let new = crate::world::new(Kind::File);
        assert_eq!(kind(block_on(pool.lookup(directory, b"f"))), Some(ErrorKind::NotFound));
        assert_eq!(kind(block_on(pool.create(directory, b"g", new))), Some(ErrorKind::NotFound));
        assert_eq!(kind(block_on(pool.unlink(directory, b"f"))), Some(ErrorKind::NotFound));
        let moved = block_on(pool.rename(directory, b"f", Ino::ROOT, b"f", RenameMode::Replace));
        assert_eq!(kind(moved), Some(ErrorKind::NotFound));
    }
}

/// Fuzzing found that reading on after the highest cookie began at the start again, without end.
#[test]
fn nothing_lies_behind_the_highest_cookie() {
    let world = World::new();
    let pool = world.open();
    create(&pool, Ino::ROOT, "f", Kind::File);
    for (cookie, count) in
        [(0, 1), (3, 1), ((1 << 63) - 1, 0), (1 << 63, 0), (u64::MAX - 1, 0), (u64::MAX, 0)]
    {
        assert_eq!(block_on(pool.read_dir(Ino::ROOT, cookie, 10, false)).unwrap().len(), count, "{cookie:x}");
    }
}
