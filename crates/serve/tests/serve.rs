//! Real mounts of pools in memory. Needs `/dev/fuse`.

#![allow(clippy::unwrap_used)] // in tests, also in what they share

#[path = "serve/caches.rs"]
mod caches;
#[path = "serve/clones.rs"]
mod clones;
#[path = "serve/files.rs"]
mod files;
#[path = "serve/lifecycle.rs"]
mod lifecycle;
#[path = "serve/mapping.rs"]
mod mapping;
#[path = "serve/sync.rs"]
mod sync;
#[path = "serve/times.rs"]
mod times;
#[path = "serve/unnamed.rs"]
mod unnamed;
#[path = "serve/world.rs"]
mod world;
