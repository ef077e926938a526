//! A file that was written at random in pieces of 4 KiB: extents, space and cold reads, before and after it is put together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use fastrand::Rng;
use futures::executor::block_on;
use offshoot_engine::log::{FileLog, MemoryLog};
use offshoot_engine::object::{LocalStore, MemoryStore};
use offshoot_engine::{Ino, Kind, OpenMode, Pool, Settings, Storage, SystemClock};

use super::super::row::{Goal, Row, bytes, count, seconds, throughput};
use super::super::{Bench, median};
use super::{LOG_BYTES, cpu_time, create};
use crate::place::Place;

const PIECE_BYTES: u64 = 4096;
const READ_BYTES: u64 = 128 << 10;

pub(in crate::bench) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let size: u64 = bench.size(256 << 20, 32 << 20);
    let mut rows = Vec::new();
    for percent in [50, 400] {
        let place = Place::new("defragment")?;
        rows.extend(block_on(measure(&place, size, percent))?);
    }
    let writes = bench.size(400_000, 40_000);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..3 {
        for (is_on, times) in [false, true].into_iter().zip(&mut times) {
            times.push(block_on(write_at_random(is_on, writes))?);
        }
    }
    let [without, with] = times.map(|times| seconds(median(times) / writes as u32));
    rows.push(Row::against(
        "CPU of a write of 4 KiB at random, fragments noted",
        with,
        "not noted",
        without,
        Goal::None,
    ));
    Ok(rows)
}

/// Without a background, so that nothing is put together before it is asked for.
async fn open(place: &Place, defragment: bool) -> Result<Pool> {
    let objects = Arc::new(LocalStore::open(place.join("objects"))?);
    let log = Arc::new(FileLog::open(place.join("log"), LOG_BYTES)?);
    let settings = Settings { defragment, ..Settings::default() };
    let clock = Arc::new(SystemClock::default());
    Ok(Pool::open(Storage { objects, log }, clock, settings, OpenMode::CreateIfMissing).await?)
}

/// Writes a file in order, then pieces of it at random that are so many percent of it together.
async fn measure(place: &Place, size: u64, percent: u64) -> Result<Vec<Row>> {
    let pool = open(place, false).await?;
    let ino = create(&pool, Ino::ROOT, "file", Kind::File).await?;
    let mut random = Rng::with_seed(percent);
    for at in 0..size >> 20 {
        let mut data = vec![0; 1 << 20];
        random.fill(&mut data);
        pool.write(ino, at << 20, data.into(), false).await?;
    }
    pool.checkpoint().await?;
    for _ in 0..size / PIECE_BYTES * percent / 100 {
        let mut data = vec![0; PIECE_BYTES as usize];
        random.fill(&mut data);
        pool.write(ino, random.u64(..size / PIECE_BYTES) * PIECE_BYTES, data.into(), false).await?;
    }
    pool.gc().await?;
    pool.gc().await?;
    let before = pool.status().await.stored_bytes;
    pool.close().await?;
    drop(pool);
    let slow = read_cold(place, size).await?;

    let pool = open(place, true).await?;
    let ino = pool.lookup(Ino::ROOT, b"file").await?.ino;
    let start = Instant::now();
    let first = pool.defragment(ino).await?;
    pool.checkpoint().await?;
    let time = start.elapsed();
    let second = pool.defragment(ino).await?;
    pool.gc().await?;
    pool.gc().await?;
    let after = pool.status().await.stored_bytes;
    pool.close().await?;
    drop(pool);
    let fast = read_cold(place, size).await?;

    let what = format!("{} MiB, {percent} % of it written again at random", size >> 20);
    Ok(vec![
        Row::against(
            format!("{what}: extents for each MiB, afterwards"),
            count(second.extents as f64 / (size >> 20) as f64),
            "before",
            count(first.extents as f64 / (size >> 20) as f64),
            Goal::None,
        ),
        Row::against(
            "stored bytes, afterwards",
            bytes(after as f64),
            "before",
            bytes(before as f64),
            Goal::None,
        ),
        Row::against(
            "cold sequential read, afterwards",
            throughput(size, fast),
            "before",
            throughput(size, slow),
            Goal::None,
        ),
        Row::alone(
            "putting together, with a checkpoint",
            throughput(first.rewritten_bytes, time),
            Goal::None,
        ),
    ])
}

/// CPU time of writes to a file in memory that becomes as fragmented as it can be.
async fn write_at_random(defragment: bool, writes: u64) -> Result<Duration> {
    let storage = Storage { objects: Arc::new(MemoryStore::new()), log: Arc::new(MemoryLog::new()) };
    let settings = Settings { defragment, ..Settings::default() };
    let pool = Pool::open(storage, Arc::new(SystemClock::default()), settings, OpenMode::Create).await?;
    let ino = create(&pool, Ino::ROOT, "file", Kind::File).await?;
    let mut random = Rng::with_seed(writes);
    let data = Bytes::from(vec![7; PIECE_BYTES as usize]);
    let mut total = Duration::ZERO;
    for round in 0..writes / 20_000 {
        let start = cpu_time();
        for _ in 0..20_000 {
            let piece = random.u64(..16_384);
            pool.write(ino, piece * PIECE_BYTES, data.clone(), false).await?;
        }
        total += cpu_time() - start;
        if round % 4 == 3 {
            pool.checkpoint().await?;
        }
        pool.sync().await?;
    }
    Ok(total)
}

/// Reads the file in order, in a pool that was just opened: nothing is in the engine's caches.
async fn read_cold(place: &Place, size: u64) -> Result<Duration> {
    let pool = open(place, false).await?;
    let ino = pool.lookup(Ino::ROOT, b"file").await?.ino;
    let mut piece = Vec::with_capacity(READ_BYTES as usize);
    let start = Instant::now();
    for at in 0..size / READ_BYTES {
        piece.clear();
        pool.read(ino, at * READ_BYTES, READ_BYTES as usize, &mut piece).await?;
        ensure!(piece.len() as u64 == READ_BYTES, "a short read of {} bytes", piece.len());
    }
    let time = start.elapsed();
    pool.close().await?;
    Ok(time)
}
