//! How changes are slowed while a checkpoint runs, so that who makes them waits many short times and not once for long.
//!
//! Nodes stay dirty until the checkpoint that stores them ends. Until then what is dirty may follow a *line*: it begins
//! where that was when the checkpoint began, not below half of the bound, rises at once by most of what is left, and
//! then ever slower, so that it never comes to the bound however long the checkpoint takes:
//!
//! ```text
//! line(age) = from + (bound - from) * age / (age + expected / 4)
//! ```
//!
//! What is below the line does not wait; what is above waits until the line has come there. When the checkpoint takes as
//! long as expected, four fifths of the room are used. This only knows numbers: who waits, and for what else, is in
//! `room.rs`.

use std::time::Duration;

/// No change waits longer than this for the line.
pub(super) const DELAY_MAX: Duration = Duration::from_millis(300);
/// Less than this is not waited for: a thread does not sleep that exactly. The next change finds it added to its own.
const DELAY_MIN: Duration = Duration::from_millis(1);
/// How long a checkpoint is expected to take, before there was one, and at the least and most afterwards.
const EXPECTED_FIRST: Duration = Duration::from_millis(500);
const EXPECTED_MIN: Duration = Duration::from_millis(20);
const EXPECTED_MAX: Duration = Duration::from_secs(30);

/// The checkpoint that runs, and how long those before it took.
#[derive(Debug)]
pub(crate) struct Pace {
    running: Option<Running>,
    expected: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    since: Duration,
    /// Where the line begins, in dirty bytes.
    from: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { running: None, expected: EXPECTED_FIRST }
    }
}

impl Pace {
    /// A checkpoint begins, with so many dirty bytes below a bound.
    pub(super) fn begin(&mut self, now: Duration, dirty: u64, bound: u64) {
        self.running = Some(Running { since: now, from: dirty.clamp(bound / 2, bound) });
    }

    /// It has ended well, and the memory of what it stored is free. One that was quick says little of the next: what is
    /// expected rises at once and falls slowly.
    pub(super) fn end(&mut self, now: Duration) {
        if let Some(running) = self.running.take() {
            let took = now.saturating_sub(running.since);
            self.expected = took.max(self.expected * 3 / 4).clamp(EXPECTED_MIN, EXPECTED_MAX);
        }
    }

    /// It has failed, or has ended before.
    pub(super) fn give_up(&mut self) {
        self.running = None;
    }

    /// Whether a checkpoint runs.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// How long a change has to wait that makes `dirty` bytes dirty in all: nothing, or from 1 ms to [`DELAY_MAX`].
    pub(super) fn delay(&self, now: Duration, dirty: u64, bound: u64) -> Duration {
        let Some(Running { since, from }) = self.running else { return Duration::ZERO };
        let above = dirty.saturating_sub(from);
        if above == 0 {
            return Duration::ZERO;
        }
        let below = bound.saturating_sub(dirty);
        if below == 0 {
            return DELAY_MAX;
        }
        // The age at which the line is at `dirty`.
        let age = self.expected.as_nanos() * u128::from(above) / (4 * u128::from(below));
        let age = Duration::from_nanos(u64::try_from(age).unwrap_or(u64::MAX));
        let delay = age.saturating_sub(now.saturating_sub(since));
        if delay < DELAY_MIN { Duration::ZERO } else { delay.min(DELAY_MAX) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUND: u64 = 64 << 20;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A checkpoint that began at 10 s with half of the bound, and is expected to take 500 ms.
    fn running() -> Pace {
        let mut pace = Pace::default();
        pace.begin(ms(10_000), BOUND / 4, BOUND);
        pace
    }

    #[test]
    fn nobody_waits_while_there_is_room() {
        let pace = running();
        assert_eq!(pace.delay(ms(10_000), BOUND / 2, BOUND), Duration::ZERO);
        assert_eq!(pace.delay(ms(10_500), BOUND / 2 + BOUND * 2 / 5, BOUND), Duration::ZERO);
        assert_eq!(Pace::default().delay(ms(10_000), BOUND, BOUND), Duration::ZERO, "nothing runs");
        let mut ended = running();
        ended.end(ms(10_100));
        assert_eq!(ended.delay(ms(10_100), BOUND, BOUND), Duration::ZERO);
    }

    #[test]
    fn a_change_waits_until_the_line_has_come() {
        let pace = running();
        // Half of the room is used: the line is there at a quarter of the expected time.
        let dirty = BOUND * 3 / 4;
        assert_eq!(pace.delay(ms(10_000), dirty, BOUND), ms(125));
        assert_eq!(pace.delay(ms(10_100), dirty, BOUND), ms(25));
        assert_eq!(pace.delay(ms(10_125), dirty, BOUND), Duration::ZERO);
        assert_eq!(pace.delay(ms(10_000), BOUND, BOUND), DELAY_MAX);
        assert_eq!(pace.delay(ms(99_000), BOUND, BOUND), DELAY_MAX, "beyond the bound there is no line");
    }

    #[test]
    fn what_is_expected_rises_at_once_and_falls_slowly() {
        let mut pace = running();
        pace.end(ms(12_000));
        assert_eq!(pace.expected, ms(2_000));
        for expected in [1_500, 1_125] {
            pace.begin(ms(20_000), 0, BOUND);
            pace.end(ms(20_010));
            assert_eq!(pace.expected, ms(expected));
        }
        pace.begin(ms(30_000), 0, BOUND);
        pace.give_up();
        assert!(!pace.is_running());
        assert_eq!(pace.expected, ms(1_125), "one that failed says nothing");
    }

    proptest! {
        /// More that is dirty never waits shorter, a later time never longer, and nothing overflows.
        #[test]
        fn delays_are_monotonic(
            from in 0..=u64::MAX, bound in 0..=u64::MAX, expected in 0..100_000_u64,
            one in 0..=u64::MAX, other in 0..=u64::MAX, early in 0..100_000_u64, late in 0..100_000_u64,
        ) {
            let mut pace = Pace::default();
            pace.begin(ms(0), 0, bound);
            pace.end(ms(expected));
            pace.begin(ms(0), from, bound);
            let (less, more) = (one.min(other), one.max(other));
            let (early, late) = (ms(early.min(late)), ms(early.max(late)));
            prop_assert!(pace.delay(early, less, bound) <= pace.delay(early, more, bound));
            prop_assert!(pace.delay(late, more, bound) <= pace.delay(early, more, bound));
            let delay = pace.delay(early, more, bound);
            prop_assert!(delay.is_zero() || (DELAY_MIN..=DELAY_MAX).contains(&delay));
        }

        /// Changes of one size that wait as they are told stay below the bound, though a checkpoint takes twice as long as was
        /// expected, and use what there is.
        #[test]
        fn the_bound_is_not_reached_by_changes_that_wait(
            took in 50..1_000_u64, clients in 1..16_usize, bytes in 4_000..60_000_u64,
        ) {
            let pace = running();
            let mut dirty = BOUND / 2;
            let mut now = vec![ms(10_000); clients];
            let mut waited = vec![Duration::ZERO; clients];
            loop {
                let next = (0..clients).min_by_key(|client| now[*client]).expect("there is a client");
                if now[next] > ms(10_000 + took) {
                    break;
                }
                let delay = pace.delay(now[next], dirty + bytes, BOUND).min(DELAY_MAX - waited[next]);
                if delay.is_zero() {
                    dirty += bytes;
                    waited[next] = Duration::ZERO;
                    // The work itself.
                    now[next] += Duration::from_micros(100);
                } else {
                    now[next] += delay;
                    waited[next] += delay;
                }
                prop_assert!(dirty < BOUND);
            }
            // All that was expected to fit has been let in, if there was time to make it.
            prop_assert!(took < 500 || dirty > BOUND * 3 / 4);
        }
    }
}
