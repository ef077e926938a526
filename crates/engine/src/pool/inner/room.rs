//! Whether there is memory and space for one more operation.

use std::time::Duration;

use futures::future::Either;

use super::Inner;
use super::pace::DELAY_MAX;
use crate::checkpoint::checkpoint;
use crate::namespace::{Operation, WriteData};
use crate::pool::AllocateMode;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{Error, ErrorKind, Result};

/// Bytes of records that are never exceeded by more than one operation.
const TAIL_BYTES_MAX: u64 = 32 << 20;
/// Time for which what the store said about its space is believed.
const SPACE_AGE_MAX: Duration = Duration::from_millis(100);

impl Inner {
    /// Waits until there is memory, and refuses what would fill the store.
    pub(super) async fn admit(&self, operation: &Operation) -> Result<()> {
        let waiting = Waiting::of(&self.waiting_bytes, operation);
        let bytes = waiting.as_ref().map_or(0, |waiting| waiting.bytes);
        match Need::of(operation) {
            Need::Nothing => Ok(()),
            Need::Memory => {
                self.slow_down(Need::Memory, 0).await?;
                self.wait_for_memory(Need::Memory).await
            }
            Need::MemoryAndSpace => {
                if !self.has_room().await? && !Box::pin(self.make_room()).await? {
                    return Err(Error::new(ErrorKind::NoSpace, "the pool is full"));
                }
                self.slow_down(Need::MemoryAndSpace, bytes).await?;
                self.wait_for_memory(Need::MemoryAndSpace).await
            }
        }
    }

    /// Counts an operation that has been carried out. One that has not is of no use to who makes room.
    pub(super) fn note_removal(&self, operation: &Operation) {
        if Need::of(operation) != Need::MemoryAndSpace && may_free(operation) {
            self.removals.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits a little if a checkpoint is running and more is dirty than should be by now. See [`super::pace`]. A change that brings `bytes`
    /// of its own waits for these as well, so that who writes much at once has no advantage.
    async fn slow_down(&self, need: Need, bytes: u64) -> Result<()> {
        let bound = self.dirty_bytes_max();
        let mut until = None;
        // Beside the time that has passed: a clock may stand still.
        let mut slept = Duration::ZERO;
        while self.dirty_bytes() + bytes > bound / 2 && self.background_runs.load(Ordering::Acquire) {
            let progress = self.progress.notified();
            let now = self.clock.monotonic();
            let (delay, is_running) = {
                let pace = self.pace.lock();
                (pace.delay(now, self.dirty_bytes() + bytes, bound), pace.is_running())
            };
            let is_failing = self.is_storing_failing();
            if !is_running && !is_failing && self.is_checkpoint_due() {
                self.checkpoint_work.notify_one();
            }
            let is_first = until.is_none();
            let until = *until.get_or_insert(now + DELAY_MAX);
            let delay = delay.min(until.saturating_sub(now)).min(DELAY_MAX.saturating_sub(slept));
            if delay.is_zero() || (is_failing && need == Need::Memory) {
                return Ok(());
            }
            if let Some(error) = &self.core.read().stopped {
                return Err(error.clone());
            }
            self.metrics.memory_delays.add(u64::from(is_first));
            let sleep = self.clock.sleep(delay);
            if let Either::Right(_) = futures::future::select(std::pin::pin!(progress), sleep).await {
                slept += delay;
            }
        }
        Ok(())
    }

    /// A checkpoint begins.
    pub(crate) fn checkpoint_begins(&self) {
        self.pace.lock().begin(self.clock.monotonic(), self.dirty_bytes(), self.dirty_bytes_max());
    }

    /// What a checkpoint has stored is no longer in memory for its sake.
    pub(crate) fn checkpoint_frees(&self) {
        self.pace.lock().end(self.clock.monotonic());
    }

    /// A checkpoint is over, well or not.
    pub(crate) fn checkpoint_is_over(&self) {
        self.pace.lock().give_up();
    }

    /// Waits until less is dirty than may be. What needs no space does not wait for what cannot be stored now: it may be what
    /// makes room.
    async fn wait_for_memory(&self, need: Need) -> Result<()> {
        let is_patient = need == Need::MemoryAndSpace;
        if self.tail_bytes.load(Ordering::Relaxed) > TAIL_BYTES_MAX {
            // The background is behind: whoever adds to the log helps writing it.
            self.metrics.memory_waits.add(1);
            match self.sync().await {
                Err(error) if error.kind() == ErrorKind::NoSpace && !is_patient => return Ok(()),
                synced => synced?,
            }
        }
        while self.dirty_bytes() > self.dirty_bytes_max() {
            // Before anything is looked at: whoever changes it afterwards is heard.
            let progress = self.progress.notified();
            if let Some(error) = &self.core.read().stopped {
                return Err(error.clone());
            }
            let is_failing = self.is_storing_failing();
            if !is_patient && is_failing {
                return Ok(());
            }
            self.metrics.memory_waits.add(1);
            if self.background_runs.load(Ordering::Acquire) {
                // What has failed is tried again by itself, after a pause.
                if !is_failing {
                    self.checkpoint_work.notify_one();
                }
                if self.dirty_bytes() > self.dirty_bytes_max() {
                    // The log frees memory, too, segment by segment, and does not say so.
                    futures::future::select(std::pin::pin!(progress), self.clock.sleep(DELAY_MAX)).await;
                }
            } else {
                match checkpoint(self, false).await {
                    Err(error) if error.kind() == ErrorKind::NoSpace && !is_patient => {}
                    made => drop(made?),
                }
                break;
            }
        }
        Ok(())
    }

    /// Whether the last try to write the log or a checkpoint failed.
    fn is_storing_failing(&self) -> bool {
        let health = self.health.lock();
        health.flush_error.is_some() || health.checkpoint_error.is_some()
    }

    async fn has_room(&self) -> Result<bool> {
        let free = self.free_bytes().await?;
        Ok(free.is_none_or(|free| free >= self.settings.reserve_bytes + self.gauge.get()))
    }

    /// Gives back what was removed since the last time that there was no room; whether there is room now. Who comes while another
    /// is at it waits for what comes of that.
    async fn make_room(&self) -> Result<bool> {
        let mut removals_tried = self.removals_tried.lock().await;
        self.forget_space();
        if self.has_room().await? {
            return Ok(true);
        }
        self.drop_unreachable().await?;
        let removals = self.removals.load(Ordering::Relaxed);
        if *removals_tried == removals {
            return Ok(false);
        }
        // Rewritten segments let go of their old places one checkpoint later, and those are deleted one later still.
        for _ in 0..3 {
            match checkpoint(self, false).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NoSpace => break,
                Err(error) => return Err(error),
            }
            self.forget_space();
            if self.has_room().await? {
                // There may be more to come.
                return Ok(true);
            }
        }
        *removals_tried = removals;
        Ok(false)
    }

    /// Has the store asked for its space by whoever needs to know next.
    pub(crate) fn forget_space(&self) {
        *self.space.lock() = None;
    }

    /// Whether so much can be written that twice the reserve and `more` bytes remain.
    pub(crate) async fn has_space(&self, more: u64) -> Result<bool> {
        let least = self.settings.reserve_bytes * 2 + self.gauge.get() + more;
        Ok(self.free_bytes().await?.is_none_or(|free| free >= least))
    }

    /// Whether so much waits to be stored that nothing should be added without need.
    pub(crate) fn is_memory_short(&self) -> bool {
        self.dirty_bytes() > self.dirty_bytes_max() / 4
    }

    /// Whether the pool is being closed, or has stopped.
    pub(crate) fn is_ending(&self) -> bool {
        self.closing.load(Ordering::Acquire) || self.core.read().stopped.is_some()
    }

    /// Bytes that can still be written, if there is a limit.
    pub(super) async fn free_bytes(&self) -> Result<Option<u64>> {
        let now = self.clock.monotonic();
        let known = *self.space.lock();
        let space = match known {
            Some((at, space)) if now.saturating_sub(at) < SPACE_AGE_MAX => space,
            _ => {
                let space = self.items.objects().space().await?;
                *self.space.lock() = Some((now, space));
                space
            }
        };
        let by_store = space.map(|space| space.free);
        let by_setting =
            self.settings.capacity_bytes.map(|capacity| capacity.saturating_sub(self.stored_bytes()));
        Ok(match (by_store, by_setting) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        })
    }
}

/// Frames of an operation that waits for room: no checkpoint can store them yet, so that nobody may wait for that.
struct Waiting<'a> {
    all: &'a AtomicU64,
    bytes: u64,
}

impl<'a> Waiting<'a> {
    /// `None` if the operation has none.
    fn of(all: &'a AtomicU64, operation: &Operation) -> Option<Self> {
        let Operation::Write { data: data @ WriteData::Frames(_), .. } = operation else { return None };
        let bytes = data.length();
        all.fetch_add(bytes, Ordering::Relaxed);
        Some(Self { all, bytes })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What an operation has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// It is the background's, or part of another operation.
    Nothing,
    /// It copies nodes, and stores nothing that lasts.
    Memory,
    MemoryAndSpace,
}

impl Need {
    fn of(operation: &Operation) -> Self {
        match operation {
            Operation::DropOrphan { .. }
            | Operation::TakeApart { .. }
            | Operation::FreeRealm { .. }
            | Operation::Alias(_) => Self::Nothing,
            Operation::Unlink { .. }
            | Operation::RemoveDirectory { .. }
            | Operation::RemoveTree { .. }
            | Operation::RemoveXattr { .. }
            | Operation::SetAttributes { .. }
            | Operation::Rename { .. } => Self::Memory,
            Operation::Allocate { mode, .. } if !matches!(mode, AllocateMode::Allocate { .. }) => {
                Self::Memory
            }
            _ => Self::MemoryAndSpace,
        }
    }
}

/// Whether an operation that grows nothing may give space back.
fn may_free(operation: &Operation) -> bool {
    match operation {
        Operation::SetAttributes { set, .. } => set.size.is_some(),
        Operation::Alias(_) => false,
        _ => true,
    }
}
