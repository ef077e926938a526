//! [`FuseSession`]: the life of one mount, from making it to its last request.

mod handshake;
mod wait;
mod worker;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use futures::executor::block_on;
use offshoot_vfs::{AccessTime, Flusher, Vfs, Watcher};
use parking_lot::Mutex;

use self::worker::{BUFFER_BYTES, Ending, Shared, Worker};
use super::device::{Device, Notifier};
use super::handles::Handles;
use super::invalidate::Invalidation;
use super::known::Known;
use super::mount::{self, MountPoint};
use super::operations::Requests;
use super::prune::Pruner;
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
    /// Mounts a file system and returns when it is served. `runtime` runs the rare work that a request must not wait for on its own
    /// thread.
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
        device: OwnedFd,
        point: Arc<MountPoint>,
        replaced_dead: bool,
    ) -> io::Result<FuseSession> {
        let device = Arc::new(Device::new(device));
        // Who may use the mount is the kernel's to decide, from the options of the mount.
        let agreement = handshake::greet(&device, &mut vec![0; BUFFER_BYTES])?;
        let vfs = match options.read_only {
            true => vfs.open_session().with_access_time(AccessTime::None),
            false => vfs.open_session(),
        };
        let handles = Arc::new(Handles::default());
        let notifier = Notifier::new(device.clone());
        let invalidation = Invalidation::new(vfs.session());
        let writeback = Arc::new(Writeback {
            vfs: vfs.clone(),
            handles: handles.clone(),
            notifier: notifier.clone(),
            mount_point: point.path().to_owned(),
        });
        let known = Arc::new(Known::default());
        let pruner = Pruner::new(known.clone(), options.known_max, vfs.clone(), options.forgets_by_name);
        let alive = Arc::new(AtomicBool::new(true));
        let ending = Ending {
            working: AtomicUsize::new(0),
            alive: alive.clone(),
            point: point.clone(),
            invalidation: invalidation.clone(),
            pruner,
            writeback: Mutex::new(Some(writeback.clone())),
        };
        let watcher: Arc<dyn Watcher> = invalidation.clone();
        vfs.add_watcher(Arc::downgrade(&watcher));
        let flusher: Arc<dyn Flusher> = writeback;
        vfs.add_flusher(Arc::downgrade(&flusher));
        let requests = Requests::new(vfs, runtime, handles, known, &agreement);
        let shared = Arc::new(Shared { requests, ending });
        let threads = start(&shared, device, notifier, options.threads.max(1))?;
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

/// Starts the thread that notifies and `count` that serve. Each of those has a descriptor of its own where the device may be
/// opened; the others share the first.
fn start(
    shared: &Arc<Shared>,
    device: Arc<Device>,
    notifier: Notifier,
    count: usize,
) -> io::Result<Vec<JoinHandle<()>>> {
    // All are counted before the first may end.
    let workers: Vec<Worker> = (0..count).map(|_| Worker::new(shared.clone())).collect();
    let invalidation = shared.ending.invalidation.clone();
    let notify = std::thread::Builder::new().name("offshoot-notify".to_owned());
    let prune = std::thread::Builder::new().name("offshoot-prune".to_owned());
    let (pruner, second) = (shared.ending.pruner.clone(), notifier.clone());
    let mut threads =
        vec![notify.spawn(move || invalidation.run(&notifier))?, prune.spawn(move || pruner.run(&second))?];
    for (number, worker) in workers.into_iter().enumerate() {
        let own = match number {
            0 => device.clone(),
            _ => device.duplicate().map_or_else(
                |error| {
                    tracing::debug!(%error, "a thread of the mount shares the first descriptor");
                    device.clone()
                },
                Arc::new,
            ),
        };
        threads.push(worker.start(number, own)?);
    }
    Ok(threads)
}

/// Lets the kernel read ahead as much as one request can carry. Only root may, and only where `/sys` is there; without it
/// sequential reading is a little slower.
fn read_ahead(device_number: &str) {
    let setting = format!("/sys/class/bdi/{device_number}/read_ahead_kb");
    if let Err(error) = std::fs::write(&setting, READ_AHEAD_KIB.to_string()) {
        tracing::debug!(setting, %error, "read-ahead left as it is");
    }
}
