//! `cargo xtask sim` and `cargo xtask mutants`: whole pools in simulated worlds, and the proof that those would notice.
//!
//! The worlds are a program of their own (`tools/sim`), compiled with optimisation and every assertion. `mutants` switches its
//! seeded bugs on, one after the other, and writes how soon each was caught to docs/mutants.md.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::program::{Finished, OverLimit};
use crate::{program, suite, workspace};

const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);
/// What a seed may take that has begun when time is up.
const MARGIN: Duration = Duration::from_secs(15 * 60);
/// After the time of a seeded bug, this long until a world counts as one that has no end.
const HANG: Duration = Duration::from_secs(60);
/// How long the worlds of `cargo xtask test` go on, and those of which every step is a death.
const SHORT_MINUTES: f64 = 0.7;
const SHORT_STEPS_MINUTES: f64 = 0.3;
/// Size of a world of which every step is a death, if nothing is said.
const STEPS_MACHINES: u64 = 2;
const STEPS_OPERATIONS: u64 = 6;

/// What `sim` is told.
#[derive(Args)]
pub(crate) struct SimArguments {
    /// Run this seed alone and print what was done in it
    #[arg(long, conflicts_with_all = ["seeds", "minutes", "first"])]
    seed: Option<u64>,
    /// How many seeds
    #[arg(long)]
    seeds: Option<u64>,
    /// How long; a minute if nothing is said
    #[arg(long)]
    minutes: Option<f64>,
    /// The first seed, instead of a fresh one
    #[arg(long)]
    first: Option<u64>,
    /// Run each seed once for each of its steps, and die there
    #[arg(long, conflicts_with = "seed")]
    every_step: bool,
    /// Die in this step of the seed and nowhere else
    #[arg(long, requires = "seed", value_name = "STEP")]
    die_at_step: Option<u64>,
    /// Machines that follow each other in a world
    #[arg(long)]
    machines: Option<u64>,
    /// Operations of each client on each machine, on average
    #[arg(long)]
    operations: Option<u64>,
    /// Go on after failures
    #[arg(long)]
    keep_going: bool,
}

/// What `mutants` is told.
#[derive(Args)]
pub(crate) struct MutantsArguments {
    /// Minutes after which a seeded bug counts as not caught
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Only this one; nothing is written to docs
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

/// Runs worlds.
pub(crate) fn run(arguments: &SimArguments) -> Result<ExitCode> {
    let mut command = Command::new(build()?);
    let mut option = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            command.args([name, &value]);
        }
    };
    let small = |value: u64| arguments.every_step.then_some(value);
    let machines = arguments.machines.or(small(STEPS_MACHINES));
    let operations = arguments.operations.or(small(STEPS_OPERATIONS));
    option("--machines", machines.map(|value| value.to_string()));
    option("--operations", operations.map(|value| value.to_string()));
    option("--die-at-step", arguments.die_at_step.map(|value| value.to_string()));
    if let Some(seed) = arguments.seed {
        option("--seed", Some(seed.to_string()));
    } else {
        let first = arguments.first.unwrap_or_else(suite::fresh_seed);
        println!("first seed {first}");
        option("--first", Some(first.to_string()));
        option("--seeds", arguments.seeds.map(|value| value.to_string()));
        let minutes = arguments.minutes.or(arguments.seeds.is_none().then_some(SHORT_MINUTES));
        option("--minutes", minutes.map(|value| value.to_string()));
    }
    if arguments.every_step {
        command.arg("--every-step");
    }
    if arguments.keep_going {
        command.arg("--keep-going");
    }
    let status = program::start(&mut command)?.wait(Duration::from_secs(7 * 24 * 3600))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The form of `cargo xtask test`: seeds that failed once, then fresh ones, then a few small ones that die at every step.
pub(crate) fn step() -> Result<String> {
    let sim = build()?;
    let first = suite::fresh_seed();
    let run = |more: &[&str], minutes: f64| {
        let mut command = Command::new(&sim);
        command.args(["--first", &first.to_string(), "--minutes", &minutes.to_string()]).args(more);
        let said = program::output(&mut command, MARGIN)?;
        anyhow::Ok(said.lines().last().unwrap_or_default().to_owned())
    };
    let worlds = run(&["--old-failures"], SHORT_MINUTES)?;
    let (machines, operations) = (STEPS_MACHINES.to_string(), STEPS_OPERATIONS.to_string());
    let small = ["--every-step", "--machines", &machines, "--operations", &operations];
    let steps = run(&small, SHORT_STEPS_MINUTES)?;
    Ok(format!("first seed {first}: {worlds}; {steps}"))
}

/// Switches the seeded bugs on and writes down how each was caught.
pub(crate) fn mutants(arguments: &MutantsArguments) -> Result<ExitCode> {
    let sim = build()?;
    let list = program::output(Command::new(&sim).arg("--mutants"), Duration::from_secs(60))?;
    let mut rows = Vec::new();
    let mut missed = 0;
    for line in list.lines() {
        let (name, words) = line.split_once('\t').context("a line of --mutants has a name and words")?;
        if arguments.only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let start = Instant::now();
        let mut command = Command::new(&sim);
        command.args(["--first", "0", "--minutes", &arguments.minutes.to_string(), "--mutant", name]);
        let limit = Duration::from_secs_f64(arguments.minutes * 60.0) + HANG;
        let ended = match program::finish(&mut command, limit) {
            Ok(finished) => match how_it_ended(name, &finished)? {
                None => failed_test(name)?
                    .map(|test| (String::new(), format!("no world; the test `{test}` fails"))),
                caught => caught,
            },
            Err(error) if error.is::<OverLimit>() => {
                Some((String::new(), format!("by the time bound: no end within {} s", limit.as_secs())))
            }
            Err(error) => return Err(error),
        };
        let seconds = start.elapsed().as_secs_f64();
        missed += usize::from(ended.is_none());
        let (seed, how) = ended.unwrap_or_else(|| (String::new(), "**not caught**".to_owned()));
        println!("{name}: {how} (seed {seed}, {seconds:.1} s)");
        rows.push(format!("| `{name}` | {words} | {how} | {seed} | {seconds:.1} s |"));
    }
    ensure!(!rows.is_empty(), "there is no such seeded bug; `--mutants` of the simulation lists them");
    println!("{} caught, {missed} not", rows.len() - missed);
    if arguments.only.is_none() {
        let page = format!("{HEAD}{}\n", rows.join("\n"));
        std::fs::write(workspace::root().join("docs/mutants.md"), page)?;
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The seed in which a seeded bug was caught, and how; nothing if it was not.
///
/// # Errors
/// The worlds did not run, which says nothing of the bug.
fn how_it_ended(name: &str, finished: &Finished) -> Result<Option<(String, String)>> {
    let Finished { status, stdout, stderr } = finished;
    if status.success() {
        return Ok(None);
    }
    let failure = stdout.lines().find_map(|line| line.split_once(" FAILED: "));
    match failure {
        Some((seed, how)) => Ok(Some((seed.trim_start_matches("seed ").to_owned(), shorten(how)))),
        None if status.code().is_none() => {
            Ok(Some((String::new(), format!("the program ended with {status}"))))
        }
        None => bail!("with {name} the simulation ended with {status}:\n{}", program::tail(stderr)),
    }
}

const HEAD: &str = "# Seeded bugs\n\n\
    Tests that never fail prove nothing. Each line here is a bug that somebody tired might have written into the engine. It is \
    there,\nbehind the feature `simulation` that no shipped program has, and off; `cargo xtask mutants` switches them on one after \
    the\nother, lets simulated worlds run from seed 0 on until one fails, and writes this page. Where none does, the engine's own \
    tests\nrun with the bug, and one of them has to fail. The code is in [mutant.rs](../crates/engine/src/simulation/mutant.rs).\n\n\
    A writer that was replaced meets several fences: a manifest that is taken, one that is newer, the log file that it finds taken \
    or\nsealed. With one of them broken the others still hold, and what is caught then is that the writer says what is not true;\n\
    `ignore-fences` breaks all but the seals.\n\n\
    | name | what is wrong | what the simulation said first | seed | caught after |\n\
    |---|---|---|---|---|\n";

/// The first of the engine's own tests that fails with a seeded bug; nothing if none does.
fn failed_test(name: &str) -> Result<Option<String>> {
    let mut command = workspace::cargo();
    command.args(["nextest", "run", "--package", "offshoot-engine", "--fail-fast", "--color", "never"]);
    command.args(["--status-level", "fail"]).env("OFFSHOOT_MUTANT", name);
    let Finished { status, stderr, .. } = program::finish(&mut command, BUILD_LIMIT)?;
    if status.success() {
        return Ok(None);
    }
    let failed = stderr.lines().find_map(|line| {
        let (_, rest) = line.trim_start().strip_prefix("FAIL [")?.split_once(']')?;
        Some(rest.split_whitespace().last()?.to_owned())
    });
    let failed = failed.with_context(|| format!("with {name} no test ran:\n{}", program::tail(&stderr)))?;
    Ok(Some(failed))
}

/// The start of what was said, fit for a cell of a table.
fn shorten(words: &str) -> String {
    let short: String = words.chars().take(90).collect();
    let dots = if words.chars().count() > 90 { " ..." } else { "" };
    format!("{}{dots}", short.replace('|', "/").trim_end())
}

fn build() -> Result<PathBuf> {
    let mut command = workspace::cargo();
    command.args(["build", "--quiet", "--package", "sim", "--profile", "sim"]);
    program::show(&mut command, BUILD_LIMIT)?;
    Ok(workspace::target_dir().join("sim/sim"))
}
