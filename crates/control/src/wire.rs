//! Version 1 of the API: every request and answer, as JSON.
//!
//! These are the words of a public interface: fields may be added, none may change its name, unit or meaning. Unknown
//! fields of a request are refused, unknown fields of an answer ignored. Numbers are exact integers, times RFC 3339 in
//! UTC, paths [`PathText`]. Domain types are converted by hand.

mod convert;
mod keys;
mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::ProblemDocument;
pub use keys::{KeyAction, KeyList, KeyRequest, KeySlotBody, SecretText};
pub use text::{PathText, Time};

fn yes() -> bool {
    true
}

/// Make a clone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloneRequest {
    /// Path of a file or directory.
    pub source: PathText,
    /// Path of the clone.
    pub destination: PathText,
    /// The clone refuses every change.
    #[serde(default)]
    pub read_only: bool,
    /// Make missing directories above the destination.
    #[serde(default)]
    pub parents: bool,
    /// Replace what is at the destination, atomically.
    #[serde(default)]
    pub replace: bool,
    /// Answer when the clone survives a power cut.
    #[serde(default = "yes")]
    pub sync: bool,
}

/// Make a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotRequest {
    /// Path of a file or directory.
    pub path: PathText,
    /// Name of the snapshot; without one it is made of the path and the time.
    #[serde(default)]
    pub name: Option<PathText>,
    /// Answer when the snapshot survives a power cut.
    #[serde(default = "yes")]
    pub sync: bool,
}

/// A snapshot: a read-only clone in `/snapshots`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// Its name.
    pub name: PathText,
    /// Where it is.
    pub path: PathText,
    /// What it was taken of; absent if it is a read-only clone of unknown origin.
    pub source: Option<PathText>,
    /// When it was taken.
    pub created: Time,
    /// `file`, `directory`, ...
    pub kind: FileKind,
    /// Files in it.
    pub files: u64,
    /// Directories in it.
    pub directories: u64,
    /// Bytes of content in it, before compression.
    pub logical_bytes: u64,
}

/// Snapshots, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotList {
    /// The snapshots.
    pub snapshots: Vec<Snapshot>,
}

/// How many snapshots of each period to keep: the newest of each of the last so many periods that have any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Keep {
    /// The newest, whatever their age.
    pub last: u64,
    /// Hours.
    pub hourly: u64,
    /// Days.
    pub daily: u64,
    /// ISO weeks.
    pub weekly: u64,
    /// Months.
    pub monthly: u64,
    /// Years.
    pub yearly: u64,
}

/// Delete the snapshots of a path that no rule keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneRequest {
    /// What the snapshots were taken of.
    pub path: PathText,
    /// The rules; at least one.
    pub keep: Keep,
    /// Only tell what would be deleted.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a prune did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pruned {
    /// Kept snapshots with the rules that keep them, newest first.
    pub kept: Vec<Kept>,
    /// Deleted snapshots, newest first.
    pub deleted: Vec<Snapshot>,
    /// Nothing was deleted, this is what would have been.
    pub dry_run: bool,
}

/// A kept snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// `last`, `hourly`, `daily`, `weekly`, `monthly`, `yearly`.
    pub reasons: Vec<String>,
}

/// Clone something out of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// Name of the snapshot.
    pub snapshot: PathText,
    /// What to restore: an absolute path as it was when the snapshot was taken, or a path relative to
    /// the snapshot's root. Without it, all of the snapshot.
    #[serde(default)]
    pub source: Option<PathText>,
    /// Where to.
    pub destination: PathText,
    /// Make missing directories above the destination.
    #[serde(default)]
    pub parents: bool,
    /// Replace what is at the destination, atomically.
    #[serde(default)]
    pub replace: bool,
    /// Answer when the restored clone survives a power cut.
    #[serde(default = "yes")]
    pub sync: bool,
}

/// A clone that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cloned {
    /// What was cloned.
    pub source: PathText,
    /// Where the clone is.
    pub destination: PathText,
    /// The clone.
    pub attributes: AttributesBody,
}

/// Things that were removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// Their paths.
    pub paths: Vec<PathText>,
}

/// Type of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Character device.
    CharDevice,
    /// Block device.
    BlockDevice,
}

/// What `stat` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttributesBody {
    /// Inode number, unique in the pool.
    pub ino: u64,
    /// Type.
    pub kind: FileKind,
    /// Permission bits as a number, 0 to 4095.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Names.
    pub nlink: u32,
    /// Size; of a directory the number of its entries.
    pub size_bytes: u64,
    /// Bytes that are not holes.
    pub allocated_bytes: u64,
    /// Device number.
    pub rdev: u32,
    /// Last access.
    pub atime: Time,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Creation.
    pub btime: Time,
    /// It lies in a read-only clone.
    pub read_only: bool,
    /// It is the root of a clone.
    pub clone_root: bool,
    /// It has extended attributes.
    pub has_xattrs: bool,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its name.
    pub name: PathText,
    /// Target of a symbolic link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<PathText>,
    /// The rest.
    #[serde(flatten)]
    pub attributes: AttributesBody,
}

/// A page of a directory, or the one entry that a path names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EntryList {
    /// The path that was asked for.
    pub path: PathText,
    /// The entries in the order of the directory.
    pub entries: Vec<Entry>,
    /// Ask again with `after` set to this for the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// Ranges of a file that hold data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExtentList {
    /// Size of the file.
    pub size_bytes: u64,
    /// Offset and length of each range, ascending.
    pub extents: Vec<Extent>,
    /// Ask again with `after` set to this for the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A range with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Extent {
    /// Where it starts.
    pub offset_bytes: u64,
    /// How long it is.
    pub length_bytes: u64,
}

/// Extended attributes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct XattrList {
    /// The attributes.
    pub xattrs: Vec<Xattr>,
}

/// One extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Xattr {
    /// Its name.
    pub name: PathText,
    /// Its value.
    pub value: PathText,
}

/// What is known of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InfoBody {
    /// The path.
    pub path: PathText,
    /// As `stat` shows it.
    pub attributes: AttributesBody,
    /// Where it was cloned from.
    pub origin: Option<OriginBody>,
    /// Where that was cloned from, and so on, as far as it still exists.
    pub lineage: Vec<OriginBody>,
    /// Files below.
    pub files: u64,
    /// Directories below, itself included.
    pub directories: u64,
    /// Bytes of content below, before compression.
    pub logical_bytes: u64,
    /// Space in the store, if asked for.
    pub usage: Option<UsageBody>,
}

/// Where a clone came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OriginBody {
    /// Inode number of the source.
    pub ino: u64,
    /// Path of the source at that time.
    pub path: PathText,
    /// When.
    pub time: Time,
}

/// Space of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageBody {
    /// Files of all kinds but directories.
    pub files: u64,
    /// Directories, its own root included.
    pub directories: u64,
    /// Bytes as written, clones inside counted in full.
    pub logical_bytes: u64,
    /// Bytes in the store reachable from here, each counted once.
    pub total_bytes: u64,
    /// Of these, what deleting it would free.
    pub exclusive_bytes: u64,
    /// Of these, what something else uses too.
    pub shared_bytes: u64,
}

/// Space of the tree at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PathUsage {
    /// The path.
    pub path: PathText,
    /// Its space.
    #[serde(flatten)]
    pub usage: UsageBody,
}

/// How an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Only in the second.
    Added,
    /// Only in the first.
    Removed,
    /// In both, and different.
    Modified,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DifferenceBody {
    /// Path relative to what was compared; empty is the root itself.
    pub path: PathText,
    /// What happened.
    pub change: ChangeKind,
    /// Attributes in the first.
    pub before: Option<AttributesBody>,
    /// Attributes in the second.
    pub after: Option<AttributesBody>,
}

/// One line of the answer to a diff.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiffLine {
    /// A difference.
    Difference(Box<DifferenceBody>),
    /// The last line: all differences were told.
    End {
        /// How many.
        differences: u64,
    },
    /// The last line: it failed.
    Problem(ProblemDocument),
}

/// Kind of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Mark everything and compare with all counts.
    Check,
    /// Read and verify every byte.
    Scrub,
    /// Make a damaged pool sound.
    Repair,
    /// Free and compact now.
    Gc,
    /// Space of a tree.
    Usage,
    /// Compare two trees.
    Diff,
}

/// Start a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// What to do: `check`, `scrub`, `repair`, `gc` or `usage`.
    pub kind: JobKind,
    /// What of, for `usage`.
    #[serde(default)]
    pub path: Option<PathText>,
    /// For `repair`: say what it would do, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// State of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// At work.
    Running,
    /// Ended well; there is a result.
    Done,
    /// Ended with a problem.
    Failed,
    /// Someone cancelled it.
    Cancelled,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its id, unique as long as the server runs.
    pub id: u64,
    /// What it does.
    pub kind: JobKind,
    /// What it works on, in words.
    pub subject: String,
    /// Where it stands.
    pub state: JobState,
    /// When it began.
    pub started: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// How far it is.
    pub progress: Progress,
    /// What came out.
    pub result: Option<JobResult>,
    /// Why it failed.
    pub problem: Option<ProblemDocument>,
}

/// How far a job is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// How much is done.
    pub done: u64,
    /// Of how much, if that is known.
    pub total: Option<u64>,
    /// Of what: `bytes_read`, `differences`.
    pub unit: String,
}

/// What came out of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobResult {
    /// Of a check or scrub.
    Report(CheckBody),
    /// Of a repair.
    Repair(RepairBody),
    /// Of a collection.
    Gc(GcBody),
    /// Of a usage.
    Usage(PathUsage),
    /// Of a diff: how many differences were told.
    Diff {
        /// How many.
        differences: u64,
    },
}

/// All jobs that are remembered, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JobList {
    /// The jobs.
    pub jobs: Vec<Job>,
}

/// What a check or scrub saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckBody {
    /// Nothing is wrong.
    pub sound: bool,
    /// Nodes read.
    pub nodes: u64,
    /// Frames seen or read.
    pub frames: u64,
    /// Segments seen.
    pub segments: u64,
    /// Inodes seen by a check. A scrub looks at what is stored and counts none of its own.
    pub inodes: u64,
    /// Stored bytes verified.
    pub verified_bytes: u64,
    /// Bytes of files that an earlier repair has marked as lost, as a check counts them; shared ones count once.
    pub lost_bytes: u64,
    /// What is wrong, the first 10,000 of it.
    pub findings: Vec<FindingBody>,
    /// How much is wrong, also what is not listed.
    pub findings_total: u64,
}

/// What a repair did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RepairBody {
    /// Nothing was wrong, and nothing was changed.
    pub sound: bool,
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
    /// What was wrong. What names a path cannot be read any more; the bytes are told where they are known.
    pub before: CheckBody,
    /// What was done, the first 10,000 of it. What names a path was found again, and is there now.
    pub changes: Vec<FindingBody>,
    /// How much was done, also what is not listed.
    pub changes_total: u64,
    /// Names that were made in `/lost+found`.
    pub found: u64,
    /// Stored items that nothing led to, and that are free now.
    pub items_freed: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// What a check finds after it; empty unless something cannot be repaired.
    pub remaining: Vec<FindingBody>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingBody {
    /// Where it matters.
    pub path: Option<PathText>,
    /// Bytes of the file that cannot be read, ascending; the first 64 ranges.
    pub ranges: Vec<RangeBody>,
    /// What it is.
    pub message: String,
}

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RangeBody {
    /// The first byte.
    pub start: u64,
    /// The byte behind the last.
    pub end: u64,
}

/// What a collection did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GcBody {
    /// Nodes and frames freed.
    pub items_freed: u64,
    /// Segments rewritten.
    pub segments_compacted: u64,
    /// Segments deleted.
    pub segments_deleted: u64,
    /// Bytes of the store that came back.
    pub freed_bytes: u64,
    /// Windows of 128 KiB of fragmented files that were put together.
    pub windows_rewritten: u64,
    /// Bytes of these windows.
    pub rewritten_bytes: u64,
}

/// The state of a server and its pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusBody {
    /// The server.
    pub server: ServerBody,
    /// The pool.
    pub pool: PoolBody,
    /// Mounts that the server holds.
    pub mounts: Vec<MountBody>,
    /// Jobs at work.
    pub jobs_running: u64,
    /// Counters of the engine and of its store since it was opened.
    pub counters: BTreeMap<String, u64>,
}

/// The server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerBody {
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// When it started.
    pub started: Time,
    /// What its mounts show as their source.
    pub source: String,
    /// The store, as in the settings.
    pub storage_url: String,
}

/// The pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolBody {
    /// Identity, 32 hexadecimal digits.
    pub id: String,
    /// Version of the stored format.
    pub format_version: u32,
    /// What is stored is encrypted.
    pub encrypted: bool,
    /// Epoch of the writer.
    pub writer_epoch: u64,
    /// Number of the newest manifest.
    pub manifest: u64,
    /// Files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Clones of directories.
    pub clones: u64,
    /// Bytes in files, clones counted in full.
    pub logical_bytes: u64,
    /// Live bytes in the store.
    pub live_bytes: u64,
    /// All bytes of segments in the store.
    pub stored_bytes: u64,
    /// Segments in the store.
    pub segments: u64,
    /// Removed things that wait to be freed.
    pub garbage_queue: u64,
    /// Parts of files that were noted as fragmented and wait to be looked at.
    pub defragment_queue: u64,
    /// Bytes written that are in no segment yet.
    pub dirty_bytes: u64,
    /// Bytes acknowledged that are not durable yet.
    pub unsynced_bytes: u64,
    /// Operations acknowledged that are not durable yet.
    pub unsynced_operations: u64,
    /// How long ago the first of them was done, in milliseconds; 0 if all are durable.
    pub unsynced_age_ms: u64,
    /// What a sync makes durable: `local` on a disk of the server's machine, `store` in the store of the pool.
    pub durability: String,
    /// Bytes of log since the last checkpoint.
    pub log_bytes: u64,
    /// Inodes that clients know and have not given back.
    pub known_inodes: u64,
    /// Bytes in memory.
    pub memory_bytes: u64,
    /// Their bound.
    pub memory_bytes_max: u64,
    /// Bytes of the cache on a disk of the server's machine.
    pub disk_cache_bytes: u64,
    /// Their bound; 0 if there is no such cache.
    pub disk_cache_bytes_max: u64,
    /// Stored nodes and frames that were read from it since the start.
    pub disk_cache_hits: u64,
    /// Stored nodes and frames that were looked for in it and not found.
    pub disk_cache_misses: u64,
    /// Free bytes.
    pub free_bytes: u64,
    /// All bytes.
    pub total_bytes: u64,
    /// Last checkpoint.
    pub last_checkpoint: Time,
    /// Stored nodes and frames that were found damaged or missing since the start.
    pub unreadable_items: u64,
    /// Nodes that could not be read when they were to be freed; what they led to is kept for ever.
    pub abandoned_nodes: u64,
    /// Counts of references are lost: what they were of is never freed.
    pub counts_lost: bool,
    /// Why the log or a checkpoint could not be written the last time, if it is being tried again.
    pub failing: Option<String>,
    /// What was given up to open the pool, if anything was.
    pub accepted_loss: Option<String>,
    /// Why the pool accepts no changes, if it does not.
    pub stopped: Option<String>,
}

/// Mount the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountRequest {
    /// An absolute path of the server's machine.
    pub mount_point: PathText,
    /// Refuse changes through this mount.
    #[serde(default)]
    pub read_only: bool,
    /// Let other users in; without it the server's setting decides.
    #[serde(default)]
    pub allow_other: Option<bool>,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MountBody {
    /// Where it is.
    pub mount_point: PathText,
    /// `fuse`.
    pub protocol: String,
    /// It refuses changes.
    pub read_only: bool,
    /// A mount of a server that had died was cleared away first.
    pub cleared_dead: bool,
}

/// All mounts of the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MountList {
    /// The mounts.
    pub mounts: Vec<MountBody>,
}

/// Nothing more to say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nothing {}
