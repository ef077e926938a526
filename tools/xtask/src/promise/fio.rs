//! fio writes files with checksums in their blocks and syncs them at the end; after a crash it verifies those that were
//! done.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Place, locked};
use crate::program;

const LIMIT: Duration = Duration::from_secs(60);
/// Jobs of a round at most; then the disk is for others.
const JOBS_MAX: u64 = 8;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Number of each job that is done, and when.
    jobs: Vec<(u64, u64)>,
}

pub(super) fn run(place: &Place<'_>, notes: &Mutex<Notes>) {
    for number in 0..JOBS_MAX {
        if place.is_over() {
            return;
        }
        let written =
            program::output(job(&place.dir, number).args(["--do_verify=0", "--end_fsync=1"]), LIMIT);
        if written.is_err() {
            return;
        }
        let moment = place.now();
        locked(notes).jobs.push((number, moment));
    }
}

impl Notes {
    /// Verifies the last job that was done, and returns how many that are.
    pub(super) fn verify(&self, dir: &Path, moment: u64) -> Result<u64> {
        let Some((number, _)) = self.jobs.iter().rev().find(|(_, at)| *at <= moment) else { return Ok(0) };
        program::output(job(dir, *number).arg("--verify_only"), LIMIT)
            .with_context(|| format!("job {number} of fio in {} was durable", dir.display()))?;
        Ok(1)
    }
}

fn job(dir: &Path, number: u64) -> Command {
    let mut command = Command::new("fio");
    command
        .arg(format!("--name=job-{number}"))
        // fio makes directories of a path that are missing, also where a mount has gone.
        .arg(format!("--filename=fio-{number}"))
        .arg(format!("--randseed={}", number + 1))
        .current_dir(dir);
    command.args(["--rw=randwrite", "--size=2m", "--bsrange=4k-64k", "--verify=crc32c", "--verify_fatal=1"]);
    command.args([
        "--bs_unaligned=0",
        "--fsync=16",
        "--ioengine=psync",
        "--allow_file_create=1",
        "--verify_state_save=0",
    ]);
    command
}
