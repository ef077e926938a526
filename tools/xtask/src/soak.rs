//! `cargo xtask soak`: the suites that find more the longer they run.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use crate::suite::{self, Setting};
use crate::{install, workspace};

/// What `soak` is told.
#[derive(Args)]
pub(crate) struct SoakArguments {
    /// How long all of it shall take
    #[arg(long)]
    minutes: u64,
    /// Choose everything random by this number, to repeat a run
    #[arg(long)]
    seed: Option<u64>,
}

type Suite = (&'static str, fn(&Setting) -> Result<String>);

const SUITES: &[Suite] = &[
    ("fsx", suite::fsx::run),
    ("histories", suite::histories::run),
    ("fio", suite::fio::run),
    ("stress", suite::stress::run),
    ("kill", suite::kill::run),
];

/// Gives each suite the same share of the time; the last line counts them.
pub(crate) fn run(arguments: &SoakArguments) -> Result<ExitCode> {
    install::check_fuse()?;
    install::packages(&["fuse3", "fio", "stress-ng", "sqlite3"])?;
    let seed = arguments.seed.unwrap_or_else(suite::fresh_seed);
    println!("seed {seed}");
    let duration = Duration::from_secs(arguments.minutes * 60 / SUITES.len() as u64);
    let setting = Setting { binary: workspace::build_offshoot()?, seed, duration, local: false };
    let (mut passed, mut failed) = (0, 0);
    for (name, run) in SUITES {
        println!("\n== {name}");
        let start = Instant::now();
        match run(&setting) {
            Ok(said) => {
                passed += 1;
                println!("ok {name} in {:.0} s: {said}", start.elapsed().as_secs_f64());
            }
            Err(error) => {
                failed += 1;
                println!("FAILED {name} in {:.0} s (seed {seed}): {error:#}", start.elapsed().as_secs_f64());
            }
        }
    }
    println!("\n{passed} passed, {failed} failed, 0 skipped");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
