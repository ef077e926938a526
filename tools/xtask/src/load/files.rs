//! Many files: made through the mount, cloned, walked twice, removed once through the mount and once by the API.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};

use super::latency::Latencies;
use super::{Load, scaled};
use crate::report::row::{Goal, Row, count, rate, seconds};

const DIRECTORIES: u64 = 1000;
const FILES_EACH: u64 = 10_000;
const THREADS: usize = 4;

/// What file `number` of any directory holds: nothing mostly, 100 bytes in one of ten, 4 KiB in one of a hundred.
fn content(directory: u64, number: u64) -> Vec<u8> {
    let length = match number {
        number if number.is_multiple_of(100) => 4096,
        number if number.is_multiple_of(10) => 100,
        _ => 0,
    };
    let mut bytes = format!("{directory}/{number} ").into_bytes();
    bytes.resize(length, (directory % 251) as u8);
    bytes
}

pub(super) fn run(load: &Load) -> Result<Vec<Row>> {
    let mut stand = load.stand("files")?;
    // Few directories of full size rather than many small ones.
    let directories = scaled(DIRECTORIES, load.scale);
    let each = if directories > 1 { FILES_EACH } else { scaled(DIRECTORIES * FILES_EACH, load.scale) };
    let files = directories * each;
    let (original, clone) = (stand.mount().join("original"), stand.mount().join("clone"));
    let start = Instant::now();

    fs::create_dir(&original)?;
    let made = Instant::now();
    stand.in_threads(THREADS, |thread, latencies| {
        for directory in (thread as u64..directories).step_by(THREADS) {
            make(&original.join(format!("directory-{directory}")), directory, each, latencies)?;
            if directory.is_multiple_of(50) {
                stand.say(&format!("directory {directory} of {directories} made"), start)?;
            }
        }
        Ok(())
    })?;
    let made = made.elapsed();
    stand.say(&format!("{files} files made"), start)?;
    let recovered = stand.kill_and_restart()?;
    stand.say("synced, killed and recovered", start)?;

    stand.timed("clone", || stand.server().clone_path("/original", "/clone"))?;
    let restarted = Instant::now();
    stand.restart()?;
    let restarted = restarted.elapsed();
    stand.say("checked, stopped and started again", start)?;
    let mut walks = Vec::new();
    for root in [&original, &clone] {
        let walked = Instant::now();
        stand.in_threads(THREADS, |thread, latencies| {
            for directory in (thread as u64..directories).step_by(THREADS) {
                walk(&root.join(format!("directory-{directory}")), directory, each, latencies)?;
            }
            Ok(())
        })?;
        walks.push(walked.elapsed());
        stand.say(&format!("{} walked", root.display()), start)?;
    }

    let removed = Instant::now();
    stand.in_threads(THREADS, |thread, latencies| {
        for directory in (thread as u64..directories).step_by(THREADS) {
            remove(&original.join(format!("directory-{directory}")), latencies)?;
            if directory.is_multiple_of(50) {
                stand.say(&format!("directory {directory} of {directories} removed"), start)?;
            }
        }
        Ok(())
    })?;
    fs::remove_dir(&original)?;
    let removed = removed.elapsed();
    stand.say("the original removed through the mount", start)?;

    // What the other lost is all here still.
    stand.in_threads(THREADS, |thread, latencies| {
        for directory in (thread as u64..directories).step_by(10 * THREADS) {
            walk(&clone.join(format!("directory-{directory}")), directory, each, latencies)?;
        }
        Ok(())
    })?;
    stand.timed("remove a tree", || stand.server().offshoot(&["rm", "-r", "/clone"]))?;
    ensure!(!clone.exists(), "the clone is still there");
    let freed = stand.wait_until_freed()?;
    stand.say("the clone removed and everything freed", start)?;

    let mut rows = vec![
        Row::alone("files", count(files as f64), Goal::None),
        Row::alone("made", rate(files, made), load.goal(Goal::AtLeast(8000.0))),
        Row::alone("start after it was killed", seconds(recovered), Goal::None),
        Row::alone("checked, stopped and started again", seconds(restarted), Goal::None),
        Row::against(
            "walked, the clone",
            rate(files, walks[1]),
            "the original",
            rate(files, walks[0]),
            load.goal(Goal::RatioAtLeast(0.8)),
        ),
        Row::alone("removed through the mount", rate(files, removed), Goal::None),
        Row::alone("freed after the clone was removed as well", seconds(freed), Goal::None),
    ];
    rows.extend(stand.take_down()?);
    Ok(rows)
}

fn make(dir: &Path, directory: u64, files: u64, latencies: &mut Latencies) -> Result<()> {
    latencies.time("mkdir", || fs::create_dir(dir))?;
    for number in 0..files {
        let path = dir.join(format!("file-{number:05}"));
        let mut file = latencies.time("create", || File::create_new(&path))?;
        let bytes = content(directory, number);
        if !bytes.is_empty() {
            latencies.time("write", || file.write_all(&bytes))?;
        }
        latencies.time("close", || drop(file));
    }
    Ok(())
}

/// Lists a directory, looks at every file, and reads a few.
fn walk(dir: &Path, directory: u64, files: u64, latencies: &mut Latencies) -> Result<()> {
    let mut entries = latencies.time("opendir", || fs::read_dir(dir))?;
    let mut seen = 0;
    while let Some(entry) = latencies.time("readdir", || entries.next()).transpose()? {
        let path = entry.path();
        let found = latencies.time("stat", || fs::symlink_metadata(&path))?;
        let name = entry.file_name();
        let number: u64 =
            name.to_string_lossy().strip_prefix("file-").unwrap_or_default().parse().unwrap_or(u64::MAX);
        ensure!(number < files, "{} was never made", path.display());
        ensure!(found.is_file(), "{} is no file", path.display());
        let expected = content(directory, number);
        ensure!(found.len() == expected.len() as u64, "{} has {} bytes", path.display(), found.len());
        if number.is_multiple_of(500) {
            let bytes = latencies.time("read", || fs::read(&path))?;
            ensure!(bytes == expected, "{} has other content", path.display());
        }
        seen += 1;
    }
    ensure!(seen == files, "{} lists {seen} files, not {files}", dir.display());
    Ok(())
}

fn remove(dir: &Path, latencies: &mut Latencies) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        latencies.time("unlink", || fs::remove_file(&path))?;
    }
    latencies.time("rmdir", || fs::remove_dir(dir))?;
    Ok(())
}
