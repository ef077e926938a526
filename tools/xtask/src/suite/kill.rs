//! `kill -9` of the server, again and again on one pool: while programs write and sync, while it opens, closes, collects, and
//! removes or clones trees. After a restart with the same command everything that was acknowledged is there, whole.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use fastrand::Rng;

use super::Setting;
use crate::place::Place;
use crate::promise::{Round, Tally, World};
use crate::server::{DeadMount, Server};
use crate::{install, program, suite, workspace};

/// Kills in the short form, at least.
const TIMES_MIN: u64 = 3;
/// Rounds that are kept; older ones are removed.
const ROUNDS_KEPT: usize = 5;
/// How long a pool may take to be copied.
const LIMIT: Duration = Duration::from_secs(60);
/// Every so many kills the whole pool is checked and everything verified.
const CHECK_EVERY: u64 = 25;

/// What `kill` is told.
#[derive(Args)]
pub(crate) struct KillArguments {
    /// How often the server is killed
    #[arg(long, default_value_t = 100)]
    times: u64,
    /// Test this program instead of an optimised build
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Choose everything random by this number
    #[arg(long)]
    seed: Option<u64>,
}

/// When the server is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Writing,
    Collecting,
    Closing,
    Opening,
    Removing,
}

const MOMENTS: [Moment; 5] =
    [Moment::Writing, Moment::Collecting, Moment::Closing, Moment::Opening, Moment::Removing];

/// `cargo xtask kill`.
pub(crate) fn command(arguments: &KillArguments) -> Result<ExitCode> {
    install::check_fuse()?;
    install::packages(&["fuse3", "sqlite3", "fio"])?;
    let seed = arguments.seed.unwrap_or_else(suite::fresh_seed);
    println!("seed {seed}");
    let binary = arguments.binary.clone().map_or_else(workspace::build_offshoot, Ok)?;
    let setting = Setting { binary, seed, duration: Duration::ZERO, local: false };
    println!("{}", kill(&setting, arguments.times)?);
    Ok(ExitCode::SUCCESS)
}

/// At least three kills, more until the time is up.
pub(crate) fn run(setting: &Setting) -> Result<String> {
    kill(setting, TIMES_MIN)
}

fn kill(setting: &Setting, times: u64) -> Result<String> {
    ensure!(!setting.local, "it kills the server, and the local disk has none");
    let place = Place::new("kill")?;
    on(setting, times, &place)
}

/// The same with a pool in `place`, where a settings file may say what it is.
pub(crate) fn on(setting: &Setting, times: u64, place: &Place) -> Result<String> {
    killed(setting, times, place).map_err(|error| match keep(setting, place) {
        Ok(kept) => error.context(format!("the pool as it is now is kept in {}", kept.display())),
        Err(other) => error.context(format!("the pool could not be kept: {other:#}")),
    })
}

/// Moves the pool and what its servers have said to where it stays.
fn keep(setting: &Setting, place: &Place) -> Result<PathBuf> {
    let kept =
        workspace::target_dir().join("kill").join(format!("seed-{}-{}", setting.seed, std::process::id()));
    std::fs::create_dir_all(&kept)?;
    for name in ["data", "server.log"] {
        program::output(Command::new("cp").arg("-r").arg(place.join(name)).arg(&kept), LIMIT)?;
    }
    Ok(kept)
}

fn killed(setting: &Setting, times: u64, place: &Place) -> Result<String> {
    let end = Instant::now() + setting.duration;
    let mut random = Rng::with_seed(setting.seed);
    let mut server = Server::start(&setting.binary, place.path())?;
    let mut rounds: Vec<Round> = Vec::new();
    let (mut tally, mut killed) = (Tally::default(), [0_u64; MOMENTS.len()]);
    for number in 0.. {
        if number >= times && Instant::now() >= end {
            break;
        }
        // Each kind has its turn soon, so that the short form has all of them.
        let moment = MOMENTS[(number + setting.seed) as usize % MOMENTS.len()];
        let said = || format!("kill {number} of seed {}, while {moment:?}", setting.seed);
        rounds.push(Round::new(number, random.u64(..)));
        kill_once(&server, &mut rounds, moment, &mut random).with_context(said)?;
        let mut dead = vec![server.bury()?];
        if moment == Moment::Opening {
            for _ in 0..random.u8(1..4) {
                dead.push(kill_while_opening(setting, place, &mut random).with_context(said)?);
                killed[Moment::Opening as usize] += 1;
            }
        } else {
            killed[moment as usize] += 1;
        }
        server = Server::start(&setting.binary, place.path()).with_context(said)?;
        dead.into_iter().for_each(DeadMount::replaced);
        let is_thorough = (number + 1).is_multiple_of(CHECK_EVERY) || number + 1 >= times;
        if is_thorough {
            server.offshoot(&["check"]).with_context(said)?;
        }
        for round in &rounds {
            round.verify_place(server.mount()).with_context(said)?;
        }
        // The newest is most in danger, and any of the others should be as it was.
        let newest = rounds.len() - 1;
        let other = random.usize(..=newest);
        for (at, round) in rounds.iter().enumerate() {
            if is_thorough || at == newest || at == other {
                let found = round.verify(server.mount(), u64::MAX).with_context(said)?;
                if at == newest {
                    tally += found;
                }
            }
        }
        // Some make room by being removed while the server is killed.
        while rounds.len() > ROUNDS_KEPT {
            let world = World { server: &server, now: &|| 0 };
            let mut round = rounds.remove(0);
            round.remove(&world)?;
            tally += round.verify(server.mount(), u64::MAX).with_context(said)?;
        }
    }
    server.stop()?;
    ensure!(tally.is_complete(), "not all that can be acknowledged was: {tally}");
    let [writing, collecting, closing, opening, removing] = killed;
    Ok(format!(
        "{} kills ({writing} while writing, {collecting} while collecting, {closing} while closing, {opening} while \
         opening, {removing} while a tree was removed); acknowledged and found: {tally}",
        killed.iter().sum::<u64>()
    ))
}

/// Runs the programs of the last round and kills the server under them.
fn kill_once(server: &Server, rounds: &mut [Round], moment: Moment, random: &mut Rng) -> Result<()> {
    let world = World { server, now: &|| 0 };
    let (newest, older) = rounds.split_last_mut().context("there is a round")?;
    let before = Duration::from_millis(150 + random.u64(..700));
    let pause = Duration::from_micros(random.u64(..60_000));
    newest.run(&world, || {
        std::thread::sleep(before);
        match moment {
            Moment::Writing | Moment::Opening => {
                std::thread::sleep(pause);
                server.kill_now()
            }
            Moment::Closing => {
                server.terminate()?;
                std::thread::sleep(pause);
                server.kill_now()
            }
            Moment::Collecting => kill_during(server, pause, || server.offshoot(&["gc"]).map(drop)),
            Moment::Removing => match random.choice(older.iter_mut()).filter(|round| !round.is_removed()) {
                // Whether the command succeeds is noted in the round.
                Some(round) => kill_during(server, pause / 4, || round.remove(&world)),
                None => server.kill_now(),
            },
        }
    })
}

/// Kills the server some time after `work` has begun, which may fail then.
fn kill_during(server: &Server, pause: Duration, work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        std::thread::sleep(pause);
        let killed = server.kill_now();
        ensure!(working.join().is_ok(), "a command panicked");
        killed
    })
}

fn kill_while_opening(setting: &Setting, place: &Place, random: &mut Rng) -> Result<DeadMount> {
    let after = Duration::from_micros(random.u64(..150_000));
    Server::start_and_kill(&setting.binary, place.path(), after).context("while opening")
}
