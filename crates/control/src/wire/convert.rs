//! From the engine's types to those of the wire, by hand and field by field: a new field has to be decided on here.

use offshoot_engine::report::{
    Change, CheckReport, Finding, GcReport, Info, Origin, RepairReport, Status, Usage,
};
use offshoot_engine::{Attributes, Kind};

use super::{
    AttributesBody, ChangeKind, CheckBody, FileKind, FindingBody, GcBody, InfoBody, OriginBody, PathText,
    PoolBody, RangeBody, RepairBody, UsageBody,
};

impl From<Kind> for FileKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::File => Self::File,
            Kind::Directory => Self::Directory,
            Kind::Symlink => Self::Symlink,
            Kind::Fifo => Self::Fifo,
            Kind::Socket => Self::Socket,
            Kind::CharDevice => Self::CharDevice,
            Kind::BlockDevice => Self::BlockDevice,
        }
    }
}

impl From<&Attributes> for AttributesBody {
    fn from(from: &Attributes) -> Self {
        Self {
            ino: from.ino.0,
            kind: from.kind.into(),
            mode: from.mode,
            uid: from.uid,
            gid: from.gid,
            nlink: from.nlink,
            size_bytes: from.size,
            allocated_bytes: from.allocated,
            rdev: from.rdev,
            atime: from.atime.into(),
            mtime: from.mtime.into(),
            ctime: from.ctime.into(),
            btime: from.btime.into(),
            read_only: from.read_only,
            clone_root: from.clone_root,
            has_xattrs: from.has_xattrs,
        }
    }
}

impl From<&Origin> for OriginBody {
    fn from(from: &Origin) -> Self {
        Self { ino: from.ino.0, path: from.path.clone().into(), time: from.time.into() }
    }
}

impl From<Usage> for UsageBody {
    fn from(from: Usage) -> Self {
        Self {
            files: from.files,
            directories: from.directories,
            logical_bytes: from.logical_bytes,
            total_bytes: from.total_bytes,
            exclusive_bytes: from.exclusive_bytes,
            shared_bytes: from.shared_bytes,
        }
    }
}

impl From<Change> for ChangeKind {
    fn from(from: Change) -> Self {
        match from {
            Change::Added => Self::Added,
            Change::Removed => Self::Removed,
            Change::Modified => Self::Modified,
        }
    }
}

impl From<CheckReport> for CheckBody {
    fn from(from: CheckReport) -> Self {
        Self {
            sound: from.findings.is_empty(),
            nodes: from.nodes,
            frames: from.frames,
            segments: from.segments,
            inodes: from.inodes,
            verified_bytes: from.bytes,
            lost_bytes: from.lost_bytes,
            findings: findings(from.findings),
            findings_total: from.findings_total,
        }
    }
}

fn findings(from: Vec<Finding>) -> Vec<FindingBody> {
    from.into_iter().map(FindingBody::from).collect()
}

impl From<RepairReport> for RepairBody {
    fn from(from: RepairReport) -> Self {
        Self {
            sound: from.sound,
            dry_run: from.dry_run,
            before: from.before.into(),
            changes: findings(from.changes),
            changes_total: from.changes_total,
            found: from.found,
            items_freed: from.items_freed,
            freed_bytes: from.freed_bytes,
            remaining: findings(from.remaining),
        }
    }
}

impl From<Finding> for FindingBody {
    fn from(from: Finding) -> Self {
        let ranges = from.ranges.into_iter().map(|range| RangeBody { start: range.start, end: range.end });
        Self { path: from.path.map(PathText::from), ranges: ranges.collect(), message: from.message }
    }
}

impl From<GcReport> for GcBody {
    fn from(from: GcReport) -> Self {
        Self {
            items_freed: from.items_freed,
            segments_compacted: from.segments_compacted,
            segments_deleted: from.segments_deleted,
            freed_bytes: from.freed_bytes,
            windows_rewritten: from.windows_rewritten,
            rewritten_bytes: from.rewritten_bytes,
        }
    }
}

impl InfoBody {
    /// What the engine knows of `path`.
    pub fn new(path: PathText, info: &Info) -> Self {
        Self {
            path,
            attributes: (&info.attributes).into(),
            origin: info.origin.as_ref().map(OriginBody::from),
            lineage: Vec::new(),
            files: info.files,
            directories: info.directories,
            logical_bytes: info.logical_bytes,
            usage: None,
        }
    }
}

impl From<Status> for PoolBody {
    fn from(from: Status) -> Self {
        Self {
            id: from.pool_id,
            format_version: from.format_version,
            encrypted: from.encrypted,
            writer_epoch: from.writer_epoch,
            manifest: from.manifest,
            files: from.files,
            directories: from.directories,
            clones: from.realms,
            logical_bytes: from.logical_bytes,
            live_bytes: from.live_bytes,
            stored_bytes: from.stored_bytes,
            segments: from.segments,
            garbage_queue: from.garbage_queue,
            defragment_queue: from.defragment_queue,
            dirty_bytes: from.dirty_bytes,
            unsynced_bytes: from.unsynced_bytes,
            unsynced_operations: from.unsynced_operations,
            unsynced_age_ms: u64::try_from(from.unsynced_age.as_millis()).unwrap_or(u64::MAX),
            durability: if from.log_in_store { "store" } else { "local" }.into(),
            log_bytes: from.log_bytes,
            known_inodes: from.known_inodes,
            memory_bytes: from.memory_bytes,
            memory_bytes_max: from.memory_bytes_max,
            disk_cache_bytes: from.disk_cache_bytes,
            disk_cache_bytes_max: from.disk_cache_bytes_max,
            disk_cache_hits: from.disk_cache_hits,
            disk_cache_misses: from.disk_cache_misses,
            free_bytes: from.free_bytes,
            total_bytes: from.total_bytes,
            last_checkpoint: from.last_checkpoint.into(),
            unreadable_items: from.unreadable_items,
            abandoned_nodes: from.abandoned_nodes,
            counts_lost: from.counts_lost,
            failing: from.failing,
            accepted_loss: from.accepted_loss,
            stopped: from.stopped,
        }
    }
}
