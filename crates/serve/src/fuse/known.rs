//! What the kernel knows: how often each number was handed to it and not yet forgotten.
//!
//! The pool counts the same for all its clients together. This count is needed at the end of a mount, when the kernel forgets
//! everything without saying so.

use offshoot_engine::Ino;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

const SHARDS: usize = 16;

#[derive(Default)]
pub(super) struct Known {
    shards: [Mutex<FxHashMap<Ino, u64>>; SHARDS],
}

impl Known {
    /// Counts one more answer that carried `ino`.
    pub(super) fn remember(&self, ino: Ino) {
        *self.shard(ino).lock().entry(ino).or_default() += 1;
    }

    /// Takes `count` off; returns how many of them there were.
    pub(super) fn forget(&self, ino: Ino, count: u64) -> u64 {
        let mut shard = self.shard(ino).lock();
        let Some(known) = shard.get_mut(&ino) else { return 0 };
        let taken = count.min(*known);
        *known -= taken;
        if *known == 0 {
            shard.remove(&ino);
        }
        taken
    }

    /// Takes everything out.
    pub(super) fn drain(&self) -> Vec<(Ino, u64)> {
        self.shards.iter().flat_map(|shard| std::mem::take(&mut *shard.lock())).collect()
    }

    fn shard(&self, ino: Ino) -> &Mutex<FxHashMap<Ino, u64>> {
        &self.shards[ino.0 as usize % SHARDS]
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
        assert_eq!(known.drain(), [(Ino(6), 1)]);
    }
}
