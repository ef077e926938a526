//! Virtual time: it stands still while anything runs, and goes on when the world lets it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use offshoot_engine::{Clock, Timestamp};
use parking_lot::Mutex;

/// Where the wall clock starts: some day in 2026.
const START_SECS: i64 = 1_780_000_000;

/// The clock of a world. Clones are the same clock.
#[derive(Clone, Default)]
pub struct VirtualClock(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    now: Duration,
    /// Nanoseconds by which the wall clock is off.
    wall_offset: i64,
    timers: BTreeMap<(Duration, u64), Waker>,
    next_timer: u64,
}

impl VirtualClock {
    /// Lets time pass and wakes whoever has waited for it.
    pub fn advance(&self, by: Duration) {
        let mut state = self.0.lock();
        state.now += by;
        let now = state.now;
        let later = state.timers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.timers, later);
        drop(state);
        due.into_values().for_each(Waker::wake);
    }

    /// Goes on to the next moment that somebody waits for; false if nobody waits.
    pub fn advance_to_next(&self) -> bool {
        let (now, next) = {
            let state = self.0.lock();
            (state.now, state.timers.keys().next().map(|(at, _)| *at))
        };
        let Some(next) = next else { return false };
        self.advance(next.saturating_sub(now));
        true
    }

    /// Sets the wall clock forward or back, in nanoseconds.
    pub fn shift_wall(&self, by_nanos: i64) {
        self.0.lock().wall_offset += by_nanos;
    }

    /// Time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.0.lock().now
    }

    /// Completes after `duration`.
    pub fn pause(&self, duration: Duration) -> Sleep {
        Sleep { clock: self.clone(), until: self.elapsed() + duration, timer: None }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let state = self.0.lock();
        let nanos = state.now.as_nanos() as i64 + state.wall_offset;
        Timestamp {
            secs: START_SECS + nanos.div_euclid(1_000_000_000),
            nanos: nanos.rem_euclid(1_000_000_000) as u32,
        }
    }

    fn monotonic(&self) -> Duration {
        self.elapsed()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.pause(duration))
    }
}

/// Waits for virtual time to pass.
pub struct Sleep {
    clock: VirtualClock,
    until: Duration,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut state = clock.0.lock();
        if state.now >= self.until {
            if let Some(timer) = self.timer.take() {
                state.timers.remove(&(self.until, timer));
            }
            return Poll::Ready(());
        }
        let timer = *self.timer.get_or_insert_with(|| {
            state.next_timer += 1;
            state.next_timer
        });
        state.timers.insert((self.until, timer), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            self.clock.0.lock().timers.remove(&(self.until, timer));
        }
    }
}
