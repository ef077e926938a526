//! `cargo xtask tidy`: house rules that no other tool knows. Each rule is a pure function from text to findings.
//!
//! Only files that git tracks or would track are looked at.

mod dependencies;
mod documents;
mod source;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;

use crate::{program, workspace};

/// A rule that a file breaks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: PathBuf,
    /// From 1; 0 is the whole file.
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path.display(), self.message),
            line => write!(f, "{}:{line}: {}", self.path.display(), self.message),
        }
    }
}

/// A file of the workspace, by its path from the root.
#[derive(Clone, Debug)]
struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn extension(&self) -> &str {
        self.path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
    }

    fn is_rust(&self) -> bool {
        self.extension() == "rs"
    }
}

/// Prints what is wrong; fails if anything is.
pub(crate) fn run() -> Result<ExitCode> {
    let findings = findings()?;
    for finding in &findings {
        println!("{finding}");
    }
    println!("{} findings", findings.len());
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Everything that is wrong in the workspace, sorted.
pub(crate) fn findings() -> Result<Vec<Finding>> {
    let root = workspace::root();
    let files = files(root)?;
    let mut findings = Vec::new();
    for file in &files {
        findings.extend(text::check(file));
        if file.is_rust() {
            findings.extend(source::check(file));
        }
    }
    findings.extend(dependencies::check(&files));
    findings.extend(documents::check(root, &files));
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// What is kept as it was made: inputs of fuzz targets, golden pools.
const KEPT: [&str; 2] = ["fuzz/corpus/", "crates/engine/tests/golden/v"];

/// All text files; others are not ours to judge.
fn files(root: &Path) -> Result<Vec<File>> {
    let mut command = Command::new("git");
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let listed = program::output(&mut command, Duration::from_secs(60))?;
    let paths = listed.split('\0');
    let judged = paths.filter(|path| !path.is_empty() && !KEPT.iter().any(|kept| path.starts_with(kept)));
    Ok(judged
        .map(PathBuf::from)
        .filter_map(|path| Some(File { text: std::fs::read_to_string(root.join(&path)).ok()?, path }))
        .collect())
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File { path: path.into(), text: text.into() }
}
