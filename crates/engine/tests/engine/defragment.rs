//! Files in many pieces are put together, and nobody can tell but by their speed and their space.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use offshoot_engine::report::DefragmentReport;
use offshoot_engine::{
    AllocateMode, CloneOptions, ErrorKind, Ino, Kind, OpenMode, Pool, SeekTarget, SystemClock,
};

use crate::world::{Chance, Random, World, at, clone, create, file, kind, read, write};

const WINDOW: u64 = 128 << 10;
const PIECE: u64 = 4096;

/// Writes `count` pieces of 4 KiB at random places of the first `size` bytes, to the file and to `expected`.
fn scatter(pool: &Pool, ino: Ino, expected: &mut [u8], count: u64, random: &mut Random) {
    for _ in 0..count {
        let offset = random.below(expected.len() as u64 / PIECE) * PIECE;
        let data = random.bytes_of_noise(PIECE as usize);
        write(pool, ino, offset, &data);
        expected[offset as usize..][..PIECE as usize].copy_from_slice(&data);
    }
}

/// A file that is written in order, and then at random once a checkpoint has been made of it.
fn scattered_file(pool: &Pool, path: &str, size: u64, count: u64) -> (Ino, Vec<u8>) {
    let mut random = Random(size ^ count);
    let mut expected = random.bytes_of_noise(size as usize);
    let ino = file(pool, path, &expected);
    block_on(pool.checkpoint()).unwrap();
    scatter(pool, ino, &mut expected, count, &mut random);
    block_on(pool.checkpoint()).unwrap();
    (ino, expected)
}

fn defragment(pool: &Pool, ino: Ino) -> DefragmentReport {
    block_on(pool.defragment(ino)).unwrap()
}

/// Where data begins and ends.
fn data_ranges(pool: &Pool, ino: Ino) -> Vec<(u64, u64)> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(data) = block_on(pool.seek(ino, at, SeekTarget::Data)).unwrap() {
        let hole = block_on(pool.seek(ino, data, SeekTarget::Hole)).unwrap().unwrap();
        ranges.push((data, hole));
        at = hole;
    }
    ranges
}

fn assert_sound(pool: &Pool) {
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
    assert_eq!(block_on(pool.scrub()).unwrap().findings, []);
}

/// Bytes of the store once everything dead has gone.
fn stored_bytes(pool: &Pool) -> u64 {
    block_on(pool.gc()).unwrap();
    block_on(pool.gc()).unwrap();
    block_on(pool.status()).stored_bytes
}

#[test]
fn a_file_written_at_random_becomes_whole_again() {
    let world = World::new();
    let pool = world.open();
    let (ino, expected) = scattered_file(&pool, "f", 8 << 20, 4000);
    world.clock.step();
    let before = block_on(pool.attributes(ino)).unwrap();
    let ranges = data_ranges(&pool, ino);
    let first = defragment(&pool, ino);
    assert_eq!(
        (first.windows, first.windows_rewritten, first.rewritten_bytes),
        (64, 64, 8 << 20),
        "{first:?}"
    );
    assert!(first.extents > 1500, "{first:?}");
    let second = defragment(&pool, ino);
    assert_eq!((second.extents, second.windows_rewritten), (64, 0), "{second:?}");
    assert_eq!(block_on(pool.attributes(ino)).unwrap(), before, "no time and no size changes");
    assert_eq!(data_ranges(&pool, ino), ranges);
    assert!(read(&pool, ino) == expected);
    assert_sound(&pool);
    // The same by replaying the log, and from segments.
    block_on(pool.sync()).unwrap();
    for _ in 0..2 {
        let pool = world.open();
        let ino = at(&pool, "f");
        assert_eq!(block_on(pool.attributes(ino)).unwrap(), before);
        assert!(read(&pool, ino) == expected);
        assert_eq!(defragment(&pool, ino).windows_rewritten, 0);
        assert_sound(&pool);
        block_on(pool.close()).unwrap();
    }
}

/// The tree of a file that was put together kept one node for every few extents that it once had.
#[test]
fn the_tree_becomes_small_again() {
    let world = World::new();
    let pool = world.open();
    let (ino, _) = scattered_file(&pool, "f", 16 << 20, 12_000);
    let nodes = || block_on(pool.check()).unwrap().nodes;
    let before = nodes();
    defragment(&pool, ino);
    block_on(pool.checkpoint()).unwrap();
    let after = nodes();
    // The root directory and the file's tree of 128 extents; the ledger may have one for what died.
    block_on(pool.gc()).unwrap();
    assert!(before > 15 && nodes() <= 3, "{before} nodes, then {after}, then {}", nodes());
}

#[test]
fn space_of_frames_that_are_mostly_dead_comes_back() {
    let world = World::new();
    let pool = world.open();
    // One piece of 4 KiB of each frame is left.
    let mut random = Random(5);
    let data = random.bytes_of_noise(4 << 20);
    let ino = file(&pool, "f", &data);
    block_on(pool.checkpoint()).unwrap();
    for window in 0..32 {
        let (start, mode) = (window * WINDOW, AllocateMode::PunchHole);
        block_on(pool.allocate(ino, start, 60 << 10, mode)).unwrap();
        block_on(pool.allocate(ino, start + (64 << 10), 64 << 10, mode)).unwrap();
    }
    let (before, ranges) = (block_on(pool.attributes(ino)).unwrap(), data_ranges(&pool, ino));
    assert_eq!((before.allocated, ranges.len()), (32 * PIECE, 32));
    let report = block_on(pool.gc()).unwrap();
    assert_eq!((report.windows_rewritten, report.rewritten_bytes), (32, 32 * PIECE), "{report:?}");
    let stored = stored_bytes(&pool);
    assert!(stored < 200 << 10, "{stored} bytes are stored for {}", before.allocated);
    assert_eq!(data_ranges(&pool, ino), ranges);
    assert_eq!(block_on(pool.attributes(ino)).unwrap(), before);
    assert_sound(&pool);
}

#[test]
fn holes_stay_holes_to_the_byte() {
    let world = World::new();
    let pool = world.open();
    let ino = file(&pool, "f", &[]);
    let mut random = Random(9);
    for _ in 0..600 {
        let (offset, length) = (random.below(1 << 20), random.below(900) + 1);
        write(&pool, ino, offset, &random.bytes(length as usize));
        if random.one_in(200) {
            block_on(pool.checkpoint()).unwrap();
        }
    }
    let (content, ranges) = (read(&pool, ino), data_ranges(&pool, ino));
    assert!(ranges.len() > 100, "{} ranges", ranges.len());
    let attributes = block_on(pool.attributes(ino)).unwrap();
    let report = defragment(&pool, ino);
    assert!(report.windows_rewritten >= 8, "{report:?}");
    block_on(pool.sync()).unwrap();
    drop(pool);
    let pool = world.open();
    let ino = at(&pool, "f");
    assert!(read(&pool, ino) == content);
    assert_eq!(data_ranges(&pool, ino), ranges);
    assert_eq!(block_on(pool.attributes(ino)).unwrap(), attributes);
    assert_eq!(defragment(&pool, ino).windows_rewritten, 0);
    assert_sound(&pool);
}

#[test]
fn what_is_shared_is_left_alone_until_it_no_longer_is() {
    for read_only in [false, true] {
        let world = World::new();
        let pool = world.open();
        create(&pool, Ino::ROOT, "d", Kind::Directory);
        let (ino, expected) = scattered_file(&pool, "d/f", 2 << 20, 1500);
        let options = CloneOptions { read_only, ..CloneOptions::default() };
        let copy = block_on(pool.clone_inode(at(&pool, "d"), Ino::ROOT, b"c", options)).unwrap().ino;
        let copied = at(&pool, "c/f");
        let stored = stored_bytes(&pool);
        for file in [ino, copied] {
            assert_eq!(defragment(&pool, file).windows_rewritten, 0);
        }
        assert_eq!(stored_bytes(&pool), stored);
        // A path of its own, with frames that are still shared.
        write(&pool, ino, 0, b"own");
        let report = defragment(&pool, ino);
        assert_eq!(report.windows_rewritten, 0, "{report:?}");
        assert!(report.windows_shared > 0, "{report:?}");
        assert!(read(&pool, copied) == expected);
        pool.forget(copied, 9);
        pool.forget(copy, 9);
        block_on(pool.remove_tree(Ino::ROOT, b"c")).unwrap();
        block_on(pool.gc()).unwrap();
        let report = defragment(&pool, ino);
        assert_eq!(report.extents, 16, "the collection put it together: {report:?}");
        assert!(read(&pool, ino)[3..] == expected[3..]);
        assert_sound(&pool);
    }
}

/// Many clones that each write a little must not each get a copy of what they share.
#[test]
fn a_pool_of_many_clones_does_not_grow() {
    let world = World::new();
    let pool = world.open();
    let (ino, expected) = scattered_file(&pool, "f", 4 << 20, 3000);
    let mut random = Random(3);
    for n in 0..40 {
        let copy = clone(&pool, ino, Ino::ROOT, &format!("c{n}")).ino;
        for _ in 0..40 {
            write(&pool, copy, random.below(1 << 10) * PIECE, &[n as u8; PIECE as usize]);
        }
        block_on(pool.checkpoint()).unwrap();
    }
    let before = block_on(pool.status()).live_bytes;
    for _ in 0..3 {
        block_on(pool.gc()).unwrap();
    }
    let after = block_on(pool.status()).live_bytes;
    assert!(after <= before, "{before} bytes became {after}");
    assert!(read(&pool, ino) == expected);
    assert_sound(&pool);
}

/// A window that is mostly a clone's own is put together, one that is mostly shared is not.
#[test]
fn a_window_is_rewritten_if_half_of_it_comes_back() {
    let world = World::new();
    let pool = world.open();
    let ino = file(&pool, "f", &Random(1).bytes_of_noise(2 * WINDOW as usize));
    let copy = clone(&pool, ino, Ino::ROOT, "c").ino;
    for piece in 0..30 {
        write(&pool, copy, piece * PIECE, &Random(piece).bytes_of_noise(PIECE as usize));
        if piece < 10 {
            write(&pool, copy, WINDOW + piece * 3 * PIECE, &Random(piece).bytes_of_noise(PIECE as usize));
        }
    }
    let expected = read(&pool, copy);
    let report = defragment(&pool, copy);
    assert_eq!((report.windows_rewritten, report.windows_shared), (1, 1), "{report:?}");
    assert!(read(&pool, copy) == expected);
    assert_sound(&pool);
}

/// Counts are those of the last checkpoint; a clone that was made since then must be known all the same.
#[test]
fn a_clone_made_since_the_last_checkpoint_counts() {
    for directory in [false, true] {
        let mut world = World::new();
        world.settings.checkpoint_interval = Duration::from_secs(5);
        let pool = world.open();
        create(&pool, Ino::ROOT, "d", Kind::Directory);
        let (ino, _) = scattered_file(&pool, "d/f", 1 << 20, 800);
        let stored = stored_bytes_without_gc(&pool);
        let source = if directory { at(&pool, "d") } else { ino };
        clone(&pool, source, Ino::ROOT, "c");
        // A step of the background works with the checkpoint before.
        block_on(run_rounds(&world, &pool, 4));
        assert_eq!(pool.metrics().windows_rewritten.get(), 0);
        assert_eq!(stored_bytes_without_gc(&pool), stored);
    }
}

fn stored_bytes_without_gc(pool: &Pool) -> u64 {
    block_on(pool.status()).stored_bytes
}

/// Runs the background while the clock passes some intervals.
async fn run_rounds(world: &World, pool: &Pool, rounds: usize) {
    let background = pool.checkpoint_in_background();
    let clock = async {
        for _ in 0..rounds {
            for _ in 0..5 {
                world.clock.step();
            }
            futures_timer::Delay::new(Duration::from_millis(450)).await;
        }
    };
    futures::future::select(Box::pin(background), Box::pin(clock)).await;
}

#[test]
fn the_background_finds_what_was_written_and_what_is_read() {
    let mut world = World::new();
    world.settings.checkpoint_interval = Duration::from_secs(5);
    let pool = world.open();
    let (_, expected) = scattered_file(&pool, "written", 512 << 10, 400);
    assert!(block_on(pool.status()).defragment_queue > 0);
    block_on(run_rounds(&world, &pool, 5));
    assert_eq!(pool.metrics().windows_rewritten.get(), 4);
    assert_eq!(block_on(pool.status()).defragment_queue, 0);
    let (_, other) = scattered_file(&pool, "read", 512 << 10, 400);
    block_on(pool.close()).unwrap();
    drop(pool);
    // What was noted is forgotten; reading notes it again.
    let pool = world.open();
    assert_eq!(block_on(pool.status()).defragment_queue, 0);
    assert!(read(&pool, at(&pool, "read")) == other && read(&pool, at(&pool, "written")) == expected);
    assert_eq!(block_on(pool.status()).defragment_queue, 1);
    block_on(run_rounds(&world, &pool, 5));
    assert_eq!(pool.metrics().windows_rewritten.get(), 4);
    assert!(read(&pool, at(&pool, "read")) == other);
    assert_sound(&pool);
}

#[test]
fn what_is_written_all_the_time_is_left_for_later() {
    let mut world = World::new();
    world.settings.checkpoint_interval = Duration::from_secs(5);
    let pool = world.open();
    let (ino, _) = scattered_file(&pool, "f", WINDOW, 400);
    for n in 0..4u8 {
        write(&pool, ino, u64::from(n) * PIECE, &[n; PIECE as usize]);
        block_on(pool.checkpoint()).unwrap();
        block_on(run_rounds(&world, &pool, 1));
        assert_eq!(pool.metrics().windows_rewritten.get(), 0, "round {n}");
    }
    block_on(run_rounds(&world, &pool, 4));
    assert_eq!(pool.metrics().windows_rewritten.get(), 1);
}

#[test]
fn it_can_be_switched_off() {
    let mut world = World::new();
    world.settings.checkpoint_interval = Duration::from_secs(5);
    world.settings.defragment = false;
    let pool = world.open();
    let (ino, expected) = scattered_file(&pool, "f", 512 << 10, 400);
    assert!(read(&pool, ino) == expected);
    block_on(run_rounds(&world, &pool, 4));
    block_on(pool.gc()).unwrap();
    assert_eq!(block_on(pool.status()).defragment_queue, 0);
    assert_eq!(pool.metrics().windows_rewritten.get(), 0);
}

/// A pool that is nearly full needs its space for other things.
#[test]
fn nothing_is_rewritten_when_the_pool_is_nearly_full() {
    let mut world = World::new();
    world.settings.capacity_bytes = Some(24 << 20);
    let pool = world.open();
    let (ino, expected) = scattered_file(&pool, "f", 6 << 20, 1500);
    let report = block_on(pool.gc()).unwrap();
    assert_eq!(report.windows_rewritten, 0, "{report:?}");
    assert_eq!(defragment(&pool, ino).windows_rewritten, 0);
    assert!(read(&pool, ino) == expected);
}

#[test]
fn only_files_can_be_defragmented() {
    let world = World::new();
    let pool = world.open();
    let fifo = create(&pool, Ino::ROOT, "p", Kind::Fifo);
    assert_eq!(kind(block_on(pool.defragment(Ino::ROOT))), Some(ErrorKind::IsDirectory));
    assert_eq!(kind(block_on(pool.defragment(fifo))), Some(ErrorKind::Invalid));
    assert_eq!(kind(block_on(pool.defragment(Ino(99)))), Some(ErrorKind::Stale));
    let ino = file(&pool, "f", b"few bytes");
    assert_eq!(defragment(&pool, ino), DefragmentReport::default());
}

#[test]
fn files_with_several_names_are_put_together_too() {
    let world = World::new();
    let pool = world.open();
    create(&pool, Ino::ROOT, "d", Kind::Directory);
    let (ino, expected) = scattered_file(&pool, "d/f", 1 << 20, 800);
    block_on(pool.link(ino, Ino::ROOT, b"g")).unwrap();
    let report = block_on(pool.gc()).unwrap();
    assert_eq!(report.windows_rewritten, 8, "{report:?}");
    assert!(read(&pool, at(&pool, "g")) == expected);
    // A clone of the directory takes the file along, wherever its other names are.
    let mut random = Random(4);
    let mut expected = expected;
    scatter(&pool, ino, &mut expected, 800, &mut random);
    clone(&pool, at(&pool, "d"), Ino::ROOT, "c");
    assert_eq!(defragment(&pool, ino).windows_rewritten, 0);
    assert!(read(&pool, at(&pool, "c/f")) == expected);
    assert_sound(&pool);
}

/// References that the search took kept removed files alive, or let known ones be forgotten.
#[test]
fn a_search_knows_no_inode_longer_than_it_needs() {
    let world = World::new();
    let pool = world.open();
    create(&pool, Ino::ROOT, "d", Kind::Directory);
    let (ino, _) = scattered_file(&pool, "d/f", 1 << 20, 800);
    pool.forget(ino, 1);
    pool.forget(at(&pool, "d"), 9);
    assert_eq!(kind(block_on(pool.attributes(ino))), Some(ErrorKind::Stale), "it is forgotten");
    assert_eq!(block_on(pool.gc()).unwrap().windows_rewritten, 8);
    assert_eq!(kind(block_on(pool.attributes(ino))), Some(ErrorKind::Stale), "it is forgotten again");
    assert_eq!(at(&pool, "d/f"), ino);
    assert_eq!(defragment(&pool, ino).windows_rewritten, 0);
    block_on(pool.attributes(ino)).unwrap();
}

/// Lets threads end, also if the test fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writers write numbers into the pieces of a file while it is put together again and again; no piece may go back.
#[test]
fn a_write_among_rewrites_is_never_lost() {
    let world = World::new();
    let clock = Arc::new(SystemClock::default());
    let pool =
        block_on(Pool::open(world.storage(), clock, world.settings.clone(), OpenMode::CreateIfMissing))
            .unwrap();
    let ino = file(&pool, "f", &[]);
    let stop = AtomicBool::new(false);
    let (rewritten, counts) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2u64)
            .map(|writer| {
                let (pool, stop) = (&pool, &stop);
                scope.spawn(move || {
                    let mut random = Random(writer);
                    let mut counts = vec![0u64; 128];
                    while !stop.load(Ordering::Relaxed) {
                        let piece = random.below(64) * 2 + writer;
                        counts[piece as usize] += 1;
                        write(pool, ino, piece * PIECE, &counts[piece as usize].to_le_bytes().repeat(512));
                        std::thread::sleep(Duration::from_micros(200));
                    }
                    counts
                })
            })
            .collect();
        let _stop = StopOnDrop(&stop);
        let start = Instant::now();
        let mut rewritten = 0;
        while start.elapsed() < Duration::from_secs(2) {
            let done = defragment(&pool, ino);
            rewritten += done.windows_rewritten;
        }
        stop.store(true, Ordering::Relaxed);
        let counts: Vec<Vec<u64>> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        (rewritten, counts)
    });
    block_on(pool.sync()).unwrap();
    for pool in [Clone::clone(&pool), world.open()] {
        let content = read(&pool, at(&pool, "f"));
        for (piece, bytes) in content.chunks(PIECE as usize).enumerate() {
            let expected = counts[piece % 2][piece].to_le_bytes().repeat(512);
            assert!(bytes == &expected[..bytes.len()], "piece {piece}");
        }
    }
    assert!(rewritten > 0, "nothing was put together");
}

/// Power goes at every step of making it durable; the file is whole each time, and nothing is left behind.
#[test]
fn a_power_cut_at_any_point_leaves_the_file_whole_and_nothing_behind() {
    let mut cuts = 0;
    let clean = {
        let world = World::new();
        let pool = world.open();
        scattered_file(&pool, "f", 512 << 10, 400);
        drop(pool);
        stored_bytes(&world.open())
    };
    for after in 0..200 {
        let world = World::new();
        let pool = world.open();
        let (ino, expected) = scattered_file(&pool, "f", 512 << 10, 400);
        let attributes = block_on(pool.attributes(ino)).unwrap();
        world.power.cut_after(after, after % 2 == 0);
        let done = block_on(async {
            pool.defragment(ino).await?;
            pool.sync().await?;
            pool.checkpoint().await
        });
        let was_cut = world.power.is_cut();
        // What is deleted after a checkpoint may fail to be without an error.
        assert!(done.is_ok() || was_cut, "{done:?}");
        drop(pool);
        world.power.cut();
        world.log.crash(after);
        world.power.restore();
        let pool = world.open();
        let ino = at(&pool, "f");
        assert_eq!(block_on(pool.attributes(ino)).unwrap(), attributes, "cut after {after}");
        assert!(read(&pool, ino) == expected, "cut after {after}");
        assert_sound(&pool);
        let stored = stored_bytes(&pool);
        assert!(stored < clean + 4096, "cut after {after}: {stored} bytes are left, {clean} is clean");
        cuts += u64::from(was_cut);
        if !was_cut {
            break;
        }
    }
    assert!(cuts > 5, "{cuts} cuts");
}

/// A collection makes its first checkpoint before it puts files together, and the report left out what that one had freed: all.
#[test]
fn a_collection_tells_what_it_freed_whether_it_defragments_or_not() {
    let freed = |defragment| {
        let mut world = World::new();
        world.settings.defragment = defragment;
        let pool = world.open();
        let ino = file(&pool, "f", &Random(1).bytes_of_noise(300_000));
        pool.forget(ino, 1);
        file(&pool, "stays", b"x");
        block_on(pool.checkpoint()).unwrap();
        block_on(pool.unlink(Ino::ROOT, b"f")).unwrap();
        let report = block_on(pool.gc()).unwrap();
        assert!(report.items_freed > 2, "defragment {defragment}: {report:?}");
        assert!(report.freed_bytes > 300_000, "defragment {defragment}: {report:?}");
    };
    freed(true);
    freed(false);
}
