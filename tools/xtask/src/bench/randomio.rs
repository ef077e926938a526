//! 4 KiB reads and writes at random places of one file, one after the other.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use fastrand::Rng;

use super::directio::{self, PIECE_BYTES, Piece};
use super::row::{Goal, Measure, Row, rate};
use super::{Bench, drop_caches};
use crate::place::{Ext4, Place};

const LARGE_BYTES: usize = 1 << 20;

pub(super) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new("bench-random")?;
    let ext4 = Ext4::new(&place)?;
    let server = bench.serve(&place)?;
    let size = bench.size(1 << 30, 1 << 26);
    let time = Duration::from_secs(bench.size(10, 2));
    let theirs = all(&ext4.dir().join("file"), size, time)?;
    let ours = all(&server.mount().join("file"), size, time)?;
    server.stop()?;
    let goals = [Goal::AtLeast(20_000.0), Goal::AtLeast(10_000.0), Goal::None, Goal::None];
    let names =
        ["read 4 KiB, cached", "write 4 KiB, cached", "read 4 KiB, O_DIRECT", "write 4 KiB, O_DIRECT"];
    let rows = names.iter().zip(ours).zip(theirs).zip(goals);
    let what = |name: &str| format!("{name}, at random in {} MiB, depth 1", size >> 20);
    Ok(rows
        .map(|(((name, ours), theirs), goal)| Row::against(what(name), ours, "ext4", theirs, goal))
        .collect())
}

fn all(path: &Path, size: u64, time: Duration) -> Result<[Measure; 4]> {
    write_file(path, size)?;
    let cached = directio::open(path, false)?;
    // Into the cache.
    let mut buffer = vec![0; LARGE_BYTES];
    for at in 0..size / LARGE_BYTES as u64 {
        cached.read_exact_at(&mut buffer, at * LARGE_BYTES as u64)?;
    }
    let read = measure(&cached, size, time, false)?;
    let write = measure(&cached, size, time, true)?;
    cached.sync_all()?;
    drop(cached);
    drop_caches()?;
    let direct = directio::open(path, true)?;
    Ok([read, write, measure(&direct, size, time, false)?, measure(&direct, size, time, true)?])
}

/// Writes a file that does not compress.
pub(super) fn write_file(path: &Path, size: u64) -> Result<()> {
    let file = File::create(path)?;
    let mut buffer = vec![0; LARGE_BYTES];
    let mut random = Rng::with_seed(size);
    random.fill(&mut buffer);
    for at in 0..size / LARGE_BYTES as u64 {
        for piece in buffer.chunks_mut(PIECE_BYTES) {
            random.fill(&mut piece[..64]);
        }
        file.write_all_at(&buffer, at * LARGE_BYTES as u64)?;
    }
    file.sync_all()?;
    Ok(())
}

fn measure(file: &File, size: u64, time: Duration, write: bool) -> Result<Measure> {
    let mut piece = Piece::new(size);
    let mut random = Rng::with_seed(time.as_secs() + u64::from(write));
    let start = Instant::now();
    let mut operations = 0;
    while operations % 64 != 0 || start.elapsed() < time {
        let offset = random.u64(..size / PIECE_BYTES as u64) * PIECE_BYTES as u64;
        if write {
            file.write_all_at(piece.bytes(), offset)?;
        } else {
            file.read_exact_at(piece.bytes_mut(), offset)?;
        }
        operations += 1;
    }
    Ok(rate(operations, start.elapsed()))
}
