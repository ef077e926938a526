//! What was measured on: enough to know what the figures are worth, nothing that names the machine.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::{mounts, program, workspace};

/// A few lines of text; `task` is what measures.
pub(crate) fn describe(task: &str) -> Result<String> {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .context("the kernel does not tell how much memory there is")?;
    let says = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(name);
        program::output(command.args(arguments).current_dir(workspace::root()), Duration::from_secs(30))
    };
    let changed = if says("git", &["status", "--porcelain"])?.is_empty() { "" } else { ", with changes" };
    Ok(format!(
        "processor  {} x{}\nmemory     {:.1} GB\nkernel     {}\nlocal disk {}\ncommit     {}{changed}\ndate       {}\ncommand    cargo xtask {task}\n",
        model.trim_start_matches([':', ' ', '\t']),
        std::thread::available_parallelism()?,
        kilobytes as f64 * 1024.0 / 1e9,
        says("uname", &["-sr"])?.trim(),
        mounts::kind_of(&std::env::temp_dir()),
        says("git", &["rev-parse", "--short=12", "HEAD"])?.trim(),
        says("date", &["-u", "+%Y-%m-%d"])?.trim(),
    ))
}
