//! What the tests need from the machine: Debian packages, tools from the crate registry, users.
//!
//! Only what is missing is installed. Packages and users stay; tools are kept in the user's cache.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::{program, workspace};

const LIMIT: Duration = Duration::from_secs(30 * 60);

/// A tool that cargo can build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tool {
    /// Crate and binary.
    pub(crate) name: &'static str,
    /// The version that is built if there is none.
    version: &'static str,
    /// Quick to build rather than quick to run.
    unoptimised: bool,
}

/// The test runner.
pub(crate) const NEXTEST: Tool = Tool { name: "cargo-nextest", version: "0.9.151", unoptimised: true };
/// The yardstick of POSIX behaviour.
pub(crate) const PJDFSTEST: Tool = Tool { name: "pjdfstest", version: "0.2.2", unoptimised: true };
/// Random file operations, compared with a copy in memory.
pub(crate) const FSX: Tool = Tool { name: "fsx", version: "0.3.2", unoptimised: false };

/// Builds fuzz targets.
pub(crate) const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2", unoptimised: true };

/// Installs the packages that are missing.
pub(crate) fn packages(names: &[&str]) -> Result<()> {
    let missing: Vec<&str> = names.iter().copied().filter(|name| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(
        rustix::process::geteuid().is_root(),
        "missing packages, and only root can install them: apt-get install {}",
        missing.join(" ")
    );
    println!("installing {}", missing.join(" "));
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y", "-o", "DPkg::Lock::Timeout=300"]);
        command
    };
    program::output(apt().arg("update"), LIMIT)?;
    program::output(apt().args(["install", "--no-install-recommends"]).args(&missing), LIMIT)?;
    Ok(())
}

fn is_installed(name: &str) -> bool {
    let mut command = Command::new("dpkg-query");
    program::output(command.args(["--show", "--showformat=${db:Status-Status}", name]), LIMIT)
        .is_ok_and(|status| status == "installed")
}

/// The path of a tool: from `PATH`, from the cache, or built now.
pub(crate) fn tool(tool: Tool) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PATH")
        && let Some(found) =
            std::env::split_paths(&path).map(|dir| dir.join(tool.name)).find(|file| file.is_file())
    {
        return Ok(found);
    }
    let root = workspace::cache_dir()?.join("tools");
    let binary = root.join("bin").join(tool.name);
    if !binary.is_file() {
        println!("building {} {}", tool.name, tool.version);
        let mut command = workspace::cargo();
        command.args(["install", "--quiet", "--locked", "--version", tool.version, "--root"]).arg(&root);
        if tool.unoptimised {
            command.arg("--debug");
        }
        // A target directory of the workspace's own would mix two sets of products.
        command.env_remove("CARGO_TARGET_DIR").arg(tool.name);
        program::show(&mut command, LIMIT)?;
    }
    ensure!(binary.is_file(), "cargo install made no {}", binary.display());
    Ok(binary)
}

/// The source of the standard library, for those who build it anew.
pub(crate) fn standard_library() -> Result<()> {
    let root = program::output(Command::new("rustc").args(["--print", "sysroot"]), LIMIT)?;
    let source = Path::new(root.trim()).join("lib/rustlib/src/rust/library/std");
    if !source.is_dir() {
        println!("installing the source of the standard library");
        program::output(Command::new("rustup").args(["component", "add", "rust-src"]), LIMIT)?;
    }
    ensure!(source.is_dir(), "the source of the standard library is missing: rustup component add rust-src");
    Ok(())
}

/// Makes system users (with a group of the same name) that are missing.
pub(crate) fn users(names: &[&str]) -> Result<()> {
    for name in names {
        if program::finish(Command::new("getent").args(["passwd", name]), LIMIT)?.status.success() {
            continue;
        }
        if !rustix::process::geteuid().is_root() {
            bail!(
                "the user `{name}` is missing, and only root can make it: useradd --system --user-group {name}"
            );
        }
        program::output(
            Command::new("useradd").args(["--system", "--user-group", "--no-create-home", name]),
            LIMIT,
        )?;
    }
    Ok(())
}

/// The directory of PostgreSQL's server programs, which are not in `PATH` on Debian.
pub(crate) fn postgres_programs() -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .context("PostgreSQL's server is not installed")?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, bin): &(u32, PathBuf)| bin.join("initdb").is_file())
        .collect();
    versions.sort();
    versions.pop().map(|(_, bin)| bin).context("no PostgreSQL below /usr/lib/postgresql has initdb")
}

/// Whether FUSE can be used here at all, with what to do if it cannot.
pub(crate) fn check_fuse() -> Result<()> {
    ensure!(
        Path::new("/dev/fuse").exists(),
        "/dev/fuse is missing: load the module (modprobe fuse) or give the container the device"
    );
    Ok(())
}
