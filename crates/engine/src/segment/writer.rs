//! Gathering items into segments.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};

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

    /// The bytes of a finished segment's object, and its items.
    pub(super) fn finished(&self) -> Option<(Bytes, Vec<Item>)> {
        match &*self.content.lock() {
            Content::Finished(bytes, directory, _) => Some((bytes.clone(), directory.items.clone())),
            Content::Growing(..) => None,
        }
    }

    /// Bytes held in memory.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Segments that are on their way to the store at a time. Their bytes count as dirty until they have arrived, so that whoever writes waits
/// for them.
const PUTS_MAX: usize = 8;

/// A segment that the store has answered for.
struct Put {
    gathering: Arc<Gathering>,
    record: SegmentRecord,
    object_bytes: u64,
    answer: Result<()>,
}

/// Packs items into segments, one after the other, and puts several at a time.
pub(crate) struct SegmentWriter {
    items: Arc<Items>,
    current: Option<Arc<Gathering>>,
    /// Full segments that still have to be put.
    full: Vec<Arc<Gathering>>,
    /// Segments on their way.
    putting: FuturesUnordered<BoxFuture<'static, Put>>,
    putting_bytes: u64,
}

impl SegmentWriter {
    pub(crate) fn new(items: Arc<Items>) -> Self {
        Self { items, current: None, full: Vec::new(), putting: FuturesUnordered::new(), putting_bytes: 0 }
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

    /// Sends all full segments on their way, and waits only until few enough are under way. What fails stays and is tried again by
    /// the next call; whatever is under way then has come to its end too.
    pub(crate) async fn put_full(&mut self) -> Result<()> {
        while let Some(gathering) = self.full.pop() {
            self.begin(gathering);
            // One at least is under way, however large.
            let bytes_max = self.items.settings.putting_bytes_max;
            self.end_until(|this| {
                this.putting.len() < PUTS_MAX && (this.putting.len() < 2 || this.putting_bytes <= bytes_max)
            })
            .await?;
        }
        Ok(())
    }

    /// Puts everything that was appended. It is durable when this answers.
    pub(crate) async fn seal(&mut self) -> Result<()> {
        self.full.extend(self.current.take());
        self.put_full().await?;
        self.end_until(|this| this.putting.is_empty()).await
    }

    fn begin(&mut self, gathering: Arc<Gathering>) {
        let (bytes, record) = self.finish(&gathering);
        let (items, object_bytes) = (self.items.clone(), bytes.len() as u64);
        self.putting_bytes += object_bytes;
        self.putting.push(Box::pin(async move {
            let path = record.object.path();
            let answer = put_own(&*items.objects, &path, bytes).await.map_err(|error| match error.kind() {
                ErrorKind::Exists => Error::with_source(
                    ErrorKind::Fenced,
                    format!("{path} exists already: another writer uses this pool"),
                    error,
                ),
                _ => error,
            });
            Put { gathering, record, object_bytes, answer }
        }));
    }

    /// Lets puts go on, and waits until `enough`; after a failure until none is under way.
    async fn end_until(&mut self, enough: impl Fn(&Self) -> bool) -> Result<()> {
        let mut failure: Option<Error> = None;
        loop {
            let may_wait = failure.is_some() || !enough(self);
            let ended = match futures::poll!(self.putting.next()) {
                Poll::Ready(None) => break,
                Poll::Ready(ended) => ended,
                Poll::Pending if may_wait => self.putting.next().await,
                Poll::Pending => break,
            };
            if let Some(put) = ended
                && let Err(error) = self.end(put)
            {
                // That another has taken over matters more than anything else.
                if failure.as_ref().is_none_or(|_| error.kind() == ErrorKind::Fenced) {
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn end(&mut self, put: Put) -> Result<()> {
        let Put { gathering, record, object_bytes, answer } = put;
        self.putting_bytes -= object_bytes;
        if let Err(error) = answer {
            self.full.push(gathering);
            return Err(error);
        }
        self.items.metrics.segment_bytes.add(record.bytes);
        self.items.set_object_bytes(record.object, object_bytes);
        self.items.keep_segment_on_disk(gathering.id, &record, &gathering);
        self.items.table_mut().insert(gathering.id, record);
        self.items.gathering.lock().remove(&gathering.id);
        Ok(())
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
