//! `offshoot check` and `offshoot scrub`: verify the pool.

use clap::Args;
use offshoot_control::wire::{CheckBody, JobKind, JobResult};

use super::job;
use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{count, counted, size};

/// Verify every structure of the pool
///
/// Marks everything from the roots and compares it with all counts. Reads nodes, not the data of files; `scrub` does that.
#[derive(Args)]
pub(crate) struct Check {}

/// Read and verify every stored byte
///
/// Names the files that are hit if something is corrupt.
#[derive(Args)]
pub(crate) struct Scrub {}

impl Check {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        verify(context, JobKind::Check, "checking")
    }
}

impl Scrub {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        verify(context, JobKind::Scrub, "scrubbing")
    }
}

fn verify(context: &Context, kind: JobKind, label: &str) -> Outcome {
    // What it fails of is in the log; that the same command should be tried is no advice.
    let ran = job::run(context, kind, label).map_err(|failure| match failure.advice.clone() {
        Some(advice) if advice.contains("scrub") => {
            Failure { advice: Some("the server's log says what was met".into()), ..failure }
        }
        advice => Failure { advice, ..failure },
    });
    let JobResult::Report(report) = ran? else {
        return Err(Failure::new("the server answered a verification with something else"));
    };
    context.output.value(&report, |report| describe(report, kind))?;
    if report.sound {
        return Ok(());
    }
    let advice = match kind {
        JobKind::Check => {
            "`offshoot scrub` reads the content of all files too; restore what is named from a copy elsewhere"
        }
        _ => "what is named can no longer be read; restore it from a copy elsewhere, the rest is sound",
    };
    let found = counted(report.findings.len() as u64, "thing");
    Err(Failure { kind: "corrupt", ..Failure::new(format!("the pool is damaged: {found} found")) }
        .advise(advice))
}

fn describe(report: &CheckBody, kind: JobKind) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        match &finding.path {
            Some(path) => text.push_str(&format!("{path}: {}\n", finding.message)),
            None => text.push_str(&format!("{}\n", finding.message)),
        }
    }
    // A scrub looks at what is stored, not at what it means.
    let inodes = match kind {
        JobKind::Scrub => String::new(),
        _ => format!("{} inodes, ", count(report.inodes)),
    };
    text.push_str(&format!(
        "{}: {inodes}{} nodes, {} frames in {} segments, {} verified\n",
        if report.sound { "Sound" } else { "Damaged" },
        count(report.nodes),
        count(report.frames),
        count(report.segments),
        size(report.verified_bytes)
    ));
    text
}
