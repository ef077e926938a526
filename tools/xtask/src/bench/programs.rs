//! Real programs on the mount and on the local disk: tar, git, cargo, SQLite.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::row::{Goal, Row, seconds};
use super::sink::Sink;
use super::{Bench, drop_caches, median, timed};
use crate::place::{Ext4, Place};
use crate::program;
use crate::suite::{sqlite, trees};

const LIMIT: Duration = Duration::from_secs(900);
const ROWS: usize = 20;
/// What a program may take, against the same on the local disk.
const GOAL: Goal = Goal::RatioAtMost(1.5);

pub(super) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let place = Place::new("bench-programs")?;
    let ext4 = Ext4::new(&place)?;
    let server = bench.serve(&place)?;
    let source = Source::make(&place)?;
    let transactions = bench.size(500, 50);
    let works: [Work<'_>; 4] = [
        (format!("untar {} files", source.files), &|dir| source.untar(dir)),
        ("git clone of them".into(), &|dir| source.git_clone(dir)),
        ("cargo build of a crate".into(), &|dir| source.build(dir)),
        (format!("SQLite: {transactions} transactions of {ROWS} rows"), &|dir| insert(dir, transactions)),
    ];
    let mut rows = Vec::new();
    for (at, (what, work)) in works.iter().enumerate() {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..bench.size(3, 1) {
            for (base, times) in [(ext4.dir(), &mut theirs), (server.mount(), &mut ours)] {
                let dir = base.join(format!("work-{at}-{round}"));
                std::fs::create_dir(&dir)?;
                drop_caches()?;
                times.push(timed(|| work(&dir))?.0);
            }
        }
        let ours = seconds(median(ours));
        rows.push(Row::against(what, ours, "ext4", seconds(median(theirs)), GOAL));
        if at == 0 {
            let floor = seconds(median(onto_sink(&place, &source, bench.size(3, 1))?));
            rows.push(Row::against(what, ours, "a FUSE file system that keeps nothing", floor, Goal::None));
        }
    }
    server.stop()?;
    Ok(rows)
}

/// The same untar where nothing is behind the kernel's requests.
fn onto_sink(place: &Place, source: &Source, rounds: usize) -> Result<Vec<Duration>> {
    let sink = Sink::mount(&place.join("sink"))?;
    (0..rounds)
        .map(|round| {
            let dir = sink.point().join(format!("work-{round}"));
            // Nothing is found again that the kernel has forgotten, so its caches stay.
            std::fs::create_dir(&dir)?;
            Ok(timed(|| source.untar(&dir))?.0)
        })
        .collect()
}

/// What is measured, by its name, in a new directory.
type Work<'a> = (String, &'a dyn Fn(&Path) -> Result<()>);

/// Source trees as an archive, as a repository and as one crate, all on the local disk.
struct Source {
    place: Place,
    files: usize,
    crate_name: String,
}

impl Source {
    fn make(place: &Place) -> Result<Self> {
        let sources = Place::new("bench-sources")?;
        let tree = sources.join("tree");
        std::fs::create_dir(&tree)?;
        for archive in trees::archives()? {
            trees::unpack(&archive, &tree)?;
        }
        let listed = program::output(Command::new("find").arg(&tree).args(["-type", "f"]), LIMIT)?;
        program::output(
            Command::new("tar").arg("-cf").arg(sources.join("tree.tar")).arg("-C").arg(&tree).arg("."),
            LIMIT,
        )?;
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command.args(["-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "gc.auto=0"]);
            program::output(command.args(arguments).current_dir(&tree).env("HOME", place.path()), LIMIT)
        };
        git(&["init", "--quiet"])?;
        git(&["add", "--all", "--force", "."])?;
        git(&["commit", "--quiet", "-m", "all"])?;
        let (crate_name, dir, edition) = trees::alone_in(&tree)?;
        trees::strip_manifest(&tree.join(&dir), crate_name, edition)?;
        Ok(Self { files: listed.lines().count(), crate_name: dir, place: sources })
    }

    fn untar(&self, dir: &Path) -> Result<()> {
        let mut command = Command::new("tar");
        program::output(command.arg("-xf").arg(self.place.join("tree.tar")).arg("-C").arg(dir), LIMIT)
            .map(drop)
    }

    fn git_clone(&self, dir: &Path) -> Result<()> {
        let mut command = Command::new("git");
        command.args(["clone", "--quiet", "--no-local"]).arg(self.place.join("tree")).arg(dir.join("clone"));
        program::output(command.env("HOME", self.place.path()), LIMIT).map(drop)
    }

    fn build(&self, dir: &Path) -> Result<()> {
        let mut command = Command::new("cp");
        program::output(
            command.arg("-r").arg(self.place.join("tree").join(&self.crate_name)).arg(dir.join("crate")),
            LIMIT,
        )?;
        trees::build_crate(&dir.join("crate")).map(drop)
    }
}

fn insert(dir: &Path, transactions: usize) -> Result<()> {
    let row = "INSERT INTO rows (filler) VALUES (hex(randomblob(100)));\n";
    let transaction = format!("BEGIN;\n{}COMMIT;\n", row.repeat(ROWS));
    let table =
        "CREATE TABLE rows (id INTEGER PRIMARY KEY, filler TEXT); CREATE INDEX by_filler ON rows (filler);\n";
    sqlite::query(&dir.join("rows.db"), &format!("{table}{}", transaction.repeat(transactions))).map(drop)
}
