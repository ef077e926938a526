//! Word of changes to those who cache, and the call to write back what they hold.
//!
//! A [`Watcher`] hears of every change with the session that made it; it must not block, since it is called on the thread that
//! serves the operation. A [`Flusher`] is asked, before a clone through the control plane, to bring data that a kernel client still
//! holds into the pool; it may block, and runs on a thread of its own that serves nobody.

use std::io;
use std::sync::{Arc, Weak};

use futures::channel::oneshot;
use offshoot_engine::Ino;
use parking_lot::RwLock;

use crate::error::{Code, Error, Result};
use crate::vfs::{SessionId, Vfs};

/// A change that a cache may have to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A name in a directory appeared, went, or now means something else; the directory's attributes changed too.
    Entry {
        /// The directory.
        parent: Ino,
        /// The name.
        name: &'a [u8],
    },
    /// Attributes or extended attributes of an inode changed.
    Attributes {
        /// The inode.
        ino: Ino,
    },
    /// Content changed, and with it attributes.
    Content {
        /// The file.
        ino: Ino,
        /// First byte that changed.
        offset: u64,
        /// How many; 0 is all that follow.
        length: u64,
    },
}

/// Somebody who caches.
pub trait Watcher: Send + Sync {
    /// Something changed, by a session or (`None`) by the control plane. Must not block. Access times are not told.
    fn changed(&self, change: Change<'_>, session: Option<SessionId>);

    /// Returns when what was told before has reached the cache, or after a time limit of its own, which has to be short where a
    /// client waits for the answer (`from_client`): it may hold locks that the cache needs to take word of a change. May
    /// block; called on a thread that serves nobody.
    fn settle(&self, from_client: bool) {
        let _ = from_client;
    }
}

/// What is about to be cloned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushRequest<'a> {
    /// Its path in the pool; nothing else has to be brought in.
    pub source: &'a [u8],
    /// A client waits for the clone and may hold locks until it has its answer, so none may be taken that it could hold.
    pub from_client: bool,
}

/// Somebody who holds data that the pool has not seen.
pub trait Flusher: Send + Sync {
    /// Brings everything that `write` accepted before this call, at and below the source, into the pool.
    ///
    /// # Errors
    /// When that failed for anything; the clone that asked is then refused.
    fn flush(&self, request: FlushRequest<'_>) -> io::Result<()>;
}

#[derive(Default)]
pub(crate) struct Watch {
    watchers: RwLock<Vec<Weak<dyn Watcher>>>,
    flushers: RwLock<Vec<Weak<dyn Flusher>>>,
}

impl Vfs {
    /// Tells `watcher` of every later change, for as long as it lives.
    pub fn add_watcher(&self, watcher: Weak<dyn Watcher>) {
        let mut watchers = self.inner.watch.watchers.write();
        watchers.retain(|known| known.strong_count() > 0);
        watchers.push(watcher);
    }

    /// Asks `flusher` before every clone through the control plane, for as long as it lives.
    pub fn add_flusher(&self, flusher: Weak<dyn Flusher>) {
        let mut flushers = self.inner.watch.flushers.write();
        flushers.retain(|known| known.strong_count() > 0);
        flushers.push(flusher);
    }

    /// Tells everybody of a change.
    pub(crate) fn changed(&self, change: Change<'_>) {
        for watcher in self.inner.watch.watchers.read().iter() {
            if let Some(watcher) = watcher.upgrade() {
                watcher.changed(change, self.session());
            }
        }
    }

    /// Whether anybody but this session hears of changes; where not, an operation may spare itself what only they need.
    pub(crate) fn is_watched_by_others(&self) -> bool {
        self.inner.watch.watchers.read().len() > usize::from(self.session().is_some())
    }

    /// Brings what kernel clients hold into the pool.
    pub(crate) async fn flush_clients(&self, request: FlushRequest<'_>) -> Result<()> {
        let flushers: Vec<_> = self.inner.watch.flushers.read().iter().filter_map(Weak::upgrade).collect();
        if flushers.is_empty() {
            return Ok(());
        }
        let (source, from_client) = (request.source.to_vec(), request.from_client);
        let flush = move || {
            let request = FlushRequest { source: &source, from_client };
            flushers.iter().try_for_each(|flusher| flusher.flush(request))
        };
        aside("flush", flush).await?.map_err(|error| {
            Error::new(Code::Io, format!("could not write back what a mount still holds: {error}"))
        })
    }

    /// Waits until caches have heard of what changed; see [`Watcher::settle`].
    pub(crate) async fn settle_clients(&self, from_client: bool) {
        let watchers: Vec<Arc<dyn Watcher>> =
            self.inner.watch.watchers.read().iter().filter_map(Weak::upgrade).collect();
        if watchers.is_empty() {
            return;
        }
        let settled =
            aside("settle", move || watchers.iter().for_each(|watcher| watcher.settle(from_client))).await;
        if let Err(error) = settled {
            tracing::warn!(%error, "caches of mounts may be out of date for a while");
        }
    }
}

/// Runs blocking work on a thread that serves nobody else. These calls are rare (one or two a clone), and a thread of their own
/// cannot be starved by a pool whose workers wait for the very requests that the work causes.
async fn aside<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name(format!("offshoot-{name}"))
        .spawn(move || {
            // The receiver is gone if the operation was cancelled; nobody is left to tell.
            let _ = sender.send(work());
        })
        .map_err(|error| Error::new(Code::Io, format!("could not start a thread to {name}: {error}")))?;
    receiver.await.map_err(|_| Error::new(Code::Io, format!("the thread that was to {name} panicked")))
}
