//! `cargo xtask load`: the real server in a control group of little memory, with much in it.
//!
//! Each part has a pool, a server and a group of its own. Whatever a part reads it compares with what it wrote; an error
//! ends the part. Memory, stalls and killed processes are rows with goals.

mod cgroup;
mod clones;
mod files;
mod latency;
mod open;
mod probe;
mod sparse;
mod stand;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

#[cfg(debug_assertions)]
use crate::program;
use crate::report::row::{Goal, Row};
use crate::report::{machine, table};
use crate::suite::Setting;
use crate::{cleanup, install, suite, workspace};
use stand::Stand;

/// Memory of the group in full size.
const MEMORY_MIB: u64 = 512;
/// Size and memory of the short form.
const SHORT_SCALE: f64 = 0.01;
const SHORT_MEMORY_MIB: u64 = 128;

/// How the document begins.
const HEAD: &str = "# Load

Written by `cargo xtask load`; do not edit. Each part runs the real server in a control group of its own, with the
settings that come by themselves; what makes the load runs outside. Whatever is read is compared with what was written.
The longest operation is told twice: as it was, and without the time in which the machine itself made something else
wait, which one thread that makes 4 KiB durable beside the pool and another that sleeps 10 ms find out.
";

/// What `load` is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArguments {
    /// Only these parts (repeat for more); nothing is written to docs
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// A part of the full size; nothing is written to docs
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Memory of the server's control group
    #[arg(long, value_name = "MIB", default_value_t = MEMORY_MIB)]
    memory: u64,
    /// Choose everything random by this number, to repeat a run
    #[arg(long)]
    seed: Option<u64>,
    /// The server, instead of one that is built from what is here
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Print the parts and stop
    #[arg(long)]
    list: bool,
}

/// What every part is given.
struct Load {
    binary: PathBuf,
    scale: f64,
    memory_bytes: u64,
    seed: u64,
}

impl Load {
    fn stand(&self, name: &str) -> Result<Stand> {
        Stand::new(name, &self.binary, self.memory_bytes, self.is_short())
    }

    /// Whether it is so small that speeds mean nothing, and nobody wants to wait for the background.
    fn is_short(&self) -> bool {
        self.scale < 0.1
    }

    /// A goal for a speed.
    fn goal(&self, goal: Goal) -> Goal {
        if self.is_short() { Goal::None } else { goal }
    }
}

struct Part {
    name: &'static str,
    about: &'static str,
    run: fn(&Load) -> Result<Vec<Row>>,
}

const PARTS: &[Part] = &[
    Part { name: "files", about: "many files, cloned, walked and removed", run: files::run },
    Part { name: "sparse", about: "a large sparse file written at random", run: sparse::run },
    Part { name: "open", about: "many open files, with and without a name", run: open::run },
    Part { name: "clones", about: "many clones of a tree, written in parallel", run: clones::run },
];

/// Puts the server under load, prints each part as it is done, and writes the document after a full run.
pub(crate) fn run(arguments: &LoadArguments) -> Result<ExitCode> {
    if arguments.list {
        for part in PARTS {
            println!("{:<8} {}", part.name, part.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let only = &arguments.only;
    if let Some(unknown) = only.iter().find(|name| !PARTS.iter().any(|part| part.name == **name)) {
        let known: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
        bail!("there is no part `{unknown}`; the parts are {}", known.join(", "));
    }
    ensure!(arguments.scale > 0.0 && arguments.scale.is_finite(), "the scale is a number above 0");
    install::check_fuse()?;
    install::packages(&["fuse3"])?;
    #[cfg(debug_assertions)]
    if arguments.scale > SHORT_SCALE {
        return optimised();
    }
    let load = Load {
        binary: match &arguments.binary {
            Some(binary) => {
                binary.canonicalize().with_context(|| format!("no server at {}", binary.display()))?
            }
            None => workspace::build_offshoot()?,
        },
        scale: arguments.scale,
        memory_bytes: arguments.memory << 20,
        seed: arguments.seed.unwrap_or_else(suite::fresh_seed),
    };
    let group = cgroup::describe(load.memory_bytes)?;
    let machine = format!("{}group      {group}\nseed       {}\n", machine::describe("load")?, load.seed);
    println!("{machine}");
    let mut sections = Vec::new();
    let (mut failed, mut missed) = (0, 0);
    for part in PARTS.iter().filter(|part| only.is_empty() || only.iter().any(|name| name == part.name)) {
        if cleanup::stopping() {
            bail!("interrupted");
        }
        println!("\n== {}: {}", part.name, part.about);
        let start = Instant::now();
        match (part.run)(&load) {
            Ok(rows) => {
                println!(
                    "\n{} ({:.0} s)\n{}",
                    part.name,
                    start.elapsed().as_secs_f64(),
                    table::terminal(&rows)
                );
                missed += rows.iter().filter(|row| row.is_met() == Some(false)).count();
                sections.push((part.about, rows));
            }
            Err(error) => {
                failed += 1;
                println!("\nFAILED {} (seed {}): {error:#}", part.name, load.seed);
            }
        }
    }
    println!("\n{missed} goals missed, {failed} parts failed");
    let is_full = only.is_empty() && arguments.scale == 1.0 && arguments.memory == MEMORY_MIB;
    if failed == 0 && is_full {
        let path = workspace::root().join("docs/load.md");
        std::fs::write(&path, table::document(HEAD, &machine, &sections))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("written: {}", path.display());
    }
    Ok(if failed + missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Much load wants an optimised build to make it: this builds one and hands over.
#[cfg(debug_assertions)]
fn optimised() -> Result<ExitCode> {
    let mut command = workspace::cargo();
    command
        .args(["run", "--quiet", "--release", "--package", "xtask", "--"])
        .args(std::env::args_os().skip(1));
    let status = program::start(&mut command)?.wait(std::time::Duration::from_secs(24 * 3600))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The short form: every part in small, in a small group, as a suite of `cargo xtask test`.
pub(crate) fn short(setting: &Setting) -> Result<String> {
    ensure!(!setting.local, "it bounds the memory of a server, and the local disk has none");
    let load = Load {
        binary: setting.binary.clone(),
        scale: SHORT_SCALE,
        memory_bytes: SHORT_MEMORY_MIB << 20,
        seed: setting.seed,
    };
    if let Err(error) = cgroup::MemoryGroup::new(load.memory_bytes) {
        return Ok(format!("NOT TESTED, memory cannot be bounded on this machine: {error:#}"));
    }
    for part in PARTS {
        println!("  {}", part.about);
        let rows = (part.run)(&load).with_context(|| format!("part {}", part.name))?;
        if rows.iter().any(|row| row.is_met() == Some(false)) {
            bail!("part {} missed a goal:\n{}", part.name, table::terminal(&rows));
        }
    }
    Ok(format!("{} parts in {SHORT_MEMORY_MIB} MiB", PARTS.len()))
}

/// A number of things in full size, scaled; at least one.
fn scaled(full: u64, scale: f64) -> u64 {
    ((full as f64 * scale).round() as u64).max(1)
}

/// Takes a control group away.
pub(crate) fn remove_group(path: &Path) {
    cgroup::remove(path);
}
