//! What is missing, damaged, torn or taken over.

use futures::executor::block_on;
use offshoot_engine::log::{BlockingLog, MemoryLog};
use offshoot_engine::object::{Call, Fault};
use offshoot_engine::{ErrorKind, Ino, Kind, OpenMode, Pool, Settings, SystemClock};
use std::sync::Arc;

use crate::world::{Chance, Random, World, at, create, file, kind, list, read, reseal, write};

#[test]
fn a_second_writer_fences_the_first_which_loses_nothing_synced() {
    let world = World::new();
    let first = world.open();
    file(&first, "a", b"synced");
    block_on(first.checkpoint()).unwrap();
    // Another machine: the same bucket, a log of its own. (On one machine the log's lock keeps two writers apart.)
    let mut world = World { objects: world.objects.clone(), ..World::new() };
    // What the other log has is not here, and nobody can know that it is nothing.
    assert_eq!(kind(world.try_open()), Some(ErrorKind::Corrupt));
    let second = world.open_with_loss();
    assert_eq!(read(&second, at(&second, "a")), b"synced");
    file(&second, "b", b"by the second");
    block_on(second.checkpoint()).unwrap();
    file(&first, "c", b"too late");
    assert_eq!(kind(block_on(first.checkpoint())), Some(ErrorKind::Fenced));
    assert_eq!(kind(block_on(first.write(at(&first, "a"), 0, "x".into(), false))), Some(ErrorKind::Fenced));
    assert_eq!(kind(block_on(first.sync())), Some(ErrorKind::Fenced));
    assert!(block_on(first.status()).stopped.is_some());
    drop(first);
    file(&second, "d", b"still going");
    block_on(second.checkpoint()).unwrap();
    assert_eq!(block_on(second.check()).unwrap().findings, []);
    drop(second);
    let third = world.open();
    let names: Vec<_> = list(&third, Ino::ROOT).into_iter().map(|item| item.name).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in ["a", "b", "d"] {
        at(&third, name);
    }
}

#[test]
fn a_pool_is_made_or_found_as_asked() {
    let world = World::new();
    let open = |mode| {
        block_on(Pool::open(world.storage(), Arc::new(SystemClock::default()), Settings::default(), mode))
    };
    assert_eq!(kind(open(OpenMode::Existing)), Some(ErrorKind::NoPool));
    open(OpenMode::Create).unwrap();
    assert_eq!(kind(open(OpenMode::Create)), Some(ErrorKind::PoolExists));
    open(OpenMode::Existing).unwrap();
}

#[test]
fn a_log_without_any_manifest_is_not_taken_for_a_new_pool() {
    let world = World::new();
    let pool = world.open();
    file(&pool, "a", b"x");
    block_on(pool.sync()).unwrap();
    drop(pool);
    for name in world.object_names("manifests/") {
        block_on(offshoot_engine::object::ObjectStore::delete(&*world.objects, &name)).unwrap();
    }
    assert_eq!(kind(world.try_open()), Some(ErrorKind::Corrupt));
}

#[test]
fn a_damaged_or_newer_manifest_is_refused_by_name() {
    let world = World::new();
    let pool = world.open();
    for n in 0..30 {
        file(&pool, &format!("f{n}"), &[n; 600]);
    }
    block_on(pool.close()).unwrap();
    drop(pool);
    let name = world.object_names("manifests/").pop().unwrap();
    let good = world.object(&name);
    for bit in (0..good.len() * 8).step_by(7) {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        world.replace_object(&name, bytes);
        let error = world.try_open().map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit}: {error:?}");
        assert!(error.message().contains(&name), "{error:?}");
    }
    for length in 0..good.len() {
        world.replace_object(&name, good[..length].to_vec());
        assert_eq!(kind(world.try_open()), Some(ErrorKind::Corrupt), "cut at {length}");
    }
    // With a checksum that fits, nonsense must still be refused or make a pool that opens; it must not panic.
    for byte in 12..good.len() - 4 {
        let mut bytes = good.clone();
        bytes[byte] ^= 0xff;
        reseal(&mut bytes);
        world.replace_object(&name, bytes);
        let manifests = world.object_names("manifests/");
        drop(world.try_open());
        for new in world.object_names("manifests/") {
            if !manifests.contains(&new) {
                block_on(offshoot_engine::object::ObjectStore::delete(&*world.objects, &new)).unwrap();
            }
        }
    }
    let mut newer = good.clone();
    newer[8..12].copy_from_slice(&99u32.to_le_bytes());
    reseal(&mut newer);
    world.replace_object(&name, newer);
    assert_eq!(kind(world.try_open()), Some(ErrorKind::NewerFormat));
}

#[test]
fn a_damaged_segment_harms_what_it_holds_and_nothing_else() {
    let mut world = World::new();
    world.settings.segment_bytes = 8 << 10;
    let pool = world.open();
    for n in 0..40u8 {
        create(&pool, Ino::ROOT, &format!("d{n}"), Kind::Directory);
        file(
            &pool,
            &format!("d{n}/f"),
            &(0..3000u32)
                .map(|i| (i.wrapping_mul(u32::from(n + 1)).wrapping_mul(2_654_435_761) >> 24) as u8)
                .collect::<Vec<_>>(),
        );
    }
    block_on(pool.close()).unwrap();
    drop(pool);
    let contents = |pool: &Pool| -> Vec<Option<Vec<u8>>> {
        (0..40)
            .map(|n| {
                let mut ino = Ino::ROOT;
                for name in [format!("d{n}"), "f".to_owned()] {
                    ino = match block_on(pool.lookup(ino, name.as_bytes())) {
                        Ok(attributes) => attributes.ino,
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Corrupt);
                            return None;
                        }
                    };
                }
                let mut bytes = Vec::new();
                match block_on(pool.read(ino, 0, 10_000, &mut bytes)) {
                    Ok(()) => Some(bytes),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
                        None
                    }
                }
            })
            .collect()
    };
    let good = contents(&world.open());
    assert!(good.iter().all(Option::is_some));
    let segments = world.object_names("segments/");
    assert!(segments.len() > 5);
    for name in segments {
        let bytes = world.object(&name);
        // A bit in the middle: of an item, of one only.
        block_on(world.objects.flip_bit(&name, bytes.len() as u64 * 2)).unwrap();
        let pool = world.open();
        let found = contents(&pool);
        let hit = found.iter().filter(|content| content.is_none()).count();
        for (n, (found, good)) in found.iter().zip(&good).enumerate() {
            assert!(found.is_none() || found == good, "file {n} shows other bytes");
        }
        assert!(hit < 40, "{name}: all is lost");
        let report = block_on(pool.scrub()).unwrap();
        assert!(!report.findings.is_empty(), "{name}: scrub finds it");
        write(&pool, create(&pool, Ino::ROOT, "new", Kind::File), 0, b"new");
        block_on(pool.sync()).unwrap();
        drop(pool);
        let pool = world.open();
        assert_eq!(read(&pool, at(&pool, "new")), b"new");
        block_on(pool.unlink(Ino::ROOT, b"new")).unwrap();
        block_on(pool.sync()).unwrap();
        drop(pool);
        world.replace_object(&name, bytes);
    }
    assert_eq!(contents(&world.open()), good);
}

#[test]
fn a_log_torn_at_any_byte_gives_a_prefix() {
    let world = World::new();
    drop(world.open());
    let pool = world.open();
    for n in 0..6 {
        file(&pool, &format!("f{n}"), format!("content {n}").as_bytes());
        block_on(pool.sync()).unwrap();
    }
    drop(pool);
    let number = *world.log.list().unwrap().last().unwrap();
    let whole = world.log.read(number).unwrap();
    let mut last = 0;
    for length in 0..=whole.len() {
        let torn = World { log: Arc::new(MemoryLog::new()), objects: copy_objects(&world), ..World::new() };
        world.log.list().unwrap().into_iter().for_each(|number| torn.log.create(number).unwrap());
        torn.log.append(number, 0, &[whole.slice(..length), vec![0xaa; 40].into()]).unwrap();
        torn.log.sync(number).unwrap();
        let pool = torn.open();
        let names = list(&pool, Ino::ROOT).len();
        for n in 0..names {
            assert_eq!(read(&pool, at(&pool, &format!("f{n}"))), format!("content {n}").as_bytes());
        }
        assert!(names >= last && names <= 6);
        last = names;
    }
    assert_eq!(last, 6);
}

/// The same objects and settings, and empty log files.
pub fn copy(world: &World) -> World {
    let log = MemoryLog::new();
    world.log.list().unwrap().into_iter().for_each(|number| log.create(number).unwrap());
    let (objects, settings) = (copy_objects(world), world.settings.clone());
    World { objects, log: Arc::new(log), settings, ..World::new() }
}

pub fn copy_objects(
    world: &World,
) -> Arc<offshoot_engine::object::FaultStore<offshoot_engine::object::MemoryStore>> {
    let copy = World::new();
    for name in world.object_names("") {
        let put = offshoot_engine::object::ObjectStore::put(
            &*copy.objects,
            &name,
            vec![world.object(&name).into()],
        );
        block_on(put).unwrap();
    }
    copy.objects
}

#[test]
fn a_checkpoint_that_fails_is_made_good_by_the_next() {
    for fault in [Fault::Refused(ErrorKind::Store), Fault::Refused(ErrorKind::NoSpace)] {
        for nth in 1..6 {
            let world = World::new();
            let pool = world.open();
            for n in 0..50 {
                file(&pool, &format!("f{n}"), &vec![n; 2000]);
            }
            world.objects.fail_nth(Call::Put, nth, fault);
            let failed = (0..6).any(|n| {
                file(&pool, &format!("more{n}"), b"x");
                block_on(pool.checkpoint()).is_err()
            });
            assert!(failed, "put {nth} was refused");
            file(&pool, "later", b"x");
            block_on(pool.checkpoint()).unwrap_or_else(|error| panic!("after put {nth} failed: {error:?}"));
            assert_eq!(block_on(pool.check()).unwrap().findings, []);
            drop(pool);
            let pool = world.open();
            assert!(list(&pool, Ino::ROOT).len() > 51);
            assert_eq!(read(&pool, at(&pool, "later")), b"x");
            assert_eq!(block_on(pool.check()).unwrap().findings, []);
        }
    }
}

/// Two pools to which the same was done have segments of the same names, with items in the same places. When an object of one came
/// into the other, by a mix-up of two copies, its content was shown as the file's own.
#[test]
fn an_object_of_another_pool_is_damage() {
    let made = |identity: u64, content: u64| {
        let settings = Settings { identity: [identity, 2, 3, 4], reserve_bytes: 0, ..Settings::default() };
        let world = World::with(settings);
        let pool = world.open();
        file(&pool, "f", &Random(content).bytes_of_noise(100_000));
        block_on(pool.close()).unwrap();
        world
    };
    let (world, other) = (made(1, 1), made(9, 2));
    let names = world.object_names("segments/");
    assert_eq!(names, other.object_names("segments/"), "they look alike");
    for name in &names {
        assert_eq!(world.object(name).len(), other.object(name).len(), "they look alike");
        world.replace_object(name, other.object(name));
    }
    let pool = world.open();
    let looked = block_on(pool.lookup(Ino::ROOT, b"f"));
    let mut shown = Vec::new();
    let read = match looked {
        Ok(found) => block_on(pool.read(found.ino, 0, 100_000, &mut shown)).map(|_| ()),
        Err(error) => Err(error),
    };
    assert_eq!(kind(read), Some(ErrorKind::Corrupt), "{} bytes of another pool are shown", shown.len());
    assert!(!block_on(pool.scrub()).unwrap().findings.is_empty());
}
