//! The FUSE mounts that a server holds.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use offshoot_control::problem::with_causes;
use offshoot_control::service::Mounter;
use offshoot_control::wire::{MountBody, MountRequest};
use offshoot_control::{Kind, Problem};
use offshoot_engine::{ErrorKind, KNOWN_INODE_BYTES};
use offshoot_host::{FuseDevice, holder};
use offshoot_serve::fuse::{FuseOptions, FuseSession, MountError};
use offshoot_vfs::Vfs;

use crate::settings::Fuse;

/// Processes that are named when a mount is busy.
const HOLDERS_SHOWN_MAX: usize = 5;
/// The part of the memory setting that goes into inodes which the kernel knows.
const KNOWN_SHARE: u64 = 8;

/// Makes, keeps and takes away mounts.
pub(super) struct FuseMounts {
    vfs: Vfs,
    runtime: tokio::runtime::Handle,
    settings: Fuse,
    known_max: usize,
    source: String,
    held: Mutex<Vec<Arc<Held>>>,
}

struct Held {
    session: FuseSession,
    read_only: bool,
    cleared_dead: bool,
}

impl Held {
    fn describe(&self) -> MountBody {
        MountBody {
            mount_point: self.session.mount_point().as_os_str().as_bytes().to_vec().into(),
            protocol: "fuse".into(),
            read_only: self.read_only,
            cleared_dead: self.cleared_dead,
        }
    }
}

impl FuseMounts {
    /// `memory_bytes` is the memory setting of the engine.
    pub(super) fn new(
        vfs: Vfs,
        runtime: tokio::runtime::Handle,
        settings: Fuse,
        memory_bytes: u64,
        source: String,
    ) -> Self {
        let known_max = (memory_bytes / KNOWN_SHARE / KNOWN_INODE_BYTES) as usize;
        Self { vfs, runtime, settings, known_max, source, held: Mutex::default() }
    }

    /// The mounts that still are; someone may have unmounted the others with `umount`.
    fn alive(&self) -> MutexGuard<'_, Vec<Arc<Held>>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|held| held.session.is_alive());
        held
    }

    /// Takes all mounts away, the busy ones lazily; returns what there is to say about those.
    pub(super) fn unmount_all(&self) -> Vec<String> {
        let all: Vec<_> = self.alive().drain(..).collect();
        let mut words = Vec::new();
        for held in all {
            let place = held.session.mount_point().to_owned();
            if held.session.unmount(false).is_ok() {
                continue;
            }
            let users = users(&place).unwrap_or_else(|| "it is in use".into());
            match held.session.unmount(true) {
                Ok(()) => words.push(format!("{} was unmounted although {users}", place.display())),
                Err(error) => {
                    words.push(format!("{} cannot be unmounted: {}", place.display(), with_causes(&error)))
                }
            }
        }
        words
    }

    fn find(&self, mount_point: &Path) -> Option<Arc<Held>> {
        let canonical = std::fs::canonicalize(mount_point).unwrap_or_else(|_| mount_point.to_owned());
        let alive = self.alive();
        alive.iter().find(|held| [mount_point, &canonical].contains(&held.session.mount_point())).cloned()
    }

    fn options(&self, request: &MountRequest, mount_point: PathBuf) -> FuseOptions {
        let mut options = FuseOptions::new(mount_point);
        options.threads = self.settings.threads;
        options.known_max = self.known_max;
        options.read_only = request.read_only;
        options.source = Some(self.source.clone());
        if let Some(allow_other) = request.allow_other.or(self.settings.allow_other) {
            options.allow_other = allow_other;
        }
        options
    }
}

#[async_trait]
impl Mounter for FuseMounts {
    fn mounts(&self) -> Vec<MountBody> {
        self.alive().iter().map(|held| held.describe()).collect()
    }

    async fn mount(&self, request: MountRequest) -> Result<MountBody, Problem> {
        let mount_point = PathBuf::from(OsStr::from_bytes(request.mount_point.as_bytes()));
        if offshoot_host::fuse_device() == FuseDevice::Other {
            let words = "/dev/fuse is something else than the kernel's device; `offshoot doctor` says how to mend that";
            return Err(Problem::new(Kind::Unsupported, words));
        }
        let options = self.options(&request, mount_point);
        let (vfs, runtime) = (self.vfs.clone(), self.runtime.clone());
        // Mounting asks the kernel and may run a helper.
        let mounting = tokio::task::spawn_blocking(move || FuseSession::mount(vfs, runtime, options));
        let session = mounting
            .await
            .map_err(|error| Problem::new(Kind::Internal, error.to_string()))?
            .map_err(Refused)?;
        let cleared_dead = session.replaced_dead_mount();
        let held = Arc::new(Held { session, read_only: request.read_only, cleared_dead });
        let body = held.describe();
        self.alive().push(held);
        Ok(body)
    }

    async fn unmount(&self, mount_point: &Path, lazy: bool) -> Result<(), Problem> {
        let Some(held) = self.find(mount_point) else {
            let words = "this server holds no mount there; `offshoot status` lists its mounts";
            return Err(Problem::new(Kind::Engine(ErrorKind::NotFound), words));
        };
        let session = Arc::clone(&held);
        let unmounting = tokio::task::spawn_blocking(move || session.session.unmount(lazy));
        let unmounted = unmounting.await.map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
        unmounted.map_err(|error| match (error, users(held.session.mount_point())) {
            (MountError::InUse(_), Some(users)) => Problem::new(Kind::Busy, format!("it is in use: {users}")),
            (error, _) => Problem::from(Refused(error)),
        })?;
        self.alive().retain(|other| !Arc::ptr_eq(other, &held));
        Ok(())
    }
}

/// Who uses a mount and how, in words; `None` if nobody is seen.
fn users(mount_point: &Path) -> Option<String> {
    let holders = holder::holders(mount_point);
    let shown: Vec<_> = holders
        .iter()
        .take(HOLDERS_SHOWN_MAX)
        .map(|holder| format!("{} (process {}) {}", holder.command, holder.pid, holder.how))
        .collect();
    let more = holders.len().saturating_sub(HOLDERS_SHOWN_MAX);
    match (shown.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(shown.join("; ")),
        (false, more) => Some(format!("{}; and {more} more", shown.join("; "))),
    }
}

/// A mount error on its way to a caller of the API.
struct Refused(MountError);

impl From<Refused> for Problem {
    fn from(Refused(error): Refused) -> Self {
        let kind = match &error {
            MountError::NoDevice
            | MountError::DeviceDenied(_)
            | MountError::NoHelper(_)
            | MountError::AllowOther => Kind::Unsupported,
            MountError::Missing(_) => Kind::Engine(ErrorKind::NotFound),
            MountError::NotDirectory(_) => Kind::Engine(ErrorKind::NotDirectory),
            MountError::NotEmpty(_) => Kind::Engine(ErrorKind::NotEmpty),
            MountError::AlreadyMounted(_) => Kind::Engine(ErrorKind::Exists),
            MountError::InUse(_) => Kind::Busy,
            MountError::Refused(_) => Kind::Permission,
            MountError::System { .. } => Kind::Internal,
        };
        Self::new(kind, with_causes(&error))
    }
}
