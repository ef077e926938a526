//! [`FuseSession`]: the life of one mount, from making it to its last request.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use fuser::{Config, Session, SessionACL};
use futures::executor::block_on;
use offshoot_vfs::{AccessTime, Flusher, Vfs, Watcher};
use parking_lot::Mutex;

use super::filesystem::Requests;
use super::handles::Handles;
use super::invalidate::Invalidation;
use super::mount::{self, MountPoint};
use super::writeback::Writeback;
use super::{FuseOptions, MountError};

/// What the kernel reads ahead of a sequential reader, in KiB, where we may set it.
const READ_AHEAD_KIB: u32 = 1024;

/// One mount. Dropping it detaches the mount.
pub struct FuseSession {
    point: Arc<MountPoint>,
    replaced_dead: bool,
    alive: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl FuseSession {
    /// Mounts a file system. `runtime` runs the rare work that a request must not wait for on its own thread. The threads that
    /// serve requests have the stack that `RUST_MIN_STACK` says, as `fuser` leaves it to the standard library.
    ///
    /// # Errors
    /// See [`MountError`]; each says what to do.
    pub fn mount(
        vfs: Vfs,
        runtime: tokio::runtime::Handle,
        options: FuseOptions,
    ) -> Result<FuseSession, MountError> {
        let source = match &options.source {
            Some(source) => source.clone(),
            None => format!("offshoot:{}", block_on(vfs.pool().status()).pool_id),
        };
        let mount::Mount { device, point, replaced_dead } = mount::mount(&options, &source)?;
        let point = Arc::new(point);
        Self::serve(vfs, runtime, &options, device, point.clone(), replaced_dead).map_err(|source| {
            if let Err(error) = point.unmount(true) {
                tracing::warn!(%error, "a mount that could not be served could not be taken down either");
            }
            let mount_point = point.path().to_owned();
            MountError::System { doing: "serve the mount at", mount_point, source }
        })
    }

    fn serve(
        vfs: Vfs,
        runtime: tokio::runtime::Handle,
        options: &FuseOptions,
        device: std::os::fd::OwnedFd,
        point: Arc<MountPoint>,
        replaced_dead: bool,
    ) -> io::Result<FuseSession> {
        let vfs = match options.read_only {
            true => vfs.open_session().with_access_time(AccessTime::None),
            false => vfs.open_session(),
        };
        let handles = Arc::new(Handles::default());
        let requests = Requests::new(vfs.clone(), runtime, handles.clone());
        let mut config = Config::default();
        config.n_threads = Some(options.threads.max(1));
        config.clone_fd = mount::may_open_device();
        // Who may use the mount is the kernel's to decide, from the options of the mount.
        let session = Session::from_fd(requests, device, SessionACL::All, config)?;
        let notifier = session.notifier();
        let invalidation = Invalidation::new(vfs.session());
        let writeback = Arc::new(Writeback {
            vfs: vfs.clone(),
            handles,
            notifier: notifier.clone(),
            mount_point: point.path().to_owned(),
        });
        let alive = Arc::new(AtomicBool::new(true));
        let mut threads = Vec::new();
        let notify = {
            let invalidation = invalidation.clone();
            move || invalidation.run(&notifier)
        };
        let serve = {
            let (alive, invalidation, writeback) = (alive.clone(), invalidation.clone(), writeback.clone());
            let point = point.clone();
            move || {
                let ended = session.run();
                point.end();
                alive.store(false, Ordering::Release);
                invalidation.end();
                // The file system knows it weakly; as long as requests are served there may be something to bring in.
                drop(writeback);
                match ended {
                    Ok(()) => tracing::info!(mount_point = %point.path().display(), "unmounted"),
                    Err(error) => {
                        tracing::error!(mount_point = %point.path().display(), %error, "mount ended")
                    }
                }
            }
        };
        for (name, body) in
            [("notify", Box::new(notify) as Box<dyn FnOnce() + Send>), ("fuse", Box::new(serve))]
        {
            match std::thread::Builder::new().name(format!("offshoot-{name}")).spawn(body) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    invalidation.end();
                    return Err(error);
                }
            }
        }
        let watcher: Arc<dyn Watcher> = invalidation.clone();
        vfs.add_watcher(Arc::downgrade(&watcher));
        let flusher: Arc<dyn Flusher> = writeback.clone();
        vfs.add_flusher(Arc::downgrade(&flusher));
        read_ahead(point.device_number());
        tracing::info!(mount_point = %point.path().display(), "mounted");
        Ok(FuseSession { point, replaced_dead, alive, threads: Mutex::new(threads) })
    }

    /// Where it is mounted: an absolute path without symbolic links.
    pub fn mount_point(&self) -> &Path {
        self.point.path()
    }

    /// Whether mounting took the place of a mount whose server had died.
    pub fn replaced_dead_mount(&self) -> bool {
        self.replaced_dead
    }

    /// Whether requests are still served: false once somebody unmounted it.
    pub fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Unmounts. With `lazy` the mount goes from the tree at once and is served until nothing of it is open any more; without,
    /// this returns when the last request has been answered. Blocks; never call it on a thread that serves requests.
    ///
    /// # Errors
    /// `InUse` if something is open below it and `lazy` is not given; the mount goes on then.
    pub fn unmount(&self, lazy: bool) -> Result<(), MountError> {
        self.point.unmount(lazy)?;
        if lazy {
            return Ok(());
        }
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!(mount_point = %self.mount_point().display(), "a thread of the mount panicked");
            }
        }
        Ok(())
    }
}

impl Drop for FuseSession {
    fn drop(&mut self) {
        if let Err(error) = self.point.unmount(true) {
            tracing::warn!(mount_point = %self.mount_point().display(), %error, "could not detach the mount");
        }
    }
}

impl std::fmt::Debug for FuseSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FuseSession").field("mount_point", &self.mount_point()).finish_non_exhaustive()
    }
}

/// Lets the kernel read ahead as much as one request can carry. Only root may, and only where `/sys` is there; without it
/// sequential reading is a little slower.
fn read_ahead(device_number: &str) {
    let setting = format!("/sys/class/bdi/{device_number}/read_ahead_kb");
    if let Err(error) = std::fs::write(&setting, READ_AHEAD_KIB.to_string()) {
        tracing::debug!(setting, %error, "read-ahead left as it is");
    }
}
