//! Many clones of one tree, written at the same time by many threads, and found isolated from each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::latency::Latencies;
use super::{Load, scaled};
use crate::report::row::{Goal, Row, count, rate};

const CLONES: u64 = 1000;
const DIRECTORIES: u64 = 20;
const FILES_EACH: u64 = 50;
const FILE_BYTES: usize = 4096;
const WRITERS: usize = 16;
/// Threads that clone; each starts a command for each clone.
const CLONERS: usize = 4;
/// Files of each clone that are written.
const WRITTEN: u64 = 10;

fn original(directory: u64, file: u64) -> Vec<u8> {
    let mut bytes = vec![b'a' + (file % 26) as u8; FILE_BYTES];
    let words = format!("original {directory} {file}");
    bytes[..words.len()].copy_from_slice(words.as_bytes());
    bytes
}

fn changed(clone: u64, file: u64) -> Vec<u8> {
    let mut bytes = original(clone % DIRECTORIES, file);
    let words = format!("clone {clone} file {file} ");
    bytes[100..100 + words.len()].copy_from_slice(words.as_bytes());
    bytes
}

fn path_of(tree: &Path, directory: u64, file: u64) -> PathBuf {
    tree.join(format!("directory-{directory}")).join(format!("file-{file}"))
}

pub(super) fn run(load: &Load) -> Result<Vec<Row>> {
    let stand = load.stand("clones")?;
    let clones = scaled(CLONES, load.scale);
    let tree = stand.mount().join("tree");
    let all = stand.mount().join("clones");
    let clone_path = |clone: u64| all.join(format!("clone-{clone}"));
    fs::create_dir(&tree)?;
    fs::create_dir(&all)?;
    for directory in 0..DIRECTORIES {
        fs::create_dir(tree.join(format!("directory-{directory}")))?;
        for file in 0..FILES_EACH {
            fs::write(path_of(&tree, directory, file), original(directory, file))?;
        }
    }
    let start = Instant::now();
    stand.in_threads(CLONERS, |thread, latencies| {
        for clone in (thread as u64..clones).step_by(CLONERS) {
            let to = format!("/clones/clone-{clone}");
            latencies.time("clone", || stand.server().clone_path("/tree", &to))?;
        }
        Ok(())
    })?;
    let cloned = start.elapsed();
    stand.say(&format!("{clones} clones made"), start)?;

    let written = Instant::now();
    stand.in_threads(WRITERS, |thread, latencies| {
        for clone in (thread as u64..clones).step_by(WRITERS) {
            write(&clone_path(clone), clone, latencies).with_context(|| format!("clone {clone}"))?;
        }
        Ok(())
    })?;
    let written = written.elapsed();
    stand.say("all written", start)?;

    stand.in_threads(WRITERS, |thread, latencies| {
        for clone in (thread as u64..clones).step_by(WRITERS) {
            verify(&clone_path(clone), Some(clone), latencies).with_context(|| format!("clone {clone}"))?;
        }
        Ok(())
    })?;
    stand
        .timed("compare the original", || verify(&tree, None, &mut Latencies::default()))
        .context("the original")?;
    stand.say("all compared", start)?;

    stand.in_threads(CLONERS, |thread, latencies| {
        for clone in (thread as u64..clones).step_by(CLONERS) {
            if clone % 2 == 0 {
                let path = format!("/clones/clone-{clone}");
                latencies.time("remove a tree", || stand.server().offshoot(&["rm", "-r", &path]))?;
            } else {
                remove(&clone_path(clone), latencies)?;
            }
        }
        Ok(())
    })?;
    fs::remove_dir(&all).context("not all clones are gone")?;
    stand.say("all clones removed", start)?;
    verify(&tree, None, &mut Latencies::default()).context("the original, without its clones")?;
    stand.wait_until_freed()?;
    stand.say("everything freed", start)?;

    let changes = clones * (WRITTEN + 2);
    let mut rows = vec![
        Row::alone("clones of 1000 files", count(clones as f64), Goal::None),
        Row::alone("cloned by the command line", rate(clones, cloned), Goal::None),
        Row::alone(
            "files of clones changed",
            rate(changes, written.max(Duration::from_millis(1))),
            Goal::None,
        ),
    ];
    rows.extend(stand.take_down()?);
    Ok(rows)
}

/// Changes some files of a clone, adds one and removes one.
fn write(tree: &Path, clone: u64, latencies: &mut Latencies) -> Result<()> {
    let directory = clone % DIRECTORIES;
    for file in 0..WRITTEN {
        let (path, bytes) = (path_of(tree, directory, file), changed(clone, file));
        latencies.time("write a file", || fs::write(&path, &bytes))?;
    }
    latencies.time("create", || fs::write(tree.join("added"), format!("by {clone}")))?;
    latencies.time("unlink", || fs::remove_file(path_of(tree, directory, WRITTEN)))?;
    Ok(())
}

/// Compares a tree with the original and, if it is a clone, with what was changed in it.
fn verify(tree: &Path, clone: Option<u64>, latencies: &mut Latencies) -> Result<()> {
    let changed_directory = clone.map(|clone| clone % DIRECTORIES);
    let added = tree.join("added");
    match clone {
        Some(clone) => ensure!(
            fs::read(&added)? == format!("by {clone}").into_bytes(),
            "`added` has the content of another clone"
        ),
        None => ensure!(!added.exists(), "`added` of a clone is in the original"),
    }
    for directory in 0..DIRECTORIES {
        // Of the directories without changes, a few are enough.
        if clone.is_some() && changed_directory != Some(directory) && directory % 7 != 0 {
            continue;
        }
        for file in 0..FILES_EACH {
            let path = path_of(tree, directory, file);
            let expected = match clone.filter(|_| changed_directory == Some(directory)) {
                Some(_) if file == WRITTEN => {
                    ensure!(!path.exists(), "{} was removed", path.display());
                    continue;
                }
                Some(clone) if file < WRITTEN => changed(clone, file),
                _ => original(directory, file),
            };
            let found = latencies.time("read a file", || fs::read(&path))?;
            ensure!(found == expected, "{} is not what was written to it", path.display());
        }
    }
    Ok(())
}

fn remove(tree: &Path, latencies: &mut Latencies) -> Result<()> {
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove(&path, latencies)?;
        } else {
            latencies.time("unlink", || fs::remove_file(&path))?;
        }
    }
    latencies.time("rmdir", || fs::remove_dir(tree))?;
    Ok(())
}
