//! Counts what a thread allocates, so that a decoder that believes a length before it has checked it is found.
//!
//! The one `unsafe` is the allocator's own interface: every call goes on to the system's allocator with the same arguments, and
//! its answer comes back as it is. The counters are plain numbers of the thread that need no memory and no destructor.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    let now = NOW.get() + bytes;
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
}

// SAFETY: see the head of this file.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Does something and panics if this thread ever had more than `bytes_max` more in use than before.
pub(crate) fn within<T>(bytes_max: usize, work: impl FnOnce() -> T) -> T {
    let before = NOW.get();
    PEAK.set(before);
    let done = work();
    let peak = PEAK.get() - before;
    assert!(peak <= bytes_max as i64, "{peak} bytes were allocated, {bytes_max} are the most for this input");
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_counts_while_it_is_there() {
        within(2000, || drop(Vec::<u8>::with_capacity(1500)));
        within(2000, || drop(Vec::<u8>::with_capacity(1500)));
        let refused = std::panic::catch_unwind(|| within(1000, || drop(Vec::<u8>::with_capacity(1500))));
        assert!(refused.is_err());
    }
}
