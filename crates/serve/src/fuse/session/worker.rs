//! [`Worker`]: a thread that serves requests, and [`Ending`], what the last of them does.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use super::wait;
use crate::fuse::device::Device;
use crate::fuse::invalidate::Invalidation;
use crate::fuse::mount::MountPoint;
use crate::fuse::operations::Requests;
use crate::fuse::prune::Pruner;
use crate::fuse::wire::init::DATA_BYTES_MAX;
use crate::fuse::wire::reply::Reply;
use crate::fuse::wire::request::OVERHEAD_BYTES;
use crate::fuse::writeback::Writeback;

/// Bytes of the longest request.
pub(super) const BUFFER_BYTES: usize = DATA_BYTES_MAX + OVERHEAD_BYTES;
/// Stack of a thread that serves requests. What the engine does to any depth it does on stacks of its own.
const STACK_BYTES: usize = 2 << 20;

/// What all workers of a mount share.
pub(super) struct Shared {
    pub(super) requests: Requests,
    pub(super) ending: Ending,
}

/// What there is to do once no worker is left.
pub(super) struct Ending {
    pub(super) working: AtomicUsize,
    pub(super) alive: Arc<AtomicBool>,
    pub(super) point: Arc<MountPoint>,
    pub(super) invalidation: Arc<Invalidation>,
    pub(super) pruner: Arc<Pruner>,
    /// The file system knows it weakly; as long as requests are served there may be something to bring in.
    pub(super) writeback: parking_lot::Mutex<Option<Arc<Writeback>>>,
}

/// Counts a worker; the last one that goes ends the mount, also if it panics.
pub(super) struct Worker(Arc<Shared>);

impl Worker {
    pub(super) fn new(shared: Arc<Shared>) -> Worker {
        shared.ending.working.fetch_add(1, Ordering::AcqRel);
        Worker(shared)
    }

    /// Starts it as thread `number`.
    pub(super) fn start(self, number: usize, device: Arc<Device>) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name(format!("offshoot-fuse-{number}"))
            .stack_size(STACK_BYTES)
            .spawn(move || self.run(&device))
    }

    fn run(&self, device: &Arc<Device>) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut reply = Reply::new();
        loop {
            match wait::next(device, &mut buffer) {
                Ok(Some(length)) => self.0.requests.serve(device, &buffer[..length], &mut reply),
                Ok(None) => return,
                Err(error) => {
                    let mount_point = self.0.ending.point.path().display();
                    tracing::error!(%mount_point, %error, "a thread of the mount ends");
                    return;
                }
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let ending = &self.0.ending;
        if ending.working.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        ending.point.end();
        self.0.requests.end();
        ending.alive.store(false, Ordering::Release);
        ending.invalidation.end();
        ending.pruner.end();
        ending.writeback.lock().take();
        tracing::info!(mount_point = %ending.point.path().display(), "unmounted");
    }
}
