//! Opening a pool: the newest manifest, the segments that it does not know yet, the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::address::{Address, ItemKind, SegmentId};
use crate::checkpoint::Checkpointer;
use crate::format::manifest::{self, Manifest};
use crate::frame::DirtyGauge;
use crate::log::batch::batches;
use crate::log::record::Record;
use crate::log::writer::LogWriter;
use crate::metrics::Metrics;
use crate::namespace::{Change, Ending, Interrupt, Locations, NameHasher, REALM_IDS, State};
use crate::object::ObjectStore;
use crate::pool::{Inner, OpenMode, Storage};
use crate::segment::{self, Items, ItemsSettings, ObjectName, Pinned, SegmentRecord, SegmentWriter};
use crate::{Clock, Error, ErrorKind, Result, Settings};

/// Opens or makes a pool.
pub(crate) async fn open(
    storage: Storage,
    clock: Arc<dyn Clock>,
    settings: Settings,
    mode: OpenMode,
) -> Result<Arc<Inner>> {
    let Storage { objects, log: log_store } = storage;
    let newest = newest_manifest(&*objects).await?;
    let manifest = match (newest, mode) {
        (Some(_), OpenMode::Create) => {
            return Err(Error::new(ErrorKind::PoolExists, "there is a pool here already; open it instead"));
        }
        (None, OpenMode::Existing) => {
            return Err(Error::new(ErrorKind::NoPool, "there is no pool here; create one first"));
        }
        (Some(manifest), _) => manifest,
        (None, _) => {
            if !log_store.list()?.is_empty() {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    "there are log files but no manifest: the objects of this pool are missing; \
                     restore them, or move the log away to start anew",
                ));
            }
            first_manifest(&*clock, &settings)
        }
    };
    let metrics = Arc::new(Metrics::default());
    let items = Arc::new(Items::new(
        objects.clone(),
        ItemsSettings {
            compression: settings.compression,
            node_cache_bytes: settings.memory_bytes * 28 / 100,
            frame_cache_bytes: settings.memory_bytes * 28 / 100,
            directory_cache_bytes: settings.memory_bytes * 4 / 100,
            segment_bytes: settings.segment_bytes,
        },
        metrics.clone(),
    ));
    let table_base = load_table(&*objects, &manifest, &items).await?;
    items.set_next_segment(manifest.next_segment);
    let lost_nodes = adopt_segments(&*objects, &items).await?;

    let hasher = NameHasher { key: manifest.hash_key, mask: manifest.hash_mask };
    let gauge = Arc::new(DirtyGauge::default());
    let mut state = State {
        root: manifest.root.clone(),
        orphans: manifest.orphans.clone(),
        aliases: manifest.aliases.clone(),
        realms: manifest.realms.clone(),
        next_number: manifest.next_number,
        next_realm: manifest.next_realm,
        sequence: manifest.sequence,
    };
    let logs = log_store.list()?;
    replay(&mut state, &*log_store, &logs, &manifest, &items, hasher, &gauge).await?;
    let is_all_counted = state.sequence == manifest.sequence;
    let ending = end(&mut state, manifest.time, &items).await?;

    // Take the writer's role.
    let taken =
        Manifest { number: manifest.number + 1, epoch: manifest.epoch + 1, time: clock.now(), ..manifest };
    items.set_epoch(taken.epoch);
    let number = logs.last().copied().unwrap_or(0).max(taken.log.saturating_sub(1)) + 1;
    log_store.create(number)?;
    let log = LogWriter::new(log_store.clone(), items.clone(), metrics.clone(), number);
    let mut checkpointer = Checkpointer::new(taken, SegmentWriter::new(items.clone()));
    checkpointer.lost_nodes = lost_nodes;
    checkpointer.counted = is_all_counted.then_some(0);
    let inner = Inner::new(crate::pool::Parts {
        state,
        ending,
        interval: 1,
        items,
        log,
        log_store,
        checkpointer,
        table_base,
        metrics,
        clock,
        settings,
        hasher,
        gauge,
    });
    let taken = inner.checkpointer.lock().await.manifest.clone();
    inner.put_manifest(&taken).await?;
    Ok(Arc::new(inner))
}

/// What was removed and still held open then is held by nobody now. Finds what the background has to go on with.
async fn end(state: &mut State, time: crate::Timestamp, items: &Items) -> Result<Ending> {
    let nodes = Pinned::new(items);
    let mut ending = Ending::default();
    loop {
        let missing = match state.drop_orphans(time, &nodes) {
            Ok(apart) => {
                ending.apart = apart;
                match Ending::find(&state.realms, &nodes) {
                    Ok(realms) => {
                        ending.realms = realms;
                        return Ok(ending);
                    }
                    Err(missing) => missing,
                }
            }
            Err(missing) => missing,
        };
        nodes.fetch(missing).await?;
    }
}

async fn newest_manifest(objects: &dyn ObjectStore) -> Result<Option<Manifest>> {
    let Some(newest) = objects.list(manifest::PREFIX).await?.pop() else { return Ok(None) };
    let bytes = objects.get(&newest.name, 0, newest.size).await?;
    Manifest::decode(&bytes, &newest.name).map(Some)
}

fn first_manifest(clock: &dyn Clock, settings: &Settings) -> Manifest {
    let time = clock.now();
    let State { root, orphans, next_number, next_realm, .. } = State::new(time);
    let [a, b, c, d] = settings.identity;
    let mut pool_id = [0; 16];
    pool_id[..8].copy_from_slice(&a.to_le_bytes());
    pool_id[8..].copy_from_slice(&b.to_le_bytes());
    Manifest {
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
        table: 0,
        table_changes: Vec::new(),
    }
}

async fn load_table(
    objects: &dyn ObjectStore,
    manifest: &Manifest,
    items: &Items,
) -> Result<Arc<BTreeMap<SegmentId, SegmentRecord>>> {
    let mut base = BTreeMap::new();
    if manifest.table > 0 {
        let path = manifest::table_path(manifest.table);
        let size = objects.size(&path).await.map_err(|error| missing_table(&path, error))?;
        let bytes = objects.get(&path, 0, size).await?;
        for (segment, record) in manifest::decode_table(&bytes, &path)? {
            base.extend(record.map(|record| (segment, record)));
        }
    }
    let mut table = items.table_mut();
    *table = base.clone();
    for (segment, record) in &manifest.table_changes {
        match record {
            Some(record) => table.insert(*segment, record.clone()),
            None => table.remove(segment),
        };
    }
    drop(table);
    for (address, kind) in &manifest.born {
        items.born(*address, *kind, 0);
    }
    Ok(Arc::new(base))
}

fn missing_table(path: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::with_source(ErrorKind::Corrupt, format!("{path} is missing"), error),
        _ => error,
    }
}

/// Takes segments in that were written after the manifest: the log may name their frames. Their nodes belong to a checkpoint that was
/// never finished; they are returned. Objects that hold old segments at new places, or nothing known, are deleted.
async fn adopt_segments(objects: &dyn ObjectStore, items: &Items) -> Result<Vec<Address>> {
    let known: FxHashSet<ObjectName> = items.table().values().map(|record| record.object).collect();
    let mut lost = Vec::new();
    for object in objects.list(segment::PREFIX).await? {
        let Some(name) = ObjectName::parse(&object.name) else {
            tracing::warn!(object = object.name, "an object has a name that no pool gives");
            continue;
        };
        items.set_next_segment(items.next_segment().max(name.number + 1));
        items.set_object_bytes(name, object.size);
        if known.contains(&name) {
            continue;
        }
        let footer = match items.footer(name, object.size).await {
            Ok(footer) => footer,
            Err(error) => {
                tracing::warn!(object = object.name, %error, "a new segment cannot be read and is left alone");
                continue;
            }
        };
        let [(id, directory_offset, directory_length)] = footer[..] else {
            objects.delete(&object.name).await?;
            items.forget_object(name);
            continue;
        };
        // A segment that lies elsewhere was moved, from here or to here. One that no manifest knows was written after the manifest, or
        // is one that has died and was not deleted any more: taken in, it dies at the next checkpoint, as nothing refers to it.
        if id.0 != name.number || items.table().contains_key(&id) {
            objects.delete(&object.name).await?;
            items.forget_object(name);
            continue;
        }
        let mut record = SegmentRecord {
            object: name,
            directory_offset,
            directory_length,
            bytes: object.size,
            live_items: 0,
            live_bytes: 0,
        };
        let directory = items.directory_at(id, &record).await?;
        record.live_items = directory.items.len() as u32;
        record.live_bytes = directory.items.iter().map(|item| u64::from(item.stored_length)).sum();
        items.table_mut().insert(id, record);
        for item in &directory.items {
            let address = Address::new(id, item.index);
            if item.kind == ItemKind::Frame {
                items.born(address, ItemKind::Frame, 0);
            } else {
                lost.push(address);
            }
        }
    }
    // Items that were never put are no more.
    let table = items.table();
    items.born_items().retain(|address, _| table.contains_key(&address.segment()));
    drop(table);
    Ok(lost)
}

async fn replay(
    state: &mut State,
    log_store: &dyn crate::log::LogStore,
    logs: &[u64],
    manifest: &Manifest,
    items: &Items,
    hasher: NameHasher,
    gauge: &Arc<DirtyGauge>,
) -> Result<()> {
    let mut locations = Locations::of_replay();
    for number in logs.iter().copied().filter(|number| *number >= manifest.log) {
        let file = log_store.read(number)?;
        for batch in batches(&file, number) {
            if batch.operations > 0 && batch.sequence + u64::from(batch.operations) <= state.sequence + 1 {
                continue;
            }
            if batch.operations > 0 && batch.sequence != state.sequence + 1 {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!(
                        "log file {number} continues with operation {}, but {} is the next one: \
                         a log file is missing",
                        batch.sequence,
                        state.sequence + 1
                    ),
                ));
            }
            for record in batch.records()? {
                apply(record, state, &mut locations, items, hasher, gauge).await.map_err(|error| {
                    Error::with_source(
                        error.kind(),
                        format!("log file {number} cannot be replayed: {error}"),
                        error,
                    )
                })?;
            }
        }
    }
    Ok(())
}

async fn apply(
    record: Record,
    state: &mut State,
    locations: &mut Locations,
    items: &Items,
    hasher: NameHasher,
    gauge: &Arc<DirtyGauge>,
) -> Result<()> {
    let (time, operation) = match record {
        Record::Locate { ino, parent, place, realm_root } => {
            locations.place(ino, parent, place, realm_root);
            return Ok(());
        }
        Record::Operation(time, operation) => (time, operation),
    };
    let nodes = Pinned::new(items);
    loop {
        let mut change = Change {
            state,
            locations,
            nodes: &nodes,
            hasher,
            gauge,
            interval: 0,
            time,
            replay: true,
            // What is left when the replay is over is found then.
            ending: &mut Ending::default(),
            realm_ids: REALM_IDS,
            fragmented: None,
        };
        match change.apply(&operation) {
            Ok(_) => return Ok(()),
            Err(Interrupt::Missing(missing)) => nodes.fetch(missing).await?,
            Err(Interrupt::Error(error)) => {
                return Err(Error::with_source(
                    ErrorKind::Corrupt,
                    format!("operation {} does not fit the state: {error}", state.sequence + 1),
                    error,
                ));
            }
            Err(Interrupt::Changed | Interrupt::NoRealm) => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("operation {} does not fit the realms of the state", state.sequence + 1),
                ));
            }
            Err(Interrupt::Alias(key)) => {
                return Err(Error::new(
                    ErrorKind::Corrupt,
                    format!("operation {} meets {key:?} without an alias", state.sequence + 1),
                ));
            }
        }
    }
}
