//! `offshoot gc`: frees and compacts now.

use clap::Args;
use offshoot_control::wire::{JobKind, JobResult};

use super::job;
use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{count, size};

/// Free what is no longer referred to, put fragmented files together and compact segments, now
///
/// This happens in the background too; nobody needs to run it.
#[derive(Args)]
pub(crate) struct Gc {}

impl Gc {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let JobResult::Gc(report) = job::run(context, JobKind::Gc, "collecting")? else {
            return Err(Failure::new("the server answered a collection with something else"));
        };
        context.output.done(&report, |report| {
            format!(
                "Put {} of fragmented files together; freed {} nodes and frames; compacted {} and deleted {} segments; {} came back",
                size(report.rewritten_bytes),
                count(report.items_freed),
                count(report.segments_compacted),
                count(report.segments_deleted),
                size(report.freed_bytes)
            )
        })
    }
}
