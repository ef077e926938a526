//! The store of a fork: its own objects, and those that it shares with its parent.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sync::RwLock;
use async_trait::async_trait;
use bytes::Bytes;

use super::{PARENT, Parent};
use crate::object::{ObjectInfo, ObjectStore, Space};
use crate::{ErrorKind, Result};

/// Names of shared objects that the fork has deleted, for itself alone.
const DELETED_PREFIX: &str = "deleted/";

/// An [`ObjectStore`] in which objects of the parent stand beside the fork's own. What is put goes to the fork; what is deleted of the
/// parent's is only gone for the fork.
pub struct ForkStore {
    own: Arc<dyn ObjectStore>,
    parent: Arc<dyn ObjectStore>,
    /// Sizes in bytes of shared objects that the fork has not deleted, by name.
    shared: RwLock<BTreeMap<String, u64>>,
}

impl ForkStore {
    /// The fork in `own`, whose [`super::parent_of`] is `known`, over the store of its parent.
    ///
    /// # Errors
    /// `Store`.
    pub async fn open(
        own: Arc<dyn ObjectStore>,
        parent: Arc<dyn ObjectStore>,
        known: Parent,
    ) -> Result<Self> {
        let mut shared: BTreeMap<String, u64> =
            known.objects.into_iter().map(|object| (object.name, object.size)).collect();
        for object in own.list(DELETED_PREFIX).await? {
            shared.remove(&object.name[DELETED_PREFIX.len()..]);
        }
        Ok(Self { own, parent, shared: RwLock::new(shared) })
    }

    /// Where an object is.
    fn place(&self, name: &str) -> &dyn ObjectStore {
        if self.shared.read().contains_key(name) { &*self.parent } else { &*self.own }
    }
}

#[async_trait]
impl ObjectStore for ForkStore {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        if self.shared.read().contains_key(name) {
            return Err(ErrorKind::Exists.into());
        }
        self.own.put(name, parts).await
    }

    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes> {
        self.place(name).get(name, offset, length).await
    }

    async fn size(&self, name: &str) -> Result<u64> {
        let known = self.shared.read().get(name).copied();
        match known {
            Some(size) => Ok(size),
            None => self.own.size(name).await,
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let mut all = self.own.list(prefix).await?;
        all.retain(|object| object.name != PARENT && !object.name.starts_with(DELETED_PREFIX));
        let shared = self.shared.read();
        let from = shared.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        all.extend(from.map(|(name, size)| ObjectInfo { name: name.clone(), size: *size }));
        drop(shared);
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    async fn delete(&self, name: &str) -> Result<()> {
        if !self.shared.read().contains_key(name) {
            return self.own.delete(name).await;
        }
        match self.own.put(&format!("{DELETED_PREFIX}{name}"), Vec::new()).await {
            Err(error) if error.kind() != ErrorKind::Exists => return Err(error),
            _ => {}
        }
        self.shared.write().remove(name);
        Ok(())
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.own.space().await
    }

    fn is_remote(&self) -> bool {
        self.own.is_remote() || self.parent.is_remote()
    }
}
