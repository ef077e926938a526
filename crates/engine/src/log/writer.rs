//! From executed operations to durable ones.
//!
//! Operations join the [`Tail`] in the order in which they are executed, under the same lock. The [`LogWriter`] takes the tail and
//! appends it as one batch, so that one sync serves everybody who waits. Frames that a batch names are in a segment, durably, before
//! the batch is appended.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{LogStore, batch, record};
use crate::address::ItemKind;
use crate::format::codec::Writer;
use crate::frame::Frame;
use crate::metrics::Metrics;
use crate::namespace::{Operation, Where};
use crate::segment::{Items, SegmentWriter};
use crate::simulation::failpoint;
use crate::simulation::mutant::{self, Mutant};
use crate::{ErrorKind, Ino, Result, Timestamp};

/// Operations that have been executed and not been given to the writer.
#[derive(Default)]
pub(crate) struct Tail {
    /// The log file that they belong to, once they are taken.
    file: u64,
    /// Sequence of the first operation.
    first: u64,
    /// When it was executed.
    since: Option<Timestamp>,
    operations: u32,
    out: Writer,
    /// Frames whose addresses have to be filled in, and where.
    frames: Vec<(usize, Arc<Frame>)>,
    frame_bytes: u64,
}

impl Tail {
    /// Adds where an inode is.
    pub(crate) fn locate(&mut self, ino: Ino, parent: Ino, place: &Where, realm_root: bool) {
        record::encode_locate(ino, parent, place, realm_root, &mut self.out);
    }

    /// Adds an executed operation.
    pub(crate) fn push(&mut self, sequence: u64, time: Timestamp, operation: &Operation) {
        if self.operations == 0 {
            self.first = sequence;
            self.since = Some(time);
        }
        let known = self.frames.len();
        let before = self.out.bytes.len();
        record::encode_operation(time, operation, &mut self.out, &mut self.frames);
        if mutant::is_on(Mutant::SwapRecords) && self.operations == 1 && self.frames.is_empty() {
            self.out.bytes.rotate_left(before);
        }
        self.frame_bytes +=
            self.frames[known..].iter().map(|(_, frame)| u64::from(frame.length())).sum::<u64>();
        self.operations += 1;
    }

    /// Bytes of records.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.out.bytes.len() as u64
    }

    /// Bytes of frames that the records name.
    pub(crate) fn frame_bytes(&self) -> u64 {
        self.frame_bytes
    }

    /// When the first operation was executed, if there is one.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        self.since
    }

    fn is_empty(&self) -> bool {
        self.out.bytes.is_empty()
    }

    /// Sequence of the last operation, if there is one.
    fn last(&self) -> Option<u64> {
        (self.operations > 0).then(|| self.first + u64::from(self.operations) - 1)
    }
}

/// Writes the log.
pub(crate) struct LogWriter {
    store: Arc<dyn LogStore>,
    metrics: Arc<Metrics>,
    frames: SegmentWriter,
    items: Arc<Items>,
    /// The newest file that exists.
    prepared: u64,
    /// The file that is appended to, and where.
    pub(crate) number: u64,
    offset: u64,
    /// Taken and not yet appended; first things first.
    pending: VecDeque<Tail>,
    /// Sequence of the last operation that was appended and not yet synced.
    unsynced: Option<u64>,
    /// Bytes that were appended and not yet synced, and when the first operation among them was executed.
    unsynced_bytes: u64,
    unsynced_since: Option<Timestamp>,
    key: batch::Key,
    /// Sequence of the last operation that is known to be durable.
    durable: u64,
}

impl LogWriter {
    pub(crate) fn new(
        store: Arc<dyn LogStore>,
        items: Arc<Items>,
        metrics: Arc<Metrics>,
        number: u64,
        key: batch::Key,
        durable: u64,
    ) -> Self {
        let frames = SegmentWriter::new(items.clone());
        Self {
            store,
            metrics,
            frames,
            items,
            prepared: number,
            number,
            offset: 0,
            pending: VecDeque::new(),
            unsynced: None,
            unsynced_bytes: 0,
            unsynced_since: None,
            key,
            durable,
        }
    }

    /// Takes what the tail has for log file `file`, to be made durable by [`LogWriter::flush`].
    pub(crate) fn take(&mut self, tail: &mut Tail, file: u64) {
        if !tail.is_empty() {
            tail.file = file;
            self.pending.push_back(std::mem::take(tail));
        }
    }

    /// Puts the frames that what was taken names. This can be tried again whatever became of it: nothing says yet that they are there.
    ///
    /// # Errors
    /// Those of the object store; `Fenced`.
    pub(crate) async fn put_frames(&mut self) -> Result<()> {
        for index in 0..self.pending.len() {
            let frames = std::mem::take(&mut self.pending[index].frames);
            let stored = self.store_frames(&frames).await;
            self.pending[index].frames = frames;
            stored?;
        }
        if !mutant::is_on(Mutant::RecordsBeforeFrames) {
            self.frames.seal().await?;
        }
        Ok(())
    }

    /// Makes durable all that was taken, once its frames are put. Returns the sequence of the last operation among it. After a
    /// failure what is pending stays so, in order.
    ///
    /// # Errors
    /// Those of the log. What was appended may be lost whatever a later sync says, unless it is `NoSpace`.
    pub(crate) async fn flush(&mut self) -> Result<Option<u64>> {
        failpoint("log_after_frames_before_records").await;
        while let Some(tail) = self.pending.front_mut() {
            for (at, frame) in &tail.frames {
                let address = frame.address().expect("the frame was just stored");
                tail.out.bytes[*at..*at + 8].copy_from_slice(&address.raw().to_le_bytes());
            }
            if tail.file != self.number {
                // The next file begins when all of the one before is durable. A file of which that is known may be gone
                // already, with the checkpoint that replaced it.
                if let Some(last) = self.unsynced {
                    if !mutant::is_on(Mutant::SkipSyncOfEndedFile) {
                        self.store.sync(self.number).await?;
                    }
                    self.durable = last;
                    self.unsynced_bytes = 0;
                    self.unsynced_since = None;
                }
                self.number = tail.file;
                self.offset = 0;
            }
            let head = batch::Head {
                version: self.items.format_version(),
                sequence: tail.first,
                operations: tail.operations,
                durable: self.durable,
            };
            let encrypted = self.key.encrypt(self.number, head, &tail.out.bytes);
            let is_plain = encrypted.is_none();
            let payload = encrypted.unwrap_or_else(|| std::mem::take(&mut tail.out.bytes).into());
            let header = batch::header(&self.key, self.number, head, &payload);
            let length = (header.len() + payload.len()) as u64;
            let parts = [header, payload];
            let appended = self.store.append(self.number, self.offset, &parts).await;
            if let Err(error) = appended {
                if is_plain {
                    let [_, payload] = parts;
                    tail.out.bytes = payload.into();
                }
                return Err(error);
            }
            self.offset += length;
            self.unsynced_bytes += length;
            self.unsynced_since = self.unsynced_since.or(tail.since);
            self.metrics.log_batches.add(1);
            self.metrics.log_bytes.add(length);
            self.unsynced = tail.last().or(self.unsynced);
            self.pending.pop_front();
        }
        if let Some(last) = self.unsynced {
            failpoint("log_after_append_before_sync").await;
            let synced = match mutant::is_on(Mutant::SkipLogSync) {
                true => Ok(()),
                false => self.store.sync(self.number).await,
            };
            match synced {
                Err(_) if mutant::is_on(Mutant::AcknowledgeFailedSync) => {}
                synced => synced?,
            }
            self.durable = last;
            self.unsynced_bytes = 0;
            self.unsynced_since = None;
            failpoint("log_after_sync").await;
        }
        Ok(self.unsynced.take())
    }

    async fn store_frames(&mut self, frames: &[(usize, Arc<Frame>)]) -> Result<()> {
        for (_, frame) in frames {
            store_frame(frame, &mut self.frames, &self.items);
            if self.frames.has_full() {
                self.frames.put_full().await?;
            }
        }
        Ok(())
    }

    /// Puts frames that were gathered for the log.
    pub(crate) async fn seal_frames(&mut self) -> Result<()> {
        self.frames.seal().await
    }

    /// Ends the log of this writer, all of which is durable.
    pub(crate) async fn close(&self) -> Result<()> {
        self.store.close(self.prepared).await
    }

    /// Bytes taken and not yet durable.
    pub(crate) fn pending_bytes(&self) -> u64 {
        let pending: u64 = self.pending.iter().map(|tail| tail.record_bytes() + tail.frame_bytes()).sum();
        pending + self.unsynced_bytes
    }

    /// When the first operation was executed that was taken and is not durable yet.
    pub(crate) fn pending_since(&self) -> Option<Timestamp> {
        self.unsynced_since.or_else(|| self.pending.iter().find_map(|tail| tail.since))
    }

    /// Bytes of records taken and not yet durable: they stand in memory.
    pub(crate) fn pending_record_bytes(&self) -> u64 {
        self.pending.iter().map(Tail::record_bytes).sum::<u64>() + self.unsynced_bytes
    }

    /// Whether what a failed flush had to do can be tried again.
    pub(crate) fn can_flush_again(&self) -> bool {
        self.store.is_remote()
    }

    /// Makes log file `number`, unless an earlier try has. Nothing is written to it yet.
    pub(crate) async fn prepare_file(&mut self, number: u64) -> Result<()> {
        if self.prepared < number {
            match self.store.create(number).await {
                Err(error) if error.kind() == ErrorKind::Exists && ignores_taken() => {}
                created => created?,
            }
            self.prepared = number;
        }
        Ok(())
    }
}

/// Whether a seeded bug takes a log file of somebody else for its own.
fn ignores_taken() -> bool {
    mutant::is_on(Mutant::IgnoreTakenLog) || mutant::is_on(Mutant::IgnoreFences)
}

/// Gives a frame its address and its bytes to the cache, unless that has been done.
pub(crate) fn store_frame(frame: &Frame, writer: &mut SegmentWriter, items: &Items) {
    if frame.address().is_some() {
        return;
    }
    let Some(address) = frame.with(|bytes| writer.append(ItemKind::Frame, bytes)) else { return };
    if let Some(bytes) = frame.set_stored(address) {
        items.keep_frame(address, bytes);
    }
    items.born(address, ItemKind::Frame, frame.interval());
}
