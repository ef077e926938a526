//! Choosing, running and reporting checks.
//!
//! Checks run one after the other, each on a thread of its own with a time limit, so that a file system that hangs fails one check instead of
//! stopping the suite. What a check leaves behind is removed; that this works is part of the check.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::check;
use crate::expect::{Failure, Outcome};
use crate::place::Place;
use crate::sys;

/// One thing to prove.
#[derive(Clone, Copy)]
pub struct Check {
    /// The group, such as `rename`.
    pub group: &'static str,
    /// The name in its group.
    pub name: &'static str,
    /// What a right file system does.
    pub expects: &'static str,
    /// Does it.
    pub(crate) run: fn(&Place) -> Outcome,
}

impl Check {
    /// Group and name.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }
}

/// Which checks run. A pattern is a part of a full name.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only these, if any is given.
    pub filters: Vec<String>,
    /// Not these.
    pub skips: Vec<String>,
    /// If given, only these may turn out to be skipped for want of a feature; any other skip is a failure.
    pub may_skip: Option<Vec<String>>,
}

/// How many checks did what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Passed.
    pub passed: usize,
    /// Failed: their full names.
    pub failed: Vec<String>,
    /// Skipped.
    pub skipped: usize,
}

/// The checks that are chosen.
pub fn selected(selection: &Selection) -> Vec<Check> {
    let within = |name: &str, patterns: &[String]| patterns.iter().any(|p| name.contains(p.as_str()));
    check::all()
        .into_iter()
        .filter(|check| {
            let name = check.full_name();
            (selection.filters.is_empty() || within(&name, &selection.filters))
                && !within(&name, &selection.skips)
        })
        .collect()
}

const TIME_LIMIT: Duration = Duration::from_secs(90);

/// Runs the chosen checks below `directory` and writes one line for each to `out`.
///
/// # Errors
/// If the directory cannot be used at all, if the caller is not root, or if `out` fails.
pub fn run(directory: &Path, selection: &Selection, out: &mut dyn Write) -> io::Result<Report> {
    if sys::effective_uid() != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the checks act as several users: run them as root",
        ));
    }
    sys::umask(0);
    let base = directory.canonicalize()?.join(format!("conformance-{}", std::process::id()));
    std::fs::create_dir(&base)?;
    let mut report = Report::default();
    for check in selected(selection) {
        let begun = Instant::now();
        let outcome = run_one(&base.join(check.full_name().replace('/', "-")), check);
        let outcome = forbid_skip(outcome, &check.full_name(), selection.may_skip.as_deref());
        let ms = begun.elapsed().as_millis();
        match outcome {
            Ok(()) => {
                report.passed += 1;
                writeln!(out, "ok    {} ({ms} ms)", check.full_name())?;
            }
            Err(Failure::Skipped(reason)) => {
                report.skipped += 1;
                writeln!(out, "skip  {}: {reason}", check.full_name())?;
            }
            Err(Failure::Failed(message)) => {
                writeln!(out, "FAIL  {} ({ms} ms)", check.full_name())?;
                writeln!(out, "      expects: {}", check.expects.trim())?;
                writeln!(out, "      {message}")?;
                report.failed.push(check.full_name());
            }
        }
    }
    if let Err(error) = std::fs::remove_dir_all(&base) {
        writeln!(out, "FAIL  what the checks left in {} could not be removed: {error}", base.display())?;
        report.failed.push("clean-up".to_owned());
    }
    Ok(report)
}

fn forbid_skip(outcome: Outcome, name: &str, allowed: Option<&[String]>) -> Outcome {
    match (outcome, allowed) {
        (Err(Failure::Skipped(reason)), Some(allowed))
            if !allowed.iter().any(|pattern| name.contains(pattern.as_str())) =>
        {
            Err(Failure::Failed(format!("this feature may not be missing: {reason}")))
        }
        (outcome, _) => outcome,
    }
}

fn run_one(directory: &Path, check: Check) -> Outcome {
    let prepared = sys::mkdir(directory, 0o777).and_then(|()| sys::chmod(directory, 0o777));
    prepared.map_err(|error| Failure::Failed(format!("preparing: {error}")))?;
    let (sender, receiver) = mpsc::channel();
    let place: PathBuf = directory.to_owned();
    let worker = thread::Builder::new()
        .name(check.name.to_owned())
        .spawn(move || {
            let outcome = (check.run)(&Place::new(place));
            let _ = sender.send(outcome);
        })
        .map_err(|error| Failure::Failed(format!("no thread: {error}")))?;
    let outcome = match receiver.recv_timeout(TIME_LIMIT) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(Failure::Failed("the check itself panicked".to_owned()))
        }
        Err(mpsc::RecvTimeoutError::Timeout) => {
            return Err(Failure::Failed(format!("no answer within {} s", TIME_LIMIT.as_secs())));
        }
    };
    let _ = worker.join();
    outcome?;
    std::fs::remove_dir_all(directory)
        .map_err(|error| Failure::Failed(format!("removing what it made: {error}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn full_names_are_unique() {
        let all = check::all();
        let names: BTreeSet<String> = all.iter().map(Check::full_name).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn filters_and_skips_choose_by_part_of_the_name() {
        let selection =
            Selection { filters: vec!["rename/".into()], skips: vec!["exchange".into()], may_skip: None };
        let chosen = selected(&selection);
        assert!(!chosen.is_empty());
        assert!(chosen.iter().all(|c| c.group == "rename" && !c.name.contains("exchange")));
    }

    #[test]
    fn a_skip_that_is_not_allowed_is_a_failure() {
        let skipped = || Err(Failure::Skipped("no such thing".into()));
        let allowed = vec!["tmpfile/".to_owned()];
        assert_eq!(forbid_skip(skipped(), "tmpfile/x", Some(&allowed)), skipped());
        assert_eq!(forbid_skip(skipped(), "xattr/x", None), skipped());
        assert!(matches!(forbid_skip(skipped(), "xattr/x", Some(&allowed)), Err(Failure::Failed(_))));
    }
}
