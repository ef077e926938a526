//! Objects in memory, for tests and for pools that need not outlive the process.
//!
//! A put is durable in the sense of the seam: it survives a simulated power cut. The capacity, if one is set, counts the
//! bytes of the objects and nothing else.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

use super::{ObjectInfo, ObjectStore, Space, name};
use crate::{Error, ErrorKind, Result};

/// An [`ObjectStore`] in memory.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    used: u64,
    capacity: Option<u64>,
}

impl MemoryStore {
    /// An empty store without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits what the store takes, in bytes; `None` is no limit. What is stored already stays.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.state.lock().capacity = capacity_bytes;
    }

    /// Bytes of all objects.
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        name::check(name)?;
        let length: usize = parts.iter().map(Bytes::len).sum();
        // Copied, also if it is one part: that may be a small view into a large buffer.
        let mut whole = BytesMut::with_capacity(length);
        for part in &parts {
            whole.extend_from_slice(part);
        }
        let mut state = self.state.lock();
        if state.objects.contains_key(name) {
            return Err(Error::new(ErrorKind::Exists, format!("there is an object {name} already")));
        }
        let used = state.used + length as u64;
        if let Some(capacity) = state.capacity
            && used > capacity
        {
            return Err(Error::new(
                ErrorKind::NoSpace,
                format!(
                    "object {name} of {length} bytes does not fit: {} of {capacity} bytes are used",
                    state.used
                ),
            ));
        }
        state.used = used;
        state.objects.insert(name.to_owned(), whole.freeze());
        Ok(())
    }

    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes> {
        let object = self.object(name)?;
        let start = offset.min(object.len() as u64);
        let end = start + length.min(object.len() as u64 - start);
        Ok(object.slice(start as usize..end as usize))
    }

    async fn size(&self, name: &str) -> Result<u64> {
        Ok(self.object(name)?.len() as u64)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        name::check_prefix(prefix)?;
        let state = self.state.lock();
        Ok(state
            .objects
            .range(prefix.to_owned()..)
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(name, object)| ObjectInfo { name: name.clone(), size: object.len() as u64 })
            .collect())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        name::check(name)?;
        let mut state = self.state.lock();
        if let Some(object) = state.objects.remove(name) {
            state.used -= object.len() as u64;
        }
        Ok(())
    }

    async fn space(&self) -> Result<Option<Space>> {
        let state = self.state.lock();
        Ok(state.capacity.map(|total| Space { total, free: total.saturating_sub(state.used) }))
    }
}

impl MemoryStore {
    fn object(&self, name: &str) -> Result<Bytes> {
        name::check(name)?;
        self.state
            .lock()
            .objects
            .get(name)
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no object {name}")))
    }
}
