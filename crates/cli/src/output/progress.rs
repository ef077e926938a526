//! A line on a terminal that shows how far something is, with rate and remaining time.

use std::io::Write;
use std::time::{Duration, Instant};

use super::{count, size};

/// Times between two drawings.
const INTERVAL: Duration = Duration::from_millis(100);

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
    line.push_str(&format!("  {}/s", show(rate as u64)));
    if let Some(left) = total.and_then(|total| total.checked_sub(done)).filter(|_| rate > 0.0) {
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
}
