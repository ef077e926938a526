//! Checkpoints: everything that changed goes to segments, then a new manifest names the new roots.
//!
//! A checkpoint works on a snapshot of the state, which costs nothing: operations go on and copy what they change. Its steps: cut
//! (snapshot and next log file, under the lock), frames, nodes, counts, the ledger's own nodes, seal, manifest, settle (under
//! the lock: the live state forgets nodes that are now stored). If a step fails, what was done so far stays true and
//! the next checkpoint goes on from there. Damage to what is stored is no failure: see [`crate::damage`].

mod install;
mod settle;
mod store;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::address::{Address, ItemKind, SegmentId};
use crate::encryption::encrypt_object;
use crate::format::manifest::{self, Manifest};
use crate::kinds::{Ledger, visit_inode};
use crate::log::writer::store_frame;
use crate::namespace::State;
use crate::object::put_own;
use crate::pool::{Inner, TAKEN_OVER};
use crate::refcount::{self, Counted, Counter, EdgeCollector, Edges};
use crate::segment::{Born, ObjectName, Pinned, SegmentRecord, SegmentWriter};
use crate::simulation::failpoint;
use crate::simulation::mutant::{self, Mutant};
use crate::tree::{Link, Root, Tree};
use crate::{Error, ErrorKind, Result, gc};

pub(crate) use install::{Installed, install};
pub(crate) use settle::settle;
use store::{FrameCollector, NodeStorer};

type Table = BTreeMap<SegmentId, SegmentRecord>;

/// What lives from checkpoint to checkpoint. One checkpoint runs at a time.
pub(crate) struct Checkpointer {
    /// The newest manifest.
    pub(crate) manifest: Manifest,
    writer: SegmentWriter,
    /// Links of nodes that were written and not counted yet.
    edges: Edges,
    /// Nodes that were written by checkpoints that failed, and whose links no count knows.
    pub(crate) lost_nodes: Vec<Address>,
    /// The checkpoint interval that ended with the manifest; `None` while operations that were replayed are not part of it.
    pub(crate) counted: Option<u64>,
    /// The segment table and the first log file of the manifest before the newest: what it needs is kept.
    pub(crate) before: Before,
    /// Objects that hold nothing live any more; oldest first.
    pub(crate) dead_objects: VecDeque<DeadObjects>,
    /// Objects that are dead but for forks.
    pub(crate) kept_for_forks: Vec<ObjectName>,
    /// A checkpoint that is complete but for its manifest, which may or may not have been stored when the store answered with an error.
    prepared: Option<Prepared>,
    /// The lowest number that no table was ever stored under, or tried to be.
    next_table: u64,
}

/// A checkpoint that lacks only its manifest, and what is true once that is stored.
struct Prepared {
    made: Made,
    /// The state that it stores; what this refers to is kept until then.
    snapshot: State,
    interval: u64,
    /// Items without a count when it began.
    before: FxHashMap<Address, Born>,
    /// Those among them that have none after it either.
    still_born: FxHashMap<Address, Born>,
    done: Done,
}

/// What a new manifest changes in memory, once it is stored.
struct Made {
    next: Manifest,
    table: Table,
    /// Segments that have nothing live any more.
    empty: Vec<SegmentId>,
    new_base: Option<Arc<Table>>,
    dead_objects: Vec<ObjectName>,
}

/// What the manifest before the newest needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    pub(crate) table: u64,
    pub(crate) log: u64,
}

impl Before {
    fn of(manifest: &Manifest) -> Self {
        Self { table: manifest.table, log: manifest.log }
    }
}

/// Objects that hold nothing live any more.
pub(crate) struct DeadObjects {
    /// Of the states that may still need them.
    pub(crate) pin: Arc<()>,
    /// The first manifest that does not need them.
    pub(crate) since: u64,
    pub(crate) objects: Vec<ObjectName>,
}

impl Checkpointer {
    pub(crate) fn new(manifest: Manifest, writer: SegmentWriter) -> Self {
        Self {
            before: Before::of(&manifest),
            manifest,
            writer,
            edges: Edges::default(),
            lost_nodes: Vec::new(),
            counted: None,
            dead_objects: VecDeque::new(),
            kept_for_forks: Vec::new(),
            prepared: None,
            next_table: 0,
        }
    }

    /// Whether a manifest of this writer may be in the store that is newer than the newest it knows.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.prepared.is_some()
    }
}

/// The links of the roots in a manifest.
pub(crate) fn root_edges(manifest: &Manifest) -> Vec<(Address, ItemKind)> {
    let mut links = EdgeCollector::default();
    visit_inode(&manifest.root, &mut links);
    visit_inode(&manifest.orphans, &mut links);
    if let Some(link) = &manifest.aliases {
        crate::kinds::AliasTree::visit_link(link, &mut links);
    }
    if let Some(link) = &manifest.realms {
        crate::kinds::RealmTree::visit_link(link, &mut links);
    }
    links.edges
}

/// What a checkpoint did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) items_freed: u64,
    pub(crate) segments_compacted: u64,
    pub(crate) segments_deleted: u64,
    pub(crate) bytes_freed: u64,
}

impl Done {
    /// Adds what another checkpoint did.
    pub(crate) fn add(&mut self, other: Self) {
        let Self { items_freed, segments_compacted, segments_deleted, bytes_freed } = other;
        self.items_freed += items_freed;
        self.segments_compacted += segments_compacted;
        self.segments_deleted += segments_deleted;
        self.bytes_freed += bytes_freed;
    }
}

/// Makes a checkpoint. With `collect` all garbage is taken apart and all sparse segments are rewritten, else what is due.
pub(crate) async fn checkpoint(inner: &Inner, collect: bool) -> Result<Done> {
    let mut checkpointer = inner.checkpointer.lock().await;
    checkpoint_within(inner, &mut checkpointer, collect).await
}

/// As [`checkpoint`], for who has the checkpointer already.
pub(crate) async fn checkpoint_within(
    inner: &Inner,
    checkpointer: &mut Checkpointer,
    collect: bool,
) -> Result<Done> {
    match make_and_note(inner, checkpointer, collect).await {
        Ok(done) => Ok(done),
        Err(error) => Err(fence(inner, checkpointer, error).await),
    }
}

/// A new writer deletes what only the old one needs, so that missing items may be the first sign of it: the pool stops then, and the
/// error says why.
pub(crate) async fn fence(inner: &Inner, checkpointer: &Checkpointer, error: Error) -> Error {
    let is_taken = match error.kind() {
        ErrorKind::Fenced => true,
        ErrorKind::Corrupt => is_taken_over(inner, checkpointer.manifest.number).await.unwrap_or(false),
        _ => false,
    };
    if !is_taken {
        return error;
    }
    inner.stop(Error::with_source(ErrorKind::Fenced, TAKEN_OVER, error))
}

/// Whether there is a newer manifest than this writer's own.
///
/// # Errors
/// Those of the store: then it is not known.
pub(crate) async fn is_taken_over(inner: &Inner, own: u64) -> Result<bool> {
    if mutant::is_on(Mutant::IgnoreFences) {
        return Ok(false);
    }
    Ok(manifest::newest(&**inner.items.objects()).await? > Some(own))
}

async fn make_and_note(inner: &Inner, this: &mut Checkpointer, collect: bool) -> Result<Done> {
    inner.checkpoint_begins();
    let made = make(inner, this, collect).await;
    inner.note_checkpoint(made.as_ref().err());
    made
}

async fn make(inner: &Inner, this: &mut Checkpointer, collect: bool) -> Result<Done> {
    finish_prepared(inner, this).await?;
    prepare(inner, this, collect).await?;
    store_manifest(inner, this).await
}

/// Stores the manifest of a checkpoint that could not be finished, if there is one.
async fn finish_prepared(inner: &Inner, this: &mut Checkpointer) -> Result<()> {
    if this.prepared.is_some() {
        store_manifest(inner, this).await?;
    }
    Ok(())
}

/// Does everything that can be done before the manifest is stored.
async fn prepare(inner: &Inner, this: &mut Checkpointer, collect: bool) -> Result<()> {
    let (snapshot, log, interval) = cut(inner).await?;
    let items = &inner.items;

    let mut frames = FrameCollector::default();
    frames.state(&snapshot);
    failpoint("checkpoint_after_cut").await;
    for frame in &frames.frames {
        store_frame(frame, &mut this.writer, items);
        if this.writer.has_full() {
            this.writer.put_full().await?;
            inner.progress.notify_waiters();
        }
    }
    drop(frames);
    failpoint("checkpoint_after_frames_before_nodes").await;

    let mut storer = NodeStorer { writer: &mut this.writer, edges: &mut this.edges, items, interval };
    storer.state(&snapshot);
    this.writer.put_full().await?;
    failpoint("checkpoint_after_nodes_before_counts").await;

    let mut next = Manifest {
        number: this.manifest.number + 1,
        time: inner.clock.now(),
        root: settled_inode(&snapshot.root),
        orphans: settled_inode(&snapshot.orphans),
        aliases: settled_root(&snapshot.aliases),
        realms: settled_root(&snapshot.realms),
        next_number: snapshot.next_number,
        next_realm: snapshot.next_realm,
        sequence: snapshot.sequence,
        log: if mutant::is_on(Mutant::SkipLogFile) { log + 1 } else { log },
        newest_log: log,
        ..this.manifest.clone()
    };

    // Counts, and the ledger that has them.
    let before: FxHashMap<_, _> = items.born_items().clone();
    let mut ledger_root = this.manifest.ledger.clone();
    let Accounts { counted, losses, empty, ledger } =
        match account(inner, this, &next, &before, &ledger_root, interval, collect).await {
            // Only nodes of the ledger are read there that nothing can do without.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let lost = refcount::mend(&mut ledger_root, items.next_segment() << 24, items).await?;
                tracing::error!(
                    ranges = lost.len(),
                    %error,
                    "counts of references are lost: what they were of is never freed"
                );
                next.uncounted.extend(lost);
                account(inner, this, &next, &before, &ledger_root, interval, collect).await?
            }
            accounts => accounts?,
        };
    next.abandoned += counted.abandoned;
    let mut done = Done { items_freed: counted.freed, ..Done::default() };

    // The ledger's own nodes.
    let mut storer = NodeStorer { writer: &mut this.writer, edges: &mut Edges::default(), items, interval };
    let written = storer.ledger(&ledger);
    this.lost_nodes.extend(&written);
    next.ledger = settled_root(&ledger);
    next.ledger_dead = replaced_ledger_nodes(inner, &this.manifest.ledger, &ledger).await?;
    next.garbage = if mutant::is_on(Mutant::ForgetGarbage) { Vec::new() } else { counted.garbage.clone() };
    failpoint("checkpoint_after_counts_before_seal").await;
    this.writer.seal().await?;
    failpoint("checkpoint_after_seal_before_table").await;

    // The segment table.
    let mut table = items.table().clone();
    for (segment, count, bytes) in &losses {
        let record = table.get_mut(segment).expect("the record was just read");
        record.live_items = record.live_items.saturating_sub(*count);
        record.live_bytes = record.live_bytes.saturating_sub(*bytes);
    }
    let mut dead_objects = Vec::new();
    for segment in &empty {
        if let Some(record) = table.remove(segment) {
            done.segments_deleted += 1;
            done.bytes_freed += record.bytes;
            dead_objects.push(record.object);
        }
    }
    let compacted = gc::compact(inner, &mut table, &ledger, collect).await?;
    done.segments_compacted = compacted.segments;
    done.bytes_freed += compacted.bytes_freed;
    dead_objects.extend(compacted.left);
    dead_objects.sort_unstable();
    dead_objects.dedup();
    let used: rustc_hash::FxHashSet<ObjectName> = table.values().map(|record| record.object).collect();
    dead_objects.retain(|object| !used.contains(object));
    if mutant::is_on(Mutant::DeleteObjectsEarly) {
        for object in &dead_objects {
            inner.items.objects().delete(&object.path()).await?;
        }
    }
    failpoint("checkpoint_after_compaction_before_manifest").await;
    next.next_segment = items.next_segment();
    next.born = counted.born.iter().map(|(address, born)| (*address, born.kind)).collect();
    if !mutant::is_on(Mutant::ForgetBornFrames) {
        // Frames that the log has stored since belong to no count yet either.
        let now = items.born_items();
        next.born.extend(now.iter().filter(|(a, _)| !before.contains_key(*a)).map(|(a, b)| (*a, b.kind)));
    }
    let new_base = set_table(inner, this, &mut next, &table, false).await?;

    next.durable = next.sequence.max(inner.durable());
    failpoint("checkpoint_after_table_before_manifest").await;
    let made = Made { next, table, empty, new_base, dead_objects };
    this.prepared = Some(Prepared { made, snapshot, interval, before, still_born: counted.born, done });
    Ok(())
}

/// Stores the manifest of the checkpoint that is prepared. If that fails, or the answer is lost, the same manifest is tried again the next
/// time: another one under its number could never be told from it.
async fn store_manifest(inner: &Inner, this: &mut Checkpointer) -> Result<Done> {
    let prepared = this.prepared.as_ref().expect("a checkpoint is prepared");
    let put = inner.put_manifest(&prepared.made.next).await;
    if put.is_err() && mutant::is_on(Mutant::ForgetPrepared) {
        this.prepared = None;
    }
    put?;
    failpoint("checkpoint_after_manifest_before_settling").await;

    // From here on the checkpoint is made: nothing below may fail.
    let prepared = this.prepared.take().expect("it was just there");
    let Prepared { made, snapshot, interval, before, still_born, done } = prepared;
    let items = &inner.items;
    items.born_items().retain(|address, _| !before.contains_key(address) || still_born.contains_key(address));
    items.metrics().items_freed.add(done.items_freed);
    items.metrics().segments_compacted.add(done.segments_compacted);
    items.metrics().segments_deleted.add(done.segments_deleted);
    drop(snapshot);
    this.counted = Some(interval);
    settle_made(inner, this, made).await;
    Ok(done)
}

/// Brings the pool in memory to the newest manifest, and deletes what it has replaced.
async fn settle_made(inner: &Inner, this: &mut Checkpointer, made: Made) {
    let Made { next, table, empty, new_base, dead_objects } = made;
    let items = &inner.items;
    {
        let mut live = items.table_mut();
        for segment in &empty {
            if let Some(record) = live.remove(segment) {
                items.retire(*segment, record);
            }
        }
        for (segment, record) in table {
            // Segments that the log has put since are not in this table.
            let object = record.object;
            if let Some(old) = live.insert(segment, record)
                && old.object != object
            {
                items.retire(segment, old);
            }
        }
    }
    if let Some(base) = new_base {
        *inner.table_base.lock() = base;
    }
    this.edges.clear();
    this.lost_nodes.clear();
    this.before = Before::of(&this.manifest);
    this.manifest = next;
    items.metrics().checkpoints.add(1);
    drop(settle(inner));
    let pin = inner.new_pin();
    this.dead_objects.push_back(DeadObjects { pin, since: this.manifest.number, objects: dead_objects });
    inner.set_last_checkpoint(&this.manifest);
    inner.progress.notify_waiters();
    failpoint("checkpoint_after_settling_before_deleting").await;
    gc::delete_replaced(inner, this).await;
}

/// What a checkpoint counts.
struct Accounts {
    counted: Counted,
    /// Segments that lost items: how many, and their bytes.
    losses: Vec<(SegmentId, u32, u64)>,
    /// Those among them that have nothing live any more.
    empty: Vec<SegmentId>,
    ledger: Root<Ledger>,
}

/// Counts for `next` what the counts in `ledger_root` become. Changes nothing that a second try would not find again.
///
/// # Errors
/// `Corrupt` if a node of the ledger cannot be read; other damage is contained.
async fn account(
    inner: &Inner,
    this: &mut Checkpointer,
    next: &Manifest,
    born: &FxHashMap<Address, Born>,
    ledger_root: &Root<Ledger>,
    interval: u64,
    collect: bool,
) -> Result<Accounts> {
    let items = &inner.items;
    let mut edges = this.edges.clone();
    for (address, _) in root_edges(next) {
        *edges.entry(address).or_default() += 1;
    }
    let garbage = this.manifest.garbage.clone();
    let mut counter = Counter::new(items, ledger_root, &next.uncounted, born.clone(), garbage);
    counter.add(&edges).await?;
    for (address, kind) in root_edges(&this.manifest) {
        counter.remove(address, kind).await?;
    }
    counter.drop_unused(interval).await?;
    let mut dead_ledger_nodes = this.manifest.ledger_dead.clone();
    dead_ledger_nodes.append(&mut this.lost_nodes.clone());
    counter.bury_ledger_nodes(&dead_ledger_nodes).await?;
    let budget = if collect { usize::MAX } else { inner.settings.garbage_nodes };
    counter.take_apart(budget).await?;
    let counted = counter.finish();

    let mut losses = Vec::new();
    let mut empty = Vec::new();
    for (segment, indexes) in &counted.dead {
        // A segment that is still being gathered is put first, so that its record is there.
        if !items.table().contains_key(segment) {
            this.writer.seal().await?;
            inner.log.lock().await.seal_frames().await?;
        }
        // What no segment holds is lost already.
        let Some(record) = items.table().get(segment).cloned() else { continue };
        let bytes = match items.directory_at(*segment, &record).await {
            Ok(directory) => indexes
                .iter()
                .filter_map(|index| directory.find(*index))
                .map(|item| u64::from(item.stored_length))
                .sum(),
            // The segment goes once all of its items have been freed, whatever their sizes were.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                items.damage().list(*segment, &error);
                0
            }
            Err(error) => return Err(error),
        };
        if u64::from(record.live_items) <= indexes.len() as u64 {
            empty.push(*segment);
        }
        losses.push((*segment, indexes.len() as u32, bytes));
    }

    let nodes = Pinned::new(items);
    let mut ledger = ledger_root.clone();
    refcount::write_counts(&mut ledger, &counted.changes, &nodes).await?;
    for segment in &empty {
        refcount::drop_segment(&mut ledger, *segment, &nodes).await?;
    }
    Ok(Accounts { counted, losses, empty, ledger })
}

/// Ends the log file and takes a snapshot: the state, the number of the log file that follows it, and the checkpoint interval that ends.
async fn cut(inner: &Inner) -> Result<(State, u64, u64)> {
    let mut writer = inner.log.lock().await;
    // Flush what there is and make the new file, so that little is left to do, and to fail, after the cut.
    inner.flush_locked(&mut writer).await?;
    let number = inner.core.read().log_number + 1;
    writer.prepare_file(number).await.map_err(|error| match error.kind() {
        ErrorKind::Exists => inner.stop(Error::with_source(
            ErrorKind::Fenced,
            "another writer has begun the next log file; what was synced is safe, restart to continue from it",
            error,
        )),
        _ => error,
    })?;
    failpoint("checkpoint_after_next_log_before_cut").await;
    let (snapshot, interval) = {
        let mut core = inner.core.write();
        inner.take_tail(&mut core, &mut writer);
        core.log_number = number;
        core.interval += 1;
        (core.state.clone(), core.interval - 1)
    };
    failpoint("checkpoint_after_cut_before_flush").await;
    inner.flush_locked(&mut writer).await?;
    Ok((snapshot, number, interval))
}

/// The root with its address only.
fn settled_root<K: Tree>(root: &Root<K>) -> Root<K> {
    root.as_ref().map(|link| Link::Stored(link.address().expect("it was just stored")))
}

/// The inode with addresses only.
fn settled_inode(inode: &crate::record::Inode) -> crate::record::Inode {
    let mut copy = inode.clone();
    crate::kinds::visit_inode_mut(&mut copy, &mut crate::tree::Addresses);
    copy
}

/// Nodes of the old ledger that the new one does not have.
async fn replaced_ledger_nodes(
    inner: &Inner,
    old: &Root<Ledger>,
    new: &Root<Ledger>,
) -> Result<Vec<Address>> {
    let mut kept = rustc_hash::FxHashSet::default();
    if let Some(link) = new {
        store::stored_below(link, &mut kept);
    }
    let mut replaced = Vec::new();
    let mut stack: Vec<Address> = old.iter().filter_map(Link::address).collect();
    while let Some(address) = stack.pop() {
        if kept.contains(&address) {
            continue;
        }
        replaced.push(address);
        let node = match inner.items.node(crate::tree::Missing { address, kind: ItemKind::Ledger }).await {
            Ok(node) => node,
            // What it led to is not known any more and stays.
            Err(error) if error.kind() == ErrorKind::Corrupt => continue,
            Err(error) => return Err(error),
        };
        let mut links = EdgeCollector::default();
        node.visit(&mut links);
        stack.extend(links.edges.into_iter().map(|(address, _)| address));
    }
    Ok(replaced)
}

/// Writes the segment table whole when the changes since the last time have become many, or as it is asked to; else they stay in
/// the manifest.
async fn set_table(
    inner: &Inner,
    this: &mut Checkpointer,
    next: &mut Manifest,
    table: &Table,
    whole: bool,
) -> Result<Option<Arc<Table>>> {
    let base = inner.table_base.lock().clone();
    let mut changes: Vec<manifest::TableChange> = table
        .iter()
        .filter(|(segment, record)| base.get(segment) != Some(record))
        .map(|(segment, record)| (*segment, Some(record.clone())))
        .collect();
    changes
        .extend(base.keys().filter(|segment| !table.contains_key(segment)).map(|segment| (*segment, None)));
    if mutant::is_on(Mutant::TableLosesChange) {
        changes.pop();
    }
    if whole || changes.len() > 256.max(table.len() / 4) {
        let whole: Vec<_> = table.iter().map(|(segment, record)| (*segment, Some(record.clone()))).collect();
        let bytes = manifest::encode_table(next.version, &whole);
        next.table = put_table(inner, this, next.number, bytes).await?;
        next.table_changes = Vec::new();
        Ok(Some(Arc::new(table.clone())))
    } else {
        next.table = this.manifest.table;
        next.table_changes = changes;
        Ok(None)
    }
}

/// Stores a table under the number of its manifest, or the next that is free: one of a checkpoint that failed may be there, or still arrive.
/// A number that was tried is never used again.
async fn put_table(inner: &Inner, this: &mut Checkpointer, number: u64, table: bytes::Bytes) -> Result<u64> {
    this.next_table = this.next_table.max(number);
    loop {
        let number = this.next_table;
        this.next_table += 1;
        let path = manifest::table_path(number);
        let bytes = encrypt_object(inner.items.keys(), &path, table.clone());
        match put_own(&**inner.items.objects(), &path, bytes).await {
            Ok(()) => return Ok(number),
            Err(error) if error.kind() == ErrorKind::Exists => {}
            Err(error) => return Err(error),
        }
    }
}
