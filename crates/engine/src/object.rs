//! The one seam to storage: named immutable objects.
//!
//! An object is written once, whole, and never changed; names are relative paths of ASCII letters, digits, `-`,
//! `.` and `/`. Whatever [`ObjectStore::put`] has answered `Ok` survives a power cut. Implementations may block the calling
//! thread (the local directory does) or suspend (an object store does).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{ErrorKind, Result};

pub(crate) mod disk;
mod distant;
pub(crate) mod fault;
mod local;
mod memory;
mod name;

pub use distant::{DistantStore, Traffic};
pub use fault::{Call, Fault, FaultStore, PowerSwitch};
pub use local::LocalStore;
pub use memory::MemoryStore;

/// Size and name of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Name relative to the store's root.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
}

/// Free and total bytes of the medium; a bucket has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes of the medium.
    pub total: u64,
    /// Bytes that can still be written.
    pub free: u64,
}

/// Storage for immutable objects.
#[async_trait]
pub trait ObjectStore: Send + Sync + 'static {
    /// Stores an object under a name that has never been used. Durable when it answers.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Exists`] if the name is taken (nothing is changed), `NoSpace`, `Store`.
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()>;

    /// Reads `length` bytes from `offset`; an object that ends earlier gives fewer.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes>;

    /// The size of an object in bytes.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    async fn size(&self, name: &str) -> Result<u64>;

    /// All objects whose name starts with `prefix`, in ascending order of their names.
    ///
    /// # Errors
    /// `Store`.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>>;

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// `Store`.
    async fn delete(&self, name: &str) -> Result<()>;

    /// Space of the medium if it has a limit.
    ///
    /// # Errors
    /// `Store`.
    async fn space(&self) -> Result<Option<Space>>;

    /// Name, meaning and value of what the store itself counts, such as requests; in a stable order.
    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        Vec::new()
    }

    /// True if a call takes a round trip through a network. Then the pool has several calls under way at a time, reads what lies
    /// between and beside what it needs, and reads ahead.
    fn is_remote(&self) -> bool {
        false
    }
}

/// Stores an object that nobody else can be storing with the same bytes. A name that is taken by exactly these bytes is no error: a request that
/// seemed to have failed was carried out all the same, or the network has repeated it.
///
/// # Errors
/// As [`ObjectStore::put`]; `Exists` if the name is taken by other bytes.
pub(crate) async fn put_own(objects: &dyn ObjectStore, name: &str, bytes: Bytes) -> Result<()> {
    match objects.put(name, vec![bytes.clone()]).await {
        Err(error) if error.kind() == ErrorKind::Exists => {
            let there = objects.get(name, 0, bytes.len() as u64 + 1).await?;
            if there == bytes { Ok(()) } else { Err(error) }
        }
        answer => answer,
    }
}

/// Where copies of objects go that could not be read, or not be used.
const KEPT_PREFIX: &str = "damaged/";

/// Keeps a copy of an object aside, where nothing reads it. If there is one already, that one stays.
///
/// # Errors
/// `NoSpace`, `Store`.
pub(crate) async fn keep_copy(objects: &dyn ObjectStore, name: &str, bytes: Bytes) -> Result<()> {
    match objects.put(&format!("{KEPT_PREFIX}{name}"), vec![bytes]).await {
        Err(error) if error.kind() != ErrorKind::Exists => Err(error),
        _ => Ok(()),
    }
}

/// A shared store is a store, so that one can be kept in hand while a pool uses it.
#[async_trait]
impl<S: ObjectStore + ?Sized> ObjectStore for Arc<S> {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        (**self).put(name, parts).await
    }

    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes> {
        (**self).get(name, offset, length).await
    }

    async fn size(&self, name: &str) -> Result<u64> {
        (**self).size(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        (**self).list(prefix).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        (**self).delete(name).await
    }

    async fn space(&self) -> Result<Option<Space>> {
        (**self).space().await
    }

    fn counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        (**self).counters()
    }

    fn is_remote(&self) -> bool {
        (**self).is_remote()
    }
}
