//! Who keeps a mount busy: processes with a working directory, a root, a program or an open or mapped file below it.
//!
//! Only `/proc` is read, the mount itself is never asked. Processes of other users are seen by root alone, and a process
//! may come or go while we look: the answer helps a person, nothing may depend on it.

use std::path::{Path, PathBuf};

/// A process that uses a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Name of its program, as the kernel knows it.
    pub command: String,
    /// How it holds the mount, in words: `has its working directory in /x`.
    pub how: String,
}

/// The processes other than this one that hold `mount_point`, by process id.
pub fn holders(mount_point: &Path) -> Vec<Holder> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut found: Vec<Holder> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok().map(|pid| (pid, entry.path())))
        .filter(|(pid, _)| *pid != own)
        .filter_map(|(pid, process)| {
            let how = how(&process, mount_point)?;
            let command = std::fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned();
            Some(Holder { pid, command, how })
        })
        .collect();
    found.sort_by_key(|holder| holder.pid);
    found
}

/// The first reason found why the process at `process` holds `mount_point`.
fn how(process: &Path, mount_point: &Path) -> Option<String> {
    let below =
        |link: PathBuf| std::fs::read_link(link).ok().filter(|target| target.starts_with(mount_point));
    for (link, words) in
        [("cwd", "has its working directory in"), ("root", "has its root in"), ("exe", "runs")]
    {
        if let Some(target) = below(process.join(link)) {
            return Some(format!("{words} {}", target.display()));
        }
    }
    let files = std::fs::read_dir(process.join("fd")).ok()?;
    if let Some(target) = files.flatten().find_map(|file| below(file.path())) {
        return Some(format!("has {} open", target.display()));
    }
    let maps = std::fs::read_to_string(process.join("maps")).ok()?;
    maps.lines()
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])))
        .find(|target| target.starts_with(mount_point))
        .map(|target| format!("has {} mapped", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    struct Sleeper(Child);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_working_directory_and_an_open_file_hold_a_mount() {
        let directory = tempfile::tempdir().unwrap();
        let base = std::fs::canonicalize(directory.path()).unwrap();
        std::fs::write(base.join("file"), "x").unwrap();
        let inside = Sleeper(Command::new("sleep").arg("60").current_dir(&base).spawn().unwrap());
        let file = std::fs::File::open(base.join("file")).unwrap();
        let reader = Sleeper(Command::new("sleep").arg("60").stdin(Stdio::from(file)).spawn().unwrap());

        let found = holders(&base);
        let how = |pid| found.iter().find(|holder| holder.pid == pid).map(|holder| holder.how.clone());
        assert!(how(inside.0.id()).unwrap().contains("working directory"));
        assert!(how(reader.0.id()).unwrap().ends_with("file open"));
        assert!(found.iter().all(|holder| holder.pid != std::process::id()));
    }
}
