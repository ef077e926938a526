//! Objects in memory, for tests and for pools that need not outlive the process.
//!
//! A put is durable in the sense of the seam: it survives a simulated power cut. The capacity, if one is set, counts the
//! bytes of the objects and nothing else.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{ObjectInfo, ObjectStore, Space, name};
use crate::sync::Mutex;
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

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    fn put(store: &MemoryStore, name: &str, length: usize) -> Result<()> {
        block_on(
            store
                .put(name, vec![Bytes::from(vec![1; length / 2]), Bytes::from(vec![2; length - length / 2])]),
        )
    }

    #[test]
    fn objects_are_written_once_and_read_in_ranges() {
        let store = MemoryStore::new();
        put(&store, "a/b", 4).unwrap();
        assert_eq!(put(&store, "a/b", 0).unwrap_err().kind(), ErrorKind::Exists);
        assert_eq!(block_on(store.get("a/b", 1, 2)).unwrap(), [1, 2][..]);
        assert_eq!(block_on(store.get("a/b", 3, u64::MAX)).unwrap(), [2][..]);
        assert_eq!(block_on(store.get("a/b", u64::MAX, u64::MAX)).unwrap(), [][..]);
        assert_eq!(block_on(store.size("a/b")).unwrap(), 4);
        assert_eq!(block_on(store.get("a", 0, 1)).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(block_on(store.size("a")).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(put(&store, "../a", 0).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn list_is_sorted_and_filtered() {
        let store = MemoryStore::new();
        for name in ["b", "a/1", "a.1", "ab", "a/0"] {
            put(&store, name, name.len()).unwrap();
        }
        let names = |prefix: &str| -> Vec<String> {
            block_on(store.list(prefix)).unwrap().into_iter().map(|o| o.name).collect()
        };
        assert_eq!(names(""), ["a.1", "a/0", "a/1", "ab", "b"]);
        assert_eq!(names("a/"), ["a/0", "a/1"]);
        assert_eq!(names("c"), Vec::<String>::new());
        assert_eq!(block_on(store.list("b")).unwrap(), [ObjectInfo { name: "b".into(), size: 1 }]);
    }

    #[test]
    fn a_capacity_is_kept_and_deleting_makes_room() {
        let store = MemoryStore::new();
        assert_eq!(block_on(store.space()).unwrap(), None);
        store.set_capacity(Some(100));
        put(&store, "a", 60).unwrap();
        assert_eq!(put(&store, "b", 41).unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(put(&store, "a", 41).unwrap_err().kind(), ErrorKind::Exists);
        assert_eq!(store.used_bytes(), 60);
        put(&store, "b", 40).unwrap();
        assert_eq!(block_on(store.space()).unwrap(), Some(Space { total: 100, free: 0 }));
        block_on(store.delete("a")).unwrap();
        block_on(store.delete("a")).unwrap();
        assert_eq!(block_on(store.space()).unwrap(), Some(Space { total: 100, free: 60 }));
        store.set_capacity(Some(10));
        assert_eq!(block_on(store.space()).unwrap(), Some(Space { total: 10, free: 0 }));
        assert_eq!(block_on(store.size("b")).unwrap(), 40);
    }
}
