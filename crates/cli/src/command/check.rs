//! `offshoot check` and `offshoot scrub`: verify the pool, and mend it.

use clap::Args;
use offshoot_control::wire::{CheckBody, FindingBody, JobKind, JobRequest, JobResult, RepairBody};

use super::job;
use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{count, counted, size};

/// Verify every structure of the pool
///
/// Marks everything from the roots and compares it with all counts. Reads nodes, not the data of files; `scrub` does that.
///
/// With --repair it reads everything, as `scrub` does, and makes a damaged pool sound: entries that cannot be read leave their
/// directories, what is whole and has lost its place gets a name in /lost+found, counts and totals are made anew, and space that
/// damage held comes back. Parts of files that are lost stay unreadable until they are overwritten; nothing is filled with
/// zeros. It says what is lost, with paths and bytes. Changes to the pool wait while it works. Copy the data directory
/// elsewhere first if it matters: what is taken out of the pool can no longer be put back.
#[derive(Args)]
pub(crate) struct Check {
    /// Make a damaged pool sound; a sound one stays as it is
    #[arg(long)]
    repair: bool,
    /// Say what --repair would do, and change nothing
    #[arg(long, requires = "repair")]
    dry_run: bool,
}

/// Read and verify every stored byte
///
/// Names the files that are hit if something is corrupt.
#[derive(Args)]
pub(crate) struct Scrub {}

impl Check {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        if self.repair { repair(context, self.dry_run) } else { verify(context, JobKind::Check, "checking") }
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
            "`offshoot scrub` reads the content of all files too; `offshoot check --repair --dry-run` says what can be mended"
        }
        _ => {
            "what is named can no longer be read, the rest is sound: restore it from a copy elsewhere, and see \
             `offshoot check --repair --dry-run`"
        }
    };
    let found = counted(report.findings_total, "thing");
    Err(Failure { kind: "corrupt", ..Failure::new(format!("the pool is damaged: {found} found")) }
        .advise(advice))
}

fn describe(report: &CheckBody, kind: JobKind) -> String {
    let mut text = String::new();
    list(&report.findings, report.findings_total, &mut text);
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
    if report.lost_bytes > 0 {
        text.push_str(&format!(
            "{} of files were lost before, and stay so until overwritten\n",
            size(report.lost_bytes)
        ));
    }
    text
}

/// Lists what was found.
fn list(findings: &[FindingBody], total: u64, text: &mut String) {
    for finding in findings {
        match &finding.path {
            Some(path) => text.push_str(&format!("{path}: {}\n", finding.message)),
            None => text.push_str(&format!("{}\n", finding.message)),
        }
    }
    let more = total.saturating_sub(findings.len() as u64);
    if more > 0 {
        text.push_str(&format!("and {} more, {} in all\n", count(more), count(total)));
    }
}

fn repair(context: &Context, dry_run: bool) -> Outcome {
    let request = JobRequest { kind: JobKind::Repair, path: None, dry_run };
    let JobResult::Repair(report) = job::run_request(context, request, "repairing")? else {
        return Err(Failure::new("the server answered a repair with something else"));
    };
    context.output.value(&report, describe_repair)?;
    if !report.remaining.is_empty() {
        let remaining = counted(report.remaining.len() as u64, "thing");
        let failure = Failure::new(format!("the pool is still damaged: {remaining} could not be repaired"));
        return Err(Failure { kind: "corrupt", ..failure }
            .advise("copy what is needed into a new pool, and keep this one"));
    }
    if dry_run && !report.sound {
        let failure = Failure::new("the pool is damaged; nothing was changed");
        return Err(Failure { kind: "corrupt", ..failure }
            .advise("copy the data directory elsewhere, then run `offshoot check --repair`"));
    }
    Ok(())
}

fn describe_repair(report: &RepairBody) -> String {
    if report.sound {
        return "Sound: nothing was to be repaired, and nothing was changed\n".into();
    }
    let mut text = String::from("Damaged or lost:\n");
    list(&report.before.findings, report.before.findings_total, &mut text);
    text.push_str(if report.dry_run { "\nA repair would do this:\n" } else { "\nRepaired:\n" });
    list(&report.changes, report.changes_total, &mut text);
    if report.dry_run {
        return text;
    }
    text.push_str(&format!(
        "{} that nothing led to came back; {} in /lost+found\n",
        size(report.freed_bytes),
        counted(report.found, "name")
    ));
    if !report.remaining.is_empty() {
        text.push_str("\nStill wrong:\n");
        list(&report.remaining, report.remaining.len() as u64, &mut text);
    }
    text
}
