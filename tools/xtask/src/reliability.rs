//! `cargo xtask reliability`: everything that docs/reliability.md tells of, one after the other, for as long as one likes.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::program;

/// Builds, and what each may take beyond its time.
const MARGIN: Duration = Duration::from_secs(3 * 3600);
/// Fuzz targets that share the time of fuzzing, two at a time.
const FUZZ_TURNS: u64 = 6;
/// Scenarios that share the time of schedules, two at a time.
const SCENARIOS: f64 = 5.0;

/// What `reliability` is told.
#[derive(Args)]
pub(crate) struct ReliabilityArguments {
    /// How long each part shall go on
    #[arg(long, default_value_t = 10)]
    minutes: u64,
}

/// Runs all parts; the last line counts them.
pub(crate) fn run(arguments: &ReliabilityArguments) -> Result<ExitCode> {
    let minutes = arguments.minutes.max(1);
    let share = minutes.to_string();
    let seconds = (minutes * 60 / FUZZ_TURNS).max(1).to_string();
    let scenario = (minutes as f64 / SCENARIOS).to_string();
    let kills = (minutes * 60).to_string();
    let parts: [&[&str]; 12] = [
        &["sim", "--minutes", &share],
        &["mutants"],
        &["schedules", "--minutes", &scenario],
        &["races", "--minutes", &share],
        &["corrupt", "--minutes", &share],
        &["fuzz", "--seconds", &seconds],
        &["power", "--minutes", &share],
        &["kill", "--times", &kills],
        &["s3", "--minutes", &share],
        &["test", "--only", "build", "--only", "histories"],
        &["soak", "--minutes", &share],
        &["load"],
    ];
    let this = std::env::current_exe().context("cannot find this program")?;
    let (mut passed, mut failed) = (0, 0);
    for part in parts {
        println!("\n== cargo xtask {}", part.join(" "));
        let start = Instant::now();
        let limit = MARGIN + Duration::from_secs(minutes * 60 * 2);
        match program::show(Command::new(&this).args(part), limit) {
            Ok(()) => {
                passed += 1;
                println!("ok {} in {:.0} s", part[0], start.elapsed().as_secs_f64());
            }
            Err(error) => {
                failed += 1;
                println!("FAILED {} in {:.0} s: {error:#}", part[0], start.elapsed().as_secs_f64());
            }
        }
    }
    println!("\n{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
