//! A control group that bounds the memory of the processes in it, made for one run and known by its path.
//!
//! Version 2 where it has the memory controller, else version 1. Both count anonymous memory, the page cache that the
//! group's own reads and writes fill, and what the kernel holds for it; neither may swap.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cleanup::{Guard, Undo};

const ROOT: &str = "/sys/fs/cgroup";

/// How long processes that were killed may take to leave the group.
const EMPTY_LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A bounded group; it goes when dropped, and its processes have to be gone by then.
#[derive(Debug)]
pub(crate) struct MemoryGroup {
    path: PathBuf,
    version: Version,
    limit_bytes: u64,
    _guard: Guard,
}

/// What a group uses, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Everything.
    pub(crate) all: u64,
    /// Memory of the processes themselves.
    pub(crate) anonymous: u64,
    /// Page cache.
    pub(crate) cache: u64,
}

impl MemoryGroup {
    /// Makes a group with this bound.
    ///
    /// # Errors
    /// If there is no memory controller that this user may use.
    pub(crate) fn new(limit_bytes: u64) -> Result<Self> {
        let (version, parent) = controller()?;
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("offshoot-load-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| {
            format!("cannot make the control group {}: only root can, outside a container", path.display())
        })?;
        let guard = Guard::new(Undo::MemoryGroup(path.clone()));
        let group = Self { path, version, limit_bytes, _guard: guard };
        match version {
            Version::Two => {
                group.write("memory.max", limit_bytes)?;
                // A kernel without swap does not have this file.
                let _ = group.write("memory.swap.max", 0);
            }
            Version::One => {
                group.write("memory.limit_in_bytes", limit_bytes)?;
                // Memory and swap together have the same bound, so that nothing is swapped.
                let _ = group.write("memory.memsw.limit_in_bytes", limit_bytes);
            }
        }
        Ok(group)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it may use, in bytes.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// What it uses now.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let stat = self.read("memory.stat")?;
        let (all, anonymous, cache) = match self.version {
            Version::Two => ("memory.current", "anon", "file"),
            Version::One => ("memory.usage_in_bytes", "total_rss", "total_cache"),
        };
        Ok(Usage { all: self.number(all)?, anonymous: field(&stat, anonymous), cache: field(&stat, cache) })
    }

    /// The most that it ever used, in bytes.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        match self.version {
            Version::Two => self.number("memory.peak"),
            Version::One => self.number("memory.max_usage_in_bytes"),
        }
    }

    /// Processes that were killed because there was no memory left.
    pub(crate) fn killed(&self) -> Result<u64> {
        let name = match self.version {
            Version::Two => "memory.events",
            Version::One => "memory.oom_control",
        };
        Ok(field(&self.read(name)?, "oom_kill"))
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.path.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    fn number(&self, name: &str) -> Result<u64> {
        let text = self.read(name)?;
        text.trim().parse().with_context(|| format!("{name} of the control group is {text:?}, not a number"))
    }

    fn write(&self, name: &str, value: u64) -> Result<()> {
        let path = self.path.join(name);
        std::fs::write(&path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// What groups of this machine are, in words, for a report.
pub(crate) fn describe(limit_bytes: u64) -> Result<String> {
    let version = match controller()?.0 {
        Version::One => 1,
        Version::Two => 2,
    };
    Ok(format!("version {version}, {} MiB, no swap", limit_bytes >> 20))
}

/// The memory controller and the group to make others in.
fn controller() -> Result<(Version, PathBuf)> {
    let root = Path::new(ROOT);
    if has_memory(&root.join("cgroup.controllers")) {
        if !has_memory(&root.join("cgroup.subtree_control")) {
            std::fs::write(root.join("cgroup.subtree_control"), "+memory")
                .context("the memory controller cannot be turned on for control groups")?;
        }
        return Ok((Version::Two, root.to_owned()));
    }
    let one = root.join("memory");
    if one.join("memory.limit_in_bytes").exists() {
        return Ok((Version::One, one));
    }
    bail!("there is no memory controller below {ROOT}: memory cannot be bounded here")
}

fn has_memory(list: &Path) -> bool {
    std::fs::read_to_string(list).is_ok_and(|text| text.split_whitespace().any(|name| name == "memory"))
}

/// A line `NAME VALUE` of a file of the kernel's.
fn field(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0)
}

/// Takes a group away, once its last process is gone.
pub(crate) fn remove(path: &Path) {
    let start = Instant::now();
    loop {
        match std::fs::remove_dir(path) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) if start.elapsed() > EMPTY_LIMIT => {
                eprintln!("cannot remove the control group {}: {error}", path.display());
                return;
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let stat =
            "cache 5\nrss 1\ntotal_cache 7\ntotal_rss_huge 9\ntotal_rss 8\noom_kill_disable 0\noom_kill 3\n";
        assert_eq!(field(stat, "total_rss"), 8);
        assert_eq!(field(stat, "cache"), 5);
        assert_eq!(field(stat, "oom_kill"), 3);
        assert_eq!(field(stat, "missing"), 0);
    }
}
