//! `cargo xtask schedules`: a few threads on one pool, and a scheduler that chooses who goes next.
//!
//! The scenarios are tests of the engine (crates/engine/tests/threads) that are built with `--cfg shuttle` only, on the locks
//! of the scheduler (crates/engine/src/sync.rs). What is built is kept apart from everything else.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{program, workspace};

const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);
/// What may be left to do when time is up.
const MARGIN: Duration = Duration::from_secs(15 * 60);
/// Seconds of each scenario in the form of `cargo xtask test`.
const SHORT_SECONDS: u64 = 2;

/// What `schedules` is told.
#[derive(Args)]
pub(crate) struct SchedulesArguments {
    /// How long each scenario shall be run
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Repeat this schedule; wants a scenario
    #[arg(long, requires = "scenario")]
    seed: Option<u64>,
    /// Only scenarios whose name contains this
    scenario: Option<String>,
}

/// Runs scenarios under many schedules.
pub(crate) fn run(arguments: &SchedulesArguments) -> Result<ExitCode> {
    let mut command = scenarios()?;
    if let Some(seed) = arguments.seed {
        command.env("OFFSHOOT_SCHEDULES_SEED", seed.to_string());
    }
    command.env("OFFSHOOT_SCHEDULES_SECONDS", ((arguments.minutes * 60.0).ceil() as u64).to_string());
    command.arg("--nocapture").args(&arguments.scenario);
    // There are fewer than a hundred.
    let limit = MARGIN + Duration::from_secs_f64(arguments.minutes * 60.0 * 100.0);
    program::show(&mut command, limit)?;
    Ok(ExitCode::SUCCESS)
}

/// The form of `cargo xtask test`.
pub(crate) fn step() -> Result<String> {
    let mut command = scenarios()?;
    command.env("OFFSHOOT_SCHEDULES_SECONDS", SHORT_SECONDS.to_string());
    let said = program::output(command.arg("--nocapture"), MARGIN)?;
    let counts = said.lines().filter_map(|line| {
        let (_, count) = line.split_once(": ")?;
        count.split_once(" schedules in ")?.0.parse::<u64>().ok()
    });
    let counts: Vec<u64> = counts.collect();
    ensure!(!counts.is_empty(), "no scenario was run");
    Ok(format!("{} scenarios, {} schedules", counts.len(), counts.iter().sum::<u64>()))
}

/// The program of all scenarios, built for the scheduler.
fn scenarios() -> Result<Command> {
    let mut command = workspace::cargo();
    command.args([
        "test",
        "--profile",
        "sim",
        "--package",
        "offshoot-engine",
        "--test",
        "threads",
        "--no-run",
    ]);
    command.args(["--message-format", "json"]);
    command.env("CARGO_TARGET_DIR", workspace::target_dir().join("schedules"));
    command.env("RUSTFLAGS", "--cfg shuttle");
    let said = program::output(&mut command, BUILD_LIMIT)?;
    let mut built = said.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == "threads";
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    });
    Ok(Command::new(built.next_back().context("cargo built no scenarios")?))
}
