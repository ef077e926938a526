//! What encryption costs: CPU time of writing and reading one large file, with and without, all threads of the engine counted.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use fastrand::Rng;
use futures::executor::block_on;
use offshoot_engine::{Encryption, Ino, Kind, Pool, Secret, Settings};

use super::super::row::{Goal, Row, seconds};
use super::super::{Bench, median};
use super::{Engine, cpu_time, create};
use crate::place::Place;

const PIECE_BYTES: usize = 1 << 20;
/// Far less than is written, so that all of it is read from the store.
const MEMORY_BYTES: u64 = 64 << 20;

pub(in crate::bench) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let (pieces, rounds) = (bench.size(1024, 256), bench.size(5, 3));
    let mut times: [[Vec<Duration>; 2]; 2] = Default::default();
    for _ in 0..rounds {
        // One after the other, so that what the machine does besides hits both.
        for (encrypted, times) in [false, true].into_iter().zip(&mut times) {
            let place = Place::new("bench-engine-encryption")?;
            let secret = Secret::password("a password of a benchmark")?;
            let settings = Settings {
                memory_bytes: MEMORY_BYTES,
                encryption: encrypted.then(|| Encryption::new(secret)),
                ..Settings::default()
            };
            let engine = Engine::on_disk_with(&place, settings)?;
            let (write, read) = block_on(measure(&engine.pool, pieces))?;
            engine.close()?;
            times[0].push(write);
            times[1].push(read);
        }
    }
    let [[plain_write, plain_read], [write, read]] = times.map(|both| both.map(median));
    let row = |what: &str, ours: Duration, other: Duration| {
        Row::against(
            format!("CPU of {what} {pieces} MiB that do not compress, encrypted"),
            seconds(ours),
            "not encrypted",
            seconds(other),
            Goal::None,
        )
    };
    Ok(vec![row("writing", write, plain_write), row("reading", read, plain_read)])
}

/// CPU times of writing a file, durably and into segments, and of reading it back.
async fn measure(pool: &Pool, pieces: usize) -> Result<(Duration, Duration)> {
    let file = create(pool, Ino::ROOT, "file", Kind::File).await?;
    let mut piece = vec![0; PIECE_BYTES];
    Rng::with_seed(1).fill(&mut piece);
    let piece = Bytes::from(piece);
    let start = cpu_time();
    for number in 0..pieces {
        pool.write(file, (number * PIECE_BYTES) as u64, piece.clone(), false).await?;
    }
    pool.sync().await?;
    pool.checkpoint().await?;
    let write = cpu_time() - start;
    let start = cpu_time();
    for number in 0..pieces {
        let read = pool.read_pieces(file, (number * PIECE_BYTES) as u64, PIECE_BYTES).await?;
        ensure!(read.iter().map(Bytes::len).sum::<usize>() == PIECE_BYTES, "a piece is short");
    }
    Ok((write, cpu_time() - start))
}
