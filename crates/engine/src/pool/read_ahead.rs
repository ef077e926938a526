//! Reading ahead of those who read one thing after the other, where a call to the store takes a round trip.
//!
//! A file that is read in order is a stream. What lies ahead of it, from 128 KiB doubling to as much as memory allows, is fetched by
//! [`Inner::fetch_in_background`] and waits as it is stored. A stream begins with the second read that goes on where one ended, so that random
//! reads cost nothing; a seek takes back what was ordered and not begun. The directories that a listing has shown are
//! fetched too, where several lie together.

use std::collections::VecDeque;
use std::pin::pin;

use futures::future::select;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;

use super::inner::Inner;
use crate::Ino;
use crate::content;
use crate::record::Content;
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use crate::tree::Missing;

/// Bytes that a stream begins with.
const WINDOW_BYTES_MIN: u64 = 128 << 10;
/// Bytes ahead of one stream.
const WINDOW_BYTES_MAX: u64 = 32 << 20;
/// How far from where a read has ended the next one may begin: a kernel that reads ahead itself asks out of order.
const SLACK_BYTES: u64 = 256 << 10;
/// Bytes of a file that are fetched in one go.
const ORDER_BYTES: u64 = 2 << 20;
/// Streams that are remembered.
const STREAMS_MAX: usize = 64;
/// Reads after which a stream that was not among them counts as idle.
const IDLE_READS: u64 = 256;
/// Orders that wait.
const QUEUE_MAX: usize = 256;
/// Orders that are carried out at a time.
const ORDERS_AT_ONCE: usize = 16;
/// Extents of one order.
const EXTENTS_MAX: usize = 1024;
/// How far from each other items lie together, in items of a segment.
const TOGETHER_ITEMS: u64 = 16;

/// Somebody reads a file in order.
struct Stream {
    ino: Ino,
    /// Where the last read ended.
    next: u64,
    /// Bytes that are fetched ahead; 0 before it is known to go on.
    window: u64,
    /// Up to where it was ordered.
    ahead: u64,
    used: u64,
}

/// What is to be fetched.
pub(super) enum Order {
    Range { ino: Ino, from: u64, to: u64 },
    Nodes(Vec<Missing>),
}

/// Streams, and what is ordered for them.
#[derive(Default)]
pub(crate) struct ReadAhead {
    state: Mutex<State>,
    pub(super) work: Notify,
}

#[derive(Default)]
struct State {
    streams: Vec<Stream>,
    queue: VecDeque<Order>,
    reads: u64,
}

impl State {
    /// Notes a read of `from..to`, and orders what is due.
    fn read(&mut self, ino: Ino, from: u64, to: u64, budget: u64) {
        self.reads += 1;
        let now = self.reads;
        let goes_on = |stream: &Stream| {
            stream.ino == ino && from <= stream.next + SLACK_BYTES && from + SLACK_BYTES >= stream.next
        };
        let Some(at) = self.streams.iter().position(goes_on) else { return self.seek(ino, to, now) };
        let is_busy = |stream: &&Stream| stream.window > 0 && now - stream.used < IDLE_READS;
        let busy = self.streams.iter().filter(is_busy).count().max(1) as u64;
        let window_max = (budget / 2 / busy).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
        let stream = &mut self.streams[at];
        stream.used = now;
        if to <= stream.next {
            return;
        }
        stream.next = to;
        stream.ahead = stream.ahead.max(to);
        if stream.ahead - to > stream.window / 2 {
            return;
        }
        stream.window = (2 * stream.window).clamp(WINDOW_BYTES_MIN, window_max);
        let end = to.saturating_add(stream.window);
        let mut from = stream.ahead;
        while from < end && self.queue.len() < QUEUE_MAX {
            // At multiples, so that no frame is ordered twice.
            let to = (from / ORDER_BYTES + 1).saturating_mul(ORDER_BYTES).min(end);
            self.queue.push_back(Order::Range { ino, from, to });
            from = to;
        }
        stream.ahead = from;
    }

    /// A read that goes on from none: what was ordered of that file is taken back until its streams go on.
    fn seek(&mut self, ino: Ino, next: u64, now: u64) {
        let mut taken_back = u64::MAX;
        self.queue.retain(|order| match order {
            Order::Range { ino: of, from, .. } if *of == ino => {
                taken_back = taken_back.min(*from);
                false
            }
            _ => true,
        });
        for stream in self.streams.iter_mut().filter(|stream| stream.ino == ino) {
            stream.ahead = stream.ahead.min(taken_back);
        }
        if self.streams.len() >= STREAMS_MAX
            && let Some(oldest) = (0..self.streams.len()).min_by_key(|at| self.streams[*at].used)
        {
            self.streams.swap_remove(oldest);
        }
        self.streams.push(Stream { ino, next, window: 0, ahead: next, used: now });
    }
}

impl ReadAhead {
    fn next(&self) -> Option<Order> {
        self.state.lock().queue.pop_front()
    }
}

impl Inner {
    /// Notes that `from..to` of a file is read.
    pub(super) fn note_read(&self, ino: Ino, from: u64, to: u64) {
        if !self.items.is_remote() || from >= to {
            return;
        }
        let has_work = {
            let mut state = self.read_ahead.state.lock();
            state.read(ino, from, to, self.items.ahead_bytes_max());
            !state.queue.is_empty()
        };
        if has_work {
            self.read_ahead.work.notify_one();
        }
    }

    /// Notes that the roots of directories are likely to be asked for.
    pub(super) fn note_children(&self, mut children: Vec<Missing>) {
        children.sort_unstable_by_key(|child| child.address);
        let near = |a: &Missing, b: &Missing| b.address.raw() - a.address.raw() <= TOGETHER_ITEMS;
        let together: Vec<Missing> = (0..children.len())
            .filter(|at| {
                let (before, after) = (at.checked_sub(1).map(|at| &children[at]), children.get(at + 1));
                let child = &children[*at];
                before.is_some_and(|before| near(before, child))
                    || after.is_some_and(|after| near(child, after))
            })
            .map(|at| children[at])
            .collect();
        if together.is_empty() {
            return;
        }
        let mut state = self.read_ahead.state.lock();
        if state.queue.len() < QUEUE_MAX {
            state.queue.push_back(Order::Nodes(together));
            drop(state);
            self.read_ahead.work.notify_one();
        }
    }

    /// Fetches what was ordered while the pool is open.
    pub(crate) async fn fetch_in_background(&self) {
        let mut running = FuturesUnordered::new();
        let is_open = || !self.closing.load(Ordering::Acquire) && self.core.read().stopped.is_none();
        while self.items.is_remote() && is_open() {
            while running.len() < ORDERS_AT_ONCE
                && let Some(order) = self.read_ahead.next()
            {
                running.push(self.carry_out_order(order));
            }
            let work = pin!(self.read_ahead.work.notified());
            if running.is_empty() {
                work.await;
            } else {
                select(work, running.next()).await;
            }
        }
    }

    async fn carry_out_order(&self, order: Order) {
        match order {
            Order::Nodes(nodes) => {
                let _pin = self.pin();
                self.items.bring_ahead(&nodes).await;
            }
            Order::Range { ino, from, to } => {
                let look = self.with_inode(ino, |inode, _, view| {
                    let extents = match &inode.content {
                        Content::Extents(_) | Content::Tree(_) => content::extents(
                            &inode.content,
                            from,
                            to.min(inode.size),
                            EXTENTS_MAX,
                            view.nodes,
                        )?,
                        Content::None | Content::Inline(_) | Content::Directory(_) => Vec::new(),
                    };
                    Ok((content::stored_frames(&extents), view.pin()))
                });
                // Whoever reads it finds out why it cannot be read.
                if let Ok((frames, _pin)) = look.await {
                    self.items.bring_ahead(&frames).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: u64 = 64 << 20;
    const READ: u64 = 128 << 10;

    fn ordered(state: &mut State) -> Vec<(u64, u64)> {
        let ranges = |order| match order {
            Order::Range { from, to, .. } => (from, to),
            Order::Nodes(_) => unreachable!("no nodes are ordered"),
        };
        state.queue.drain(..).map(ranges).collect()
    }

    #[test]
    fn a_stream_is_read_ahead_of_without_gaps_and_without_doubles() {
        let mut state = State::default();
        let (mut at, mut ahead, mut most) = (0, 0, 0);
        for _ in 0..2000 {
            state.read(Ino(7), at, at + READ, BUDGET);
            at += READ;
            for (from, to) in ordered(&mut state) {
                assert!(from == ahead || ahead == 0, "{from} {ahead}");
                ahead = to;
            }
            most = most.max(ahead.saturating_sub(at));
        }
        assert_eq!(most, WINDOW_BYTES_MAX);
    }

    #[test]
    fn random_reads_order_nothing() {
        let mut state = State::default();
        for n in 0..10_000u64 {
            let at = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
            state.read(Ino(7), at, at + 4096, BUDGET);
        }
        assert_eq!(ordered(&mut state), []);
        assert!(state.streams.len() <= STREAMS_MAX);
    }

    #[test]
    fn a_seek_takes_back_what_was_not_begun_and_going_on_orders_it_again() {
        let mut state = State::default();
        for n in 0..40 {
            state.read(Ino(7), n * READ, (n + 1) * READ, BUDGET);
        }
        let first = match state.queue.front() {
            Some(Order::Range { from, .. }) => *from,
            _ => unreachable!("a range was ordered"),
        };
        state.read(Ino(8), 0, READ, BUDGET);
        assert!(!state.queue.is_empty(), "another file is another matter");
        state.read(Ino(7), 1 << 30, (1 << 30) + READ, BUDGET);
        assert!(state.queue.is_empty());
        state.read(Ino(7), 40 * READ, 41 * READ, BUDGET);
        assert_eq!(ordered(&mut state).first().map(|(from, _)| *from), Some(first.max(41 * READ)));
    }

    #[test]
    fn reads_out_of_order_are_one_stream() {
        let mut state = State::default();
        for n in 0..100u64 {
            let at = (n ^ 1) * READ;
            state.read(Ino(7), at, at + READ, BUDGET);
        }
        assert_eq!(state.streams.len(), 1);
        assert!(ordered(&mut state).iter().map(|(from, to)| to - from).sum::<u64>() >= 90 * READ);
    }

    #[test]
    fn many_streams_share_the_memory() {
        let mut state = State::default();
        let mut ahead = [0; 16];
        for n in 0..200 {
            for ino in 0..16 {
                state.read(Ino(ino), n * READ, (n + 1) * READ, BUDGET);
                let far = state.streams.iter().map(|stream| stream.ahead - stream.next);
                assert!(n < 100 || far.sum::<u64>() <= BUDGET / 2 + 16 * WINDOW_BYTES_MIN);
                if let Some((_, to)) = ordered(&mut state).last() {
                    ahead[ino as usize] = *to;
                }
            }
        }
        assert!(ahead.iter().all(|to| *to > 200 * READ));
    }
}
