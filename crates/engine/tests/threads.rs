//! Several threads on one pool. A binary of its own, because it is built in two more ways: with ThreadSanitizer (`cargo xtask races`)
//! and for a scheduler that chooses who goes next (`cargo xtask schedules`).
//!
//! The latter gives `--cfg shuttle`: every lock and atomic is a point at which another thread may go on. The clock of its scenarios
//! stands still, so that the background works when it is told to and not before: a wake-up that is lost leaves everybody waiting,
//! which the scheduler reports as a deadlock. A failure prints the seed that repeats its schedule.

#![allow(unreachable_pub, reason = "one binary of several modules")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(shuttle)]
#[path = "threads/explore.rs"]
mod explore;
#[cfg(shuttle)]
#[path = "threads/log.rs"]
mod log;
#[cfg(shuttle)]
#[path = "threads/memory.rs"]
mod memory;
#[cfg(shuttle)]
#[path = "threads/names.rs"]
mod names;
#[cfg(shuttle)]
#[path = "threads/room.rs"]
mod room;
#[cfg(not(shuttle))]
#[path = "threads/running.rs"]
mod running;
#[cfg(shuttle)]
#[path = "threads/standing.rs"]
mod standing;

use offshoot_engine::{Kind, NewInode};

/// An inode of root.
fn new(kind: Kind) -> NewInode {
    let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
    NewInode { kind, mode, uid: 0, gid: 0, rdev: 0, target: Default::default(), xattrs: Vec::new() }
}

/// A seed that differs from run to run.
fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_micros() as u64
}
