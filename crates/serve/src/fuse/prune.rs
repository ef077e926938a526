//! [`Pruner`]: keeps how many inodes the kernel knows within a bound.
//!
//! The kernel remembers every inode that it has seen until it needs the memory itself, and for each of them the pool remembers where
//! it lies. Beyond the bound the kernel is asked to forget; it keeps what somebody uses, so the bound can be exceeded by that. Linux
//! before 6.18 cannot be asked, and then nothing is bounded here.

use std::sync::Arc;
use std::time::Duration;

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
    ended: Mutex<bool>,
    end: Condvar,
}

impl Pruner {
    pub(super) fn new(known: Arc<Known>, known_max: usize) -> Arc<Pruner> {
        Arc::new(Pruner { known, known_max, ended: Mutex::new(false), end: Condvar::new() })
    }

    /// Asks the kernel to forget whenever too many are known, until [`Pruner::end`]; the body of a thread.
    pub(super) fn run(&self, notifier: &Notifier) {
        while !self.is_ended_after(INTERVAL) {
            if self.known.len() <= self.known_max {
                continue;
            }
            match self.prune(notifier) {
                Ok(()) => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                    tracing::info!(
                        "this kernel cannot be asked to forget inodes; what it knows is not bounded"
                    );
                    return;
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
                if self.is_ended_after(SETTLE) || self.known.len() <= self.known_max / 4 * 3 {
                    return Ok(());
                }
            }
        }
        Ok(())
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
