//! SQLite with its write-ahead log and with its rollback journal: every transaction whose commit has returned is there, whole,
//! and the database is sound.
//!
//! The rollback journal is truncated and not deleted: where SQLite deletes it, a commit also succeeds if the directory
//! cannot be opened to sync it, which is so just after the server was killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{Mark, Place, acknowledged, exists, locked};
use crate::program;

const LIMIT: Duration = Duration::from_secs(60);
const ROWS: u64 = 3;
/// Name of the database and how it is set up.
const MODES: [(&str, &str); 2] = [
    ("wal.db", "PRAGMA journal_mode=wal; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=50;"),
    ("rollback.db", "PRAGMA journal_mode=truncate; PRAGMA synchronous=FULL;"),
];

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Transactions that are durable; making the table is the first.
    durable: Vec<Mark>,
}

/// One transaction after the other through one program, until it is over.
pub(super) fn run(place: &Place<'_>, mode: usize, notes: &Mutex<Notes>) {
    let (name, setup) = MODES[mode];
    let mut command = Command::new("sqlite3");
    command.args(["-batch", "-bail"]).arg(place.dir.join(name));
    let Ok((_running, mut input, output)) = program::converse(&mut command) else { return };
    let mut answers = BufReader::new(output).lines();
    let mut say = |statements: &str, token: &str| -> Option<()> {
        input.write_all(format!("{statements} SELECT '{token}';\n").as_bytes()).ok()?;
        // The answer to a pragma may come first.
        answers.by_ref().find_map(|line| match line {
            Ok(line) if line == token => Some(Some(())),
            Ok(_) => None,
            Err(_) => Some(None),
        })?
    };
    let table = "CREATE TABLE rows (id INTEGER PRIMARY KEY, number INTEGER, filler TEXT); \
                 CREATE INDEX by_number ON rows (number, filler);";
    let mut statements = format!("{setup} BEGIN; {table} COMMIT;");
    for count in 1_u64.. {
        if place.is_over() || say(&statements, &format!("done {count}")).is_none() {
            return;
        }
        let moment = place.now();
        locked(notes).durable.push(Mark { moment, count });
        let row = format!("INSERT INTO rows (number, filler) VALUES ({count}, hex(randomblob(300))); ");
        statements = format!("BEGIN IMMEDIATE; {}COMMIT;", row.repeat(ROWS as usize));
    }
}

impl Notes {
    /// Returns how many acknowledged transactions are there.
    pub(super) fn verify(&self, dir: &Path, mode: usize, moment: u64) -> Result<u64> {
        let path = dir.join(MODES[mode].0);
        let durable = acknowledged(&self.durable, moment);
        if durable == 0 {
            return Ok(0);
        }
        ensure!(exists(&path)?, "{} is lost, {durable} transactions were durable", path.display());
        let query = "PRAGMA integrity_check; SELECT count(*), count(DISTINCT number), coalesce(max(number), 0) FROM rows;";
        let answer =
            program::output(Command::new("sqlite3").args(["-batch", "-bail"]).arg(&path).arg(query), LIMIT)
                .with_context(|| format!("{durable} transactions were durable in {}", path.display()))?;
        let mut lines = answer.lines();
        ensure!(lines.next() == Some("ok"), "{} is damaged:\n{answer}", path.display());
        let counts = lines.next().unwrap_or_default().split('|').map(str::parse);
        let counts = counts.collect::<Result<Vec<u64>, _>>().context("SQLite told no counts")?;
        let [rows, numbers, newest] = counts[..] else {
            anyhow::bail!("SQLite told other counts: {answer}");
        };
        ensure!(
            rows == newest * ROWS && numbers == newest,
            "{} has {rows} rows of {numbers} transactions, the newest is {newest}",
            path.display()
        );
        ensure!(
            newest + 1 >= durable,
            "{} has {newest} transactions, {} were durable",
            path.display(),
            durable - 1
        );
        Ok(durable)
    }
}
