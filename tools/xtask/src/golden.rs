//! Golden pools: made by `cargo xtask golden`, read by a second reader that knows the stored format from its page alone.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{program, workspace};

const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Makes the golden pools of the current version of the format anew, and reads all.
pub(crate) fn run() -> Result<ExitCode> {
    let tests = |arguments: &[&str]| {
        let mut command = workspace::cargo();
        command.args(["test", "--quiet", "--package", "offshoot-engine"]).args(arguments);
        command.env("OFFSHOOT_GOLDEN", "1");
        program::show(&mut command, LIMIT)
    };
    tests(&["--lib", "--", "format::tests"])?;
    tests(&["--test", "engine", "--", "golden::make", "--ignored"])?;
    println!("{}", read()?);
    Ok(ExitCode::SUCCESS)
}

/// Reads every golden pool with the second reader.
pub(crate) fn read() -> Result<String> {
    let directory = workspace::root().join("crates/engine/tests/golden");
    let mut found: Vec<PathBuf> = Vec::new();
    for version in std::fs::read_dir(&directory).context("there are no golden pools")? {
        let version = version?.path();
        if version.is_dir() {
            found.extend(std::fs::read_dir(version)?.filter_map(|entry| Some(entry.ok()?.path())));
        }
    }
    found.sort();
    let mut command = Command::new("python3");
    command.arg(directory.join("decode.py")).args(&found);
    program::show(&mut command, LIMIT)?;
    Ok(format!("{} pools and lists of samples", found.len()))
}
