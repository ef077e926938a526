//! Where the workspace and its build products are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::program;

/// A release build of the whole product from nothing, on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    // This package is at tools/xtask.
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the package is two folders deep")
}

/// The cargo that runs this task, in the root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The machine that the compiler builds for by itself.
pub(crate) fn host() -> Result<String> {
    let said = program::output(Command::new("rustc").arg("-vV"), Duration::from_secs(60))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what it builds for")?.to_owned())
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Where cargo keeps the registry.
pub(crate) fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(home.into());
    }
    Ok(PathBuf::from(std::env::var_os("HOME").context("neither CARGO_HOME nor HOME is set")?).join(".cargo"))
}

/// Where tools that had to be built are kept between runs.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(base.join("offshoot"))
}

/// Builds the real binary with optimisation and returns its path.
pub(crate) fn build_offshoot() -> Result<PathBuf> {
    program::show(
        cargo().args(["build", "--release", "--package", "offshoot", "--bin", "offshoot"]),
        BUILD_LIMIT,
    )?;
    built("release", "offshoot")
}

/// Builds our own conformance suite and returns its path.
pub(crate) fn build_conformance() -> Result<PathBuf> {
    program::show(cargo().args(["build", "--package", "conformance"]), BUILD_LIMIT)?;
    built("debug", "conformance")
}

fn built(profile: &str, name: &str) -> Result<PathBuf> {
    let path = target_dir().join(profile).join(name);
    ensure!(path.is_file(), "cargo built no {}", path.display());
    Ok(path)
}
