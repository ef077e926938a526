//! pjdfstest on ext4 and on a mount: what passes on ext4 must pass on the mount.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::{Setting, on_mount};
use crate::place::{Ext4, Place};
use crate::{install, program};

const LIMIT: Duration = Duration::from_secs(15 * 60);
/// Fewer results than this mean that the suite did not run, whatever it says.
const TESTS_MIN: usize = 300;

/// Tests that the suite skips on every FUSE file system, whatever that does. They may be skipped, never fail.
const SKIPPED_ON_FUSE: &[&str] = &[
    // The C library knows the limit of ext4 by its name, and tells of FUSE only that it does not know.
    "link::link_count_max",
];

/// The suite's settings: everything that Linux can do, and the users that it becomes.
const CONFIGURATION: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utime_now = {}
utimensat = {}

[settings]
naptime = 0.01
allow_remount = false

[dummy_auth]
entries = [["tests", "tests"], ["pjdfstest", "pjdfstest"]]
"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Skipped,
    Failed,
}

type Results = BTreeMap<String, Verdict>;

/// Runs it on both and compares test by test.
pub(crate) fn run(setting: &Setting) -> Result<String> {
    let suite = install::tool(install::PJDFSTEST)?;
    install::users(&["tests", "pjdfstest"])?;
    let place = Place::new("pjdfstest-ext4")?;
    let ext4 = Ext4::new(&place)?;
    let expected = run_in(&suite, &place, ext4.dir())?;
    on_mount(setting, "pjdfstest", |dir| compare(&expected, &run_in(&suite, &place, dir)?))
}

fn run_in(suite: &Path, place: &Place, dir: &Path) -> Result<Results> {
    let configuration = place.join("pjdfstest.toml");
    std::fs::write(&configuration, CONFIGURATION)?;
    let mut command = Command::new(suite);
    command.arg("--configuration-file").arg(&configuration).arg("--path").arg(dir).current_dir(place.path());
    let finished = program::finish(&mut command, LIMIT)?;
    let results = parse(&finished.stdout);
    let said = program::tail(&format!("{}{}", finished.stdout, finished.stderr));
    ensure!(results.len() >= TESTS_MIN, "only {} results on {}:\n{said}", results.len(), dir.display());
    Ok(results)
}

fn parse(text: &str) -> Results {
    text.lines()
        .filter_map(|line| {
            let (name, verdict) = line.split_once(char::is_whitespace)?;
            let verdict = match verdict.trim() {
                "ok" => Verdict::Passed,
                "skipped" => Verdict::Skipped,
                "FAILED" | "failed" => Verdict::Failed,
                _ => return None,
            };
            name.contains("::").then(|| (name.to_owned(), verdict))
        })
        .collect()
}

fn compare(expected: &Results, found: &Results) -> Result<String> {
    let passes = |results: &Results| results.values().filter(|verdict| **verdict == Verdict::Passed).count();
    let may_skip = |name: &String| {
        SKIPPED_ON_FUSE.contains(&name.as_str()) && found.get(name) == Some(&Verdict::Skipped)
    };
    let worse: Vec<String> = expected
        .iter()
        .filter(|(name, verdict)| {
            **verdict == Verdict::Passed && found.get(*name) != Some(&Verdict::Passed) && !may_skip(name)
        })
        .map(|(name, _)| format!("{name}: {:?}", found.get(name)))
        .collect();
    if !worse.is_empty() {
        bail!("{} tests pass on ext4 and not here:\n{}", worse.len(), worse.join("\n"));
    }
    Ok(format!("{} pass on ext4, {} here, none is lost", passes(expected), passes(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "chmod::a   ok\nchmod::b::regular      FAILED\n\tsome reason\nopen::c     skipped\n\n\
                          Summary: 1 failed, 1 skipped, 1 passed, 0 expected failures, 3 total\n";

    #[test]
    fn report_is_parsed_by_test() {
        let results = parse(REPORT);
        assert_eq!(results.len(), 3);
        assert_eq!(results["chmod::b::regular"], Verdict::Failed);
    }

    #[test]
    fn test_that_fuse_cannot_run_may_be_skipped_and_may_not_fail() {
        let result = |verdict| Results::from([(SKIPPED_ON_FUSE[0].to_owned(), verdict)]);
        assert!(compare(&result(Verdict::Passed), &result(Verdict::Skipped)).is_ok());
        assert!(compare(&result(Verdict::Passed), &result(Verdict::Failed)).is_err());
        assert!(compare(&result(Verdict::Passed), &Results::new()).is_err());
    }

    #[test]
    fn test_that_only_fails_here_is_named() {
        let mut expected = parse(REPORT);
        assert!(compare(&expected, &parse(REPORT)).is_ok());
        expected.insert("chmod::b::regular".into(), Verdict::Passed);
        expected.insert("gone::here".into(), Verdict::Passed);
        let error = compare(&expected, &parse(REPORT)).expect_err("two are worse").to_string();
        assert!(error.contains("chmod::b::regular") && error.contains("gone::here"), "{error}");
    }
}
