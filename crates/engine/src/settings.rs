//! What can be set about an open pool: plain data.

use std::time::Duration;

use crate::encryption::Encryption;

/// How frames and nodes are compressed. Data that does not shrink is stored raw whatever is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Stored as it is.
    None,
    /// LZ4 block format, the default.
    Lz4,
    /// Zstandard at a level from 1 to 19.
    Zstd(i32),
}

/// The settings of one open pool.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Compression of new frames and nodes.
    pub compression: Compression,
    /// Bound of everything the engine keeps in memory: caches and data not yet stored, in bytes.
    pub memory_bytes: u64,
    /// What is acknowledged but not synced is written to the log after this time at the latest.
    pub flush_interval: Duration,
    /// A checkpoint is made after this time if anything changed.
    pub checkpoint_interval: Duration,
    /// A checkpoint is made when the log since the last one has grown to this, in bytes.
    pub checkpoint_log_bytes: u64,
    /// Largest segment, in bytes.
    pub segment_bytes: u64,
    /// Writes that would leave the store with less free space than this fail with `NoSpace`.
    pub reserve_bytes: u64,
    /// Largest size that the pool may take in its store; `None` is as much as the store has.
    pub capacity_bytes: Option<u64>,
    /// Where items of a remote store are kept on this machine; `None` is nowhere. A local store has no use for it.
    pub disk_cache: Option<crate::DiskCacheSettings>,
    /// Files in many pieces are put together in the background and by a collection.
    pub defragment: bool,
    /// Open a pool whose log or newest manifest is damaged, in the state that can still be read. What was synced after that state
    /// is lost. Off, such a pool is refused.
    pub accept_loss: bool,
    /// What opens the pool if it is encrypted. A new pool is encrypted if there is this.
    pub encryption: Option<Encryption>,
    /// Random numbers from which a new pool gets its id and the key that hashes names.
    pub identity: [u64; 4],
    /// Bits of name hashes that a new pool uses. All, but in tests that want collisions.
    #[doc(hidden)]
    pub name_hash_mask: u64,
    /// Garbage nodes that one checkpoint takes apart, beside those that it replaced itself. Many, but in tests that want some left.
    #[doc(hidden)]
    pub garbage_nodes: usize,
    /// Realm ids that are given out, 0 included. All, but in tests that want to run out of them.
    #[doc(hidden)]
    pub realm_ids: u32,
    /// The version of the stored format that is written, and the newest that is read. This program's own, but in tests that
    /// play a later one.
    #[doc(hidden)]
    pub format_version: u32,
}

/// Random numbers from the system.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    // Each of these is seeded anew from the system's randomness.
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            compression: Compression::Lz4,
            memory_bytes: 1 << 30,
            flush_interval: Duration::from_secs(1),
            checkpoint_interval: Duration::from_secs(30),
            checkpoint_log_bytes: 256 << 20,
            segment_bytes: 64 << 20,
            reserve_bytes: 64 << 20,
            capacity_bytes: None,
            disk_cache: None,
            defragment: true,
            accept_loss: false,
            encryption: None,
            identity: std::array::from_fn(|_| random()),
            name_hash_mask: u64::MAX,
            garbage_nodes: 20_000,
            realm_ids: crate::namespace::REALM_IDS,
            format_version: crate::format::VERSION,
        }
    }
}
