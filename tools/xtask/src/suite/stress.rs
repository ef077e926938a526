//! stress-ng's stressors of file systems, each verifying what it does.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Setting, on_mount};
use crate::program;

/// Stressors that work on files of the directory they are given. Left out are those that test something else of the kernel
/// (procfs, sockets, fanotify) or ask for what no FUSE file system has (verity, inode flags).
const STRESSORS: &[&str] = &[
    "access",
    "chdir",
    "chmod",
    "chown",
    "copy-file",
    "dentry",
    "dir",
    "dirdeep",
    "dirmany",
    "dup",
    "fallocate",
    "fcntl",
    "filename",
    "flock",
    "fpunch",
    "fsize",
    "fstat",
    "getdent",
    "handle",
    "hdd",
    "io",
    "iomix",
    "link",
    "locka",
    "lockf",
    "lockofd",
    "mknod",
    "open",
    "rename",
    "seek",
    "symlink",
    "sync-file",
    "touch",
    "utime",
    "xattr",
];

/// Each stressor gets its share of the time, at least a second.
pub(crate) fn run(setting: &Setting) -> Result<String> {
    let seconds = (setting.duration.as_secs() / STRESSORS.len() as u64).max(1);
    on_mount(setting, "stress", |dir| {
        for stressor in STRESSORS {
            stress(dir, stressor, seconds, setting.seed).with_context(|| format!("stressor {stressor}"))?;
        }
        Ok(format!("{} stressors, {seconds} s each", STRESSORS.len()))
    })
}

fn stress(dir: &Path, stressor: &str, seconds: u64, seed: u64) -> Result<()> {
    let mut command = Command::new("stress-ng");
    command.args([
        &format!("--{stressor}"),
        "2",
        "--timeout",
        &format!("{seconds}s"),
        "--seed",
        &seed.to_string(),
    ]);
    // Bounded, so that the disk of the test machine stays out of the question.
    command.args([
        "--hdd-bytes",
        "64m",
        "--iomix-bytes",
        "64m",
        "--fallocate-bytes",
        "64m",
        "--copy-file-bytes",
        "128m",
    ]);
    command.args(["--dentries", "512", "--verify", "--oomable", "--temp-path"]).arg(dir).current_dir(dir);
    program::output(&mut command, Duration::from_secs(seconds + 180)).map(drop)
}
