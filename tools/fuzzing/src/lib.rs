//! What the fuzz targets of `fuzz/` do, as plain functions of an input: libFuzzer calls them there, and the test of this crate calls
//! them with every input in `fuzz/corpus`, so that what was found once is looked for in every run of the tests.
//!
//! A target panics where a property does not hold. What each is for says [`TARGETS`].

mod choices;
mod fuse;
mod http;
mod memory;
mod operations;
mod pool;
mod seeds;
mod stored;
mod words;

// The engine's tests. They are public so that nothing is said of what only those need.
#[path = "../../../crates/engine/tests/engine/model.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::new_without_default,
    missing_docs,
    unreachable_pub,
    reason = "tests elsewhere"
)]
#[doc(hidden)]
pub mod model;
#[path = "../../../crates/engine/tests/engine/golden/rich.rs"]
#[allow(
    clippy::unwrap_used,
    clippy::new_without_default,
    missing_docs,
    unreachable_pub,
    reason = "tests elsewhere"
)]
#[doc(hidden)]
pub mod rich;
#[allow(
    clippy::unwrap_used,
    clippy::new_without_default,
    missing_docs,
    unreachable_pub,
    reason = "tests elsewhere"
)]
#[doc(hidden)]
pub mod world;

pub use seeds::seeds;

/// One target.
pub struct Target {
    /// Of the target and of its directory of inputs.
    pub name: &'static str,
    /// What it feeds.
    pub about: &'static str,
    /// Longest input that is worth trying, in bytes.
    pub length_max: usize,
    /// Does it.
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, about: &'static str, length_max: usize, run: fn(&[u8])) -> Target {
    Target { name, about, length_max, run }
}

/// All targets.
pub const TARGETS: [Target; 12] = [
    target("nodes", "nodes of all trees, inodes, extents, attribute lists", 2048, stored::nodes),
    target("segments", "segment directories and footers, names of objects", 1024, stored::segments),
    target("items", "compressed items", 4096, stored::items),
    target("log", "batches and records of the log", 2048, stored::log),
    target("manifests", "manifests and segment tables", 2048, stored::manifests),
    target("pool", "pools of changed nodes, manifests and log records", 512, pool::pool),
    target("operations", "operations and crashes against the model", 2048, operations::operations),
    target("fuse", "requests of the kernel, decoded and served", 2048, fuse::fuse),
    target("http", "the control API: connections, queries, bodies", 1024, http::http),
    target("settings", "the settings file", 1024, words::settings),
    target("words", "command lines, paths, addresses, times, mount tables", 512, words::words),
    target("acl", "access control lists", 256, words::access_list),
];

/// Runs a target.
///
/// # Panics
/// If there is no such target, or a property does not hold.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("the target is in the table");
    (target.run)(input);
}
