//! A bound on bytes a second, kept on average.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Lets so many bytes a second pass.
pub(crate) struct Pace {
    bytes_per_second: Option<u64>,
    /// When the bytes that have been let through are paid for.
    paid: Mutex<Option<Instant>>,
}

impl Pace {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, paid: Mutex::default() }
    }

    /// Waits until all bytes before these are paid for.
    pub(crate) async fn pass(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else { return };
        let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
        let begin = {
            let mut paid = self.paid.lock();
            let begin = paid.unwrap_or_else(Instant::now).max(Instant::now());
            *paid = Some(begin + cost);
            begin
        };
        tokio::time::sleep_until(begin).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_take_their_time_and_without_a_bound_none() {
        let start = Instant::now();
        Pace::new(None).pass(u64::MAX).await;
        let pace = Pace::new(Some(1000));
        for _ in 0..4 {
            pace.pass(20).await;
        }
        // The first passes at once; three times 20 bytes are waited for.
        let taken = start.elapsed();
        assert!(taken >= Duration::from_millis(60) && taken < Duration::from_secs(5), "{taken:?}");
    }
}
