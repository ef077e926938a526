//! `kill -9` of the server while programs write and fsync: after a restart with the same command everything that
//! was acknowledged is there, whole.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;

use super::Setting;
use crate::place::Place;
use crate::server::Server;

const WRITERS: u64 = 3;
/// A record of the append-only files: the number of the record, then bytes that follow from it.
const RECORD_BYTES: usize = 700;
const FILE_BYTES_MAX: u64 = 200 << 10;

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Files that were fsynced, and their directory after them: path, seed of the content, size.
    files: Vec<(PathBuf, u64, u64)>,
    /// Records of each writer's append-only file in this round that an fdatasync has covered.
    appended: Vec<(PathBuf, u64)>,
    /// Clones whose command has succeeded, and the file that is in each.
    clones: Vec<(PathBuf, u64, u64)>,
}

/// At least three rounds, more until the time is up.
pub(crate) fn run(setting: &Setting) -> Result<String> {
    ensure!(!setting.local, "it kills the server, and the local disk has none");
    let place = Place::new("kill")?;
    let end = Instant::now() + setting.duration;
    let mut random = Rng::with_seed(setting.seed);
    let mut server = Server::start(&setting.binary, place.path())?;
    let all = Mutex::new(Acknowledged::default());
    let mut rounds = 0_u64;
    while rounds < 3 || Instant::now() < end {
        write_until_killed(&server, &all, &mut random, rounds)?;
        let dead = server.bury()?;
        server = Server::start(&setting.binary, place.path()).context("after kill -9")?;
        dead.replaced();
        let all = all.lock().map_err(|_| anyhow::anyhow!("a writer panicked"))?;
        verify(&all).with_context(|| format!("after kill {rounds}"))?;
        rounds += 1;
    }
    server.stop()?;
    let all = all.into_inner().map_err(|_| anyhow::anyhow!("a writer panicked"))?;
    let records: u64 = all.appended.iter().map(|(_, records)| records).sum();
    ensure!(!all.files.is_empty() && records > 0, "nothing was acknowledged, so nothing was tested");
    Ok(format!(
        "{rounds} kills; {} files, {records} records and {} clones that were acknowledged are there",
        all.files.len(),
        all.clones.len()
    ))
}

/// Writes with several threads and returns, with the writers still at work in the kernel's eyes, once the server is to die.
fn write_until_killed(
    server: &Server,
    all: &Mutex<Acknowledged>,
    random: &mut Rng,
    round: u64,
) -> Result<()> {
    let dir = server.mount().join(format!("round-{round}"));
    std::fs::create_dir(&dir)?;
    sync_dir(&dir)?;
    sync_dir(server.mount())?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for writer in 0..WRITERS {
            let (dir, stop, seed) = (&dir, &stop, random.u64(..));
            threads.push(scope.spawn(move || {
                let mut random = Rng::with_seed(seed);
                if writer == 0 { append(dir, all, stop) } else { create(dir, writer, all, stop, &mut random) }
            }));
        }
        std::thread::sleep(Duration::from_millis(300 + random.u64(..1500)));
        let cloned = clone_once(server, all, round);
        std::thread::sleep(Duration::from_millis(random.u64(..300)));
        // From here on a writer may fail, as its file system is about to go.
        let killed = server.kill_now();
        stop.store(true, Ordering::SeqCst);
        for thread in threads {
            if thread.join().is_err() {
                bail!("a writer panicked");
            }
        }
        cloned.and(killed)
    })
}

/// Appends records to one file, each made durable before the next, until something fails.
fn append(dir: &Path, all: &Mutex<Acknowledged>, stop: &AtomicBool) {
    let path = dir.join("appended");
    let Ok(mut file) = File::create(&path) else { return };
    if sync_dir(dir).is_err() {
        return;
    }
    let slot = match all.lock() {
        Ok(mut all) => {
            all.appended.push((path, 0));
            all.appended.len() - 1
        }
        Err(_) => return,
    };
    for number in 0.. {
        if stop.load(Ordering::SeqCst)
            || file.write_all(&record(number)).and_then(|()| file.sync_data()).is_err()
        {
            return;
        }
        if let Ok(mut all) = all.lock() {
            all.appended[slot].1 = number + 1;
        }
    }
}

/// Makes files under a temporary name, makes them durable, renames them, makes that durable, until something fails.
fn create(dir: &Path, writer: u64, all: &Mutex<Acknowledged>, stop: &AtomicBool, random: &mut Rng) {
    for number in 0_u64.. {
        let path = dir.join(format!("file-{writer}-{number}"));
        let (seed, size) = (random.u64(..), random.u64(..FILE_BYTES_MAX));
        let made = || -> std::io::Result<()> {
            let temporary = path.with_extension("new");
            let mut file = File::create(&temporary)?;
            file.write_all(&content(seed, size))?;
            file.sync_all()?;
            std::fs::rename(&temporary, &path)?;
            sync_dir(dir)
        };
        if stop.load(Ordering::SeqCst) || made().is_err() {
            return;
        }
        if let Ok(mut all) = all.lock() {
            all.files.push((path, seed, size));
        }
    }
}

/// Clones a directory with one file that was never fsynced: the clone command itself makes it durable.
fn clone_once(server: &Server, all: &Mutex<Acknowledged>, round: u64) -> Result<()> {
    let source = format!("source-{round}");
    let (seed, size) = (round + 1000, 30_000);
    std::fs::create_dir(server.mount().join(&source))?;
    std::fs::write(server.mount().join(&source).join("inside"), content(seed, size))?;
    let destination = format!("clone-{round}");
    server.clone_path(&format!("/{source}"), &format!("/{destination}"))?;
    let path = server.mount().join(&destination).join("inside");
    all.lock().map_err(|_| anyhow::anyhow!("a writer panicked"))?.clones.push((path, seed, size));
    Ok(())
}

fn verify(all: &Acknowledged) -> Result<()> {
    for (path, seed, size) in all.files.iter().chain(&all.clones) {
        let found = std::fs::read(path).with_context(|| format!("{} is lost", path.display()))?;
        ensure!(
            found == content(*seed, *size),
            "{} is damaged: {} bytes of {size}",
            path.display(),
            found.len()
        );
    }
    for (path, records) in &all.appended {
        let found = std::fs::read(path).with_context(|| format!("{} is lost", path.display()))?;
        let whole = found.len() as u64 / RECORD_BYTES as u64;
        ensure!(whole >= *records, "{} has {whole} of {records} records", path.display());
        for (number, bytes) in found.chunks_exact(RECORD_BYTES).enumerate() {
            ensure!(bytes == record(number as u64), "record {number} of {} is damaged", path.display());
        }
    }
    Ok(())
}

fn record(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; RECORD_BYTES];
    Rng::with_seed(number).fill(&mut bytes);
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn content(seed: u64, size: u64) -> Vec<u8> {
    let mut bytes = vec![0; size as usize];
    Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledged(dir: &Path) -> Acknowledged {
        std::fs::create_dir(dir).expect("a new directory");
        let (file, log) = (dir.join("file"), dir.join("log"));
        std::fs::write(&file, content(3, 5000)).expect("written");
        std::fs::write(&log, [record(0), record(1), record(2)[..9].to_vec()].concat()).expect("written");
        Acknowledged { files: vec![(file, 3, 5000)], appended: vec![(log, 2)], clones: Vec::new() }
    }

    #[test]
    fn loss_and_damage_are_found_and_a_torn_unacknowledged_end_is_not_blamed() {
        let dir = std::env::temp_dir().join(format!("offshoot-kill-test-{}", std::process::id()));
        let mut all = acknowledged(&dir);
        verify(&all).expect("all is there");
        all.appended[0].1 = 3;
        assert!(verify(&all).is_err());
        all.appended[0].1 = 2;
        std::fs::write(&all.files[0].0, content(3, 4999)).expect("written");
        assert!(verify(&all).is_err());
        std::fs::remove_dir_all(&dir).expect("it is there");
    }
}
