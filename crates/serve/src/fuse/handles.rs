//! Open handles by the number that the kernel knows them by, and who caches the listing of a directory.

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

/// Directories that are open so that the kernel caches what it reads of them, each once.
///
/// Two that begin to list a directory while nothing of it is cached share the cache that they fill, and the kernel stamps it with the
/// version that the second one has seen. Was the directory changed in between, the first one's answer is older than the stamp: a listing
/// without the change that is taken for new until the next one. Those who come while another one has the cache are therefore
/// answered without it.
#[derive(Default)]
pub(super) struct CachedListings {
    open: Mutex<FxHashSet<Ino>>,
}

impl CachedListings {
    /// True if the directory was not open in this way, and now is.
    pub(super) fn begin(&self, ino: Ino) -> bool {
        self.open.lock().insert(ino)
    }

    pub(super) fn end(&self, ino: Ino) {
        self.open.lock().remove(&ino);
    }
}
