//! The services of a running pool, without any protocol: callers come in as [`Identity`], answers go out as wire types.
//!
//! Administrators (root and the user who runs the server) may do everything; for everybody else the permissions of files decide, as
//! through a mount. What takes long runs as a job. Mounting is done by a [`Mounter`] that comes from outside, for
//! the protocol servers and this plane do not know each other.

mod access;
mod compare;
mod inspect;
mod keys;
mod snapshot;
mod tree;
mod upkeep;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use offshoot_engine::{ErrorKind, Pool, Timestamp};
use offshoot_vfs::{Caller, Code, Vfs};

use crate::job::{Jobs, Viewer};
use crate::problem::{Kind, Problem, with_causes};
use crate::wire;

/// Where snapshots are.
pub const SNAPSHOTS: &str = "/snapshots";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// May do everything.
    pub administrator: bool,
}

impl Identity {
    /// Someone who showed the token, or this program itself.
    pub fn administrator() -> Self {
        Self { uid: 0, gid: 0, groups: Vec::new(), administrator: true }
    }

    /// Someone unknown: for what everybody may ask.
    pub fn nobody() -> Self {
        Self { uid: 65_534, gid: 65_534, groups: Vec::new(), administrator: false }
    }

    /// Whose jobs it may see.
    pub(crate) fn viewer(&self) -> Viewer {
        if self.administrator { Viewer::All } else { Viewer::User(self.uid) }
    }

    fn caller(&self) -> Caller {
        Caller { uid: self.uid, gid: self.gid, groups: self.groups.clone(), privileged: self.administrator }
    }
}

/// Mounts the pool on this machine.
#[async_trait]
pub trait Mounter: Send + Sync + 'static {
    /// The mounts that are held.
    fn mounts(&self) -> Vec<wire::MountBody>;
    /// Makes a mount; a dead one at its place is cleared away.
    async fn mount(&self, request: wire::MountRequest) -> Result<wire::MountBody, Problem>;
    /// Takes a mount away; a busy one only if `lazy`.
    async fn unmount(&self, mount_point: &Path, lazy: bool) -> Result<(), Problem>;
}

/// What a service is built from.
pub struct ServiceSettings {
    /// The user who runs the server.
    pub owner: u32,
    /// Its group.
    pub owner_group: u32,
    /// What the server's mounts show as their source: names the pool on this machine.
    pub source: String,
    /// The store, as in the settings.
    pub storage_url: String,
    /// Version of the program.
    pub version: String,
    /// Mounts; without one, mounting is refused with the words in the error.
    pub mounter: Result<Arc<dyn Mounter>, String>,
}

/// The services of one pool.
pub struct Service {
    vfs: Vfs,
    settings: ServiceSettings,
    jobs: Jobs,
    started: Timestamp,
}

impl Service {
    /// Services over `vfs`.
    pub fn new(vfs: Vfs, settings: ServiceSettings) -> Self {
        let clock = Arc::clone(vfs.pool().clock());
        let started = clock.now();
        Self { vfs, settings, jobs: Jobs::new(clock), started }
    }

    /// The user who runs the server.
    pub fn owner(&self) -> u32 {
        self.settings.owner
    }

    /// What the server's mounts show as their source.
    pub fn source(&self) -> &str {
        &self.settings.source
    }

    /// Jobs.
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    fn pool(&self) -> &Pool {
        self.vfs.pool()
    }

    fn now(&self) -> Timestamp {
        self.pool().clock().now()
    }

    /// Name, meaning and value of the counters of the engine and of its store.
    pub fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut counters = self.pool().metrics().all();
        counters.extend(self.pool().store_counters());
        counters
    }

    /// The state of everything.
    pub async fn status(&self) -> wire::StatusBody {
        let pool = self.pool().status().await;
        wire::StatusBody {
            server: wire::ServerBody {
                version: self.settings.version.clone(),
                pid: std::process::id(),
                started: self.started.into(),
                source: self.settings.source.clone(),
                storage_url: self.settings.storage_url.clone(),
            },
            pool: pool.into(),
            mounts: self.mounts(),
            jobs_running: self.jobs.running() as u64,
            counters: self.counters().into_iter().map(|(name, _, value)| (name.to_owned(), value)).collect(),
        }
    }

    /// Succeeds if the pool accepts changes.
    ///
    /// # Errors
    /// `Closed` with the reason.
    pub async fn ready(&self) -> Result<(), Problem> {
        match self.pool().status().await.stopped {
            None => Ok(()),
            Some(why) => Err(Problem::new(
                Kind::Engine(ErrorKind::Closed),
                format!("the pool accepts no changes: {why}"),
            )),
        }
    }

    /// Answers when everything that was answered before survives a power cut.
    ///
    /// # Errors
    /// Those of the engine's sync.
    pub async fn sync(&self) -> Result<(), Problem> {
        self.pool().sync().await.map_err(Problem::from)
    }

    /// The same if `wanted`, for something that has just been done.
    async fn sync_if(&self, wanted: bool) -> Result<(), Problem> {
        if !wanted {
            return Ok(());
        }
        self.sync().await.map_err(|problem| Problem {
            detail: format!("it is done, but not known to survive a power cut: {}", problem.detail),
            ..problem
        })
    }

    /// Writes everything to segments and a new manifest.
    ///
    /// # Errors
    /// Those of the engine's checkpoint.
    pub async fn checkpoint(&self) -> Result<(), Problem> {
        self.pool().checkpoint().await.map_err(Problem::from)
    }

    /// Mounts that the server holds.
    pub fn mounts(&self) -> Vec<wire::MountBody> {
        self.settings.mounter.as_ref().map(|mounter| mounter.mounts()).unwrap_or_default()
    }

    /// Makes a mount.
    ///
    /// # Errors
    /// `Unsupported` if this server cannot mount; those of the mounter.
    pub async fn mount(&self, request: wire::MountRequest) -> Result<wire::MountBody, Problem> {
        let tried = format!("mount at {}", request.mount_point);
        if !request.mount_point.as_bytes().starts_with(b"/") {
            let words = "a mount point is an absolute path of the server's machine";
            return Err(Problem::new(Kind::BadRequest, words).while_trying(tried));
        }
        self.mounter()?.mount(request).await.map_err(|problem| problem.while_trying(tried))
    }

    /// Takes a mount away.
    ///
    /// # Errors
    /// `Busy` with who holds it; those of the mounter.
    pub async fn unmount(&self, mount_point: &[u8], lazy: bool) -> Result<(), Problem> {
        let path = Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(mount_point));
        let tried = format!("unmount {}", path.display());
        self.mounter()?.unmount(path, lazy).await.map_err(|problem| problem.while_trying(tried))
    }

    fn mounter(&self) -> Result<&Arc<dyn Mounter>, Problem> {
        self.settings.mounter.as_ref().map_err(|why| Problem::new(Kind::Unsupported, why.clone()))
    }
}

/// Runs work that calls the engine, which may block the thread, on a thread of its own.
fn spawn_local<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) {
    tokio::task::spawn_blocking(move || tokio::runtime::Handle::current().block_on(work()));
}

impl From<offshoot_vfs::Error> for Problem {
    fn from(error: offshoot_vfs::Error) -> Self {
        let kind = match error.engine() {
            Some(engine) => Kind::Engine(engine.kind()),
            None => kind_of(error.code()),
        };
        Self::new(kind, with_causes(&error))
    }
}

fn kind_of(code: Code) -> Kind {
    Kind::Engine(match code {
        Code::NotPermitted | Code::Access => return Kind::Permission,
        Code::Busy => return Kind::Busy,
        Code::NotSupported => return Kind::Unsupported,
        Code::BadHandle => return Kind::Internal,
        Code::NoEntry => ErrorKind::NotFound,
        Code::Io => ErrorKind::Store,
        Code::Exists => ErrorKind::Exists,
        Code::CrossClone => ErrorKind::CrossRealm,
        Code::NotDirectory => ErrorKind::NotDirectory,
        Code::IsDirectory => ErrorKind::IsDirectory,
        Code::NoData | Code::Invalid | Code::Range | Code::Loop => ErrorKind::Invalid,
        Code::TooLarge => ErrorKind::TooLarge,
        Code::NoSpace => ErrorKind::NoSpace,
        Code::ReadOnly => ErrorKind::ReadOnly,
        Code::TooManyLinks => ErrorKind::TooManyLinks,
        Code::NameTooLong => ErrorKind::NameTooLong,
        Code::NotEmpty => ErrorKind::NotEmpty,
        Code::NoAttribute => ErrorKind::NoAttribute,
        Code::AttributeTooLarge => ErrorKind::AttributeTooLarge,
        Code::Stale => ErrorKind::Stale,
    })
}
