//! Changes in trees of which little is in memory.

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::{Ino, Kind, Pool, RenameMode};

use crate::world::{World, at, create, file, list, read, write};

/// The names of a directory, by the leaf of its tree that they are in; tells a leaf by what a look at it fetches.
fn leaves(world: &World, path: &str) -> Vec<Vec<Vec<u8>>> {
    let names: Vec<_> = {
        let pool = world.open();
        list(&pool, at(&pool, path)).into_iter().map(|item| item.name).collect()
    };
    let pool = world.open();
    let directory = at(&pool, path);
    let mut fetched = 0;
    let mut leaves: Vec<Vec<Vec<u8>>> = Vec::new();
    for name in names {
        block_on(pool.lookup(directory, &name)).unwrap();
        let now = pool.metrics().items_fetched.get();
        if now > fetched || leaves.is_empty() {
            leaves.push(Vec::new());
        }
        fetched = now;
        leaves.last_mut().unwrap().push(name);
    }
    leaves
}

/// A pool that has just been opened, where `d/<name>` is the only entry of its leaf and the leaves beside it are not in memory.
fn lonely_name(world: &World, count: usize) -> (Pool, Vec<Vec<u8>>) {
    let pool = world.open();
    create(&pool, Ino::ROOT, "d", Kind::Directory);
    file(&pool, "new", b"the new content");
    for n in 0..count {
        file(&pool, &format!("d/name{n}"), b"old");
    }
    block_on(pool.close()).unwrap();
    drop(pool);
    let leaves = leaves(world, "d");
    assert!(leaves.len() > 4, "{} leaves", leaves.len());
    let names = leaves[2].clone();
    let pool = world.open();
    let directory = at(&pool, "d");
    for name in &names[1..] {
        block_on(pool.unlink(directory, name)).unwrap();
    }
    (pool, names)
}

/// Taking the target's entry away dropped its leaf; the new entry then belonged to a leaf that had to be fetched first, and by then
/// the source was gone.
#[test]
fn a_rename_over_the_only_entry_of_a_leaf_does_not_lose_the_file() {
    let world = World::new();
    let (pool, names) = lonely_name(&world, 900);
    let directory = at(&pool, "d");
    block_on(pool.rename(Ino::ROOT, b"new", directory, &names[0], RenameMode::Replace)).unwrap();
    let name = String::from_utf8(names[0].clone()).unwrap();
    assert_eq!(read(&pool, at(&pool, &format!("d/{name}"))), b"the new content");
    block_on(pool.checkpoint()).unwrap();
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

#[test]
fn a_rename_within_the_only_entry_of_a_leaf_does_not_lose_the_file() {
    let world = World::new();
    let (pool, names) = lonely_name(&world, 900);
    let directory = at(&pool, "d");
    // A name that was removed is of the same leaf.
    block_on(pool.rename(directory, &names[0], directory, &names[1], RenameMode::Replace)).unwrap();
    let name = String::from_utf8(names[1].clone()).unwrap();
    assert_eq!(read(&pool, at(&pool, &format!("d/{name}"))), b"old");
}

#[test]
fn an_exchange_with_the_only_entry_of_a_leaf_does_not_lose_a_file() {
    let world = World::new();
    let (pool, names) = lonely_name(&world, 900);
    let directory = at(&pool, "d");
    block_on(pool.rename(Ino::ROOT, b"new", directory, &names[0], RenameMode::Exchange)).unwrap();
    let name = String::from_utf8(names[0].clone()).unwrap();
    assert_eq!(read(&pool, at(&pool, &format!("d/{name}"))), b"the new content");
    assert_eq!(read(&pool, at(&pool, "new")), b"old");
}

#[test]
fn a_clone_over_the_only_entry_of_a_leaf_does_not_lose_the_place() {
    let world = World::new();
    let (pool, names) = lonely_name(&world, 900);
    let directory = at(&pool, "d");
    let options = offshoot_engine::CloneOptions { replace: true, ..Default::default() };
    block_on(pool.clone_inode(at(&pool, "new"), directory, &names[0], options)).unwrap();
    let name = String::from_utf8(names[0].clone()).unwrap();
    assert_eq!(read(&pool, at(&pool, &format!("d/{name}"))), b"the new content");
    block_on(pool.checkpoint()).unwrap();
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

/// A write that replaces whole leaves of a file's tree and a part of the extent after them kept that extent's tail only if all
/// nodes were in memory.
#[test]
fn a_write_into_a_cold_file_keeps_what_lies_beside_it() {
    const PIECE: u64 = 100;
    const STRIDE: u64 = 1000;
    const COUNT: u64 = 1500;
    let world = World::new();
    let pool = world.open();
    let ino = file(&pool, "f", b"");
    let mut expected = vec![0; (COUNT * STRIDE) as usize];
    for n in 0..COUNT {
        let bytes = vec![n as u8 | 1; PIECE as usize];
        write(&pool, ino, n * STRIDE, &bytes);
        expected[(n * STRIDE) as usize..][..PIECE as usize].copy_from_slice(&bytes);
    }
    block_on(pool.close()).unwrap();
    drop(pool);
    // Leaves of extents written in order hold 146 or 147 of them.
    for first in (143..150).chain(290..297) {
        for count in 288..296 {
            // Never synced: the next round finds the file as it was.
            let pool = world.open();
            let ino = at(&pool, "f");
            let (from, to) = (first * STRIDE, (first + count) * STRIDE + 40);
            let data = Bytes::from(vec![0xee; (to - from) as usize]);
            block_on(pool.write(ino, from, data, false)).unwrap();
            let mut now = Vec::new();
            block_on(pool.read(ino, to, 2 * STRIDE as usize, &mut now)).unwrap();
            assert!(now == expected[to as usize..][..2 * STRIDE as usize], "after {from}..{to}");
            let mut before = Vec::new();
            let start = from.saturating_sub(2 * STRIDE);
            block_on(pool.read(ino, start, (from - start) as usize, &mut before)).unwrap();
            assert!(before == expected[start as usize..from as usize], "before {from}..{to}");
        }
    }
}
