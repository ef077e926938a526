//! `conformance DIR`: runs the checks against the file system that DIR is on.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use conformance::{Selection, suite};

/// Checks what Linux programs may expect of a mounted file system. Runs as root.
#[derive(Parser)]
struct Arguments {
    /// Directory on the file system under test; its parents must be searchable for everybody.
    directory: Option<PathBuf>,
    /// Run only checks whose name contains this; may be given several times.
    #[arg(long)]
    filter: Vec<String>,
    /// Leave out checks whose name contains this; may be given several times.
    #[arg(long)]
    skip: Vec<String>,
    /// Only checks whose name contains this may skip themselves, all other skips are failures; may be given several times.
    #[arg(long)]
    may_skip: Option<Vec<String>>,
    /// Print names and what each check expects instead of running.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let selection =
        Selection { filters: arguments.filter, skips: arguments.skip, may_skip: arguments.may_skip };
    if arguments.list {
        for check in suite::selected(&selection) {
            writeln!(out, "{:50} {}", check.full_name(), check.expects.trim())?;
        }
        return Ok(true);
    }
    let Some(directory) = arguments.directory else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "name a directory on the file system to check",
        ));
    };
    let report = conformance::run(&directory, &selection, &mut out)?;
    writeln!(out, "{} passed, {} failed, {} skipped", report.passed, report.failed.len(), report.skipped)?;
    Ok(report.failed.is_empty())
}
