//! What a clone takes: in the middle, with a large tree against a small one, and late against early.

use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::{Ino, Kind};

use super::super::row::{Goal, Row, seconds};
use super::super::{Bench, median};
use super::{Engine, clone, create, create_tree};
use crate::place::Place;

/// How many clones make one median.
const SAMPLE: usize = 1000;

pub(in crate::bench) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new("bench-engine-clones")?;
    let engine = Engine::on_disk(&place)?;
    let large = bench.size(1_000_000, 100_000);
    let many = bench.size(100_000, 10_000);
    let rows = block_on(measure(&engine, large, many))?;
    engine.close()?;
    Ok(rows)
}

async fn measure(engine: &Engine, large: u64, many: usize) -> Result<Vec<Row>> {
    let pool = &engine.pool;
    let content = Bytes::from_static(&[b'x'; 100]);
    let small_tree = create_tree(pool, "small", 1000, &content).await?;
    let large_tree = create_tree(pool, "large", large, &content).await?;
    pool.checkpoint().await?;

    // In turns, so that whatever else happens hits both.
    let mixed = create(pool, Ino::ROOT, "mixed", Kind::Directory).await?;
    let (mut of_small, mut of_large) = (Vec::new(), Vec::new());
    for number in 0..SAMPLE {
        for (tree, times, name) in
            [(small_tree, &mut of_small, "small"), (large_tree, &mut of_large, "large")]
        {
            let name = format!("{name}-{number}");
            let start = Instant::now();
            clone(pool, tree, mixed, &name).await?;
            times.push(start.elapsed());
        }
    }
    let late = create(pool, Ino::ROOT, "late", Kind::Directory).await?;
    let mut all: Vec<Duration> = Vec::with_capacity(many);
    for number in 0..many {
        let name = format!("clone-{number}");
        let start = Instant::now();
        clone(pool, small_tree, late, &name).await?;
        all.push(start.elapsed());
    }
    let first = median(all[..SAMPLE.min(many)].to_vec());
    let last = median(all[many.saturating_sub(SAMPLE)..].to_vec());
    let of_large = seconds(median(of_large));
    Ok(vec![
        Row::alone(format!("clone of {large} files, median"), of_large, Goal::AtMost(50e-6)),
        Row::against(
            format!("clone of {large} files"),
            of_large,
            "clone of 1000 files",
            seconds(median(of_small)),
            Goal::RatioAtMost(1.2),
        ),
        Row::against(
            format!("the last {SAMPLE} of {many} clones of one tree, median"),
            seconds(last),
            "the first of them",
            seconds(first),
            Goal::RatioAtMost(1.2),
        ),
    ])
}
