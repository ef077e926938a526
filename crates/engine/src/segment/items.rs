//! Reading items: from segments that are still being gathered, from the caches, from the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;

use super::ahead::Ahead;
use super::cache::{Cache, FrameWeight, NodeWeight, cache};
use super::fetch::{Fetched, Sought};
use super::layout::{
    Directory, FOOTER_TAIL_BYTES, FooterEntry, HEADER_BYTES, check_header, decrypt_object_footer,
    parse_footer_tail, parse_header, parse_object_footer,
};
use super::writer::Gathering;
use super::{ObjectName, PREFIX, PoolMark, SegmentRecord};
use crate::address::{Address, ItemKind, SegmentId};
use crate::damage::Damage;
use crate::disk_cache::DiskCache;
use crate::encryption::{Keys, Unlocked};
use crate::metrics::Metrics;
use crate::object::ObjectStore;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::tree::{AnyNode, ChangedNodes, Missing};
use crate::{Compression, Error, ErrorKind, Result};

/// Sizes of the caches and how items are compressed.
pub(crate) struct ItemsSettings {
    pub(crate) compression: Compression,
    pub(crate) node_cache_bytes: u64,
    pub(crate) frame_cache_bytes: u64,
    pub(crate) directory_cache_bytes: u64,
    /// Of what is read ahead.
    pub(crate) ahead_bytes: u64,
    pub(crate) segment_bytes: u64,
    /// Bytes of segments that one writer has on their way to the store at a time, if it is more than one.
    pub(crate) putting_bytes_max: u64,
    /// Of the format that is written, the newest that is read.
    pub(crate) format_version: u32,
    pub(crate) pool_mark: PoolMark,
    pub(crate) keys: Unlocked,
}

#[derive(Clone)]
pub(super) struct DirectoryWeight;

impl Weighter<(SegmentId, ObjectName), Arc<Directory>> for DirectoryWeight {
    fn weight(&self, _: &(SegmentId, ObjectName), directory: &Arc<Directory>) -> u64 {
        (directory.items.len() * size_of::<super::Item>()) as u64 + 128
    }
}

/// An item that was written and that no count knows yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Born {
    pub(crate) kind: ItemKind,
    /// The checkpoint interval in which it was made.
    pub(crate) interval: u64,
}

/// All stored items of a pool.
pub(crate) struct Items {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) settings: ItemsSettings,
    pub(super) metrics: Arc<Metrics>,
    pub(super) nodes: Cache<Address, AnyNode, NodeWeight>,
    pub(super) frames: Cache<Address, Bytes, FrameWeight>,
    pub(super) directories: Cache<(SegmentId, ObjectName), Arc<Directory>, DirectoryWeight>,
    /// Items that were written and that no count knows yet, with the checkpoint interval in which they were made.
    born: Mutex<FxHashMap<Address, Born>>,
    changed_nodes: ChangedNodes,
    damage: Damage,
    /// Every stored segment.
    table: RwLock<BTreeMap<SegmentId, SegmentRecord>>,
    /// Records of segments that were moved or dropped, for those who still read an older state.
    retired: Mutex<Vec<(SegmentId, SegmentRecord)>>,
    /// Objects that were found at the start and could not be taken in, and why.
    left_alone: Mutex<BTreeMap<ObjectName, String>>,
    /// Bytes of every object in the store; some of it may belong to segments that have left it.
    object_bytes: Mutex<FxHashMap<ObjectName, u64>>,
    /// Segments that are still being gathered or put.
    pub(super) gathering: Mutex<FxHashMap<SegmentId, Arc<Gathering>>>,
    /// A call to the store takes a round trip.
    pub(super) remote: bool,
    /// What is kept on a disk of this machine.
    pub(super) disk: Option<DiskCache>,
    /// What was read before anybody asked for it.
    pub(super) ahead: Mutex<Ahead>,
    /// What is being read; closed when that has ended.
    pub(super) under_way: Mutex<FxHashMap<Sought, Arc<Semaphore>>>,
    next_segment: AtomicU64,
    pub(super) epoch: AtomicU64,
}

impl Items {
    pub(crate) fn new(
        objects: Arc<dyn ObjectStore>,
        disk: Option<DiskCache>,
        settings: ItemsSettings,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            remote: objects.is_remote(),
            disk,
            ahead: Mutex::new(Ahead::new(settings.ahead_bytes)),
            under_way: Mutex::default(),
            objects,
            metrics,
            nodes: cache(settings.node_cache_bytes, 12 << 10, NodeWeight),
            frames: cache(settings.frame_cache_bytes, 16 << 10, FrameWeight),
            directories: cache(settings.directory_cache_bytes, 32 << 10, DirectoryWeight),
            settings,
            born: Mutex::default(),
            changed_nodes: ChangedNodes::default(),
            damage: Damage::default(),
            table: RwLock::default(),
            retired: Mutex::default(),
            left_alone: Mutex::default(),
            object_bytes: Mutex::default(),
            gathering: Mutex::default(),
            next_segment: AtomicU64::new(1),
            epoch: AtomicU64::new(0),
        }
    }

    /// The number of the segment that is begun next.
    pub(crate) fn next_segment(&self) -> u64 {
        self.next_segment.load(Ordering::Relaxed)
    }

    pub(crate) fn set_next_segment(&self, next: u64) {
        self.next_segment.store(next, Ordering::Relaxed);
    }

    pub(crate) fn take_segment_id(&self) -> SegmentId {
        SegmentId(self.next_segment.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    pub(crate) fn table(&self) -> crate::sync::RwLockReadGuard<'_, BTreeMap<SegmentId, SegmentRecord>> {
        self.table.read()
    }

    pub(crate) fn table_mut(&self) -> crate::sync::RwLockWriteGuard<'_, BTreeMap<SegmentId, SegmentRecord>> {
        self.table.write()
    }

    /// Notes a new item.
    pub(crate) fn born(&self, address: Address, kind: ItemKind, interval: u64) {
        self.born.lock().insert(address, Born { kind, interval });
    }

    /// The items that no count knows yet.
    pub(crate) fn born_items(&self) -> crate::sync::MutexGuard<'_, FxHashMap<Address, Born>> {
        self.born.lock()
    }

    /// Notes an object that no manifest knows and that cannot be read.
    pub(crate) fn leave_alone(&self, object: ObjectName, error: &Error) {
        self.left_alone.lock().insert(object, error.to_string());
    }

    /// Objects that were left alone; they are forgotten.
    pub(crate) fn take_left_alone(&self) -> Vec<ObjectName> {
        std::mem::take(&mut *self.left_alone.lock()).into_keys().collect()
    }

    fn unknown_segment(&self, segment: SegmentId) -> Error {
        let why = self.why_absent(segment);
        let message = format!("segment {:x} is not in the segment table{why}", segment.0);
        Error::new(ErrorKind::Corrupt, message)
    }

    /// What is known of a segment that is not in the table, to be put behind an error.
    fn why_absent(&self, segment: SegmentId) -> String {
        let left = self.left_alone.lock();
        let known = left.iter().find(|(object, _)| object.number == segment.0);
        match known {
            None => format!(", and no object {PREFIX}{:010x}-* is known", segment.0),
            Some((object, error)) if error.contains(&object.path()) => format!(": {error}"),
            Some((object, error)) => format!(": {}: {error}", object.path()),
        }
    }

    /// Notes that an object is in the store.
    pub(crate) fn set_object_bytes(&self, object: ObjectName, bytes: u64) {
        self.object_bytes.lock().insert(object, bytes);
    }

    /// The size of an object in the store, if it is known.
    pub(crate) fn object_bytes(&self, object: ObjectName) -> Option<u64> {
        self.object_bytes.lock().get(&object).copied()
    }

    /// Notes that an object is no longer in the store.
    pub(crate) fn forget_object(&self, object: ObjectName) {
        self.object_bytes.lock().remove(&object);
    }

    /// Bytes of all objects in the store.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.object_bytes.lock().values().sum()
    }

    /// The cache on a disk of this machine, if there is one.
    pub(crate) fn disk_cache(&self) -> Option<&DiskCache> {
        self.disk.as_ref()
    }

    /// Bytes in the caches.
    pub(crate) fn cached_bytes(&self) -> u64 {
        self.nodes.weight() + self.frames.weight() + self.directories.weight() + self.ahead.lock().bytes()
    }

    /// Whether a segment is not in the store yet.
    pub(crate) fn is_gathering(&self, segment: SegmentId) -> bool {
        self.gathering.lock().contains_key(&segment)
    }

    /// Nodes that are in memory because they were changed.
    pub(crate) fn changed_nodes(&self) -> &ChangedNodes {
        &self.changed_nodes
    }

    /// Bytes of segments that are not in the store yet.
    pub(crate) fn gathering_bytes(&self) -> u64 {
        self.gathering.lock().values().map(|gathering| gathering.bytes()).sum()
    }

    /// A node, if it is in the cache.
    pub(crate) fn cached_node(&self, address: Address) -> Option<AnyNode> {
        self.nodes.get(&address)
    }

    pub(crate) fn keep_node(&self, address: Address, node: AnyNode) {
        self.nodes.insert(address, node);
    }

    pub(crate) fn keep_frame(&self, address: Address, bytes: Bytes) {
        self.frames.insert(address, bytes);
    }

    /// Drops an item that is dead from the caches.
    pub(crate) fn drop_cached(&self, address: Address, kind: ItemKind) {
        if let Some(disk) = &self.disk {
            disk.drop_item(address, kind);
        }
        if self.remote {
            self.ahead.lock().take(address);
        }
        if kind == ItemKind::Frame {
            self.frames.remove(&address);
        } else {
            self.nodes.remove(&address);
        }
    }

    /// A node, from the cache or the store.
    pub(crate) async fn node(&self, missing: Missing) -> Result<AnyNode> {
        if let Some(node) = self.nodes.get(&missing.address) {
            return Ok(node);
        }
        if self.remote {
            for (_, item) in self.bring(&[missing]).await {
                if let Fetched::Node(node) = item {
                    return Ok(node);
                }
            }
        }
        let bytes = self.read(missing.address, missing.kind).await?;
        let node = AnyNode::decode(missing.kind, &bytes, missing.address).map_err(|error| {
            let message = format!("node {:?} cannot be decoded", missing.address);
            self.damaged(
                missing.address,
                missing.kind,
                Error::with_source(ErrorKind::Corrupt, message, error),
            )
        })?;
        self.nodes.insert(missing.address, node.clone());
        Ok(node)
    }

    /// The bytes of a frame, from the cache or the store.
    pub(crate) async fn frame(&self, address: Address) -> Result<Bytes> {
        if address.is_lost() {
            return Err(lost());
        }
        if let Some(bytes) = self.frames.get(&address) {
            return Ok(bytes);
        }
        if self.remote {
            for (_, item) in self.bring(&[Missing { address, kind: ItemKind::Frame }]).await {
                if let Fetched::Frame(bytes) = item {
                    return Ok(bytes);
                }
            }
        }
        let bytes = self.read(address, ItemKind::Frame).await?;
        self.frames.insert(address, bytes.clone());
        Ok(bytes)
    }

    /// As [`Items::frame`], for what is not expected to be read again: it is not put into the cache.
    pub(crate) async fn frame_once(&self, address: Address) -> Result<Bytes> {
        match self.frames.get(&address) {
            Some(bytes) => Ok(bytes),
            // It was brought with others, or is read with what lies beside it.
            None if self.remote => self.frame(address).await,
            None => self.read(address, ItemKind::Frame).await,
        }
    }

    /// The bytes of an item, past the caches.
    ///
    /// # Errors
    /// `Corrupt` if they are not there or not what was written, `Store`.
    pub(crate) async fn read(&self, address: Address, kind: ItemKind) -> Result<Bytes> {
        self.find_and_read(address, kind).await.map_err(|error| self.damaged(address, kind, error))
    }

    /// Notes an item that is damaged.
    fn damaged(&self, address: Address, kind: ItemKind, error: Error) -> Error {
        if error.kind() == ErrorKind::Corrupt && self.damage.item(address, kind, &error) {
            self.metrics.items_unreadable.add(1);
        }
        error
    }

    /// What could not be read.
    pub(crate) fn damage(&self) -> &Damage {
        &self.damage
    }

    async fn find_and_read(&self, address: Address, kind: ItemKind) -> Result<Bytes> {
        let segment = address.segment();
        let gathering = self.gathering.lock().get(&segment).cloned();
        if let Some(gathering) = gathering
            && let Some((item, key, stored)) = gathering.read(address.index())
        {
            return item.open(segment, key.as_ref(), stored);
        }
        for record in self.places(segment) {
            let directory = self.directory_at(segment, &record).await?;
            let Some(item) = directory.find(address.index()).filter(|item| item.kind == kind) else {
                continue;
            };
            let path = record.object.path();
            let stored = self
                .objects
                .get(&path, item.offset, u64::from(item.stored_length))
                .await
                .map_err(|error| absent(&path, error))?;
            self.metrics.fetches.add(1);
            self.metrics.items_fetched.add(1);
            self.metrics.fetched_bytes.add(stored.len() as u64);
            return item
                .open(segment, directory.key.as_ref(), stored)
                .map_err(|error| Error::with_source(error.kind(), format!("{path}: {error}"), error));
        }
        Err(Error::new(
            ErrorKind::Corrupt,
            match self.table.read().get(&segment) {
                Some(record) => {
                    format!(
                        "{}: there is no item {} in segment {:x}",
                        record.object.path(),
                        address.index(),
                        segment.0
                    )
                }
                None => {
                    format!("segment {:x} is not in the segment table{}", segment.0, self.why_absent(segment))
                }
            },
        ))
    }

    /// Bytes that an item takes in the store; 0 if it is not there yet.
    ///
    /// # Errors
    /// `Corrupt` if nothing is known of it.
    pub(crate) async fn stored_length(&self, address: Address) -> Result<u64> {
        let segment = address.segment();
        if self.is_gathering(segment) {
            return Ok(0);
        }
        let places = self.places(segment);
        if places.is_empty() {
            return Err(self.unknown_segment(segment));
        }
        for record in places {
            if let Some(item) = self.directory_at(segment, &record).await?.find(address.index()) {
                return Ok(u64::from(item.stored_length));
            }
        }
        Ok(0)
    }

    /// Where a segment lies, and then where it lay for those who read an older state, the newest place first: of those that have an item it
    /// is the one that is kept for whoever needs it; the others may be deleted at any moment.
    fn places(&self, segment: SegmentId) -> Vec<SegmentRecord> {
        let mut records: Vec<SegmentRecord> = self.table.read().get(&segment).cloned().into_iter().collect();
        let retired = self.retired.lock();
        let of_segment = retired.iter().rev().filter(|(id, _)| *id == segment);
        records.extend(of_segment.map(|(_, record)| record.clone()));
        drop(retired);
        if records.is_empty() {
            // It may have been put since the first look.
            records.extend(self.table.read().get(&segment).cloned());
        }
        records
    }

    /// Keeps the record of a segment that was moved or dropped, until [`Items::forget_retired`].
    pub(crate) fn retire(&self, segment: SegmentId, record: SegmentRecord) {
        self.retired.lock().push((segment, record));
    }

    /// Forgets retired records that lie in one of these objects.
    pub(crate) fn forget_retired(&self, objects: &[ObjectName]) {
        self.retired.lock().retain(|(_, record)| !objects.contains(&record.object));
    }

    pub(crate) fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Of the format that is written, the newest that is read.
    pub(crate) fn format_version(&self) -> u32 {
        self.settings.format_version
    }

    pub(crate) fn pool_mark(&self) -> PoolMark {
        self.settings.pool_mark
    }

    /// The keys of an encrypted pool.
    pub(crate) fn keys(&self) -> Option<&Arc<Keys>> {
        self.settings.keys.as_ref()
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.settings.segment_bytes
    }

    /// The directory of a stored segment.
    pub(crate) async fn directory(&self, segment: SegmentId) -> Result<(SegmentRecord, Arc<Directory>)> {
        let record = self.table.read().get(&segment).cloned();
        let record = record.ok_or_else(|| self.unknown_segment(segment))?;
        let directory = self.directory_at(segment, &record).await?;
        Ok((record, directory))
    }

    /// The directory of a segment as it lies at a place.
    pub(crate) async fn directory_at(
        &self,
        segment: SegmentId,
        record: &SegmentRecord,
    ) -> Result<Arc<Directory>> {
        if let Some(directory) = self.directories.get(&(segment, record.object)) {
            return Ok(directory);
        }
        let directory = Arc::new(self.stored_directory(segment, record).await?);
        self.directories.insert((segment, record.object), directory.clone());
        Ok(directory)
    }

    /// As [`Items::directory_at`], past the cache.
    pub(crate) async fn stored_directory(
        &self,
        segment: SegmentId,
        record: &SegmentRecord,
    ) -> Result<Directory> {
        let path = record.object.path();
        let bytes = self
            .objects
            .get(&path, record.directory_offset, u64::from(record.directory_length))
            .await
            .map_err(|error| absent(&path, error))?;
        self.decode_directory(&bytes, segment, record.object)
            .map_err(|error| Error::with_source(error.kind(), format!("{path}: {error}"), error))
    }

    /// A directory as it is stored in an object.
    pub(super) fn decode_directory(
        &self,
        stored: &[u8],
        segment: SegmentId,
        object: ObjectName,
    ) -> Result<Directory> {
        match self.keys() {
            None => Directory::decode(stored, segment, self.pool_mark()),
            Some(keys) => Directory::decrypt(stored, segment, self.pool_mark(), keys, object),
        }
    }

    /// Verifies what is around the segments of an object: header and footer, and that it says where these lie.
    ///
    /// # Errors
    /// `Corrupt`, `Store`.
    pub(crate) async fn envelope(&self, object: ObjectName, segments: &[FooterEntry]) -> Result<()> {
        let path = object.path();
        let named = |error: Error| Error::with_source(error.kind(), format!("{path}: {error}"), error);
        let size = self.objects.size(&path).await.map_err(|error| absent(&path, error))?;
        let header = self.objects.get(&path, 0, HEADER_BYTES as u64).await;
        let header = header.map_err(|error| absent(&path, error))?;
        parse_header(&header, object.epoch, self.format_version(), self.keys().is_some()).map_err(named)?;
        let listed = self.footer_list(&path, size).await.map_err(named)?;
        if segments.iter().all(|segment| listed.contains(segment)) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, format!("{path}: the footer is that of another object")))
    }

    /// The segments of an object and where their directories are, from the object itself.
    pub(crate) async fn footer(&self, object: ObjectName, size: u64) -> Result<Vec<FooterEntry>> {
        let path = object.path();
        let header =
            self.objects.get(&path, 0, HEADER_BYTES as u64).await.map_err(|error| absent(&path, error))?;
        check_header(&header, self.format_version(), &path)?;
        self.footer_list(&path, size).await
    }

    async fn footer_list(&self, path: &str, size: u64) -> Result<Vec<FooterEntry>> {
        let tail_bytes = FOOTER_TAIL_BYTES as u64;
        let start = size
            .checked_sub(tail_bytes)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("{path} is cut off")))?;
        let tail = self.objects.get(path, start, tail_bytes).await.map_err(|error| absent(path, error))?;
        let (length, checksum) = parse_footer_tail(&tail)?;
        let start = start
            .checked_sub(u64::from(length))
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, format!("{path} is cut off")))?;
        let list =
            self.objects.get(path, start, u64::from(length)).await.map_err(|error| absent(path, error))?;
        match self.keys() {
            None => parse_object_footer(&list, checksum),
            Some(keys) => decrypt_object_footer(&list, checksum, keys, path),
        }
    }
}

/// The error of who reads what was lost.
fn lost() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "this part of the file was lost to damage, as a repair has found; it can be read again once it is overwritten",
    )
}

/// An object that should be there and is not, is damage; other failures are the store's.
pub(crate) fn absent(path: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::with_source(ErrorKind::Corrupt, format!("{path} is missing"), error),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::MemoryStore;

    /// A segment was compacted twice while a tree was measured. What had gone with the second time was looked for where the segment had been
    /// before the first, which was deleted at that moment, and a sound pool was told to be damaged. A simulated world found it.
    #[test]
    fn a_segment_is_looked_for_where_it_was_last() {
        let settings = ItemsSettings {
            compression: Compression::None,
            node_cache_bytes: 1,
            frame_cache_bytes: 1,
            directory_cache_bytes: 1,
            ahead_bytes: 1,
            segment_bytes: 1,
            putting_bytes_max: 1,
            format_version: crate::format::VERSION,
            pool_mark: PoolMark::of(&[0; 16]),
            keys: None,
        };
        let items = Items::new(Arc::new(MemoryStore::new()), None, settings, Arc::default());
        let at = |number| SegmentRecord {
            object: ObjectName { epoch: 1, number },
            directory_offset: 0,
            directory_length: 0,
            bytes: 0,
            live_items: 0,
            live_bytes: 0,
        };
        let segment = SegmentId(1);
        items.table_mut().insert(segment, at(3));
        items.retire(segment, at(1));
        items.retire(segment, at(2));
        let places: Vec<u64> = items.places(segment).iter().map(|record| record.object.number).collect();
        assert_eq!(places, [3, 2, 1]);
    }
}
