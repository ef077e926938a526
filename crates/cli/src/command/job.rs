//! Commands that are jobs of the server: they start one, show how it goes on, and cancel it when the user interrupts.

use offshoot_control::problem::Problem;
use offshoot_control::wire::{Job, JobKind, JobRequest, JobResult, JobState};

use crate::Context;
use crate::connection::interruptible;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Unit;

/// Runs a job of the whole pool to its end.
pub(super) fn run(context: &Context, kind: JobKind, label: &str) -> Outcome<JobResult> {
    run_request(context, JobRequest { kind, path: None, dry_run: false }, label)
}

/// Runs a job to its end.
pub(super) fn run_request(context: &Context, request: JobRequest, label: &str) -> Outcome<JobResult> {
    let client = context.server.client(&[])?;
    let output = context.output;
    let mut id = None;
    let ended = interruptible(async {
        let job = client.start(&request).await?;
        id = Some(job.id);
        let mut lines = client.progress(job.id).await?;
        let mut progress = output.progress(label, Unit::Bytes);
        let mut last = job;
        while let Some(job) = lines.next::<Job>().await? {
            progress.update(job.progress.done, job.progress.total);
            last = job;
        }
        Ok(last)
    });
    if let (Err(Failure { exit: Exit::Interrupted, .. }), Some(id)) = (&ended, id) {
        cancel(context, id);
    }
    let job = ended?;
    match (job.state, job.result, job.problem) {
        (JobState::Done, Some(result), _) => Ok(result),
        (JobState::Cancelled, ..) => Err(Failure::new(format!("job {} was cancelled by someone", job.id))),
        (_, _, Some(problem)) => Err(Failure::from(Problem::from(problem))),
        _ => Err(Failure::new(format!("the server broke off job {} before its end", job.id))),
    }
}

/// Cancels a job on a fresh connection: the other one is in the middle of an answer.
fn cancel(context: &Context, id: u64) {
    let cancelled = context.server.client(&[]).and_then(|client| {
        interruptible(async move {
            client.cancel(id).await?;
            Ok(())
        })
    });
    if let Err(failure) = cancelled {
        context.output.warn(&format!("job {id} goes on, for it could not be cancelled: {failure}"));
    }
}
