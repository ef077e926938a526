//! Clones of one file that was written in 4 KiB pieces at random: ours through the command line, FICLONE on XFS and btrfs.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::row::{Goal, Row, seconds};
use super::{Bench, directio, median, timed};
use crate::mounts::Disk;
use crate::place::Place;

const SEED: u64 = 7;

pub(super) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let size = bench.size(1 << 30, 1 << 26);
    let rounds = bench.size(9, 3);
    let place = Place::new("bench-file-clones")?;
    let xfs = Disk::make(place.path(), "xfs", 4 << 30, &["mkfs.xfs", "-q", "-m", "reflink=1"])?;
    let on_xfs = reflink(xfs.point(), size, rounds)?;
    drop(xfs);
    let btrfs = Disk::make(place.path(), "btrfs", 6 << 30, &["mkfs.btrfs", "-q"])?;
    let on_btrfs = reflink(btrfs.point(), size, rounds)?;
    drop(btrfs);

    let server = bench.serve(&place)?;
    directio::write_scattered(&server.mount().join("scattered"), size, SEED)?;
    File::create(server.mount().join("empty"))?.sync_all()?;
    let (mut ours, mut empty) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        ours.push(timed(|| server.clone_path("/scattered", &format!("/scattered-{round}")))?.0);
        empty.push(timed(|| server.clone_path("/empty", &format!("/empty-{round}")))?.0);
    }
    server.stop()?;
    let ours = seconds(median(ours));
    let what = format!("clone of {} MiB in 4 KiB pieces", size >> 20);
    Ok(vec![
        Row::against(&what, ours, "clone of an empty file", seconds(median(empty)), Goal::RatioAtMost(1.2)),
        Row::against(&what, ours, "FICLONE on btrfs", seconds(on_btrfs), Goal::RatioAtMost(0.33)),
        Row::against(&what, ours, "FICLONE on XFS", seconds(on_xfs), Goal::RatioAtMost(0.33)),
    ])
}

fn reflink(dir: &Path, size: u64, rounds: usize) -> Result<Duration> {
    let path = dir.join("scattered");
    directio::write_scattered(&path, size, SEED)?;
    let source = File::open(&path)?;
    let mut times = Vec::new();
    for round in 0..rounds {
        let clone = File::create(dir.join(format!("clone-{round}")))?;
        times.push(timed(|| rustix::fs::ioctl_ficlone(&clone, &source).map_err(Into::into))?.0);
    }
    Ok(median(times))
}
