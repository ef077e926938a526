//! Many files open at once, first with a name and then without, written and read through.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::latency::Latencies;
use super::stand::Stand;
use super::{Load, scaled};
use crate::report::row::{Goal, Row, count};

const FILES: u64 = 10_000;
const THREADS: usize = 4;
const ROUNDS: u64 = 4;
const BLOCK_BYTES: usize = 4096;
/// Files that this process needs beside.
const SPARE_FILES: u64 = 500;

pub(super) fn run(load: &Load) -> Result<Vec<Row>> {
    let count_of_files = scaled(FILES, load.scale);
    raise_limit(count_of_files + SPARE_FILES)?;
    let stand = load.stand("open")?;
    let start = Instant::now();
    let dir = stand.mount().join("open");
    let files = open_all(&stand, &dir, count_of_files)?;
    stand.say(&format!("{count_of_files} files open"), start)?;
    for round in 0..ROUNDS {
        if round == ROUNDS / 2 {
            stand.in_threads(THREADS, |thread, latencies| {
                for number in (thread..files.len()).step_by(THREADS) {
                    let path = dir.join(number.to_string());
                    latencies.time("unlink", || fs::remove_file(&path))?;
                }
                Ok(())
            })?;
            fs::remove_dir(&dir)?;
            stand.say("all without a name", start)?;
        }
        use_all(&stand, load, &files, round)?;
        stand.say(&format!("round {round} written and read"), start)?;
    }
    for (number, file) in files.iter().enumerate() {
        let length = file.metadata()?.len();
        let expected = ROUNDS * BLOCK_BYTES as u64;
        ensure!(length == expected, "file {number} has {length} bytes, not {expected}");
    }
    stand.in_threads(1, |_, latencies| {
        for file in files.iter().take(1000) {
            latencies.time("fsync", || file.sync_data())?;
        }
        Ok(())
    })?;
    stand.timed("close all", || {
        drop(files);
        Ok(())
    })?;
    stand.wait_until_freed()?;
    stand.say("closed and freed", start)?;
    let mut rows = vec![Row::alone(
        "files open at once, first with and then without a name",
        count(count_of_files as f64),
        Goal::None,
    )];
    rows.extend(stand.take_down()?);
    Ok(rows)
}

fn raise_limit(files: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        let maximum = limit.maximum.map(|maximum| maximum.max(files));
        setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum })
            .with_context(|| format!("this process may not open {files} files"))?;
    }
    Ok(())
}

/// Makes files and keeps them open, in the order of their numbers.
fn open_all(stand: &Stand, dir: &Path, files: u64) -> Result<Vec<File>> {
    fs::create_dir(dir)?;
    let all = Mutex::new(Vec::new());
    stand.in_threads(THREADS, |thread, latencies| {
        let mut opened = Vec::new();
        for number in (thread as u64..files).step_by(THREADS) {
            let path = dir.join(number.to_string());
            let mut options = File::options();
            options.create_new(true).read(true).write(true);
            opened.push((number, latencies.time("create", || options.open(&path))?));
        }
        all.lock().expect("no thread panics with it").extend(opened);
        Ok(())
    })?;
    let mut all = all.into_inner().expect("no thread panics with it");
    all.sort_unstable_by_key(|(number, _)| *number);
    Ok(all.into_iter().map(|(_, file)| file).collect())
}

/// Writes one more block to each file and reads all that it has by now, in a random order.
fn use_all(stand: &Stand, load: &Load, files: &[File], round: u64) -> Result<()> {
    stand.in_threads(THREADS, |thread, latencies| {
        let mut order: Vec<usize> = (thread..files.len()).step_by(THREADS).collect();
        let mut random = fastrand::Rng::with_seed(load.seed ^ round ^ (thread as u64) << 8);
        random.shuffle(&mut order);
        for &number in &order {
            let block = content(number, round);
            latencies.time("write", || files[number].write_all_at(&block, round * BLOCK_BYTES as u64))?;
            if number % 1000 == 0 {
                latencies.time("fsync", || files[number].sync_all())?;
            }
        }
        random.shuffle(&mut order);
        for &number in &order {
            read(&files[number], number, round, latencies)?;
        }
        Ok(())
    })
}

fn read(file: &File, number: usize, round: u64, latencies: &mut Latencies) -> Result<()> {
    // What this machine's kernel has cached proves nothing.
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
    let mut bytes = vec![0; (round as usize + 1) * BLOCK_BYTES];
    latencies.time("read", || file.read_exact_at(&mut bytes, 0))?;
    for (round, found) in bytes.chunks_exact(BLOCK_BYTES).enumerate() {
        ensure!(found == content(number, round as u64), "block {round} of file {number} is wrong");
    }
    Ok(())
}

fn content(number: usize, round: u64) -> Vec<u8> {
    let mut bytes = vec![(number % 253) as u8; BLOCK_BYTES];
    let words = format!("{number} {round}");
    bytes[..words.len()].copy_from_slice(words.as_bytes());
    bytes
}
