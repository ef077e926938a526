//! A log or a manifest that is damaged or lost is never taken for the end of the log.

use std::sync::Arc;

use futures::executor::block_on;
use offshoot_engine::log::{BlockingLog, MemoryLog};
use offshoot_engine::object::{Call, Fault};
use offshoot_engine::{ErrorKind, Ino, Pool};

use crate::world::{World, at, file, kind, list, read};

const FILES: usize = 6;

/// A pool whose process died: every file was synced by a batch of its own, in the newest log file. With where each ends.
fn killed() -> (World, u64, Vec<usize>) {
    let world = World::new();
    drop(world.open());
    let pool = world.open();
    let number = *world.log.list().unwrap().last().unwrap();
    let mut ends = Vec::new();
    for n in 0..FILES {
        file(&pool, &format!("f{n}"), format!("content {n}").as_bytes());
        block_on(pool.sync()).unwrap();
        ends.push(world.log.read(number).unwrap().len());
    }
    (world, number, ends)
}

fn log_with(number: u64, older: &World, bytes: Vec<u8>) -> Arc<MemoryLog> {
    let log = MemoryLog::new();
    for known in older.log.list().unwrap() {
        log.create(known).unwrap();
        let content = if known == number { bytes.clone() } else { older.log.read(known).unwrap().to_vec() };
        log.append(known, 0, &[content.into()]).unwrap();
        log.sync(known).unwrap();
    }
    Arc::new(log)
}

fn names(pool: &Pool) -> usize {
    let names = list(pool, Ino::ROOT).len();
    for n in 0..names {
        assert_eq!(read(pool, at(pool, &format!("f{n}"))), format!("content {n}").as_bytes());
    }
    names
}

#[test]
fn a_flipped_bit_among_synced_batches_is_refused_and_can_be_accepted() {
    let (original, number, ends) = killed();
    let whole = original.log.read(number).unwrap();
    for byte in 0..ends[FILES - 1] {
        let mut bytes = whole.to_vec();
        bytes[byte] ^= 1 << (byte % 8);
        let mut world = World {
            log: log_with(number, &original, bytes.clone()),
            objects: crate::damage::copy_objects(&original),
            ..World::new()
        };
        let before = ends.iter().filter(|end| **end <= byte).count();
        if before == FILES - 1 {
            // Nothing was written after the last batch that could tell that it had been synced.
            assert_eq!(names(&world.open()), before, "byte {byte}");
            continue;
        }
        let error = world.try_open().err().expect("damage is refused");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {byte}");
        let start = before.checked_sub(1).map_or(0, |last| ends[last]);
        for part in [
            format!("damaged behind byte {start} of log file {number:016x}"),
            format!("operation {}", before * 2),
            "--accept-loss".to_owned(),
        ] {
            assert!(error.message().contains(&part), "byte {byte}: {part:?} is not in {error}");
        }
        if byte % 16 != 0 {
            continue;
        }
        let pool = world.open_with_loss();
        assert_eq!(names(&pool), before, "byte {byte}");
        assert!(block_on(pool.status()).accepted_loss.unwrap().contains("is damaged behind byte"));
        assert_eq!(&world.log.kept()[&number][..], &bytes, "the damaged file is kept");
        file(&pool, "later", b"x");
        block_on(pool.sync()).unwrap();
        assert_eq!(block_on(pool.check()).unwrap().findings, []);
        drop(pool);
        let pool = world.open();
        at(&pool, "later");
        assert_eq!(block_on(pool.status()).accepted_loss, None);
        assert_eq!(list(&pool, Ino::ROOT).len(), before + 1);
    }
}

#[test]
fn a_lost_log_file_is_refused() {
    for clean in [false, true] {
        let (mut world, number, _) = killed();
        if clean {
            let pool = world.open();
            block_on(pool.checkpoint()).unwrap();
        }
        let all = world.log.list().unwrap();
        let lost = if clean { *all.last().unwrap() } else { number };
        world.log.lose(lost);
        let error = world.try_open().err().expect("a file is missing");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains(&format!("log file {lost:016x}")), "{error}");
        assert!(error.message().contains("missing"), "{error}");
        let pool = world.open_with_loss();
        assert_eq!(names(&pool), if clean { FILES } else { 0 });
        drop(pool);
        drop(world.open());
    }
}

#[test]
fn the_end_of_a_log_file_is_known_from_what_follows_it() {
    // From the manifest of the next start, which wrote nothing else.
    let (world, number, ends) = killed();
    drop(world.open());
    world.log.flip_bit(number, ends[FILES - 1] as u64 * 8 - 1).unwrap();
    let error = world.try_open().err().expect("the manifest knows better");
    assert!(error.message().contains(&format!("behind byte {}", ends[FILES - 2])), "{error}");

    // From a batch in the next file, begun by a checkpoint that failed.
    let (world, _, _) = killed();
    let pool = world.open();
    file(&pool, "g", b"one");
    block_on(pool.sync()).unwrap();
    let number = *world.log.list().unwrap().last().unwrap();
    let end = world.log.read(number).unwrap().len() as u64;
    world.objects.fail_nth(Call::Put, 1, Fault::Refused(ErrorKind::Store));
    assert_eq!(kind(block_on(pool.checkpoint())), Some(ErrorKind::Store));
    file(&pool, "h", b"two");
    block_on(pool.sync()).unwrap();
    drop(pool);
    world.log.flip_bit(number, end * 8 - 1).unwrap();
    let error = world.try_open().err().expect("the next file knows better");
    assert!(error.message().contains("goes on behind operation"), "{error}");
}

#[test]
fn a_replay_that_meets_a_damaged_node_is_refused_and_can_be_accepted() {
    let mut world = World::new();
    let pool = world.open();
    crate::world::create(&pool, Ino::ROOT, "d", offshoot_engine::Kind::Directory);
    for n in 0..40 {
        file(&pool, &format!("d/f{n}"), &[n; 400]);
    }
    block_on(pool.close()).unwrap();
    drop(pool);
    let pool = world.open();
    file(&pool, "before", b"x");
    file(&pool, "d/more", b"y");
    file(&pool, "after", b"z");
    block_on(pool.sync()).unwrap();
    drop(pool);
    for name in world.object_names("segments/") {
        world.lose_object(&name);
    }
    let error = world.try_open().err().expect("the directory is lost");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    // The root itself is in the store too.
    drop(world.open_with_loss());
    let pool = world.open();
    assert_eq!(kind(block_on(pool.lookup(Ino::ROOT, b"after"))), Some(ErrorKind::Corrupt));
}

#[test]
fn the_newest_sound_manifest_can_be_opened() {
    for (lose_log, restart, damage) in [(true, false, 3_usize), (false, false, 0), (false, true, 3)] {
        let mut world = World::new();
        world.settings.segment_bytes = 4 << 10;
        let pool = world.open();
        for n in 0..FILES {
            file(&pool, &format!("f{n}"), format!("content {n}").as_bytes());
        }
        block_on(pool.checkpoint()).unwrap();
        file(&pool, "f6", b"content 6");
        if lose_log {
            // A newer manifest, and somebody has deleted the log before it.
            block_on(pool.checkpoint()).unwrap();
            drop(pool);
            world.log.lose(world.log.list().unwrap()[0]);
        } else if !restart {
            // A newer manifest, and all that the one before it needs is there.
            block_on(pool.checkpoint()).unwrap();
            drop(pool);
        } else {
            // A newer manifest of the next start.
            block_on(pool.sync()).unwrap();
            drop(pool);
            drop(world.open());
        }
        let newest = world.object_names("manifests/").pop().unwrap();
        let mut bytes = world.object(&newest);
        match damage {
            0 => bytes.clear(),
            bit => bytes[40] ^= 1 << bit,
        }
        world.replace_object(&newest, bytes.clone());
        let error = world.try_open().err().expect("nothing is passed over in silence");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        for part in [newest.as_str(), "is sound", "--accept-loss"] {
            assert!(error.message().contains(part), "{part:?} is not in {error}");
        }
        let pool = world.open_with_loss();
        assert_eq!(names(&pool), if lose_log { FILES } else { FILES + 1 });
        let words = block_on(pool.status()).accepted_loss.unwrap();
        assert!(words.contains(&newest), "{words}");
        assert_eq!(lose_log, words.contains("missing"), "{words}");
        assert_eq!(world.object(&format!("damaged/{newest}")), bytes);
        file(&pool, "later", b"x");
        block_on(pool.sync()).unwrap();
        drop(pool);
        let pool = world.open();
        at(&pool, "later");
        assert_eq!(block_on(pool.check()).unwrap().findings, []);
    }
}

#[test]
fn segments_that_a_lost_manifest_moved_are_found_again() {
    let mut world = World::new();
    world.settings.segment_bytes = 64 << 10;
    let pool = world.open();
    let content =
        |n: u8| (0..20_000).map(move |i: u32| (i.wrapping_mul(2_654_435_761 + u32::from(n)) >> 24) as u8);
    for n in 0..12 {
        file(&pool, &format!("f{n}"), &content(n).collect::<Vec<_>>());
    }
    block_on(pool.checkpoint()).unwrap();
    for n in (0..12).filter(|n| n % 3 != 0) {
        block_on(pool.unlink(Ino::ROOT, format!("f{n}").as_bytes())).unwrap();
    }
    block_on(pool.checkpoint()).unwrap();
    // Several rounds, so that sparse segments are rewritten and their old objects deleted.
    for _ in 0..3 {
        block_on(pool.gc()).unwrap();
    }
    file(&pool, "new", b"x");
    block_on(pool.gc()).unwrap();
    drop(pool);
    let newest = world.object_names("manifests/").pop().unwrap();
    world.replace_object(&newest, b"nothing".to_vec());
    let pool = world.open_with_loss();
    for n in (0..12).filter(|n| n % 3 == 0) {
        assert_eq!(read(&pool, at(&pool, &format!("f{n}"))), content(n).collect::<Vec<_>>());
    }
    drop(pool);
    let pool = world.open();
    assert_eq!(block_on(pool.scrub()).unwrap().findings, []);
}

#[test]
fn strange_objects_among_the_manifests_are_left_alone() {
    let world = World::new();
    let pool = world.open();
    file(&pool, "f0", b"content 0");
    let strange =
        ["manifests/junk", "manifests/0", "manifests/ffffffffffffffff.old", "manifests/00000000000000FF"];
    for name in strange {
        block_on(offshoot_engine::object::ObjectStore::put(&*world.objects, name, vec!["x".into()])).unwrap();
    }
    block_on(pool.checkpoint()).unwrap();
    block_on(pool.checkpoint()).unwrap();
    drop(pool);
    let pool = world.open();
    assert_eq!(names(&pool), 1);
    block_on(pool.checkpoint()).unwrap();
    for name in strange {
        assert_eq!(world.object(name), b"x");
    }
}

/// The number of a segment that the log names was given again when the segment was lost: the file then showed what the
/// new segment had at that index.
#[test]
fn a_lost_segment_that_the_log_names_is_never_taken_for_a_new_one() {
    let world = World::new();
    drop(world.open());
    let pool = world.open();
    let before = world.object_names("segments/");
    let lost = file(&pool, "lost", &[1; 100_000]);
    block_on(pool.sync()).unwrap();
    pool.forget(lost, 1);
    drop(pool);
    let names: Vec<_> =
        world.object_names("segments/").into_iter().filter(|name| !before.contains(name)).collect();
    let [name] = &names[..] else { panic!("{names:?}") };
    world.lose_object(name);
    for round in 0..3_u8 {
        let pool = world.open();
        let new = file(&pool, &format!("new{round}"), &[2; 100_000]);
        block_on(pool.sync()).unwrap();
        pool.forget(new, 1);
        if round == 1 {
            block_on(pool.checkpoint()).unwrap();
        }
        let mut bytes = Vec::new();
        let lost = at(&pool, "lost");
        assert_eq!(
            kind(block_on(pool.read(lost, 0, 100_000, &mut bytes))),
            Some(ErrorKind::Corrupt),
            "{round}"
        );
        for report in [block_on(pool.check()).unwrap(), block_on(pool.scrub()).unwrap()] {
            assert!(
                report.findings.iter().any(|finding| finding.path.as_deref() == Some(b"/lost")),
                "{report:?}"
            );
        }
    }
}
