//! `cargo xtask fuzz`: every decoder fed with changed inputs, as many targets at a time as there are processors.
//!
//! Targets and their first inputs are in `fuzz/`, what they do is in `tools/fuzzing`. Coverage needs compiler flags that are not stable
//! yet; `RUSTC_BOOTSTRAP` lets the toolchain of the workspace take them. There is no sanitizer by default: no line that is fuzzed is
//! unsafe, and the targets count allocations themselves. What is found new is kept beside the build between runs; inputs
//! that belong into the tree are chosen with `--minimise`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{cleanup, install, program, workspace};

/// Building all targets from nothing on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);
/// What a target may take beyond its time: to read its inputs, and to end.
const SLACK: Duration = Duration::from_secs(120);
/// Longest time for one input, in seconds.
const INPUT_SECONDS_MAX: u64 = 25;
/// Memory of one target, in MB.
const MEMORY_MB_MAX: u64 = 2048;

/// What `fuzz` is told.
#[derive(Args)]
pub(crate) struct FuzzArguments {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only these targets (repeat for more)
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// Build with this sanitizer (address finds more in libraries written in C, at half the speed)
    #[arg(long, default_value = "none")]
    sanitizer: String,
    /// Write the first inputs of all targets anew, from real encodings, and stop
    #[arg(long)]
    seed_corpus: bool,
    /// Add to the inputs in the tree what reaches something that they do not, and stop
    #[arg(long, conflicts_with = "seed_corpus")]
    minimise: bool,
}

/// Where things are.
struct Places {
    /// The package of the targets.
    package: PathBuf,
    /// What is built, what has been found to be worth keeping, and what fails.
    build: PathBuf,
}

impl Places {
    fn new() -> Self {
        Self { package: workspace::root().join("fuzz"), build: workspace::target_dir().join("fuzz") }
    }

    fn corpus(&self, target: &str) -> PathBuf {
        self.package.join("corpus").join(target)
    }

    fn found(&self, target: &str) -> PathBuf {
        self.build.join("corpus").join(target)
    }

    fn failures(&self, target: &str) -> PathBuf {
        self.build.join("failures").join(target)
    }

    fn binary(&self, target: &str) -> Result<PathBuf> {
        Ok(self.build.join(workspace::host()?).join("release").join(target))
    }
}

/// Does what was asked; the last line counts.
pub(crate) fn run(arguments: &FuzzArguments) -> Result<ExitCode> {
    let places = Places::new();
    if arguments.seed_corpus {
        let mut command = workspace::cargo();
        command.args(["run", "--quiet", "--package", "fuzzing", "--"]).arg(places.package.join("corpus"));
        program::show(&mut command, BUILD_LIMIT)?;
        return Ok(ExitCode::SUCCESS);
    }
    let targets = choose(&arguments.target, &places)?;
    build(&places, &arguments.sanitizer)?;
    if arguments.minimise {
        targets.iter().try_for_each(|target| minimise(&places, target))?;
        return Ok(ExitCode::SUCCESS);
    }
    println!("{}", fuzz(&places, &targets, Duration::from_secs(arguments.seconds))?);
    Ok(ExitCode::SUCCESS)
}

/// The step of `cargo xtask test`: every target for a minute.
pub(crate) fn step() -> Result<String> {
    let places = Places::new();
    let targets = choose(&[], &places)?;
    build(&places, "none")?;
    fuzz(&places, &targets, Duration::from_secs(60))
}

/// The chosen targets, or all.
fn choose(wanted: &[String], places: &Places) -> Result<Vec<String>> {
    let directory = places.package.join("fuzz_targets");
    let mut known: Vec<String> = std::fs::read_dir(&directory)
        .with_context(|| format!("{} cannot be read", directory.display()))?
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    known.sort();
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
        bail!("there is no target `{unknown}`; the targets are {}", known.join(", "));
    }
    Ok(if wanted.is_empty() { known } else { wanted.to_vec() })
}

fn build(places: &Places, sanitizer: &str) -> Result<()> {
    let tool = install::tool(install::CARGO_FUZZ)?;
    let mut command = Command::new(tool);
    command.current_dir(&places.package).args(["fuzz", "build", "--fuzz-dir"]).arg(&places.package);
    command.args(["--sanitizer", sanitizer]);
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", &places.build);
    program::show(&mut command, BUILD_LIMIT)
}

/// A target that runs.
struct Running<'a> {
    target: &'a str,
    process: program::Running,
    started: Instant,
    log: PathBuf,
}

fn fuzz(places: &Places, targets: &[String], duration: Duration) -> Result<String> {
    let at_a_time = std::thread::available_parallelism().map_or(1, usize::from);
    let mut waiting = targets.iter();
    let mut running: Vec<Running<'_>> = Vec::new();
    let (mut executions, mut failed) = (0, Vec::new());
    loop {
        while running.len() < at_a_time
            && let Some(target) = waiting.next()
        {
            running.push(start(places, target, duration)?);
        }
        if running.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
        if cleanup::stopping() {
            bail!("interrupted");
        }
        for index in (0..running.len()).rev() {
            let Running { target, process, started, log } = &mut running[index];
            let status = process.try_wait()?;
            let is_late = started.elapsed() > duration + SLACK;
            if status.is_none() && !is_late {
                continue;
            }
            let said = String::from_utf8_lossy(&std::fs::read(&*log)?).into_owned();
            let done = number_of(&said, "stat::number_of_executed_units:");
            executions += done;
            if status.is_some_and(|status| status.success()) {
                println!("ok {target}: {done} executions");
            } else {
                println!(
                    "FAILED {target}: {}\n{}",
                    if is_late { "it does not end" } else { reason(&said) },
                    program::tail(&said)
                );
                println!("the input is in {}", places.failures(target).display());
                println!("put it into {} once it is fixed", places.corpus(target).display());
                failed.push((*target).to_owned());
            }
            running.remove(index);
        }
    }
    ensure!(failed.is_empty(), "inputs that break {} were found", failed.join(", "));
    Ok(format!("{executions} executions of {} targets, {} s each", targets.len(), duration.as_secs()))
}

fn start<'a>(places: &Places, target: &'a str, duration: Duration) -> Result<Running<'a>> {
    let (found, failures) = (places.found(target), places.failures(target));
    std::fs::create_dir_all(&found)?;
    std::fs::create_dir_all(&failures)?;
    let log = places.build.join(format!("{target}.log"));
    let mut command = Command::new(places.binary(target)?);
    command
        .arg(format!("-max_total_time={}", duration.as_secs()))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
        .arg(format!("-artifact_prefix={}/", failures.display()))
        .arg("-print_final_stats=1")
        .arg(&found)
        .arg(places.corpus(target))
        .stdout(File::create(&log)?)
        .stderr(File::options().append(true).open(&log)?);
    Ok(Running { target, process: program::start(&mut command)?, started: Instant::now(), log })
}

/// What a target says when it panics, and the lines behind: the end of its log is about libraries alone.
fn reason(said: &str) -> &str {
    const LINES: usize = 11;
    let Some(start) = said.find("panicked at") else { return "" };
    let reason = &said[start..];
    let end = reason.match_indices('\n').nth(LINES).map_or(reason.len(), |(at, _)| at);
    &reason[..end]
}

fn number_of(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}

/// Copies inputs that reach something new into the tree.
fn minimise(places: &Places, target: &str) -> Result<()> {
    let (corpus, found) = (places.corpus(target), places.found(target));
    std::fs::create_dir_all(&found)?;
    let mut command = Command::new(places.binary(target)?);
    command.arg("-merge=1").arg(&corpus).arg(&found);
    program::finish(&mut command, BUILD_LIMIT)?;
    println!("{target}: {} inputs, {} bytes", count(&corpus)?.0, count(&corpus)?.1);
    Ok(())
}

fn count(directory: &Path) -> Result<(usize, u64)> {
    let mut all = (0, 0);
    for entry in std::fs::read_dir(directory)? {
        all = (all.0 + 1, all.1 + entry?.metadata()?.len());
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_from_what_a_target_says() {
        let said =
            "Done 482 runs in 41 second(s)\nstat::number_of_executed_units: 482\nstat::peak_rss_mb: 50\n";
        assert_eq!(number_of(said, "stat::number_of_executed_units:"), 482);
        assert_eq!(number_of("", "stat::number_of_executed_units:"), 0);
    }

    #[test]
    fn the_reason_of_a_panic_is_found_before_its_backtrace() {
        let said = format!(
            "#12 NEW\nthread '<unnamed>' panicked at http.rs:122:5:\nHTTP/1.0 200 OK\n{}",
            "   6: do_call\n".repeat(40)
        );
        let reason = reason(&said);
        assert!(reason.starts_with("panicked at http.rs:122:5:\nHTTP/1.0 200 OK\n"), "{reason}");
        assert_eq!(reason.lines().count(), 12);
        assert_eq!(super::reason("Done 482 runs\n"), "");
    }

    #[test]
    fn unknown_target_is_refused_with_the_known_ones() {
        let error = choose(&["node".into()], &Places::new()).unwrap_err().to_string();
        assert!(error.contains("`node`") && error.contains("nodes"), "{error}");
        assert!(choose(&[], &Places::new()).unwrap().len() >= 10);
    }
}
