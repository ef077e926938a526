//! A damaged pool that was repaired is as sound as any, and holds everything that could still be read.

use futures::executor::block_on;
use offshoot_engine::{ErrorKind, Ino, Kind, Pool};

use crate::world::{Random, World, at, clone, create, file, kind, list, write};

/// Repairs a pool, and sees that nothing is left to be found.
pub fn repair(pool: &Pool, trace: &str) -> offshoot_engine::report::RepairReport {
    let report = block_on(pool.repair(false)).unwrap_or_else(|error| panic!("{trace}: repair: {error:?}"));
    assert_eq!(report.remaining, [], "{trace}: {report:#?}");
    assert_sound(pool, trace);
    report
}

/// Neither check nor scrub finds anything, and there is nothing to repair.
pub fn assert_sound(pool: &Pool, trace: &str) {
    assert_eq!(block_on(pool.check()).unwrap().findings, [], "{trace}: check");
    assert_eq!(block_on(pool.scrub()).unwrap().findings, [], "{trace}: scrub");
    let again = block_on(pool.repair(false)).unwrap();
    assert!(again.sound && again.changes.is_empty(), "{trace}: {again:?}");
}

/// Removes everything, and sees that nothing is left in the store.
pub fn assert_all_comes_back(pool: &Pool, trace: &str) {
    for item in list(pool, Ino::ROOT) {
        block_on(pool.remove_tree(Ino::ROOT, &item.name))
            .unwrap_or_else(|error| panic!("{trace}: removing {:?}: {error:?}", item.name));
    }
    for _ in 0..3 {
        block_on(pool.gc()).unwrap();
    }
    let status = block_on(pool.status());
    // A node of the tree of realms and one of the ledger may be there.
    assert!(status.live_bytes < 400, "{trace}: {status:?}");
    assert_eq!(block_on(pool.check()).unwrap().findings, [], "{trace}: check of an empty pool");
}

fn small() -> World {
    let mut world = World::new();
    world.settings.segment_bytes = 8 << 10;
    world
}

#[test]
fn a_sound_pool_is_left_as_it_is() {
    let world = small();
    let pool = world.open();
    for d in 0..3 {
        create(&pool, Ino::ROOT, &format!("d{d}"), Kind::Directory);
        file(&pool, &format!("d{d}/f"), &Random(d).bytes_of_noise(5000));
    }
    clone(&pool, at(&pool, "d0"), Ino::ROOT, "copy");
    block_on(pool.gc()).unwrap();
    let before = world.object_names("segments/");
    let report = block_on(pool.repair(false)).unwrap();
    assert!(report.sound, "{report:?}");
    assert_eq!(report.changes, []);
    assert_eq!(world.object_names("segments/"), before);
    assert_all_comes_back(&pool, "sound");
}

#[test]
fn counts_that_were_lost_are_made_anew_and_everything_comes_back() {
    let world = small();
    let pool = world.open();
    for d in 0..4 {
        create(&pool, Ino::ROOT, &format!("d{d}"), Kind::Directory);
        for f in 0..6 {
            file(&pool, &format!("d{d}/f{f}"), &Random(d * 10 + f).bytes_of_noise(1500));
        }
        block_on(pool.gc()).unwrap();
    }
    clone(&pool, at(&pool, "d1"), Ino::ROOT, "copy");
    block_on(pool.close()).unwrap();
    drop(pool);
    let mut tried = 0;
    for name in world.object_names("segments/") {
        let mut damaged = World {
            objects: crate::damage::copy_objects(&world),
            log: std::sync::Arc::new(offshoot_engine::log::MemoryLog::new()),
            ..World::new()
        };
        damaged.settings = world.settings.clone();
        let log = &damaged.log;
        use offshoot_engine::log::LogStore;
        world.log.list().unwrap().into_iter().for_each(|number| log.create(number).unwrap());
        damaged.lose_object(&name);
        let pool = damaged.open();
        block_on(pool.remove_tree(Ino::ROOT, b"d3")).ok();
        block_on(pool.gc()).unwrap();
        let was_lost = block_on(pool.status()).counts_lost;
        tried += usize::from(was_lost);
        let report = repair(&pool, &name);
        assert!(!report.sound || !was_lost, "{name}");
        assert!(!block_on(pool.status()).counts_lost);
        drop(pool);
        let pool = damaged.open();
        assert_sound(&pool, &name);
        write(&pool, create(&pool, Ino::ROOT, "new", Kind::File), 0, b"new");
        assert_eq!(kind(block_on(pool.lookup(Ino::ROOT, b"nothing"))), Some(ErrorKind::NotFound));
        block_on(pool.checkpoint()).unwrap();
        assert_sound(&pool, &name);
        assert_all_comes_back(&pool, &name);
    }
    assert!(tried > 0, "a segment holds the ledger");
}
