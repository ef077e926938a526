//! The composition root: builds a server from settings, runs it, and takes it apart again.
//!
//! The order of start: a look at everything that can be wrong with the settings, directory, lock, pool, background threads,
//! services, sockets; mounts come last. So a start that cannot succeed makes no pool. The order of stop is the reverse. The engine's own work runs on threads with large stacks, because it walks trees recursively.

mod allocator;
mod disk_cache;
mod doors;
mod ground;
mod lock;
mod mounts;
pub(crate) mod notify;
pub(crate) mod watchdog;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use offshoot_control::rest::Server;
use offshoot_control::service::{Mounter, Service, ServiceSettings};
use offshoot_control::wire::{MountBody, MountRequest};
use offshoot_engine::{Encryption, ErrorKind, Ino, OpenMode, Pool, SetAttributes, SystemClock};
use offshoot_vfs::{Vfs, VfsSettings};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::connection::{SOURCE_PREFIX, source_of};
use crate::failure::{Exit, Failure, Outcome};
use crate::output::Output;
use crate::settings::{AccessTime, Place, Settings, memory};
use doors::Doors;
pub(crate) use doors::mount_point_to_make;
use ground::{Ground, holds_pool, no_pool};
use lock::PoolLock;
use mounts::FuseMounts;
use watchdog::Watchdog;

/// Address space of a stack on which the engine walks trees; only what is touched takes memory.
const STACK_BYTES: usize = 1 << 30;
/// Stack of a thread that serves requests.
const WORKER_STACK_BYTES: usize = 8 << 20;
/// Threads that requests may block. Each request takes one, and a second one if its answer is streamed.
const BLOCKING_THREADS_MAX: usize = 4 * offshoot_control::rest::CONNECTIONS_MAX;
/// How often it is looked whether the pool still accepts changes.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Tasks that are still at work at stop get this time to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running server.
pub(crate) struct Daemon {
    runtime: Runtime,
    vfs: Vfs,
    service: Arc<Service>,
    mounts: Arc<FuseMounts>,
    stop: watch::Sender<bool>,
    servers: Vec<tokio::task::JoinHandle<()>>,
    /// The threads that make checkpoints, flush and fetch.
    background: [std::thread::JoinHandle<()>; 3],
    socket: PathBuf,
    created: bool,
    _watchdog: Option<Watchdog>,
    /// Held until everything else is gone.
    _lock: Option<PoolLock>,
}

impl Daemon {
    /// Starts everything but mounts. `mount_point` is where the caller is going to mount. With
    /// `accept_loss` a damaged pool is opened in the state that can be read.
    pub(crate) fn start(
        settings: &Settings,
        mode: OpenMode,
        mount_point: Option<&Path>,
        accept_loss: bool,
    ) -> Outcome<Self> {
        allocator::give_back_large_blocks();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("offshoot")
            .thread_stack_size(WORKER_STACK_BYTES)
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .enable_all()
            .build()
            .map_err(|error| Failure::new(format!("the runtime cannot start: {error}")))?;
        let place = &settings.storage.place;
        // Whoever has the pool already is the first to be named, and nothing can be made that is there.
        let existing = holds_pool(place)?
            .then(|| Ground::open(&settings.storage, mode, runtime.handle()))
            .transpose()?;
        let is_known = !matches!(place, Place::Bucket(_));
        if is_known && existing.is_none() && mode == OpenMode::Existing {
            return Err(no_pool(place));
        }
        let doors = Doors::open(settings, mount_point)?;
        let encryption = settings.encryption()?;
        let ground = existing.map_or_else(|| Ground::open(&settings.storage, mode, runtime.handle()), Ok)?;
        warn_of_memory(settings.cache.memory_bytes);
        let pool = open(settings, encryption, &ground, mode, accept_loss)?;
        let checkpoints = on_big_stack("checkpoint", {
            let pool = pool.clone();
            move || futures::executor::block_on(pool.checkpoint_in_background())
        })?;
        let flushes = on_big_stack("flush", {
            let pool = pool.clone();
            move || futures::executor::block_on(pool.flush_in_background())
        })?;
        let fetches = on_big_stack("fetch", {
            let pool = pool.clone();
            move || futures::executor::block_on(pool.fetch_in_background())
        })?;
        let access_time = match settings.access_time {
            AccessTime::Relatime => offshoot_vfs::AccessTime::Relatime,
            AccessTime::None => offshoot_vfs::AccessTime::None,
        };
        let vfs = Vfs::new(pool, VfsSettings { access_time });
        let source = runtime.block_on(source(&settings.storage.place, &vfs));
        let watchdog = Watchdog::start(&source);
        let fuse = settings.fuse.clone();
        let mounts = Arc::new(FuseMounts::new(
            vfs.clone(),
            runtime.handle().clone(),
            fuse,
            settings.cache.memory_bytes,
            source.clone(),
        ));
        let mounter: Arc<dyn Mounter> = Arc::clone(&mounts) as Arc<dyn Mounter>;
        let service = Arc::new(Service::new(
            vfs.clone(),
            ServiceSettings {
                owner: rustix::process::geteuid().as_raw(),
                owner_group: rustix::process::getegid().as_raw(),
                source,
                storage_url: settings.storage.place.url(),
                version: env!("CARGO_PKG_VERSION").into(),
                mounter: Ok(mounter),
            },
        ));
        let mut daemon = Self {
            runtime,
            vfs,
            service,
            mounts,
            stop: watch::Sender::new(false),
            servers: Vec::new(),
            background: [checkpoints, flushes, fetches],
            socket: settings.socket(),
            created: ground.is_new,
            _watchdog: watchdog,
            _lock: ground.lock,
        };
        match daemon.listen(doors) {
            Ok(()) => Ok(daemon),
            Err(failure) => {
                // Whatever goes wrong now matters less than why it could not start.
                let _ = daemon.take_apart();
                Err(failure)
            }
        }
    }

    /// True if there was no pool before.
    pub(crate) fn created(&self) -> bool {
        self.created
    }

    /// What was given up to open the pool, if anything was.
    pub(crate) fn accepted_loss(&self) -> Option<String> {
        self.runtime.block_on(self.vfs.pool().status()).accepted_loss
    }

    /// Where the command line finds it.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Mounts the pool.
    pub(crate) fn mount(&self, mount_point: &Path) -> Outcome<MountBody> {
        use std::os::unix::ffi::OsStrExt;
        let mount_point =
            std::path::absolute(mount_point).map_err(|error| Failure::new(error.to_string()))?;
        let request = MountRequest {
            mount_point: mount_point.as_os_str().as_bytes().to_vec().into(),
            read_only: false,
            allow_other: None,
        };
        Ok(self.runtime.block_on(self.service.mount(request))?)
    }

    /// Waits until someone asks it to stop, or until the pool cannot go on.
    pub(crate) fn wait(&self) -> Outcome {
        self.runtime.block_on(async {
            let failed = |error| Failure::new(format!("signals cannot be received: {error}"));
            let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
            let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
            // The terminal was closed: without this the mount would be left behind dead.
            let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => return Ok(()),
                    _ = terminate.recv() => return Ok(()),
                    _ = hangup.recv() => return Ok(()),
                    () = tokio::time::sleep(WATCH_INTERVAL) => {}
                }
                if let Some(why) = self.vfs.pool().status().await.stopped {
                    return Err(Failure::in_use(format!("the pool accepts no changes any more: {why}"))
                        .advise(
                            "everything that was synced is safe; find out why, then start the server again",
                        ));
                }
            }
        })
    }

    /// Unmounts, stops and closes. A second Ctrl-C gives up on doing it cleanly.
    pub(crate) fn stop(self, output: &Output) -> Outcome {
        let quiet = output.quiet;
        self.runtime.spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                if !quiet {
                    eprintln!(
                        "Stopped at once. Nothing that was synced is lost; the next start replays the log."
                    );
                }
                std::process::exit(Exit::Interrupted as i32);
            }
        });
        for words in self.mounts.unmount_all() {
            output.warn(&words);
        }
        self.take_apart()
    }

    fn take_apart(self) -> Outcome {
        let Self { runtime, vfs, service, stop, servers, background, socket, .. } = self;
        stop.send_replace(true);
        runtime.block_on(async {
            if tokio::time::timeout(STOP_TIMEOUT, service.jobs().cancel_all()).await.is_err() {
                tracing::warn!("a job did not end in time and is left behind");
            }
            for server in servers {
                let _ = server.await;
            }
        });
        let pool = Clone::clone(vfs.pool());
        let closing = on_big_stack("close", move || futures::executor::block_on(pool.close()))?;
        let closed = closing.join().map_err(|_| Failure::new("closing the pool broke off"))?;
        let joined: std::thread::Result<()> =
            background.into_iter().try_for_each(std::thread::JoinHandle::join);
        let _ = std::fs::remove_file(&socket);
        drop((service, vfs));
        runtime.shutdown_timeout(STOP_TIMEOUT);
        joined.map_err(|_| {
            Failure::new("the background work of the pool broke off; the next start replays the log")
        })?;
        match closed {
            Ok(()) => Ok(()),
            // It had stopped before; that has been told.
            Err(error) if matches!(error.kind(), ErrorKind::Closed | ErrorKind::Fenced) => Ok(()),
            Err(error) => Err(Failure::from(error)
                .advise("everything that was synced is in the log and comes back at the next start")),
        }
    }

    fn listen(&mut self, doors: Doors) -> Outcome {
        let server = Server::new(Arc::clone(&self.service));
        let unix = self.runtime.block_on(listen_unix(&self.socket))?;
        let stop = self.stop.subscribe();
        let unix_server = server.clone();
        self.servers.push(self.runtime.spawn(async move { unix_server.serve_unix(unix, stop).await }));
        for (tcp, token) in doors.into_listeners(&self.runtime)? {
            let (server, stop) = (server.clone(), self.stop.subscribe());
            self.servers.push(self.runtime.spawn(async move { server.serve_tcp(tcp, token, stop).await }));
        }
        Ok(())
    }
}

/// Who sets more than there is finds out now, and not when the kernel kills the server.
fn warn_of_memory(setting: u64) {
    let taken = memory::taken_bytes(setting);
    if let Some(available) = memory::available()
        && taken > available
    {
        tracing::warn!(
            available,
            taken,
            "a server with this memory setting may take more than there is; set cache.memory_size_gb lower"
        );
    }
}

fn open(
    settings: &Settings,
    encryption: Option<Encryption>,
    ground: &Ground,
    mode: OpenMode,
    accept_loss: bool,
) -> Outcome<Pool> {
    let storage = ground.storage.clone();
    if encryption.is_some() {
        keep_out_of_dumps();
    }
    let disk_cache = disk_cache::choose(settings);
    let engine = offshoot_engine::Settings { accept_loss, encryption, disk_cache, ..settings.engine() };
    let clock = Arc::new(SystemClock::default());
    let opening =
        on_big_stack("open", move || futures::executor::block_on(Pool::open(storage, clock, engine, mode)))?;
    let opened = opening.join().map_err(|_| Failure::new("opening the pool broke off"))?;
    let tried = format!("cannot open the pool at {}", settings.storage.place.url());
    let pool = opened.map_err(|error| {
        let failure = Failure::from(error);
        Failure { message: format!("{tried}: {}", failure.message), ..failure }
    })?;
    let owner = rustix::process::geteuid();
    if ground.is_new && !owner.is_root() {
        // The root of a new pool is root's, and the user who made the pool could not write to it.
        let group = rustix::process::getegid();
        let set = SetAttributes {
            uid: Some(owner.as_raw()),
            gid: Some(group.as_raw()),
            ..SetAttributes::default()
        };
        futures::executor::block_on(pool.set_attributes(Ino::ROOT, set))?;
    }
    Ok(pool)
}

/// The keys of a pool are in the memory of this process: it leaves no core dump, and no other process of its user may look into it.
fn keep_out_of_dumps() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "a core dump of this process would hold the keys of the pool");
    }
}

/// Opens a pool that no server has, for as long as `work` takes.
///
/// # Errors
/// What opening it fails of, and what the work fails of.
pub(crate) fn with_pool<T: Send + 'static>(
    settings: &Settings,
    work: impl FnOnce(&Pool) -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let encryption = settings.encryption()?;
    let runtime = crate::stores::runtime()?;
    let ground = Ground::open(&settings.storage, OpenMode::Existing, runtime.handle())?;
    let pool = open(settings, encryption, &ground, OpenMode::Existing, false)?;
    let working = on_big_stack("work", move || {
        let worked = work(&pool);
        let closed = futures::executor::block_on(pool.close());
        worked.and_then(|done| Ok(closed.map(|()| done)?))
    })?;
    working.join().map_err(|_| Failure::new("the work on the pool broke off"))?
}

/// What mounts show as their source.
async fn source(place: &Place, vfs: &Vfs) -> String {
    match place.directory() {
        Some(directory) => {
            let directory = std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
            source_of(&directory).to_string_lossy().into_owned()
        }
        None => format!("{SOURCE_PREFIX}memory-{}", vfs.pool().status().await.pool_id),
    }
}

async fn listen_unix(socket: &Path) -> Outcome<UnixListener> {
    if let Some(parent) = socket.parent() {
        std::fs::create_dir_all(parent).map_err(|error| {
            Failure::new(format!(
                "the directory {} of the control socket cannot be made: {error}",
                parent.display()
            ))
        })?;
    }
    offshoot_control::address::listen(socket).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            Failure::in_use(format!("another server listens at {} already", socket.display()))
                .advise("stop that one, or set another `control.socket`")
        }
        _ => Failure::new(format!("the control socket {} cannot be made: {error}", socket.display())),
    })
}

fn on_big_stack<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Outcome<std::thread::JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(work)
        .map_err(|error| Failure::new(format!("the thread {name:?} cannot start: {error}")))
}
