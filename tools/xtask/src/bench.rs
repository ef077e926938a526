//! `cargo xtask bench`: measures the product against goals, and against something else on the same machine in the same run.
//!
//! A group measures related rows; groups share nothing but the [`Bench`]. Nothing here is a test: a missed goal is
//! printed, not failed.

mod commands;
mod directio;
mod engine;
mod fileclones;
mod files;
mod fsync;
mod hollow;
mod programs;
mod randomio;
mod sequential;
mod sink;
mod store;
mod treeclones;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::place::Place;
use crate::report::{machine, row, table};
use crate::server::Server;
use crate::{cleanup, install, workspace};
use row::Row;

/// What is to be measured.
pub(crate) struct Plan {
    pub(crate) only: Vec<String>,
    pub(crate) quick: bool,
    pub(crate) list: bool,
}

/// What every group is given.
struct Bench {
    binary: PathBuf,
    quick: bool,
}

impl Bench {
    /// One of two sizes.
    fn size<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// A server on a new pool in `place`.
    fn serve(&self, place: &Place) -> Result<Server> {
        Server::start(&self.binary, place.path())
    }
}

struct Group {
    name: &'static str,
    about: &'static str,
    run: fn(&Bench) -> Result<Vec<Row>>,
}

const GROUPS: &[Group] = &[
    Group { name: "engine-clones", about: "clones inside the engine", run: engine::clones::run },
    Group {
        name: "engine-reads",
        about: "lookups and reads of clones inside the engine",
        run: engine::reads::run,
    },
    Group {
        name: "engine-encryption",
        about: "what encryption costs inside the engine",
        run: engine::encryption::run,
    },
    Group { name: "engine-space", about: "what a clone takes in the store", run: engine::space::run },
    Group {
        name: "defragment",
        about: "a file written at random, before and after it is put together",
        run: engine::defragment::run,
    },
    Group { name: "engine-cpu", about: "CPU time of the engine", run: engine::cpu::run },
    Group { name: "commands", about: "the command line, and memory at rest", run: commands::run },
    Group { name: "files", about: "small files through FUSE with one thread", run: files::run },
    Group { name: "random", about: "4 KiB random reads and writes through FUSE", run: randomio::run },
    Group { name: "sequential", about: "sequential writes and reads through FUSE", run: sequential::run },
    Group { name: "fsync", about: "appends made durable one by one", run: fsync::run },
    Group { name: "programs", about: "tar, git, cargo and SQLite", run: programs::run },
    Group { name: "file-clones", about: "clones of a fragmented file", run: fileclones::run },
    Group { name: "store", about: "a pool in a bucket that is 30 ms away", run: store::run },
    Group { name: "tree-clones", about: "clones of trees, and memory with many files", run: treeclones::run },
];

/// How the document begins.
const HEAD: &str = "# Benchmarks

Written by `cargo xtask bench`; do not edit. Both sides of a ratio come from the same run on the same machine. A ratio is
ours divided by theirs. Absolute figures of such a machine move from run to run; ratios move less. What a server does in
little memory, and with how much in it, is in [load.md](load.md).
";

const PACKAGES: &[&str] = &["btrfs-progs", "e2fsprogs", "fuse3", "git", "sqlite3", "xfsprogs"];

/// Measures the chosen groups, prints each as it is done and all at the end, and writes the document after a full run.
pub(crate) fn run(plan: &Plan) -> Result<ExitCode> {
    if plan.list {
        for group in GROUPS {
            println!("{:<17} {}", group.name, group.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = plan.only.iter().find(|name| !GROUPS.iter().any(|group| group.name == **name)) {
        let known: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
        bail!("there is no group `{unknown}`; the groups are {}", known.join(", "));
    }
    install::check_fuse()?;
    install::packages(PACKAGES)?;
    let bench = Bench { binary: workspace::build_offshoot()?, quick: plan.quick };
    let machine = machine::describe("bench")?;
    println!("{machine}");
    let mut sections = Vec::new();
    let mut failed = 0;
    for group in
        GROUPS.iter().filter(|group| plan.only.is_empty() || plan.only.iter().any(|name| name == group.name))
    {
        if cleanup::stopping() {
            bail!("interrupted");
        }
        let start = Instant::now();
        match (group.run)(&bench) {
            Ok(rows) => {
                println!(
                    "\n{} ({:.0} s)\n{}",
                    group.name,
                    start.elapsed().as_secs_f64(),
                    table::terminal(&rows)
                );
                sections.push((group.about, rows));
            }
            Err(error) => {
                failed += 1;
                println!("\nFAILED {}: {error:#}", group.name);
            }
        }
    }
    let rows = sections.iter().flat_map(|(_, rows)| rows);
    let (met, missed) = rows.fold((0, 0), |(met, missed), row| match row.is_met() {
        Some(true) => (met + 1, missed),
        Some(false) => (met, missed + 1),
        None => (met, missed),
    });
    println!("\n{met} goals met, {missed} missed, {failed} groups failed");
    if failed == 0 && plan.only.is_empty() && !plan.quick {
        let path = workspace::root().join("docs/benchmarks.md");
        std::fs::write(&path, table::document(HEAD, &machine, &sections))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("written: {}", path.display());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How long `work` took.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(Duration, T)> {
    let start = Instant::now();
    let done = work()?;
    Ok((start.elapsed(), done))
}

/// The one in the middle; zero of none.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The kernel forgets what it has cached: pages, names and inodes.
fn drop_caches() -> Result<()> {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("only root can drop the kernel's caches")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_one_in_the_middle() {
        assert_eq!(median([5, 1, 3].map(Duration::from_secs).to_vec()), Duration::from_secs(3));
        assert_eq!(median(Vec::new()), Duration::ZERO);
    }
}
