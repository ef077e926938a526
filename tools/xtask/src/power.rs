//! `cargo xtask power`: power cuts of the real binary.
//!
//! A pool lies on a real file system, which lies on a disk that remembers everything it is told ([`disk`]). Programs work
//! on the pool's mount and note what is acknowledged to them ([`crate::promise`]). From the recording the disk is
//! rebuilt as it may be after a power cut anywhere ([`recording`]), as often as one likes; then the file system is mounted,
//! `offshoot up` opens the pool, and everything that was acknowledged before the cut must be there. Some of the runs after
//! a cut are cut again. A running disk fails in [`live`].
//!
//! A recording is not repeatable, so one that shows a failure is kept, and each of its cuts is.

mod disk;
mod image;
mod live;
mod recording;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use fastrand::Rng;

use crate::place::Place;
use crate::promise::{self, Round, Tally, World};
use crate::server::Server;
use crate::suite::{self, Setting};
use crate::{cleanup, install, workspace};
use disk::Disk;
use image::Image;
use recording::{Cut, Medium, Recording};

/// Small enough that the file system uses places again, large enough that it never fills up.
const DISK_BYTES: u64 = 1 << 30;
/// A recording ends once it holds this much, since it is in memory.
const RECORDING_BYTES_MAX: u64 = 1 << 30;
/// Of so many cuts one is followed by a second.
const SECOND_EVERY: u64 = 4;
const CUTS: u64 = 100;
const ROUNDS: u64 = 6;
const FAILURES: u64 = 8;

/// What `power` is told.
#[derive(Args)]
pub(crate) struct PowerArguments {
    /// Cuts of each recording
    #[arg(long, default_value_t = CUTS)]
    cuts: u64,
    /// Make recordings and cut them for this time, instead of one
    #[arg(long)]
    minutes: Option<u64>,
    /// Failures of the running disk after each recording
    #[arg(long, default_value_t = FAILURES)]
    failures: u64,
    /// Test this program instead of an optimised build
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Choose everything random by this number
    #[arg(long)]
    seed: Option<u64>,
    /// File system below the pool, ext4 or xfs; else both in turn
    #[arg(long, value_name = "TYPE")]
    disk: Option<String>,
    /// Use a recording that an earlier run has kept
    #[arg(long, value_name = "DIR")]
    replay: Option<PathBuf>,
    /// Only this cut of the recording
    #[arg(long, value_name = "NUMBER")]
    cut: Option<u64>,
}

/// A recording and what the programs were promised during it.
struct Kept {
    recording: Recording,
    rounds: Vec<Round>,
    seed: u64,
}

/// What cuts have shown.
#[derive(Default)]
struct Outcome {
    cuts: u64,
    second_cuts: u64,
    failures: u64,
    at_stake: u64,
    tally: Tally,
}

/// `cargo xtask power`.
pub(crate) fn run(arguments: &PowerArguments) -> Result<ExitCode> {
    install::check_fuse()?;
    install::packages(&["fuse3", "e2fsprogs", "xfsprogs", "sqlite3", "fio"])?;
    let binary = arguments.binary.clone().map_or_else(workspace::build_offshoot, Ok)?;
    if let Some(dir) = &arguments.replay {
        let mut kept = Kept::load(dir)?;
        kept.seed = arguments.seed.unwrap_or(kept.seed);
        let outcome = cut_all(&binary, &kept, &numbers(arguments), None)?;
        println!("{outcome}");
        return Ok(ExitCode::SUCCESS);
    }
    let seed = arguments.seed.unwrap_or_else(suite::fresh_seed);
    println!("seed {seed}");
    let end = arguments.minutes.map(|minutes| Instant::now() + Duration::from_secs(minutes * 60));
    let kinds = arguments.disk.as_deref().map_or_else(|| vec!["ext4", "xfs"], |kind| vec![kind]);
    let mut total = Outcome::default();
    for number in 0_u64.. {
        let kind = kinds[number as usize % kinds.len()];
        let start = Instant::now();
        let kept = record(&binary, seed.wrapping_add(number), kind, ROUNDS, Duration::from_millis(2500))?;
        println!(
            "recording {number} on {kind}: {} events, {} flushes, {} MiB in {:.0} s",
            kept.recording.events.len(),
            kept.recording.flushes(),
            kept.recording.written_bytes() >> 20,
            start.elapsed().as_secs_f64()
        );
        let outcome = cut_all(&binary, &kept, &numbers(arguments), end).or_else(|error| kept.keep(error))?;
        println!("{outcome}");
        total += outcome;
        for failure in 0..arguments.failures {
            if end.is_some_and(|end| Instant::now() >= end) {
                break;
            }
            let (said, outcome) = live::fail(&binary, seed.wrapping_add(number), failure, kind)?;
            println!("{said}; {outcome}");
            total.failures += 1;
            total += outcome;
        }
        if end.is_none_or(|end| Instant::now() >= end) {
            break;
        }
    }
    println!("\nall in all: {total}");
    Ok(ExitCode::SUCCESS)
}

/// The short form of it, as a suite.
pub(crate) fn short(setting: &Setting) -> Result<String> {
    ensure!(!setting.local, "it needs a server, and the local disk has none");
    let kept = record(&setting.binary, setting.seed, "ext4", 4, Duration::from_millis(1500))?;
    let end = Some(Instant::now() + setting.duration);
    let numbers: Vec<u64> = (0..CUTS).collect();
    let outcome = cut_all(&setting.binary, &kept, &numbers, end).or_else(|error| kept.keep(error))?;
    Ok(outcome.to_string())
}

fn numbers(arguments: &PowerArguments) -> Vec<u64> {
    arguments.cut.map_or_else(|| (0..arguments.cuts).collect(), |cut| vec![cut])
}

/// Lets programs work on a pool, with all that may happen to it, and returns what the disk was told.
fn record(binary: &Path, seed: u64, kind: &str, rounds: u64, time: Duration) -> Result<Kept> {
    let place = Place::new("power")?;
    let mut random = Rng::with_seed(seed);
    let disk = Disk::mount(disk::format(kind, DISK_BYTES, place.path())?, kind, place.path())?;
    let (watch, data) = (disk.watch(), disk.point().join("data"));
    let now = || watch.events();
    let start = || Server::start_on(binary, place.path(), &data);
    let mut server = start()?;
    let mut all: Vec<Round> = Vec::new();
    for number in 0..rounds {
        if watch.bytes() > RECORDING_BYTES_MAX {
            break;
        }
        let mut round = Round::new(number, random.u64(..));
        let (gc, kill) = (random.u8(..3) > 0, random.u8(..3) == 0);
        let before = time.mul_f64(random.f64());
        {
            let world = World { server: &server, now: &now };
            round.run(&world, || {
                std::thread::sleep(before);
                if gc {
                    server.offshoot(&["gc"])?;
                }
                std::thread::sleep(time.saturating_sub(before));
                if kill { server.kill_now() } else { Ok(()) }
            })?;
        }
        all.push(round);
        if kill {
            let dead = server.bury()?;
            server = start().context("after kill -9")?;
            dead.replaced();
        } else if random.bool() {
            server.stop()?;
            server = start().context("after it was stopped")?;
        }
        promise::verify_all(&all, server.mount(), u64::MAX).context("without a cut")?;
        let old: Vec<usize> = (0..all.len() - 1).filter(|at| !all[*at].is_removed()).collect();
        if let Some(at) = random.choice(old)
            && random.bool()
        {
            all[at].remove(&World { server: &server, now: &now })?;
        }
    }
    server.kill_now()?;
    drop(server.bury()?);
    Ok(Kept { recording: disk.stop()?, rounds: all, seed })
}

/// Cuts the power so often, until `end` if there is one.
fn cut_all(binary: &Path, kept: &Kept, numbers: &[u64], end: Option<Instant>) -> Result<Outcome> {
    let place = Place::new("cut")?;
    let recording = &kept.recording;
    let mut medium = Medium::new(recording);
    let mut outcome = Outcome::default();
    for number in numbers {
        if cleanup::stopping() {
            bail!("interrupted");
        }
        if end.is_some_and(|end| Instant::now() > end) {
            break;
        }
        let cut = Cut::choose(recording, 0, kept.seed, *number);
        let said = || format!("cut {number} of seed {}: {cut}", kept.seed);
        let (image, at_stake) = medium.after(recording, &cut);
        let moment = cut.at as u64;
        let (tally, after) = restart(binary, kept, image, moment, &place).with_context(said)?;
        outcome.cuts += 1;
        outcome.at_stake += at_stake as u64;
        outcome.tally += tally;
        if number.is_multiple_of(SECOND_EVERY) {
            let second = Cut::choose(&after, 0, kept.seed, number + 1);
            let (image, at_stake) = Medium::new(&after).after(&after, &second);
            let said = || format!("{}; and then a second cut, {second}", said());
            outcome.tally += restart(binary, kept, image, moment, &place).with_context(said)?.0;
            outcome.second_cuts += 1;
            outcome.at_stake += at_stake as u64;
        }
    }
    Ok(outcome)
}

/// Opens the pool on a disk that holds `image`, checks everything, stops, and returns what the disk was told meanwhile.
fn restart(
    binary: &Path,
    kept: &Kept,
    image: Image,
    moment: u64,
    place: &Place,
) -> Result<(Tally, Recording)> {
    let dir = place.join("restart");
    std::fs::create_dir(&dir)?;
    let _guard = cleanup::Guard::new(cleanup::Undo::Directory(dir.clone()));
    let disk = Disk::mount(image, &kept.recording.kind, &dir)?;
    let server = Server::start_on(binary, &dir, &disk.point().join("data"))?;
    let tally = promise::verify_all(&kept.rounds, server.mount(), moment)?;
    server.stop()?;
    Ok((tally, disk.stop()?))
}

impl Kept {
    /// Keeps what has failed, and tells how to see it again.
    fn keep<T>(&self, error: anyhow::Error) -> Result<T> {
        if cleanup::stopping() {
            return Err(error);
        }
        let dir =
            workspace::target_dir().join("power").join(format!("seed-{}-{}", self.seed, std::process::id()));
        let keep = || -> Result<()> {
            std::fs::create_dir_all(&dir)?;
            self.recording.save(&dir)?;
            let notes =
                serde_json::json!({ "kind": self.recording.kind, "seed": self.seed, "rounds": self.rounds });
            std::fs::write(dir.join("promises.json"), notes.to_string())?;
            Ok(())
        };
        keep().context("cannot keep the recording")?;
        let again = format!("see it again with `cargo xtask power --replay {} --cut NUMBER`", dir.display());
        Err(error.context(again))
    }

    fn load(dir: &Path) -> Result<Self> {
        let path = dir.join("promises.json");
        let text = std::fs::read_to_string(&path).with_context(|| format!("no {}", path.display()))?;
        let notes: serde_json::Value = serde_json::from_str(&text)?;
        let kind = notes["kind"].as_str().context("the file system is not told")?;
        Ok(Self {
            recording: Recording::load(dir, kind)?,
            rounds: serde_json::from_value(notes["rounds"].clone())?,
            seed: notes["seed"].as_u64().context("the seed is not told")?,
        })
    }
}

impl std::ops::AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.cuts += other.cuts;
        self.second_cuts += other.second_cuts;
        self.failures += other.failures;
        self.at_stake += other.at_stake;
        self.tally += other.tally;
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cuts, second_cuts, failures, at_stake, tally } = self;
        if *failures > 0 {
            write!(f, "{failures} failures of a running disk; ")?;
        }
        write!(
            f,
            "{cuts} power cuts and {second_cuts} second ones, {at_stake} unflushed writes at stake; \
             acknowledged and found: {tally}"
        )
    }
}
