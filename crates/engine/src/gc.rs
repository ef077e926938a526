//! Space comes back: sparse segments are rewritten, empty ones deleted.
//!
//! A rewritten segment keeps its id and the indexes of its live items, so no tree is touched. Several shrunken segments share one
//! object.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::address::SegmentId;
use crate::checkpoint::Checkpointer;
use crate::format::manifest;
use crate::kinds::Ledger;
use crate::pool::Inner;
use crate::segment::{Directory, ObjectBuilder, ObjectName, Pinned, SegmentRecord};
use crate::tree::{self, Root};
use crate::{ErrorKind, Result};

/// Live bytes that one checkpoint rewrites without being asked to collect.
const REWRITE_BYTES: u64 = 64 << 20;
/// Segments smaller than this are gathered into larger objects once there are many.
const SMALL_BYTES: u64 = 1 << 20;
const SMALL_COUNT: usize = 64;

/// Bytes of segments that have left an object, from which on it is worth a rewrite.
const LEFT_BYTES_MIN: u64 = 4096;

/// What was rewritten.
#[derive(Debug, Default)]
pub(crate) struct Compacted {
    pub(crate) segments: u64,
    pub(crate) bytes_freed: u64,
    /// Objects that segments were moved out of.
    pub(crate) left: Vec<ObjectName>,
}

/// Rewrites segments under half live, and many small ones into one object, and notes their new places in `table`.
pub(crate) async fn compact(
    inner: &Inner,
    table: &mut BTreeMap<SegmentId, SegmentRecord>,
    ledger: &Root<Ledger>,
    collect: bool,
) -> Result<Compacted> {
    let mut done = Compacted::default();
    let chosen = choose(inner, table, collect);
    let limit = inner.items.segment_bytes();
    let mut at = 0;
    while at < chosen.len() {
        let number = inner.items.take_segment_id().0;
        let object = ObjectName { epoch: inner.items.epoch(), number };
        let mut builder = ObjectBuilder::new(object.epoch, 1 << 20);
        let mut moved = Vec::new();
        while at < chosen.len() && (builder.length() as u64) < limit {
            let segment = chosen[at];
            at += 1;
            match rewrite(inner, segment, &table[&segment], ledger, object, &mut builder).await {
                Ok(record) => moved.push((segment, record)),
                // What cannot be read is left as it is for `check` and `scrub` to report.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    tracing::error!(segment = segment.0, %error, "a segment cannot be rewritten");
                }
                Err(error) => return Err(error),
            }
        }
        if moved.is_empty() {
            continue;
        }
        let bytes = builder.finish();
        let object_bytes = bytes.len() as u64;
        inner.items.objects().put(&object.path(), vec![bytes]).await?;
        inner.items.set_object_bytes(object, object_bytes);
        for (segment, record) in moved {
            done.segments += 1;
            done.bytes_freed += table[&segment].bytes.saturating_sub(record.bytes);
            let old = table.insert(segment, record).expect("only segments in the table are rewritten");
            done.left.push(old.object);
        }
    }
    Ok(done)
}

fn choose(inner: &Inner, table: &BTreeMap<SegmentId, SegmentRecord>, collect: bool) -> Vec<SegmentId> {
    // What objects of several segments hold of segments that are still in them.
    let mut held: FxHashMap<ObjectName, u64> = FxHashMap::default();
    for (_, record) in table.iter().filter(|(segment, record)| record.object.number != segment.0) {
        *held.entry(record.object).or_default() += record.bytes;
    }
    let is_left = |object: ObjectName| {
        let Some(bytes) = inner.items.object_bytes(object) else { return false };
        held.get(&object).is_some_and(|held| held * 2 < bytes && bytes - held > LEFT_BYTES_MIN)
    };
    let mut chosen = Vec::new();
    let mut small = Vec::new();
    let mut bytes = 0;
    for (segment, record) in table {
        let sparse = record.live_bytes * 2 < record.bytes.saturating_sub(u64::from(record.directory_length));
        if sparse || is_left(record.object) {
            if collect || bytes < REWRITE_BYTES {
                bytes += record.live_bytes;
                chosen.push(*segment);
            }
        } else if record.bytes < SMALL_BYTES && record.object.number == segment.0 {
            small.push(*segment);
        }
    }
    if small.len() >= SMALL_COUNT {
        chosen.extend(small);
    }
    chosen
}

async fn rewrite(
    inner: &Inner,
    segment: SegmentId,
    record: &SegmentRecord,
    ledger: &Root<Ledger>,
    object: ObjectName,
    builder: &mut ObjectBuilder,
) -> Result<SegmentRecord> {
    let dead = dead_items(inner, segment, ledger).await?;
    let directory = inner.items.directory_at(segment, record).await?;
    let live: Vec<_> = directory.items.iter().filter(|item| !dead.contains(&item.index)).copied().collect();
    let path = record.object.path();
    let mut kept = Directory::default();
    let mut read = Vec::with_capacity(live.len());
    for item in &live {
        let stored = inner.items.objects().get(&path, item.offset, u64::from(item.stored_length)).await?;
        item.open(segment, stored.clone())?;
        read.push(stored);
    }
    let start = builder.length() as u64;
    let mut live_bytes = 0;
    for (item, stored) in live.iter().zip(read) {
        live_bytes += stored.len() as u64;
        kept.items.push(builder.push(segment, item.index, item.kind, item.raw_length, item.codec, &stored));
    }
    let (directory_offset, directory_length) = builder.end_segment(segment, &kept);
    Ok(SegmentRecord {
        object,
        directory_offset,
        directory_length,
        bytes: builder.length() as u64 - start,
        live_items: live.len() as u32,
        live_bytes,
    })
}

/// Indexes of a segment that the ledger has as dead.
async fn dead_items(
    inner: &Inner,
    segment: SegmentId,
    ledger: &Root<Ledger>,
) -> Result<rustc_hash::FxHashSet<u32>> {
    let nodes = Pinned::new(&inner.items);
    let (from, to) = (segment.0 << 24, (segment.0 + 1) << 24);
    loop {
        let mut dead = rustc_hash::FxHashSet::default();
        let scanned = tree::scan(ledger, &from, &nodes, &mut |address, count| {
            if *address >= to {
                return ControlFlow::Break(());
            }
            if *count == 0 {
                dead.insert((*address & 0xff_ffff) as u32);
            }
            ControlFlow::Continue(())
        });
        match scanned {
            Ok(_) => return Ok(dead),
            Err(missing) => nodes.fetch(missing).await?,
        }
    }
}

/// Deletes what a durable manifest has replaced: older manifests, tables and log files, and objects that nobody reads any more. A
/// failure costs space only; the next open tries again.
pub(crate) async fn delete_replaced(inner: &Inner, checkpointer: &mut Checkpointer) {
    while let Some((pin, _)) = checkpointer.dead_objects.front() {
        if Arc::strong_count(pin) > 1 {
            break;
        }
        let (_, objects) = checkpointer.dead_objects.pop_front().expect("it was just looked at");
        for object in &objects {
            match inner.items.objects().delete(&object.path()).await {
                Ok(()) => inner.items.forget_object(*object),
                Err(error) => {
                    tracing::warn!(object = object.path(), %error, "a dead object could not be deleted");
                }
            }
        }
        inner.items.forget_retired(&objects);
    }
    let manifest = &checkpointer.manifest;
    let result = delete_older(inner, manifest.number, manifest.table, manifest.log).await;
    if let Err(error) = result {
        tracing::warn!(%error, "replaced objects could not be deleted");
    }
}

async fn delete_older(inner: &Inner, number: u64, table: u64, log: u64) -> Result<()> {
    let objects = inner.items.objects();
    // The manifest before the newest stays, for a look at what was.
    let keep_from = manifest::path(number.saturating_sub(1));
    for object in objects.list(manifest::PREFIX).await? {
        if object.name < keep_from {
            objects.delete(&object.name).await?;
        }
    }
    let newest_table = manifest::table_path(table);
    for object in objects.list(manifest::TABLE_PREFIX).await? {
        if object.name < newest_table {
            objects.delete(&object.name).await?;
        }
    }
    for file in inner.log_store.list()? {
        if file < log {
            inner.log_store.delete(file)?;
        }
    }
    Ok(())
}
