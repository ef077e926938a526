//! Putting a state in the place of the live one, with counts, ledger and segment table made from nothing but its trees.
//!
//! A repair ends with this. The trees are stored as by a checkpoint, everything that they lead to is marked, and the marks are
//! the new counts: what has none is dead, whatever any count said before. Until the manifest is put nothing of it counts, so a
//! power cut leaves the pool as it was. Nobody changes the live state meanwhile.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::store::NodeStorer;
use super::{
    Checkpointer, Made, Table, finish_prepared, set_table, settle_made, settled_inode, settled_root,
};
use crate::address::{Address, ItemKind, SegmentId};
use crate::format::manifest::Manifest;
use crate::kinds::Ledger;
use crate::namespace::State;
use crate::pool::Inner;
use crate::refcount::{self, Edges, stored_count};
use crate::repair::Reach;
use crate::segment::{ObjectName, Pinned};
use crate::tree::Root;
use crate::{Error, ErrorKind, Result, gc};

/// What installing a state came to.
#[derive(Debug, Default)]
pub(crate) struct Installed {
    /// Items whose counts were wrong or lost.
    pub(crate) counts_changed: u64,
    /// Items that were kept and that nothing leads to, and their bytes.
    pub(crate) items_freed: u64,
    pub(crate) bytes_freed: u64,
    /// Segments that cannot be read and that nothing needs any more.
    pub(crate) segments_dropped: u64,
    /// Segments that said another number of live items or bytes than they have.
    pub(crate) segments_counted: u64,
}

/// New counts.
struct Counts {
    /// Raw address and count, where it is not 1.
    changes: Vec<(u64, u32)>,
    table: Table,
    empty: Vec<SegmentId>,
    done: Installed,
}

/// Stores a state and makes it the live one. Segments in the objects of `anew` are written anew.
///
/// # Errors
/// `NoSpace`, `Store`, `Fenced`; `Corrupt` if something that the state leads to cannot be read any more. The pool is as it was then.
pub(crate) async fn install(
    inner: &Inner,
    this: &mut Checkpointer,
    state: State,
    anew: &BTreeSet<ObjectName>,
    whole_table: bool,
) -> Result<Installed> {
    finish_prepared(inner, this).await?;
    let items = &inner.items;
    let interval = inner.core.read().interval;
    NodeStorer { writer: &mut this.writer, edges: &mut this.edges, items, interval }.state(&state);
    this.writer.seal().await?;
    let state = State {
        root: settled_inode(&state.root),
        orphans: settled_inode(&state.orphans),
        aliases: settled_root(&state.aliases),
        realms: settled_root(&state.realms),
        ..state
    };
    let reach = Reach::of(inner, &state).await?;
    let Counts { changes, mut table, empty, done } = count(inner, &this.manifest, &reach.counts).await?;
    drop(reach);

    let mut ledger: Root<Ledger> = None;
    refcount::write_counts(&mut ledger, &changes, &Pinned::new(items)).await?;
    let mut storer = NodeStorer { writer: &mut this.writer, edges: &mut Edges::default(), items, interval };
    this.lost_nodes.extend(storer.ledger(&ledger));
    this.writer.seal().await?;
    // Segments that hold nothing but the new ledger.
    for (segment, record) in &*items.table() {
        if !empty.contains(segment) {
            table.entry(*segment).or_insert_with(|| record.clone());
        }
    }

    let mut dead_objects: Vec<ObjectName> =
        empty.iter().filter_map(|segment| items.table().get(segment).map(|record| record.object)).collect();
    let moved: Vec<SegmentId> = table
        .iter()
        .filter(|(_, record)| anew.contains(&record.object))
        .map(|(segment, _)| *segment)
        .collect();
    dead_objects.extend(gc::move_segments(inner, moved, &mut table, &ledger).await?.left);
    dead_objects.sort_unstable();
    dead_objects.dedup();
    let used: BTreeSet<ObjectName> = table.values().map(|record| record.object).collect();
    dead_objects.retain(|object| !used.contains(object));

    let mut next = Manifest {
        number: this.manifest.number + 1,
        time: inner.clock.now(),
        root: state.root.clone(),
        orphans: state.orphans.clone(),
        aliases: state.aliases.clone(),
        realms: state.realms.clone(),
        ledger: settled_root(&ledger),
        ledger_dead: Vec::new(),
        garbage: Vec::new(),
        born: Vec::new(),
        next_number: state.next_number,
        next_realm: state.next_realm,
        next_segment: items.next_segment(),
        abandoned: 0,
        uncounted: Vec::new(),
        ..this.manifest.clone()
    };
    let new_base = set_table(inner, this, &mut next, &table, whole_table).await?;
    match inner.put_manifest(&next).await {
        Ok(()) => {}
        // Nothing was stored.
        Err(error) if error.kind() == ErrorKind::NoSpace => return Err(error),
        // It may have been stored all the same: another manifest under its number could not be told from it.
        Err(error) => {
            let kind = error.kind();
            let message = "the end of the repair may or may not have been stored; start again to see";
            return Err(inner.stop(Error::with_source(kind, message, error)));
        }
    }

    // From here on nothing may fail.
    items.born_items().clear();
    inner.core.write().state = state;
    items.damage().forget();
    dead_objects.extend(items.take_left_alone());
    settle_made(inner, this, Made { next, table, empty, new_base, dead_objects }).await;
    Ok(done)
}

/// Compares what was marked with all that is stored.
async fn count(
    inner: &Inner,
    old: &Manifest,
    counts: &FxHashMap<Address, (ItemKind, u32)>,
) -> Result<Counts> {
    let items = &inner.items;
    let nodes = Pinned::new(items);
    let mut table = items.table().clone();
    let mut found =
        Counts { changes: Vec::new(), table: Table::new(), empty: Vec::new(), done: Installed::default() };
    let mut seen = 0;
    for (segment, record) in &mut table {
        let directory = match items.stored_directory(*segment, record).await {
            Ok(directory) => directory,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                found.done.segments_dropped += 1;
                found.empty.push(*segment);
                continue;
            }
            Err(error) => return Err(error),
        };
        let is_new = segment.0 >= old.next_segment;
        let mut live = (0, 0);
        let mut changes = Vec::new();
        for item in &directory.items {
            let address = Address::new(*segment, item.index);
            let before = match stored_count(&old.ledger, &old.uncounted, address, &nodes).await {
                Err(error) if error.kind() == ErrorKind::Corrupt => None,
                known => known?,
            };
            let now = counts.get(&address).map_or(0, |(_, count)| *count);
            if now > 0 {
                seen += 1;
                live.0 += 1;
                live.1 += u64::from(item.stored_length);
            }
            if now != 1 {
                changes.push((address.raw(), now));
            }
            if is_new || item.kind == ItemKind::Ledger {
                continue;
            }
            if now > 0 && before != Some(now) {
                found.done.counts_changed += 1;
            } else if now == 0 && before != Some(0) {
                found.done.items_freed += 1;
                found.done.bytes_freed += u64::from(item.stored_length);
            }
        }
        if live.0 == 0 {
            found.empty.push(*segment);
            continue;
        }
        if !is_new && live != (record.live_items, record.live_bytes) {
            found.done.segments_counted += 1;
        }
        (record.live_items, record.live_bytes) = live;
        found.changes.extend(changes);
        found.table.insert(*segment, record.clone());
    }
    if seen != counts.len() {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "more became unreadable while the pool was being repaired; nothing was changed, repair it again",
        ));
    }
    Ok(found)
}
