//! Opening a pool: the newest manifest, the segments that it does not know yet, the log.
//!
//! Damage to any of these is told and refused, never passed over in silence. Who opens with [`Settings::accept_loss`] gets the
//! newest state that can be read; what could not be is copied aside before anything is changed.

mod adopt;
mod choose;
mod replay;

use std::sync::Arc;

use crate::checkpoint::{Checkpointer, DeadObjects, checkpoint};
use crate::descent::Descent;
use crate::disk_cache::{DiskCache, Mark};
use crate::encryption::Keys;
use crate::format::manifest::{self, Manifest};
use crate::frame::DirtyGauge;
use crate::log::LogStore;
use crate::log::batch;
use crate::log::writer::LogWriter;
use crate::metrics::Metrics;
use crate::namespace::{Ending, NameHasher, State};
use crate::pool::{Inner, OpenMode, Storage};
use crate::segment::{Items, ItemsSettings, Pinned, PoolMark, SegmentWriter};
use crate::simulation::failpoint;
use crate::simulation::mutant::{self, Mutant};
use crate::{Clock, Error, ErrorKind, Result, Settings};

use choose::Chosen;

/// What everybody can do whose pool is refused.
const CHOICES: &str = "Put a sound copy back and start again; or copy the data directory elsewhere and start once with \
                       --accept-loss, which opens what can still be read and keeps the damaged files aside";

/// Half of all segments that there can be: one a millisecond for 17 years.
const SEGMENTS_MAX: u64 = 1 << 39;

/// How often a pool is opened anew because another writer was at work meanwhile.
const ATTEMPTS: u32 = 5;

/// Opens or makes a pool. A writer that still runs may change things until the log is taken from it: then it is begun again.
pub(crate) async fn open(
    storage: Storage,
    clock: Arc<dyn Clock>,
    settings: Settings,
    mode: OpenMode,
) -> Result<Arc<Inner>> {
    let mut attempt = 1;
    loop {
        let mut newest = None;
        let error = match attempt_to_open(&storage, &clock, &settings, mode, &mut newest).await {
            Ok(inner) => return Ok(inner),
            Err(error) => error,
        };
        let is_beaten = match error.kind() {
            // Somebody has started the next log file.
            ErrorKind::Exists => true,
            ErrorKind::Corrupt | ErrorKind::Fenced | ErrorKind::NotFound => {
                manifest::newest(&*storage.objects).await? > newest
            }
            _ => false,
        };
        if !is_beaten {
            return Err(error);
        }
        if attempt == ATTEMPTS {
            return Err(Error::with_source(
                ErrorKind::InUse,
                "another writer is at work in this pool; stop it, or try again",
                error,
            ));
        }
        attempt += 1;
    }
}

async fn attempt_to_open(
    storage: &Storage,
    clock: &Arc<dyn Clock>,
    settings: &Settings,
    mode: OpenMode,
    seen: &mut Option<u64>,
) -> Result<Arc<Inner>> {
    let Storage { objects, log: log_store } = storage.clone();
    let (clock, settings) = (clock.clone(), settings.clone());
    let numbers = choose::numbers(&*objects).await?;
    *seen = numbers.last().copied();
    let chosen = choose::manifest(&*objects, numbers, &settings).await?;
    let chosen = match (chosen, mode) {
        (Some(_), OpenMode::Create) => {
            return Err(Error::new(ErrorKind::PoolExists, "there is a pool here already; open it instead"));
        }
        (None, OpenMode::Existing) => {
            return Err(Error::new(ErrorKind::NoPool, "there is no pool here; create one first"));
        }
        (Some(chosen), _) => chosen,
        (None, _) => {
            refuse_log_without_pool(&*log_store).await?;
            let manifest = first_manifest(&*clock, &settings);
            let create = |encryption| Arc::new(Keys::create(manifest.pool_id, encryption));
            let keys = settings.encryption.as_ref().map(create);
            Chosen::new(manifest, keys)
        }
    };
    let Chosen { mut manifest, keys, table_base, newest, passed_over } = chosen;
    let descent = Descent::of(&*objects).await?;
    Descent::cut_log(descent, &mut manifest);
    refuse_other_log(&manifest, log_store.is_remote())?;
    let own_id = Descent::own_id(descent, &manifest.pool_id);
    let metrics = Arc::new(Metrics::default());
    // What is read ahead of a store at a distance takes its memory from the frames.
    let ahead_bytes = if objects.is_remote() { settings.memory_bytes / 16 } else { 0 };
    let index_bytes = settings.memory_bytes / 16;
    let disk_cache = if objects.is_remote() { settings.disk_cache.as_ref() } else { None };
    let disk_cache = disk_cache.and_then(|cache| {
        DiskCache::open(cache, &own_id, Mark::of(&manifest), index_bytes)
            .map_err(|error| {
                tracing::warn!(%error, directory = ?cache.directory, "there is no disk cache; the pool works without it");
            })
            .ok()
    });
    let index_bytes = if disk_cache.is_some() { index_bytes } else { 0 };
    let items = Arc::new(Items::new(
        objects.clone(),
        disk_cache,
        ItemsSettings {
            compression: settings.compression,
            node_cache_bytes: settings.memory_bytes * 28 / 100,
            frame_cache_bytes: settings.memory_bytes * 28 / 100 - ahead_bytes - index_bytes,
            ahead_bytes,
            directory_cache_bytes: settings.memory_bytes * 4 / 100,
            segment_bytes: settings.segment_bytes,
            putting_bytes_max: settings.memory_bytes / 6,
            format_version: settings.format_version,
            pool_mark: PoolMark::of(&manifest.pool_id),
            keys,
        },
        metrics.clone(),
    ));
    choose::set_table(&manifest, &table_base, &items);
    items.set_next_segment(manifest.next_segment);
    failpoint("open_after_choosing_before_taking_over").await;
    // Before anything that it may name is looked for: whoever wrote to the log until now adds nothing behind that.
    let logs = log_store.list().await?;
    let last_log = logs.last().copied().unwrap_or(0).max(manifest.newest_log);
    let number = last_log.max(manifest.log.saturating_sub(1)).saturating_add(1);
    let writable = &logs[logs.partition_point(|log| *log < manifest.log)..];
    log_store.take_over(writable, number).await?;
    failpoint("open_after_taking_over_before_adopting").await;
    let adopted = adopt::adopt_segments(&*objects, &items, !passed_over.is_empty()).await?;
    if let Some(disk) = items.disk_cache() {
        disk.drop_from(items.next_segment());
    }
    failpoint("open_after_adopting_before_replay").await;

    if items.next_segment() > SEGMENTS_MAX {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "the pool names a segment {:x}, and no pool has had so many: its manifest, or the name of an object \
                 in segments/, is not what was written",
                items.next_segment() - 1
            ),
        ));
    }
    let hasher = NameHasher { key: manifest.hash_key, mask: manifest.hash_mask };
    let gauge = Arc::new(DirtyGauge::default());
    let mut state = State::of_manifest(&manifest);
    let replay = replay::Replay {
        state: &mut state,
        log_store: &*log_store,
        logs: &logs,
        manifest: &manifest,
        items: &items,
        hasher,
        gauge: &gauge,
    };
    let damage = replay.run().await?;
    let is_all_counted = state.sequence == manifest.sequence;
    if let Some(damage) = &damage
        && !settings.accept_loss
    {
        return Err(Error::new(ErrorKind::Corrupt, format!("{}. {CHOICES}", damage.words())));
    }
    let mut losses: Vec<String> = passed_over.iter().map(|passed| passed.words.clone()).collect();
    losses.extend(damage.map(|damage| damage.words()));
    let accepted_loss = (!losses.is_empty()).then(|| {
        format!(
            "{}. The pool was opened from manifest {:016x} in the state after operation {}",
            losses.join(". "),
            manifest.number,
            state.sequence
        )
    });
    if let Some(loss) = &accepted_loss {
        tracing::error!(loss, "a damaged pool is opened without what is lost");
        choose::keep_copies(&*objects, &passed_over).await?;
        for number in logs.iter().filter(|number| **number >= manifest.log) {
            log_store.keep_copy(*number).await?;
        }
    }
    failpoint("open_after_replay_before_log").await;
    let sequence = state.sequence;
    let ending = end(&mut state, manifest.time, &items).await?;

    // Take the writer's role.
    let mut table_changes = manifest.table_changes;
    table_changes.extend(adopted.moved);
    let taken = Manifest {
        version: settings.format_version,
        number: newest.saturating_add(1),
        // Every manifest that could not be read may have been one of another writer.
        epoch: manifest.epoch.saturating_add(1 + newest.saturating_sub(manifest.number)),
        time: clock.now(),
        newest_log: number,
        durable: state.sequence,
        table_changes,
        log_in_store: log_store.is_remote(),
        ..manifest
    };
    items.set_epoch(taken.epoch);
    log_store.create(number).await?;
    let key = batch::Key::new(&taken.pool_id, taken.hash_key).encrypted(items.keys());
    let log = LogWriter::new(log_store.clone(), items.clone(), metrics.clone(), number, key, state.sequence);
    let mut checkpointer = Checkpointer::new(taken, SegmentWriter::new(items.clone()));
    checkpointer.counted = is_all_counted.then_some(0);
    checkpointer.lost_nodes = adopted.lost_nodes;
    checkpointer.dead_objects.push_back(DeadObjects {
        pin: Arc::new(()),
        since: checkpointer.manifest.number,
        objects: adopted.dead,
    });
    let is_accepted = accepted_loss.is_some();
    let inner = Inner::new(crate::pool::Parts {
        state,
        ending,
        interval: 1,
        items,
        log,
        log_store,
        own_id,
        checkpointer,
        table_base,
        metrics,
        clock,
        settings,
        hasher,
        gauge,
        accepted_loss,
    });
    let taken = inner.checkpointer.lock().await.manifest.clone();
    failpoint("open_after_log_before_manifest").await;
    inner.put_manifest(&taken).await?;
    crate::simulation::recovered(sequence);
    failpoint("open_after_manifest").await;
    if is_accepted {
        // So that the next start needs nothing of what is damaged.
        checkpoint(&inner, false).await?;
    }
    Ok(Arc::new(inner))
}

/// What was removed and still held open then is held by nobody now. Finds what the background has to go on with.
async fn end(state: &mut State, time: crate::Timestamp, items: &Items) -> Result<Ending> {
    let nodes = Pinned::new(items);
    let apart = loop {
        if mutant::is_on(Mutant::KeepOrphans) {
            break Vec::new();
        }
        let missing = match state.drop_orphans(time, &nodes) {
            Ok(apart) => break apart,
            Err(missing) => missing,
        };
        match nodes.fetch(missing).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::error!(%error, "what was removed is damaged; numbers of clones in it are not used again");
                state.orphans = State::new(time).orphans;
                break Vec::new();
            }
            fetched => fetched?,
        }
    };
    let realms = loop {
        let missing = match Ending::find(&state.realms, &nodes) {
            Ok(realms) => break realms,
            Err(missing) => missing,
        };
        match nodes.fetch(missing).await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::error!(%error, "the tree of realms is damaged; numbers of clones are not used again");
                break Default::default();
            }
            fetched => fetched?,
        }
    };
    Ok(Ending { apart, realms, ..Ending::default() })
}

/// A log with something in it belongs to a pool whose objects are gone. An empty one was made by a start that went no further.
async fn refuse_log_without_pool(log_store: &dyn LogStore) -> Result<()> {
    for number in log_store.list().await? {
        if batch::may_hold_batches(&log_store.read(number).await?) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "there are log files but no manifest: the objects of this pool are missing; \
                 restore them, or move the log away to start anew",
            ));
        }
    }
    Ok(())
}

/// The log of another kind of medium is not looked for in this one, and what is in it must not be lost. Before anything is changed.
fn refuse_other_log(manifest: &Manifest, is_in_store: bool) -> Result<()> {
    if !manifest.needs_log() || manifest.log_in_store == is_in_store {
        return Ok(());
    }
    let words = match is_in_store {
        true => {
            "what was synced since the last checkpoint is in a log on a disk of the machine that served this pool last, \
             and not among its objects: open it there once more with durability \"local\" and stop that server cleanly; then \
             it can be opened with \"store\""
        }
        false => {
            "what was synced since the last checkpoint is in a log among the objects of this pool, and not on a disk: open \
             it once more with durability \"store\" and stop that server cleanly; then it can be opened with \"local\""
        }
    };
    Err(Error::new(ErrorKind::Invalid, words))
}

fn first_manifest(clock: &dyn Clock, settings: &Settings) -> Manifest {
    let time = clock.now();
    let State { root, orphans, next_number, next_realm, .. } = State::new(time);
    let [a, b, c, d] = settings.identity;
    let mut pool_id = [0; 16];
    pool_id[..8].copy_from_slice(&a.to_le_bytes());
    pool_id[8..].copy_from_slice(&b.to_le_bytes());
    Manifest {
        version: settings.format_version,
        number: 0,
        epoch: 0,
        pool_id,
        hash_key: [c, d],
        hash_mask: settings.name_hash_mask,
        time,
        root,
        orphans,
        aliases: None,
        realms: None,
        ledger: None,
        ledger_dead: Vec::new(),
        garbage: Vec::new(),
        born: Vec::new(),
        next_number,
        next_realm,
        next_segment: 1,
        sequence: 0,
        log: 1,
        newest_log: 0,
        durable: 0,
        abandoned: 0,
        uncounted: Vec::new(),
        table: 0,
        table_changes: Vec::new(),
        log_in_store: false,
    }
}
