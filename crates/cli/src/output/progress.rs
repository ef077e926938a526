//! A line on a terminal that shows how far something is, with rate and remaining time.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{count, size};

/// Times between two drawings.
const INTERVAL: Duration = Duration::from_millis(100);
/// Before this, nothing is said of the rate.
const RATE_AFTER: Duration = Duration::from_secs(1);
/// Before this, and before [`SHARE_MIN`] is done, nothing is said of the remaining time: it would be wrong by hours.
const LEFT_AFTER: Duration = Duration::from_secs(2);
const SHARE_MIN: f64 = 0.01;
/// After this the remaining time is told however little is done.
const LEFT_ALWAYS_AFTER: Duration = Duration::from_secs(60);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Things(&'static str),
}

/// The line. It is wiped when dropped.
pub(crate) struct ProgressLine {
    shown: bool,
    label: String,
    unit: Unit,
    started: Instant,
    drawn: Option<Instant>,
}

impl ProgressLine {
    pub(super) fn new(shown: bool, label: &str, unit: Unit) -> Self {
        Self { shown, label: label.to_owned(), unit, started: Instant::now(), drawn: None }
    }

    /// Shows where it stands, at most ten times a second.
    pub(crate) fn update(&mut self, done: u64, total: Option<u64>) {
        if !self.shown || self.drawn.is_some_and(|drawn| drawn.elapsed() < INTERVAL) {
            return;
        }
        self.drawn = Some(Instant::now());
        let line = describe(&self.label, self.unit, done, total, self.started.elapsed());
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "\r\x1b[2K{line}");
        let _ = stderr.flush();
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

fn describe(label: &str, unit: Unit, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let show = |amount: u64| match unit {
        Unit::Bytes => size(amount),
        Unit::Things(noun) => format!("{} {noun}", count(amount)),
    };
    let seconds = elapsed.as_secs_f64().max(0.001);
    let rate = done as f64 / seconds;
    let mut line = match total {
        Some(total) if total > 0 => {
            let percent = (done as f64 / total as f64 * 100.0).min(100.0);
            format!("{label}  {percent:.0} %  {} of {}", show(done), show(total))
        }
        _ => format!("{label}  {}", show(done)),
    };
    if elapsed >= RATE_AFTER {
        line.push_str(&format!("  {}/s", show(rate as u64)));
    }
    let total = total.filter(|total| {
        let enough = elapsed >= LEFT_AFTER && done as f64 >= *total as f64 * SHARE_MIN;
        rate > 0.0 && (enough || elapsed >= LEFT_ALWAYS_AFTER)
    });
    if let Some(left) = total.and_then(|total| total.checked_sub(done)) {
        let left = Duration::from_secs_f64((left as f64 / rate).min(1e9));
        line.push_str(&format!("  {} left", offshoot_control::time::duration(left)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_share_rate_and_remaining_time() {
        let line = describe("copying", Unit::Bytes, 1 << 20, Some(4 << 20), Duration::from_secs(2));
        assert_eq!(line, "copying  25 %  1.0 MiB of 4.0 MiB  512.0 KiB/s  6.0 s left");
        let line = describe("comparing", Unit::Things("differences"), 10, None, Duration::from_secs(1));
        assert_eq!(line, "comparing  10 differences  10 differences/s");
    }

    #[test]
    fn nothing_is_guessed_from_the_first_bytes() {
        let line = |done, elapsed| {
            describe("copying", Unit::Bytes, done, Some(4 << 20), Duration::from_millis(elapsed))
        };
        assert_eq!(line(4, 300), "copying  0 %  4 B of 4.0 MiB");
        assert_eq!(line(4, 5000), "copying  0 %  4 B of 4.0 MiB  0 B/s");
        assert_eq!(line(1 << 20, 1500), "copying  25 %  1.0 MiB of 4.0 MiB  682.7 KiB/s");
        assert!(line(1 << 20, 2000).ends_with("s left"));
        assert!(line(4, 60_000).ends_with(" left"));
    }
}
