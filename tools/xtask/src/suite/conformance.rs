//! Our own POSIX suite, on a mount.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Setting, on_mount};
use crate::{program, workspace};

const LIMIT: Duration = Duration::from_secs(15 * 60);

/// What a mount may skip, for want of a feature that FUSE does not carry or the pool refuses.
const MAY_SKIP: [&str; 3] = ["allocate/collapse_range", "allocate/insert_range", "copy/clone_of_a_file"];

/// Every test must pass; skipped ones are counted in what is returned.
pub(crate) fn run(setting: &Setting) -> Result<String> {
    let suite = workspace::build_conformance()?;
    on_mount(setting, "conformance", |dir| {
        let mut command = Command::new(&suite);
        command.arg(dir);
        if !setting.local {
            for name in MAY_SKIP {
                command.args(["--may-skip", name]);
            }
        }
        let finished = program::finish(&mut command, LIMIT)?;
        let last = finished.stdout.lines().last().unwrap_or_default().to_owned();
        let (passed, failed) = counts(&last).with_context(|| {
            format!("the last line is no summary: {}\n{}", last, program::tail(&finished.stderr))
        })?;
        if failed > 0 || !finished.status.success() {
            bail!("{last} ({}):\n{}", finished.status, program::tail(&failures(&finished.stdout)));
        }
        ensure!(passed > 0, "nothing was tested: {last}");
        Ok(last)
    })
}

/// Passed and failed tests from `N passed, N failed, N skipped`.
fn counts(line: &str) -> Option<(u64, u64)> {
    let mut parts = line.split(", ");
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    parts.next()?.strip_suffix(" skipped")?.parse::<u64>().ok()?;
    Some((passed, failed))
}

fn failures(text: &str) -> String {
    text.lines().filter(|line| line.to_lowercase().contains("fail")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn only_a_whole_summary_counts() {
        assert_eq!(counts("12 passed, 3 failed, 1 skipped"), Some((12, 3)));
        assert_eq!(counts("12 passed, 3 failed"), None);
        assert_eq!(counts(""), None);
    }
}
