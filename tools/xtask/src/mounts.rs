//! What is mounted where, as the kernel tells it in `/proc/self/mountinfo`, and disks made for one run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cleanup::{Guard, Undo};
use crate::program;

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The number that the kernel gave it.
    pub(crate) id: u64,
    /// Where.
    pub(crate) point: PathBuf,
    /// File system type, with the subtype of a FUSE mount: `fuse.offshoot`.
    pub(crate) kind: String,
}

/// All mounts; empty if the kernel does not tell.
pub(crate) fn list() -> Vec<Mount> {
    parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn parse(text: &str) -> Vec<Mount> {
    text.lines()
        .filter_map(|line| {
            let (front, back) = line.split_once(" - ")?;
            let id = front.split(' ').next()?.parse().ok()?;
            let point = unescape(front.split(' ').nth(4)?);
            Some(Mount { id, point: PathBuf::from(point), kind: back.split(' ').next()?.to_owned() })
        })
        .collect()
}

/// Undoes the octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> String {
    [(r"\040", " "), (r"\011", "\t"), (r"\012", "\n"), (r"\134", r"\")]
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The mount at exactly this path.
pub(crate) fn at(point: &Path) -> Option<Mount> {
    list().into_iter().rev().find(|mount| mount.point == point)
}

/// Whether something is mounted at exactly this path.
pub(crate) fn is_mounted(point: &Path) -> bool {
    at(point).is_some()
}

/// Mounts at or below a path.
pub(crate) fn below(path: &Path) -> Vec<Mount> {
    list().into_iter().filter(|mount| mount.point.starts_with(path)).collect()
}

/// The type of the file system that holds `path`.
pub(crate) fn kind_of(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let holds = list().into_iter().filter(|mount| path.starts_with(&mount.point));
    // Of mounts at the same point the last one is on top.
    holds.max_by_key(|mount| mount.point.as_os_str().len()).map(|mount| mount.kind).unwrap_or_default()
}

/// A file system in a sparse image on a loop device; goes when dropped.
pub(crate) struct Disk {
    point: PathBuf,
    _mount: Guard,
}

impl Disk {
    /// Makes `DIR/KIND.img` of this size with `mkfs` (a command line without the image) and mounts it at `DIR/KIND`.
    pub(crate) fn make(dir: &Path, kind: &str, size_bytes: u64, mkfs: &[&str]) -> Result<Self> {
        let image = dir.join(format!("{kind}.img"));
        File::create(&image)
            .and_then(|file| file.set_len(size_bytes))
            .with_context(|| format!("cannot make the image {}", image.display()))?;
        program::output(Command::new(mkfs[0]).args(&mkfs[1..]).arg(&image), Duration::from_secs(120))?;
        let point = dir.join(kind);
        std::fs::create_dir(&point)?;
        program::output(
            Command::new("mount").args(["-t", kind, "-o", "loop"]).arg(&image).arg(&point),
            Duration::from_secs(60),
        )?;
        Ok(Self { _mount: Guard::new(Undo::Mount(point.clone())), point })
    }

    /// Where it is mounted.
    pub(crate) fn point(&self) -> &Path {
        &self.point
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_parsed_with_optional_fields_and_escapes() {
        let text = "36 35 98:0 / / rw,noatime shared:1 - ext4 /dev/root rw\n\
                    40 36 0:33 / /tmp/a\\040b rw - fuse.offshoot offshoot:x rw,user_id=0\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].kind, "ext4");
        assert_eq!(mounts[1], Mount { id: 40, point: "/tmp/a b".into(), kind: "fuse.offshoot".into() });
    }

    #[test]
    fn root_is_mounted_and_a_new_name_is_not() {
        assert!(is_mounted(Path::new("/")));
        assert!(!is_mounted(Path::new("/no-such-mount-point")));
    }
}
