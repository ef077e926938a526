//! Gathering items into segments.

use std::sync::Arc;

use bytes::Bytes;

use super::layout::{Directory, Item, ObjectBuilder, nature};
use super::{Items, ObjectName, SegmentRecord, codec};
use crate::address::{Address, ItemKind, SegmentId};
use crate::encryption::ItemKey;
use crate::object::put_own;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{Error, ErrorKind, Result};

/// A segment that is not in the store yet. Its items can be read all the same.
pub(crate) struct Gathering {
    id: SegmentId,
    bytes: AtomicU64,
    content: Mutex<Content>,
}

enum Content {
    Growing(ObjectBuilder, Directory),
    /// With offset and length of the directory.
    Finished(Bytes, Directory, (u64, u32)),
}

impl Gathering {
    /// An item, the key of the segment and the stored bytes.
    pub(super) fn read(&self, index: u32) -> Option<(Item, Option<ItemKey>, Bytes)> {
        match &*self.content.lock() {
            Content::Growing(builder, directory) => {
                let item = *directory.find(index)?;
                Some((item, directory.key.clone(), builder.stored(&item)))
            }
            Content::Finished(bytes, directory, _) => {
                let item = *directory.find(index)?;
                let start = item.offset as usize;
                let stored = bytes.slice(start..start + item.stored_length as usize);
                Some((item, directory.key.clone(), stored))
            }
        }
    }

    /// Bytes held in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Packs items into segments, one after the other.
pub(crate) struct SegmentWriter {
    items: Arc<Items>,
    current: Option<Arc<Gathering>>,
    /// Full segments that still have to be put.
    full: Vec<Arc<Gathering>>,
}

impl SegmentWriter {
    pub(crate) fn new(items: Arc<Items>) -> Self {
        Self { items, current: None, full: Vec::new() }
    }

    /// Adds an item. It can be read at once and is durable after [`SegmentWriter::seal`].
    pub(crate) fn append(&mut self, kind: ItemKind, raw: &[u8]) -> Address {
        let (codec, stored) = codec::encode(self.items.settings.compression, raw);
        let items = &self.items;
        let current = self.current.get_or_insert_with(|| {
            let id = items.take_segment_id();
            let object = ObjectName { epoch: items.epoch(), number: id.0 };
            let builder = ObjectBuilder::new(items.format_version(), object.epoch, 256 << 10)
                .encrypted(items.keys(), object);
            let key = items.keys().map(|keys| keys.new_item_key(object.epoch));
            let gathering = Arc::new(Gathering {
                id,
                bytes: AtomicU64::new(0),
                content: Mutex::new(Content::Growing(builder, Directory::with_key(key))),
            });
            items.gathering.lock().insert(id, gathering.clone());
            gathering
        });
        let mut content = current.content.lock();
        let Content::Growing(builder, directory) = &mut *content else {
            unreachable!("the current segment grows")
        };
        let index = directory.items.len() as u32;
        let stored = match &directory.key {
            None => stored,
            Some(key) => {
                let nature = nature(current.id, index, raw.len() as u32, kind, codec);
                key.encrypt(index, &nature, &stored).into()
            }
        };
        let item = builder.push(current.id, index, kind, raw.len() as u32, codec, &stored);
        directory.items.push(item);
        let full = builder.length() as u64 >= items.settings.segment_bytes || index + 1 == Address::ITEMS_MAX;
        current.bytes.store(builder.length() as u64, Ordering::Relaxed);
        drop(content);
        let metrics = &items.metrics;
        if kind == ItemKind::Frame { &metrics.frames_stored } else { &metrics.nodes_stored }.add(1);
        let address = Address::new(current.id, index);
        if full {
            self.full.extend(self.current.take());
        }
        address
    }

    /// Whether there is a full segment to put.
    pub(crate) fn has_full(&self) -> bool {
        !self.full.is_empty()
    }

    /// Puts all full segments. What fails stays and is tried again by the next call.
    pub(crate) async fn put_full(&mut self) -> Result<()> {
        while let Some(gathering) = self.full.last() {
            let (bytes, record) = self.finish(gathering);
            let object_bytes = bytes.len() as u64;
            match put_own(&*self.items.objects, &record.object.path(), bytes).await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Exists => {
                    return Err(Error::with_source(
                        ErrorKind::Fenced,
                        format!("{} exists already: another writer uses this pool", record.object.path()),
                        error,
                    ));
                }
                Err(error) => return Err(error),
            }
            self.items.metrics.segment_bytes.add(record.bytes);
            self.items.set_object_bytes(record.object, object_bytes);
            let gathering = self.full.pop().expect("it was just looked at");
            self.items.table_mut().insert(gathering.id, record);
            self.items.gathering.lock().remove(&gathering.id);
        }
        Ok(())
    }

    /// Puts everything that was appended. It is durable when this answers.
    pub(crate) async fn seal(&mut self) -> Result<()> {
        self.full.extend(self.current.take());
        self.put_full().await
    }

    fn finish(&self, gathering: &Gathering) -> (Bytes, SegmentRecord) {
        let mut content = gathering.content.lock();
        if let Content::Growing(builder, directory) = &mut *content {
            let mut builder = std::mem::replace(builder, ObjectBuilder::new(0, 0, 0));
            let directory = std::mem::take(directory);
            let place = builder.end_segment(gathering.id, &directory, self.items.pool_mark());
            *content = Content::Finished(builder.finish(), directory, place);
        }
        let Content::Finished(bytes, directory, place) = &*content else {
            unreachable!("it was just finished")
        };
        let record = SegmentRecord {
            object: ObjectName { epoch: self.items.epoch(), number: gathering.id.0 },
            directory_offset: place.0,
            directory_length: place.1,
            bytes: bytes.len() as u64,
            live_items: directory.items.len() as u32,
            live_bytes: directory.items.iter().map(|item| u64::from(item.stored_length)).sum(),
        };
        (bytes.clone(), record)
    }
}
