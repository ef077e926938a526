//! How long operations take: counts and a histogram for each kind, and every one that was slow, with its time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// From here on an operation is kept with its time, so that it can be told what the machine did meanwhile.
const SLOW: Duration = Duration::from_millis(200);
/// Slow operations that are kept of one thread; the longest ones stay.
const SLOW_MAX: usize = 256;
/// Places of a histogram for each power of two.
const STEPS: u64 = 8;

/// Something that took long.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    pub(crate) kind: &'static str,
    pub(crate) start: Instant,
    pub(crate) took: Duration,
}

#[derive(Clone, Debug)]
struct Kind {
    count: u64,
    max: Duration,
    histogram: Vec<u64>,
}

impl Default for Kind {
    fn default() -> Self {
        Self { count: 0, max: Duration::ZERO, histogram: vec![0; 64 * STEPS as usize] }
    }
}

/// What one thread, or all together, measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    kinds: BTreeMap<&'static str, Kind>,
    slow: Vec<Slow>,
}

impl Latencies {
    /// Does `work` and notes how long it took.
    pub(crate) fn time<T>(&mut self, kind: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.note(kind, start, start.elapsed());
        done
    }

    fn note(&mut self, name: &'static str, start: Instant, took: Duration) {
        let kind = self.kinds.entry(name).or_default();
        kind.count += 1;
        kind.max = kind.max.max(took);
        kind.histogram[step(took)] += 1;
        if took >= SLOW {
            self.keep(Slow { kind: name, start, took });
        }
    }

    fn keep(&mut self, slow: Slow) {
        self.slow.push(slow);
        if self.slow.len() > 2 * SLOW_MAX {
            self.slow.sort_unstable_by_key(|slow| std::cmp::Reverse(slow.took));
            self.slow.truncate(SLOW_MAX);
        }
    }

    /// Adds what another thread measured.
    pub(crate) fn add(&mut self, other: Self) {
        for (name, theirs) in other.kinds {
            let ours = self.kinds.entry(name).or_default();
            ours.count += theirs.count;
            ours.max = ours.max.max(theirs.max);
            ours.histogram.iter_mut().zip(theirs.histogram).for_each(|(ours, theirs)| *ours += theirs);
        }
        for slow in other.slow {
            self.keep(slow);
        }
    }

    /// All operations.
    pub(crate) fn count(&self) -> u64 {
        self.kinds.values().map(|kind| kind.count).sum()
    }

    /// The longest of all.
    pub(crate) fn max(&self) -> Duration {
        self.kinds.values().map(|kind| kind.max).max().unwrap_or_default()
    }

    /// What was slow, in no order.
    pub(crate) fn slow(&self) -> &[Slow] {
        &self.slow
    }

    /// A line for each kind.
    pub(crate) fn describe(&self) -> String {
        let line = |(name, kind): (&&str, &Kind)| {
            let at = |share| milliseconds(kind.percentile(share));
            format!(
                "  {name:<18} {:>9}  50 % {:>8}  99 % {:>8}  99.9 % {:>8}  longest {:>8} ms\n",
                kind.count,
                at(0.5),
                at(0.99),
                at(0.999),
                milliseconds(kind.max)
            )
        };
        self.kinds.iter().map(line).collect()
    }
}

impl Kind {
    fn percentile(&self, share: f64) -> Duration {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (step, count) in self.histogram.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return end_of(step).min(self.max);
            }
        }
        self.max
    }
}

/// The place of a duration in the histogram.
fn step(took: Duration) -> usize {
    let nanoseconds = (took.as_nanos() as u64).max(STEPS);
    let power = u64::from(nanoseconds.ilog2());
    let within = (nanoseconds >> (power - 3)) & (STEPS - 1);
    (power * STEPS + within) as usize
}

/// The longest duration of a place.
fn end_of(step: usize) -> Duration {
    let (power, within) = (step as u64 / STEPS, step as u64 % STEPS);
    Duration::from_nanos((STEPS + within + 1) << power.saturating_sub(3))
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_step() {
        let mut latencies = Latencies::default();
        for microseconds in 1..=1000 {
            latencies.note("x", Instant::now(), Duration::from_micros(microseconds));
        }
        let kind = &latencies.kinds["x"];
        let median = kind.percentile(0.5).as_micros();
        assert!((500..=563).contains(&median), "{median}");
        assert_eq!(kind.percentile(1.0), Duration::from_millis(1));
        assert_eq!(latencies.max(), Duration::from_millis(1));
    }

    #[test]
    fn only_what_is_slow_is_kept_and_the_longest_stay() {
        let mut latencies = Latencies::default();
        latencies.note("quick", Instant::now(), Duration::from_millis(1));
        assert!(latencies.slow().is_empty());
        for milliseconds in 0..2000 {
            latencies.note("slow", Instant::now(), SLOW + Duration::from_millis(milliseconds));
        }
        assert!(latencies.slow().len() <= 2 * SLOW_MAX);
        assert!(latencies.slow().iter().any(|slow| slow.took == SLOW + Duration::from_millis(1999)));
    }
}
