//! Reads that are late are asked for a second time, and the first answer wins.
//!
//! A bucket now and then takes many times as long as usual, and a second request mostly does not. What is late is learnt from
//! the reads before. At most one read in ten is repeated, so that a bucket that is slow for all is not asked twice as much.

use std::future::Future;
use std::time::Duration;

use futures::future::{self, Either};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::metrics::Counters;

/// Reads that are remembered.
const REMEMBERED: usize = 128;
/// Before so many reads nothing is known.
const KNOWN_MIN: usize = 20;
/// How often the delay is worked out anew, in reads.
const RENEWED_EVERY: usize = 16;
/// Sooner than this nothing is late.
const DELAY_MIN: Duration = Duration::from_millis(10);
/// Second reads that can be saved up.
const SAVED_MAX: f64 = 8.0;
/// What each read saves up for second ones.
const SAVED_PER_READ: f64 = 0.1;

/// What is known of the time that reads take.
#[derive(Default)]
pub(crate) struct Swift(Mutex<Known>);

#[derive(Default)]
struct Known {
    times: Vec<Duration>,
    /// Reads so far.
    count: usize,
    delay: Option<Duration>,
    saved: f64,
}

impl Swift {
    /// Reads by `once`, and a second time if that is late.
    pub(crate) async fn read<T, E, F>(&self, counters: &Counters, once: impl Fn() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let began = Instant::now();
        let first = Box::pin(once());
        let Some(delay) = self.0.lock().delay else {
            return self.noted(began, first.await);
        };
        let first = match future::select(first, Box::pin(tokio::time::sleep(delay))).await {
            Either::Left((answer, _)) => return self.noted(began, answer),
            Either::Right(((), first)) => first,
        };
        if !self.may_repeat() {
            return self.noted(began, first.await);
        }
        counters.bucket_hedges.add(1);
        let began_again = Instant::now();
        match future::select(first, Box::pin(once())).await {
            Either::Left((Ok(answer), _)) => self.noted(began, Ok(answer)),
            Either::Right((Ok(answer), _)) => {
                counters.bucket_hedges_won.add(1);
                self.noted(began_again, Ok(answer))
            }
            // Who failed is out, and the other one decides.
            Either::Left((Err(_), second)) => self.noted(began_again, second.await),
            Either::Right((Err(_), first)) => self.noted(began, first.await),
        }
    }

    fn may_repeat(&self) -> bool {
        let mut known = self.0.lock();
        let may = known.saved >= 1.0;
        if may {
            known.saved -= 1.0;
        }
        may
    }

    fn noted<T, E>(&self, began: Instant, answer: Result<T, E>) -> Result<T, E> {
        if answer.is_ok() {
            self.0.lock().note(began.elapsed());
        }
        answer
    }
}

impl Known {
    fn note(&mut self, time: Duration) {
        if self.times.len() < REMEMBERED {
            self.times.push(time);
        } else {
            self.times[self.count % REMEMBERED] = time;
        }
        self.count += 1;
        self.saved = (self.saved + SAVED_PER_READ).min(SAVED_MAX);
        if self.times.len() >= KNOWN_MIN && self.count.is_multiple_of(RENEWED_EVERY) {
            let mut sorted = self.times.clone();
            sorted.sort_unstable();
            // All but one in twenty are faster.
            self.delay = Some(sorted[sorted.len() * 19 / 20].max(DELAY_MIN));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    async fn learn(swift: &Swift, counters: &Counters) {
        for _ in 0..64 {
            swift.read::<_, (), _>(counters, || async { Ok(()) }).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_late_read_is_overtaken_by_a_second_one() {
        let (swift, counters, asked) = (Swift::default(), Counters::default(), AtomicUsize::new(0));
        learn(&swift, &counters).await;
        let start = Instant::now();
        let once = || async {
            match asked.fetch_add(1, Ordering::Relaxed) {
                0 => tokio::time::sleep(Duration::from_secs(60)).await,
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            Ok::<_, ()>(7)
        };
        assert_eq!(swift.read(&counters, once).await, Ok(7));
        assert!(start.elapsed() < Duration::from_secs(30));
        assert_eq!((counters.bucket_hedges.get(), counters.bucket_hedges_won.get()), (1, 1));
    }

    #[tokio::test]
    async fn a_bucket_that_is_slow_for_all_is_not_asked_twice_as_much() {
        let (swift, counters) = (Swift::default(), Counters::default());
        learn(&swift, &counters).await;
        for _ in 0..40 {
            let slow = || async {
                tokio::time::sleep(DELAY_MIN * 2).await;
                Ok::<_, ()>(())
            };
            swift.read(&counters, slow).await.unwrap();
        }
        assert!(counters.bucket_hedges.get() <= 11, "{}", counters.bucket_hedges.get());
    }

    #[tokio::test]
    async fn one_failure_of_two_is_none() {
        let (swift, counters, asked) = (Swift::default(), Counters::default(), AtomicUsize::new(0));
        learn(&swift, &counters).await;
        let once = || async {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(DELAY_MIN * 3).await;
            if number == 0 { Err("first") } else { Ok(7) }
        };
        assert_eq!(swift.read(&counters, once).await, Ok(7));
    }
}
