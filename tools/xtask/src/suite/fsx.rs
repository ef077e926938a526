//! fsx: random operations on one file, each read compared with what was written.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fastrand::Rng;

use super::{Setting, on_mount};
use crate::{install, program};

const LIMIT: Duration = Duration::from_secs(10 * 60);
/// Operations of one seed.
const OPERATIONS: u64 = 5000;

/// Every operation that the suite has, on a file of some megabytes with pieces up to 128 KiB.
const EVERYTHING: &str = "flen = 2097152
[opsize]
min = 1
max = 131072
[weights]
close_open = 1
invalidate = 1
truncate = 1
fsync = 1
fdatasync = 1
posix_fallocate = 1
punch_hole = 1
sendfile = 1
posix_fadvise = 1
copy_file_range = 1
";

/// The same in small pieces on a small file, where neighbours meet often.
const SMALL: &str = "flen = 65536
[opsize]
min = 1
max = 8192
[weights]
close_open = 1
invalidate = 1
truncate = 1
fsync = 0.2
fdatasync = 0.2
posix_fallocate = 1
punch_hole = 2
sendfile = 1
copy_file_range = 2
";

/// Runs seed after seed until the time is up, both forms at least once.
pub(crate) fn run(setting: &Setting) -> Result<String> {
    let suite = install::tool(install::FSX)?;
    on_mount(setting, "fsx", |dir| {
        let end = Instant::now() + setting.duration;
        let mut random = Rng::with_seed(setting.seed);
        let mut runs = 0_u64;
        while runs < 2 || Instant::now() < end {
            let configuration = if runs.is_multiple_of(2) { EVERYTHING } else { SMALL };
            once(&suite, dir, configuration, random.u64(..1 << 32))?;
            runs += 1;
        }
        Ok(format!("{runs} seeds of {OPERATIONS} operations"))
    })
}

fn once(suite: &Path, dir: &Path, configuration: &str, seed: u64) -> Result<()> {
    let settings = dir.join("fsx.toml");
    std::fs::write(&settings, configuration)?;
    let file = dir.join(format!("fsx-{seed}"));
    let mut command = Command::new(suite);
    command.args(["-N", &OPERATIONS.to_string(), "-S", &seed.to_string(), "-f"]).arg(&settings);
    command.arg("-P").arg(dir).arg(&file);
    program::output(&mut command, LIMIT)
        .with_context(|| format!("fsx with seed {seed} and\n{configuration}"))?;
    std::fs::remove_file(&file)?;
    Ok(())
}
