//! Reading windows and writing them anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::fragments::Ranges;
use super::rule::{FrameUse, Verdict, is_worth_a_look, judge};
use super::window::{Piece, Window, Windows};
use super::{Base, Pace, ROOM_BYTES, WINDOW_BYTES};
use crate::address::{Address, ItemKind};
use crate::checkpoint::{Done, checkpoint};
use crate::frame::Frame;
use crate::kinds::FrameLink;
use crate::namespace::{Operation, Trail};
use crate::pool::{Guard, Inner, NODE_MEMORY_BYTES};
use crate::record::Content;
use crate::report::DefragmentReport;
use crate::segment::Pinned;
use crate::tree::Missing;
use crate::{Error, ErrorKind, Ino, Result};

/// Looks at windows and writes those anew for which it pays.
pub(super) struct Rewriter<'a> {
    pub(super) inner: &'a Inner,
    pub(super) base: Base,
    pace: Pace,
    /// Windows with anything in segments from this number on were written too recently.
    quiet_before: u64,
    interrupted: bool,
    /// Bytes of windows written since the last sync, and windows since the last checkpoint, that was made here.
    unsynced_bytes: u64,
    unsettled_windows: u64,
    /// Windows of the last file that were written too recently.
    pub(super) busy: Ranges,
    pub(super) report: DefragmentReport,
    /// What checkpoints did that were made here.
    pub(super) made: Done,
}

/// A file that is known to the pool for as long as this lives.
struct Known<'a> {
    inner: &'a Inner,
    /// From the root down; the last is the file's own.
    way: Vec<Ino>,
}

impl Known<'_> {
    fn ino(&self) -> Ino {
        self.way.last().copied().unwrap_or(Ino::ROOT)
    }
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.way.iter().rev().for_each(|ino| self.inner.forget(*ino, 1));
    }
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(inner: &'a Inner, base: Base, pace: Pace, quiet_before: u64) -> Self {
        Self {
            inner,
            base,
            pace,
            quiet_before,
            interrupted: false,
            unsynced_bytes: 0,
            unsettled_windows: 0,
            busy: Ranges::default(),
            report: DefragmentReport::default(),
            made: Done::default(),
        }
    }

    /// The last file was not looked at to its end.
    pub(super) fn was_interrupted(&self) -> bool {
        self.interrupted
    }

    /// Whether there is time, space and memory for one more window. In the background other work comes first; else it is done here.
    pub(super) async fn may_go_on(&mut self) -> Result<bool> {
        if self.inner.is_ending() || !self.inner.has_space(ROOM_BYTES).await? {
            return Ok(false);
        }
        if let Pace::Step { bytes, windows } = self.pace {
            return Ok(bytes > 0
                && windows > 0
                && !self.inner.is_memory_short()
                && !self.inner.is_checkpoint_due());
        }
        let share = self.inner.dirty_bytes_max() / 8;
        if self.unsynced_bytes > share {
            self.inner.sync().await?;
            self.unsynced_bytes = 0;
        }
        // A leaf, and one that it is merged with.
        if self.unsettled_windows * 2 * NODE_MEMORY_BYTES > share {
            let made = checkpoint(self.inner, false).await?;
            self.made.add(made);
            self.unsettled_windows = 0;
        }
        Ok(true)
    }

    /// Forgets what was told of the last file.
    pub(super) fn begin_file(&mut self) {
        (self.interrupted, self.busy) = (false, Ranges::default());
    }

    /// Goes through windows of a file. What is left in `ranges` was not looked at.
    pub(super) async fn file(
        &mut self,
        ino: Option<Ino>,
        trail: &Trail,
        content: &Content,
        ranges: &mut Ranges,
    ) -> Result<()> {
        self.begin_file();
        let mut known = None;
        while let Some((first, end)) = ranges.take_first() {
            let mut windows = Windows::new(content, first, end);
            let mut next = first;
            let result = loop {
                if !self.may_go_on().await? {
                    ranges.add(next, end);
                    self.interrupted = true;
                    break Ok(());
                }
                let window = match windows.next(self.inner, &self.base.counts).await {
                    Ok(Some(window)) => window,
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                };
                next = window.number + 1;
                if let Err(error) = self.window(ino, trail, &window, &mut known).await {
                    break Err(error);
                }
            };
            self.report.extents += windows.extents;
            match result {
                // It was removed, or moved to where nobody looks for it.
                Err(error) if is_gone(&error) => return Ok(()),
                other => other?,
            }
            if self.interrupted {
                break;
            }
        }
        Ok(())
    }

    async fn window(
        &mut self,
        ino: Option<Ino>,
        trail: &Trail,
        window: &Window,
        known: &mut Option<Known<'a>>,
    ) -> Result<()> {
        self.report.windows += 1;
        if let Pace::Step { windows, .. } = &mut self.pace {
            *windows -= 1;
        }
        match self.consider(window).await? {
            Some(Verdict::Leave) => return Ok(()),
            Some(Verdict::Shared) => {
                self.report.windows_shared += 1;
                return Ok(());
            }
            Some(Verdict::Rewrite) => {}
            None => {
                self.busy.add(window.number, window.number + 1);
                return Ok(());
            }
        }
        if known.is_none() {
            let way = self.inner.remember_trail(trail).await?.ok_or_else(|| Error::from(ErrorKind::Stale))?;
            *known = Some(Known { inner: self.inner, way });
        }
        let known = known.as_ref().expect("it was just made");
        if ino.is_some_and(|ino| ino != known.ino()) {
            return Err(ErrorKind::Stale.into());
        }
        let guard = Guard::Window {
            ino: known.ino(),
            from: window.number * WINDOW_BYTES,
            to: (window.number + 1) * WINDOW_BYTES,
            pieces: window.pieces.clone(),
            counted: self.base.interval,
        };
        if !self.inner.holds(&guard).await? {
            self.report.windows_changed += 1;
            return Ok(());
        }
        let bytes = self.read(window).await?;
        let length = bytes.len() as u64;
        let frame = FrameLink::Memory(Arc::new(Frame::whole(bytes, 0, &self.inner.gauge)));
        let operation = Operation::Defragment { ino: known.ino(), frame, runs: runs(window) };
        let done = self.inner.execute_prepared(operation, &guard).await?;
        if let Pace::Step { bytes, .. } = &mut self.pace {
            *bytes = bytes.saturating_sub(length);
        }
        if done.is_some() {
            self.unsynced_bytes += length;
            self.unsettled_windows += 1;
            self.report.windows_rewritten += 1;
            self.report.rewritten_bytes += length;
            self.inner.metrics.windows_rewritten.add(1);
            self.inner.metrics.rewritten_bytes.add(length);
        } else {
            self.report.windows_changed += 1;
            self.inner.metrics.rewrites_outrun.add(1);
        }
        Ok(())
    }

    /// What is to be done with a window; `None` if it was written too recently for that.
    async fn consider(&self, window: &Window) -> Result<Option<Verdict>> {
        if window.shared {
            return Ok(Some(Verdict::Shared));
        }
        if let [piece] = &window.pieces[..]
            && u64::from(piece.length) == WINDOW_BYTES
        {
            return Ok(Some(Verdict::Leave));
        }
        let mut frames: BTreeMap<Address, FrameUse> = BTreeMap::new();
        for piece in &window.pieces {
            let frame = frames.entry(piece.frame).or_default();
            frame.used_bytes += u64::from(piece.length);
            frame.links += u32::from(piece.whole);
        }
        for (address, frame) in &mut frames {
            // Its frames may have died since the state that is looked at, and their segment may be gone.
            if !self.inner.items.table().contains_key(&address.segment()) {
                return Ok(None);
            }
            let (_, directory) = self.inner.items.directory(address.segment()).await?;
            let Some(item) = directory.find(address.index()) else { return Ok(None) };
            frame.stored_bytes = u64::from(item.stored_length);
            frame.raw_bytes = u64::from(item.raw_length);
        }
        if !is_worth_a_look(&frames.values().copied().collect::<Vec<_>>()) {
            return Ok(Some(Verdict::Leave));
        }
        if frames.keys().any(|address| address.segment().0 >= self.quiet_before) {
            return Ok(None);
        }
        let nodes = Pinned::new(&self.inner.items);
        for (address, frame) in &mut frames {
            frame.count = self.base.counts.of(*address, &nodes).await?;
        }
        Ok(Some(judge(&frames.into_values().collect::<Vec<_>>())))
    }

    /// The data of a window, without its holes.
    async fn read(&self, window: &Window) -> Result<Bytes> {
        let mut bytes = Vec::with_capacity(window.pieces.iter().map(|piece| piece.length as usize).sum());
        let mut last: Option<(Address, Bytes)> = None;
        if self.inner.items.is_remote() {
            let frame = |piece: &Piece| Missing { address: piece.frame, kind: ItemKind::Frame };
            self.inner.items.bring_ahead(&window.pieces.iter().map(frame).collect::<Vec<_>>()).await;
        }
        for piece in &window.pieces {
            let frame = match last.take() {
                Some((address, frame)) if address == piece.frame => frame,
                _ => self.inner.items.frame_once(piece.frame).await?,
            };
            let (from, length) = (piece.start as usize, piece.length as usize);
            let part = frame.get(from..from + length).ok_or_else(|| {
                let address = piece.frame;
                Error::new(ErrorKind::Corrupt, format!("frame {address:?} is shorter than the file says"))
            })?;
            bytes.extend_from_slice(part);
            last = Some((piece.frame, frame));
        }
        Ok(bytes.into())
    }
}

/// Offset and length of the data of a window, between its holes.
fn runs(window: &Window) -> Vec<(u64, u32)> {
    let mut runs: Vec<(u64, u32)> = Vec::new();
    for piece in &window.pieces {
        match runs.last_mut() {
            Some((offset, length)) if *offset + u64::from(*length) == piece.offset => *length += piece.length,
            _ => runs.push((piece.offset, piece.length)),
        }
    }
    runs
}

/// Whether an error says that a file cannot be changed because it is no longer there or must not be.
fn is_gone(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Stale | ErrorKind::NotFound | ErrorKind::NotDirectory | ErrorKind::ReadOnly
    )
}
