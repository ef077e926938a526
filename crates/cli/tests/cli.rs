//! The real program, run as users run it: each test has a server, a pool and a mount of its own.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "cli/api.rs"]
mod api;
#[path = "cli/changes.rs"]
mod changes;
#[path = "cli/durability.rs"]
mod durability;
#[path = "cli/encryption.rs"]
mod encryption;
#[path = "cli/fixture.rs"]
mod fixture;
#[path = "cli/forks.rs"]
mod forks;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/lifecycle.rs"]
mod lifecycle;
#[path = "cli/questions.rs"]
mod questions;
#[path = "cli/settings.rs"]
mod settings;
#[path = "cli/snapshots.rs"]
mod snapshots;
