//! What the engine reports about a pool: plain data for status, usage, diff, check and scrub.

use std::ops::Range;
use std::time::Duration;

use crate::{Attributes, Ino, Timestamp};

/// The state of an open pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Identity of the pool, 128 random bits as 32 hexadecimal digits.
    pub pool_id: String,
    /// Version of the stored format.
    pub format_version: u32,
    /// Whether what is stored is encrypted.
    pub encrypted: bool,
    /// Epoch of this writer; grows by one with every open for writing.
    pub writer_epoch: u64,
    /// Number of the newest manifest.
    pub manifest: u64,
    /// Files of all kinds but directories.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Bytes that files hold, clones counted in full.
    pub logical_bytes: u64,
    /// Bytes of live frames and nodes in the store.
    pub live_bytes: u64,
    /// Bytes of all segments in the store.
    pub stored_bytes: u64,
    /// Segments in the store.
    pub segments: u64,
    /// Clones of directories that exist (realms).
    pub realms: u64,
    /// Realm ids in use: clones of directories, aliases, and removed ones that something still shows.
    pub realm_ids: u64,
    /// Realm ids that there are.
    pub realm_ids_max: u64,
    /// Removed trees and replaced nodes that still wait to be freed.
    pub garbage_queue: u64,
    /// Parts of files that were noted as fragmented and wait to be looked at.
    pub defragment_queue: u64,
    /// Stored nodes and frames that were found damaged or missing since the pool was opened.
    pub unreadable_items: u64,
    /// Nodes that could not be read when they were to be freed, over the life of the pool. What they led to is kept for ever.
    pub abandoned_nodes: u64,
    /// Counts of references are lost: what they were of is never freed.
    pub counts_lost: bool,
    /// Why the log or a checkpoint could not be written the last time, if it is being tried again.
    pub failing: Option<String>,
    /// What was given up to open the pool, if anything was.
    pub accepted_loss: Option<String>,
    /// Bytes written by callers that are not in a segment yet.
    pub dirty_bytes: u64,
    /// Inodes that callers know and have not given back.
    pub known_inodes: u64,
    /// Bytes in memory: caches and dirty data.
    pub memory_bytes: u64,
    /// The bound of `memory_bytes`.
    pub memory_bytes_max: u64,
    /// Bytes of the cache on a disk of this machine.
    pub disk_cache_bytes: u64,
    /// The bound of `disk_cache_bytes`; 0 if there is no such cache.
    pub disk_cache_bytes_max: u64,
    /// Nodes and frames that were read from it since the pool was opened.
    pub disk_cache_hits: u64,
    /// Nodes and frames that were looked for in it and not found.
    pub disk_cache_misses: u64,
    /// Bytes acknowledged but not yet durable.
    pub unsynced_bytes: u64,
    /// Operations acknowledged but not yet durable.
    pub unsynced_operations: u64,
    /// How long ago the first of them was executed; zero if all are durable.
    pub unsynced_age: Duration,
    /// The log is among the objects of the store, and not on a disk of this machine.
    pub log_in_store: bool,
    /// Bytes of log since the last checkpoint.
    pub log_bytes: u64,
    /// Time of the last checkpoint.
    pub last_checkpoint: Timestamp,
    /// Free and total bytes for `statfs`.
    pub total_bytes: u64,
    /// Free bytes for `statfs`.
    pub free_bytes: u64,
    /// Why the pool accepts no changes any more, if so.
    pub stopped: Option<String>,
}

/// Space of a tree or file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Files of all kinds but directories.
    pub files: u64,
    /// Directories, the tree's own root included.
    pub directories: u64,
    /// Content bytes as written, before compression; clones inside counted in full.
    pub logical_bytes: u64,
    /// Bytes in the store that are reachable from here, each stored item counted once.
    pub total_bytes: u64,
    /// Of these, bytes that nothing else refers to: what deleting it would free.
    pub exclusive_bytes: u64,
    /// Of `total_bytes`, bytes shared with something else.
    pub shared_bytes: u64,
}

/// Where a clone came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The inode it was cloned from, by its number then; it may be gone, and another may have the number.
    pub ino: Ino,
    /// Its path at that time.
    pub path: Vec<u8>,
    /// When.
    pub time: Timestamp,
}

/// What is known about one inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// As `stat` shows it.
    pub attributes: Attributes,
    /// Where it was cloned from, if it is a clone.
    pub origin: Option<Origin>,
    /// Files below (1 for a file), kept up to date with every change.
    pub files: u64,
    /// Directories below and including it.
    pub directories: u64,
    /// Content bytes below.
    pub logical_bytes: u64,
}

/// How an entry differs between two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Only in the second.
    Added,
    /// Only in the first.
    Removed,
    /// Content, type, mode, owner or attributes differ.
    Modified,
}

/// One difference. Paths are relative to the compared roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path, components joined by `/`; empty is the root itself.
    pub path: Vec<u8>,
    /// What happened.
    pub change: Change,
    /// Attributes on the first side.
    pub before: Option<Attributes>,
    /// Attributes on the second side.
    pub after: Option<Attributes>,
}

/// A structure that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Path in the pool where it matters, if there is one.
    pub path: Option<Vec<u8>>,
    /// Bytes of the file that cannot be read, ascending; the first 64 ranges.
    pub ranges: Vec<Range<u64>>,
    /// What is wrong, in words.
    pub message: String,
}

/// The result of `check` (structures and counts) or `scrub` (every byte).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Nodes read.
    pub nodes: u64,
    /// Frames seen (check) or read (scrub).
    pub frames: u64,
    /// Segments seen.
    pub segments: u64,
    /// Inodes seen.
    pub inodes: u64,
    /// Stored bytes verified.
    pub bytes: u64,
    /// Bytes of files that were lost, and that a repair has marked so: reading them fails until they are overwritten. Shared ones
    /// count once. Only `check` counts them.
    pub lost_bytes: u64,
    /// What is wrong, the first 10,000 of it; empty is sound.
    pub findings: Vec<Finding>,
    /// How much is wrong, also what is not listed.
    pub findings_total: u64,
}

/// What a repair did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Nothing was wrong, and nothing was changed.
    pub sound: bool,
    /// Nothing was changed because nothing was to be.
    pub dry_run: bool,
    /// What was wrong before: what `check` and `scrub` find. Of what is lost it names the paths, in every clone, and the bytes.
    pub before: CheckReport,
    /// What was done, with the paths of what was found again.
    pub changes: Vec<Finding>,
    /// How much was done, also what is not listed.
    pub changes_total: u64,
    /// Names in `/lost+found` that were made.
    pub found: u64,
    /// Items that were kept and that nothing led to, and that are free now.
    pub items_freed: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// What `check` finds after it; empty unless something cannot be repaired.
    pub remaining: Vec<Finding>,
}

/// What a defragmentation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DefragmentReport {
    /// Extents that were looked at. What is shared is not.
    pub extents: u64,
    /// Windows of 128 KiB that were looked at.
    pub windows: u64,
    /// Of these, windows that were put together into one frame.
    pub windows_rewritten: u64,
    /// Bytes of the windows that were put together.
    pub rewritten_bytes: u64,
    /// Windows that are fragmented and were left alone because of what they share.
    pub windows_shared: u64,
    /// Windows that were written to, or cloned, in the meantime; they were left alone.
    pub windows_changed: u64,
}

/// What a garbage collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Nodes and frames freed.
    pub items_freed: u64,
    /// Segments rewritten.
    pub segments_compacted: u64,
    /// Segments deleted.
    pub segments_deleted: u64,
    /// Bytes of the store that came back.
    pub freed_bytes: u64,
    /// Windows of fragmented files that were put together.
    pub windows_rewritten: u64,
    /// Bytes of these windows.
    pub rewritten_bytes: u64,
}
