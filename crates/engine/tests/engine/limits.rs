//! Full disks, little memory, and clones among threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use offshoot_engine::{ErrorKind, Ino, Kind, OpenMode, Pool, SetAttributes, SystemClock};

use crate::world::{Chance, World, at, clone, create, file, list, read, write};

fn open(world: &World) -> Pool {
    let clock = Arc::new(SystemClock::default());
    block_on(Pool::open(world.storage(), clock, world.settings.clone(), OpenMode::CreateIfMissing)).unwrap()
}

/// Runs a pool's background on a thread while something is done.
fn with_background<R>(pool: &Pool, act: impl FnOnce() -> R) -> R {
    std::thread::scope(|scope| {
        let background = std::thread::Builder::new().stack_size(16 << 20);
        background.spawn_scoped(scope, || block_on(pool.background())).unwrap();
        let result = act();
        block_on(pool.close()).unwrap();
        result
    })
}

/// A writer counts up in one file, then in another; no cut may show the second ahead of the first.
#[test]
fn a_clone_among_writers_is_a_cut_in_time() {
    let mut world = World::new();
    world.settings.flush_interval = Duration::from_millis(5);
    world.settings.checkpoint_interval = Duration::from_millis(30);
    let pool = open(&world);
    let directory = create(&pool, Ino::ROOT, "d", Kind::Directory);
    let files = [file(&pool, "d/first", &[0; 8]), file(&pool, "d/second", &[0; 8])];
    let stop = AtomicBool::new(false);
    let number = |bytes: Vec<u8>| u64::from_le_bytes(bytes.try_into().unwrap());
    let clones = with_background(&pool, || {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut count = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    count += 1;
                    files.iter().for_each(|file| write(&pool, *file, 0, &count.to_le_bytes()));
                }
            });
            scope.spawn(|| {
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    file(&pool, &format!("d/more{n}"), &vec![n as u8; 70_000]);
                    block_on(pool.unlink(directory, format!("more{n}").as_bytes())).unwrap();
                }
            });
            let mut clones = 0;
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(1500) {
                clone(&pool, directory, Ino::ROOT, &format!("c{clones}"));
                clones += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            stop.store(true, Ordering::Relaxed);
            clones
        })
    });
    let pool = open(&world);
    let mut last = 0;
    for n in 0..clones {
        let first = number(read(&pool, at(&pool, &format!("c{n}/first"))));
        let second = number(read(&pool, at(&pool, &format!("c{n}/second"))));
        assert!(first == second || first == second + 1, "clone {n} shows {first} and {second}");
        assert!(first >= last, "clone {n} is older than the one before it");
        last = first;
    }
    assert!(clones > 20 && last > 100, "{clones} clones, {last} counts");
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

#[test]
fn a_full_disk_loses_nothing_and_works_again_after_a_removal() {
    let mut world = World::new();
    world.settings.reserve_bytes = 1 << 20;
    world.objects.inner().set_capacity(Some(8 << 20));
    let pool = world.open();
    let noise = |n: u64| crate::world::Random(n).bytes_of_noise(40_000);
    let mut written = 0;
    let refused = loop {
        world.clock.step();
        let name = format!("f{written}");
        let result = block_on(pool.create(Ino::ROOT, name.as_bytes(), crate::world::new(Kind::File)));
        let result = match result {
            Ok(attributes) => {
                block_on(pool.write(attributes.ino, 0, noise(written).into(), false)).map(|_| ())
            }
            Err(error) => Err(error),
        };
        let result = match result {
            Ok(()) => block_on(pool.sync()),
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        if written % 20 == 0 {
            block_on(pool.checkpoint()).unwrap();
        }
        assert!(written < 1000, "the disk never fills");
    };
    assert_eq!(refused.kind(), ErrorKind::NoSpace, "{refused:?}");
    assert!(written > 100, "{written} files of 40,000 bytes fit");
    for n in 0..written {
        assert!(read(&pool, at(&pool, &format!("f{n}"))) == noise(n), "file {n}");
    }
    // A full disk can be emptied: removing works, and gives the space back.
    for n in 0..written / 2 {
        let name = format!("f{n}");
        let ino = at(&pool, &name);
        block_on(pool.unlink(Ino::ROOT, name.as_bytes())).unwrap();
        // Who knows a removed file keeps it: one reference each of creating and reading it, and this one.
        pool.forget(ino, 3);
    }
    for _ in 0..4 {
        block_on(pool.gc()).unwrap();
    }
    world.clock.step();
    file(&pool, "again", &noise(7));
    block_on(pool.close()).unwrap();
    drop(pool);
    let pool = world.open();
    assert!(read(&pool, at(&pool, "again")) == noise(7));
    for n in written / 2..written {
        assert!(read(&pool, at(&pool, &format!("f{n}"))) == noise(n), "file {n}");
    }
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

/// What was removed from a full pool was of no use until the next checkpoint was due, half a minute later.
#[test]
fn what_is_removed_makes_room_for_the_next_write() {
    let mut world = World::new();
    world.settings.capacity_bytes = Some(16 << 20);
    world.settings.reserve_bytes = 2 << 20;
    let pool = open(&world);
    let noise = |n: u64| crate::world::Random(n).bytes_of_noise(400_000);
    let fill = |from: u64| {
        for n in from.. {
            world.clock.step();
            let made =
                block_on(pool.create(Ino::ROOT, format!("f{n}").as_bytes(), crate::world::new(Kind::File)));
            let written = match &made {
                Ok(made) => block_on(pool.write(made.ino, 0, noise(n).into(), false)).map(|_| ()),
                Err(error) => Err(error.clone()),
            };
            if let Ok(made) = made {
                pool.forget(made.ino, 1);
            }
            if let Err(error) = written {
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
                return n;
            }
            block_on(pool.sync()).unwrap();
        }
        unreachable!()
    };
    let first = fill(0);
    assert!(first > 10, "{first} files fit");
    for n in 0..first / 2 {
        block_on(pool.unlink(Ino::ROOT, format!("f{n}").as_bytes())).unwrap();
    }
    let second = fill(1000);
    assert!(second - 1000 >= first / 2 - 2, "{} of {} files fit again", second - 1000, first / 2);
    for n in (first / 2..first).chain(1000..second) {
        assert!(read(&pool, at(&pool, &format!("f{n}"))) == noise(n), "file {n}");
    }
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

/// Writers run far ahead of the store: they have to wait instead of filling the memory.
#[test]
fn memory_stays_within_its_bound_under_load() {
    let mut world = World::new();
    world.settings.memory_bytes = 24 << 20;
    let pool = open(&world);
    let most = with_background(&pool, || {
        let mut most = 0;
        for n in 0..150u64 {
            let ino = file(&pool, &format!("f{n}"), b"");
            let data = crate::world::Random(n).bytes_of_noise(1 << 20);
            write(&pool, ino, 0, &data);
            for small in 0..20 {
                file(&pool, &format!("s{n}-{small}"), &data[..2000]);
            }
            most = most.max(block_on(pool.status()).memory_bytes);
        }
        most
    });
    assert!(most < 24 << 20, "{most} bytes of memory");
    let pool = open(&world);
    assert_eq!(list(&pool, Ino::ROOT).len(), 150 * 21);
    assert!(read(&pool, at(&pool, "f77")) == crate::world::Random(77).bytes_of_noise(1 << 20));
}

/// Changes that need no space copy nodes too. In an order that is not that of the tree they made all of a large directory
/// dirty at once, and nobody waited.
#[test]
fn memory_stays_within_its_bound_when_attributes_change_and_names_go_in_any_order() {
    let mut world = World::new();
    world.settings.memory_bytes = 4 << 20;
    let pool = open(&world);
    let directory = create(&pool, Ino::ROOT, "d", Kind::Directory);
    let mut names: Vec<String> = (0..16_000).map(|n| format!("a name that takes its room {n}")).collect();
    for name in &names {
        let ino = create(&pool, directory, name, Kind::File);
        pool.forget(ino, 1);
    }
    block_on(pool.checkpoint()).unwrap();
    let mut random = crate::world::Random(5);
    for at in 0..names.len() {
        let other = random.below(names.len() as u64) as usize;
        names.swap(at, other);
    }
    let mut most = 0;
    for (n, name) in names.iter().enumerate() {
        let ino = block_on(pool.lookup(directory, name.as_bytes())).unwrap().ino;
        if n % 2 == 0 {
            let set = SetAttributes { mode: Some(0o600), ..SetAttributes::default() };
            block_on(pool.set_attributes(ino, set)).unwrap();
        } else {
            block_on(pool.unlink(directory, name.as_bytes())).unwrap();
        }
        pool.forget(ino, 1);
        if n % 100 == 0 {
            most = most.max(block_on(pool.status()).memory_bytes);
        }
    }
    assert!(most < 4 << 20, "{most} bytes of memory");
    assert_eq!(list(&pool, directory).len(), names.len() / 2);
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}
