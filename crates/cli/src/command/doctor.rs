//! `offshoot doctor`: is this machine fit, and if not, what to do.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;
use offshoot_bucket::{BucketSettings, BucketStore, BucketUrl, Depth};
use offshoot_control::time;
use offshoot_host::{FuseDevice, mount};
use serde::Serialize;

use crate::Context;
use crate::connection::DEFAULT_DATA;
use crate::failure::{Failure, Outcome};
use crate::output::{Table, size};
use crate::settings::{Bucket, Place, Settings, memory};

/// Free space below which a pool is cramped.
const FREE_BYTES_MIN: u64 = 2 << 30;
/// The oldest kernel that the mount is made for.
const KERNEL_MIN: (u32, u32) = (5, 4);
/// Syncs that are measured.
const SYNCS: usize = 50;
/// A median above this is slow even for a hard disk.
const SYNC_SLOW: Duration = Duration::from_millis(20);
/// A median above this makes reads tedious.
const REQUEST_SLOW: Duration = Duration::from_millis(200);
/// A median below this is no disk that keeps its word.
const SYNC_TOO_FAST: Duration = Duration::from_micros(15);

/// Test whether this machine, and a bucket, are fit for a pool and a mount
///
/// Fails if something that is needed is not there. Writes a small file into the directory of the pool and removes it.
///
/// With --url, or -c and a settings file with a bucket, the bucket is tested too: that puts under a taken name are refused,
/// also when several come at one time, ranges, listings, deletes, and how long a request takes. Makes about 600 small
/// requests below the url and removes what it has made.
#[derive(Args)]
pub(crate) struct Doctor {
    /// A bucket to be tested: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "URL", value_parser = BucketUrl::from_str)]
    url: Option<BucketUrl>,
    /// Directory where the pool is or is to be
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Warning,
    Bad,
}

#[derive(Serialize)]
struct Finding {
    what: &'static str,
    verdict: Verdict,
    found: String,
    advice: Option<String>,
}

#[derive(Serialize)]
struct Report {
    fit: bool,
    findings: Vec<Finding>,
}

impl Finding {
    fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Good, found: found.into(), advice: None }
    }

    fn warning(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Warning, found: found.into(), advice: Some(advice.into()) }
    }

    fn bad(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what, verdict: Verdict::Bad, found: found.into(), advice: Some(advice.into()) }
    }
}

impl Doctor {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let is_root = rustix::process::geteuid().is_root();
        let mut findings = vec![fuse(), kernel(), helper(is_root), allow_other(is_root), memory()];
        findings.extend(dead_mounts());
        let place = existing(&self.data);
        findings.push(space(&place));
        findings.push(syncs(&place));
        if let Some(settings) = self.bucket(context)? {
            findings.extend(bucket(&settings)?);
        }
        let fit = findings.iter().all(|finding| finding.verdict != Verdict::Bad);
        context.output.value(&Report { fit, findings }, describe)?;
        if fit {
            return Ok(());
        }
        Err(Failure::new("something that is needed is not there").advise("do what the lines marked BAD say"))
    }

    /// The bucket that is to be tested, if one is.
    fn bucket(&self, context: &Context) -> Outcome<Option<BucketSettings>> {
        if let Some(url) = &self.url {
            return Ok(Some(Bucket::new(url.clone(), &self.data).with_environment()));
        }
        let Some(config) = &context.server.config else { return Ok(None) };
        match Settings::load(config)?.storage.place {
            Place::Bucket(bucket) => Ok(Some(bucket.with_environment())),
            Place::Directory(_) | Place::Memory => Ok(None),
        }
    }
}

/// What a bucket keeps of what a pool needs.
fn bucket(settings: &BucketSettings) -> Outcome<Vec<Finding>> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Failure::new(format!("the runtime cannot start: {error}")))?;
    let store = BucketStore::impatient(settings, runtime.handle().clone())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let report = match runtime.block_on(store.probe(Depth::Thorough)) {
        Ok(report) => report,
        Err(error) => {
            let advice = "a pool needs to put, read, list and delete objects there";
            return Ok(vec![Finding::bad("bucket", error.to_string(), advice)]);
        }
    };
    let unfit = "data would be lost in a pool there: use another server, or a newer version of this one";
    let mut findings: Vec<_> = report
        .findings
        .into_iter()
        .map(|finding| match finding.good {
            true => Finding::good(finding.what, finding.found),
            false => Finding::bad(finding.what, finding.found, unfit),
        })
        .collect();
    if let Some((put, get)) = report.latency {
        let found =
            format!("a put of 4 KiB {}, a read {} (medians)", time::duration(put), time::duration(get));
        findings.push(match put > REQUEST_SLOW || get > REQUEST_SLOW {
            true => Finding::warning("requests", found, "a bucket nearer to this machine answers faster"),
            false => Finding::good("requests", found),
        });
    }
    Ok(findings)
}

fn describe(report: &Report) -> String {
    let mut table = Table::new(&["", "WHAT", "FOUND"]);
    for finding in &report.findings {
        let mark = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Warning => "WARN",
            Verdict::Bad => "BAD",
        };
        table.row([mark.into(), finding.what.into(), finding.found.clone()]);
        if let Some(advice) = &finding.advice {
            table.row([String::new(), String::new(), format!("-> {advice}")]);
        }
    }
    table.text()
}

fn fuse() -> Finding {
    match mount::fuse_device() {
        FuseDevice::Ready => Finding::good("mounts", "/dev/fuse can be opened"),
        FuseDevice::Missing => Finding::bad(
            "mounts",
            "there is no /dev/fuse",
            "load the module with `modprobe fuse`; give a container --device /dev/fuse --cap-add SYS_ADMIN. Without it a \
             server works, but cannot mount",
        ),
        FuseDevice::Forbidden => Finding::bad(
            "mounts",
            "this user may not open /dev/fuse",
            "give it its usual mode: `chmod 666 /dev/fuse` as root",
        ),
        FuseDevice::Other => Finding::bad(
            "mounts",
            "/dev/fuse is something else than the kernel's device (character device 10:229)",
            "put the right one there, as root: `rm /dev/fuse && mknod -m 666 /dev/fuse c 10 229`. Without it a server works, but \
             cannot mount",
        ),
    }
}

fn kernel() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map(|number| number.parse::<u32>().ok());
    let version = numbers.next().flatten().zip(numbers.next().flatten());
    match version {
        Some(version) if version >= KERNEL_MIN => Finding::good("kernel", format!("Linux {release}")),
        _ => Finding::warning(
            "kernel",
            format!("Linux {release}"),
            format!("the mount is made for Linux {}.{} and newer", KERNEL_MIN.0, KERNEL_MIN.1),
        ),
    }
}

fn helper(is_root: bool) -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join("fusermount3"))
        .find(|file| file.is_file());
    match (found, is_root) {
        (Some(file), _) => Finding::good("fusermount3", file.display().to_string()),
        (None, true) => Finding::good("fusermount3", "not installed; root does not need it"),
        (None, false) => Finding::bad(
            "fusermount3",
            "not installed",
            "users other than root mount with it: install the package fuse3",
        ),
    }
}

fn allow_other(is_root: bool) -> Finding {
    let settings = std::fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    let allowed = settings.lines().any(|line| line.trim() == "user_allow_other");
    match (allowed, is_root) {
        (true, _) => Finding::good("other users", "user_allow_other is set in /etc/fuse.conf"),
        (false, true) => Finding::good("other users", "root may let other users into its mounts"),
        (false, false) => Finding::warning(
            "other users",
            "only you can enter your mounts",
            "to let others in, root puts the line user_allow_other into /etc/fuse.conf",
        ),
    }
}

fn memory() -> Finding {
    let setting = memory::default_bytes();
    let Some(available) = memory::available() else {
        return Finding::warning("memory", "unknown", "set cache.memory_size_gb to what a server may take");
    };
    let found =
        format!("{} for this process; a server caches {} of it by default", size(available), size(setting));
    if memory::taken_bytes(setting) <= available {
        Finding::good("memory", found)
    } else {
        Finding::warning("memory", found, "give a server more: it may be killed for want of memory")
    }
}

fn dead_mounts() -> Vec<Finding> {
    let mounts = mount::offshoot_mounts().unwrap_or_default();
    let dead = mounts.into_iter().filter(mount::Mount::is_dead);
    dead.map(|dead| {
        let at = dead.mount_point.display();
        Finding::warning(
            "dead mount",
            at.to_string(),
            format!("its server is gone: `offshoot umount {at}` clears it away"),
        )
    })
    .collect()
}

/// The deepest directory on the way to `path` that exists.
fn existing(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn space(place: &Path) -> Finding {
    match rustix::fs::statvfs(place) {
        Err(error) => Finding::bad(
            "space",
            format!("{}: {error}", place.display()),
            "name another directory with --data",
        ),
        Ok(found) => {
            let (free, total) = (found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize);
            let words = format!("{} free of {} at {}", size(free), size(total), place.display());
            if free >= FREE_BYTES_MIN {
                Finding::good("space", words)
            } else {
                Finding::warning("space", words, "make room, or put the pool elsewhere")
            }
        }
    }
}

/// Measures what a sync costs: every acknowledged change waits for one.
fn syncs(place: &Path) -> Finding {
    match measure(place) {
        Err(error) => Finding::bad(
            "fsync",
            format!("a file in {} cannot be written: {error}", place.display()),
            "name a directory that this user can write to with --data",
        ),
        Ok(mut times) => {
            times.sort_unstable();
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            let found = format!(
                "{} median, {} worst, of {}",
                time::duration(median),
                time::duration(worst),
                times.len()
            );
            if median > SYNC_SLOW {
                Finding::warning("fsync", found, "syncs are slow here; a pool on an SSD answers faster")
            } else if median < SYNC_TOO_FAST {
                let advice = "no disk is that fast: this is memory, or a disk that does not keep what it says it keeps";
                Finding::warning("fsync", found, advice)
            } else {
                Finding::good("fsync", found)
            }
        }
    }
}

fn measure(place: &Path) -> std::io::Result<Vec<Duration>> {
    let path = place.join(format!(".offshoot-doctor-{}", std::process::id()));
    let measured = (|| {
        let mut file = File::create_new(&path)?;
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            let started = Instant::now();
            file.write_all(&[0x5a; 4096])?;
            file.sync_data()?;
            times.push(started.elapsed());
        }
        Ok(times)
    })();
    let _ = std::fs::remove_file(&path);
    measured
}
