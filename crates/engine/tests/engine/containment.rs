//! Damage never stops upkeep: what cannot be read is left alone, everything else goes on.

use std::collections::BTreeMap;

use futures::executor::block_on;
use offshoot_engine::log::BlockingLog;
use offshoot_engine::object::{Call, Fault, ObjectStore};
use offshoot_engine::{ErrorKind, Ino, Kind, Pool, Result};

use crate::damage::copy;
use crate::world::{Chance, Random, World, at, clone, create, file, kind, write};

/// Five directories of some files each, written one after the other, and a clone of the second: closed.
fn five() -> World {
    let mut world = World::new();
    world.settings.segment_bytes = 8 << 10;
    let pool = world.open();
    for d in 0..5 {
        create(&pool, Ino::ROOT, &format!("d{d}"), Kind::Directory);
        for f in 0..8 {
            file(&pool, &format!("d{d}/f{f}"), &content(d, f));
        }
        block_on(pool.gc()).unwrap();
    }
    clone(&pool, at(&pool, "d1"), Ino::ROOT, "copy");
    block_on(pool.close()).unwrap();
    drop(pool);
    world
}

fn content(d: u64, f: u64) -> Vec<u8> {
    Random(d * 100 + f).bytes_of_noise(1500)
}

fn try_read(pool: &Pool, path: &str) -> Result<Vec<u8>> {
    block_on(async {
        let mut ino = Ino::ROOT;
        for name in path.split('/') {
            ino = pool.lookup(ino, name.as_bytes()).await?.ino;
        }
        let mut bytes = Vec::new();
        pool.read(ino, 0, 1 << 20, &mut bytes).await?;
        Ok(bytes)
    })
}

/// Files of the pool that [`five`] makes which can be read and are right; those that cannot must say that they are damaged.
fn readable(pool: &Pool) -> usize {
    let mut count = 0;
    for d in ["d0", "d1", "d2", "d3", "d4", "copy"] {
        for f in 0..8 {
            match try_read(pool, &format!("{d}/f{f}")) {
                Ok(bytes) => {
                    let from = if d == "copy" { 1 } else { d[1..].parse().unwrap() };
                    assert!(bytes == content(from, f), "{d}/f{f} shows other bytes");
                    count += 1;
                }
                Err(error) => assert!(
                    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound),
                    "{d}/f{f}: {error:?}"
                ),
            }
        }
    }
    count
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    Lose,
    Truncate,
    Flip(u64),
}

fn harm(world: &World, name: &str, how: Harm) {
    let mut bytes = world.object(name);
    match how {
        Harm::Lose => return world.lose_object(name),
        Harm::Truncate => bytes.truncate(bytes.len() / 2),
        Harm::Flip(part) => {
            let byte = bytes.len() as u64 * part / 16;
            bytes[byte as usize] ^= 4;
        }
    }
    world.replace_object(name, bytes);
}

#[test]
fn whatever_is_damaged_checkpoints_go_on_and_the_log_is_dropped() {
    let original = five();
    let kinds = [Harm::Lose, Harm::Truncate].into_iter().chain((2..16).map(Harm::Flip));
    for how in kinds {
        for name in original.object_names("segments/") {
            let world = copy(&original);
            let trace = format!("{how:?} of {name}");
            harm(&world, &name, how);
            let pool = world.open();
            let before = readable(&pool);
            let scrubbed = block_on(pool.scrub()).unwrap_or_else(|error| panic!("{trace}: scrub: {error:?}"));
            let checked = block_on(pool.check()).unwrap_or_else(|error| panic!("{trace}: check: {error:?}"));
            for finding in scrubbed.findings.iter().chain(&checked.findings) {
                assert!(!finding.message.contains("nothing refers to it"), "{trace}: {finding:?}");
            }
            assert!(before == 48 || !scrubbed.findings.is_empty(), "{trace}: nothing is found");
            // What is damaged is removed, as one would do, and the rest is used.
            for d in ["d2", "d1", "d4"] {
                match block_on(pool.remove_tree(Ino::ROOT, d.as_bytes())) {
                    Ok(()) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{trace}: {error:?}"),
                }
            }
            for round in 0..6_u8 {
                let made =
                    block_on(pool.create(Ino::ROOT, &[b'n', b'0' + round], crate::world::new(Kind::File)));
                match made {
                    Ok(made) => write(&pool, made.ino, 0, &[round; 3000]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{trace}: {error:?}"),
                }
                block_on(pool.checkpoint()).unwrap_or_else(|error| panic!("{trace}: {error:?}"));
            }
            block_on(pool.gc()).unwrap_or_else(|error| panic!("{trace}: gc: {error:?}"));
            assert_eq!(
                world.log.list().unwrap().len(),
                2,
                "{trace}: what neither of the last two manifests needs is dropped"
            );
            assert_eq!(block_on(pool.status()).garbage_queue, 0, "{trace}: nothing waits for ever");
            readable(&pool);
            block_on(pool.close()).unwrap_or_else(|error| panic!("{trace}: close: {error:?}"));
            drop(pool);
            let pool = world.open();
            readable(&pool);
            block_on(pool.scrub()).unwrap_or_else(|error| panic!("{trace}: {error:?}"));
            block_on(pool.check()).unwrap_or_else(|error| panic!("{trace}: {error:?}"));
            block_on(pool.gc()).unwrap_or_else(|error| panic!("{trace}: {error:?}"));
        }
    }
}

/// The segment whose loss makes `is_hit` true.
fn segment_of(original: &World, is_hit: impl Fn(&Pool) -> bool) -> String {
    let found = original.object_names("segments/").into_iter().find(|name| {
        let bytes = original.object(name);
        original.lose_object(name);
        let reader = copy(original);
        block_on(original.objects.put(name, vec![bytes.into()])).unwrap();
        is_hit(&reader.open())
    });
    found.expect("one of the segments")
}

#[test]
fn a_removed_tree_that_is_damaged_leaks_and_is_told() {
    let world = five();
    let lost = segment_of(&world, |pool| {
        kind(try_read(pool, "d3/f0")) == Some(ErrorKind::Corrupt)
            && try_read(pool, "d2/f0").is_ok()
            && kind(block_on(pool.lookup(at(pool, "d3"), b"f0"))) == Some(ErrorKind::Corrupt)
    });
    world.lose_object(&lost);
    let pool = world.open();
    assert_eq!(kind(try_read(&pool, "d3/f0")), Some(ErrorKind::Corrupt));
    block_on(pool.remove_tree(Ino::ROOT, b"d3")).unwrap();
    block_on(pool.gc()).unwrap();
    let status = block_on(pool.status());
    assert!(status.abandoned_nodes > 0 && status.unreadable_items > 0, "{status:?}");
    assert_eq!((status.failing, status.garbage_queue), (None, 0));
    let abandoned = status.abandoned_nodes;
    drop(pool);
    let pool = world.open();
    assert_eq!(block_on(pool.status()).abandoned_nodes, abandoned);
    // The rest is as it was, and is freed as ever.
    for d in ["d0", "d1", "d2", "d4", "copy"] {
        assert!(try_read(&pool, &format!("{d}/f7")).is_ok());
        block_on(pool.remove_tree(Ino::ROOT, d.as_bytes())).unwrap();
    }
    block_on(pool.gc()).unwrap();
    block_on(pool.gc()).unwrap();
    let status = block_on(pool.status());
    assert!(status.live_bytes < 20 << 10, "only what was in d3 may be left: {status:?}");
    let report = block_on(pool.check()).unwrap();
    let [leaked, segment] = &report.findings[..] else { panic!("{:?}", report.findings) };
    assert!(leaked.message.contains("could not be read when they were freed"), "{leaked:?}");
    assert!(segment.message.contains("is missing"), "{segment:?}");
}

#[test]
fn a_removed_tree_with_clones_that_is_damaged_is_dropped_unread() {
    let world = five();
    let pool = world.open();
    for d in 0..3 {
        let parent = create(&pool, at(&pool, "d3"), &format!("sub{d}"), Kind::Directory);
        file(&pool, &format!("d3/sub{d}/own"), &content(7, d));
        clone(&pool, at(&pool, "d0"), parent, "nested");
    }
    block_on(pool.checkpoint()).unwrap();
    // The root is written again, and lies elsewhere then.
    file(&pool, "later", b"x");
    block_on(pool.close()).unwrap();
    drop(pool);
    let lost = segment_of(&world, |pool| {
        kind(try_read(pool, "d3/sub0/own")) == Some(ErrorKind::Corrupt) && try_read(pool, "d2/f0").is_ok()
    });
    world.lose_object(&lost);
    let pool = world.open();
    let held = at(&pool, "d3");
    pool.hold(held).unwrap();
    block_on(pool.remove_tree(Ino::ROOT, b"d3")).unwrap();
    block_on(pool.gc()).unwrap();
    block_on(pool.release(held)).unwrap();
    pool.forget(held, 1);
    block_on(pool.gc()).unwrap();
    let status = block_on(pool.status());
    assert_eq!((status.failing, status.garbage_queue), (None, 0));
    assert!(status.abandoned_nodes > 0);
    file(&pool, "new", b"x");
    block_on(pool.close()).unwrap();
    drop(pool);
    let pool = world.open();
    block_on(pool.gc()).unwrap();
    assert!(try_read(&pool, "d0/f0").is_ok() && try_read(&pool, "new").is_ok());
    for finding in block_on(pool.check()).unwrap().findings {
        assert!(
            finding.message.contains("when they were freed") || finding.message.contains("is missing"),
            "{finding:?}"
        );
    }
}

#[test]
fn nothing_is_freed_whose_count_is_lost() {
    let world = five();
    let pool = world.open();
    // Counts above one need a ledger; everything of d1 has them.
    block_on(pool.close()).unwrap();
    drop(pool);
    let mut tried = 0;
    for name in world.object_names("segments/") {
        let damaged = copy(&world);
        let bytes = damaged.object(&name);
        damaged.lose_object(&name);
        let pool = damaged.open();
        if readable(&pool) < 48 {
            continue;
        }
        block_on(pool.remove_tree(Ino::ROOT, b"d1")).unwrap();
        block_on(pool.gc()).unwrap();
        if !block_on(pool.status()).counts_lost {
            continue;
        }
        tried += 1;
        clone(&pool, at(&pool, "copy"), Ino::ROOT, "again");
        block_on(pool.gc()).unwrap();
        drop(pool);
        // Somebody finds a copy of what was lost: what it says is old by now.
        let _ = block_on(damaged.objects.put(&name, vec![bytes.into()]));
        let pool = damaged.open();
        assert!(block_on(pool.status()).counts_lost);
        block_on(pool.remove_tree(Ino::ROOT, b"copy")).unwrap();
        for _ in 0..3 {
            block_on(pool.gc()).unwrap();
        }
        drop(pool);
        let pool = damaged.open();
        for f in 0..8 {
            assert_eq!(try_read(&pool, &format!("again/f{f}")).unwrap(), content(1, f));
        }
        let report = block_on(pool.scrub()).unwrap();
        assert_eq!(report.findings, []);
        let report = block_on(pool.check()).unwrap();
        assert!(
            report.findings.iter().all(|finding| !finding.message.contains("nothing refers")),
            "{report:?}"
        );
        // What is new is counted and freed as ever.
        let before = block_on(pool.status()).live_bytes;
        let new = file(&pool, "new", &Random(7).bytes_of_noise(100_000));
        pool.forget(new, 1);
        block_on(pool.gc()).unwrap();
        block_on(pool.unlink(Ino::ROOT, b"new")).unwrap();
        for _ in 0..3 {
            block_on(pool.gc()).unwrap();
        }
        let after = block_on(pool.status()).live_bytes;
        assert!(after < before + 50_000, "{before} bytes became {after}");
    }
    assert!(tried > 0, "a segment holds the ledger alone");
}

#[test]
fn a_segment_with_a_damaged_item_is_not_rewritten_and_loses_nothing() {
    let world = World::new();
    let pool = world.open();
    for f in 0..40 {
        file(&pool, &format!("f{f}"), &content(9, f));
    }
    block_on(pool.close()).unwrap();
    drop(pool);
    let name =
        world.object_names("segments/").into_iter().max_by_key(|name| world.object(name).len()).unwrap();
    harm(&world, &name, Harm::Flip(1));
    let pool = world.open();
    let is_good =
        |pool: &Pool, f: u64| try_read(pool, &format!("f{f}")).is_ok_and(|bytes| bytes == content(9, f));
    let good: Vec<u64> = (0..40).filter(|f| is_good(&pool, *f)).collect();
    assert_eq!(good.len(), 39);
    drop(pool);
    let pool = world.open();
    // Of the good ones a few stay, so that the segment is sparse.
    for f in &good[8..] {
        block_on(pool.unlink(Ino::ROOT, format!("f{f}").as_bytes())).unwrap();
    }
    for _ in 0..3 {
        block_on(pool.gc()).unwrap();
        assert!(good[..8].iter().all(|f| is_good(&pool, *f)));
    }
    drop(pool);
    let pool = world.open();
    assert!(!world.object(&name).is_empty(), "it stays where it is");
    // Once the damaged file is removed, the segment is as good as any.
    let bad = (0..40).find(|f| !good.contains(f)).unwrap();
    block_on(pool.unlink(Ino::ROOT, format!("f{bad}").as_bytes())).unwrap();
    for _ in 0..3 {
        block_on(pool.gc()).unwrap();
    }
    assert!(!world.object_names("segments/").contains(&name), "it was rewritten");
    assert!(good[..8].iter().all(|f| is_good(&pool, *f)));
    assert_eq!(block_on(pool.scrub()).unwrap().findings, []);
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

#[test]
fn check_and_scrub_name_a_damaged_directory_in_every_clone() {
    let world = five();
    let lost = segment_of(&world, |pool| {
        kind(try_read(pool, "copy/f0")) == Some(ErrorKind::Corrupt) && try_read(pool, "d0/f0").is_ok()
    });
    world.lose_object(&lost);
    let pool = world.open();
    for report in [block_on(pool.scrub()).unwrap(), block_on(pool.check()).unwrap()] {
        for path in ["/d1", "/copy"] {
            let is_hit = |found: &[u8]| found.starts_with(path.as_bytes());
            let named = report.findings.iter().any(|finding| finding.path.as_deref().is_some_and(is_hit));
            assert!(named, "{path} is not in {:?}", report.findings);
        }
    }
}

#[test]
fn status_tells_that_checkpoints_fail() {
    let world = World::new();
    let pool = world.open();
    file(&pool, "a", b"x");
    world.objects.fail_nth(Call::Put, 1, Fault::Refused(ErrorKind::NoSpace));
    assert!(block_on(pool.checkpoint()).is_err());
    assert!(block_on(pool.status()).failing.unwrap().contains("no checkpoint"));
    block_on(pool.checkpoint()).unwrap();
    assert_eq!(block_on(pool.status()).failing, None);
}

/// The files of a model that can be read.
fn outcomes(pool: &Pool, model: &BTreeMap<u64, BTreeMap<u64, Vec<u8>>>) -> BTreeMap<String, Vec<u8>> {
    let paths = model.iter().flat_map(|(d, files)| files.keys().map(move |f| format!("d{d}/f{f}")));
    paths.filter_map(|path| try_read(pool, &path).ok().map(|bytes| (path, bytes))).collect()
}

/// Random work on a random pool with random damage, against a map of what every file holds.
#[test]
fn a_damaged_pool_never_shows_other_bytes_whatever_is_done_to_it() {
    let mut hits = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut world = World::new();
        world.settings.segment_bytes = *random.pick(&[4 << 10, 32 << 10, 1 << 20]);
        world.settings.memory_bytes = 600 << 10;
        let mut pool = world.open();
        // Directory, then file.
        let mut model: BTreeMap<u64, BTreeMap<u64, Vec<u8>>> = BTreeMap::new();
        for step in 0..150 {
            if step % 50 == 49 {
                block_on(pool.close()).unwrap_or_else(|error| panic!("seed {seed}, close: {error:?}"));
                drop(pool);
                let names = world.object_names("segments/");
                if !names.is_empty() {
                    let how = match random.below(3) {
                        0 => Harm::Lose,
                        1 => Harm::Truncate,
                        _ => Harm::Flip(random.below(16)),
                    };
                    harm(&world, random.pick(&names).as_str(), how);
                }
                pool = world.open();
            }
            let (from, to, f) = (random.below(6), random.below(6), random.below(5));
            let result = block_on(async {
                match random.below(9) {
                    0 => {
                        pool.remove_tree(Ino::ROOT, format!("d{to}").as_bytes()).await?;
                        model.remove(&to);
                    }
                    1 | 2 => {
                        let source = pool.lookup(Ino::ROOT, format!("d{from}").as_bytes()).await?.ino;
                        pool.clone_inode(source, Ino::ROOT, format!("d{to}").as_bytes(), Default::default())
                            .await?;
                        model.insert(to, model[&from].clone());
                    }
                    8 => {
                        // A clone within a directory, which the model does not look into.
                        let source = pool.lookup(Ino::ROOT, format!("d{from}").as_bytes()).await?.ino;
                        let parent = pool.lookup(Ino::ROOT, format!("d{to}").as_bytes()).await?.ino;
                        pool.clone_inode(source, parent, b"nested", Default::default()).await?;
                    }
                    3 => pool.checkpoint().await.unwrap(),
                    4 => drop(pool.gc().await.unwrap()),
                    _ => {
                        let name = format!("d{to}");
                        let made =
                            pool.create(Ino::ROOT, name.as_bytes(), crate::world::new(Kind::Directory)).await;
                        match made {
                            Ok(_) => drop(model.insert(to, BTreeMap::new())),
                            Err(error) if error.kind() == ErrorKind::Exists => {}
                            Err(error) => return Err(error),
                        }
                        let parent = pool.lookup(Ino::ROOT, name.as_bytes()).await?.ino;
                        let name = format!("f{f}");
                        let known = model.get_mut(&to).unwrap();
                        let ino = if known.contains_key(&f) {
                            pool.lookup(parent, name.as_bytes()).await?.ino
                        } else {
                            pool.create(parent, name.as_bytes(), crate::world::new(Kind::File)).await?.ino
                        };
                        let old = known.entry(f).or_default();
                        let length = random.below(9000) as usize + 1;
                        let bytes = random.bytes_of_noise(length);
                        pool.write(ino, 0, bytes.clone().into(), false).await?;
                        if old.len() < length {
                            old.resize(length, 0);
                        }
                        old[..length].copy_from_slice(&bytes);
                    }
                }
                Ok::<_, offshoot_engine::Error>(())
            });
            if let Err(error) = result {
                assert!(
                    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Exists),
                    "seed {seed}, step {step}: {error:?}"
                );
                hits += u64::from(error.kind() == ErrorKind::Corrupt);
            }
        }
        for (d, files) in &model {
            for (f, content) in files {
                match try_read(&pool, &format!("d{d}/f{f}")) {
                    Ok(bytes) => assert!(&bytes == content, "seed {seed}: d{d}/f{f} shows other bytes"),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corrupt, "seed {seed}: d{d}/f{f}: {error:?}")
                    }
                }
            }
        }
        for _ in 0..2 {
            block_on(pool.scrub()).unwrap();
            block_on(pool.check()).unwrap();
            block_on(pool.gc()).unwrap();
        }
        assert_eq!(world.log.list().unwrap().len(), 2, "seed {seed}");
        // What could be read before a repair can be read after it, and the pool is as good as any.
        let trace = format!("seed {seed}");
        let before = outcomes(&pool, &model);
        crate::repair::repair(&pool, &trace);
        if seed % 2 == 0 {
            drop(pool);
            pool = world.open();
        }
        let after = outcomes(&pool, &model);
        for (path, content) in before {
            assert_eq!(after.get(&path), Some(&content), "{trace}: {path} was whole before the repair");
        }
        for (path, content) in after {
            let (d, f) = path.split_once('/').unwrap();
            let (d, f): (u64, u64) = (d[1..].parse().unwrap(), f[1..].parse().unwrap());
            assert!(model[&d][&f] == content, "{trace}: {path} shows other bytes after a repair");
        }
        crate::repair::assert_sound(&pool, &trace);
        drop(pool);
        let pool = world.open();
        crate::repair::assert_all_comes_back(&pool, &trace);
    }
    assert!(hits > 20, "the damage was met only {hits} times");
}
