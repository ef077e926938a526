//! `cargo xtask test`: the steps, in order, each timed and separately runnable.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::suite::{self, Setting};
use crate::{cleanup, fuzz, golden, install, load, program, schedules, sim, tidy, workspace};

/// Compiling everything from nothing on a slow machine and running it.
const CARGO_LIMIT: Duration = Duration::from_secs(40 * 60);
/// How long a suite without an end of its own runs here.
const SHORT: Duration = Duration::from_secs(20);

/// Packages that more than one step uses.
const MOUNT_PACKAGES: &[&str] = &["fuse3", "acl", "attr"];

/// What `test` is told.
#[derive(Args)]
pub(crate) struct TestArguments {
    /// Only these steps (repeat for more)
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Choose everything random by this number, to repeat a run
    #[arg(long)]
    seed: Option<u64>,
    /// Run the suites that allow it on the local disk instead of a mount, to test the suites
    #[arg(long)]
    local: bool,
    /// Print the steps and stop
    #[arg(long)]
    list: bool,
}

enum Work {
    /// Needs nothing but the workspace.
    Source(fn() -> Result<String>),
    /// Needs the real binary and a mount.
    Suite { packages: &'static [&'static str], run: fn(&Setting) -> Result<String> },
}

struct Step {
    name: &'static str,
    about: &'static str,
    work: Work,
}

const fn source(name: &'static str, about: &'static str, run: fn() -> Result<String>) -> Step {
    Step { name, about, work: Work::Source(run) }
}

const fn mounted(
    name: &'static str,
    about: &'static str,
    packages: &'static [&'static str],
    run: fn(&Setting) -> Result<String>,
) -> Step {
    Step { name, about, work: Work::Suite { packages, run } }
}

const STEPS: &[Step] = &[
    source("format", "every file is formatted", format),
    source("clippy", "no compiler or clippy warning", clippy),
    source("tidy", "the house rules", tidy_step),
    source("unit", "tests of all crates", unit),
    source("doc", "examples in the documentation", doc),
    source("golden", "golden pools, read by what the page on the format says", golden::read),
    source("sim", "whole pools in simulated worlds, against a model", sim::step),
    source("schedules", "threads on a pool, in an order that is chosen", schedules::step),
    source("fuzz", "every decoder, for a minute", fuzz::step),
    source("build", "the real binary, optimised", build),
    mounted("conformance", "our own POSIX suite", &[], suite::conformance::run),
    mounted("pjdfstest", "passes what ext4 passes", &["e2fsprogs"], suite::pjdfstest::run),
    mounted("fsx", "random operations against a copy in memory", &[], suite::fsx::run),
    mounted("histories", "what threads do at one time has an order", &[], suite::histories::run),
    mounted("trees", "real source trees, cloned, compared and built", &["diffutils"], suite::trees::run),
    mounted("sqlite", "a database cloned under load", &["sqlite3"], suite::sqlite::run),
    mounted("postgres", "a database server cloned under load", &["postgresql"], suite::postgres::run),
    mounted("fio", "written data is read back and verified", &["fio"], suite::fio::run),
    mounted("stress", "stress-ng's file stressors", &["stress-ng"], suite::stress::run),
    mounted("load", "much in a server with little memory", &[], load::short),
    mounted(
        "power",
        "power cuts lose nothing that fsync acknowledged",
        &["e2fsprogs", "sqlite3", "fio"],
        crate::power::short,
    ),
    mounted("s3", "a pool in a bucket, with trouble on the way", crate::s3::PACKAGES, crate::s3::short),
    mounted("kill", "kill -9 loses nothing that fsync acknowledged", &["sqlite3", "fio"], suite::kill::run),
];

/// Runs the steps and prints how each went; the last line counts them.
pub(crate) fn run(arguments: &TestArguments) -> Result<ExitCode> {
    if arguments.list {
        for step in STEPS {
            println!("{:<12} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = choose(&arguments.only)?;
    prepare(&chosen, arguments.local)?;
    let seed = arguments.seed.unwrap_or_else(suite::fresh_seed);
    println!("seed {seed}");
    let setting = |binary| Setting { binary, seed, duration: SHORT, local: arguments.local };

    let mut binary: Option<Option<PathBuf>> = arguments.local.then(|| Some(PathBuf::new()));
    let mut results = Vec::new();
    for step in chosen {
        if cleanup::stopping() {
            bail!("interrupted");
        }
        println!("\n== {}: {}", step.name, step.about);
        let start = Instant::now();
        let result = match &step.work {
            Work::Source(run) => run().map(Some),
            Work::Suite { run, .. } => {
                match binary.get_or_insert_with(|| report_build(workspace::build_offshoot())) {
                    Some(path) => run(&setting(path.clone())).map(Some),
                    None => Ok(None),
                }
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        match &result {
            Ok(Some(said)) => println!("ok {} in {seconds:.1} s: {said}", step.name),
            Ok(None) => println!("skipped {}: the binary was not built", step.name),
            Err(error) => println!("FAILED {} in {seconds:.1} s (seed {seed}): {error:#}", step.name),
        }
        results.push((step.name, seconds, result.map_err(drop)));
    }
    Ok(summary(&results))
}

fn choose(only: &[String]) -> Result<Vec<&'static Step>> {
    if let Some(unknown) = only.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        bail!("there is no step `{unknown}`; the steps are {}", known.join(", "));
    }
    Ok(STEPS.iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name)).collect())
}

/// Installs what the chosen steps need, all at once.
fn prepare(chosen: &[&Step], local: bool) -> Result<()> {
    let mut packages: Vec<&str> = Vec::new();
    for step in chosen {
        if let Work::Suite { packages: own, .. } = &step.work {
            packages.extend(MOUNT_PACKAGES);
            packages.extend(*own);
            if !local {
                install::check_fuse()?;
            }
        }
    }
    packages.sort_unstable();
    packages.dedup();
    install::packages(&packages)
}

fn report_build(built: Result<PathBuf>) -> Option<PathBuf> {
    built.inspect_err(|error| println!("FAILED to build the binary: {error:#}")).ok()
}

type Outcome = (&'static str, f64, Result<Option<String>, ()>);

fn summary(results: &[Outcome]) -> ExitCode {
    println!();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, seconds, result) in results {
        let word = match result {
            Ok(Some(_)) => {
                passed += 1;
                "ok"
            }
            Ok(None) => {
                skipped += 1;
                "skipped"
            }
            Err(()) => {
                failed += 1;
                "FAILED"
            }
        };
        println!("{name:<12} {word:<8} {seconds:>7.1} s");
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    // A step that could not run proves nothing.
    if failed + skipped == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn format() -> Result<String> {
    program::show(workspace::cargo().args(["fmt", "--all", "--check"]), CARGO_LIMIT)?;
    Ok("formatted".into())
}

fn clippy() -> Result<String> {
    let mut command = workspace::cargo();
    command.args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ]);
    program::show(&mut command, CARGO_LIMIT)?;
    Ok("no warnings".into())
}

fn tidy_step() -> Result<String> {
    let findings = tidy::findings()?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    Ok("no findings".into())
}

fn unit() -> Result<String> {
    let nextest = install::tool(install::NEXTEST)?;
    let mut command = std::process::Command::new(nextest);
    command.current_dir(workspace::root());
    command.args(["nextest", "run", "--workspace", "--all-features", "--no-fail-fast"]);
    program::show(&mut command, CARGO_LIMIT)?;
    Ok("all tests".into())
}

fn doc() -> Result<String> {
    program::show(workspace::cargo().args(["test", "--quiet", "--workspace", "--doc"]), CARGO_LIMIT)?;
    Ok("all examples".into())
}

fn build() -> Result<String> {
    workspace::build_offshoot().map(|path| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_step_is_refused_with_the_known_ones() {
        let error = choose(&["fxs".into()]).err().expect("there is no such step").to_string();
        assert!(error.contains("fxs") && error.contains("fsx"), "{error}");
    }

    #[test]
    fn chosen_steps_keep_their_order() {
        let names: Vec<_> =
            choose(&["fio".into(), "unit".into()]).expect("known").iter().map(|step| step.name).collect();
        assert_eq!(names, ["unit", "fio"]);
    }
}
