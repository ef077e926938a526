//! Programs that write to a mount, note what was acknowledged to them, and can tell afterwards whether it is there.
//!
//! A [`Round`] is one run of all of them, in a directory of its own. Each note carries a *moment*: a number that the caller
//! counts up, read after the acknowledgement (or, for what was begun, before). After a crash at some moment everything
//! that was acknowledged up to it must be there; what was only begun may be there or not, but in the order in which it
//! was answered, and whole.

mod append;
mod blocks;
mod clones;
mod fio;
mod replace;
mod sqlite;
mod trail;

use std::fs::File;
use std::ops::AddAssign;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::server::Server;

/// How often a program tries again what was refused with an error of the disk.
const ERRORS_MAX: u32 = 400;

/// Where programs work, and how they tell the time.
pub(crate) struct World<'a> {
    pub(crate) server: &'a Server,
    /// The moment, which never goes back.
    pub(crate) now: &'a (dyn Fn() -> u64 + Sync),
}

/// What a program needs.
struct Place<'a> {
    world: &'a World<'a>,
    dir: PathBuf,
    /// The path of `dir` in the pool.
    path: String,
    seed: u64,
    stop: &'a AtomicBool,
    /// Steps of the trail that were answered, by whomever they are made durable.
    steps: &'a AtomicU64,
    errors: AtomicU32,
}

impl Place<'_> {
    fn now(&self) -> u64 {
        (self.world.now)()
    }

    fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Tries `work` until it succeeds; `None` when the program shall end. A disk that fails gets more tries: what it
    /// acknowledges then must be as true as before.
    fn tries<T>(&self, mut work: impl FnMut() -> std::io::Result<T>) -> Option<T> {
        loop {
            if self.is_over() {
                return None;
            }
            match work() {
                Ok(value) => return Some(value),
                Err(error) if self.is_worth_a_try(&error) => std::thread::sleep(Duration::from_millis(5)),
                Err(_) => return None,
            }
        }
    }

    fn is_worth_a_try(&self, error: &std::io::Error) -> bool {
        let of_disk = [rustix::io::Errno::IO, rustix::io::Errno::NOSPC, rustix::io::Errno::ROFS];
        of_disk.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
            && self.errors.fetch_add(1, Ordering::Relaxed) < ERRORS_MAX
    }
}

/// A count that was acknowledged, and when.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Mark {
    moment: u64,
    count: u64,
}

/// The highest count that was acknowledged up to `moment`; 0 if none was.
fn acknowledged(marks: &[Mark], moment: u64) -> u64 {
    marks.iter().filter(|mark| mark.moment <= moment).map(|mark| mark.count).max().unwrap_or(0)
}

/// One run of all programs, and what they were promised.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Round {
    name: String,
    seed: u64,
    /// When its directory was durable.
    begun: u64,
    /// When its removal was begun and when it was acknowledged.
    removed: Option<(u64, Option<u64>)>,
    append: Mutex<append::Notes>,
    replace: Mutex<replace::Notes>,
    blocks: Mutex<blocks::Notes>,
    trail: Mutex<trail::Notes>,
    clones: Mutex<clones::Notes>,
    databases: [Mutex<sqlite::Notes>; 2],
    fio: Mutex<fio::Notes>,
}

/// How much was acknowledged and found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) records: u64,
    pub(crate) files: u64,
    pub(crate) writes: u64,
    pub(crate) steps: u64,
    pub(crate) clones: u64,
    pub(crate) transactions: u64,
    pub(crate) jobs: u64,
    pub(crate) trees_removed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.files += other.files;
        self.writes += other.writes;
        self.steps += other.steps;
        self.clones += other.clones;
        self.transactions += other.transactions;
        self.jobs += other.jobs;
        self.trees_removed += other.trees_removed;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { records, files, writes, steps, clones, transactions, jobs, trees_removed } = self;
        write!(
            f,
            "{records} records, {files} files, {writes} block writes, {steps} ordered steps, {clones} clones, \
             {transactions} transactions, {jobs} fio jobs and {trees_removed} removals"
        )
    }
}

impl Tally {
    /// Whether every kind of promise was put to the test.
    pub(crate) fn is_complete(&self) -> bool {
        let Self { records, files, writes, steps, clones, transactions, .. } = *self;
        [records, files, writes, steps, clones, transactions].iter().all(|count| *count > 0)
    }
}

impl Round {
    /// A round that has not run yet.
    pub(crate) fn new(number: u64, seed: u64) -> Self {
        Self { name: format!("round-{number}"), seed, begun: u64::MAX, ..Self::default() }
    }

    /// Runs all programs while `meanwhile` does, and ends them then. `meanwhile` may kill the server.
    pub(crate) fn run<T>(&mut self, world: &World<'_>, meanwhile: impl FnOnce() -> Result<T>) -> Result<T> {
        let dir = world.server.mount().join(&self.name);
        std::fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        sync_dir(world.server.mount())?;
        self.begun = (world.now)();
        let (stop, steps) = (AtomicBool::new(false), AtomicU64::new(0));
        let place = |number: u64| Place {
            world,
            dir: dir.clone(),
            path: format!("/{}", self.name),
            seed: self.seed.wrapping_add(number),
            stop: &stop,
            steps: &steps,
            errors: AtomicU32::new(0),
        };
        let places = [0, 1, 2, 3, 4, 5, 6, 7].map(place);
        let this = &*self;
        std::thread::scope(|scope| {
            let [append, replace, blocks, trail, clones, wal, rollback, fio] = &places;
            let threads = [
                scope.spawn(|| append::run(append, &this.append, &this.trail)),
                scope.spawn(|| replace::run(replace, &this.replace)),
                scope.spawn(|| blocks::run(blocks, &this.blocks)),
                scope.spawn(|| trail::run(trail, &this.trail)),
                scope.spawn(|| clones::run(clones, &this.clones)),
                scope.spawn(|| sqlite::run(wal, 0, &this.databases[0])),
                scope.spawn(|| sqlite::run(rollback, 1, &this.databases[1])),
                scope.spawn(|| fio::run(fio, &this.fio)),
            ];
            let done = meanwhile();
            stop.store(true, Ordering::SeqCst);
            for thread in threads {
                if thread.join().is_err() {
                    bail!("a program panicked");
                }
            }
            done
        })
    }

    /// Removes its whole directory, and notes it.
    pub(crate) fn remove(&mut self, world: &World<'_>) -> Result<()> {
        self.removed = Some(((world.now)(), None));
        world.server.offshoot(&["rm", "-r", "-f", &format!("/{}", self.name)])?;
        self.removed = self.removed.map(|(begun, _)| (begun, Some((world.now)())));
        Ok(())
    }

    /// Whether it was durable at that moment and nobody had asked it to go.
    fn is_there(&self, moment: u64) -> bool {
        self.begun <= moment && self.removed.is_none_or(|(begun, _)| begun > moment)
    }

    /// Whether it was asked to go.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.is_some()
    }

    /// Checks only whether its directory is there or gone, as it should be.
    ///
    /// # Errors
    /// As for [`Self::verify`].
    pub(crate) fn verify_place(&self, root: &Path) -> Result<()> {
        let dir = root.join(&self.name);
        match self.removed {
            None => ensure!(exists(&dir)?, "{} is lost; there is {:?}", dir.display(), names(root)),
            Some((_, Some(_))) => {
                ensure!(!exists(&dir)?, "{} is there, and its removal was acknowledged", dir.display())
            }
            Some((_, None)) => {}
        }
        Ok(())
    }

    /// Checks what the mount at `root` shows after a crash at `moment`, or never (`u64::MAX`).
    ///
    /// # Errors
    /// What was acknowledged and is not there, or what is there and cannot be.
    pub(crate) fn verify(&self, root: &Path, moment: u64) -> Result<Tally> {
        if self.begun > moment {
            return Ok(Tally::default());
        }
        let dir = root.join(&self.name);
        match self.removed {
            Some((_, Some(acknowledged))) if acknowledged <= moment => {
                ensure!(!exists(&dir)?, "{} is there, and its removal was acknowledged", dir.display());
                return Ok(Tally { trees_removed: 1, ..Tally::default() });
            }
            // A removal is one step, so what is there is all there.
            Some((begun, _)) if begun <= moment && !exists(&dir)? => return Ok(Tally::default()),
            _ => {}
        }
        ensure!(exists(&dir)?, "{} is lost", dir.display());
        let transactions = locked(&self.databases[0]).verify(&dir, 0, moment)?
            + locked(&self.databases[1]).verify(&dir, 1, moment)?;
        Ok(Tally {
            records: locked(&self.append).verify(&dir, moment)?,
            files: locked(&self.replace).verify(&dir, moment)?,
            writes: locked(&self.blocks).verify(&dir, moment)?,
            steps: locked(&self.trail).verify(&dir, moment)?,
            clones: locked(&self.clones).verify(root, &self.name, moment)?,
            transactions,
            jobs: 0,
            trees_removed: 0,
        })
    }
}

/// Checks every round, and the newest that fio has a job in with fio, which takes as long as all the rest.
///
/// # Errors
/// As for [`Round::verify`].
pub(crate) fn verify_all(rounds: &[Round], root: &Path, moment: u64) -> Result<Tally> {
    let mut tally = Tally::default();
    for round in rounds.iter().rev() {
        tally += round.verify(root, moment).with_context(|| round.name.clone())?;
        if tally.jobs == 0 && round.is_there(moment) {
            tally.jobs = locked(&round.fio).verify(&root.join(&round.name), moment)?;
        }
    }
    Ok(tally)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that follow from a seed.
fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Whether there is such a name; an error other than that there is none is an error.
fn exists(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(anyhow!("cannot look at {}: {error}", path.display())),
    }
}

/// What a directory holds, for an error.
fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect())
        .unwrap_or_default()
}

/// The bytes of a file, or `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow!("cannot read {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests;
