//! Small stories.

use futures::executor::block_on;
use offshoot_engine::{CloneOptions, ErrorKind, Ino, Kind};

use crate::world::{World, at, create, read, write};

#[test]
fn a_clone_is_isolated_from_its_original_and_survives_reopen() {
    let world = World::new();
    let pool = world.open();
    let directory = create(&pool, Ino::ROOT, "a", Kind::Directory);
    for n in 0..500 {
        let file = create(&pool, directory, &format!("f{n}"), Kind::File);
        write(&pool, file, 0, format!("content {n} {}", "x".repeat(n * 7)).as_bytes());
    }
    let clone = block_on(pool.clone(directory, Ino::ROOT, b"b", CloneOptions::default())).unwrap();
    assert_ne!(clone.ino, directory);
    write(&pool, at(&pool, "b/f7"), 0, b"CHANGED");
    write(&pool, at(&pool, "a/f8"), 0, b"changed");
    for round in 0..3 {
        let pool = if round == 0 { Clone::clone(&pool) } else { world.open() };
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
    let error = block_on(pool.clone(at(&pool, "a"), Ino::ROOT, b"b", CloneOptions::default())).unwrap_err();
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
            block_on(pool.clone(directory, Ino::ROOT, name.as_bytes(), CloneOptions::default())).unwrap();
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
    let clone = block_on(pool.clone(directory, Ino::ROOT, b"b", CloneOptions::default())).unwrap().ino;
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
