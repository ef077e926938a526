//! Realm ids: used again once nothing shows them, never while something does.

use std::collections::HashSet;

use futures::executor::block_on;
use offshoot_engine::{CloneOptions, ErrorKind, Ino, Kind, Pool, RenameMode, Settings};

use crate::world::{Chance, Random, World, at, clone, create, file, kind, list, read};

/// A pool with few ids.
fn few(ids: u32) -> World {
    World::with(Settings {
        reserve_bytes: 0,
        segment_bytes: 1 << 20,
        realm_ids: ids + 1,
        ..Settings::default()
    })
}

fn in_use(pool: &Pool) -> u64 {
    block_on(pool.status()).realm_ids
}

fn check(pool: &Pool) {
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

fn remove(pool: &Pool, name: &str) {
    block_on(pool.remove_tree(Ino::ROOT, name.as_bytes())).unwrap();
}

/// Makes a clone that nobody knows.
fn unknown(pool: &Pool, source: Ino, parent: Ino, name: &str) -> Ino {
    let ino = clone(pool, source, parent, name).ino;
    pool.forget(ino, 1);
    ino
}

/// The number at a path, which nobody knows afterwards.
fn glance(pool: &Pool, path: &str) -> Ino {
    let mut way = Vec::new();
    let mut ino = Ino::ROOT;
    for name in path.split('/') {
        ino = block_on(pool.lookup(ino, name.as_bytes())).unwrap().ino;
        way.push(ino);
    }
    way.into_iter().rev().for_each(|ino| pool.forget(ino, 1));
    ino
}

fn assert_unique(pool: &Pool) {
    fn numbers(pool: &Pool, directory: Ino, into: &mut Vec<Ino>) {
        for item in list(pool, directory) {
            into.push(item.attributes.ino);
            if item.attributes.kind == Kind::Directory {
                block_on(pool.lookup(directory, &item.name)).unwrap();
                numbers(pool, item.attributes.ino, into);
                pool.forget(item.attributes.ino, 1);
            }
        }
    }
    let mut all = vec![Ino::ROOT];
    numbers(pool, Ino::ROOT, &mut all);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "every number is there once");
}

/// A pool gave each clone an id for ever: after 2^24 clones, however few existed, it made none any more.
#[test]
fn ids_of_removed_clones_are_used_again_without_end() {
    let rounds = if cfg!(debug_assertions) { 5_000 } else { 300_000 };
    let world = few(4);
    let pool = world.open();
    let base = create(&pool, Ino::ROOT, "base", Kind::Directory);
    file(&pool, "base/f", b"content");
    let start = std::time::Instant::now();
    for n in 0..rounds {
        unknown(&pool, base, Ino::ROOT, "c");
        remove(&pool, "c");
        if n % 50_000 == 49_999 {
            block_on(pool.checkpoint()).unwrap();
        }
    }
    println!("{:?} for each clone and removal", start.elapsed() / rounds);
    block_on(pool.gc()).unwrap();
    assert_eq!(in_use(&pool), 0);
    check(&pool);
    let pool = {
        drop(pool);
        world.open()
    };
    clone(&pool, at(&pool, "base"), Ino::ROOT, "c");
    assert_eq!(read(&pool, at(&pool, "c/f")), b"content");
    check(&pool);
}

#[test]
fn when_all_ids_are_in_use_a_clone_is_refused_until_one_goes() {
    let world = few(3);
    let pool = world.open();
    let base = create(&pool, Ino::ROOT, "base", Kind::Directory);
    for name in ["a", "b", "c"] {
        unknown(&pool, base, Ino::ROOT, name);
    }
    for _ in 0..2 {
        let refused = block_on(pool.clone_inode(base, Ino::ROOT, b"d", CloneOptions::default())).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NoSpace);
        assert!(refused.to_string().contains("all 3 clone numbers are in use"), "{refused}");
        file(&pool, "f", b"everything else goes on");
        block_on(pool.unlink(Ino::ROOT, b"f")).unwrap();
    }
    // A clone of a file needs none.
    let f = file(&pool, "g", b"x");
    clone(&pool, f, Ino::ROOT, "h");
    let known = at(&pool, "b");
    remove(&pool, "b");
    // Somebody still knows its number.
    assert_eq!(
        kind(block_on(pool.clone_inode(base, Ino::ROOT, b"d", CloneOptions::default()))),
        Some(ErrorKind::NoSpace)
    );
    pool.forget(known, 1);
    let d = clone(&pool, base, Ino::ROOT, "d").ino;
    assert_eq!(d.realm(), known.realm());
    assert_unique(&pool);
    check(&pool);
}

/// The number of a file stays when it moves out of a clone, also when the clone is gone.
#[test]
fn a_file_that_moved_out_of_a_clone_keeps_its_id_from_being_used() {
    let world = few(2);
    let pool = world.open();
    let base = create(&pool, Ino::ROOT, "base", Kind::Directory);
    file(&pool, "base/f", b"result");
    for way in 0..4 {
        let c = unknown(&pool, base, Ino::ROOT, "c");
        let number = glance(&pool, "c/f");
        block_on(pool.lookup(Ino::ROOT, b"c")).unwrap();
        block_on(pool.rename(c, b"f", Ino::ROOT, b"out", RenameMode::Replace)).unwrap();
        pool.forget(c, 1);
        assert_eq!(glance(&pool, "out"), number);
        remove(&pool, "c");
        block_on(pool.gc()).unwrap();
        assert_eq!(in_use(&pool), 1);
        for _ in 0..5 {
            let other = unknown(&pool, base, Ino::ROOT, "c");
            assert_ne!(other.realm(), number.realm());
            assert_unique(&pool);
            remove(&pool, "c");
        }
        check(&pool);
        match way {
            0 => block_on(pool.unlink(Ino::ROOT, b"out")).unwrap(),
            1 => {
                // Over it.
                file(&pool, "in", b"x");
                block_on(pool.rename(Ino::ROOT, b"in", Ino::ROOT, b"out", RenameMode::Replace)).unwrap();
            }
            2 => {
                // With what it lies in, several levels up.
                let d = create(&pool, Ino::ROOT, "d", Kind::Directory);
                let e = create(&pool, d, "e", Kind::Directory);
                block_on(pool.rename(Ino::ROOT, b"out", e, b"out", RenameMode::Replace)).unwrap();
                remove(&pool, "d");
            }
            _ => {
                // With several names.
                let d = create(&pool, Ino::ROOT, "d", Kind::Directory);
                block_on(pool.rename(Ino::ROOT, b"out", d, b"out", RenameMode::Replace)).unwrap();
                let out = block_on(pool.lookup(d, b"out")).unwrap().ino;
                block_on(pool.link(out, d, b"again")).unwrap();
                pool.forget(out, 2);
                check(&pool);
                remove(&pool, "d");
            }
        }
        block_on(pool.gc()).unwrap();
        assert_eq!(in_use(&pool), 0, "way {way}");
        check(&pool);
    }
}

#[test]
fn aliases_go_with_the_clone_in_which_they_were_seen() {
    let world = few(200);
    let pool = world.open();
    let home = create(&pool, Ino::ROOT, "home", Kind::Directory);
    let base = create(&pool, Ino::ROOT, "base", Kind::Directory);
    file(&pool, "base/f", b"x");
    for n in 0..10 {
        let inner = clone(&pool, base, home, &format!("c{n}")).ino;
        unknown(&pool, base, inner, "deeper");
        pool.forget(inner, 1);
    }
    for round in 0..20 {
        let outer = clone(&pool, home, Ino::ROOT, "outer").ino;
        for n in 0..10 {
            glance(&pool, &format!("outer/c{n}/deeper/f"));
        }
        // And clones made in what is only an alias.
        let inner = block_on(pool.lookup(outer, b"c3")).unwrap().ino;
        unknown(&pool, base, inner, "new");
        pool.forget(inner, 1);
        assert_eq!(in_use(&pool), 20 + 1 + 20 + 1, "round {round}");
        assert_unique(&pool);
        check(&pool);
        pool.forget(outer, 1);
        match round % 3 {
            0 => remove(&pool, "outer"),
            1 => {
                let d = create(&pool, Ino::ROOT, "d", Kind::Directory);
                block_on(pool.rename(Ino::ROOT, b"outer", d, b"outer", RenameMode::Replace)).unwrap();
                pool.forget(d, 1);
                remove(&pool, "d");
            }
            _ => {
                let replace = CloneOptions { replace: true, ..CloneOptions::default() };
                let c = block_on(pool.clone_inode(base, Ino::ROOT, b"outer", replace)).unwrap().ino;
                pool.forget(c, 1);
                remove(&pool, "outer");
            }
        }
        check(&pool);
        block_on(pool.gc()).unwrap();
        assert_eq!(in_use(&pool), 20, "round {round}");
        check(&pool);
    }
}

/// A removal is one step; what it leaves to the background survives a power cut at any point, and nothing is freed twice.
#[test]
fn a_tree_of_many_nested_clones_is_taken_apart_whatever_happens() {
    let mut world = few(5_000);
    world.settings.memory_bytes = 64 << 20;
    let mut random = Random(5);
    {
        let pool = world.open();
        create(&pool, Ino::ROOT, "base", Kind::Directory);
        file(&pool, "base/f", b"x");
        block_on(pool.close()).unwrap();
    }
    for round in 0..4 {
        let pool = world.open();
        let base = at(&pool, "base");
        let tree = create(&pool, Ino::ROOT, "tree", Kind::Directory);
        for n in 0..300 {
            let d = create(&pool, tree, &format!("d{n}"), Kind::Directory);
            let c = clone(&pool, base, d, "c").ino;
            unknown(&pool, base, c, "nested");
            block_on(pool.rename(c, b"f", d, b"moved", RenameMode::Replace)).unwrap();
        }
        let outer = clone(&pool, tree, Ino::ROOT, "outer").ino;
        for n in 0..100 {
            let d = block_on(pool.lookup(outer, format!("d{n}").as_bytes())).unwrap().ino;
            list(&pool, d);
        }
        check(&pool);
        let start = block_on(pool.status());
        assert_eq!(start.realm_ids, 600 + 1 + 100);
        remove(&pool, "tree");
        if round & 1 == 0 {
            remove(&pool, "outer");
        }
        block_on(pool.sync()).unwrap();
        drop(pool);
        for _ in 0..12 {
            let pool = world.open();
            world.power.cut_after(1 + random.below(40), random.one_in(2));
            // As the background would, until power goes.
            let _ = block_on(pool.gc());
            let _ = block_on(pool.sync());
            drop(pool);
            world.power.cut();
            world.log.crash(random.next());
            world.power.restore();
            let pool = world.open();
            check(&pool);
            assert_unique(&pool);
            drop(pool);
        }
        let pool = world.open();
        if round & 1 == 1 {
            remove(&pool, "outer");
        }
        block_on(pool.gc()).unwrap();
        assert_eq!(in_use(&pool), 0, "round {round}");
        check(&pool);
        block_on(pool.close()).unwrap();
    }
}

/// What was removed is with the orphans in a replay, under its number, until that is used again.
#[test]
fn a_replay_tells_removed_files_of_one_number_apart() {
    let world = few(1);
    let pool = world.open();
    let base = create(&pool, Ino::ROOT, "base", Kind::Directory);
    file(&pool, "base/f", b"x");
    create(&pool, base, "d", Kind::Directory);
    file(&pool, "base/d/g", b"y");
    file(&pool, "base/h", b"z");
    block_on(pool.sync()).unwrap();
    let mut numbers = HashSet::new();
    for _ in 0..5 {
        let c = clone(&pool, base, Ino::ROOT, "c").ino;
        let f = block_on(pool.lookup(c, b"f")).unwrap().ino;
        let d = block_on(pool.lookup(c, b"d")).unwrap().ino;
        let g = block_on(pool.lookup(d, b"g")).unwrap().ino;
        numbers.insert((c, f, d, g));
        pool.hold(f).unwrap();
        block_on(pool.unlink(c, b"f")).unwrap();
        block_on(pool.release(f)).unwrap();
        // This one nobody knows: only a replay keeps it.
        block_on(pool.unlink(c, b"h")).unwrap();
        pool.hold(g).unwrap();
        block_on(pool.remove_tree(c, b"d")).unwrap();
        block_on(pool.write(g, 0, "still there".into(), false)).unwrap();
        block_on(pool.release(g)).unwrap();
        [g, d, f, c].into_iter().for_each(|ino| pool.forget(ino, 1));
        remove(&pool, "c");
        block_on(pool.sync()).unwrap();
    }
    assert_eq!(numbers.len(), 1, "the same numbers each time");
    clone(&pool, base, Ino::ROOT, "c");
    block_on(pool.sync()).unwrap();
    drop(pool);
    let pool = world.open();
    assert_eq!(read(&pool, at(&pool, "c/d/g")), b"y");
    check(&pool);
}

/// A removed directory that is held open has a copy of the realm's table of files with several names.
#[test]
fn files_in_a_removed_directory_that_is_open_keep_their_numbers_to_themselves() {
    let world = few(2);
    let pool = world.open();
    let base = create(&pool, Ino::ROOT, "base", Kind::Directory);
    file(&pool, "base/f", b"x");
    let c = clone(&pool, base, Ino::ROOT, "c").ino;
    let d = create(&pool, Ino::ROOT, "d", Kind::Directory);
    block_on(pool.rename(c, b"f", d, b"f", RenameMode::Replace)).unwrap();
    let f = block_on(pool.lookup(d, b"f")).unwrap().ino;
    block_on(pool.link(f, d, b"again")).unwrap();
    pool.forget(f, 2);
    pool.forget(c, 1);
    remove(&pool, "c");
    pool.hold(d).unwrap();
    remove(&pool, "d");
    // The file is gone, but for who reads the removed directory.
    assert_eq!(list(&pool, d)[0].attributes.ino, f);
    assert_ne!(unknown(&pool, base, Ino::ROOT, "c").realm(), f.realm());
    assert_eq!(
        kind(block_on(pool.clone_inode(base, Ino::ROOT, b"e", CloneOptions::default()))),
        Some(ErrorKind::NoSpace),
        "the id of what a removed directory shows is not given out"
    );
    remove(&pool, "c");
    block_on(pool.release(d)).unwrap();
    pool.forget(d, 1);
    block_on(pool.gc()).unwrap();
    assert_eq!(in_use(&pool), 0);
    check(&pool);
}

/// A simulated world removed the last name of a file in a directory that had been removed while somebody held both: the file lived on
/// already for who held it, and was to do so a second time. The removal said that something existed already.
#[test]
fn the_last_name_in_a_removed_directory_goes_though_its_file_lives_on() {
    let world = World::new();
    let pool = world.open();
    let directory = create(&pool, Ino::ROOT, "directory", Kind::Directory);
    let inside = file(&pool, "directory/inside", b"content");
    block_on(pool.link(inside, directory, b"again")).unwrap();
    pool.hold(directory).unwrap();
    pool.hold(inside).unwrap();
    remove(&pool, "directory");
    for name in [&b"inside"[..], b"again"] {
        block_on(pool.unlink(directory, name)).unwrap();
    }
    assert_eq!(list(&pool, directory).len(), 0);
    assert_eq!(read(&pool, inside), b"content", "who holds it reads it as before");
    check(&pool);
    block_on(pool.release(inside)).unwrap();
    block_on(pool.release(directory)).unwrap();
    check(&pool);
}
