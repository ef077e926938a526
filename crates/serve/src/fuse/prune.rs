//! [`Pruner`]: keeps how many inodes the kernel knows within a bound.
//!
//! The kernel remembers every inode that it has seen until it needs the memory itself, and for each of them the pool remembers where
//! it lies. Beyond the bound the kernel is asked to forget; it keeps what somebody uses, so the bound can be exceeded by that. Linux
//! before 6.18 cannot be asked for inodes: there it is told that names have changed, and forgets what it had found under them. That
//! is done to files only, and only while they are not open, since it would take the name of a process's directory away; what has
//! several names stays known there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use offshoot_vfs::Vfs;
use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

use super::device::Notifier;
use super::known::Known;
use super::node;

/// How often it is looked whether too many are known.
const INTERVAL: Duration = Duration::from_millis(500);
/// How long the kernel may take to forget what it was just asked to.
const SETTLE: Duration = Duration::from_millis(5);
/// Nodes that one notification names.
const NODES_MAX: usize = 1024;

/// The bound of one mount.
pub(super) struct Pruner {
    known: Arc<Known>,
    known_max: usize,
    vfs: Vfs,
    by_name: AtomicBool,
    ended: Mutex<bool>,
    end: Condvar,
}

impl Pruner {
    /// With `by_name` as for a kernel that cannot be asked for inodes.
    pub(super) fn new(known: Arc<Known>, known_max: usize, vfs: Vfs, by_name: bool) -> Arc<Pruner> {
        let by_name = AtomicBool::new(by_name);
        Arc::new(Pruner { known, known_max, vfs, by_name, ended: Mutex::new(false), end: Condvar::new() })
    }

    /// Asks the kernel to forget whenever too many are known, until [`Pruner::end`]; the body of a thread.
    pub(super) fn run(&self, notifier: &Notifier) {
        while !self.is_ended_after(INTERVAL) {
            if self.known.len() <= self.known_max {
                continue;
            }
            let pruned = match self.by_name.load(Ordering::Relaxed) {
                true => self.prune_names(notifier),
                false => self.prune(notifier),
            };
            match pruned {
                Ok(()) => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                    tracing::debug!(
                        "this kernel cannot be asked to forget inodes; it is asked to forget names"
                    );
                    self.by_name.store(true, Ordering::Relaxed);
                }
                Err(error) => tracing::debug!(%error, "the kernel was not asked to forget inodes"),
            }
        }
    }

    /// Goes through all that is known, once at most, until a quarter less than the bound is left.
    fn prune(&self, notifier: &Notifier) -> std::io::Result<()> {
        for shard in 0..Known::SHARDS {
            let nodes: Vec<u64> = self.known.of_shard(shard).into_iter().map(node::of).collect();
            for nodes in nodes.chunks(NODES_MAX) {
                notifier.prune(nodes)?;
                if self.is_enough() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The same for the names of files that nobody has open.
    fn prune_names(&self, notifier: &Notifier) -> std::io::Result<()> {
        for shard in 0..Known::SHARDS {
            for inos in self.known.files_of_shard(shard).chunks(NODES_MAX) {
                for (parent, name) in inos.iter().filter_map(|ino| self.vfs.pool().idle_name(*ino)) {
                    match notifier.invalidate_entry(node::of(parent), &name) {
                        // Something is mounted on it, or it changes at this moment: it is in use.
                        Err(error) if Errno::from_io_error(&error) != Some(Errno::NODEV) => {
                            tracing::trace!(%error, "the kernel keeps a name");
                        }
                        told => told?,
                    }
                }
                if self.is_enough() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Lets the kernel forget what it was asked to; whether that is enough.
    fn is_enough(&self) -> bool {
        self.is_ended_after(SETTLE) || self.known.len() <= self.known_max / 4 * 3
    }

    /// Ends [`Pruner::run`].
    pub(super) fn end(&self) {
        *self.ended.lock() = true;
        self.end.notify_all();
    }

    fn is_ended_after(&self, pause: Duration) -> bool {
        let mut ended = self.ended.lock();
        if !*ended {
            self.end.wait_for(&mut ended, pause);
        }
        *ended
    }
}
