//! Space comes back: sparse segments are rewritten, empty ones deleted.
//!
//! A rewritten segment keeps its id and the indexes of its live items, so no tree is touched. Several shrunken segments share one
//! object.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::address::SegmentId;
use crate::checkpoint::{Before, Checkpointer, DeadObjects};
use crate::format::manifest;
use crate::kinds::Ledger;
use crate::object::put_own;
use crate::pool::Inner;
use crate::segment::{Directory, ObjectBuilder, ObjectName, Pinned, SegmentRecord};
use crate::simulation::failpoint;
use crate::simulation::mutant::{self, Mutant};
use crate::tree::{self, Root};
use crate::{ErrorKind, Result, fork};

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
    let chosen = choose(inner, table, collect);
    move_segments(inner, chosen, table, ledger).await
}

/// Rewrites segments and notes their new places in `table`.
pub(crate) async fn move_segments(
    inner: &Inner,
    chosen: Vec<SegmentId>,
    table: &mut BTreeMap<SegmentId, SegmentRecord>,
    ledger: &Root<Ledger>,
) -> Result<Compacted> {
    let mut done = Compacted::default();
    let limit = inner.items.segment_bytes();
    let mut at = 0;
    while at < chosen.len() {
        let number = inner.items.take_segment_id().0;
        let object = ObjectName { epoch: inner.items.epoch(), number };
        let mut builder = ObjectBuilder::new(inner.items.format_version(), object.epoch, 1 << 20)
            .encrypted(inner.items.keys(), object);
        let mut moved = Vec::new();
        // One segment at least, however small they shall be.
        while at < chosen.len() && (moved.is_empty() || (builder.length() as u64) < limit) {
            let segment = chosen[at];
            at += 1;
            match rewrite(inner, segment, &table[&segment], ledger, object, &mut builder).await {
                Ok(record) => moved.push((segment, record)),
                // What cannot be read is left as it is for `check` and `scrub` to report.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    inner.items.damage().segment(segment, table[&segment].live_items, &error);
                }
                Err(error) => return Err(error),
            }
        }
        if moved.is_empty() {
            continue;
        }
        let bytes = builder.finish();
        let object_bytes = bytes.len() as u64;
        put_own(&**inner.items.objects(), &object.path(), bytes).await?;
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
        if !collect && inner.items.damage().keeps(*segment, record.live_items) {
            continue;
        }
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
    let mut live: Vec<_> =
        directory.items.iter().filter(|item| !dead.contains(&item.index)).copied().collect();
    if mutant::is_on(Mutant::CompactLosesItem) {
        live.pop();
    }
    let path = record.object.path();
    // The items go along as they are stored, under the key that they have.
    let mut kept = Directory::with_key(directory.key.clone());
    let read = inner.items.stored_items(&path, &live).await?;
    for (item, stored) in live.iter().zip(&read) {
        item.open(segment, directory.key.as_ref(), stored.clone()).map_err(|error| {
            let message = format!("{path}: item {}: {error}", item.index);
            crate::Error::with_source(error.kind(), message, error)
        })?;
    }
    let start = builder.length() as u64;
    let mut live_bytes = 0;
    for (item, stored) in live.iter().zip(read) {
        live_bytes += stored.len() as u64;
        let renumbers = mutant::is_on(Mutant::CompactRenumbers);
        let index = if renumbers { kept.items.len() as u32 } else { item.index };
        kept.items.push(builder.push(segment, index, item.kind, item.raw_length, item.codec, &stored));
    }
    let (directory_offset, directory_length) = builder.end_segment(segment, &kept, inner.items.pool_mark());
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

/// Deletes what the last two manifests have replaced: older manifests, tables and log files, and objects that nobody reads any more.
/// With what the manifest before the newest needs, the pool can be opened if the newest is damaged. A failure costs space
/// only; the next open tries again.
pub(crate) async fn delete_replaced(inner: &Inner, checkpointer: &mut Checkpointer) {
    let number = checkpointer.manifest.number;
    let is_deletable = |dead: &DeadObjects| dead.since < number && Arc::strong_count(&dead.pin) == 1;
    if checkpointer.dead_objects.front().is_some_and(is_deletable) {
        // After the manifest that has replaced them: a fork has either read that, or is known now.
        match fork::needed(&**inner.items.objects()).await {
            Ok(Some(needed)) => {
                while let Some(dead) = checkpointer.dead_objects.pop_front_if(|dead| is_deletable(dead)) {
                    delete_objects(inner, checkpointer, dead.objects, &needed).await;
                }
                let kept = std::mem::take(&mut checkpointer.kept_for_forks);
                delete_objects(inner, checkpointer, kept, &needed).await;
            }
            Ok(None) => tracing::debug!("nothing is deleted while a fork is made"),
            Err(error) => {
                tracing::warn!(%error, "nothing is deleted, since it cannot be read what forks need");
            }
        }
    }
    let waiting = checkpointer.dead_objects.iter().flat_map(|dead| &dead.objects);
    inner.set_dead_bytes(waiting.filter_map(|object| inner.items.object_bytes(*object)).sum());
    failpoint("deleting_after_objects_before_manifests").await;
    if let Err(error) = delete_older(inner, number, checkpointer.before).await {
        tracing::warn!(%error, "replaced objects could not be deleted");
    }
}

/// Deletes objects that nobody reads any more; those that a fork reads wait until the fork is let go.
async fn delete_objects(
    inner: &Inner,
    checkpointer: &mut Checkpointer,
    objects: Vec<ObjectName>,
    needed: &HashSet<String>,
) {
    inner.items.forget_retired(&objects);
    let (kept, dead): (Vec<_>, Vec<_>) =
        objects.into_iter().partition(|object| needed.contains(&object.path()));
    for object in &dead {
        match inner.items.objects().delete(&object.path()).await {
            Ok(()) => {
                inner.items.forget_object(*object);
                failpoint("deleting_after_an_object").await;
            }
            Err(error) => {
                tracing::warn!(object = object.path(), %error, "a dead object could not be deleted");
            }
        }
    }
    checkpointer.kept_for_forks.extend(kept);
}

async fn delete_older(inner: &Inner, number: u64, before: Before) -> Result<()> {
    let objects = inner.items.objects();
    let keep_from = number.saturating_sub(1);
    for object in objects.list(manifest::PREFIX).await? {
        if manifest::number(&object.name).is_some_and(|number| number < keep_from) {
            objects.delete(&object.name).await?;
        }
    }
    let first_table = manifest::table_path(before.table);
    for object in objects.list(manifest::TABLE_PREFIX).await? {
        if object.name < first_table {
            objects.delete(&object.name).await?;
        }
    }
    failpoint("deleting_after_manifests_before_logs").await;
    for file in inner.log_store.list().await? {
        if file < before.log || (mutant::is_on(Mutant::DeleteNeededLog) && file == before.log + 1) {
            inner.log_store.delete(file).await?;
        }
    }
    Ok(())
}
