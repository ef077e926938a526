//! [`Placement`]: on which processors the workers of a mount run.
//!
//! A request and its answer are two wake-ups. If a worker sits on another processor than the thread that asks, each of them wakes a
//! processor that has just gone idle, which takes longer than all the rest, in virtual machines many times longer. On one processor
//! they are two switches from thread to thread. So while one thread alone asks, small things and one after the other, the workers wait
//! on its processor. Whatever could use two processors lets them run anywhere again at once: another thread that asks, a request
//! while another is served, a large read or write.
//!
//! The kernel says which thread asks; on which processor that one runs is looked up in `/proc`, seldom. Where that fails, and where the
//! system does not let threads choose, workers stay where they are put.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::fuse::wire::opcode;
use crate::fuse::wire::request::Header;

/// Requests in a row after which a thread counts as the only one.
const ROW_LENGTH: u32 = 16;
/// Requests after which its processor is looked up again.
const LOOK_AGAIN: u32 = 256;
/// A read or write of more bytes is worth a second processor.
const SMALL_BYTES_MAX: u32 = 64 << 10;
const ANYWHERE: u32 = u32::MAX;

/// What decides for all workers of a mount.
#[derive(Debug)]
pub(super) struct Placement {
    follow_caller: bool,
    row: Mutex<Row>,
    /// Requests that somebody waits for and that are being served.
    serving: AtomicU32,
    /// The processor to wait on.
    processor: AtomicU32,
}

/// Requests in a row from one thread.
#[derive(Debug, Default)]
struct Row {
    thread: u32,
    length: u32,
}

/// What there is to know of a request, to place whoever serves it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) opcode: u32,
    /// The thread that asks; 0 for the kernel itself.
    pub(super) thread: u32,
    /// Bytes to read or to write.
    pub(super) bytes: u32,
}

impl Asked {
    /// What a request says of itself; one that makes no sense says nothing.
    pub(super) fn by(request: &[u8]) -> Asked {
        let Ok(header) = Header::decode(request) else { return Asked { opcode: 0, thread: 0, bytes: 0 } };
        Asked { opcode: header.opcode, thread: header.pid, bytes: header.transfer_bytes(request) }
    }

    /// Whether nobody waits for the answer.
    fn is_background(self) -> bool {
        let unawaited = [opcode::FORGET, opcode::BATCH_FORGET, opcode::RELEASE, opcode::RELEASEDIR];
        self.thread == 0 || unawaited.contains(&self.opcode)
    }
}

impl Placement {
    /// Without `follow_caller` workers run anywhere.
    pub(super) fn new(follow_caller: bool) -> Placement {
        Placement {
            follow_caller,
            row: Mutex::default(),
            serving: AtomicU32::new(0),
            processor: AtomicU32::new(ANYWHERE),
        }
    }

    /// Takes note of a request that is to be served until the answer is dropped.
    pub(super) fn serve(&self, asked: Asked) -> Serving<'_> {
        if !self.follow_caller || asked.is_background() {
            return Serving(None);
        }
        let overlaps = self.serving.fetch_add(1, Ordering::AcqRel) > 0;
        let mut row = self.row.lock();
        if overlaps || asked.thread != row.thread || asked.bytes > SMALL_BYTES_MAX {
            *row = Row { thread: asked.thread, length: 0 };
            self.processor.store(ANYWHERE, Ordering::Relaxed);
        } else {
            row.length = row.length.saturating_add(1);
            if row.length >= ROW_LENGTH && (row.length - ROW_LENGTH).is_multiple_of(LOOK_AGAIN) {
                // A lock that others may wait for is no place to read files.
                drop(row);
                let processor = processor_of(asked.thread).unwrap_or(ANYWHERE);
                if self.row.lock().thread == asked.thread {
                    self.processor.store(processor, Ordering::Relaxed);
                }
            }
        }
        Serving(Some(self))
    }
}

/// A request that is being served.
#[derive(Debug)]
pub(super) struct Serving<'a>(Option<&'a Placement>);

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        if let Some(placement) = self.0 {
            placement.serving.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Where one worker is.
#[derive(Debug)]
pub(super) struct Place {
    /// The processors that it was given.
    given: Option<CpuSet>,
    processor: u32,
}

impl Place {
    /// That of the calling thread.
    pub(super) fn of_this_thread() -> Place {
        Place { given: sched_getaffinity(None).ok(), processor: ANYWHERE }
    }

    /// Moves the calling thread to where the workers are to wait.
    pub(super) fn follow(&mut self, placement: &Placement) {
        let processor = placement.processor.load(Ordering::Relaxed);
        if processor == self.processor {
            return;
        }
        let Some(given) = &self.given else { return };
        self.processor = processor;
        let mut only = CpuSet::new();
        let index = processor as usize;
        let wanted = if index < CpuSet::MAX_CPU && given.is_set(index) {
            only.set(index);
            &only
        } else {
            given
        };
        if let Err(error) = sched_setaffinity(None, wanted) {
            tracing::debug!(%error, "a thread of the mount runs anywhere");
            self.given = None;
        }
    }
}

/// The processor on which a thread ran last.
fn processor_of(thread: u32) -> Option<u32> {
    let status = std::fs::read(format!("/proc/{thread}/stat")).ok()?;
    find_processor(&status)
}

/// Field 39 of `proc_pid_stat(5)`. The second is a name in parentheses, which may hold anything.
fn find_processor(status: &[u8]) -> Option<u32> {
    let end = status.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(&status[end + 1..]).ok()?;
    fields.split_ascii_whitespace().nth(39 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(placement: &Placement, thread: u32, bytes: u32) {
        drop(placement.serve(Asked { opcode: opcode::WRITE, thread, bytes }));
    }

    fn target(placement: &Placement) -> u32 {
        placement.processor.load(Ordering::Relaxed)
    }

    /// A placement after one thread, this one, has asked alone for a while.
    fn followed() -> (Placement, u32) {
        let placement = Placement::new(true);
        let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        for _ in 0..=ROW_LENGTH {
            assert_eq!(target(&placement), ANYWHERE);
            ask(&placement, thread, 4096);
        }
        assert_ne!(target(&placement), ANYWHERE);
        (placement, thread)
    }

    #[test]
    fn workers_follow_one_thread_that_asks_alone() {
        let (placement, _) = followed();
        let mut place = Place::of_this_thread();
        let given = sched_getaffinity(None).unwrap();
        place.follow(&placement);
        let now = sched_getaffinity(None).unwrap();
        assert!(now.count() == 1 && now.is_set(target(&placement) as usize));
        ask(&placement, 1, 1);
        place.follow(&placement);
        assert_eq!(sched_getaffinity(None).unwrap(), given);
    }

    #[test]
    fn what_could_use_two_processors_sets_workers_free() {
        let (placement, thread) = followed();
        ask(&placement, thread, SMALL_BYTES_MAX + 1);
        assert_eq!(target(&placement), ANYWHERE);
        let (placement, thread) = followed();
        let first = placement.serve(Asked { opcode: opcode::LOOKUP, thread, bytes: 0 });
        assert_ne!(target(&placement), ANYWHERE);
        ask(&placement, thread, 1);
        assert_eq!(target(&placement), ANYWHERE);
        drop(first);
    }

    #[test]
    fn what_nobody_waits_for_changes_nothing() {
        let (placement, thread) = followed();
        let before = target(&placement);
        let closed = placement.serve(Asked { opcode: opcode::RELEASE, thread: 1, bytes: 0 });
        ask(&placement, thread, 1);
        drop(placement.serve(Asked { opcode: opcode::READ, thread: 0, bytes: 1 << 20 }));
        drop(closed);
        assert_eq!(target(&placement), before);
    }

    #[test]
    fn it_can_be_switched_off() {
        let placement = Placement::new(false);
        let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        for _ in 0..=ROW_LENGTH {
            ask(&placement, thread, 1);
        }
        assert_eq!(target(&placement), ANYWHERE);
    }

    #[test]
    fn a_thread_that_is_gone_is_nowhere() {
        assert_eq!(processor_of(u32::MAX), None);
        let stat = b"7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 99 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 17 3 0 0 0";
        assert_eq!(find_processor(stat), Some(3));
        assert_eq!(find_processor(b"7 (a) S 1"), None);
        assert_eq!(find_processor(b""), None);
    }
}
