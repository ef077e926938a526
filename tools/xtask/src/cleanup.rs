//! What this process has made on the machine and must take away again: process groups, mounts, loop devices, directories
//! and control groups.
//!
//! Each is known by its id from the moment it exists. It goes when its [`Guard`] drops (also in a panic), or, after
//! a signal, all of them go in reverse order before the process ends. Nothing is ever found by a pattern.

use std::path::{Path, PathBuf};
use std::process::exit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::mount::UnmountFlags;
use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How long an ordinary unmount is tried before the mount is detached.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(5);

/// Something to take away.
#[derive(Clone, Debug)]
pub(crate) enum Undo {
    /// Kill every process of this group.
    Group(Pid),
    /// Unmount what is mounted here.
    Mount(PathBuf),
    /// Detach this loop device; one that is mounted goes with its mount.
    Loop(PathBuf),
    /// Remove this directory with everything in it.
    Directory(PathBuf),
    /// Remove this control group, whose processes are ending.
    MemoryGroup(PathBuf),
}

static ENTRIES: Mutex<Vec<(u64, Undo)>> = Mutex::new(Vec::new());
static NEXT: AtomicU64 = AtomicU64::new(0);
static STOPPING: AtomicBool = AtomicBool::new(false);

fn entries() -> MutexGuard<'static, Vec<(u64, Undo)>> {
    ENTRIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes one thing away when dropped.
#[derive(Debug)]
#[must_use = "what it guards goes when it drops"]
pub(crate) struct Guard(u64);

impl Guard {
    /// Registers `undo`. After a signal it never returns: the process is about to end.
    pub(crate) fn new(undo: Undo) -> Self {
        let mut list = entries();
        if STOPPING.load(Ordering::SeqCst) {
            drop(list);
            apply(&undo);
            loop {
                std::thread::park();
            }
        }
        let id = NEXT.fetch_add(1, Ordering::SeqCst);
        list.push((id, undo));
        Self(id)
    }

    /// Forgets it: the thing has gone already.
    pub(crate) fn dismiss(self) {
        entries().retain(|(id, _)| *id != self.0);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let undo = {
            let mut list = entries();
            list.iter().position(|(id, _)| *id == self.0).map(|at| list.remove(at).1)
        };
        if let Some(undo) = undo {
            apply(&undo);
        }
    }
}

/// Ends the process with status 130 after taking everything away, whenever it is interrupted, hung up or terminated.
pub(crate) fn on_signals() -> anyhow::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if signals.forever().next().is_some() {
            eprintln!("interrupted: cleaning up");
            everything();
            exit(130);
        }
    })?;
    Ok(())
}

/// True once a signal has come.
pub(crate) fn stopping() -> bool {
    STOPPING.load(Ordering::SeqCst)
}

/// Takes away all that is registered, the newest first.
fn everything() {
    STOPPING.store(true, Ordering::SeqCst);
    loop {
        let last = entries().pop();
        match last {
            Some((_, undo)) => apply(&undo),
            None => return,
        }
    }
}

fn apply(undo: &Undo) {
    match undo {
        // The group may be empty by now, which is what was wanted.
        Undo::Group(group) => drop(rustix::process::kill_process_group(*group, Signal::KILL)),
        Undo::Mount(path) => unmount(path),
        Undo::Loop(device) => detach(device),
        Undo::Directory(path) => remove(path),
        Undo::MemoryGroup(path) => crate::load::remove_group(path),
    }
}

fn detach(device: &Path) {
    // Not through `program`, which registers what it starts here.
    match std::process::Command::new("losetup").arg("--detach").arg(device).status() {
        Ok(status) if status.success() => {}
        _ => eprintln!("cannot detach {}: left behind", device.display()),
    }
}

fn unmount(path: &Path) {
    let start = Instant::now();
    while crate::mounts::is_mounted(path) {
        let flags =
            if start.elapsed() < UNMOUNT_PATIENCE { UnmountFlags::empty() } else { UnmountFlags::DETACH };
        if rustix::mount::unmount(path, flags).is_ok() {
            continue;
        }
        if start.elapsed() > 2 * UNMOUNT_PATIENCE {
            eprintln!("cannot unmount {}: left behind", path.display());
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn remove(path: &Path) {
    if crate::mounts::below(path).is_empty() {
        if let Err(error) = std::fs::remove_dir_all(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            eprintln!("cannot remove {}: {error}", path.display());
        }
    } else {
        eprintln!("something is still mounted below {}: left behind", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_goes_with_its_guard_also_in_a_panic() {
        let path = std::env::temp_dir().join(format!("offshoot-cleanup-{}", std::process::id()));
        let inner = path.clone();
        let panicked = std::thread::spawn(move || {
            std::fs::create_dir(&inner).expect("a new directory");
            let _guard = Guard::new(Undo::Directory(inner));
            panic!("on purpose");
        })
        .join();
        assert!(panicked.is_err());
        assert!(!path.exists());
    }

    #[test]
    fn dismissed_guard_leaves_things_alone() {
        let path = std::env::temp_dir().join(format!("offshoot-dismiss-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a new directory");
        Guard::new(Undo::Directory(path.clone())).dismiss();
        assert!(path.exists());
        std::fs::remove_dir(&path).expect("it is empty");
    }
}
