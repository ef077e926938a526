//! Work that takes long: each job has an id, tells how far it is, can be waited for and cancelled.
//!
//! A job runs on a thread of its own with a large stack, because the engine walks trees recursively and may block. To cancel
//! drops its future at the next place where it waits, and sets a flag for work that asks. A bounded number runs
//! at once; the last ended ones are remembered, for as long as the server runs.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{Either, select};
use offshoot_engine::Clock;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::problem::{Kind, Problem};
use crate::wire::{Job, JobKind, JobResult, JobState, Progress};

/// Jobs at work at the same time, at most.
pub const RUNNING_MAX: usize = 8;
/// Ended jobs that are remembered.
pub const ENDED_MAX: usize = 100;
/// Address space of a job's stack; only what is touched takes memory.
const STACK_BYTES: usize = 1 << 30;

/// All jobs of a server. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last_id: u64,
    jobs: BTreeMap<u64, Arc<Shared>>,
}

struct Shared {
    /// Who started it.
    uid: u32,
    cancel: watch::Sender<bool>,
    job: watch::Sender<Job>,
    progress: Box<dyn Fn() -> Progress + Send + Sync>,
}

/// Whose jobs someone may see and cancel: what a job works on is for nobody else to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Everybody's.
    All,
    /// Those that this user started.
    User(u32),
}

impl Viewer {
    fn sees(self, shared: &Shared) -> bool {
        match self {
            Self::All => true,
            Self::User(uid) => shared.uid == uid,
        }
    }
}

/// What a new job is.
pub struct NewJob {
    /// What it does.
    pub kind: JobKind,
    /// What it works on, in words.
    pub subject: String,
    /// Who starts it.
    pub uid: u32,
    /// Asked whenever someone wants to know how far it is.
    pub progress: Box<dyn Fn() -> Progress + Send + Sync>,
}

/// What work may ask while it runs.
#[derive(Clone)]
pub struct JobContext(watch::Receiver<bool>);

impl JobContext {
    /// Someone cancelled the job: stop soon.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }
}

/// A started job.
pub struct JobHandle {
    /// Its id.
    pub id: u64,
    job: watch::Receiver<Job>,
}

impl JobHandle {
    /// Waits for the end.
    pub async fn ended(&mut self) -> Job {
        // An error means that the job's record is gone: what was seen last is the end of it.
        let _ = self.job.wait_for(|job| job.state != JobState::Running).await;
        self.job.borrow().clone()
    }
}

/// Cancels a job when it is dropped; for answers that someone waits for.
pub struct CancelOnDrop {
    jobs: Jobs,
    id: u64,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.jobs.stop(self.id);
    }
}

impl Jobs {
    /// No jobs yet; times come from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { clock, table: Mutex::default() }))
    }

    /// Starts `work` on a thread of its own.
    ///
    /// # Errors
    /// `Busy` if too many run already.
    pub fn start<W, F>(&self, new: NewJob, work: W) -> Result<JobHandle, Problem>
    where
        W: FnOnce(JobContext) -> F + Send + 'static,
        F: Future<Output = Result<JobResult, Problem>>,
    {
        let (shared, id) = self.enter(new)?;
        let handle = JobHandle { id, job: shared.job.subscribe() };
        let jobs = self.clone();
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(format!("job-{id}")).stack_size(STACK_BYTES);
        let spawned = thread.spawn(move || {
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| run(&worker, work)));
            let outcome = outcome.unwrap_or_else(|_| Err(Problem::new(Kind::Internal, "the job broke off")));
            jobs.end(&worker, outcome);
        });
        if let Err(error) = spawned {
            let problem =
                Problem::new(Kind::Internal, format!("no thread for a job can be started: {error}"));
            self.end(&shared, Err(problem.clone()));
            return Err(problem);
        }
        Ok(handle)
    }

    /// The remembered jobs that `viewer` may see, oldest first.
    pub fn list(&self, viewer: Viewer) -> Vec<Job> {
        let table = self.0.table.lock();
        table.jobs.values().filter(|shared| viewer.sees(shared)).map(|shared| shared.now()).collect()
    }

    /// Jobs at work.
    pub fn running(&self) -> usize {
        self.0.table.lock().jobs.values().filter(|shared| shared.is_running()).count()
    }

    /// One job.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn get(&self, id: u64, viewer: Viewer) -> Result<Job, Problem> {
        Ok(self.find(id, viewer)?.now())
    }

    /// A handle to wait for a job.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn follow(&self, id: u64, viewer: Viewer) -> Result<JobHandle, Problem> {
        Ok(JobHandle { id, job: self.find(id, viewer)?.job.subscribe() })
    }

    /// Cancels a job; one that has ended stays as it is.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn cancel(&self, id: u64, viewer: Viewer) -> Result<Job, Problem> {
        let shared = self.find(id, viewer)?;
        shared.cancel.send_replace(true);
        Ok(shared.now())
    }

    /// Cancels all jobs and waits until they have ended; at stop.
    pub async fn cancel_all(&self) {
        let all: Vec<_> = self.0.table.lock().jobs.values().cloned().collect();
        for shared in &all {
            shared.cancel.send_replace(true);
        }
        for shared in all {
            JobHandle { id: 0, job: shared.job.subscribe() }.ended().await;
        }
    }

    /// Cancels job `id` when what is returned is dropped.
    pub fn cancel_on_drop(&self, id: u64) -> CancelOnDrop {
        CancelOnDrop { jobs: self.clone(), id }
    }

    fn stop(&self, id: u64) {
        if let Ok(shared) = self.find(id, Viewer::All) {
            shared.cancel.send_replace(true);
        }
    }

    fn find(&self, id: u64, viewer: Viewer) -> Result<Arc<Shared>, Problem> {
        let found = self.0.table.lock().jobs.get(&id).filter(|shared| viewer.sees(shared)).cloned();
        found.ok_or_else(|| {
            let kind = Kind::Engine(offshoot_engine::ErrorKind::NotFound);
            Problem::new(kind, format!("there is no job {id}; `GET /api/v1/jobs` lists them"))
        })
    }

    fn enter(&self, new: NewJob) -> Result<(Arc<Shared>, u64), Problem> {
        let mut table = self.0.table.lock();
        if table.jobs.values().filter(|shared| shared.is_running()).count() >= RUNNING_MAX {
            return Err(Problem::new(
                Kind::Busy,
                format!("{RUNNING_MAX} jobs run already; wait for one to end or cancel one"),
            ));
        }
        table.last_id += 1;
        let id = table.last_id;
        let job = Job {
            id,
            kind: new.kind,
            subject: new.subject,
            state: JobState::Running,
            started: self.0.clock.now().into(),
            ended: None,
            progress: Progress::default(),
            result: None,
            problem: None,
        };
        let shared = Arc::new(Shared {
            uid: new.uid,
            cancel: watch::Sender::new(false),
            job: watch::Sender::new(job),
            progress: new.progress,
        });
        table.jobs.insert(id, Arc::clone(&shared));
        Ok((shared, id))
    }

    fn end(&self, shared: &Shared, outcome: Result<JobResult, Problem>) {
        let now = self.0.clock.now().into();
        let progress = (shared.progress)();
        shared.job.send_modify(|job| {
            job.ended = Some(now);
            job.progress = progress;
            match outcome {
                Ok(result) => {
                    job.state = JobState::Done;
                    job.result = Some(result);
                }
                Err(problem) => {
                    let cancelled = problem.kind == Kind::Cancelled;
                    job.state = if cancelled { JobState::Cancelled } else { JobState::Failed };
                    job.problem = Some(problem.document());
                }
            }
        });
        let mut table = self.0.table.lock();
        let ended: Vec<u64> =
            table.jobs.iter().filter(|(_, job)| !job.is_running()).map(|(id, _)| *id).collect();
        for id in ended.iter().take(ended.len().saturating_sub(ENDED_MAX)) {
            table.jobs.remove(id);
        }
    }
}

impl Shared {
    fn is_running(&self) -> bool {
        self.job.borrow().state == JobState::Running
    }

    fn now(&self) -> Job {
        let mut job = self.job.borrow().clone();
        if job.state == JobState::Running {
            job.progress = (self.progress)();
        }
        job
    }
}

/// Runs work to its end or until it is cancelled, on this thread.
fn run<W, F>(shared: &Shared, work: W) -> Result<JobResult, Problem>
where
    W: FnOnce(JobContext) -> F,
    F: Future<Output = Result<JobResult, Problem>>,
{
    let cancel = shared.cancel.subscribe();
    let mut cancelled = cancel.clone();
    let work = work(JobContext(cancel));
    let told = async move { cancelled.wait_for(|cancelled| *cancelled).await.is_ok() }.boxed();
    futures::executor::block_on(async {
        match select(Box::pin(work), told).await {
            Either::Left((outcome, _)) => outcome,
            Either::Right(_) => Err(Problem::new(Kind::Cancelled, "the job was cancelled")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use offshoot_engine::SystemClock;

    fn jobs() -> Jobs {
        Jobs::new(Arc::new(SystemClock::default()))
    }

    fn new(uid: u32) -> NewJob {
        let progress = || Progress { done: 7, total: None, unit: "steps".into() };
        NewJob { kind: JobKind::Gc, subject: "pool".into(), uid, progress: Box::new(progress) }
    }

    fn result() -> JobResult {
        JobResult::Diff { differences: 3 }
    }

    #[tokio::test]
    async fn a_job_ends_with_its_result() {
        let jobs = jobs();
        let mut handle = jobs.start(new(0), |_| async { Ok(result()) }).unwrap();
        let job = handle.ended().await;
        assert_eq!((job.state, job.result, job.progress.done), (JobState::Done, Some(result()), 7));
        assert!(job.ended.unwrap() >= job.started);
        assert_eq!(jobs.list(Viewer::All).len(), 1);
        assert_eq!(jobs.running(), 0);
    }

    #[tokio::test]
    async fn a_job_that_waits_for_ever_can_be_cancelled_by_its_starter_alone() {
        let jobs = jobs();
        let mut handle = jobs.start(new(1000), |_| std::future::pending()).unwrap();
        let missing = Kind::Engine(offshoot_engine::ErrorKind::NotFound);
        let stranger = Viewer::User(1001);
        assert_eq!(jobs.cancel(handle.id, stranger).unwrap_err().kind, missing);
        assert_eq!(jobs.get(handle.id, stranger).unwrap_err().kind, missing);
        assert!(jobs.list(stranger).is_empty());
        jobs.cancel(handle.id, Viewer::User(1000)).unwrap();
        assert_eq!(handle.ended().await.state, JobState::Cancelled);
        assert_eq!(jobs.get(99, Viewer::All).unwrap_err().kind, missing);
    }

    #[tokio::test]
    async fn a_panic_fails_the_job_and_nothing_else() {
        let jobs = jobs();
        let mut handle = jobs.start(new(0), |_| async { panic!("told to") }).unwrap();
        let job = handle.ended().await;
        assert_eq!(job.state, JobState::Failed);
        assert_eq!(job.problem.unwrap().kind, "internal");
    }

    #[tokio::test]
    async fn the_number_of_jobs_is_bounded() {
        let jobs = jobs();
        for _ in 0..RUNNING_MAX {
            jobs.start(new(0), |_| std::future::pending()).unwrap();
        }
        assert_eq!(jobs.start(new(0), |_| async { Ok(result()) }).err().unwrap().kind, Kind::Busy);
        jobs.cancel_all().await;
        assert_eq!(jobs.running(), 0);
        for _ in 0..ENDED_MAX + 5 {
            jobs.start(new(0), |_| async { Ok(result()) }).unwrap().ended().await;
        }
        // The last one may still be on its way out of the table.
        assert!(jobs.list(Viewer::All).len() <= ENDED_MAX + 1);
    }

    #[tokio::test]
    async fn a_job_is_cancelled_with_the_one_who_waits_for_it() {
        let jobs = jobs();
        let mut handle = jobs.start(new(0), |_| std::future::pending()).unwrap();
        drop(jobs.cancel_on_drop(handle.id));
        assert_eq!(handle.ended().await.state, JobState::Cancelled);
    }
}
