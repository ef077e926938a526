//! What the kernel knows: how often each number was handed to it and not yet forgotten.
//!
//! The pool counts the same for all its clients together. This count is needed at the end of a mount, when the kernel forgets
//! everything without saying so.

use std::sync::atomic::{AtomicUsize, Ordering};

use offshoot_engine::Ino;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

#[derive(Default)]
pub(super) struct Known {
    shards: [Mutex<FxHashMap<Ino, u64>>; Known::SHARDS],
    count: AtomicUsize,
}

impl Known {
    /// Parts, each under a lock of its own.
    pub(super) const SHARDS: usize = 16;

    /// How many inodes the kernel knows.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// What is known in one part.
    pub(super) fn of_shard(&self, shard: usize) -> Vec<Ino> {
        self.shards[shard].lock().keys().copied().collect()
    }

    /// Counts one more answer that carried `ino`.
    pub(super) fn remember(&self, ino: Ino) {
        let mut shard = self.shard(ino).lock();
        let times = shard.entry(ino).or_default();
        *times += 1;
        if *times == 1 {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes `count` off; returns how many of them there were.
    pub(super) fn forget(&self, ino: Ino, count: u64) -> u64 {
        let mut shard = self.shard(ino).lock();
        let Some(known) = shard.get_mut(&ino) else { return 0 };
        let taken = count.min(*known);
        *known -= taken;
        if *known == 0 {
            shard.remove(&ino);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// Takes everything out.
    pub(super) fn drain(&self) -> Vec<(Ino, u64)> {
        let all: Vec<_> = self.shards.iter().flat_map(|shard| std::mem::take(&mut *shard.lock())).collect();
        self.count.fetch_sub(all.len(), Ordering::Relaxed);
        all
    }

    fn shard(&self, ino: Ino) -> &Mutex<FxHashMap<Ino, u64>> {
        &self.shards[ino.0 as usize % Self::SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_forgotten_than_was_known() {
        let known = Known::default();
        known.remember(Ino(5));
        known.remember(Ino(5));
        known.remember(Ino(6));
        assert_eq!(known.forget(Ino(5), 1), 1);
        assert_eq!(known.forget(Ino(5), 7), 1);
        assert_eq!(known.forget(Ino(5), 1), 0);
        assert_eq!(known.len(), 1);
        assert_eq!(known.drain(), [(Ino(6), 1)]);
        assert_eq!(known.len(), 0);
    }
}
