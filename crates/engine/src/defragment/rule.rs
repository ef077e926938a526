//! Whether it pays to write a window anew.
//!
//! Sizes are those in the store, after compression. What a frame of which only a part is referred to would take if it were that part alone
//! is estimated by proportion.

/// Frames of a window from which on it is fragmented.
pub(super) const FRAMES_MAX: usize = crate::content::PIECES_MAX;
/// Bytes that must come back for space alone to be a reason.
const GAIN_BYTES_MIN: u64 = 4096;

/// One frame that a window refers to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameUse {
    /// Bytes in the store.
    pub(super) stored_bytes: u64,
    /// Bytes before compression.
    pub(super) raw_bytes: u64,
    /// Bytes that the window refers to; those that two extents refer to count twice.
    pub(super) used_bytes: u64,
    /// Extents of the window that are the last of them if the window is written anew. One that reaches out of the window stays.
    pub(super) links: u32,
    /// All links to the frame.
    pub(super) count: u32,
}

impl FrameUse {
    fn live_bytes(&self) -> u64 {
        self.stored_bytes * self.used_bytes / self.raw_bytes.max(1)
    }

    fn is_freed(&self) -> bool {
        self.links == self.count
    }
}

/// What is to be done with a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is well as it is.
    Leave,
    /// It would be worth it, but for what is shared.
    Shared,
    Rewrite,
}

/// Whether a window is fragmented, or its frames are mostly dead, whoever else refers to them.
pub(super) fn is_worth_a_look(frames: &[FrameUse]) -> bool {
    frames.len() > FRAMES_MAX || is_hollow(frames.iter().map(|frame| frame.stored_bytes).sum(), live(frames))
}

/// Decides. The two rules:
///
/// - for reading: more than [`FRAMES_MAX`] frames, and what is freed is at least half of what is written;
/// - for space: what is freed is at least one and a half times what is written.
pub(super) fn judge(frames: &[FrameUse]) -> Verdict {
    let written = live(frames);
    let freed = frames.iter().filter(|frame| frame.is_freed()).map(|frame| frame.stored_bytes).sum();
    if is_hollow(freed, written) || (frames.len() > FRAMES_MAX && freed * 2 >= written) {
        Verdict::Rewrite
    } else if is_worth_a_look(frames) {
        Verdict::Shared
    } else {
        Verdict::Leave
    }
}

fn live(frames: &[FrameUse]) -> u64 {
    frames.iter().map(FrameUse::live_bytes).sum()
}

fn is_hollow(held: u64, live: u64) -> bool {
    held * 2 >= live * 3 && held.saturating_sub(live) >= GAIN_BYTES_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stored_kib: u64, used_kib: u64, links: u32, count: u32) -> FrameUse {
        let (stored_bytes, used_bytes) = (stored_kib << 10, used_kib << 10);
        FrameUse { stored_bytes, raw_bytes: stored_bytes, used_bytes, links, count }
    }

    #[test]
    fn many_frames_of_its_own_are_put_together() {
        assert_eq!(judge(&[frame(4, 4, 1, 1); 8]), Verdict::Leave);
        assert_eq!(judge(&[frame(4, 4, 1, 1); 9]), Verdict::Rewrite);
    }

    #[test]
    fn frames_that_are_mostly_dead_are_given_up() {
        assert_eq!(judge(&[frame(128, 4, 1, 1)]), Verdict::Rewrite);
        assert_eq!(judge(&[frame(128, 64, 8, 8), frame(64, 64, 1, 1)]), Verdict::Rewrite);
        assert_eq!(judge(&[frame(128, 100, 2, 2)]), Verdict::Leave);
        assert_eq!(judge(&[frame(5, 2, 1, 1)]), Verdict::Leave, "nothing worth a name comes back");
    }

    #[test]
    fn what_is_shared_is_written_only_if_half_of_it_comes_back() {
        assert_eq!(judge(&[frame(4, 4, 1, 2); 32]), Verdict::Shared);
        assert_eq!(judge(&[frame(128, 4, 1, 2)]), Verdict::Shared);
        let mut frames = [frame(4, 4, 1, 2); 32];
        frames[..15].fill(frame(4, 4, 1, 1));
        assert_eq!(judge(&frames), Verdict::Shared);
        frames[..16].fill(frame(4, 4, 1, 1));
        assert_eq!(judge(&frames), Verdict::Rewrite);
    }

    #[test]
    fn a_window_that_was_just_written_is_well() {
        for runs in [1, 5, 40] {
            assert_eq!(judge(&[frame(100, 100, runs, runs)]), Verdict::Leave);
        }
    }

    #[test]
    fn a_frame_without_bytes_does_no_harm() {
        assert_eq!(judge(&[FrameUse::default(); 20]), Verdict::Rewrite);
        assert_eq!(judge(&[]), Verdict::Leave);
    }
}
