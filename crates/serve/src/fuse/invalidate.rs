//! Tells the kernel of changes that it did not make through this mount.
//!
//! Changes are queued by whoever makes them and sent by one thread, because a notification may wait for locks that the kernel holds
//! while one of its requests waits for us. The queue is bounded. A change by the control plane waits for room; one by another
//! session must not wait, so it is dropped with a warning when there is none, and the kernel finds out when its memory of the old state
//! ends ([`super::operations::CACHE_TIME`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use offshoot_engine::Ino;
use offshoot_vfs::{Change, SessionId, Watcher};
use parking_lot::{Condvar, Mutex};

use super::device::Notifier;
use super::node;

/// Most changes that wait to be sent.
const QUEUE_MAX: usize = 1 << 16;
/// Longest wait for room in the queue, or for what is queued to be sent.
const PATIENCE: Duration = Duration::from_secs(2);
/// The same where a client has asked. What holds the kernel up may be the very request that waits: an unlink of the source of a clone, for
/// one, holds its directory and waits for the source, which the clone holds until it is answered.
const PATIENCE_OF_CLIENT: Duration = Duration::from_millis(250);

/// The queue of one mount.
pub(super) struct Invalidation {
    session: Option<SessionId>,
    state: Mutex<State>,
    /// Something was queued or sent, or the mount ends.
    moved: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Notice>,
    queued: u64,
    sent: u64,
    dropped: u64,
    ended: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Notice {
    Entry { parent: Ino, name: Vec<u8> },
    Attributes { ino: Ino },
    Content { ino: Ino, offset: u64, length: u64 },
}

impl Invalidation {
    pub(super) fn new(session: Option<SessionId>) -> Arc<Invalidation> {
        Arc::new(Invalidation { session, state: Mutex::default(), moved: Condvar::new() })
    }

    /// Sends what is queued until [`Invalidation::end`]; the body of the notifying thread.
    pub(super) fn run(&self, notifier: &Notifier) {
        let mut state = self.state.lock();
        loop {
            if let Some(notice) = state.waiting.pop_front() {
                parking_lot::MutexGuard::unlocked(&mut state, || send(notifier, &notice));
                state.sent += 1;
                self.moved.notify_all();
            } else if state.ended {
                return;
            } else {
                self.moved.wait(&mut state);
            }
        }
    }

    /// Lets the notifying thread end, and everybody who waits go on.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.waiting.clear();
        self.moved.notify_all();
    }

    fn push(&self, notice: Notice, may_wait: bool) {
        let mut state = self.state.lock();
        if state.ended || state.waiting.back() == Some(&notice) {
            return;
        }
        let deadline = Instant::now() + PATIENCE;
        while state.waiting.len() >= QUEUE_MAX {
            if !may_wait || self.moved.wait_until(&mut state, deadline).timed_out() {
                state.dropped += 1;
                if state.dropped.is_power_of_two() {
                    let dropped = state.dropped;
                    tracing::warn!(
                        dropped,
                        "changes come faster than the kernel takes word of them; it may show old state for a minute"
                    );
                }
                return;
            }
        }
        state.waiting.push_back(notice);
        state.queued += 1;
        self.moved.notify_all();
    }
}

impl Watcher for Invalidation {
    fn changed(&self, change: Change<'_>, session: Option<SessionId>) {
        if session.is_some() && session == self.session {
            return;
        }
        let notice = match change {
            Change::Entry { parent, name } => Notice::Entry { parent, name: name.to_vec() },
            Change::Attributes { ino } => Notice::Attributes { ino },
            Change::Content { ino, offset, length } => Notice::Content { ino, offset, length },
        };
        self.push(notice, session.is_none());
    }

    fn settle(&self, from_client: bool) {
        let mut state = self.state.lock();
        let goal = state.queued;
        let deadline = Instant::now() + if from_client { PATIENCE_OF_CLIENT } else { PATIENCE };
        while state.sent < goal && !state.ended {
            if self.moved.wait_until(&mut state, deadline).timed_out() {
                tracing::warn!(
                    "the kernel is slow to take word of changes; it may show old state for a moment"
                );
                return;
            }
        }
    }
}

fn send(notifier: &Notifier, notice: &Notice) {
    let sent = match notice {
        // The second also ends what is cached of the directory where the kernel does not know this name.
        Notice::Entry { parent, name } => {
            let parent = node::of(*parent);
            notifier.invalidate_entry(parent, name).and_then(|()| notifier.invalidate_inode(parent, 0, 0))
        }
        Notice::Attributes { ino } => notifier.invalidate_inode(node::of(*ino), -1, 0),
        Notice::Content { ino, offset, length } => {
            let signed = |value: u64| i64::try_from(value).unwrap_or(0);
            notifier.invalidate_inode(node::of(*ino), signed(*offset), signed(*length))
        }
    };
    if let Err(error) = sent {
        tracing::debug!(?notice, %error, "notification not taken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(ino: u64) -> Change<'static> {
        Change::Attributes { ino: Ino(ino) }
    }

    #[test]
    fn a_repeated_change_is_queued_once() {
        let queue = Invalidation::new(None);
        queue.changed(attributes(5), None);
        queue.changed(attributes(5), None);
        queue.changed(attributes(6), None);
        assert_eq!(queue.state.lock().waiting.len(), 2);
    }

    #[test]
    fn a_full_queue_drops_what_must_not_wait() {
        let queue = Invalidation::new(None);
        for ino in 0..QUEUE_MAX as u64 + 3 {
            queue.push(Notice::Attributes { ino: Ino(ino) }, false);
        }
        let state = queue.state.lock();
        assert_eq!((state.waiting.len(), state.dropped), (QUEUE_MAX, 3));
    }

    #[test]
    fn nobody_waits_for_a_mount_that_ended() {
        let queue = Invalidation::new(None);
        queue.changed(attributes(5), None);
        queue.end();
        queue.settle(false);
        queue.changed(attributes(6), None);
        assert!(queue.state.lock().waiting.is_empty());
    }
}
