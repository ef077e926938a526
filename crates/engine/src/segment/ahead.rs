//! [`Ahead`]: items that were read before anybody asked for them, as they are stored.
//!
//! They are neither verified nor decompressed before they are used, so that reading along costs nothing but memory, and they are not
//! in the caches, so that what is never asked for pushes nothing out. What is used leaves. When memory runs out the oldest goes.

use std::collections::VecDeque;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::layout::Item;
use crate::address::{Address, SegmentId};
use crate::encryption::ItemKey;

/// What an entry takes beside its bytes.
const OVERHEAD_BYTES: u64 = 160;
/// Segments whose last reads are remembered.
const STRIDES_MAX: usize = 4096;
/// Distance at which a read of nodes still goes on from the one before.
const NODES_NEAR_BYTES: u64 = 256 << 10;
/// Distance at which a read of frames still goes on from the one before.
const FRAMES_NEAR_BYTES: u64 = 64 << 10;
/// Bytes that are read beside nodes, and beside frames that are read in order, to begin with.
const WINDOW_BYTES_MIN: u64 = 64 << 10;
/// Bytes that are read beside items at most.
const WINDOW_BYTES_MAX: u64 = 1 << 20;

/// An item, the key of its segment, and the stored bytes.
pub(super) type Waiting = (Item, Option<ItemKey>, Bytes);

/// Items that were read ahead.
pub(super) struct Ahead {
    items: FxHashMap<Address, Waiting>,
    /// Oldest first; with some that have left already.
    order: VecDeque<Address>,
    bytes: u64,
    bytes_max: u64,
    strides: FxHashMap<(SegmentId, bool), Stride>,
}

/// The last read of one kind of items in a segment: where it was, and what was read beside it.
struct Stride {
    start: u64,
    end: u64,
    window: u64,
}

impl Ahead {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            items: FxHashMap::default(),
            order: VecDeque::new(),
            bytes: 0,
            bytes_max,
            strides: FxHashMap::default(),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    pub(super) fn has(&self, address: Address) -> bool {
        self.items.contains_key(&address)
    }

    /// Keeps a copy of an item's stored bytes.
    pub(super) fn put(&mut self, address: Address, item: Item, key: Option<&ItemKey>, stored: &[u8]) {
        let weight = stored.len() as u64 + OVERHEAD_BYTES;
        if weight > self.bytes_max || self.has(address) {
            return;
        }
        while self.bytes + weight > self.bytes_max {
            let Some(oldest) = self.order.pop_front() else { break };
            self.take(oldest);
        }
        // Those that have left are forgotten before there are many.
        if self.order.len() > 2 * self.items.len() + 64 {
            self.order.retain(|address| self.items.contains_key(address));
        }
        self.bytes += weight;
        self.order.push_back(address);
        self.items.insert(address, (item, key.cloned(), Bytes::copy_from_slice(stored)));
    }

    /// Gives an item to who uses it.
    pub(super) fn take(&mut self, address: Address) -> Option<Waiting> {
        let found = self.items.remove(&address)?;
        self.bytes -= found.2.len() as u64 + OVERHEAD_BYTES;
        Some(found)
    }

    /// How many bytes to read beside items that lie in `start..end` of a segment's object: none for a single frame, more and more for
    /// what is read one after the other.
    pub(super) fn window(&mut self, segment: SegmentId, frames: bool, start: u64, end: u64) -> u64 {
        if self.strides.len() >= STRIDES_MAX {
            self.strides.clear();
        }
        let first = if frames { 0 } else { WINDOW_BYTES_MIN };
        let stride =
            self.strides.entry((segment, frames)).or_insert(Stride { start: u64::MAX, end: 0, window: 0 });
        let goes_on = if frames {
            start >= stride.end && start - stride.end <= FRAMES_NEAR_BYTES && stride.end > 0
        } else {
            start.saturating_add(NODES_NEAR_BYTES) >= stride.start && start <= stride.end + NODES_NEAR_BYTES
        };
        let most = WINDOW_BYTES_MAX.min(self.bytes_max / 16);
        stride.window =
            if goes_on { (2 * stride.window).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX) } else { first };
        (stride.start, stride.end) = (start, end);
        stride.window.min(most)
    }

    /// Notes what was read in the end.
    pub(super) fn has_read(&mut self, segment: SegmentId, frames: bool, start: u64, end: u64) {
        if let Some(stride) = self.strides.get_mut(&(segment, frames)) {
            (stride.start, stride.end) = (start, end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::Codec;
    use super::*;
    use crate::address::ItemKind;

    fn address(index: u32) -> Address {
        Address::new(SegmentId(1), index)
    }

    fn item(index: u32, length: usize) -> Item {
        Item {
            index,
            offset: 0,
            stored_length: length as u32,
            raw_length: length as u32,
            kind: ItemKind::Frame,
            codec: Codec::Raw,
            checksum: 0,
        }
    }

    #[test]
    fn the_oldest_goes_and_the_bound_is_kept() {
        let mut ahead = Ahead::new(10_000);
        for index in 0..100 {
            ahead.put(address(index), item(index, 840), None, &[7; 840]);
            assert!(ahead.bytes() <= 10_000);
        }
        assert!(!ahead.has(address(89)) && ahead.has(address(90)));
        assert_eq!(ahead.take(address(95)).unwrap().2.len(), 840);
        assert!(ahead.take(address(95)).is_none());
        assert_eq!(ahead.bytes(), 9000);
        ahead.put(address(200), item(200, 10_000), None, &[0; 10_000]);
        assert!(!ahead.has(address(200)), "larger than everything");
        for _ in 0..1000 {
            ahead.put(address(300), item(300, 10), None, &[0; 10]);
            ahead.take(address(300));
        }
        assert!(ahead.order.len() < 200, "{}", ahead.order.len());
    }

    #[test]
    fn windows_grow_while_a_read_goes_on() {
        let mut ahead = Ahead::new(1 << 30);
        let segment = SegmentId(3);
        assert_eq!(ahead.window(segment, true, 1 << 20, 2 << 20), 0);
        assert_eq!(ahead.window(segment, true, 9 << 20, 10 << 20), 0, "a seek");
        assert_eq!(ahead.window(segment, true, 10 << 20, 11 << 20), 64 << 10);
        assert_eq!(ahead.window(segment, true, 11 << 20, 12 << 20), 128 << 10);
        assert_eq!(ahead.window(segment, false, 1 << 20, 2 << 20), 64 << 10);
        for expected in [128 << 10, 256 << 10, 512 << 10, 1 << 20, 1 << 20] {
            assert_eq!(ahead.window(segment, false, 2 << 20, 3 << 20), expected);
        }
        assert_eq!(ahead.window(segment, false, 40 << 20, 41 << 20), 64 << 10);
    }
}
