//! What was cloned since counts were made.

use std::collections::VecDeque;

use crate::Ino;
use crate::namespace::Locations;

/// Clones that are remembered. Of older ones only their interval is.
const CLONES_MAX: usize = 256;

/// The sources of the newest clones, with the checkpoint interval of each. Counts of a checkpoint do not know of clones that were made after
/// its cut; whoever relies on counts asks here too.
#[derive(Debug, Default)]
pub(crate) struct RecentClones {
    sources: VecDeque<(u64, Ino)>,
    /// The interval of the newest clone that was forgotten.
    forgotten: u64,
}

impl RecentClones {
    /// Notes a clone of a file, of a part of one, or of a directory.
    pub(crate) fn note(&mut self, interval: u64, source: Ino) {
        if self.sources.back() == Some(&(interval, source)) {
            return;
        }
        if self.sources.len() == CLONES_MAX
            && let Some((interval, _)) = self.sources.pop_front()
        {
            self.forgotten = interval;
        }
        self.sources.push_back((interval, source));
    }

    /// Whether a known file may have been cloned in a later interval than `interval`. With `side` any clone counts: a clone of a
    /// directory takes all files with several names of its realm along.
    pub(crate) fn may_share(&self, ino: Ino, side: bool, interval: u64, locations: &Locations) -> bool {
        let newer = |(at, _): &&(u64, Ino)| *at > interval;
        self.forgotten > interval
            || self
                .sources
                .iter()
                .rev()
                .take_while(newer)
                .any(|(_, source)| side || locations.is_within(ino, *source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_later_intervals_count_and_forgotten_ones_too() {
        let locations = Locations::default();
        let mut clones = RecentClones::default();
        assert!(!clones.may_share(Ino(20), true, 0, &locations));
        clones.note(3, Ino(20));
        assert!(clones.may_share(Ino(20), false, 2, &locations));
        assert!(!clones.may_share(Ino(20), false, 3, &locations));
        assert!(!clones.may_share(Ino(21), false, 2, &locations));
        assert!(clones.may_share(Ino(21), true, 2, &locations));
        for n in 0..CLONES_MAX as u64 {
            clones.note(5, Ino(100 + n));
        }
        assert!(!clones.may_share(Ino(20), false, 4, &locations), "every clone since then is still known");
        assert!(clones.may_share(Ino(21), false, 2, &locations), "one clone since then is not known");
    }
}
