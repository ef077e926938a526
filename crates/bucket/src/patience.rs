//! How long a request may take, and how long it is tried again.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause between two attempts; each later one is up to twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// Bytes that a request may take a second more for.
const BYTES_PER_SECOND: u64 = 1 << 20;

/// How long is waited for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// One attempt, without what it moves.
    pub(crate) request: Duration,
    /// All attempts.
    pub(crate) total: Duration,
}

impl Patience {
    /// How long an attempt may take that moves so many bytes.
    pub(crate) fn deadline(&self, bytes: u64) -> Duration {
        self.request + Duration::from_secs(bytes / BYTES_PER_SECOND)
    }
}

/// The attempts of one request.
pub(crate) struct Trial {
    end: Instant,
    pause_max: Duration,
    /// Attempts that have failed.
    pub(crate) failed: u32,
}

impl Trial {
    pub(crate) fn new(patience: Patience) -> Self {
        Self { end: Instant::now() + patience.total, pause_max: PAUSE_MIN, failed: 0 }
    }

    /// After a failure: waits and answers true, or answers false because it is not worth another attempt. The pause is random, so
    /// that many who failed at one time do not come back at one time.
    pub(crate) async fn again(&mut self) -> bool {
        self.failed += 1;
        let pause = self.pause_max.mul_f64(fastrand::f64());
        self.pause_max = (self.pause_max * 2).min(PAUSE_MAX);
        if Instant::now() + pause >= self.end {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn attempts_end_with_the_patience() {
        let patience = Patience { request: Duration::from_secs(1), total: Duration::from_millis(300) };
        let start = Instant::now();
        let mut trial = Trial::new(patience);
        while trial.again().await {}
        assert!(trial.failed > 1 && start.elapsed() < Duration::from_secs(5), "{}", trial.failed);
        assert_eq!(patience.deadline(64 << 20), Duration::from_secs(65));
    }
}
