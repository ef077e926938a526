//! Requests to a store of which nobody knows what became of them: an answer that is lost, a request that the network repeats.

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::object::Call;
use offshoot_engine::{ErrorKind, Ino, Pool};

use crate::wire::{Trouble, Wire, poll};
use crate::world::{Chance, Random, World, at, create, file, kind, read, write};

const ALWAYS: usize = usize::MAX;

/// A world of which the pool, opened anew, is sound and has a file with this content.
fn assert_kept(world: &World, pool: Pool, path: &str, content: &[u8]) {
    assert!(read(&pool, at(&pool, path)) == content);
    drop(pool);
    let pool = world.open();
    assert!(read(&pool, at(&pool, path)) == content);
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

/// A put that the network repeats answers that the name is taken, by the very bytes that were put. The log's own segments and a
/// checkpoint's were taken for another writer's then, and the pool stopped.
#[test]
fn a_repeated_put_of_a_segment_is_not_another_writer() {
    let world = World::new();
    let wire = Wire::to(&world);
    let pool = wire.open(&world);
    wire.plan(Call::Put, "segments/", Trouble::Repeated, ALWAYS);
    file(&pool, "f", &[7; 100_000]);
    block_on(pool.sync()).unwrap();
    assert_eq!(wire.troubles(), 1, "the frame of the file");
    block_on(pool.checkpoint()).unwrap();
    assert!(wire.troubles() > 1, "the nodes of the checkpoint");
    assert_kept(&world, pool, "f", &[7; 100_000]);
}

/// The same after an answer that never came: the second try met the bytes of the first.
#[test]
fn a_segment_whose_answer_was_lost_is_not_another_writers() {
    let world = World::new();
    let wire = Wire::to(&world);
    let pool = wire.open(&world);
    file(&pool, "f", &[7; 100_000]);
    block_on(pool.sync()).unwrap();
    wire.plan(Call::Put, "segments/", Trouble::AnswerLost, 1);
    assert_eq!(kind(block_on(pool.checkpoint())), Some(ErrorKind::Store));
    file(&pool, "g", b"changed before the second try");
    block_on(pool.checkpoint()).unwrap();
    assert_kept(&world, pool, "f", &[7; 100_000]);
}

/// A sync that could not put its frames stopped the pool, though nothing had been written to the log and the next try could have put
/// them: a store out of reach for a moment ended the server.
#[test]
fn a_sync_whose_segment_was_refused_is_tried_again() {
    for trouble in [Trouble::Refused, Trouble::AnswerLost] {
        let world = World::new();
        let wire = Wire::to(&world);
        let pool = wire.open(&world);
        file(&pool, "f", &[7; 100_000]);
        wire.plan(Call::Put, "segments/", trouble, 1);
        assert_eq!(kind(block_on(pool.sync())), Some(ErrorKind::Store), "{trouble:?}");
        assert_eq!(block_on(pool.status()).stopped, None, "{trouble:?}");
        file(&pool, "g", &[8; 100_000]);
        block_on(pool.sync()).unwrap();
        assert!(read(&pool, at(&pool, "g")) == [8; 100_000]);
        assert_kept(&world, pool, "f", &[7; 100_000]);
    }
}

/// A repeated put of an object that the collector had rewritten made the collection fail.
#[test]
fn a_repeated_put_of_a_collected_object_is_not_another_writer() {
    let world = World::new();
    let wire = Wire::to(&world);
    let pool = wire.open(&world);
    // Of a segment with many frames only one stays.
    for n in 0..8 {
        let ino = file(&pool, &format!("f{n}"), &Random(n).bytes_of_noise(100_000));
        pool.forget(ino, 1);
    }
    block_on(pool.checkpoint()).unwrap();
    for n in 1..8 {
        block_on(pool.unlink(Ino::ROOT, format!("f{n}").as_bytes())).unwrap();
    }
    wire.plan(Call::Put, "segments/", Trouble::Repeated, ALWAYS);
    block_on(pool.gc()).unwrap();
    assert!(pool.metrics().segments_compacted.get() > 0);
    assert_kept(&world, pool, "f0", &Random(0).bytes_of_noise(100_000));
}

/// A segment that another writer did put under the name is never taken for the own one.
#[test]
fn a_segment_of_other_bytes_is_another_writers() {
    let world = World::new();
    let wire = Wire::to(&world);
    let pool = wire.open(&world);
    let other: std::sync::Arc<dyn offshoot_engine::object::ObjectStore> = world.objects.clone();
    block_on(other.put("segments/0000000001-00000001", vec![Bytes::from_static(b"of another writer")]))
        .unwrap();
    file(&pool, "f", &[7; 100_000]);
    assert_eq!(kind(block_on(pool.checkpoint())), Some(ErrorKind::Fenced));
}

/// After a repeated put of a manifest the pool took its own checkpoint for another writer's and stopped.
#[test]
fn a_repeated_put_of_a_manifest_is_not_another_writer() {
    let world = World::new();
    let wire = Wire::to(&world);
    let pool = wire.open(&world);
    wire.plan(Call::Put, "manifests/", Trouble::Repeated, ALWAYS);
    for n in 1..4 {
        file(&pool, &format!("f{n}"), b"x");
        block_on(pool.checkpoint()).unwrap();
        assert_eq!(wire.troubles(), n);
    }
    assert_kept(&world, pool, "f3", b"x");
}

/// A manifest whose answer was lost was given up. The next checkpoint tried another one under its number, found that taken by
/// its own first try, and stopped the pool as if another writer had taken over.
#[test]
fn a_manifest_whose_answer_was_lost_is_the_own_one_at_the_next_try() {
    for trouble in [Trouble::AnswerLost, Trouble::Refused] {
        let world = World::new();
        let wire = Wire::to(&world);
        let pool = wire.open(&world);
        create(&pool, Ino::ROOT, "d", offshoot_engine::Kind::Directory);
        file(&pool, "d/f", b"before");
        for n in 0..3 {
            wire.plan(Call::Put, "manifests/", trouble, 1);
            assert_eq!(kind(block_on(pool.checkpoint())), Some(ErrorKind::Store), "{trouble:?}");
            write(&pool, at(&pool, "d/f"), 0, format!("after {n}").as_bytes());
            block_on(pool.sync()).unwrap();
            block_on(pool.checkpoint()).unwrap();
            assert_eq!(block_on(pool.status()).stopped, None);
        }
        assert_kept(&world, pool, "d/f", b"after 2");
    }
}

/// The same manifest, but the machine dies before the second try: the next start finds it stored, and all that was synced since.
#[test]
fn a_manifest_whose_answer_was_lost_counts_at_the_next_start() {
    let world = World::new();
    let wire = Wire::to(&world);
    let pool = wire.open(&world);
    file(&pool, "f", b"before");
    wire.plan(Call::Put, "manifests/", Trouble::AnswerLost, 1);
    assert_eq!(kind(block_on(pool.checkpoint())), Some(ErrorKind::Store));
    write(&pool, at(&pool, "f"), 0, b"after it");
    block_on(pool.sync()).unwrap();
    drop(pool);
    let pool = world.open();
    assert_kept(&world, pool, "f", b"after it");
}

/// A segment table whose answer was lost was deleted and put again under its name. A late repetition of that deletion could
/// take the table away that the newest manifest needs. A name that was tried is never used for other bytes.
#[test]
fn a_table_is_never_put_again_under_a_name_that_was_deleted() {
    let mut world = World::new();
    world.settings.segment_bytes = 4 << 10;
    let wire = Wire::to(&world);
    let pool = wire.open(&world);
    let content = |n: u64| Random(n).bytes_of_noise(8 << 10);
    for n in 0..300 {
        file(&pool, &format!("f{n}"), &content(n));
    }
    wire.plan(Call::Put, "tables/", Trouble::AnswerLost, 1);
    assert_eq!(kind(block_on(pool.checkpoint())), Some(ErrorKind::Store));
    assert_eq!(wire.troubles(), 1, "the table was written whole");
    block_on(pool.unlink(Ino::ROOT, b"f7")).unwrap();
    block_on(pool.checkpoint()).unwrap();
    let mut tables: Vec<_> = wire.puts().into_iter().filter(|name| name.starts_with("tables/")).collect();
    assert!(tables.len() > 1, "the second try wrote a table too");
    wire.repeat_deletes("tables/");
    assert_kept(&world, pool, "f299", &content(299));
    let tried = tables.len();
    tables.sort();
    tables.dedup();
    assert_eq!(tables.len(), tried, "{tables:?}");
}

/// A check had to wait for a checkpoint that failed. The counts that this one had written, and that wait for its second try, were
/// reported as kept without reason.
#[test]
fn a_check_behind_a_checkpoint_that_failed_finds_nothing() {
    for trouble in [Trouble::AnswerLost, Trouble::Refused] {
        let mut world = World::new();
        // Every item has a segment of its own, also what the counts are in.
        world.settings.segment_bytes = 1;
        let wire = Wire::to(&world);
        let pool = wire.open(&world);
        file(&pool, "f", b"x");
        wire.plan(Call::Put, "manifests/", Trouble::Held, 1);
        let mut check = Box::pin(pool.check());
        // The checkpoint that it begins with.
        assert!(poll(&mut check).is_pending());
        for n in 0..40 {
            file(&pool, &format!("f{n}"), &[n; 70_000]);
        }
        block_on(pool.clone_inode(at(&pool, "f3"), Ino::ROOT, b"clone", Default::default())).unwrap();
        wire.plan(Call::Put, "manifests/", trouble, 1);
        let mut checkpoint = Box::pin(pool.checkpoint());
        assert!(poll(&mut checkpoint).is_pending());
        wire.let_go();
        assert!(poll(&mut check).is_pending(), "it waits for the other checkpoint");
        assert_eq!(kind(block_on(checkpoint)), Some(ErrorKind::Store));
        assert_eq!(block_on(check).unwrap().findings, [], "{trouble:?}");
    }
}

/// The frames of a large write go to the store before the log names them. When the store failed once there, the pool stopped
/// until a restart, as if the log had failed.
#[test]
fn a_sync_whose_frames_could_not_be_put_is_tried_again() {
    for trouble in [Trouble::AnswerLost, Trouble::Refused] {
        let world = World::new();
        let wire = Wire::to(&world);
        let pool = wire.open(&world);
        file(&pool, "small", b"before");
        let large = file(&pool, "large", &[7; 300_000]);
        wire.plan(Call::Put, "segments/", trouble, 2);
        for _ in 0..2 {
            assert_eq!(kind(block_on(pool.sync())), Some(ErrorKind::Store), "{trouble:?}");
            assert_eq!(block_on(pool.status()).stopped, None);
            write(&pool, large, 200_000, &[8; 200_000]);
        }
        assert_eq!(read(&pool, at(&pool, "small")), b"before");
        block_on(pool.sync()).unwrap();
        assert_eq!(wire.troubles(), 2);
        let content = [vec![7; 200_000], vec![8; 200_000]].concat();
        drop(pool);
        let pool = world.open();
        assert_eq!(read(&pool, at(&pool, "small")), b"before");
        assert_kept(&world, pool, "large", &content);
    }
}

/// The same put meets the object of another writer: nobody can wait for that to pass, and the pool stops.
#[test]
fn a_sync_whose_frames_meet_another_writers_stops_the_pool() {
    let world = World::new();
    let wire = Wire::to(&world);
    let pool = wire.open(&world);
    let other: std::sync::Arc<dyn offshoot_engine::object::ObjectStore> = world.objects.clone();
    block_on(other.put("segments/0000000001-00000001", vec![Bytes::from_static(b"of another writer")]))
        .unwrap();
    file(&pool, "f", &[7; 100_000]);
    assert_eq!(kind(block_on(pool.sync())), Some(ErrorKind::Fenced));
    assert!(block_on(pool.status()).stopped.is_some());
}
