//! Jobs that look after the pool: check, scrub, repair, collection, and measuring a tree.

use std::sync::Arc;

use offshoot_vfs::permission::READ;

use super::{Identity, Service};
use crate::job::{JobHandle, NewJob};
use crate::path::PoolPath;
use crate::problem::{Kind, Problem};
use crate::wire::{self, JobKind, JobResult, Progress};

impl Service {
    /// Starts a job.
    ///
    /// # Errors
    /// `Permission`, `Busy`, `BadRequest`.
    pub async fn start(&self, caller: &Identity, request: wire::JobRequest) -> Result<wire::Job, Problem> {
        if request.dry_run && request.kind != JobKind::Repair {
            let words = "only a job of kind `repair` takes `dry_run`; the others destroy nothing";
            return Err(Problem::new(Kind::BadRequest, words));
        }
        let handle = match request.kind {
            JobKind::Usage => {
                let missing = || Problem::new(Kind::BadRequest, "a job of kind `usage` needs a `path`");
                let path = super::tree::read_path(&request.path.ok_or_else(missing)?)?;
                self.start_usage(caller, &path).await?
            }
            JobKind::Diff => {
                let words = "differences are told by `GET /api/v1/diff`, which is a job while it lasts";
                return Err(Problem::new(Kind::BadRequest, words));
            }
            kind @ (JobKind::Check | JobKind::Scrub | JobKind::Repair | JobKind::Gc) => {
                if request.path.is_some() {
                    let words =
                        "only a job of kind `usage` takes a `path`; the others work on the whole pool";
                    return Err(Problem::new(Kind::BadRequest, words));
                }
                self.start_upkeep(caller, kind, request.dry_run).await?
            }
        };
        self.jobs().get(handle.id, caller.viewer())
    }

    async fn start_upkeep(
        &self,
        caller: &Identity,
        kind: JobKind,
        dry_run: bool,
    ) -> Result<JobHandle, Problem> {
        if !caller.administrator {
            let words = "a check, a scrub, a repair and a collection need root or the server's own user";
            return Err(Problem::new(Kind::Permission, words));
        }
        let pool = Clone::clone(self.pool());
        let total = match kind {
            JobKind::Scrub | JobKind::Repair => {
                let status = pool.status().await;
                Some(status.live_bytes + status.dirty_bytes)
            }
            // A check reads nodes and no content; nothing counts how much of the live bytes that is.
            _ => None,
        };
        let new = self.new_job(caller, kind, "the whole pool".into(), total);
        self.jobs().start(new, move |_| async move {
            Ok(match kind {
                JobKind::Check => JobResult::Report(pool.check().await?.into()),
                JobKind::Scrub => JobResult::Report(pool.scrub().await?.into()),
                JobKind::Repair => JobResult::Repair(pool.repair(dry_run).await?.into()),
                _ => JobResult::Gc(pool.gc().await?.into()),
            })
        })
    }

    /// Starts measuring a tree.
    pub(super) async fn start_usage(&self, caller: &Identity, path: &PoolPath) -> Result<JobHandle, Problem> {
        let tried = format!("measure {path}");
        let found = self.resolve(caller, path, READ).await.map_err(|problem| problem.while_trying(tried))?;
        let pool = Clone::clone(self.pool());
        let new = self.new_job(caller, JobKind::Usage, self.path_of(found.ino()).await, None);
        let path = path.clone();
        self.jobs().start(new, move |_| async move {
            let usage = pool.usage(found.ino()).await?;
            Ok(JobResult::Usage(wire::PathUsage { path: (&path).into(), usage: usage.into() }))
        })
    }

    /// A job whose progress is what the engine has read from the store since it began, other readers included.
    fn new_job(&self, caller: &Identity, kind: JobKind, subject: String, total: Option<u64>) -> NewJob {
        let pool = Arc::new(Clone::clone(self.pool()));
        let before = pool.metrics().fetched_bytes.get();
        let progress = move || Progress {
            done: pool.metrics().fetched_bytes.get().saturating_sub(before),
            total,
            unit: "bytes_read".into(),
        };
        NewJob { kind, subject, uid: caller.uid, progress: Box::new(progress) }
    }
}
