//! The windows of a file, with their extents, from a state where everything is stored.
//!
//! Subtrees that something else refers to are passed over: windows that reach into one are told as shared.

use std::collections::VecDeque;

use super::WINDOW_BYTES;
use crate::Result;
use crate::address::Address;
use crate::kinds::{Extent, FileTree};
use crate::pool::Inner;
use crate::record::Content;
use crate::refcount::Counts;
use crate::segment::Pinned;
use crate::tree::{Body, Link};

/// The part of an extent that lies in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Offset in the file, in bytes.
    pub(crate) offset: u64,
    pub(crate) frame: Address,
    /// First byte in the frame.
    pub(crate) start: u32,
    /// Bytes.
    pub(crate) length: u32,
    /// The extent lies in the window as a whole.
    pub(crate) whole: bool,
}

impl Piece {
    /// The part of an extent between two offsets; `None` if there is none, or if its frame is not stored.
    pub(crate) fn of(offset: u64, extent: &Extent, from: u64, to: u64) -> Option<Piece> {
        let end = offset + u64::from(extent.length);
        let (first, last) = (offset.max(from), end.min(to));
        let frame = extent.frame.address()?;
        (first < last).then(|| Piece {
            offset: first,
            frame,
            start: extent.start + (first - offset) as u32,
            length: (last - first) as u32,
            whole: first == offset && last == end,
        })
    }
}

/// A window and all of its extents.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Offset divided by the length of a window.
    pub(super) number: u64,
    /// Ascending.
    pub(super) pieces: Vec<Piece>,
    /// A part of it lies in a node that something else refers to.
    pub(super) shared: bool,
}

/// Goes through windows in ascending order.
pub(super) struct Windows {
    /// What is still to be visited, the next on top, with the bounds of its keys.
    stack: Vec<(Link<FileTree>, u64, u64)>,
    first: u64,
    end: u64,
    ready: VecDeque<Window>,
    building: Builder,
    /// Extents that were looked at.
    pub(super) extents: u64,
}

impl Windows {
    /// The windows of a content from number `first` on, before `end`.
    pub(super) fn new(content: &Content, first: u64, end: u64) -> Self {
        let mut windows = Self {
            stack: Vec::new(),
            first,
            end,
            ready: VecDeque::new(),
            building: Builder::default(),
            extents: 0,
        };
        match content {
            Content::Tree(link) => windows.stack.push((link.clone(), 0, u64::MAX)),
            Content::Extents(extents) => {
                extents.iter().for_each(|(offset, extent)| windows.take(*offset, extent));
                windows.end_building();
            }
            Content::None | Content::Inline(_) | Content::Directory(_) => {}
        }
        windows
    }

    /// The next window that has extents.
    pub(super) async fn next(&mut self, inner: &Inner, counts: &Counts) -> Result<Option<Window>> {
        // An extent may begin before its window, but not by more than the length of a frame.
        let from = self.first.saturating_sub(1) * WINDOW_BYTES;
        let to = self.end.saturating_mul(WINDOW_BYTES);
        while self.ready.is_empty() {
            let Some((link, low, high)) = self.stack.pop() else {
                self.end_building();
                break;
            };
            if high <= from || low >= to {
                continue;
            }
            if let Some(address) = link.address()
                && counts.of(address, &Pinned::new(&inner.items)).await? > 1
            {
                self.building.pass_over(low, high);
                continue;
            }
            let node = inner.node(&link).await?;
            match &node.body {
                Body::Branch(children) => {
                    let bounds = children.iter().enumerate().map(|(index, child)| {
                        let low = if index == 0 { low } else { child.key };
                        (child.link.clone(), low, children.get(index + 1).map_or(high, |next| next.key))
                    });
                    let below: Vec<_> = bounds.collect();
                    self.stack.extend(below.into_iter().rev());
                }
                Body::Leaf(entries) => {
                    for (offset, extent) in entries {
                        self.take(*offset, extent);
                    }
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    fn take(&mut self, offset: u64, extent: &Extent) {
        self.extents += 1;
        let end = offset + u64::from(extent.length);
        if extent.frame.is_lost() {
            // It may be longer than any frame, and nobody can write it anew.
            self.building.pass_over(offset, end);
            return;
        }
        for number in offset / WINDOW_BYTES..end.div_ceil(WINDOW_BYTES) {
            if let Some(window) = self.building.add(number, offset, extent)
                && self.is_wanted(window.number)
            {
                self.ready.push_back(window);
            }
        }
    }

    fn end_building(&mut self) {
        if let Some(window) = self.building.window.take()
            && self.is_wanted(window.number)
        {
            self.ready.push_back(window);
        }
    }

    fn is_wanted(&self, number: u64) -> bool {
        (self.first..self.end).contains(&number)
    }
}

/// Gathers extents into a window.
#[derive(Default)]
struct Builder {
    window: Option<Window>,
    /// Everything from the last window up to this offset may be in what was passed over.
    passed_over_to: u64,
}

impl Builder {
    /// Adds what an extent has of a window; gives back the window before it.
    fn add(&mut self, number: u64, offset: u64, extent: &Extent) -> Option<Window> {
        let start = number * WINDOW_BYTES;
        let piece = Piece::of(offset, extent, start, start.saturating_add(WINDOW_BYTES));
        let done = match &mut self.window {
            Some(window) if window.number == number => {
                window.pieces.extend(piece);
                window.shared |= piece.is_none();
                return None;
            }
            window => window.take(),
        };
        let shared = start < self.passed_over_to || piece.is_none();
        self.window = Some(Window { number, pieces: piece.into_iter().collect(), shared });
        done
    }

    /// Notes that extents between two offsets are not shown.
    fn pass_over(&mut self, low: u64, high: u64) {
        // The extents before reach no further than a frame, but one of the hidden ones may begin in the window that is being built.
        if let Some(window) = &mut self.window
            && low < (window.number + 1) * WINDOW_BYTES
        {
            window.shared = true;
        }
        // The last hidden extent may reach into the window after.
        self.passed_over_to = high.saturating_add(WINDOW_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::SegmentId;
    use crate::kinds::FrameLink;

    fn extent(index: u32, length: u32) -> Extent {
        Extent { frame: FrameLink::Stored(Address::new(SegmentId(1), index)), start: 10, length }
    }

    fn windows(extents: &[(u64, Extent)]) -> Vec<Window> {
        let mut windows = Windows::new(&Content::Extents(extents.to_vec()), 0, u64::MAX);
        windows.ready.drain(..).collect()
    }

    #[test]
    fn an_extent_over_a_bound_is_a_piece_of_both_windows() {
        let found = windows(&[(5, extent(1, 20)), (WINDOW_BYTES - 100, extent(2, 300))]);
        let pieces: Vec<_> = found
            .iter()
            .flat_map(|window| &window.pieces)
            .map(|piece| (piece.offset, piece.start, piece.length, piece.whole))
            .collect();
        assert_eq!(
            pieces,
            [(5, 10, 20, true), (WINDOW_BYTES - 100, 10, 100, false), (WINDOW_BYTES, 110, 200, false)]
        );
        assert_eq!(found.iter().map(|window| window.number).collect::<Vec<_>>(), [0, 1]);
        assert!(found.iter().all(|window| !window.shared));
    }

    #[test]
    fn windows_that_reach_into_what_was_passed_over_are_shared() {
        let mut building = Builder::default();
        let mut done = Vec::new();
        let mut add = |building: &mut Builder, number: u64| {
            done.extend(building.add(number, number * WINDOW_BYTES + 7, &extent(1, 20)));
        };
        add(&mut building, 0);
        add(&mut building, 1);
        building.pass_over(WINDOW_BYTES + 100, 3 * WINDOW_BYTES + 1);
        for number in 3..7 {
            add(&mut building, number);
        }
        let shared: Vec<_> = done.iter().map(|window| (window.number, window.shared)).collect();
        assert_eq!(shared, [(0, false), (1, true), (3, true), (4, true), (5, false)]);
    }

    #[test]
    fn only_windows_that_are_asked_for_are_shown() {
        let extents: Vec<_> = (0..9).map(|n| (n * WINDOW_BYTES / 2, extent(1, 50))).collect();
        let shown = Windows::new(&Content::Extents(extents), 1, 3).ready;
        assert_eq!(shown.iter().map(|window| window.number).collect::<Vec<_>>(), [1, 2]);
    }
}
