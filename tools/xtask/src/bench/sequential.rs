//! One large file, written with an fsync at the end and read back cold, against the same local disk.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Result, ensure};

use super::randomio::write_file;
use super::row::{Goal, Row, throughput};
use super::{Bench, drop_caches, timed};
use crate::place::{Ext4, Place};

pub(super) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new("bench-sequential")?;
    let ext4 = Ext4::new(&place)?;
    let size = bench.size(2 << 30, 1 << 27);
    let server = bench.serve(&place)?;
    let (their_write, ()) = timed(|| write_file(&ext4.dir().join("file"), size))?;
    drop_caches()?;
    let (our_write, ()) = timed(|| write_file(&server.mount().join("file"), size))?;
    // A server that has just started has nothing in its own memory either.
    server.stop()?;
    let server = bench.serve(&place)?;
    drop_caches()?;
    let (their_read, ()) = timed(|| read_file(&ext4.dir().join("file"), size))?;
    drop_caches()?;
    let (our_read, ()) = timed(|| read_file(&server.mount().join("file"), size))?;
    let (our_warm_read, ()) = timed(|| read_file(&server.mount().join("file"), size))?;
    let (their_warm_read, ()) = timed(|| read_file(&ext4.dir().join("file"), size))?;
    server.stop()?;
    let row = |what: &str, ours, theirs, goal| {
        let what = format!("{what} {} MiB that do not compress", size >> 20);
        Row::against(what, throughput(size, ours), "ext4", throughput(size, theirs), goal)
    };
    Ok(vec![
        row("write and fsync", our_write, their_write, Goal::RatioAtLeast(0.6)),
        row("read, nothing cached,", our_read, their_read, Goal::RatioAtLeast(0.6)),
        row("read again", our_warm_read, their_warm_read, Goal::None),
    ])
}

pub(super) fn read_file(path: &Path, size: u64) -> Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        total += count as u64;
    }
    ensure!(total == size, "{} has {total} bytes of {size}", path.display());
    Ok(())
}
