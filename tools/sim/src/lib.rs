//! Whole pools in a simulated world: one thread, one seed, virtual time.
//!
//! A [`run`] takes a seed and builds a world from it: an object store and a log that delay, fail, answer twice, lose what was not
//! synced and tear what they keep; a pool with its background work; several clients that work on it at the same time; and a
//! [`model`] that says after each operation what must be seen. Machines die at any await point, at named failpoints of the engine
//! and in the middle of calls to the media; writers come back after their successor has started. After each death the pool that
//! comes back must be the state after some operation, in the order in which they were executed, and not before the last one that
//! was acknowledged as durable. The same seed runs in the same way again.

#![allow(missing_docs, reason = "a tool of this repository that nobody else builds on")]

pub mod client;
pub mod clock;
pub mod executor;
pub mod faults;
pub mod media;
pub mod model;
pub mod random;
pub mod run;
pub mod truth;
