//! A large sparse file, written at random in small and in larger blocks, with syncs, and read back.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::stand::Stand;
use super::{Load, scaled};
use crate::report::row::{Goal, Row, count, rate, throughput};

const FILE_BYTES: u64 = 50 << 30;
const WRITES: u64 = 240_000;
const BLOCK_BYTES: u64 = 4096;
/// Blocks of a larger write.
const LARGE: u64 = 16;
const THREADS: u64 = 4;
/// Writes of one thread after which it syncs.
const SYNC_AFTER: u64 = 500;
/// Blocks that are read at once.
const READ_BLOCKS: u64 = 64;

/// The stamp of each block that was written.
type Written = BTreeMap<u64, u32>;

/// Fills a block so that no other has the same bytes, and none of them compresses.
fn fill(block: u64, stamp: u32, into: &mut [u8]) {
    let mut state = (block << 32 ^ u64::from(stamp)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for word in into.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
}

pub(super) fn run(load: &Load) -> Result<Vec<Row>> {
    let stand = load.stand("sparse")?;
    let length = scaled(FILE_BYTES / BLOCK_BYTES, load.scale).max(THREADS * LARGE * 2) * BLOCK_BYTES;
    let writes = scaled(WRITES, load.scale) / THREADS;
    let path = stand.mount().join("sparse");
    let file = File::options().create_new(true).read(true).write(true).open(&path)?;
    file.set_len(length)?;
    let start = Instant::now();

    let all = Mutex::new(Written::new());
    stand.in_threads(THREADS as usize, |thread, latencies| {
        let mut random = fastrand::Rng::with_seed(load.seed ^ thread as u64);
        // Each thread has a part of its own.
        let blocks = length / BLOCK_BYTES / THREADS;
        let first = thread as u64 * blocks;
        let mut written = Written::new();
        let mut buffer = vec![0; (LARGE * BLOCK_BYTES) as usize];
        for number in 0..writes {
            let (kind, count) = if random.bool() { ("write 4 KiB", 1) } else { ("write 64 KiB", LARGE) };
            let at = first + random.u64(0..=blocks - count);
            for block in at..at + count {
                let stamp = number as u32 + 1;
                let from = ((block - at) * BLOCK_BYTES) as usize;
                fill(block, stamp, &mut buffer[from..from + BLOCK_BYTES as usize]);
                written.insert(block, stamp);
            }
            let bytes = &buffer[..(count * BLOCK_BYTES) as usize];
            latencies.time(kind, || file.write_all_at(bytes, at * BLOCK_BYTES))?;
            if number % SYNC_AFTER == SYNC_AFTER - 1 {
                latencies.time("fsync", || file.sync_data())?;
            }
            if thread == 0 && number % 10_000 == 0 {
                stand.say(&format!("write {number} of {writes}"), start)?;
            }
        }
        all.lock().expect("no thread panics with it").extend(written);
        Ok(())
    })?;
    stand.timed("fsync", || Ok(file.sync_all()?))?;
    let wrote = start.elapsed();
    stand.say("all written", start)?;
    let written = all.into_inner().expect("no thread panics with it");

    let read = Instant::now();
    verify(&stand, &file, &written, length)?;
    let read = read.elapsed();
    stand.say("all read", start)?;
    holes(load, &file, &written, length)?;
    drop(file);

    stand.timed("clone", || stand.server().clone_path("/sparse", "/clone"))?;
    std::fs::remove_file(&path)?;
    let clone = File::open(stand.mount().join("clone"))?;
    verify(&stand, &clone, &written, length).context("the clone, after the original was removed")?;
    // Else the kernel drops gigabytes that it has cached for who removes, which is no work of the server.
    rustix::fs::fadvise(&clone, 0, None, rustix::fs::Advice::DontNeed)?;
    drop(clone);
    stand.say("the clone read", start)?;
    stand.timed("remove", || stand.server().offshoot(&["rm", "/clone"]))?;
    stand.wait_until_freed()?;
    stand.say("removed and freed", start)?;

    let bytes = written.len() as u64 * BLOCK_BYTES;
    let mut rows = vec![
        Row::alone("writes of 4 KiB and 64 KiB", count((writes * THREADS) as f64), Goal::None),
        Row::alone("written, with syncs", rate(writes * THREADS, wrote), Goal::None),
        Row::alone("read back and compared", throughput(bytes, read), Goal::None),
    ];
    rows.extend(stand.take_down()?);
    Ok(rows)
}

/// Compares every block that was written.
fn verify(stand: &Stand, file: &File, written: &Written, length: u64) -> Result<()> {
    // What this machine's kernel has cached proves nothing.
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
    stand.in_threads(THREADS as usize, |thread, latencies| {
        let blocks = length / BLOCK_BYTES / THREADS;
        let end = (thread as u64 + 1) * blocks;
        let mut at = thread as u64 * blocks;
        let mut buffer = vec![0; (READ_BLOCKS * BLOCK_BYTES) as usize];
        let mut expected = vec![0; BLOCK_BYTES as usize];
        while let Some((&block, _)) = written.range(at..end).next() {
            at = block;
            // As many blocks as lie in a row.
            let run = written.range(at..end).zip(at..at + READ_BLOCKS);
            let run: Vec<(u64, u32)> =
                run.take_while(|((found, _), wanted)| *found == wanted).map(|((b, s), _)| (*b, *s)).collect();
            let bytes = &mut buffer[..run.len() * BLOCK_BYTES as usize];
            latencies.time("read", || file.read_exact_at(bytes, at * BLOCK_BYTES))?;
            for ((block, stamp), found) in run.iter().zip(bytes.chunks_exact(BLOCK_BYTES as usize)) {
                fill(*block, *stamp, &mut expected);
                ensure!(found == expected, "block {block} is not what was written last, number {stamp}");
            }
            at += run.len() as u64;
        }
        Ok(())
    })
}

/// Sees that what was never written is zero.
fn holes(load: &Load, file: &File, written: &Written, length: u64) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(load.seed);
    let mut block = vec![0; BLOCK_BYTES as usize];
    for _ in 0..1000 {
        let at = random.u64(0..length / BLOCK_BYTES);
        if !written.contains_key(&at) {
            file.read_exact_at(&mut block, at * BLOCK_BYTES)?;
            ensure!(block.iter().all(|byte| *byte == 0), "block {at} was never written and is not zero");
        }
    }
    Ok(())
}
