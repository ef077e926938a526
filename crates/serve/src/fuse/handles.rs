//! Open handles by the number that the kernel knows them by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use offshoot_engine::Ino;
use offshoot_vfs::{Access, Handle};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};

const SHARDS: usize = 16;

/// All open files of one mount.
#[derive(Default)]
pub(super) struct Handles {
    next: AtomicU64,
    shards: [Mutex<FxHashMap<u64, Arc<Handle>>>; SHARDS],
}

impl Handles {
    pub(super) fn insert(&self, handle: Handle) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(number).lock().insert(number, Arc::new(handle));
        number
    }

    pub(super) fn get(&self, number: u64) -> Option<Arc<Handle>> {
        self.shard(number).lock().get(&number).cloned()
    }

    pub(super) fn remove(&self, number: u64) -> Option<Arc<Handle>> {
        self.shard(number).lock().remove(&number)
    }

    /// Files that may have shared writable mappings: those that are open for both reading and writing.
    pub(super) fn mappable(&self) -> Vec<Ino> {
        let mut found = FxHashSet::default();
        for shard in &self.shards {
            let shard = shard.lock();
            let both = shard.values().filter(|handle| handle.access().contains(Access::READ | Access::WRITE));
            found.extend(both.map(|handle| handle.ino()));
        }
        found.into_iter().collect()
    }

    /// Takes everything out, at the end of the mount.
    pub(super) fn drain(&self) -> Vec<Arc<Handle>> {
        self.shards.iter().flat_map(|shard| std::mem::take(&mut *shard.lock()).into_values()).collect()
    }

    fn shard(&self, number: u64) -> &Mutex<FxHashMap<u64, Arc<Handle>>> {
        &self.shards[number as usize % SHARDS]
    }
}
