//! Histories of a mount: what many threads did at one time on few names and files, with the times of each operation, is compared with
//! what could have happened one after the other.
//!
//! A round is short and has a directory of its own, so that all of its possible orders can be searched (`search`). Names
//! (`names`, `mounted`) and words in a file (`register`) are searched; appended records (`append`), cuts of a directory (`cut`) and
//! listings (`listing`) have rules that need no search. The seed chooses the operations of a run, not how they meet.

mod append;
mod cut;
mod listing;
mod mounted;
mod names;
mod register;
mod search;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use fastrand::Rng;

use self::search::{EVENTS_MAX, History, Model, Verdict};
use super::{Setting, on_mount};

/// Setting it clones what it is set on to the path in the pool that is its value.
const CLONE: &str = "user.offshoot.clone";
/// Threads of a round: at least, and one more than at most.
const THREADS: std::ops::Range<usize> = 3..8;
/// A pool that only grows says nothing more; old rounds go.
const ROUNDS_KEPT: u64 = 20;

/// What was done.
#[derive(Default)]
struct Tally {
    rounds: [u64; 5],
    operations: u64,
    undecided: u64,
}

/// Rounds of each kind until the time is up.
pub(crate) fn run(setting: &Setting) -> Result<String> {
    on_mount(setting, "histories", |dir| {
        let end = Instant::now() + setting.duration;
        let mut random = Rng::with_seed(setting.seed);
        let mut tally = Tally::default();
        for number in 0_u64.. {
            if number >= 10 && Instant::now() > end {
                break;
            }
            let name = format!("round-{number}");
            std::fs::create_dir(dir.join(&name))?;
            round(&dir.join(&name), &format!("/{name}"), !setting.local, &mut random, &mut tally)
                .with_context(|| format!("round {number}"))?;
            if let Some(old) = number.checked_sub(ROUNDS_KEPT) {
                std::fs::remove_dir_all(dir.join(format!("round-{old}")))?;
            }
        }
        let [names, words, appended, cuts, listings] = tally.rounds;
        ensure!(
            tally.undecided * 100 <= names,
            "{} of {names} histories were too wide to search",
            tally.undecided
        );
        Ok(format!(
            "{} operations: {names} rounds of names, {words} of words, {appended} of appended records, {cuts} of cuts, \
             {listings} of listings; {} too wide to search",
            tally.operations, tally.undecided
        ))
    })
}

/// One round of a kind that chance chooses. Names are the most and the shortest.
fn round(dir: &Path, path: &str, clones: bool, random: &mut Rng, tally: &mut Tally) -> Result<()> {
    let threads = random.usize(THREADS);
    let kind = match random.u8(..32) {
        0..20 => 0,
        20..27 => 1,
        27..29 => 2,
        29..31 if clones => 3,
        _ => 4,
    };
    tally.operations += match kind {
        0 => {
            let operations = random.usize(10..=20).min(EVENTS_MAX / threads);
            let history = mounted::round(dir, threads, operations, random)?;
            judge::<names::Names>(history, tally).context("names")?
        }
        1 => {
            let mut operations = 0;
            for history in register::round(dir, threads, clones, random)? {
                operations += judge::<register::Register>(history, tally).context("words of a file")?;
            }
            operations
        }
        2 => append::round(dir, path, clones, threads, random).context("appended records")?,
        3 => cut::round(dir, path, threads, random).context("clones of a directory in use")?,
        _ => listing::round(dir, threads, random).context("listings")?,
    };
    tally.rounds[kind] += 1;
    Ok(())
}

/// Searches a history and returns its length; an impossible one fails with the least part of it that is impossible.
fn judge<M: Model>(history: History<M>, tally: &mut Tally) -> Result<u64> {
    let operations = history.len() as u64;
    match search::search::<M>(&history) {
        Verdict::Linearizable => {}
        Verdict::Undecided => tally.undecided += 1,
        Verdict::Impossible => {
            let least = search::least::<M>(history);
            bail!("no order of these operations explains their answers:\n{}", search::show::<M>(&least));
        }
    }
    Ok(operations)
}

/// Runs `work` on each of `threads` threads at once, with its number, the common beginning and a generator of its own, and
/// returns what all recorded.
fn together<T: Send>(
    threads: usize,
    random: &mut Rng,
    work: impl Fn(usize, Instant, &mut Rng) -> Vec<T> + Sync,
) -> Result<Vec<T>> {
    let (barrier, began) = (Barrier::new(threads), Instant::now());
    std::thread::scope(|scope| {
        let start = |thread| {
            let (mut random, barrier, work) = (random.fork(), &barrier, &work);
            scope.spawn(move || {
                barrier.wait();
                work(thread, began, &mut random)
            })
        };
        let started: Vec<_> = (0..threads).map(start).collect();
        let mut recorded = Vec::new();
        for thread in started {
            recorded.extend(thread.join().map_err(|_| anyhow!("a thread of the round panicked"))?);
        }
        Ok(recorded)
    })
}
