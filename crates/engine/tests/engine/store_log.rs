//! A pool whose log is among its objects: what a sync costs, what a network that fails does, and what a writer that was replaced may say.

use std::sync::Arc;

use futures::executor::block_on;
use futures::future::join_all;
use offshoot_engine::log::ObjectLog;
use offshoot_engine::object::{Call, Fault};
use offshoot_engine::{Clock, ErrorKind, OpenMode, Pool, Result, Storage};

use crate::world::{World, at, file, kind, read, write};

fn try_open(world: &World, identity: u64) -> Result<Pool> {
    let log = Arc::new(ObjectLog::new(world.objects.clone(), identity));
    let storage = Storage { objects: world.objects.clone(), log };
    let clock: Arc<dyn Clock> = world.clock.clone();
    block_on(Pool::open(storage, clock, world.settings.clone(), OpenMode::CreateIfMissing))
}

fn open(world: &World, identity: u64) -> Pool {
    try_open(world, identity).unwrap()
}

fn parts(world: &World) -> usize {
    world.object_names("log/").len()
}

#[test]
fn a_sync_is_one_put_however_many_files_there_are_and_however_many_wait() {
    let world = World::new();
    let pool = open(&world, 1);
    for number in 0..500 {
        file(&pool, &format!("f{number}"), b"some bytes");
    }
    let before = world.object_names("").len();
    block_on(join_all((0..100).map(|_| pool.sync()))).into_iter().for_each(|synced| synced.unwrap());
    assert_eq!(world.object_names("").len(), before + 1);
    block_on(pool.sync()).unwrap();
    assert_eq!(world.object_names("").len(), before + 1, "there was nothing to sync");
    assert!(pool.is_log_remote());
    drop(pool);
    let pool = open(&world, 2);
    assert_eq!(read(&pool, at(&pool, "f499")), b"some bytes");
}

#[test]
fn what_could_not_be_synced_is_synced_when_the_network_is_back() {
    for fault in [Fault::Refused(ErrorKind::Store), Fault::AnswerLost(ErrorKind::Store)] {
        let world = World::new();
        let pool = open(&world, 1);
        for number in 0..3 {
            file(&pool, &format!("f{number}"), &[b'x'; 1000]);
            world.objects.fail_nth(Call::Put, 1, fault);
            assert_eq!(kind(block_on(pool.sync())), Some(ErrorKind::Store));
            let status = block_on(pool.status());
            assert_eq!(status.stopped, None, "it goes on");
            assert!(status.unsynced_bytes > 1000 * (number + 1), "and says what is not durable");
        }
        block_on(pool.sync()).unwrap();
        assert_eq!(block_on(pool.status()).unsynced_bytes, 0);
        drop(pool);
        let pool = open(&world, 2);
        assert_eq!(read(&pool, at(&pool, "f2")), [b'x'; 1000]);
        assert_eq!(block_on(pool.check()).unwrap().findings, []);
    }
}

/// With a log on a disk of its own a replaced writer acknowledged syncs up to its next checkpoint.
#[test]
fn a_replaced_writer_acknowledges_nothing_more() {
    for checkpoints in 0..4 {
        let world = World::new();
        let replaced = open(&world, 1);
        file(&replaced, "synced", b"by the first");
        block_on(replaced.sync()).unwrap();
        let successor = open(&world, 2);
        assert_eq!(read(&successor, at(&successor, "synced")), b"by the first");
        for number in 0..checkpoints {
            file(&successor, &format!("f{number}"), b"x");
            block_on(successor.checkpoint()).unwrap();
        }
        file(&replaced, "late", b"by the first");
        assert_eq!(
            kind(block_on(replaced.sync())),
            Some(ErrorKind::Fenced),
            "after {checkpoints} checkpoints"
        );
        assert_eq!(kind(block_on(replaced.checkpoint())), Some(ErrorKind::Fenced));
        file(&successor, "kept", b"by the second");
        block_on(successor.sync()).unwrap();
        drop((replaced, successor));
        let pool = open(&world, 3);
        assert_eq!(read(&pool, at(&pool, "kept")), b"by the second");
        assert_eq!(
            block_on(pool.lookup(offshoot_engine::Ino::ROOT, b"late")).unwrap_err().kind(),
            ErrorKind::NotFound
        );
    }
}

/// It has synced nothing since the last checkpoint, so its first word goes into a new log file.
#[test]
fn a_replaced_writer_begins_no_new_log_file() {
    let world = World::new();
    let replaced = open(&world, 1);
    file(&replaced, "synced", b"by the first");
    block_on(replaced.sync()).unwrap();
    let successor = open(&world, 2);
    for number in 0..3 {
        file(&successor, &format!("f{number}"), b"x");
        block_on(successor.checkpoint()).unwrap();
    }
    assert_eq!(kind(block_on(replaced.checkpoint())), Some(ErrorKind::Fenced));
}

#[test]
fn large_writes_lie_beside_the_log_and_come_back_with_it() {
    let world = World::new();
    let pool = open(&world, 1);
    let ino = file(&pool, "large", b"");
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    write(&pool, ino, 0, &content);
    block_on(pool.sync()).unwrap();
    assert!(!world.object_names("segments/").is_empty());
    drop(pool);
    let pool = open(&world, 2);
    assert!(read(&pool, at(&pool, "large")) == content);
}

#[test]
fn closing_leaves_no_more_than_one_empty_file() {
    let world = World::new();
    for identity in 0..5 {
        let pool = open(&world, identity);
        file(&pool, &format!("f{identity}"), b"x");
        block_on(pool.sync()).unwrap();
        block_on(pool.checkpoint()).unwrap();
        block_on(pool.close()).unwrap();
    }
    // The last file with its claim and its end, and the one before that the next checkpoint deletes.
    assert!(parts(&world) <= 6, "{:?}", world.object_names("log/"));
}

#[test]
fn parts_that_are_lost_or_damaged_are_told() {
    let world = World::new();
    let pool = open(&world, 1);
    for number in 0..4 {
        file(&pool, &format!("f{number}"), b"x");
        block_on(pool.sync()).unwrap();
    }
    drop(pool);
    let names = world.object_names("log/");
    let second = names[names.len() - 3].clone();
    let bytes = world.object(&second);
    world.lose_object(&second);
    assert_eq!(try_open(&world, 2).map(|_| ()).unwrap_err().kind(), ErrorKind::Corrupt, "lost");
    let mut damaged = bytes.clone();
    damaged[60] ^= 1;
    block_on(offshoot_engine::object::ObjectStore::put(&*world.objects, &second, vec![damaged.into()]))
        .unwrap();
    assert_eq!(try_open(&world, 3).map(|_| ()).unwrap_err().kind(), ErrorKind::Corrupt, "damaged");
    world.replace_object(&second, bytes);
    let pool = open(&world, 4);
    assert_eq!(read(&pool, at(&pool, "f3")), b"x");
}
