//! What could not be read of what is stored: told once, counted, remembered while the pool is open.
//!
//! Damage never stops upkeep. Who meets it here goes on without what is lost; nothing is freed that may still be referred to.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::Error;
use crate::address::{Address, ItemKind, SegmentId};
use crate::sync::Mutex;

/// The items and segments that could not be read since the pool was opened.
#[derive(Default)]
pub(crate) struct Damage {
    items: Mutex<FxHashSet<Address>>,
    /// Segments that could not be rewritten, with the live items that they had.
    segments: Mutex<FxHashMap<SegmentId, u32>>,
    /// Segments whose lists of items could not be read.
    lists: Mutex<FxHashSet<SegmentId>>,
}

impl Damage {
    /// Notes an item that cannot be read. True the first time.
    pub(crate) fn item(&self, address: Address, kind: ItemKind, error: &Error) -> bool {
        let is_new = self.items.lock().insert(address);
        if is_new {
            let segment = format!("{:x}", address.segment().0);
            tracing::error!(segment, item = address.index(), ?kind, %error, "a stored item cannot be read");
        }
        is_new
    }

    /// Notes a segment that cannot be rewritten, as one of its `live_items` cannot be read.
    pub(crate) fn segment(&self, segment: SegmentId, live_items: u32, error: &Error) {
        if self.segments.lock().insert(segment, live_items).is_none() {
            let segment = format!("{:x}", segment.0);
            tracing::error!(segment, %error, "a segment is damaged and stays as it is");
        }
    }

    /// Whether a rewrite has failed and nothing of the segment has been freed since.
    pub(crate) fn keeps(&self, segment: SegmentId, live_items: u32) -> bool {
        self.segments.lock().get(&segment) == Some(&live_items)
    }

    /// Notes a segment whose list of items cannot be read: what is freed of it has an unknown size.
    pub(crate) fn list(&self, segment: SegmentId, error: &Error) {
        if self.lists.lock().insert(segment) {
            let segment = format!("{:x}", segment.0);
            tracing::error!(segment, %error, "the list of the items of a segment cannot be read");
        }
    }

    /// Forgets everything: nothing that was damaged is referred to any more.
    pub(crate) fn forget(&self) {
        self.items.lock().clear();
        self.segments.lock().clear();
        self.lists.lock().clear();
    }

    /// Items that could not be read.
    pub(crate) fn items(&self) -> u64 {
        self.items.lock().len() as u64
    }
}
