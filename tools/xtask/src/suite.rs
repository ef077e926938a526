//! The suites that work on a mounted pool. Each makes its own place and server, and says in a line what it did.

pub(crate) mod conformance;
pub(crate) mod fio;
pub(crate) mod fsx;
pub(crate) mod histories;
pub(crate) mod kill;
pub(crate) mod pjdfstest;
pub(crate) mod postgres;
pub(crate) mod sqlite;
pub(crate) mod stress;
pub(crate) mod trees;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::place::Place;
use crate::server::Server;

/// What a suite is given.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The real binary.
    pub(crate) binary: PathBuf,
    /// Chooses everything that is random.
    pub(crate) seed: u64,
    /// How long a suite without an end of its own shall run.
    pub(crate) duration: Duration,
    /// Work on the local disk instead of a mount, to see that a suite itself is sound.
    pub(crate) local: bool,
}

/// A seed that differs from run to run; 32 bits, because some suites take no more.
pub(crate) fn fresh_seed() -> u64 {
    u64::from(fastrand::u32(..))
}

/// Calls `work` with a directory on a fresh mount, then checks the pool and stops the server.
pub(crate) fn on_mount(
    setting: &Setting,
    name: &str,
    work: impl FnOnce(&Path) -> Result<String>,
) -> Result<String> {
    let place = Place::new(name)?;
    if setting.local {
        let dir = place.join("local");
        std::fs::create_dir(&dir)?;
        return work(&dir);
    }
    let server = Server::start(&setting.binary, place.path())?;
    let said = work(server.mount())?;
    server.stop()?;
    Ok(said)
}

/// Calls `work` with the server as well, for suites that clone.
pub(crate) fn on_server(
    setting: &Setting,
    name: &str,
    work: impl FnOnce(&Server, &Place) -> Result<String>,
) -> Result<String> {
    ensure!(!setting.local, "it clones, and the local disk cannot");
    let place = Place::new(name)?;
    let server = Server::start(&setting.binary, place.path())?;
    let said = work(&server, &place)?;
    server.stop()?;
    Ok(said)
}
