//! An operation that cannot fetch what it needs leaves nothing behind, wherever in its steps it is stopped.

use futures::executor::block_on;
use offshoot_engine::object::{Call, Fault};
use offshoot_engine::{AllocateMode, ErrorKind, Kind, Pool, Result, SetAttributes, Settings};

use crate::world::{Chance, Random, World, at, create, kind, read, write};

const FILE_BYTES: u64 = 6 << 20;

/// A pool with two files in very many pieces, `a` and `b`, closed.
fn scattered() -> World {
    let settings = Settings { reserve_bytes: 0, defragment: false, ..Settings::default() };
    let world = World::with(settings);
    let pool = world.open();
    for (name, seed) in [("a", 1), ("b", 2)] {
        let ino = create(&pool, offshoot_engine::Ino::ROOT, name, Kind::File);
        let mut random = Random(seed);
        for piece in 0..1500 {
            write(&pool, ino, piece * 4096 + random.below(2000), &random.bytes_of_noise(300));
        }
    }
    block_on(pool.close()).unwrap();
    world
}

/// A change of a range of a large file was stopped between two of its steps, when a page of the file's tree could not be fetched: the old
/// bytes were gone, the new ones not there, and the next checkpoint stored the file so.
fn is_all_or_nothing(change: impl Fn(&Pool) -> Result<()>) {
    let mut stopped = 0;
    for nth in 1..200 {
        let world = scattered();
        let pool = world.open();
        let (a, b) = (at(&pool, "a"), at(&pool, "b"));
        let before = (read(&pool, a), read(&pool, b), block_on(pool.attributes(b)).unwrap());
        drop(pool);
        // With nothing in memory.
        let pool = world.open();
        let (a, b) = (at(&pool, "a"), at(&pool, "b"));
        world.objects.fail_nth(Call::Get, nth, Fault::Refused(ErrorKind::Store));
        match kind(change(&pool)) {
            Some(error) => {
                assert_eq!(error, ErrorKind::Store);
                stopped += 1;
                assert_eq!(block_on(pool.attributes(b)).unwrap(), before.2, "stopped at call {nth}");
                assert!((read(&pool, a), read(&pool, b)) == (before.0, before.1), "stopped at call {nth}");
            }
            None => {
                assert!(stopped > 0, "nothing was fetched");
                return;
            }
        }
    }
    panic!("it never came to its end");
}

#[test]
fn a_clone_of_a_range_that_cannot_fetch_changes_nothing() {
    is_all_or_nothing(|pool| {
        block_on(pool.clone_range(at(pool, "a"), 100_000, at(pool, "b"), 50_000, FILE_BYTES / 2)).map(|_| ())
    });
}

#[test]
fn a_clone_of_a_whole_file_over_a_longer_one_that_cannot_fetch_changes_nothing() {
    is_all_or_nothing(|pool| {
        let (a, b) = (at(pool, "a"), at(pool, "b"));
        block_on(pool.clone_range(a, 0, b, 0, FILE_BYTES)).map(|_| ())
    });
}

#[test]
fn a_large_write_that_cannot_fetch_changes_nothing() {
    is_all_or_nothing(|pool| {
        let data = vec![7; 3 << 20];
        block_on(pool.write(at(pool, "b"), 1_000_001, data.into(), false)).map(|_| ())
    });
}

#[test]
fn zeroing_a_range_that_cannot_fetch_changes_nothing() {
    is_all_or_nothing(|pool| {
        let mode = AllocateMode::ZeroRange { keep_size: true };
        block_on(pool.allocate(at(pool, "b"), 777_777, 4 << 20, mode)).map(|_| ())
    });
}

#[test]
fn cutting_off_that_cannot_fetch_changes_nothing() {
    is_all_or_nothing(|pool| {
        let set = SetAttributes { size: Some(2_345_678), ..SetAttributes::default() };
        block_on(pool.set_attributes(at(pool, "b"), set)).map(|_| ())
    });
}
