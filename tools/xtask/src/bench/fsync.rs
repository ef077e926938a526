//! 4 KiB appended and made durable, again and again: fsync on the mount against fdatasync on the same disk.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::directio::Piece;
use super::row::{Goal, Row, seconds};
use super::{Bench, median};
use crate::place::{Ext4, Place};

pub(super) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new("bench-fsync")?;
    let ext4 = Ext4::new(&place)?;
    let server = bench.serve(&place)?;
    let count = bench.size(2000, 300);
    // In turns, because the disk's own mood changes over seconds.
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..4 {
        let name = format!("file-{round}");
        theirs.extend(append(&ext4.dir().join(&name), count / 4, File::sync_data)?);
        ours.extend(append(&server.mount().join(&name), count / 4, File::sync_all)?);
    }
    server.stop()?;
    let worst = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    let (our_worst, their_worst) = (worst(&ours), worst(&theirs));
    let other = "append and fdatasync on ext4";
    Ok(vec![
        Row::against(
            "append 4 KiB and fsync, median",
            seconds(median(ours)),
            other,
            seconds(median(theirs)),
            Goal::RatioAtMost(1.5),
        ),
        Row::against(
            "append 4 KiB and fsync, worst",
            seconds(our_worst),
            other,
            seconds(their_worst),
            Goal::None,
        ),
    ])
}

fn append(path: &Path, count: usize, sync: impl Fn(&File) -> std::io::Result<()>) -> Result<Vec<Duration>> {
    let mut file = File::create(path)?;
    let piece = Piece::new(1);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        file.write_all(piece.bytes())?;
        sync(&file)?;
        times.push(start.elapsed());
    }
    Ok(times)
}
