//! Every number the engine counts, with its unit and meaning.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// Counters of one open pool.
        #[derive(Debug, Default)]
        pub struct Metrics { $($(#[doc = $doc])+ pub $name: Counter,)+ }

        impl Metrics {
            /// Name, meaning and value of each counter, in a stable order.
            pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+), self.$name.get()),)+]
            }
        }
    };
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `amount`.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

metrics! {
    /// Operations that changed the pool.
    mutations,
    /// Clones of files, directories and ranges.
    clones,
    /// Bytes that callers wrote.
    written_bytes,
    /// Bytes that callers read.
    read_bytes,
    /// Syncs that callers asked for.
    syncs,
    /// Batches that the log wrote.
    log_batches,
    /// Bytes that the log wrote.
    log_bytes,
    /// Checkpoints made.
    checkpoints,
    /// Nodes written to segments.
    nodes_stored,
    /// Frames written to segments.
    frames_stored,
    /// Bytes of segments written.
    segment_bytes,
    /// Reads of segments, each one call to the store.
    fetches,
    /// Nodes and frames read from segments.
    items_fetched,
    /// Nodes and frames read from the disk cache.
    disk_cache_hits,
    /// Nodes and frames that the disk cache was asked for and did not have.
    disk_cache_misses,
    /// Nodes and frames that were found damaged or missing.
    items_unreadable,
    /// Bytes read from segments.
    fetched_bytes,
    /// Nodes and frames that were freed.
    items_freed,
    /// Segments rewritten by the garbage collector.
    segments_compacted,
    /// Segments deleted.
    segments_deleted,
    /// Windows of files that were put together into one frame.
    windows_rewritten,
    /// Bytes of these windows.
    rewritten_bytes,
    /// Windows that were written to while they were being put together; nothing was done then.
    rewrites_outrun,
    /// Times that a writer had to wait for memory.
    memory_waits,
    /// Times that a writer was slowed down, so that memory lasts until a checkpoint ends.
    memory_delays,
}
