//! `cargo xtask corrupt`: the long form of the engine's sweep over everything that is stored.
//!
//! The sweep damages small pools that have one of everything, one byte or object at a time; the tests of the engine run
//! its short form. What it prints says how many cases there were and what came out.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::{program, workspace};

/// Compiling, and what a case may take beyond the time that is given.
const MARGIN: Duration = Duration::from_secs(40 * 60);

/// What `corrupt` is told.
#[derive(Args)]
pub(crate) struct CorruptArguments {
    /// How long each of the pools shall be damaged; both are at the same time
    #[arg(long)]
    minutes: u64,
}

/// Runs the sweep; it fails at the first case that must not be, and names it.
pub(crate) fn run(arguments: &CorruptArguments) -> Result<ExitCode> {
    let mut command = workspace::cargo();
    command.args(["test", "--release", "--quiet", "--package", "offshoot-engine", "--test", "engine"]);
    command.args(["--", "sweep::", "--nocapture", "--test-threads", "2"]);
    command.env("OFFSHOOT_CORRUPT_MINUTES", arguments.minutes.to_string());
    let limit = MARGIN + Duration::from_secs(arguments.minutes * 60);
    program::show(&mut command, limit)?;
    Ok(ExitCode::SUCCESS)
}
