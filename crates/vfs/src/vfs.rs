//! [`Vfs`] itself: the pool, settings, sessions, and the reads that every operation starts with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use offshoot_engine::{Attributes, ErrorKind, Ino, Kind, Pool};

use crate::acl::{self, Acl, Bits};
use crate::error::{Code, Error, Result};
use crate::permission::{self, Caller};
use crate::watch::Watch;

/// When reading updates the access time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessTime {
    /// If it is not after the last change, or a day old. Never inside a read-only clone.
    #[default]
    Relatime,
    /// Never.
    None,
}

/// Settings of the POSIX layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct VfsSettings {
    /// When reading updates the access time.
    pub access_time: AccessTime,
}

/// One client that may cache, such as one FUSE mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionId(u64);

/// POSIX operations on a pool. Cheap to clone; all clones are the same file system.
#[derive(Clone)]
pub struct Vfs {
    pub(crate) inner: Arc<Inner>,
    session: Option<SessionId>,
    access_time: AccessTime,
}

pub(crate) struct Inner {
    pub(crate) pool: Pool,
    pub(crate) watch: Watch,
    sessions: AtomicU64,
}

impl Vfs {
    /// A file system over `pool`.
    pub fn new(pool: Pool, settings: VfsSettings) -> Vfs {
        let inner = Inner { pool, watch: Watch::default(), sessions: AtomicU64::new(1) };
        Vfs { inner: Arc::new(inner), session: None, access_time: settings.access_time }
    }

    /// The pool below.
    pub fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// The same file system for one caching client: changes made through the result carry a new session id, so that
    /// the client's own watcher can pass over them.
    pub fn open_session(&self) -> Vfs {
        let id = SessionId(self.inner.sessions.fetch_add(1, Ordering::Relaxed));
        Vfs { session: Some(id), ..self.clone() }
    }

    /// The same file system for changes that no session knows of.
    pub fn without_session(&self) -> Vfs {
        Vfs { session: None, ..self.clone() }
    }

    /// The same file system, with another rule for what reading through the result does to access times.
    pub fn with_access_time(&self, access_time: AccessTime) -> Vfs {
        Vfs { access_time, ..self.clone() }
    }

    pub(crate) fn access_time(&self) -> AccessTime {
        self.access_time
    }

    /// The session whose changes are made through this.
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// The inode's access control list, if bits alone do not say it.
    pub(crate) async fn access_list(&self, attributes: &Attributes) -> Result<Option<Acl>> {
        self.stored_list(attributes, acl::ACCESS).await
    }

    pub(crate) async fn stored_list(&self, attributes: &Attributes, name: &[u8]) -> Result<Option<Acl>> {
        match self.list_value(attributes, name).await? {
            Some(value) => Acl::decode(&value),
            None => Ok(None),
        }
    }

    /// A list as it is stored.
    pub(crate) async fn list_value(&self, attributes: &Attributes, name: &[u8]) -> Result<Option<Bytes>> {
        if !attributes.has_xattrs || attributes.kind == Kind::Symlink {
            return Ok(None);
        }
        match self.pool().xattr(attributes.ino, name).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NoAttribute => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the caller gets every bit of `wanted`.
    pub(crate) async fn check(&self, caller: &Caller, attributes: &Attributes, wanted: Bits) -> Result<()> {
        if caller.privileged {
            return Ok(());
        }
        let list = self.access_list(attributes).await?;
        permission::check(caller, attributes, list.as_ref(), wanted)
    }

    /// The attributes of a directory in which the caller gets every bit of `wanted`.
    pub(crate) async fn directory(
        &self,
        caller: &Caller,
        directory: Ino,
        wanted: Bits,
    ) -> Result<Attributes> {
        let attributes = self.pool().attributes(directory).await?;
        if attributes.kind != Kind::Directory {
            return Err(Error::new(Code::NotDirectory, "not a directory"));
        }
        self.check(caller, &attributes, wanted).await?;
        Ok(attributes)
    }

    /// As [`Vfs::directory`] where only the check matters: nothing is read for a privileged caller.
    pub(crate) async fn check_directory(&self, caller: &Caller, directory: Ino, wanted: Bits) -> Result<()> {
        if !caller.privileged {
            self.directory(caller, directory, wanted).await?;
        }
        Ok(())
    }

    /// The attributes of an entry, without counting a reference.
    pub(crate) async fn entry(&self, directory: Ino, name: &[u8]) -> Result<Attributes> {
        let attributes = self.pool().lookup(directory, name).await?;
        self.pool().forget(attributes.ino, 1);
        Ok(attributes)
    }
}

impl std::fmt::Debug for Vfs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vfs").field("session", &self.session).finish_non_exhaustive()
    }
}
