//! Small files through FUSE with one thread: create, open-read-close, stat, unlink; and stat against an empty FUSE file system.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::hollow::Hollow;
use super::row::{Goal, Row, rate, seconds};
use super::{Bench, drop_caches, timed};
use crate::place::{Ext4, Place};

const FILES_PER_DIRECTORY: u64 = 1000;
const FILE_BYTES: usize = 1024;

pub(super) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let count = bench.size(100_000, 10_000);
    let place = Place::new("bench-files")?;
    let ext4 = Ext4::new(&place)?;
    let hollow = Hollow::mount(&place.join("hollow"))?;
    let server = bench.serve(&place)?;

    let local = all(ext4.dir(), count, &|| Ok(()))?;
    // What was written is stored first: the empty file system has no background either.
    let ours = all(server.mount(), count, &|| server.offshoot(&["gc"]).map(drop))?;
    drop_caches()?;
    let empty = stat(hollow.point(), count)?;
    drop_caches()?;
    let empty_birth = stat_with_birth(hollow.point(), count)?;
    server.stop()?;

    let against_disk = |what: &str, ours, theirs, goal| {
        Row::against(
            format!("{what} {count} files of 1 KiB"),
            rate(count, ours),
            "ext4",
            rate(count, theirs),
            goal,
        )
    };
    let each = |total: Duration| seconds(total / count as u32);
    Ok(vec![
        against_disk("create", ours.create, local.create, Goal::AtLeast(8_000.0)),
        against_disk("open, read, close", ours.read, local.read, Goal::AtLeast(15_000.0)),
        Row::against(
            "stat, names not cached, nothing in the background",
            each(ours.stat),
            "an empty FUSE file system",
            each(empty),
            Goal::RatioAtMost(1.5),
        ),
        Row::against(
            "statx with the birth time, the same",
            each(ours.stat_with_birth),
            "an empty FUSE file system, which has none",
            each(empty_birth),
            Goal::None,
        ),
        against_disk("unlink", ours.unlink, local.unlink, Goal::None),
    ])
}

struct Times {
    create: Duration,
    read: Duration,
    stat: Duration,
    stat_with_birth: Duration,
    unlink: Duration,
}

/// `settle` ends what work goes on in the background.
fn all(dir: &Path, count: u64, settle: &dyn Fn() -> Result<()>) -> Result<Times> {
    let (create, ()) = timed(|| create_files(dir, count, FILE_BYTES))?;
    let (read, ()) = timed(|| {
        let mut buffer = Vec::with_capacity(FILE_BYTES);
        each(dir, count, |path| {
            buffer.clear();
            File::open(path)?.read_to_end(&mut buffer)?;
            ensure!(buffer.len() == FILE_BYTES, "{} has {} bytes", path.display(), buffer.len());
            Ok(())
        })
    })?;
    settle()?;
    drop_caches()?;
    let stat = stat(dir, count)?;
    drop_caches()?;
    let stat_with_birth = stat_with_birth(dir, count)?;
    let (unlink, ()) = timed(|| each(dir, count, |path| std::fs::remove_file(path).map_err(Into::into)))?;
    Ok(Times { create, read, stat, stat_with_birth, unlink })
}

/// As `stat(2)` asks. The kernel has the answer with the name.
fn stat(dir: &Path, count: u64) -> Result<Duration> {
    let (time, ()) =
        timed(|| each(dir, count, |path| rustix::fs::lstat(path).map(drop).map_err(Into::into)))?;
    Ok(time)
}

/// As the standard library of Rust asks: with the birth time, for which the kernel sends a request of its own where there is one.
fn stat_with_birth(dir: &Path, count: u64) -> Result<Duration> {
    let (time, ()) =
        timed(|| each(dir, count, |path| std::fs::symlink_metadata(path).map(drop).map_err(Into::into)))?;
    Ok(time)
}

/// Makes `count` files in directories of a thousand.
pub(super) fn create_files(dir: &Path, count: u64, size_bytes: usize) -> Result<()> {
    let content = vec![b'x'; size_bytes];
    for directory in 0..count.div_ceil(FILES_PER_DIRECTORY) {
        std::fs::create_dir(dir.join(format!("d{directory}")))?;
    }
    each(dir, count, |path| File::create_new(path)?.write_all(&content).map_err(Into::into))
}

fn each(dir: &Path, count: u64, mut work: impl FnMut(&PathBuf) -> Result<()>) -> Result<()> {
    for number in 0..count {
        let name = format!("d{}/f{}", number / FILES_PER_DIRECTORY, number % FILES_PER_DIRECTORY);
        work(&dir.join(name))?;
    }
    Ok(())
}
