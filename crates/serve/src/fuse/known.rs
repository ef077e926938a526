//! What the kernel knows: how often each number was handed to it and not yet forgotten.
//!
//! The pool counts the same for all its clients together. This count is needed at the end of a mount, when the kernel forgets
//! everything without saying so.

use std::sync::atomic::{AtomicUsize, Ordering};

use offshoot_engine::Ino;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// One inode that the kernel knows.
struct One {
    times: u64,
    is_directory: bool,
}

#[derive(Default)]
pub(super) struct Known {
    shards: [Mutex<FxHashMap<Ino, One>>; Known::SHARDS],
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

    /// What is known in one part and is no directory.
    pub(super) fn files_of_shard(&self, shard: usize) -> Vec<Ino> {
        let shard = self.shards[shard].lock();
        shard.iter().filter(|(_, one)| !one.is_directory).map(|(ino, _)| *ino).collect()
    }

    /// Counts one more answer that carried `ino`.
    pub(super) fn remember(&self, ino: Ino, is_directory: bool) {
        let mut shard = self.shard(ino).lock();
        let one = shard.entry(ino).or_insert(One { times: 0, is_directory });
        one.times += 1;
        if one.times == 1 {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes `count` off; returns how many of them there were.
    pub(super) fn forget(&self, ino: Ino, count: u64) -> u64 {
        let mut shard = self.shard(ino).lock();
        let Some(known) = shard.get_mut(&ino) else { return 0 };
        let taken = count.min(known.times);
        known.times -= taken;
        if known.times == 0 {
            shard.remove(&ino);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        taken
    }

    /// Takes everything out.
    pub(super) fn drain(&self) -> Vec<(Ino, u64)> {
        let shards = self.shards.iter().flat_map(|shard| std::mem::take(&mut *shard.lock()));
        let all: Vec<_> = shards.map(|(ino, one)| (ino, one.times)).collect();
        self.count.fetch_sub(all.len(), Ordering::Relaxed);
        all
    }

    fn shard(&self, ino: Ino) -> &Mutex<FxHashMap<Ino, One>> {
        &self.shards[ino.0 as usize % Self::SHARDS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_forgotten_than_was_known() {
        let known = Known::default();
        known.remember(Ino(5), false);
        known.remember(Ino(5), false);
        known.remember(Ino(6), true);
        assert_eq!(
            (0..Known::SHARDS).flat_map(|shard| known.files_of_shard(shard)).collect::<Vec<_>>(),
            [Ino(5)]
        );
        assert_eq!(known.forget(Ino(5), 1), 1);
        assert_eq!(known.forget(Ino(5), 7), 1);
        assert_eq!(known.forget(Ino(5), 1), 0);
        assert_eq!(known.len(), 1);
        assert_eq!(known.drain(), [(Ino(6), 1)]);
        assert_eq!(known.len(), 0);
    }
}
