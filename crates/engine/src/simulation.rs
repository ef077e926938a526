//! What a simulated world needs to know of the engine, and how it takes hold of it. For tests only: without the feature
//! `simulation` everything here is empty and costs nothing.
//!
//! The world watches from the thread that it runs the engine on: which operation has just been executed, up to which one a pool was
//! recovered, and which named point of the code was reached. It can let the engine stop at such a failpoint for ever, as if
//! the machine had died there, or wait while others go on, as threads are made to. Seeded bugs, to prove that tests catch them, are in [`mutant`].

pub mod mutant;

#[cfg(feature = "simulation")]
pub use watching::{FAILPOINTS, Fate, Observer, observe};

/// Dies or waits here if the world wants it so.
pub(crate) async fn failpoint(name: &'static str) {
    #[cfg(feature = "simulation")]
    match watching::reached(name) {
        watching::Fate::Dies => std::future::pending::<()>().await,
        watching::Fate::Waits(turns) => watching::wait(turns).await,
    }
    let _ = name;
}

/// An operation that callers can see was executed; the lock is still held.
pub(crate) fn executed(sequence: u64, time: crate::Timestamp, operation: &crate::namespace::Operation) {
    #[cfg(feature = "simulation")]
    watching::executed(sequence, time, operation);
    let _ = (sequence, time, operation);
}

/// A pool was recovered with everything up to operation `sequence`.
pub(crate) fn recovered(sequence: u64) {
    #[cfg(feature = "simulation")]
    watching::recovered(sequence);
    let _ = sequence;
}

#[cfg(feature = "simulation")]
mod watching {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::task::Poll;

    use crate::Timestamp;
    use crate::namespace::Operation;

    /// Named points of the code at which a simulated machine can die.
    pub const FAILPOINTS: &[&str] = &[
        "log_after_frames_before_records",
        "log_after_append_before_sync",
        "log_after_sync",
        "checkpoint_after_next_log_before_cut",
        "checkpoint_after_cut_before_flush",
        "checkpoint_after_cut",
        "checkpoint_after_frames_before_nodes",
        "checkpoint_after_nodes_before_counts",
        "checkpoint_after_counts_before_seal",
        "checkpoint_after_seal_before_table",
        "checkpoint_after_compaction_before_manifest",
        "checkpoint_after_table_before_manifest",
        "checkpoint_after_manifest_before_settling",
        "checkpoint_after_settling_before_deleting",
        "deleting_after_an_object",
        "deleting_after_objects_before_manifests",
        "deleting_after_manifests_before_logs",
        "open_after_choosing_before_taking_over",
        "open_after_taking_over_before_adopting",
        "open_after_adopting_before_replay",
        "open_after_replay_before_log",
        "open_after_log_before_manifest",
        "open_after_manifest",
        "collect_between_checkpoints",
        "close_after_checkpoint_before_log",
        "close_after_log_before_manifest",
        "remove_after_counting_links",
        "alias_before_the_operation",
    ];

    /// Who watches the pools of this thread.
    pub trait Observer {
        /// An operation was executed, and took `time` for now. Callers can see its effect if `is_seen`. Must not call the pool.
        fn executed(&self, sequence: u64, time: Timestamp, is_seen: bool);
        /// A pool was opened in the state after operation `sequence`.
        fn recovered(&self, sequence: u64);
        /// The engine has come to a failpoint.
        fn reached(&self, failpoint: &'static str) -> Fate;
    }

    /// What becomes of who has come to a failpoint.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Fate {
        /// It goes no further, ever.
        Dies,
        /// It lets others go on so many times before it goes on itself; with 0 it does not wait.
        Waits(u32),
    }

    thread_local! {
        static OBSERVER: RefCell<Option<Rc<dyn Observer>>> = const { RefCell::new(None) };
    }

    /// Sets who watches the pools of this thread.
    pub fn observe(observer: Option<Rc<dyn Observer>>) {
        OBSERVER.with(|place| *place.borrow_mut() = observer);
    }

    fn observer() -> Option<Rc<dyn Observer>> {
        OBSERVER.with(|place| place.borrow().clone())
    }

    pub(super) fn reached(name: &'static str) -> Fate {
        assert!(FAILPOINTS.contains(&name), "{name} is not in the list of failpoints");
        observer().map_or(Fate::Waits(0), |observer| observer.reached(name))
    }

    /// Lets others go on.
    pub(super) async fn wait(mut turns: u32) {
        std::future::poll_fn(|context| {
            if turns == 0 {
                return Poll::Ready(());
            }
            turns -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    pub(super) fn executed(sequence: u64, time: Timestamp, operation: &Operation) {
        let is_hidden = matches!(
            operation,
            Operation::Alias(_)
                | Operation::TakeApart { .. }
                | Operation::FreeRealm { .. }
                | Operation::DropOrphan { .. }
                | Operation::Defragment { .. }
        );
        if let Some(observer) = observer() {
            observer.executed(sequence, time, !is_hidden);
        }
    }

    pub(super) fn recovered(sequence: u64) {
        if let Some(observer) = observer() {
            observer.recovered(sequence);
        }
    }
}
