//! Comparing two trees. The engine skips what they share, so the work is in proportion to what differs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use offshoot_engine::report::{Change, Difference};
use offshoot_vfs::permission::{EXECUTE, READ};
use tokio::sync::mpsc;

use super::{Identity, Service, spawn_local};
use crate::job::NewJob;
use crate::path::PoolPath;
use crate::problem::{Kind, Problem};
use crate::wire::{DiffLine, DifferenceBody, JobKind, JobResult, Progress};

/// Differences that wait for their reader.
const WAITING_MAX: usize = 256;

impl Service {
    /// Tells all differences, and at last [`DiffLine::End`] or the problem. A job as long as it lasts; it ends early when the receiver is
    /// dropped. Others than administrators need to be able to read both roots, and are told only what they could list themselves.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Busy`.
    pub async fn diff(
        self: &Arc<Self>,
        caller: &Identity,
        first: &PoolPath,
        second: &PoolPath,
    ) -> Result<mpsc::Receiver<DiffLine>, Problem> {
        let tried = format!("compare {first} with {second}");
        let find = async |path| {
            let found = self.resolve(caller, path, READ).await;
            found.map_err(|problem| problem.while_trying(&tried))
        };
        let (one, other) = (find(first).await?, find(second).await?);
        let told = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&told);
        let new = NewJob {
            kind: JobKind::Diff,
            subject: format!("{first} {second}"),
            uid: caller.uid,
            progress: Box::new(move || Progress {
                done: counter.load(Ordering::Relaxed),
                total: None,
                unit: "differences".into(),
            }),
        };
        let (sender, found) = mpsc::channel::<Difference>(WAITING_MAX);
        let pool = Clone::clone(self.pool());
        let mut handle = self.jobs().start(new, move |context| async move {
            let mut each = |difference: Difference| {
                told.fetch_add(1, Ordering::Relaxed);
                // This thread is the job's own and may block; the send fails when nobody listens any more.
                !context.is_cancelled() && sender.blocking_send(difference).is_ok()
            };
            let outcome = pool.diff(one.ino(), other.ino(), &mut each).await;
            drop((one, other));
            outcome?;
            if context.is_cancelled() || sender.is_closed() {
                return Err(Problem::new(Kind::Cancelled, "the comparison was cancelled"));
            }
            Ok(JobResult::Diff { differences: told.load(Ordering::Relaxed) })
        })?;
        let (lines, receiver) = mpsc::channel(WAITING_MAX);
        let sieve = Sieve {
            service: Arc::clone(self),
            caller: caller.clone(),
            first: first.clone(),
            second: second.clone(),
            last: None,
        };
        spawn_local(move || async move {
            let Some(differences) = sieve.pass_on(found, &lines).await else { return };
            let job = handle.ended().await;
            let end = match job.problem {
                None => DiffLine::End { differences },
                Some(problem) => DiffLine::Problem(problem),
            };
            let _ = lines.send(end).await;
        });
        Ok(receiver)
    }
}

/// Lets through what a caller may know.
struct Sieve {
    service: Arc<Service>,
    caller: Identity,
    first: PoolPath,
    second: PoolPath,
    /// The last directory asked about and the answer; differences come directory by directory.
    last: Option<(PoolPath, bool)>,
}

impl Sieve {
    /// Passes differences on and counts them; `None` if nobody listens any more.
    async fn pass_on(
        mut self,
        mut found: mpsc::Receiver<Difference>,
        lines: &mpsc::Sender<DiffLine>,
    ) -> Option<u64> {
        let mut count = 0;
        while let Some(difference) = found.recv().await {
            if !self.may_know(&difference).await {
                continue;
            }
            count += 1;
            let body = DifferenceBody {
                path: difference.path.into(),
                change: difference.change.into(),
                before: difference.before.as_ref().map(Into::into),
                after: difference.after.as_ref().map(Into::into),
            };
            lines.send(DiffLine::Difference(Box::new(body))).await.ok()?;
        }
        Some(count)
    }

    async fn may_know(&mut self, difference: &Difference) -> bool {
        if self.caller.administrator {
            return true;
        }
        let root = if difference.change == Change::Removed { &self.first } else { &self.second };
        let Ok(path) = root.join(&difference.path) else { return false };
        let directory = if difference.path.is_empty() { None } else { path.split() };
        // The roots themselves were checked at the start.
        let Some((directory, _)) = directory else { return true };
        if let Some((last, answer)) = &self.last
            && *last == directory
        {
            return *answer;
        }
        let answer = self.service.resolve(&self.caller, &directory, READ | EXECUTE).await.is_ok();
        self.last = Some((directory, answer));
        answer
    }
}
