//! What a clone takes in the store, alone and after one write into each.

use anyhow::Result;
use bytes::Bytes;
use fastrand::Rng;
use futures::executor::block_on;
use offshoot_engine::{Ino, Kind, Pool};

use super::super::Bench;
use super::super::row::{Goal, Row, bytes};
use super::{Engine, clone, create, create_tree};

const FILES: u64 = 1000;
const WRITE_BYTES: usize = 4096;

pub(in crate::bench) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let clones = bench.size(100_000, 5_000);
    let engine = Engine::in_memory()?;
    let rows = block_on(measure(&engine.pool, clones))?;
    engine.close()?;
    Ok(rows)
}

async fn measure(pool: &Pool, clones: u64) -> Result<Vec<Row>> {
    let tree = create_tree(pool, "tree", FILES, &Bytes::from_static(&[b'x'; 100])).await?;
    let place = create(pool, Ino::ROOT, "clones", Kind::Directory).await?;
    let before = stored(pool).await?;
    for number in 0..clones {
        clone(pool, tree, place, &number.to_string()).await?;
    }
    let cloned = stored(pool).await?;
    let mut random = Rng::with_seed(clones);
    for number in 0..clones {
        let mut data = vec![0; WRITE_BYTES];
        random.fill(&mut data);
        write_into(pool, place, &number.to_string(), data.into()).await?;
    }
    let written = stored(pool).await?;
    let each = |more: Stored, less: Stored| {
        let one = |more: u64, less: u64| bytes((more as f64 - less as f64) / clones as f64);
        (one(more.live, less.live), one(more.segments, less.segments))
    };
    let (live, segments) = each(cloned, before);
    let (live_written, segments_written) = each(written, before);
    Ok(vec![
        Row::alone(
            format!("live bytes of each of {clones} clones without writes"),
            live,
            Goal::AtMost(300.0),
        ),
        Row::alone("their part of all segments", segments, Goal::None),
        Row::alone("live bytes of each with one write of 4 KiB", live_written, Goal::AtMost(16.0 * 1024.0)),
        Row::alone("their part of all segments", segments_written, Goal::None),
    ])
}

#[derive(Clone, Copy)]
struct Stored {
    live: u64,
    segments: u64,
}

/// What is stored once everything is, and nothing that is not needed.
async fn stored(pool: &Pool) -> Result<Stored> {
    pool.checkpoint().await?;
    pool.gc().await?;
    let status = pool.status().await;
    Ok(Stored { live: status.live_bytes, segments: status.stored_bytes })
}

/// Writes into one file of the clone of this name.
async fn write_into(pool: &Pool, place: Ino, name: &str, data: Bytes) -> Result<()> {
    let root = pool.lookup(place, name.as_bytes()).await?.ino;
    let directory = pool.lookup(root, b"d0").await?.ino;
    let file = pool.lookup(directory, b"f500").await?.ino;
    pool.write(file, 0, data, false).await?;
    for ino in [file, directory, root] {
        pool.forget(ino, 1);
    }
    Ok(())
}
