//! Work in the background: when the log is written and checkpoints are made, and what of it fails.

use std::time::Duration;

use super::{Inner, TAKEN_OVER};
use crate::checkpoint::{Done, checkpoint, checkpoint_within, is_taken_over};
use crate::format::manifest::Manifest;
use crate::report::GcReport;
use crate::simulation::failpoint;
use crate::sync::atomic::Ordering;
use crate::{Error, ErrorKind, Result, defragment};

/// Bytes of dead objects that are worth a checkpoint of their own, so that they can be deleted, and its distance to the last.
const DEAD_BYTES: u64 = 4 << 20;
const DEAD_INTERVAL: Duration = Duration::from_secs(5);
/// How long a writer whose log is among the objects goes on without a look whether another one has taken over.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Checkpoints that closing makes at most, while the pool is still being changed.
const END_ATTEMPTS: u32 = 3;

/// What the newest checkpoint left, and what work is failing.
#[derive(Default)]
pub(super) struct Health {
    pub(super) garbage: u64,
    /// Bytes of objects that the next checkpoint can delete.
    pub(super) dead_bytes: u64,
    pub(super) abandoned: u64,
    pub(super) uncounted: bool,
    /// Why the log or a checkpoint could not be written the last time.
    pub(super) flush_error: Option<String>,
    pub(super) checkpoint_error: Option<String>,
    /// What was given up to open the pool.
    pub(super) accepted_loss: Option<String>,
}

impl Health {
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self {
            garbage: manifest.garbage.len() as u64,
            abandoned: manifest.abandoned,
            uncounted: !manifest.uncounted.is_empty(),
            ..Self::default()
        }
    }
}

impl Inner {
    /// Writes the log while the pool is open: soon when much waits, in any case after the flush interval.
    pub(crate) async fn flush_in_background(&self) {
        let mut failures = 0u32;
        while !self.closing.load(Ordering::Acquire) && self.core.read().stopped.is_none() {
            let pause = self.settings.flush_interval * (1 << failures.min(5));
            let work = std::pin::pin!(self.flush_work.notified());
            futures::future::select(work, self.clock.sleep(pause)).await;
            let ended = self.end_some().await;
            if matches!(ended, Ok(true)) {
                self.flush_work.notify_one();
            }
            let result = ended.map(|_| ()).and(self.sync().await);
            self.health.lock().flush_error =
                result.as_ref().err().map(|error| format!("the log cannot be written: {error}"));
            failures = self.tried(result, failures);
        }
    }

    /// Makes checkpoints while the pool is open, when they are due.
    pub(crate) async fn checkpoint_in_background(&self) {
        self.background_runs.store(true, Ordering::Release);
        let mut failures = 0u32;
        while !self.closing.load(Ordering::Acquire) && self.core.read().stopped.is_none() {
            let pause =
                self.settings.checkpoint_interval.min(Duration::from_millis(200)) * (1 << failures.min(5));
            let work = std::pin::pin!(self.checkpoint_work.notified());
            futures::future::select(work, self.clock.sleep(pause)).await;
            if self.is_checkpoint_due() {
                failures = self.tried(checkpoint(self, false).await.map(|_| ()), failures);
            } else {
                // Whoever asked for one may have been helped otherwise, and not have heard of it.
                self.progress.notify_waiters();
            }
            if self.settings.defragment && failures == 0 {
                failures = self.tried(defragment::step(self).await, failures);
            }
            self.look_for_successor().await;
        }
        self.background_runs.store(false, Ordering::Release);
        self.progress.notify_waiters();
    }

    /// A writer on another machine may have taken over, and who changes nothing would never hear of it and show what is no more.
    /// Looks for one if nothing else has done so for a while; who cannot look tries again as late.
    async fn look_for_successor(&self) {
        let now = self.clock.monotonic();
        {
            let (_, checkpoint) = *self.last_checkpoint.lock();
            let mut last = self.last_look.lock();
            if !self.log_store.is_remote() || now.saturating_sub(checkpoint.max(*last)) < LOOK_INTERVAL {
                return;
            }
            *last = now;
        }
        if matches!(is_taken_over(self, self.manifest_number.load(Ordering::Relaxed)).await, Ok(true)) {
            // A checkpoint of this writer that has just put its own manifest knows best.
            let checkpointer = self.checkpointer.lock().await;
            if !checkpointer.is_unfinished()
                && matches!(is_taken_over(self, checkpointer.manifest.number).await, Ok(true))
            {
                self.stop(Error::new(ErrorKind::Fenced, TAKEN_OVER));
            }
        }
    }

    /// Counts failures in a row of background work.
    fn tried(&self, result: Result<()>, failures: u32) -> u32 {
        match result {
            Ok(()) => 0,
            Err(error) => {
                if self.core.read().stopped.is_none() {
                    tracing::warn!(%error, "background work failed and will be tried again");
                }
                self.progress.notify_waiters();
                failures + 1
            }
        }
    }

    pub(crate) fn is_checkpoint_due(&self) -> bool {
        let now = self.clock.monotonic();
        let (garbage, dead_bytes) = {
            let health = self.health.lock();
            (health.garbage, health.dead_bytes)
        };
        let changed = self.log_bytes.load(Ordering::Relaxed) > 0;
        let (_, last) = *self.last_checkpoint.lock();
        let log_bytes_max = self.settings.checkpoint_log_bytes.min(self.dirty_bytes_max());
        self.dirty_bytes() > self.dirty_bytes_max() / 2
            || self.log_bytes.load(Ordering::Relaxed) > log_bytes_max
            || (changed && now.saturating_sub(last) >= self.settings.checkpoint_interval)
            || (dead_bytes > DEAD_BYTES && now.saturating_sub(last) >= DEAD_INTERVAL)
            || (garbage > 0 && now.saturating_sub(last) >= Duration::from_millis(200))
    }

    pub(crate) async fn close(&self) -> Result<()> {
        self.closing.store(true, Ordering::Release);
        self.flush_work.notify_one();
        self.checkpoint_work.notify_one();
        self.read_ahead.work.notify_one();
        let dropped = self.drop_unreachable().await;
        let synced = dropped.and(self.sync().await);
        let result = match synced {
            Ok(()) => self.end().await,
            Err(error) => Err(error),
        };
        let mut core = self.core.write();
        if core.stopped.is_none() {
            core.stopped = Some(closed());
        }
        result
    }

    /// Makes a last checkpoint, and a manifest which says that nothing of the log is needed: then the next writer may keep its log
    /// elsewhere. Who still changes the pool may come between the two; then the log stays needed.
    async fn end(&self) -> Result<()> {
        let mut checkpointer = self.checkpointer.lock().await;
        for _ in 0..END_ATTEMPTS {
            checkpoint_within(self, &mut checkpointer, false).await?;
            if self.stop_if_unchanged(checkpointer.manifest.sequence)? {
                failpoint("close_after_checkpoint_before_log").await;
                self.log.lock().await.close().await?;
                failpoint("close_after_log_before_manifest").await;
                let last = &checkpointer.manifest;
                let closed = Manifest { number: last.number + 1, log: last.newest_log + 1, ..last.clone() };
                self.put_manifest(&closed).await?;
                checkpointer.manifest = closed;
                return Ok(());
            }
        }
        self.log.lock().await.close().await
    }

    /// Accepts no changes any more, if there were none since operation `sequence`.
    fn stop_if_unchanged(&self, sequence: u64) -> Result<bool> {
        let mut core = self.core.write();
        if let Some(error) = &core.stopped {
            return Err(error.clone());
        }
        let is_unchanged = core.state.sequence == sequence;
        if is_unchanged {
            core.stopped = Some(closed());
        }
        Ok(is_unchanged)
    }

    pub(crate) async fn gc(&self) -> Result<GcReport> {
        let (mut windows_rewritten, mut rewritten_bytes) = (0, 0);
        let mut done = Done::default();
        self.end_all().await?;
        if self.settings.defragment {
            let (report, made) = defragment::everything(self).await?;
            (windows_rewritten, rewritten_bytes) = (report.windows_rewritten, report.rewritten_bytes);
            done.add(made);
        }
        // Rewritten segments let go of their old places one checkpoint later, and those are deleted one later still.
        for _ in 0..3 {
            failpoint("collect_between_checkpoints").await;
            done.add(checkpoint(self, true).await?);
        }
        self.forget_space();
        let Done { items_freed, segments_compacted, segments_deleted, bytes_freed: freed_bytes } = done;
        Ok(GcReport {
            items_freed,
            segments_compacted,
            segments_deleted,
            freed_bytes,
            windows_rewritten,
            rewritten_bytes,
        })
    }

    /// Notes how a checkpoint ended.
    pub(crate) fn note_checkpoint(&self, error: Option<&Error>) {
        self.checkpoint_is_over();
        self.health.lock().checkpoint_error =
            error.map(|error| format!("no checkpoint can be made: {error}"));
    }

    /// Notes what the next checkpoint can delete, in bytes.
    pub(crate) fn set_dead_bytes(&self, bytes: u64) {
        self.health.lock().dead_bytes = bytes;
    }

    pub(crate) fn set_last_checkpoint(&self, manifest: &Manifest) {
        *self.last_checkpoint.lock() = (manifest.time, self.clock.monotonic());
        let mut health = self.health.lock();
        *health = Health {
            flush_error: health.flush_error.take(),
            accepted_loss: health.accepted_loss.take(),
            ..Health::of(manifest)
        };
        drop(health);
        self.log_bytes.store(0, Ordering::Relaxed);
        self.checkpoint_frees();
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the pool has been closed")
}
