//! A pool in memory, mounted in a directory of its own that goes with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use futures::executor::block_on;
use offshoot_engine::log::MemoryLog;
use offshoot_engine::object::MemoryStore;
use offshoot_engine::{OpenMode, Pool, Settings, Storage, SystemClock};
use offshoot_serve::fuse::{FuseOptions, FuseSession};
use offshoot_vfs::{Caller, ClonePath, Error, Vfs, VfsSettings};

const BACKGROUND_STACK_BYTES: usize = 64 << 20;

pub(crate) struct World {
    pub(crate) vfs: Vfs,
    pub(crate) session: FuseSession,
    pub(crate) runtime: tokio::runtime::Runtime,
    background: Option<std::thread::JoinHandle<()>>,
    place: Place,
}

/// A directory that is removed in the end, after whatever is mounted there has been detached.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::Builder::new().prefix("offshoot-serve-").tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nothing is mounted there if the test went well; then these fail and that is fine.
        while rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::DETACH).is_ok() {}
    }
}

pub(crate) fn new_vfs() -> Vfs {
    vfs_on(Storage { objects: Arc::new(MemoryStore::new()), log: Arc::new(MemoryLog::new()) })
}

fn vfs_on(storage: Storage) -> Vfs {
    let clock = Arc::new(SystemClock::default());
    let opened = Pool::open(storage, clock, Settings::default(), OpenMode::Create);
    Vfs::new(block_on(opened).unwrap(), VfsSettings::default())
}

/// Runs one of the ignored tests of this binary in a process of its own.
pub(crate) fn child(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    command
}

pub(crate) fn new_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
}

impl World {
    pub(crate) fn new() -> World {
        World::of(new_vfs(), |_| {})
    }

    /// The pool on `storage`, mounted with these many threads.
    pub(crate) fn on(storage: Storage, threads: usize) -> World {
        World::of(vfs_on(storage), |options| options.threads = threads)
    }

    fn of(vfs: Vfs, choose: impl FnOnce(&mut FuseOptions)) -> World {
        let (place, runtime) = (Place::new(), new_runtime());
        let pool = Clone::clone(vfs.pool());
        let background = std::thread::Builder::new()
            .stack_size(BACKGROUND_STACK_BYTES)
            .spawn(move || block_on(pool.background()))
            .unwrap();
        let mut options = FuseOptions::new(place.path());
        choose(&mut options);
        let session = FuseSession::mount(vfs.clone(), runtime.handle().clone(), options).unwrap();
        World { vfs, session, runtime, background: Some(background), place }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn mount_point(&self) -> &Path {
        self.place.path()
    }

    /// Clones as the control plane does.
    pub(crate) fn clone_path(&self, from: &str, to: &str, options: ClonePath) -> Result<(), Error> {
        let caller = Caller::root();
        block_on(self.vfs.clone_path(&caller, from.as_bytes(), to.as_bytes(), options)).map(|_| ())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let unmounted = self.session.unmount(false).or_else(|_| self.session.unmount(true));
        let closed = block_on(self.vfs.pool().close());
        let background = self.background.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            unmounted.unwrap();
            closed.unwrap();
            background.unwrap().unwrap();
        }
    }
}
