//! What a clone of a clone of a clone costs those who read it: nothing, it should be.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use fastrand::Rng;
use futures::executor::block_on;
use offshoot_engine::{Ino, Kind, Pool};

use super::super::row::{Goal, Row, seconds, throughput};
use super::super::{Bench, median};
use super::{Engine, create, create_tree};
use crate::place::Place;

const FILES: u64 = 1000;
const PIECE_BYTES: usize = 128 << 10;

pub(in crate::bench) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new("bench-engine-reads")?;
    let engine = Engine::on_disk(&place)?;
    let rows = block_on(async {
        let mut rows = vec![lookups(&engine.pool, bench.size(1000, 100), bench.size(101, 11)).await?];
        rows.push(reads(&engine.pool, bench.size(256 << 20, 16 << 20), bench.size(9, 3)).await?);
        Ok::<_, anyhow::Error>(rows)
    })?;
    engine.close()?;
    Ok(rows)
}

async fn lookups(pool: &Pool, depth: usize, rounds: usize) -> Result<Row> {
    let mut tree = create_tree(pool, "depth-0", FILES, &Bytes::new()).await?;
    let mut shallow = tree;
    for level in 1..=depth {
        let name = format!("depth-{level}");
        tree = pool.clone_inode(tree, Ino::ROOT, name.as_bytes(), Default::default()).await?.ino;
        if level == 1 {
            shallow = tree;
        }
    }
    pool.checkpoint().await?;
    let (mut at_one, mut at_depth) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        at_one.push(look_up_all(pool, shallow).await?);
        at_depth.push(look_up_all(pool, tree).await?);
    }
    let each = |times| seconds(median(times) / FILES as u32);
    Ok(Row::against(
        format!("lookup at clone depth {depth}"),
        each(at_depth),
        "at depth 1",
        each(at_one),
        Goal::RatioAtMost(1.1),
    ))
}

async fn look_up_all(pool: &Pool, tree: Ino) -> Result<Duration> {
    let directory = pool.lookup(tree, b"d0").await?.ino;
    let names: Vec<Vec<u8>> = (0..FILES).map(|number| format!("f{number}").into_bytes()).collect();
    let start = Instant::now();
    for name in &names {
        let found = pool.lookup(directory, name).await?;
        pool.forget(found.ino, 1);
    }
    let time = start.elapsed();
    pool.forget(directory, 1);
    Ok(time)
}

async fn reads(pool: &Pool, size: u64, rounds: usize) -> Result<Row> {
    let original = create(pool, Ino::ROOT, "original", Kind::File).await?;
    let mut random = Rng::with_seed(size);
    for at in 0..size / PIECE_BYTES as u64 {
        let mut piece = vec![0; PIECE_BYTES];
        random.fill(&mut piece);
        pool.write(original, at * PIECE_BYTES as u64, piece.into(), false).await?;
    }
    pool.checkpoint().await?;
    let clone = pool.clone_inode(original, Ino::ROOT, b"clone", Default::default()).await?.ino;
    let (mut of_clone, mut of_original) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        of_original.push(read_all(pool, original, size).await?);
        of_clone.push(read_all(pool, clone, size).await?);
    }
    Ok(Row::against(
        format!("read of an unchanged clone of {} MiB", size >> 20),
        throughput(size, median(of_clone)),
        "read of its original",
        throughput(size, median(of_original)),
        Goal::RatioAtLeast(0.95),
    ))
}

async fn read_all(pool: &Pool, ino: Ino, size: u64) -> Result<Duration> {
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let start = Instant::now();
    for at in 0..size / PIECE_BYTES as u64 {
        piece.clear();
        pool.read(ino, at * PIECE_BYTES as u64, PIECE_BYTES, &mut piece).await?;
        ensure!(piece.len() == PIECE_BYTES, "a short read of {} bytes", piece.len());
    }
    Ok(start.elapsed())
}
