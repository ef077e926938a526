//! SQLite: several programs insert into one database, which is cloned meanwhile. The clone is a sound database, and the
//! original loses nothing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Setting, on_server};
use crate::program;

const LIMIT: Duration = Duration::from_secs(5 * 60);
const WRITERS: usize = 4;
const TRANSACTIONS: usize = 60;
const ROWS: usize = 25;

/// Once with each way that SQLite keeps its journal.
pub(crate) fn run(setting: &Setting) -> Result<String> {
    on_server(setting, "sqlite", |server, _| {
        let mut clones = 0;
        for journal in ["delete", "wal"] {
            let dir = server.mount().join(journal);
            std::fs::create_dir(&dir)?;
            let database = dir.join("rows.db");
            prepare(&database, journal)?;
            let writers =
                (0..WRITERS).map(|writer| spawn_writer(&database, writer)).collect::<Result<Vec<_>>>()?;
            let mut while_running = 0;
            loop {
                let running = writers.iter().any(|writer| !writer.is_finished());
                if !running && while_running > 0 {
                    break;
                }
                ensure!(running, "the writers were done before a clone could be made");
                server.clone_path(&format!("/{journal}"), &format!("/{journal}-clone-{while_running}"))?;
                while_running += 1;
                std::thread::sleep(Duration::from_millis(200));
            }
            for writer in writers {
                match writer.join() {
                    Ok(result) => result?,
                    Err(_) => bail!("a writer panicked"),
                }
            }
            verify(&database, |rows| rows == (WRITERS * TRANSACTIONS * ROWS) as u64)?;
            for clone in 0..while_running {
                let copy = server.mount().join(format!("{journal}-clone-{clone}")).join("rows.db");
                // A transaction is whole or absent.
                verify(&copy, |rows| {
                    rows % ROWS as u64 == 0 && rows <= (WRITERS * TRANSACTIONS * ROWS) as u64
                })
                .with_context(|| format!("clone {clone} with journal {journal}"))?;
            }
            clones += while_running;
        }
        Ok(format!("{clones} clones made under load are sound"))
    })
}

fn prepare(database: &Path, journal: &str) -> Result<()> {
    let table = "CREATE TABLE rows (id INTEGER PRIMARY KEY, writer INTEGER, filler TEXT);";
    query(
        database,
        &format!("PRAGMA journal_mode={journal};{table}CREATE INDEX by_writer ON rows (writer, filler);"),
    )
    .map(drop)
}

fn spawn_writer(database: &Path, writer: usize) -> Result<std::thread::JoinHandle<Result<()>>> {
    let row = format!("INSERT INTO rows (writer, filler) VALUES ({writer}, hex(randomblob(200)));\n");
    let transaction = format!("BEGIN IMMEDIATE;\n{}COMMIT;\n", row.repeat(ROWS));
    let (database, script) = (database.to_owned(), transaction.repeat(TRANSACTIONS));
    Ok(std::thread::Builder::new()
        .name(format!("writer-{writer}"))
        .spawn(move || query(&database, &script).map(drop))?)
}

fn verify(database: &Path, expected: impl Fn(u64) -> bool) -> Result<()> {
    let answer = query(database, "PRAGMA integrity_check; SELECT count(*) FROM rows;")?;
    let mut lines = answer.lines();
    ensure!(lines.next() == Some("ok"), "{} is damaged:\n{answer}", database.display());
    let rows: u64 = lines.next().unwrap_or_default().parse().context("no count of rows")?;
    ensure!(expected(rows), "{} has {rows} rows", database.display());
    Ok(())
}

/// Runs statements, stops at the first that fails.
pub(crate) fn query(database: &Path, statements: &str) -> Result<String> {
    let script = format!(".timeout 60000\n{statements}\n");
    let source = database.with_extension(format!("{}.sql", thread_name()));
    std::fs::write(&source, script)?;
    let mut command = Command::new("sqlite3");
    let answer = program::output(
        command.arg("-batch").arg("-bail").arg(database).arg(format!(".read {}", source.display())),
        LIMIT,
    );
    std::fs::remove_file(&source)?;
    answer
}

fn thread_name() -> String {
    std::thread::current().name().unwrap_or("main").to_owned()
}
