//! A damaged pool that was repaired is as sound as any, and holds everything that could still be read.

use futures::executor::block_on;
use offshoot_engine::{ErrorKind, Ino, Kind, Pool};

use crate::damage::copy;
use crate::world::{Chance, Random, World, at, clone, create, file, kind, list, write};

/// Repairs a pool, and sees that nothing is left to be found.
pub fn repair(pool: &Pool, trace: &str) -> offshoot_engine::report::RepairReport {
    let report = block_on(pool.repair(false)).unwrap_or_else(|error| panic!("{trace}: repair: {error:?}"));
    assert_eq!(report.remaining, [], "{trace}: {report:#?}");
    assert_sound(pool, trace);
    report
}

/// Neither check nor scrub finds anything, and so there is nothing to repair.
pub fn assert_sound(pool: &Pool, trace: &str) {
    let again = block_on(pool.repair(false)).unwrap();
    assert_eq!(again.before.findings, [], "{trace}");
    assert!(again.sound && again.changes.is_empty(), "{trace}: {again:?}");
}

/// Removes everything of a pool of which nobody knows anything, and sees that nothing is left in the store.
pub fn assert_all_comes_back(pool: &Pool, trace: &str) {
    let status = block_on(pool.status());
    assert_eq!(status.known_inodes, 0, "{trace}: open it anew first");
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
    drop(pool);
    let pool = world.open();
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
        let damaged = copy(&world);
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
        drop(pool);
        let pool = damaged.open();
        assert_all_comes_back(&pool, &name);
    }
    assert!(tried > 0, "a segment holds the ledger");
}

/// The segment whose loss makes `is_hit` true of a pool that was opened without it.
fn segment_that(world: &World, is_hit: impl Fn(&Pool) -> bool) -> String {
    let found = world.object_names("segments/").into_iter().find(|name| {
        let damaged = copy(world);
        damaged.lose_object(name);
        damaged.try_open().is_ok_and(|pool| is_hit(&pool))
    });
    found.expect("one of the segments")
}

fn try_read(pool: &Pool, path: &str) -> offshoot_engine::Result<Vec<u8>> {
    block_on(async {
        let mut ino = Ino::ROOT;
        for name in path.split('/') {
            ino = pool.lookup(ino, name.as_bytes()).await?.ino;
        }
        let mut bytes = Vec::new();
        pool.read(ino, 0, 1 << 22, &mut bytes).await?;
        Ok(bytes)
    })
}

/// A pool with one large file of noise among others, in a segment of its own, and a clone of it; closed.
fn large() -> World {
    let mut world = World::new();
    world.settings.segment_bytes = 64 << 10;
    let pool = world.open();
    create(&pool, Ino::ROOT, "d", Kind::Directory);
    let large = file(&pool, "d/large", &Random(1).bytes_of_noise(400_000));
    file(&pool, "d/small", b"small");
    block_on(pool.checkpoint()).unwrap();
    clone(&pool, large, Ino::ROOT, "copy");
    block_on(pool.close()).unwrap();
    drop(pool);
    world
}

#[test]
fn a_lost_part_of_a_file_stays_unreadable_until_it_is_overwritten() {
    let world = large();
    let name = segment_that(&world, |pool| {
        kind(try_read(pool, "d/large")) == Some(ErrorKind::Corrupt) && try_read(pool, "d/small").is_ok()
    });
    world.lose_object(&name);
    let pool = world.open();
    let part = |pool: &Pool, path: &str, from: u64, length: usize| {
        let mut bytes = Vec::new();
        block_on(pool.read(at(pool, path), from, length, &mut bytes)).map(|()| bytes)
    };
    let lost: Vec<bool> = (0..40).map(|n| part(&pool, "d/large", n * 10_000, 10_000).is_err()).collect();
    assert!(lost.contains(&true) && lost.contains(&false), "{lost:?}");
    let report = repair(&pool, "large");
    for path in ["/d/large", "/copy"] {
        let told =
            report.before.findings.iter().find(|finding| finding.path.as_deref() == Some(path.as_bytes()));
        let told = told.unwrap_or_else(|| panic!("{path} is not told of: {:?}", report.before.findings));
        for (n, lost) in lost.iter().enumerate() {
            let middle = n as u64 * 10_000 + 5000;
            if told.ranges.iter().any(|range| range.contains(&middle)) {
                assert!(lost, "{path}: byte {middle}");
            }
        }
    }
    drop(pool);
    let pool = world.open();
    let noise = Random(1).bytes_of_noise(400_000);
    for path in ["d/large", "copy"] {
        for (n, lost) in lost.iter().enumerate() {
            let read = part(&pool, path, n as u64 * 10_000, 10_000);
            assert_eq!(read.is_err(), *lost, "{path}: {n}");
            match read {
                Ok(bytes) => assert!(bytes == noise[n * 10_000..(n + 1) * 10_000]),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Corrupt);
                    assert!(error.message().contains("overwritten"), "{error}");
                }
            }
        }
    }
    let marked = block_on(pool.check()).unwrap().lost_bytes;
    assert!(marked > 0);
    // Neither defragmentation nor a clone touches what is lost, and it is data to whoever looks for holes.
    block_on(pool.defragment(at(&pool, "d/large"))).unwrap();
    block_on(pool.gc()).unwrap();
    clone(&pool, at(&pool, "d"), Ino::ROOT, "e");
    let first = lost.iter().position(|lost| *lost).unwrap() as u64 * 10_000;
    assert!(part(&pool, "e/large", first, 10_000).is_err());
    let large = at(&pool, "d/large");
    block_on(pool.write(large, 0, noise[..400_000].to_vec().into(), false)).unwrap();
    assert!(part(&pool, "d/large", 0, 400_000).unwrap() == noise);
    assert!(part(&pool, "e/large", first, 10_000).is_err());
    // Cut off or punched, it is gone too.
    block_on(pool.allocate(at(&pool, "e/large"), 0, 400_000, offshoot_engine::AllocateMode::PunchHole))
        .unwrap();
    assert!(part(&pool, "e/large", 0, 400_000).unwrap() == vec![0; 400_000]);
    let set = offshoot_engine::SetAttributes { size: Some(0), ..Default::default() };
    block_on(pool.set_attributes(at(&pool, "copy"), set)).unwrap();
    block_on(pool.checkpoint()).unwrap();
    assert_eq!(block_on(pool.check()).unwrap().lost_bytes, 0, "{:?}", list(&pool, Ino::ROOT));
    drop(pool);
    let pool = world.open();
    assert_sound(&pool, "overwritten");
    assert_all_comes_back(&pool, "overwritten");
}

#[test]
fn a_file_whose_tree_is_lost_is_unreadable_and_never_zeros() {
    let mut world = World::new();
    world.settings.segment_bytes = 4 << 10;
    let pool = world.open();
    // More than one node of extents, with holes between.
    let ino = create(&pool, Ino::ROOT, "f", Kind::File);
    for n in 0..700_u64 {
        write(&pool, ino, n * 200_000, &n.to_le_bytes());
        if n % 100 == 99 {
            block_on(pool.checkpoint()).unwrap();
        }
    }
    block_on(pool.close()).unwrap();
    drop(pool);
    let piece = |pool: &Pool, n: u64| {
        let mut bytes = Vec::new();
        block_on(pool.read(at(pool, "f"), n * 200_000, 8, &mut bytes)).map(|()| bytes)
    };
    let mut tried = 0;
    for name in world.object_names("segments/") {
        let damaged = copy(&world);
        damaged.lose_object(&name);
        let pool = damaged.open();
        if block_on(pool.lookup(Ino::ROOT, b"f")).is_err() {
            continue;
        }
        let before: Vec<_> = (0..700).map(|n| piece(&pool, n).ok()).collect();
        repair(&pool, &name);
        drop(pool);
        let pool = damaged.open();
        for n in 0..700 {
            match piece(&pool, n) {
                Ok(bytes) => assert_eq!(bytes, n.to_le_bytes(), "{name}: {n}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {n}: {error:?}"),
            }
            assert!(before[n as usize].is_none() || piece(&pool, n).is_ok(), "{name}: {n} could be read");
        }
        tried += usize::from(before.iter().any(Option::is_none));
        // Content whose way is lost is found, at its offsets.
        for item in
            block_on(pool.lookup(Ino::ROOT, b"lost+found")).ok().map_or(Vec::new(), |d| list(&pool, d.ino))
        {
            let mut bytes = Vec::new();
            block_on(pool.read(at(&pool, "lost+found"), 0, 1, &mut bytes)).unwrap_err();
            let found = at(&pool, &format!("lost+found/{}", String::from_utf8(item.name).unwrap()));
            for n in 0..700 {
                bytes.clear();
                if block_on(pool.read(found, n * 200_000, 8, &mut bytes)).is_ok() && bytes.len() == 8 {
                    assert!(bytes == n.to_le_bytes() || bytes == [0; 8], "{name}: {n}");
                }
            }
        }
        write(&pool, at(&pool, "f"), 0, &vec![1; 100_000]);
        assert_sound(&pool, &name);
        drop(pool);
        let pool = damaged.open();
        assert_all_comes_back(&pool, &name);
    }
    assert!(tried > 2, "nodes of the tree were lost {tried} times");
}

#[test]
fn what_lay_below_a_lost_directory_is_in_lost_and_found() {
    let mut world = World::new();
    world.settings.segment_bytes = 4 << 10;
    let pool = world.open();
    create(&pool, Ino::ROOT, "home", Kind::Directory);
    create(&pool, at(&pool, "home"), "alice", Kind::Directory);
    let long =
        |n: u64| Random(n).bytes_of_noise(50).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for n in 0..150 {
        file(&pool, &format!("home/alice/{n:03} {}", long(n)), format!("content {n}").as_bytes());
    }
    create(&pool, at(&pool, "home/alice"), "sub", Kind::Directory);
    file(&pool, "home/alice/sub/deep", b"deep");
    block_on(pool.checkpoint()).unwrap();
    clone(&pool, at(&pool, "home"), Ino::ROOT, "snapshot");
    // What is above is written again, and lies elsewhere then.
    file(&pool, "home/other", b"x");
    file(&pool, "snapshot/other", b"x");
    block_on(pool.close()).unwrap();
    drop(pool);
    let mut recovered = 0;
    for name in world.object_names("segments/") {
        let damaged = copy(&world);
        damaged.lose_object(&name);
        let pool = damaged.open();
        let Ok(home) = block_on(pool.lookup(Ino::ROOT, b"home")) else { continue };
        if block_on(pool.lookup(home.ino, b"alice")).is_err() {
            continue;
        }
        let names = |pool: &Pool| {
            (0..150)
                .filter(|n| try_read(pool, &format!("home/alice/{n:03} {}", long(*n))).is_ok())
                .collect::<Vec<u64>>()
        };
        let before = names(&pool);
        let report = repair(&pool, &name);
        assert_eq!(names(&pool), before, "{name}");
        let Ok(lost_and_found) = block_on(pool.lookup(Ino::ROOT, b"lost+found")) else { continue };
        assert_eq!(lost_and_found.mode, 0o700);
        let mut found = before.len();
        for item in list(&pool, lost_and_found.ino) {
            let directory = String::from_utf8(item.name).unwrap();
            if item.attributes.kind != Kind::Directory {
                continue;
            }
            let names = ["home%alice.", "snapshot%alice.", "directory."];
            assert!(names.iter().any(|name| directory.starts_with(name)), "{directory}");
            for below in list(&pool, at(&pool, &format!("lost+found/{directory}"))) {
                let below = String::from_utf8(below.name).unwrap();
                let path = format!("lost+found/{directory}/{below}");
                match below[..3].parse::<u64>() {
                    Ok(n) => {
                        assert_eq!(try_read(&pool, &path).unwrap(), format!("content {n}").as_bytes());
                        found += 1;
                    }
                    Err(_) if below == "sub" => {
                        assert_eq!(try_read(&pool, &format!("{path}/deep")).unwrap(), b"deep");
                    }
                    Err(_) => assert_eq!(try_read(&pool, &path).unwrap(), b"deep"),
                }
            }
        }
        if before.is_empty() {
            assert!(report.found > 0, "{name}: {:?}", report.changes);
            // The root of the directory's tree was lost, and at most the leaves of the same segment with it.
            assert!(found > 30, "{name}: {found}");
        }
        recovered += found - before.len();
        drop(pool);
        let pool = damaged.open();
        assert_sound(&pool, &name);
        assert_all_comes_back(&pool, &name);
    }
    assert!(recovered > 100, "{recovered} names");
}

#[test]
fn clones_can_be_made_and_removed_again_when_the_tree_of_realms_is_made_anew() {
    let world = small();
    let pool = world.open();
    create(&pool, Ino::ROOT, "d", Kind::Directory);
    file(&pool, "d/f", &Random(1).bytes_of_noise(3000));
    block_on(pool.checkpoint()).unwrap();
    for n in 0..5 {
        clone(&pool, at(&pool, "d"), Ino::ROOT, &format!("c{n}"));
        // Each checkpoint writes the tree of realms, and little else.
        block_on(pool.checkpoint()).unwrap();
    }
    let kept = at(&pool, "c3/f");
    block_on(pool.close()).unwrap();
    drop(pool);
    let mut tried = 0;
    for name in world.object_names("segments/") {
        for byte in 24..world.object(&name).len() {
            if byte % 7 != 0 {
                continue;
            }
            let damaged = copy(&world);
            block_on(damaged.objects.flip_bit(&name, byte as u64 * 8)).unwrap();
            let pool = damaged.open();
            let findings = block_on(pool.scrub()).unwrap().findings;
            let [finding] = &findings[..] else { continue };
            if !finding.message.contains("tree of realms") {
                continue;
            }
            tried += 1;
            let again = |pool: &Pool| {
                block_on(pool.clone_inode(at(pool, "d"), Ino::ROOT, b"again", Default::default()))
            };
            assert_eq!(kind(again(&pool)), Some(ErrorKind::Corrupt));
            assert_eq!(kind(block_on(pool.remove_tree(Ino::ROOT, b"c1"))), Some(ErrorKind::Corrupt));
            let known = at(&pool, "c3/f");
            assert_eq!(known, kept);
            repair(&pool, &name);
            // What somebody knows keeps its number, and no other clone gets the number of its realm.
            assert_eq!(at(&pool, "c3/f"), kept);
            let made = again(&pool).unwrap().ino;
            for n in 0..5 {
                assert_ne!(made.realm(), at(&pool, &format!("c{n}")).realm());
            }
            block_on(pool.remove_tree(Ino::ROOT, b"c1")).unwrap();
            assert_sound(&pool, &name);
            drop(pool);
            let pool = damaged.open();
            assert_sound(&pool, &name);
            assert_all_comes_back(&pool, &name);
        }
    }
    assert!(tried > 0, "a node of the tree of realms was hit");
}

#[test]
fn a_power_cut_in_a_repair_leaves_the_pool_as_it_was_or_repaired() {
    let world = large();
    let lost = segment_that(&world, |pool| {
        kind(try_read(pool, "d/large")) == Some(ErrorKind::Corrupt) && try_read(pool, "d/small").is_ok()
    });
    world.lose_object(&lost);
    let mut repaired = 0;
    for calls in 0..200 {
        let cut = World::with(world.settings.clone());
        for name in world.object_names("") {
            use offshoot_engine::object::ObjectStore;
            block_on(cut.objects.put(&name, vec![world.object(&name).into()])).unwrap();
        }
        use offshoot_engine::log::BlockingLog;
        world.log.list().unwrap().into_iter().for_each(|number| cut.log.create(number).unwrap());
        let pool = cut.open();
        let before: Vec<_> = ["d/large", "d/small", "copy"].map(|path| try_read(&pool, path).ok()).into();
        cut.power.cut_after(calls, calls % 2 == 0);
        let ended = block_on(pool.repair(false)).is_ok() && !cut.power.is_cut();
        drop(pool);
        cut.power.restore();
        cut.log.crash(calls);
        let pool = cut.open();
        let after: Vec<_> = ["d/large", "d/small", "copy"].map(|path| try_read(&pool, path).ok()).into();
        assert!(before == after, "cut after {calls} calls");
        let report = repair(&pool, &format!("cut after {calls} calls"));
        repaired += usize::from(report.sound);
        drop(pool);
        let pool = cut.open();
        assert_all_comes_back(&pool, &format!("cut after {calls} calls"));
        if ended {
            break;
        }
        assert!(calls < 199, "a repair ends");
    }
    assert!(repaired > 0, "some were repaired already");
}

#[test]
fn changes_wait_while_the_pool_is_repaired_and_are_in_it_afterwards() {
    let world = large();
    let lost = segment_that(&world, |pool| {
        kind(try_read(pool, "d/large")) == Some(ErrorKind::Corrupt) && try_read(pool, "d/small").is_ok()
    });
    world.lose_object(&lost);
    let pool = world.open();
    let (directory, small) = (at(&pool, "d"), at(&pool, "d/small"));
    pool.hold(small).unwrap();
    block_on(pool.unlink(directory, b"small")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let has_begun = std::sync::Barrier::new(2);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0_u64;
            while written < 300 && !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let name = format!("w{written}");
                write(&pool, create(&pool, directory, &name, Kind::File), 0, &written.to_le_bytes());
                if written.is_multiple_of(30) {
                    clone(&pool, directory, Ino::ROOT, &format!("c{written}"));
                }
                written += 1;
                if written == 1 {
                    has_begun.wait();
                }
            }
            written
        });
        has_begun.wait();
        for _ in 0..3 {
            let report = block_on(pool.repair(false)).unwrap();
            assert_eq!(report.remaining, []);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap()
    });
    // What was open stays open.
    let mut bytes = Vec::new();
    block_on(pool.read(small, 0, 10, &mut bytes)).unwrap();
    assert_eq!(bytes, b"small");
    block_on(pool.release(small)).unwrap();
    for round in 0..2 {
        let pool = if round == 0 { pool.clone() } else { world.open() };
        for n in 0..written {
            assert_eq!(try_read(&pool, &format!("d/w{n}")).unwrap(), n.to_le_bytes());
            assert!(!n.is_multiple_of(30) || at(&pool, &format!("c{n}")) != Ino::ROOT);
        }
        assert_sound(&pool, "after writing");
        block_on(pool.sync()).unwrap();
    }
    assert!(written > 0);
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = large();
    let lost = segment_that(&world, |pool| kind(try_read(pool, "d/large")) == Some(ErrorKind::Corrupt));
    world.lose_object(&lost);
    let pool = world.open();
    let planned = block_on(pool.repair(true)).unwrap();
    assert!(planned.dry_run && !planned.sound && planned.remaining.is_empty());
    let before = block_on(pool.scrub()).unwrap().findings;
    assert!(!before.is_empty());
    let objects = world.object_names("segments/");
    assert_eq!(block_on(pool.repair(true)).unwrap().changes, planned.changes);
    assert_eq!(block_on(pool.scrub()).unwrap().findings, before);
    assert_eq!(world.object_names("segments/"), objects);
}

#[test]
fn files_with_several_names_are_counted_or_found() {
    let mut world = World::new();
    world.settings.segment_bytes = 2 << 10;
    let pool = world.open();
    create(&pool, Ino::ROOT, "a", Kind::Directory);
    create(&pool, Ino::ROOT, "b", Kind::Directory);
    for n in 0..12 {
        let ino = file(&pool, &format!("a/f{n}"), &Random(n).bytes_of_noise(700));
        block_on(pool.link(ino, at(&pool, "b"), format!("g{n}").as_bytes())).unwrap();
        if n < 6 {
            block_on(pool.unlink(at(&pool, "a"), format!("f{n}").as_bytes())).unwrap();
        }
    }
    block_on(pool.checkpoint()).unwrap();
    clone(&pool, at(&pool, "b"), Ino::ROOT, "c");
    block_on(pool.close()).unwrap();
    drop(pool);
    let (mut counted, mut found) = (0, 0);
    for name in world.object_names("segments/") {
        let damaged = copy(&world);
        damaged.lose_object(&name);
        let pool = damaged.open();
        let paths = |pool: &Pool| {
            let all = (0..12).flat_map(|n| [format!("a/f{n}"), format!("b/g{n}"), format!("c/g{n}")]);
            all.filter_map(|path| try_read(pool, &path).ok().map(|bytes| (path, bytes))).collect::<Vec<_>>()
        };
        let before = paths(&pool);
        repair(&pool, &name);
        for (path, bytes) in before {
            assert_eq!(try_read(&pool, &path).unwrap(), bytes, "{name}: {path}");
        }
        let all = |pool: &Pool, path: &str| {
            block_on(pool.lookup(Ino::ROOT, path.as_bytes())).ok().map_or(Vec::new(), |d| list(pool, d.ino))
        };
        for item in [all(&pool, "a"), all(&pool, "b")].concat() {
            let n = item.attributes.nlink;
            counted += usize::from(n == 1);
        }
        for item in all(&pool, "lost+found") {
            let path = format!("lost+found/{}", String::from_utf8(item.name).unwrap());
            if item.attributes.kind == Kind::File
                && let Ok(bytes) = try_read(&pool, &path)
            {
                assert!((0..12).any(|n| Random(n).bytes_of_noise(700) == bytes), "{name}: {path}");
                found += 1;
            }
        }
        drop(pool);
        let pool = damaged.open();
        assert_sound(&pool, &name);
        assert_all_comes_back(&pool, &name);
    }
    assert!(counted > 0 && found > 0, "{counted} counted, {found} found");
}

#[test]
fn a_segment_table_that_is_damaged_under_a_live_pool_is_written_anew() {
    let mut world = World::new();
    world.settings.segment_bytes = 200;
    let pool = world.open();
    for f in 0..300 {
        file(&pool, &format!("f{f}"), &Random(f).bytes_of_noise(560));
    }
    block_on(pool.checkpoint()).unwrap();
    let table = world.object_names("tables/").pop().expect("a table of its own");
    block_on(world.objects.flip_bit(&table, 1000)).unwrap();
    let found = block_on(pool.scrub()).unwrap().findings;
    assert!(found.iter().any(|finding| finding.message.contains(&table)), "{found:?}");
    repair(&pool, "table");
    drop(pool);
    let pool = world.open();
    assert_sound(&pool, "table");
    assert_all_comes_back(&pool, "table");
}
