//! `cargo xtask races`: real threads under ThreadSanitizer.
//!
//! The engine and its test of several threads on one pool are built with it, and the standard library with them; any report
//! fails. The stable compiler is told to allow that. What is built is kept apart from everything else. C code (Zstandard) is not
//! instrumented: what it reads and writes while it compresses is not seen. It has no threads and no state that calls share, and
//! buffers go in and come out by code that is instrumented.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::{install, program, workspace};

const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);
/// What the test takes beside the time that it is told to go on for.
const RUN_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Status of a program that ThreadSanitizer has reported something of.
const REPORTED: u32 = 66;

/// What `races` is told.
#[derive(Args)]
pub(crate) struct RacesArguments {
    /// How long each of the two pools shall be worked on
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
}

/// Runs the tests under ThreadSanitizer.
pub(crate) fn run(arguments: &RacesArguments) -> Result<ExitCode> {
    let target = workspace::host()?;
    install::standard_library()?;
    let seconds = arguments.minutes * 60.0;
    let mut command = workspace::cargo();
    command.args(["test", "--profile", "sim", "-Zbuild-std", "--target", &target]);
    command.args(["--package", "offshoot-engine", "--test", "threads", "--", "--nocapture"]);
    command.env("CARGO_TARGET_DIR", workspace::target_dir().join("races"));
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "-Zsanitizer=thread");
    command.env("TSAN_OPTIONS", options());
    command.env("OFFSHOOT_THREADS_SECONDS", seconds.to_string());
    let limit = BUILD_LIMIT + RUN_LIMIT + Duration::from_secs_f64(seconds * 4.0);
    program::show(&mut command, limit)?;
    Ok(ExitCode::SUCCESS)
}

/// Every report is printed, and any fails the program that it is of.
fn options() -> String {
    let suppressions = workspace::root().join("tools/xtask/src/races/suppressions.txt");
    format!("exitcode={REPORTED} history_size=5 suppressions={}", suppressions.display())
}
