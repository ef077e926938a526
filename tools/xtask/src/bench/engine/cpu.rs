//! CPU time of the engine's operations, all its threads counted, on stores in memory so that no disk is counted.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::Pool;

use super::super::Bench;
use super::super::row::{Goal, Row, seconds};
use super::{Engine, FILES_PER_DIRECTORY, cpu_time, create_tree};

pub(in crate::bench) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let files = bench.size(500_000, 50_000);
    let engine = Engine::in_memory()?;
    let rows = block_on(measure(&engine.pool, files))?;
    engine.close()?;
    Ok(rows)
}

async fn measure(pool: &Pool, files: u64) -> Result<Vec<Row>> {
    let start = cpu_time();
    let tree = create_tree(pool, "tree", files, &Bytes::new()).await?;
    pool.sync().await?;
    let create = cpu_time() - start;
    pool.checkpoint().await?;

    let mut lookup = Duration::ZERO;
    let names: Vec<Vec<u8>> =
        (0..FILES_PER_DIRECTORY).map(|number| format!("f{number}").into_bytes()).collect();
    let directories = files / FILES_PER_DIRECTORY;
    for number in 0..directories {
        let directory = pool.lookup(tree, format!("d{number}").as_bytes()).await?.ino;
        let start = cpu_time();
        for name in &names {
            let found = pool.lookup(directory, name).await?;
            pool.forget(found.ino, 1);
        }
        lookup += cpu_time() - start;
        pool.forget(directory, 1);
    }
    let each = |total: Duration, count: u64| {
        seconds(Duration::from_nanos((total.as_nanos() / u128::from(count)) as u64))
    };
    Ok(vec![
        Row::alone(
            format!("CPU of a create, {files} files, with the sync at the end"),
            each(create, files),
            Goal::AtMost(5e-6),
        ),
        Row::alone("CPU of a lookup", each(lookup, directories * FILES_PER_DIRECTORY), Goal::AtMost(1e-6)),
    ])
}
