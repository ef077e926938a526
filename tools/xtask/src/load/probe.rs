//! What the machine does meanwhile, so that a stall of its disk or its processors can be told from one of ours: one
//! thread makes 4 KiB durable again and again beside the pool, another sleeps 10 ms and sees how long it slept.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const SLEEP: Duration = Duration::from_millis(10);
/// From here on a wait is kept.
const KEPT: Duration = Duration::from_millis(30);

/// A span of time.
#[derive(Clone, Copy, Debug)]
struct Interval {
    start: Instant,
    end: Instant,
}

/// The probes at work; they end with [`Probes::finish`] or when dropped.
pub(crate) struct Probes {
    stop: Arc<AtomicBool>,
    disk: Option<JoinHandle<Waits>>,
    processors: Option<JoinHandle<Waits>>,
}

/// What one probe saw.
#[derive(Default)]
struct Waits {
    intervals: Vec<Interval>,
    max: Duration,
}

/// What both saw.
pub(crate) struct Seen {
    waits: Vec<Interval>,
    /// The longest that 4 KiB took to be durable.
    pub(crate) disk_max: Duration,
    /// The longest that a sleeper overslept.
    pub(crate) processors_max: Duration,
}

impl Probes {
    /// Starts both; the file for the disk is made in `dir`.
    pub(crate) fn start(dir: &Path) -> Result<Self> {
        let path = dir.join("probe");
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        file.write_all_at(&[0x5a; 4096], 0)?;
        file.sync_all()?;
        let stop = Arc::new(AtomicBool::new(false));
        let spawn = |name: &str, mut once: Box<dyn FnMut() -> Duration + Send>| {
            let stop = stop.clone();
            std::thread::Builder::new().name(name.into()).spawn(move || {
                let mut waits = Waits::default();
                while !stop.load(Ordering::Relaxed) {
                    waits.note(once());
                }
                waits
            })
        };
        let disk = spawn(
            "probe-disk",
            Box::new(move || {
                std::thread::sleep(SLEEP);
                let start = Instant::now();
                // A disk that fails the probe fails the pool too, which tells it better.
                let _ = file.write_all_at(&[0xa5; 4096], 0).and_then(|()| file.sync_data());
                start.elapsed()
            }),
        )?;
        let processors = spawn(
            "probe-processors",
            Box::new(|| {
                let start = Instant::now();
                std::thread::sleep(SLEEP);
                start.elapsed().saturating_sub(SLEEP)
            }),
        )?;
        Ok(Self { stop, disk: Some(disk), processors: Some(processors) })
    }

    /// Ends both.
    pub(crate) fn finish(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let joined = |probe: Option<JoinHandle<Waits>>| probe.and_then(|p| p.join().ok()).unwrap_or_default();
        let (disk, processors) = (joined(self.disk.take()), joined(self.processors.take()));
        let (disk_max, processors_max) = (disk.max, processors.max);
        let waits = disk.intervals.into_iter().chain(processors.intervals).collect();
        Seen { waits, disk_max, processors_max }
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Waits {
    fn note(&mut self, waited: Duration) {
        self.max = self.max.max(waited);
        if waited >= KEPT {
            let end = Instant::now();
            self.intervals.push(Interval { start: end.checked_sub(waited).unwrap_or(end), end });
        }
    }
}

impl Seen {
    /// What of an operation remains without the time in which a probe had to wait as well.
    pub(crate) fn own(&self, start: Instant, took: Duration) -> Duration {
        took.saturating_sub(covered(Interval { start, end: start + took }, &self.waits))
    }
}

/// How much of `span` the intervals cover together.
fn covered(span: Interval, intervals: &[Interval]) -> Duration {
    let mut inside: Vec<Interval> = intervals
        .iter()
        .map(|interval| Interval { start: interval.start.max(span.start), end: interval.end.min(span.end) })
        .filter(|interval| interval.start < interval.end)
        .collect();
    inside.sort_unstable_by_key(|interval| interval.start);
    let (mut sum, mut done) = (Duration::ZERO, span.start);
    for interval in inside {
        let start = interval.start.max(done);
        if interval.end > start {
            sum += interval.end - start;
            done = interval.end;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_both_probes_waited_counts_once() {
        let zero = Instant::now();
        let at = |from: u64, to: u64| Interval {
            start: zero + Duration::from_millis(from),
            end: zero + Duration::from_millis(to),
        };
        let seen = Seen {
            waits: vec![at(0, 100), at(50, 150), at(400, 500), at(900, 1200)],
            disk_max: Duration::ZERO,
            processors_max: Duration::ZERO,
        };
        let own = seen.own(zero + Duration::from_millis(20), Duration::from_millis(980));
        // Of 20 to 1000, 20 to 150, 400 to 500 and 900 to 1000 are waits.
        assert_eq!(own, Duration::from_millis(980 - 130 - 100 - 100));
    }
}
