//! How much memory a server takes if nobody says so: a part of what this process may have.
//!
//! What it may have is the least of the machine's memory and the bounds of the control groups that it is in, of version 1
//! and 2. A bound that cannot be read is none.

use std::path::Path;

/// The most that is taken without being asked to, in bytes.
const MOST_BYTES: u64 = 1 << 30;
/// The least that an engine can work with, in bytes.
pub(crate) const LEAST_BYTES: u64 = 64 << 20;

/// The memory setting for this process, in bytes.
pub(crate) fn default_bytes() -> u64 {
    setting(available())
}

/// What this process may have, in bytes, if that can be told.
pub(crate) fn available() -> Option<u64> {
    available_bytes(Path::new("/"))
}

/// What a server with this setting takes at most, in bytes, as far as was measured; see `docs/load.md`.
pub(crate) fn taken_bytes(setting: u64) -> u64 {
    setting / 4 * 7
}

/// The setting where `available` bytes are to be had. Beside what the setting bounds there are stacks, code, segments that
/// are being gathered and what the allocator keeps; and the page cache is worth something too.
fn setting(available: Option<u64>) -> u64 {
    available.map_or(MOST_BYTES, |bytes| bytes / 8 * 3).clamp(LEAST_BYTES, MOST_BYTES)
}

/// What this process may have, in bytes, as the files below `root` tell it.
fn available_bytes(root: &Path) -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let machine = read("proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
    });
    let groups = read("proc/self/cgroup").unwrap_or_default();
    let bounds = groups.lines().filter_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        let (base, name) = if controllers.is_empty() {
            ("sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            return None;
        };
        // Each group above bounds those below it. In a container the path may be that of the host, and the group is the root.
        let base = root.join(base);
        let group = base.join(group.trim_start_matches('/'));
        let above = group.ancestors().take_while(|path| path.starts_with(&base));
        above
            .filter_map(|path| std::fs::read_to_string(path.join(name)).ok()?.trim().parse::<u64>().ok())
            .min()
    });
    machine.into_iter().chain(bounds).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A directory with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_part_of_what_there_is_within_bounds() {
        assert_eq!(setting(None), MOST_BYTES);
        assert_eq!(setting(Some(64 << 30)), MOST_BYTES);
        assert_eq!(setting(Some(512 * MIB)), 192 * MIB);
        assert_eq!(setting(Some(MIB)), LEAST_BYTES);
    }

    #[test]
    fn the_tightest_group_bounds_whatever_its_version() {
        let machine = ("proc/meminfo", "MemTotal:        4194304 kB\nMemFree: 1 kB\n");
        let two = ("proc/self/cgroup", "0::/box/server\n");
        let found = root(&[
            machine,
            two,
            ("sys/fs/cgroup/box/memory.max", "536870912\n"),
            ("sys/fs/cgroup/box/server/memory.max", "max\n"),
        ]);
        assert_eq!(available_bytes(found.path()), Some(512 * MIB));

        let one = ("proc/self/cgroup", "9:name=systemd:/\n4:cpu,memory:/box\n0::/\n");
        let found = root(&[
            machine,
            one,
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "268435456\n"),
        ]);
        assert_eq!(available_bytes(found.path()), Some(256 * MIB));
    }

    #[test]
    fn in_a_container_the_group_is_the_root_that_is_seen() {
        let found = root(&[
            ("proc/meminfo", "MemTotal: 4194304 kB\n"),
            ("proc/self/cgroup", "0::/host/path/that/is/not/here\n"),
            ("sys/fs/cgroup/memory.max", "1073741824\n"),
        ]);
        assert_eq!(available_bytes(found.path()), Some(1024 * MIB));
    }

    #[test]
    fn without_groups_the_machine_is_the_bound() {
        let found = root(&[("proc/meminfo", "MemTotal: 2097152 kB\n")]);
        assert_eq!(available_bytes(found.path()), Some(2048 * MIB));
        assert_eq!(available_bytes(root(&[]).path()), None);
    }
}
