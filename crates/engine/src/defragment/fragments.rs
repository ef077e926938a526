//! Where windows may be fragmented: a bounded set that writes and reads fill and the background empties.
//!
//! What does not fit is not noted; the next write or read there does it again. Nothing of it is stored.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::WINDOW_BYTES;
use crate::namespace::Trail;
use crate::{Ino, Result};

/// Files that are noted at a time.
const FILES_MAX: usize = 1024;
/// Ranges that are told apart in one file; beyond, the two nearest become one.
const RANGES_MAX: usize = 64;

/// Windows of a file, as ascending ranges of window numbers that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// A whole file.
    pub(super) fn all() -> Self {
        Self(vec![(0, u64::MAX / WINDOW_BYTES)])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn covers(&self, first: u64, end: u64) -> bool {
        let at = self.0.partition_point(|(start, _)| *start <= first);
        at > 0 && self.0[at - 1].1 >= end
    }

    /// Adds windows from `first` on, before `end`.
    pub(super) fn add(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let from = self.0.partition_point(|(_, e)| *e < first);
        let to = self.0.partition_point(|(start, _)| *start <= end);
        let merged = match self.0.get(from..to) {
            Some([head, .., tail]) => (head.0.min(first), tail.1.max(end)),
            Some([only]) => (only.0.min(first), only.1.max(end)),
            _ => (first, end),
        };
        self.0.splice(from..to, [merged]);
        if self.0.len() > RANGES_MAX {
            let nearest = (1..self.0.len()).min_by_key(|at| self.0[*at].0 - self.0[at - 1].1);
            let at = nearest.expect("there are many");
            self.0[at - 1].1 = self.0[at].1;
            self.0.remove(at);
        }
    }

    /// Takes the first range out.
    pub(super) fn take_first(&mut self) -> Option<(u64, u64)> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }
}

/// A file with windows to look at.
#[derive(Debug)]
pub(super) struct Suspect {
    /// Where it was when it was noted.
    pub(super) trail: Trail,
    pub(super) ranges: Ranges,
}

/// All that is noted.
#[derive(Debug, Default)]
pub(crate) struct Fragments {
    /// For the next round.
    noted: BTreeMap<Ino, Suspect>,
    /// Of this round.
    due: VecDeque<(Ino, Suspect)>,
    /// When this round began, and the number that the next segment had then.
    round: Option<(Duration, u64)>,
    /// The number that the next segment had when the round before began.
    quiet_before: u64,
}

impl Fragments {
    /// Notes that a file may be fragmented between two offsets, in bytes. `trail` is asked for the way to a file that is not noted yet.
    pub(crate) fn note(&mut self, ino: Ino, from: u64, to: u64, trail: impl FnOnce() -> Result<Trail>) {
        let (first, end) = (from / WINDOW_BYTES, to.div_ceil(WINDOW_BYTES));
        if let Some(suspect) = self.noted.get_mut(&ino) {
            if !suspect.ranges.covers(first, end) {
                suspect.ranges.add(first, end);
            }
            return;
        }
        if self.noted.len() >= FILES_MAX {
            return;
        }
        let Ok(trail) = trail() else { return };
        if !trail.orphan {
            let mut ranges = Ranges::default();
            ranges.add(first, end);
            self.noted.insert(ino, Suspect { trail, ranges });
        }
    }

    /// Whether a file is noted between two offsets, in bytes.
    pub(crate) fn has(&self, ino: Ino, from: u64, to: u64) -> bool {
        let (first, end) = (from / WINDOW_BYTES, to.div_ceil(WINDOW_BYTES));
        self.noted.get(&ino).is_some_and(|suspect| suspect.ranges.covers(first, end))
    }

    /// Ranges that wait to be looked at.
    pub(crate) fn depth(&self) -> u64 {
        let waiting = self.noted.values().chain(self.due.iter().map(|(_, suspect)| suspect));
        waiting.map(|suspect| suspect.ranges.len() as u64).sum()
    }

    /// Begins a round if the last one began `interval` ago or more.
    pub(super) fn begin_round(&mut self, now: Duration, interval: Duration, next_segment: u64) {
        let Some((began, segment)) = self.round else {
            self.round = Some((now, next_segment));
            return;
        };
        if now.saturating_sub(began) < interval {
            return;
        }
        self.quiet_before = segment;
        self.round = Some((now, next_segment));
        if self.due.is_empty() {
            self.due = std::mem::take(&mut self.noted).into_iter().collect();
        }
    }

    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// What is in segments from this one on was written in this round or the one before.
    pub(super) fn quiet_before(&self) -> u64 {
        self.quiet_before
    }

    pub(super) fn next_due(&mut self) -> Option<(Ino, Suspect)> {
        self.due.pop_front()
    }

    /// Puts the rest of a file back to be looked at next.
    pub(super) fn go_on_with(&mut self, ino: Ino, rest: Suspect) {
        if !rest.ranges.is_empty() {
            self.due.push_front((ino, rest));
        }
    }

    /// Notes windows for the next round.
    pub(super) fn note_again(&mut self, ino: Ino, trail: Trail, ranges: Ranges) {
        if let Some(suspect) = self.noted.get_mut(&ino) {
            ranges.0.into_iter().for_each(|(first, end)| suspect.ranges.add(first, end));
        } else if self.noted.len() < FILES_MAX {
            self.noted.insert(ino, Suspect { trail, ranges });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trail() -> Result<Trail> {
        Ok(Trail::default())
    }

    #[test]
    fn ranges_join_where_they_touch() {
        let mut ranges = Ranges::default();
        for (first, end) in [(10, 12), (20, 21), (12, 13), (5, 5), (0, 1), (14, 20)] {
            ranges.add(first, end);
        }
        assert_eq!(ranges.0, [(0, 1), (10, 13), (14, 21)]);
        assert!(ranges.covers(15, 21) && !ranges.covers(13, 14) && !ranges.covers(20, 22));
        ranges.add(1, 30);
        assert_eq!(ranges.0, [(0, 30)]);
    }

    #[test]
    fn many_ranges_become_coarser_and_lose_nothing() {
        let mut ranges = Ranges::default();
        for n in 0..10_000 {
            let window = n * 7919 % 10_007 * 3;
            ranges.add(window, window + 1);
            assert!(ranges.covers(window, window + 1));
            assert!(ranges.len() <= RANGES_MAX);
        }
        assert!((0..10_000).all(|n| ranges.covers(n * 7919 % 10_007 * 3, n * 7919 % 10_007 * 3 + 1)));
    }

    #[test]
    fn the_set_is_bounded() {
        let mut fragments = Fragments::default();
        for n in 0..5000 {
            fragments.note(Ino(n), 0, 1, trail);
            fragments.note(Ino(7), n << 20, (n << 20) + 1, trail);
        }
        assert_eq!(fragments.noted.len(), FILES_MAX);
        assert_eq!(fragments.depth(), (FILES_MAX - 1 + RANGES_MAX) as u64);
    }

    #[test]
    fn a_round_takes_what_was_noted_and_tells_what_is_quiet() {
        let mut fragments = Fragments::default();
        let (interval, at) = (Duration::from_secs(30), Duration::from_secs);
        fragments.note(Ino(20), 0, 1, trail);
        fragments.begin_round(at(0), interval, 5);
        fragments.begin_round(at(29), interval, 6);
        assert!(!fragments.is_due());
        fragments.begin_round(at(30), interval, 7);
        assert!(fragments.is_due() && fragments.quiet_before() == 5);
        let (ino, suspect) = fragments.next_due().unwrap();
        fragments.note_again(ino, suspect.trail, suspect.ranges);
        assert!(!fragments.is_due() && fragments.has(ino, 0, 1));
        fragments.begin_round(at(61), interval, 9);
        assert!(fragments.is_due() && fragments.quiet_before() == 7);
    }
}
