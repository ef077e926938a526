//! Whether a history of operations that overlap in time is linearizable: whether each can be given a moment between its start and its
//! end so that, one after the other, they answer what they did answer.
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993) with the memory of visited states that Lowe
//! added ("Testing for linearizability", 2017). It tries every operation that may come next and goes back where none can. A
//! history has at most [`EVENTS_MAX`] operations, so that those done are the bits of one number.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

/// Most operations of one history.
pub(super) const EVENTS_MAX: usize = 128;
/// States after which a search gives up. They take some hundred bytes each.
const STATES_MAX: usize = 1_000_000;

/// One operation: who did it, when it was called and had its answer, in nanoseconds since the round began.
#[derive(Clone, Debug)]
pub(super) struct Event<O, A> {
    pub(super) thread: usize,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) operation: O,
    pub(super) answer: A,
}

impl<O, A> Event<O, A> {
    /// Does `operation` now and records it.
    pub(super) fn record(thread: usize, began: Instant, operation: O, work: impl FnOnce(&O) -> A) -> Self {
        let start_ns = began.elapsed().as_nanos() as u64;
        let answer = work(&operation);
        let end_ns = began.elapsed().as_nanos() as u64;
        Self { thread, start_ns, end_ns, operation, answer }
    }
}

/// What operations mean when they happen one after the other.
pub(super) trait Model {
    type State: Clone + Eq + Hash;
    type Operation: Clone + Debug;
    type Answer: Clone + Debug;

    /// The state before the first operation.
    fn initial() -> Self::State;

    /// The state after an operation, or none where it cannot answer that. `identity` is another for each operation of a history.
    fn step(
        state: &Self::State,
        identity: u8,
        operation: &Self::Operation,
        answer: &Self::Answer,
    ) -> Option<Self::State>;

    /// Whether the history without this operation is linearizable if it is so with it.
    fn can_be_left_out(operation: &Self::Operation, answer: &Self::Answer) -> bool;
}

/// What a search has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Linearizable,
    Impossible,
    /// There were more states than [`STATES_MAX`].
    Undecided,
}

/// A history of a model.
pub(super) type History<M> = Vec<Event<<M as Model>::Operation, <M as Model>::Answer>>;

/// Searches for an order.
pub(super) fn search<M: Model>(history: &History<M>) -> Verdict {
    assert!(history.len() <= EVENTS_MAX, "a round is too long to be searched");
    let mut visited = HashSet::new();
    match go::<M>(history, 0, &M::initial(), &mut visited) {
        true => Verdict::Linearizable,
        false if visited.len() >= STATES_MAX => Verdict::Undecided,
        false => Verdict::Impossible,
    }
}

fn go<M: Model>(
    history: &History<M>,
    done: u128,
    state: &M::State,
    visited: &mut HashSet<(u128, M::State)>,
) -> bool {
    let left = || history.iter().enumerate().filter(|(number, _)| done >> number & 1 == 0);
    // Who starts after another has ended comes after it.
    let Some(first_end) = left().map(|(_, event)| event.end_ns).min() else { return true };
    for (number, event) in left().filter(|(_, event)| event.start_ns <= first_end) {
        let Some(next) = M::step(state, number as u8, &event.operation, &event.answer) else { continue };
        let done = done | 1 << number;
        if visited.len() < STATES_MAX
            && visited.insert((done, next.clone()))
            && go::<M>(history, done, &next, visited)
        {
            return true;
        }
    }
    false
}

/// The least part of an impossible history that is still impossible: the end goes, from a moment on at which nothing was under way, and
/// then, one by one, what can be left out.
pub(super) fn least<M: Model>(mut history: History<M>) -> History<M> {
    history.sort_by_key(|event| event.start_ns);
    for cut in 1..history.len() {
        let quiet = history[..cut].iter().all(|event| event.end_ns < history[cut].start_ns);
        if quiet && search::<M>(&history[..cut].to_vec()) == Verdict::Impossible {
            history.truncate(cut);
            break;
        }
    }
    for number in (0..history.len()).rev() {
        let event = &history[number];
        if M::can_be_left_out(&event.operation, &event.answer) {
            let event = history.remove(number);
            if search::<M>(&history) != Verdict::Impossible {
                history.insert(number, event);
            }
        }
    }
    history
}

/// A history to read, one operation a line, in the order of their starts.
pub(super) fn show<M: Model>(history: &History<M>) -> String {
    let line = |event: &Event<M::Operation, M::Answer>| {
        format!(
            "  {:>9.1} to {:>9.1} us  thread {}  {:?} -> {:?}\n",
            event.start_ns as f64 / 1e3,
            event.end_ns as f64 / 1e3,
            event.thread,
            event.operation,
            event.answer
        )
    };
    history.iter().map(line).collect()
}
