//! A server in a bounded group with everything that watches it: probes of the machine, samples of its memory, and a
//! visitor who does a little of everything all the time, so that whatever else is going on is seen as a user sees it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::cgroup::{MemoryGroup, Usage};
use super::latency::Latencies;
use super::probe::Probes;
use crate::cleanup;
use crate::place::Place;
use crate::report::row::{Goal, Row, bytes, count, seconds};
use crate::server::Server;

/// No operation may take longer, but for what the machine itself made it wait.
const STALL_MAX: Duration = Duration::from_secs(1);
const SAMPLE_INTERVAL: Duration = Duration::from_millis(200);
const VISIT_INTERVAL: Duration = Duration::from_millis(25);
/// Files that the visitor keeps.
const VISITED: u64 = 64;
/// How long freeing in the background may take until it is given up.
const QUIET_LIMIT: Duration = Duration::from_secs(1800);

/// The server and those who watch it. The fields are dropped in this order: the group last.
pub(crate) struct Stand {
    server: Option<Server>,
    probes: Probes,
    visits: Stop,
    visitor: Option<JoinHandle<Result<Latencies>>>,
    sampler: Sampler,
    latencies: Mutex<Latencies>,
    resident_max: u64,
    is_short: bool,
    binary: PathBuf,
    place: Place,
    group: Arc<MemoryGroup>,
}

/// The most of each that was seen.
#[derive(Default)]
struct Peaks {
    anonymous: AtomicU64,
    /// Everything but page cache.
    unreclaimable: AtomicU64,
}

impl Stand {
    /// A new pool and its server in a group of `limit_bytes`.
    pub(crate) fn new(name: &str, binary: &Path, limit_bytes: u64, is_short: bool) -> Result<Self> {
        let group = Arc::new(MemoryGroup::new(limit_bytes)?);
        let place = Place::new(&format!("load-{name}"))?;
        let server = Server::start_in(group.path(), binary, place.path())?;
        let probes = Probes::start(place.path())?;
        let sampler = Sampler::start(group.clone());
        let mut stand = Self {
            server: Some(server),
            probes,
            visits: Stop::default(),
            visitor: None,
            sampler,
            latencies: Mutex::default(),
            resident_max: 0,
            is_short,
            binary: binary.to_owned(),
            place,
            group,
        };
        stand.visit();
        Ok(stand)
    }

    fn visit(&mut self) {
        self.visits = Stop::default();
        let (dir, stop) = (self.mount().join("visited"), self.visits.of_thread());
        self.visitor = Some(std::thread::spawn(move || visit(&dir, &stop)));
    }

    /// The server.
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().expect("it runs until the stand is taken down")
    }

    /// Where the pool is mounted.
    pub(crate) fn mount(&self) -> PathBuf {
        self.place.join("pool")
    }

    /// Runs `work` in so many threads at once, each with its number and what it measures with.
    pub(crate) fn in_threads(
        &self,
        threads: usize,
        work: impl Fn(usize, &mut Latencies) -> Result<()> + Sync,
    ) -> Result<()> {
        let run = |number: usize| {
            let mut latencies = Latencies::default();
            let done = work(number, &mut latencies);
            self.add(latencies);
            done
        };
        let run = &run;
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..threads).map(|number| scope.spawn(move || run(number))).collect();
            all.into_iter().try_for_each(|thread| thread.join().expect("a thread of the load panicked"))
        })
    }

    /// Runs `work` here.
    pub(crate) fn timed<T>(&self, kind: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut latencies = Latencies::default();
        let done = latencies.time(kind, work);
        self.add(latencies);
        done
    }

    fn add(&self, latencies: Latencies) {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner).add(latencies);
    }

    /// Says how far a part has come.
    pub(crate) fn say(&self, words: &str, start: Instant) -> Result<()> {
        let usage = self.group.usage()?;
        let (resident, resident_max) = self.server().resident_bytes()?;
        let pool = self.pool()?;
        let number = |name: &str| pool[name].as_u64().unwrap_or(0);
        println!(
            "  {:>7.1} s  {words}: group {} MiB ({} own, {} cache), resident {} MiB (most {}), engine {} of {} MiB, \
             {} segments, {} known, garbage {}",
            start.elapsed().as_secs_f64(),
            usage.all >> 20,
            usage.anonymous >> 20,
            usage.cache >> 20,
            resident >> 20,
            resident_max >> 20,
            number("memory_bytes") >> 20,
            number("memory_bytes_max") >> 20,
            number("segments"),
            number("known_inodes"),
            number("garbage_queue"),
        );
        if cleanup::stopping() {
            bail!("interrupted");
        }
        Ok(())
    }

    fn pool(&self) -> Result<serde_json::Value> {
        let status = self.server().offshoot(&["status", "--json"])?;
        let status: serde_json::Value =
            serde_json::from_str(&status).context("`status --json` is no JSON")?;
        Ok(status["pool"].clone())
    }

    /// Waits until what was removed has been freed, and sees that nothing failed meanwhile. In small it is asked for;
    /// else it is left to the background.
    pub(crate) fn wait_until_freed(&self) -> Result<Duration> {
        let start = Instant::now();
        // What was removed lately is not in the queue before the next checkpoint.
        let before = self.pool()?["manifest"].as_u64();
        if self.is_short {
            self.server().offshoot(&["gc"])?;
        }
        loop {
            let pool = self.pool()?;
            ensure!(pool["stopped"].is_null(), "the pool has stopped: {}", pool["stopped"]);
            ensure!(pool["failing"].is_null(), "background work fails: {}", pool["failing"]);
            if pool["manifest"].as_u64() > before && pool["garbage_queue"].as_u64() == Some(0) {
                return Ok(start.elapsed());
            }
            ensure!(
                start.elapsed() < QUIET_LIMIT,
                "after {QUIET_LIMIT:?} there still is garbage: {}",
                pool["garbage_queue"]
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stops the server, which checks the pool, and starts it on the same pool in the same group.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.end_visits()?;
        self.stop_server()?;
        self.server = Some(Server::start_in(self.group.path(), &self.binary, self.place.path())?);
        self.visit();
        Ok(())
    }

    /// Makes everything durable, kills the server, and starts another one, which has the log to replay. Returns how long
    /// that one took.
    pub(crate) fn kill_and_restart(&mut self) -> Result<Duration> {
        self.end_visits()?;
        File::open(self.mount())?.sync_all()?;
        let server = self.server.take().expect("it runs until the stand is taken down");
        self.resident_max = self.resident_max.max(server.resident_bytes()?.1);
        server.kill_now()?;
        let dead = server.bury()?;
        let start = Instant::now();
        self.server = Some(Server::start_in(self.group.path(), &self.binary, self.place.path())?);
        let took = start.elapsed();
        dead.replaced();
        self.visit();
        Ok(took)
    }

    fn end_visits(&mut self) -> Result<()> {
        self.visits.now();
        if let Some(visitor) = self.visitor.take() {
            let latencies = visitor.join().expect("the visitor panicked").context("the visitor failed")?;
            self.add(latencies);
        }
        Ok(())
    }

    fn stop_server(&mut self) -> Result<()> {
        if let Some(server) = self.server.take() {
            server.offshoot(&["check"]).context("the pool is not sound")?;
            self.resident_max = self.resident_max.max(server.resident_bytes()?.1);
            server.stop()?;
        }
        Ok(())
    }

    /// Checks the pool, stops the server, and tells what was measured.
    pub(crate) fn take_down(mut self) -> Result<Vec<Row>> {
        self.end_visits()?;
        let settings = self.pool()?["memory_bytes_max"].as_u64().unwrap_or(0);
        self.stop_server()?;
        let Self { probes, mut sampler, latencies, resident_max, group, .. } = self;
        sampler.end();
        let peaks = &sampler.peaks;
        let seen = probes.finish();
        let latencies = latencies.into_inner().unwrap_or_else(PoisonError::into_inner);
        print!("{}", latencies.describe());
        let mut slow: Vec<_> =
            latencies.slow().iter().map(|slow| (seen.own(slow.start, slow.took), slow)).collect();
        slow.sort_unstable_by_key(|(own, _)| std::cmp::Reverse(*own));
        for (own, slow) in slow.iter().take(8) {
            println!(
                "  slow: {} {:.3} s, {:.3} s of it ours",
                slow.kind,
                slow.took.as_secs_f64(),
                own.as_secs_f64()
            );
        }
        let own_max =
            slow.first().map_or_else(|| latencies.max().min(Duration::from_millis(200)), |(own, _)| *own);
        let killed = group.killed()?;
        let limit = group.limit_bytes() as f64;
        let load = |value: &AtomicU64| bytes(value.load(Ordering::Relaxed) as f64);
        Ok(vec![
            Row::alone("operations", count(latencies.count() as f64), Goal::None),
            Row::alone(
                "longest operation, without waits of the machine",
                seconds(own_max),
                Goal::AtMost(STALL_MAX.as_secs_f64()),
            ),
            Row::alone("longest operation, all in all", seconds(latencies.max()), Goal::None),
            Row::alone("longest wait of the probe of the disk", seconds(seen.disk_max), Goal::None),
            Row::alone(
                "longest wait of the probe of the processors",
                seconds(seen.processors_max),
                Goal::None,
            ),
            Row::alone("processes killed for want of memory", count(killed as f64), Goal::AtMost(0.0)),
            Row::against(
                "most resident memory of the server",
                bytes(resident_max as f64),
                "its memory setting, which comes from the group",
                bytes(settings as f64),
                Goal::RatioAtMost(1.75),
            ),
            Row::alone("most anonymous memory of the group", load(&peaks.anonymous), Goal::None),
            Row::alone("most memory of the group without page cache", load(&peaks.unreclaimable), Goal::None),
            Row::alone("most memory of the group", bytes(group.peak_bytes()? as f64), Goal::AtMost(limit)),
        ])
    }
}

/// A thread that looks at a group again and again.
struct Sampler {
    peaks: Arc<Peaks>,
    group: Arc<MemoryGroup>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    fn start(group: Arc<MemoryGroup>) -> Self {
        let (peaks, stop) = (Arc::new(Peaks::default()), Stop::default());
        let thread = std::thread::spawn({
            let (stop, peaks, group) = (stop.of_thread(), peaks.clone(), group.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    peaks.note(group.usage().unwrap_or_default());
                    std::thread::sleep(SAMPLE_INTERVAL);
                }
            }
        });
        Self { peaks, group, stop, thread: Some(thread) }
    }

    fn end(&mut self) {
        self.stop.now();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the sampler panicked");
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // The part has failed, and this may be why.
            let killed = self.group.killed().unwrap_or(0);
            println!("  processes killed for want of memory: {killed}");
        }
        // The group goes only when nobody looks at it any more.
        self.end();
    }
}

impl Peaks {
    fn note(&self, usage: Usage) {
        self.anonymous.fetch_max(usage.anonymous, Ordering::Relaxed);
        self.unreclaimable.fetch_max(usage.all.saturating_sub(usage.cache), Ordering::Relaxed);
    }
}

/// Tells a thread to stop, at the latest when dropped.
#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn of_thread(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.now();
    }
}

/// Makes, writes, syncs, lists, reads and removes small files until told to stop.
fn visit(dir: &Path, stop: &AtomicBool) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    fs::create_dir_all(dir)?;
    let mut round = 0u64;
    while !stop.load(Ordering::Relaxed) {
        let path = dir.join(format!("file-{round}"));
        let words = format!("visit {round}");
        let file = latencies.time("visitor: create", || File::create_new(&path))?;
        latencies.time("visitor: write", || file.write_all_at(words.as_bytes(), 0))?;
        if round.is_multiple_of(16) {
            latencies.time("visitor: fsync", || file.sync_all())?;
        }
        drop(file);
        if round >= VISITED {
            let old = round - VISITED;
            let path = dir.join(format!("file-{old}"));
            let found = latencies.time("visitor: read", || fs::read(&path))?;
            ensure!(found == format!("visit {old}").into_bytes(), "{} has {found:?}", path.display());
            latencies.time("visitor: unlink", || fs::remove_file(&path))?;
        }
        if round.is_multiple_of(64) {
            let listed = latencies.time("visitor: list", || fs::read_dir(dir).map(Iterator::count))?;
            let expected = (round + 1).min(VISITED);
            ensure!(listed as u64 == expected, "{listed} files are listed, not {expected}");
        }
        round += 1;
        std::thread::sleep(VISIT_INTERVAL);
    }
    latencies.time("visitor: remove all", || fs::remove_dir_all(dir))?;
    Ok(latencies)
}
