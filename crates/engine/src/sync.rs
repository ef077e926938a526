//! Locks and atomics, so that a test can choose who goes next.
//!
//! With `--cfg shuttle`, which only `cargo xtask schedules` gives, each of them is a point at which the scheduler of the test may let
//! another thread go on. Without it they are what they always were. What only counts ([`crate::metrics`]) is left alone, and so are
//! asynchronous locks and notices: they wait by wakers, which that scheduler knows.

#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(shuttle)]
pub(crate) use shuttle_parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) mod atomic {
    #[cfg(shuttle)]
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    #[cfg(not(shuttle))]
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}
