//! The POSIX layer over a pool in memory.

#![allow(clippy::unwrap_used)] // in tests, also in what they share

#[path = "vfs/access_lists.rs"]
mod access_lists;
#[path = "vfs/attributes.rs"]
mod attributes;
#[path = "vfs/clones.rs"]
mod clones;
#[path = "vfs/content.rs"]
mod content;
#[path = "vfs/meanwhile.rs"]
mod meanwhile;
#[path = "vfs/names.rs"]
mod names;
#[path = "vfs/watchers.rs"]
mod watchers;
#[path = "vfs/world.rs"]
mod world;
#[path = "vfs/xattrs.rs"]
mod xattrs;
