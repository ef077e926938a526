//! What an open pool is made of: executing operations, syncing, memory, background work.

mod pace;
mod room;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex as AsyncMutex, Notify};

use self::pace::Pace;
use super::background::Health;
use crate::address::SegmentId;
use crate::checkpoint::{Checkpointer, is_taken_over};
use crate::content;
use crate::defragment::{Fragments, RecentClones};
use crate::disk_cache::{DiskCache, Mark};
use crate::encryption::encrypt_object;
use crate::format::manifest::{self, Manifest};
use crate::frame::{DirtyGauge, Frame};
use crate::kinds::DirectoryTree;
use crate::log::LogStore;
use crate::log::writer::{LogWriter, Tail};
use crate::metrics::Metrics;
use crate::namespace::{
    Change, Ending, Interrupt, KNOWN_INODE_BYTES, Locations, NameHasher, ORPHANS, Operation, Outcome, State,
    WriteData,
};
use crate::object::put_own;
use crate::pool::Guard;
use crate::record::{AliasKey, Entry, Name, SideKey};
use crate::report::Status;
use crate::segment::{Items, Pinned, SegmentRecord};
use crate::simulation::mutant::{self, Mutant};
use crate::simulation::{self, failpoint};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::tree::{Body, Link};
use crate::{Attributes, Clock, Error, ErrorKind, Ino, Kind, Result, Settings, Timestamp};

/// Writes of at least this many bytes go to segments as frames; the log only names them.
const FRAME_WRITE_BYTES: usize = 64 << 10;
/// Bytes of records from which the log is written without being asked to.
const TAIL_BYTES: u64 = 4 << 20;
/// Bytes of frames from which the log is written without being asked to.
const TAIL_FRAME_BYTES: u64 = 16 << 20;
/// What a node takes in memory, in bytes, on average.
pub(crate) const NODE_MEMORY_BYTES: u64 = 14 << 10;
/// What is said to who is no longer the writer.
pub(crate) const TAKEN_OVER: &str =
    "another writer has taken over the pool; what was synced is safe, restart to continue from it";

/// What operations change, under one lock.
pub(crate) struct Core {
    pub(crate) state: State,
    pub(crate) tail: Tail,
    /// The log file that the tail belongs to.
    pub(crate) log_number: u64,
    /// Checkpoint intervals begun.
    pub(crate) interval: u64,
    /// Why nothing is changed any more.
    pub(crate) stopped: Option<Error>,
    /// Changes wait.
    pub(super) paused: bool,
    /// What removals have left to the background.
    pub(crate) ending: Ending,
    /// Held by whoever reads items of the current state without the lock; they are not deleted until it is dropped.
    pin: Arc<()>,
    pub(super) clones: RecentClones,
}

/// An open pool.
pub(crate) struct Inner {
    pub(crate) core: RwLock<Core>,
    pub(crate) locations: Mutex<Locations>,
    pub(crate) items: Arc<Items>,
    pub(crate) log: AsyncMutex<LogWriter>,
    pub(crate) log_store: Arc<dyn LogStore>,
    pub(crate) checkpointer: AsyncMutex<Checkpointer>,
    /// The segment table as it was last written whole.
    pub(crate) table_base: Mutex<Arc<BTreeMap<SegmentId, SegmentRecord>>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) hasher: NameHasher,
    pub(crate) gauge: Arc<DirtyGauge>,
    /// The id that the pool is shown with.
    pub(crate) own_id: [u8; 16],
    /// Where files may be fragmented.
    pub(crate) fragments: Mutex<Fragments>,
    /// What is read in order, and what lies ahead of it.
    pub(super) read_ahead: super::ReadAhead,
    /// Removed inodes that can no longer be reached.
    pub(super) unreachable: Mutex<Vec<Ino>>,
    /// Told when memory was freed.
    pub(crate) progress: Notify,
    /// Told when changes may go on.
    pub(super) resumed: Notify,
    /// Told when much of the log waits to be written.
    pub(super) flush_work: Notify,
    /// Told when a checkpoint is wanted.
    pub(super) checkpoint_work: Notify,
    durable: AtomicU64,
    pub(super) background_runs: AtomicBool,
    pub(super) closing: AtomicBool,
    pub(super) log_bytes: AtomicU64,
    /// Bytes of frames of operations that wait for memory.
    waiting_bytes: AtomicU64,
    /// Bytes of records in the tail.
    tail_bytes: AtomicU64,
    /// Bytes of records that the log writer has and could not make durable yet.
    pending_bytes: AtomicU64,
    /// What the log writer has, for who looks at it while it writes.
    pending: Mutex<Pending>,
    space: Mutex<Option<(Duration, Option<crate::object::Space>)>>,
    /// Operations that may have freed something.
    removals: AtomicU64,
    /// How many of them there were when room was last made; held by whoever makes some.
    removals_tried: AsyncMutex<u64>,
    pub(super) last_checkpoint: Mutex<(Timestamp, Duration)>,
    pub(super) manifest_number: AtomicU64,
    /// When it was last looked whether another writer has taken over, for its own sake.
    pub(super) last_look: Mutex<Duration>,
    pub(super) health: Mutex<Health>,
    /// How changes are slowed while a checkpoint runs.
    pace: Mutex<Pace>,
}

/// What the log writer has taken and not made durable yet.
#[derive(Clone, Copy, Default)]
struct Pending {
    bytes: u64,
    /// When the first operation among it was executed.
    since: Option<Timestamp>,
}

/// The parts that recovery puts together.
pub(crate) struct Parts {
    pub(crate) state: State,
    pub(crate) ending: Ending,
    pub(crate) interval: u64,
    pub(crate) items: Arc<Items>,
    pub(crate) log: LogWriter,
    pub(crate) log_store: Arc<dyn LogStore>,
    pub(crate) own_id: [u8; 16],
    pub(crate) checkpointer: Checkpointer,
    pub(crate) table_base: Arc<BTreeMap<SegmentId, SegmentRecord>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: Settings,
    pub(crate) hasher: NameHasher,
    pub(crate) gauge: Arc<DirtyGauge>,
    /// What was given up to open the pool, in words.
    pub(crate) accepted_loss: Option<String>,
}

impl Inner {
    pub(crate) fn new(parts: Parts) -> Self {
        let manifest = &parts.checkpointer.manifest;
        Self {
            core: RwLock::new(Core {
                log_number: parts.log.number,
                interval: parts.interval,
                tail: Tail::default(),
                stopped: None,
                paused: false,
                pin: Arc::new(()),
                clones: RecentClones::default(),
                state: parts.state.clone(),
                ending: parts.ending,
            }),
            locations: Mutex::default(),
            durable: AtomicU64::new(parts.state.sequence),
            own_id: parts.own_id,
            last_checkpoint: Mutex::new((manifest.time, parts.clock.monotonic())),
            last_look: Mutex::new(parts.clock.monotonic()),
            health: Mutex::new(Health { accepted_loss: parts.accepted_loss, ..Health::of(manifest) }),
            manifest_number: AtomicU64::new(manifest.number),
            items: parts.items,
            log: AsyncMutex::new(parts.log),
            log_store: parts.log_store,
            checkpointer: AsyncMutex::new(parts.checkpointer),
            table_base: Mutex::new(parts.table_base),
            metrics: parts.metrics,
            clock: parts.clock,
            settings: parts.settings,
            hasher: parts.hasher,
            gauge: parts.gauge,
            fragments: Mutex::default(),
            read_ahead: super::ReadAhead::default(),
            unreachable: Mutex::default(),
            progress: Notify::new(),
            resumed: Notify::new(),
            flush_work: Notify::new(),
            checkpoint_work: Notify::new(),
            background_runs: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            log_bytes: AtomicU64::new(0),
            waiting_bytes: AtomicU64::new(0),
            tail_bytes: AtomicU64::new(0),
            pending_bytes: AtomicU64::new(0),
            pending: Mutex::default(),
            space: Mutex::new(None),
            removals: AtomicU64::new(0),
            removals_tried: AsyncMutex::new(0),
            pace: Mutex::default(),
        }
    }

    /// Bytes that may be written and not yet stored.
    pub(crate) fn dirty_bytes_max(&self) -> u64 {
        self.settings.memory_bytes / 3
    }

    fn dirty_nodes_bytes(&self) -> u64 {
        self.items.changed_nodes().count() as u64 * NODE_MEMORY_BYTES
    }

    /// Memory that writing frees: frames and nodes that are not stored, segments that are being gathered, the log's tail.
    pub(super) fn dirty_bytes(&self) -> u64 {
        self.gauge.get().saturating_sub(self.waiting_bytes.load(Ordering::Relaxed))
            + self.dirty_nodes_bytes()
            + self.items.gathering_bytes()
            + self.tail_bytes.load(Ordering::Relaxed)
            + self.pending_bytes.load(Ordering::Relaxed)
    }

    // ---- executing ----

    /// Cuts large writes into frames, before any lock is taken.
    pub(crate) fn write_data(&self, offset: u64, data: Bytes) -> WriteData {
        if data.len() < FRAME_WRITE_BYTES {
            return WriteData::Bytes(data);
        }
        let frames = content::chunks(offset, &data);
        WriteData::Frames(
            frames.into_iter().map(|chunk| Arc::new(Frame::whole(chunk, 0, &self.gauge))).collect(),
        )
    }

    /// Executes an operation and gives it to the log.
    pub(crate) async fn execute(&self, operation: Operation) -> Result<Outcome> {
        self.admit(&operation).await?;
        self.carry_out(&operation, None).await.map(|outcome| outcome.expect("there is no guard"))
    }

    /// Executes an operation if a condition holds that keeps no nodes in memory; else nothing is done, and `None` is answered.
    pub(crate) async fn execute_if(&self, operation: Operation, guard: &Guard) -> Result<Option<Outcome>> {
        self.admit(&operation).await?;
        self.carry_out(&operation, Some(guard)).await
    }

    /// Executes an operation, unless what it was prepared for has changed: then nothing is done, and `None` is answered. For those who have
    /// looked for room themselves: a guard keeps nodes in memory, and whoever holds one must not wait for memory.
    pub(crate) async fn execute_prepared(
        &self,
        operation: Operation,
        guard: &Guard,
    ) -> Result<Option<Outcome>> {
        self.carry_out(&operation, Some(guard)).await
    }

    pub(super) async fn carry_out(
        &self,
        operation: &Operation,
        guard: Option<&Guard>,
    ) -> Result<Option<Outcome>> {
        let nodes = Pinned::new(&self.items);
        let mut has_waited = false;
        loop {
            // What is missing must not be deleted before it has been fetched, whatever is done to the state meanwhile.
            let mut pin = None;
            let interrupt = match self.attempt(operation, &nodes, guard, &mut pin) {
                Ok(outcome) => {
                    self.note_removal(operation);
                    return Ok(Some(outcome));
                }
                Err(interrupt) => interrupt,
            };
            match interrupt {
                Interrupt::Error(error) => return Err(error),
                Interrupt::Changed => return Ok(None),
                Interrupt::Missing(missing) => nodes.fetch(missing).await?,
                Interrupt::Alias(key) => {
                    self.alias(key).await?;
                    failpoint("alias_before_the_operation").await;
                }
                // The background may not have come to what was removed yet.
                Interrupt::NoRealm if !has_waited => {
                    has_waited = true;
                    Box::pin(self.end_all()).await?;
                }
                Interrupt::NoRealm => return Err(self.no_realm()),
                Interrupt::Paused => self.wait_until_resumed().await,
            }
        }
    }

    /// Gives a realm an alias within another.
    pub(crate) async fn alias(&self, key: AliasKey) -> Result<()> {
        Box::pin(self.execute(Operation::Alias(key))).await.map(|_| ())
    }

    fn attempt(
        &self,
        operation: &Operation,
        nodes: &Pinned<'_>,
        guard: Option<&Guard>,
        pin: &mut Option<Arc<()>>,
    ) -> Result<Outcome, Interrupt> {
        let time = self.clock.now();
        let mut locked = self.core.write();
        let core = &mut *locked;
        if let Some(error) = &core.stopped {
            return Err(error.clone().into());
        }
        if core.paused {
            return Err(Interrupt::Paused);
        }
        let mut locations = self.locations.lock();
        let mut pinned = |interrupt| {
            *pin = Some(core.pin.clone()).filter(|_| !mutant::is_on(Mutant::FetchUnpinned));
            interrupt
        };
        if let Some(guard) = guard.filter(|_| !mutant::is_on(Mutant::IgnoreGuard)) {
            match guard.holds(&core.state, &locations, &core.clones, nodes) {
                Ok(true) => {}
                Ok(false) => return Err(Interrupt::Changed),
                Err(interrupt) => return Err(pinned(interrupt)),
            }
        }
        for ino in operation.inodes().into_iter().flatten() {
            for (ino, parent, place, realm_root) in locations.take_unlogged(ino, core.log_number) {
                core.tail.locate(ino, parent, &place, realm_root);
            }
        }
        let mut change = Change {
            state: &mut core.state,
            locations: &mut locations,
            nodes,
            hasher: self.hasher,
            gauge: &self.gauge,
            interval: core.interval,
            time,
            replay: false,
            ending: &mut core.ending,
            realm_ids: self.settings.realm_ids,
            fragmented: None,
        };
        let outcome = change.apply(operation).map_err(pinned)?;
        let fragmented = change.fragmented.filter(|_| self.settings.defragment);
        if let Some((ino, from, to)) = fragmented {
            self.fragments.lock().note(ino, from, to, || locations.trail(ino));
        }
        if let Operation::Clone { source, .. } | Operation::CloneRange { source, .. } = operation {
            core.clones.note(core.interval, *source);
        }
        if let Outcome::Attributes(attributes) = &outcome
            && let Some(location) = locations.get_mut(attributes.ino)
            && matches!(operation, Operation::Create { .. } | Operation::Clone { .. })
        {
            // The operation itself tells a replay where the new inode is.
            location.logged_in = core.log_number;
        }
        core.tail.push(core.state.sequence, time, operation);
        simulation::executed(core.state.sequence, time, operation);
        self.tail_bytes.store(core.tail.record_bytes(), Ordering::Relaxed);
        let due = core.tail.record_bytes() > TAIL_BYTES || core.tail.frame_bytes() > TAIL_FRAME_BYTES;
        drop(locations);
        drop(locked);
        self.metrics.mutations.add(1);
        if due {
            self.flush_work.notify_one();
        }
        Ok(outcome)
    }

    /// Removes a tree. Files with names both inside and outside learn of it.
    pub(crate) async fn remove_tree(&self, parent: Ino, name: &[u8]) -> Result<()> {
        let operation = |links| Operation::RemoveTree { parent, name: Name::from_slice(name), links };
        loop {
            self.admit(&operation(Vec::new())).await?;
            let found = self.lookup(parent, name).await?;
            let result = async {
                let Some((links, guard)) = self.links_below(parent, name, Some(&found)).await? else {
                    return Ok(None);
                };
                failpoint("remove_after_counting_links").await;
                self.carry_out(&operation(links), Some(&guard)).await
            }
            .await;
            self.forget(found.ino, 1);
            if result?.is_some() {
                return Ok(());
            }
        }
    }

    /// Clones; what is replaced is removed as by [`Inner::remove_tree`].
    pub(crate) async fn clone_to(
        &self,
        source: Ino,
        parent: Ino,
        name: &[u8],
        options: crate::pool::CloneOptions,
    ) -> Result<Outcome> {
        let crate::pool::CloneOptions { read_only, replace, source_path } = options;
        let operation = |links| {
            let (name, source_path) = (Name::from_slice(name), source_path.clone());
            Operation::Clone { source, parent, name, read_only, replace, source_path, links }
        };
        loop {
            self.admit(&operation(Vec::new())).await?;
            let replaced = if replace { self.lookup(parent, name).await.ok() } else { None };
            let result = async {
                if !replace {
                    return self.carry_out(&operation(Vec::new()), None).await;
                }
                let Some((links, guard)) = self.links_below(parent, name, replaced.as_ref()).await? else {
                    return Ok(None);
                };
                failpoint("remove_after_counting_links").await;
                self.carry_out(&operation(links), Some(&guard)).await
            }
            .await;
            if let Some(found) = replaced {
                self.forget(found.ino, 1);
            }
            if let Some(outcome) = result? {
                return Ok(outcome);
            }
        }
    }

    /// The names below what a name leads to, if anything, that lead to files with several names of the same realm, and what has to be
    /// unchanged for this to stay true; `None` if it is gone already. A clone below has a realm of its own: nothing outside shares its
    /// files.
    async fn links_below(
        &self,
        parent: Ino,
        name: &[u8],
        found: Option<&Attributes>,
    ) -> Result<Option<(Vec<(SideKey, u32)>, Guard)>> {
        let key = self.hasher.key(name);
        let Some(found) = found.filter(|found| found.kind == Kind::Directory && !found.clone_root) else {
            return Ok(Some((Vec::new(), Guard::NoLinks { parent, key })));
        };
        let ino = found.ino;
        let seen = self
            .with_inode(ino, |inode, _, view| {
                Ok((inode.directory().and_then(|d| d.entries.clone()), inode.totals(), view.pin()))
            })
            .await;
        let (entries, totals, _pin) = match seen {
            Err(error) if error.kind() == ErrorKind::Stale => return Ok(None),
            seen => seen?,
        };
        if totals.links == 0 {
            return Ok(Some((Vec::new(), Guard::Entries { ino, parent, key, entries })));
        }
        let mut counts: BTreeMap<SideKey, u32> = BTreeMap::new();
        let mut stack: Vec<Link<DirectoryTree>> = entries.iter().cloned().collect();
        while let Some(link) = stack.pop() {
            match &self.node(&link).await?.body {
                Body::Branch(children) => stack.extend(children.iter().map(|child| child.link.clone())),
                Body::Leaf(found) => {
                    for (_, entry) in found {
                        match entry {
                            Entry::Linked(key) => *counts.entry(**key).or_default() += 1,
                            Entry::Inode(inode) if inode.totals().links > 0 && !inode.is_realm_root() => {
                                stack.extend(inode.directory().and_then(|d| d.entries.clone()));
                            }
                            Entry::Inode(_) => {}
                        }
                    }
                }
            }
        }
        Ok(Some((counts.into_iter().collect(), Guard::Entries { ino, parent, key, entries })))
    }

    /// Lets go of one hold.
    pub(crate) async fn release(&self, ino: Ino) -> Result<()> {
        let orphan = {
            let mut locations = self.locations.lock();
            let top = locations.orphan_above(ino);
            locations.hold(ino, -1)?;
            top.filter(|top| !locations.is_needed(*top))
        };
        match orphan {
            Some(ino) => self.drop_orphan(ino).await,
            None => Ok(()),
        }
    }

    /// Drops references. What was removed and can no longer be reached is freed in the background.
    pub(crate) fn forget(&self, ino: Ino, count: u64) {
        if self.locations.lock().forget(ino, count) {
            self.unreachable.lock().push(ino);
        }
    }

    // ---- durability ----

    /// Makes everything executed before this call durable.
    pub(crate) async fn sync(&self) -> Result<()> {
        self.metrics.syncs.add(1);
        let target = {
            let core = self.core.read();
            if let Some(error) = &core.stopped {
                return Err(error.clone());
            }
            core.state.sequence
        };
        if self.durable.load(Ordering::Acquire) >= target {
            return Ok(());
        }
        let mut writer = self.log.lock().await;
        if self.durable.load(Ordering::Acquire) >= target {
            return Ok(());
        }
        self.take_tail(&mut self.core.write(), &mut writer);
        self.flush_locked(&mut writer).await
    }

    /// Gives the tail to the log writer.
    pub(crate) fn take_tail(&self, core: &mut Core, writer: &mut LogWriter) {
        let file = core.log_number;
        writer.take(&mut core.tail, file);
        self.tail_bytes.store(0, Ordering::Relaxed);
        self.note_pending(writer);
    }

    fn note_pending(&self, writer: &LogWriter) {
        self.pending_bytes.store(writer.pending_record_bytes(), Ordering::Relaxed);
        *self.pending.lock() = Pending { bytes: writer.pending_bytes(), since: writer.pending_since() };
    }

    /// Flushes what the log writer has taken.
    pub(crate) async fn flush_locked(&self, writer: &mut LogWriter) -> Result<()> {
        // Who had the log before may have failed to sync it, and no later sync can be believed.
        if let Some(error) = &self.core.read().stopped {
            return Err(error.clone());
        }
        let before = self.metrics.log_bytes.get();
        let put = writer.put_frames().await;
        let are_frames_put = put.is_ok();
        let flushed = match put {
            Ok(()) => writer.flush().await,
            Err(error) => Err(error),
        };
        self.note_pending(writer);
        match flushed {
            Ok(last) => {
                if let Some(last) = last {
                    self.durable.fetch_max(last, Ordering::AcqRel);
                }
                self.log_bytes.fetch_add(self.metrics.log_bytes.get() - before, Ordering::Relaxed);
                self.progress.notify_waiters();
                Ok(())
            }
            // A full disk can be emptied: nothing is lost, the next flush tries again.
            Err(error) if error.kind() == ErrorKind::NoSpace => Err(error),
            // So can a network come back: nothing names frames before they are put, and a log in a store knows what it had to do.
            Err(error)
                if error.kind() == ErrorKind::Store && (!are_frames_put || writer.can_flush_again()) =>
            {
                Err(error)
            }
            // A new writer deletes the log files of the old one.
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && is_taken_over(self, self.manifest_number.load(Ordering::Relaxed))
                        .await
                        .unwrap_or(false) =>
            {
                Err(self.stop(Error::with_source(ErrorKind::Fenced, TAKEN_OVER, error)))
            }
            Err(error) => Err(self.stop(Error::with_source(
                error.kind(),
                format!("the log could not be written: {error}"),
                error,
            ))),
        }
    }

    /// Accepts no changes any more.
    pub(crate) fn stop(&self, error: Error) -> Error {
        let mut core = self.core.write();
        if core.stopped.is_none() {
            tracing::error!(%error, "the pool accepts no changes any more");
            core.stopped = Some(error.clone());
        }
        self.read_ahead.work.notify_one();
        self.progress.notify_waiters();
        error
    }

    /// Puts a manifest under its number. A number that is taken means that another writer has taken over.
    pub(crate) async fn put_manifest(&self, manifest: &Manifest) -> Result<()> {
        let path = manifest::path(manifest.number);
        // Only this writer has this epoch, once it has begun.
        let has_begun = self.manifest_number.load(Ordering::Relaxed) + 1 == manifest.number;
        let bytes = encrypt_object(self.items.keys(), &path, manifest.encode());
        let put = if has_begun {
            put_own(&**self.items.objects(), &path, bytes).await
        } else {
            self.items.objects().put(&path, vec![bytes]).await
        };
        match put {
            // A number can be free because others have gone on from it and deleted what was there. Who cannot look does not know
            // whether the manifest counts, and has to try again.
            Ok(()) if is_taken_over(self, manifest.number).await? => {
                Err(self.stop(Error::new(ErrorKind::Fenced, TAKEN_OVER)))
            }
            Ok(()) => {
                self.manifest_number.store(manifest.number, Ordering::Relaxed);
                if let Some(disk) = self.items.disk_cache() {
                    disk.note(Mark::of(manifest));
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Exists && ignores_taken() => {
                self.manifest_number.store(manifest.number, Ordering::Relaxed);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Exists => {
                Err(self.stop(Error::with_source(ErrorKind::Fenced, TAKEN_OVER, error)))
            }
            Err(error) => Err(error),
        }
    }

    /// A new pin for the states from now on; returns the one of the states before.
    pub(crate) fn new_pin(&self) -> Arc<()> {
        std::mem::replace(&mut self.core.write().pin, Arc::new(()))
    }

    /// Keeps the items of the current state from being deleted.
    pub(crate) fn pin(&self) -> Arc<()> {
        self.core.read().pin.clone()
    }

    pub(crate) fn pin_of(core: &Core) -> Arc<()> {
        core.pin.clone()
    }

    /// Sequence of the last operation that is known to be durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    // ---- state ----

    pub(crate) fn stored_bytes(&self) -> u64 {
        self.items.stored_bytes()
    }

    pub(crate) async fn status(&self) -> Status {
        let free = self.free_bytes().await.ok().flatten();
        let (live_bytes, stored_bytes, segments) = {
            let table = self.items.table();
            let live = table.values().map(|record| record.live_bytes).sum();
            (live, self.items.stored_bytes(), table.len() as u64)
        };
        let realm_ids = self.realm_ids().await.unwrap_or_default();
        let (garbage_queue, abandoned_nodes, counts_lost, failing, accepted_loss) = {
            let health = self.health.lock();
            let failing = health.flush_error.clone().or_else(|| health.checkpoint_error.clone());
            let Health { garbage, abandoned, uncounted, ref accepted_loss, .. } = *health;
            (garbage, abandoned, uncounted, failing, accepted_loss.clone())
        };
        let core = self.core.read();
        let totals = core.state.root.totals();
        let tail = core.tail.record_bytes() + core.tail.frame_bytes();
        let Pending { bytes: pending, since } = *self.pending.lock();
        let unsynced_since = since.or(core.tail.since());
        let unsynced_age = unsynced_since.map_or(Duration::ZERO, |since| self.clock.now().since(since));
        let known = self.locations.lock().len() as u64;
        let gathering = self.items.gathering_bytes();
        let memory = self.items.cached_bytes()
            + self.dirty_bytes()
            + self.waiting_bytes.load(Ordering::Relaxed)
            + core.tail.record_bytes()
            + gathering
            + known * KNOWN_INODE_BYTES;
        let used = stored_bytes + self.gauge.get();
        let free = free.map_or(u64::MAX >> 13, |free| free.saturating_sub(self.settings.reserve_bytes));
        Status {
            encrypted: self.items.keys().is_some(),
            pool_id: self.own_id.iter().map(|byte| format!("{byte:02x}")).collect(),
            format_version: self.settings.format_version,
            writer_epoch: self.items.epoch(),
            manifest: self.manifest_number.load(Ordering::Relaxed),
            files: totals.files,
            directories: totals.directories,
            logical_bytes: totals.bytes,
            live_bytes,
            stored_bytes,
            segments,
            realms: core.state.root.directory().map_or(0, |directory| directory.totals.clones),
            realm_ids,
            realm_ids_max: u64::from(self.settings.realm_ids) - 1,
            garbage_queue,
            defragment_queue: self.fragments.lock().depth(),
            unreadable_items: self.items.damage().items(),
            abandoned_nodes,
            counts_lost,
            failing,
            accepted_loss,
            dirty_bytes: self.gauge.get(),
            known_inodes: known,
            memory_bytes: memory,
            memory_bytes_max: self.settings.memory_bytes,
            disk_cache_bytes: self.items.disk_cache().map_or(0, DiskCache::bytes),
            disk_cache_bytes_max: self.items.disk_cache().map_or(0, DiskCache::bytes_max),
            disk_cache_hits: self.metrics.disk_cache_hits.get(),
            disk_cache_misses: self.metrics.disk_cache_misses.get(),
            unsynced_bytes: tail + pending,
            unsynced_operations: core.state.sequence.saturating_sub(self.durable()),
            unsynced_age,
            log_in_store: self.log_store.is_remote(),
            log_bytes: self.log_bytes.load(Ordering::Relaxed),
            last_checkpoint: self.last_checkpoint.lock().0,
            total_bytes: used.saturating_add(free),
            free_bytes: free,
            stopped: core.stopped.as_ref().map(ToString::to_string),
        }
    }

    pub(crate) fn parent(&self, ino: Ino) -> Result<Ino> {
        if ino == Ino::ROOT {
            return Ok(ino);
        }
        let locations = self.locations.lock();
        let location = locations.get(ino).ok_or_else(|| crate::namespace::stale(ino))?;
        Ok(if location.parent == ORPHANS { Ino::ROOT } else { location.parent })
    }

    /// Attributes of what was removed and is still known.
    pub(crate) fn gone(&self, ino: Ino) -> Option<Attributes> {
        self.locations.lock().get(ino).filter(|l| l.parent != ORPHANS)?.gone.as_deref().cloned()
    }
}

/// Whether a seeded bug takes a manifest of somebody else for its own.
fn ignores_taken() -> bool {
    mutant::is_on(Mutant::IgnoreTakenManifest) || mutant::is_on(Mutant::IgnoreFences)
}
