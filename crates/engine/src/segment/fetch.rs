//! Reading many items in few calls, for remote stores.
//!
//! What is wanted of one segment is read in spans: items that lie close together in one call, with what lies between them, and with a
//! window around them that grows while a read goes on ([`super::ahead`]). Spans and segments are read several at a time. A directory that
//! is not known is read together with the items in front of it: the nodes at the end of a segment are the tops of trees.
//!
//! Nobody reads what another is reading: who wants it waits. Whoever waits for another has nothing under way itself, so that
//! no two wait for each other. All of this is best effort: what could not be read so is read by itself, and that tells why.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use rustc_hash::FxHashMap;
use tokio::sync::Semaphore;

use super::layout::{Directory, HEADER_BYTES, Item};
use super::writer::Gathering;
use super::{Items, ObjectName, SegmentRecord, absent};
use crate::Result;
use crate::address::{Address, ItemKind, SegmentId};
use crate::encryption::ItemKey;
use crate::tree::{AnyNode, Missing};

/// Bytes between items that are read along: less than what travels during a round trip.
const GAP_BYTES: u64 = 64 << 10;
/// Bytes of one call.
const SPAN_BYTES_MAX: u64 = 2 << 20;
/// Bytes in front of a directory that are read with it.
const TAIL_BYTES: u64 = 256 << 10;
/// Bytes in front of nodes that are read with them.
const BEFORE_BYTES: u64 = 32 << 10;
/// Calls of one read that are under way at a time.
const CALLS_MAX: usize = 16;

/// An item, ready to be used.
#[derive(Clone)]
pub(crate) enum Fetched {
    Node(AnyNode),
    Frame(Bytes),
}

/// What can be under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Sought {
    Item(Address),
    Directory(SegmentId, ObjectName),
}

/// The right and the duty to read something; whoever waits for it goes on when this is dropped.
struct Claim<'a> {
    items: &'a Items,
    sought: Sought,
    /// Not only read along.
    is_asked_for: bool,
    ended: Arc<Semaphore>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.items.under_way.lock().remove(&self.sought);
        self.ended.close();
    }
}

/// Items of one segment that are read in one call: places in its directory, with the claims on some of them.
struct Span<'a> {
    places: Range<usize>,
    claims: FxHashMap<usize, Claim<'a>>,
}

impl Items {
    /// Whether a call to the store takes a round trip.
    pub(crate) fn is_remote(&self) -> bool {
        self.remote
    }

    /// Bytes that may wait to be used.
    pub(crate) fn ahead_bytes_max(&self) -> u64 {
        self.ahead.lock().bytes_max()
    }

    /// Reads what is wanted and not in memory, in as few calls as will do. Answers what is there now; whatever is not has to be read by
    /// itself.
    pub(crate) async fn bring(&self, wanted: &[Missing]) -> Vec<(Address, Fetched)> {
        let mut found = Vec::with_capacity(wanted.len());
        let joined = self.fetch(wanted, Some(&mut found)).await;
        for (missing, ended) in joined {
            // It is never given, only closed.
            let _ = ended.acquire().await;
            found.extend(self.in_memory(missing).map(|item| (missing.address, item)));
        }
        found
    }

    /// Reads what will be wanted; it waits in memory, as it is stored, until it is.
    pub(crate) async fn bring_ahead(&self, wanted: &[Missing]) {
        self.fetch(wanted, None).await;
    }

    /// Reads what nobody reads yet. Answers what others are reading.
    async fn fetch(
        &self,
        wanted: &[Missing],
        mut found: Option<&mut Vec<(Address, Fetched)>>,
    ) -> Vec<(Missing, Arc<Semaphore>)> {
        let is_ahead = found.is_none();
        let mut joined = Vec::new();
        let mut by_segment: BTreeMap<SegmentId, Vec<(Missing, Claim<'_>)>> = BTreeMap::new();
        for missing in wanted.iter().copied().filter(|missing| !missing.address.is_lost()) {
            match &mut found {
                Some(found) => {
                    if let Some(item) = self.in_memory(missing) {
                        found.push((missing.address, item));
                        continue;
                    }
                }
                None if self.is_in_memory(missing.address, missing.kind) => continue,
                None => {}
            }
            let segment = missing.address.segment();
            // What is being gathered is read where it is.
            if self.is_gathering(segment) {
                continue;
            }
            match self.claim(Sought::Item(missing.address), true) {
                Ok(claim) => by_segment.entry(segment).or_default().push((missing, claim)),
                Err(ended) => joined.push((missing, ended)),
            }
        }
        let reads = by_segment
            .into_iter()
            .map(|(segment, wanted)| -> BoxFuture<'_, _> {
                Box::pin(self.fetch_from(segment, wanted, is_ahead))
            })
            .collect();
        let done = at_once(reads).await;
        if let Some(found) = found {
            found.extend(done.into_iter().flatten());
        }
        joined
    }

    fn claim(&self, sought: Sought, is_asked_for: bool) -> std::result::Result<Claim<'_>, Arc<Semaphore>> {
        let mut under_way = self.under_way.lock();
        if let Some(ended) = under_way.get(&sought) {
            return Err(ended.clone());
        }
        let ended = Arc::new(Semaphore::new(0));
        under_way.insert(sought, ended.clone());
        Ok(Claim { items: self, sought, is_asked_for, ended })
    }

    /// An item that is in a cache, or that was read ahead: then it joins the cache.
    fn in_memory(&self, missing: Missing) -> Option<Fetched> {
        let Missing { address, kind } = missing;
        let cached = match kind {
            ItemKind::Frame => self.frames.get(&address).map(Fetched::Frame),
            _ => self.nodes.get(&address).map(Fetched::Node),
        };
        if cached.is_some() {
            return cached;
        }
        let (item, key, stored) = self.ahead.lock().take(address)?;
        self.use_item(address, &item, key.as_ref(), kind, stored)
    }

    fn is_in_memory(&self, address: Address, kind: ItemKind) -> bool {
        let is_cached = match kind {
            ItemKind::Frame => self.frames.contains_key(&address),
            _ => self.nodes.contains_key(&address),
        };
        is_cached || self.ahead.lock().has(address)
    }

    /// Whether it takes no call to read an item.
    fn is_at_hand(&self, address: Address, kind: ItemKind) -> bool {
        self.is_in_memory(address, kind)
            || self.disk.as_ref().is_some_and(|disk| disk.has_item(address, kind))
    }

    /// Verifies and opens an item and puts it into the cache. What is wrong with it is told by who reads it by itself.
    fn use_item(
        &self,
        address: Address,
        item: &Item,
        key: Option<&ItemKey>,
        kind: ItemKind,
        stored: Bytes,
    ) -> Option<Fetched> {
        let opened = open_item(address, item, key, kind, stored);
        match &opened {
            Some(Fetched::Frame(raw)) => self.frames.insert(address, raw.clone()),
            Some(Fetched::Node(node)) => self.nodes.insert(address, node.clone()),
            // Wherever it was from, it is read from the store next.
            None => {
                if let Some(disk) = &self.disk {
                    disk.drop_item(address, kind);
                }
            }
        }
        opened
    }

    async fn fetch_from<'a>(
        &'a self,
        segment: SegmentId,
        wanted: Vec<(Missing, Claim<'a>)>,
        is_ahead: bool,
    ) -> Vec<(Address, Fetched)> {
        let mut found = Vec::new();
        let Some(record) = self.table().get(&segment).cloned() else { return found };
        let Some(directory) = self.directory_and_tail(segment, &record).await else { return found };
        let mut claims: BTreeMap<usize, Claim<'a>> = BTreeMap::new();
        for (missing, claim) in wanted {
            // Some came with the directory.
            if is_ahead && self.is_in_memory(missing.address, missing.kind) {
                continue;
            }
            if let Some(item) = (!is_ahead).then(|| self.in_memory(missing)).flatten() {
                found.push((missing.address, item));
                continue;
            }
            let Some(place) = directory.place(missing.address.index()) else { continue };
            match self.kept_on_disk(missing, &directory, place, is_ahead) {
                Some(item) => found.extend(item.map(|item| (missing.address, item))),
                None => drop(claims.insert(place, claim)),
            }
        }
        let spans = self.spans(segment, &directory, claims);
        let path = record.object.path();
        let (path, directory) = (path.as_str(), &*directory);
        let reads = spans
            .into_iter()
            .map(|span| -> BoxFuture<'_, _> {
                Box::pin(self.read_span(path, segment, directory, span, is_ahead))
            })
            .collect();
        found.extend(at_once(reads).await.into_iter().flatten());
        found
    }

    /// The directory of a segment; if it has to be read, the items in front of it come along.
    async fn directory_and_tail(&self, segment: SegmentId, record: &SegmentRecord) -> Option<Arc<Directory>> {
        let key = (segment, record.object);
        if let Some(directory) = self.directories.get(&key) {
            return Some(directory);
        }
        let _claim = match self.claim(Sought::Directory(segment, record.object), true) {
            Ok(claim) => claim,
            Err(ended) => {
                let _ = ended.acquire().await;
                return self.directories.get(&key);
            }
        };
        if let Some(directory) = self.directory_on_disk(segment, record) {
            let directory = Arc::new(directory);
            self.directories.insert(key, directory.clone());
            return Some(directory);
        }
        let start = record.directory_offset.saturating_sub(TAIL_BYTES).max(HEADER_BYTES as u64);
        let end = record.directory_offset + u64::from(record.directory_length);
        let bytes = self.get_span(&record.object.path(), start..end).await?;
        let at = usize::try_from(record.directory_offset.checked_sub(start)?).ok()?;
        let directory = Arc::new(self.decode_directory(bytes.get(at..)?, segment, record.object).ok()?);
        self.directories.insert(key, directory.clone());
        if let Some(disk) = &self.disk {
            disk.put_directory(segment, record, &bytes[at..]);
        }
        let first = directory.items.partition_point(|item| item.offset < start);
        for item in &directory.items[first..] {
            // Frames that nobody asked for are not likely to be.
            let address = Address::new(segment, item.index);
            if item.kind != ItemKind::Frame || self.under_way.lock().contains_key(&Sought::Item(address)) {
                self.read_along(address, item, directory.key.as_ref(), start, &bytes);
            }
        }
        Some(directory)
    }

    fn directory_on_disk(&self, segment: SegmentId, record: &SegmentRecord) -> Option<Directory> {
        let disk = self.disk.as_ref()?;
        let decoded = self.decode_directory(&disk.directory(segment, record)?, segment, record.object);
        if decoded.is_err() {
            disk.drop_directory(segment, record);
        }
        decoded.ok()
    }

    /// An item from the disk cache: opened, or, if it is read ahead, put where it waits.
    fn kept_on_disk(
        &self,
        missing: Missing,
        directory: &Directory,
        place: usize,
        is_ahead: bool,
    ) -> Option<Option<Fetched>> {
        let Missing { address, kind } = missing;
        let (item, key) = (&directory.items[place], directory.key.as_ref());
        let Some(stored) = self.disk.as_ref()?.item(address, kind) else {
            self.metrics.disk_cache_misses.add(1);
            return None;
        };
        self.metrics.disk_cache_hits.add(1);
        if is_ahead {
            self.ahead.lock().put(address, *item, key, &stored);
            return Some(None);
        }
        self.use_item(address, item, key, kind, stored).map(Some)
    }

    fn keep_on_disk(&self, address: Address, kind: ItemKind, stored: &[u8]) {
        if let Some(disk) = &self.disk {
            disk.put_item(address, kind, stored);
        }
    }

    /// Keeps what a segment has that was just put.
    pub(super) fn keep_segment_on_disk(
        &self,
        segment: SegmentId,
        record: &SegmentRecord,
        gathering: &Gathering,
    ) {
        let Some(disk) = &self.disk else { return };
        // Whoever reads it is not held up by the disk.
        let Some((bytes, items)) = gathering.finished() else { return };
        for item in &items {
            if let Some(stored) = stored_in(item, 0, &bytes) {
                disk.put_item(Address::new(segment, item.index), item.kind, stored);
            }
        }
        let at = record.directory_offset as usize;
        disk.put_directory(segment, record, &bytes[at..at + record.directory_length as usize]);
    }

    /// Keeps an item that lies in `bytes`, which begin at `start` of the object.
    fn read_along(&self, address: Address, item: &Item, key: Option<&ItemKey>, start: u64, bytes: &[u8]) {
        if !self.is_in_memory(address, item.kind)
            && let Some(stored) = stored_in(item, start, bytes)
        {
            self.metrics.items_fetched.add(1);
            self.keep_on_disk(address, item.kind, stored);
            self.ahead.lock().put(address, *item, key, stored);
        }
    }

    /// What to read so that all claims are met.
    fn spans<'a>(
        &'a self,
        segment: SegmentId,
        directory: &Directory,
        claims: BTreeMap<usize, Claim<'a>>,
    ) -> Vec<Span<'a>> {
        let items = &directory.items;
        let end_of = |place: usize| items[place].offset + u64::from(items[place].stored_length);
        let mut spans: Vec<Span<'a>> = Vec::new();
        let mut is_of_frames = false;
        for (place, claim) in claims {
            let is_frame = items[place].kind == ItemKind::Frame;
            match spans.last_mut() {
                Some(span)
                    if items[place].offset <= end_of(span.places.end - 1) + GAP_BYTES
                        && end_of(place) - items[span.places.start].offset <= SPAN_BYTES_MAX
                        && is_frame == is_of_frames =>
                {
                    span.places.end = place + 1;
                    span.claims.insert(place, claim);
                }
                _ => spans
                    .push(Span { places: place..place + 1, claims: [(place, claim)].into_iter().collect() }),
            }
            is_of_frames = is_frame;
        }
        // What is read beside them goes before the first and behind the last.
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return spans };
        let (first, last) = (first.places.start, last.places.end);
        let is_frame = |place: usize| items[place].kind == ItemKind::Frame;
        let frames = is_frame(last - 1);
        let window = self.ahead.lock().window(segment, frames, items[first].offset, end_of(last - 1));
        if let Some(span) = spans.last_mut() {
            let more = self.beside(segment, items, last.., end_of(last - 1) + window, frames);
            span.places.end = last + more;
        }
        if !frames
            && !is_frame(first)
            && let Some(span) = spans.first_mut()
        {
            let from = items[first].offset.saturating_sub(BEFORE_BYTES);
            let before = items[..first].partition_point(|item| item.offset < from);
            let is_free = |place: &usize| !is_frame(*place) && self.is_free(segment, &items[*place]);
            span.places.start = (before..first).rev().take_while(is_free).last().unwrap_or(first);
        }
        let (start, end) = (spans[0].places.start, spans[spans.len() - 1].places.end);
        self.ahead.lock().has_read(segment, frames, items[start].offset, end_of(end - 1));
        // Who wants what is read along waits for it.
        for span in &mut spans {
            for place in span.places.clone() {
                let address = Address::new(segment, items[place].index);
                if !span.claims.contains_key(&place)
                    && let Ok(claim) = self.claim(Sought::Item(address), false)
                {
                    span.claims.insert(place, claim);
                }
            }
        }
        spans
    }

    /// How many items of the same kind from `places` on lie before `end`, up to one that another is reading, without those at the end that
    /// are in memory.
    fn beside(
        &self,
        segment: SegmentId,
        items: &[Item],
        places: std::ops::RangeFrom<usize>,
        end: u64,
        frames: bool,
    ) -> usize {
        let mut count = 0;
        for (at, item) in items[places].iter().enumerate() {
            let is_beside = (item.kind == ItemKind::Frame) == frames
                && item.offset + u64::from(item.stored_length) <= end;
            let address = Address::new(segment, item.index);
            if !is_beside || self.under_way.lock().contains_key(&Sought::Item(address)) {
                break;
            }
            if !self.is_at_hand(address, item.kind) {
                count = at + 1;
            }
        }
        count
    }

    /// Whether an item is neither in memory nor being read.
    fn is_free(&self, segment: SegmentId, item: &Item) -> bool {
        let address = Address::new(segment, item.index);
        !self.is_at_hand(address, item.kind) && !self.under_way.lock().contains_key(&Sought::Item(address))
    }

    async fn read_span(
        &self,
        path: &str,
        segment: SegmentId,
        directory: &Directory,
        span: Span<'_>,
        is_ahead: bool,
    ) -> Vec<(Address, Fetched)> {
        let mut found = Vec::new();
        let (items, key) = (&directory.items[span.places.clone()], directory.key.as_ref());
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return found };
        let range = first.offset..last.offset + u64::from(last.stored_length);
        let start = range.start;
        let Some(bytes) = self.get_span(path, range).await else { return found };
        let is_alone = items.len() == 1;
        let mut wanted = span.claims;
        for (at, item) in items.iter().enumerate() {
            let address = Address::new(segment, item.index);
            let is_wanted = wanted.get(&(span.places.start + at)).is_some_and(|claim| claim.is_asked_for);
            if is_ahead || !is_wanted {
                self.read_along(address, item, key, start, &bytes);
            } else if let Some(stored) = stored_in(item, start, &bytes) {
                self.metrics.items_fetched.add(1);
                self.keep_on_disk(address, item.kind, stored);
                // A part of a large buffer would keep all of it in memory.
                let stored = if is_alone { bytes.clone() } else { Bytes::copy_from_slice(stored) };
                found
                    .extend(self.use_item(address, item, key, item.kind, stored).map(|item| (address, item)));
            }
            wanted.remove(&(span.places.start + at));
        }
        found
    }

    /// The stored bytes of items of one object, by ascending offset, neither verified nor kept in memory.
    ///
    /// # Errors
    /// `Corrupt` if the object is missing, `Store`.
    pub(crate) async fn stored_items(&self, path: &str, items: &[Item]) -> Result<Vec<Bytes>> {
        let (gap, most) = if self.remote { (GAP_BYTES, SPAN_BYTES_MAX) } else { (0, 0) };
        let mut spans: Vec<(Range<u64>, usize)> = Vec::new();
        for item in items {
            let end = item.offset + u64::from(item.stored_length);
            match spans.last_mut() {
                Some((range, count)) if item.offset <= range.end + gap && end - range.start <= most => {
                    range.end = end;
                    *count += 1;
                }
                _ => spans.push((item.offset..end, 1)),
            }
        }
        let reads = spans.iter().enumerate().map(|(at, (range, _))| -> BoxFuture<'_, _> {
            let length = range.end - range.start;
            Box::pin(async move { (at, self.objects.get(path, range.start, length).await) })
        });
        let mut read = at_once(reads.collect()).await;
        read.sort_unstable_by_key(|(at, _)| *at);
        let mut left = items.iter();
        let mut stored = Vec::with_capacity(items.len());
        for ((range, count), (_, bytes)) in spans.iter().zip(read) {
            let bytes = bytes.map_err(|error| absent(path, error))?;
            for item in left.by_ref().take(*count) {
                // An object that ends too early gives fewer bytes, and whoever verifies them finds out.
                let from = ((item.offset - range.start) as usize).min(bytes.len());
                let to = (from + item.stored_length as usize).min(bytes.len());
                stored.push(bytes.slice(from..to));
            }
        }
        Ok(stored)
    }

    /// A range of an object, whole.
    async fn get_span(&self, path: &str, range: Range<u64>) -> Option<Bytes> {
        let length = range.end.checked_sub(range.start)?;
        let bytes = self.objects.get(path, range.start, length).await.ok()?;
        self.metrics.fetches.add(1);
        self.metrics.fetched_bytes.add(bytes.len() as u64);
        (bytes.len() as u64 == length).then_some(bytes)
    }
}

/// Verifies, decrypts and decodes an item, with all the checks that reading it by itself makes.
fn open_item(
    address: Address,
    item: &Item,
    key: Option<&ItemKey>,
    kind: ItemKind,
    stored: Bytes,
) -> Option<Fetched> {
    if item.kind != kind {
        return None;
    }
    let raw = item.open(address.segment(), key, stored).ok()?;
    Some(match kind {
        ItemKind::Frame => Fetched::Frame(raw),
        _ => Fetched::Node(AnyNode::decode(kind, &raw, address).ok()?),
    })
}

/// The stored bytes of an item in `bytes`, which begin at `start` of the object.
fn stored_in<'a>(item: &Item, start: u64, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let from = usize::try_from(item.offset.checked_sub(start)?).ok()?;
    bytes.get(from..from.checked_add(item.stored_length as usize)?)
}

/// Does all of it, so much at a time.
async fn at_once<'a, T>(work: Vec<BoxFuture<'a, T>>) -> Vec<T> {
    let mut done = Vec::with_capacity(work.len());
    let mut running = FuturesUnordered::new();
    for future in work {
        if running.len() >= CALLS_MAX {
            done.extend(running.next().await);
        }
        running.push(future);
    }
    while let Some(one) = running.next().await {
        done.push(one);
    }
    done
}
