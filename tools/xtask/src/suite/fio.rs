//! fio: several jobs write patterns with checksums, read them back and verify.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Setting, on_mount};
use crate::program;

/// One job of fio: its name and what it does beyond the common part.
const JOBS: &[(&str, &[&str])] = &[
    ("sequential", &["--rw=write", "--bs=128k"]),
    ("random", &["--rw=randwrite", "--bsrange=4k-64k", "--bs_unaligned=0"]),
    ("unaligned", &["--rw=randwrite", "--bsrange=512-20k", "--verify_interval=512"]),
    ("mixed", &["--rw=randrw", "--bs=4k", "--fsync=64"]),
    ("mapped", &["--rw=randwrite", "--bs=4k", "--ioengine=mmap"]),
    ("direct", &["--rw=randwrite", "--bs=16k", "--direct=1"]),
];

/// Every job at least once, and again until the time is up.
pub(crate) fn run(setting: &Setting) -> Result<String> {
    on_mount(setting, "fio", |dir| {
        let end = Instant::now() + setting.duration;
        let mut rounds = 0;
        while rounds == 0 || Instant::now() < end {
            for (name, arguments) in JOBS {
                job(dir, name, arguments, setting.seed + rounds)?;
            }
            rounds += 1;
        }
        Ok(format!("{} jobs, {rounds} times", JOBS.len()))
    })
}

fn job(dir: &Path, name: &str, arguments: &[&str], seed: u64) -> Result<()> {
    let mut command = Command::new("fio");
    command
        .arg(format!("--name={name}"))
        .arg(format!("--directory={}", dir.display()))
        .arg(format!("--randseed={seed}"));
    command.args([
        "--size=48m",
        "--numjobs=2",
        "--verify=crc32c",
        "--do_verify=1",
        "--verify_fatal=1",
        "--unlink=1",
    ]);
    command.args(["--output-format=json", "--group_reporting"]).args(arguments).current_dir(dir);
    let report = program::output(&mut command, Duration::from_secs(300))?;
    // Warnings may come before the report.
    let report: serde_json::Value = serde_json::from_str(&report[report.find('{').unwrap_or(0)..])?;
    let job = &report["jobs"][0];
    ensure!(job["error"] == 0, "{name}: fio reports error {}", job["error"]);
    ensure!(job["read"]["io_bytes"].as_u64() > Some(0), "{name}: nothing was read back");
    Ok(())
}
