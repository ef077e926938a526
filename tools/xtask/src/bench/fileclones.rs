//! Clones of one file that was written in 4 KiB pieces at random: ours through the command line, FICLONE on XFS and btrfs.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::row::{Goal, Measure, Row, seconds};
use super::{Bench, directio, median, timed};
use crate::mounts::Disk;
use crate::place::Place;

const SEED: u64 = 7;
/// Against FICLONE of a file in small pieces.
const GOAL: Goal = Goal::RatioAtMost(0.33);

/// How the file is written decides how many extents FICLONE has to copy, XFS merging most of what goes through the cache: one way
/// alone would say more about the choice than about the file systems.
const WAYS: [(bool, &str); 2] = [(true, "O_DIRECT"), (false, "through the cache")];

pub(super) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let size = bench.size(1 << 30, 1 << 26);
    let rounds = bench.size(9, 3);
    let mut rows = Vec::new();
    for (direct, way) in WAYS {
        let place = Place::new("bench-file-clones")?;
        let xfs = Disk::make(place.path(), "xfs", 4 << 30, &["mkfs.xfs", "-q", "-m", "reflink=1"])?;
        let on_xfs = seconds(reflink(xfs.point(), size, rounds, direct)?);
        drop(xfs);
        let btrfs = Disk::make(place.path(), "btrfs", 6 << 30, &["mkfs.btrfs", "-q"])?;
        let on_btrfs = seconds(reflink(btrfs.point(), size, rounds, direct)?);
        drop(btrfs);
        let (ours, empty) = ours(bench, &place, size, rounds, direct)?;
        let what = format!("clone of {} MiB written in 4 KiB pieces, {way}", size >> 20);
        // XFS makes a few large extents of what goes through the cache: there is nothing fragmented to clone then.
        let on_xfs_goal = if direct { GOAL } else { Goal::None };
        rows.push(Row::against(&what, ours, "clone of an empty file", empty, Goal::RatioAtMost(1.2)));
        rows.push(Row::against(&what, ours, "FICLONE on btrfs", on_btrfs, GOAL));
        rows.push(Row::against(&what, ours, "FICLONE on XFS", on_xfs, on_xfs_goal));
    }
    Ok(rows)
}

/// The clone of the file and the clone of an empty one.
fn ours(bench: &Bench, place: &Place, size: u64, rounds: usize, direct: bool) -> Result<(Measure, Measure)> {
    let server = bench.serve(place)?;
    directio::write_scattered(&server.mount().join("scattered"), size, SEED, direct)?;
    File::create(server.mount().join("empty"))?.sync_all()?;
    let (mut scattered, mut empty) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        rustix::fs::sync();
        scattered.push(timed(|| server.clone_path("/scattered", &format!("/scattered-{round}")))?.0);
        rustix::fs::sync();
        empty.push(timed(|| server.clone_path("/empty", &format!("/empty-{round}")))?.0);
    }
    server.stop()?;
    Ok((seconds(median(scattered)), seconds(median(empty))))
}

fn reflink(dir: &Path, size: u64, rounds: usize, direct: bool) -> Result<Duration> {
    let path = dir.join("scattered");
    directio::write_scattered(&path, size, SEED, direct)?;
    let source = File::open(&path)?;
    let mut times = Vec::new();
    for round in 0..rounds {
        let clone = File::create(dir.join(format!("clone-{round}")))?;
        // What earlier work left to be done is not this clone's.
        rustix::fs::sync();
        times.push(timed(|| rustix::fs::ioctl_ficlone(&clone, &source).map_err(Into::into))?.0);
    }
    Ok(median(times))
}
