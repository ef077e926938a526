//! Objects over a base that many cases share, with everything that was asked for and everything that ever was.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use offshoot_engine::log::{BlockingLog, MemoryLog};
use offshoot_engine::object::{ObjectInfo, ObjectStore, Space};
use offshoot_engine::{Error, ErrorKind, Result};
use parking_lot::Mutex;

/// What a pool lies on: objects and log files.
#[derive(Clone, Default)]
pub struct Image {
    pub objects: BTreeMap<String, Bytes>,
    pub log: BTreeMap<u64, Bytes>,
}

/// A store that begins with the objects of an image.
#[derive(Default)]
pub struct Overlay {
    objects: Mutex<BTreeMap<String, Bytes>>,
    asked: Mutex<Vec<(String, Range<u64>)>>,
    /// All that was ever put.
    history: Mutex<BTreeMap<String, Bytes>>,
}

impl Overlay {
    pub fn of(image: &Image) -> Arc<Self> {
        Arc::new(Self { objects: Mutex::new(image.objects.clone()), ..Self::default() })
    }

    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.objects.lock().clone()
    }

    pub fn history(&self) -> BTreeMap<String, Bytes> {
        self.history.lock().clone()
    }

    /// What was read, by object.
    pub fn asked(&self) -> BTreeMap<String, BTreeSet<(u64, u64)>> {
        let mut found: BTreeMap<String, BTreeSet<(u64, u64)>> = BTreeMap::new();
        for (name, range) in &*self.asked.lock() {
            found.entry(name.clone()).or_default().insert((range.start, range.end));
        }
        found
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no object {name}"))
}

#[async_trait]
impl ObjectStore for Overlay {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        let mut whole = BytesMut::new();
        parts.iter().for_each(|part| whole.extend_from_slice(part));
        let mut objects = self.objects.lock();
        if objects.contains_key(name) {
            return Err(Error::new(ErrorKind::Exists, format!("there is an object {name} already")));
        }
        let whole = whole.freeze();
        objects.insert(name.to_owned(), whole.clone());
        self.history.lock().insert(name.to_owned(), whole);
        Ok(())
    }

    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes> {
        let objects = self.objects.lock();
        let object = objects.get(name).ok_or_else(|| missing(name))?;
        let start = offset.min(object.len() as u64);
        let end = offset.saturating_add(length).min(object.len() as u64).max(start);
        self.asked.lock().push((name.to_owned(), start..end));
        Ok(object.slice(start as usize..end as usize))
    }

    async fn size(&self, name: &str) -> Result<u64> {
        self.objects.lock().get(name).map(|object| object.len() as u64).ok_or_else(|| missing(name))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let objects = self.objects.lock();
        let listed = objects.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        Ok(listed
            .map(|(name, object)| ObjectInfo { name: name.clone(), size: object.len() as u64 })
            .collect())
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.objects.lock().remove(name);
        Ok(())
    }

    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }
}

/// A log with the files of an image.
pub fn log_of(files: &BTreeMap<u64, Bytes>) -> Arc<MemoryLog> {
    let log = MemoryLog::new();
    for (number, bytes) in files {
        log.create(*number).unwrap();
        log.append(*number, 0, std::slice::from_ref(bytes)).unwrap();
        log.sync(*number).unwrap();
    }
    Arc::new(log)
}

/// The files of a log.
pub fn files_of(log: &MemoryLog) -> BTreeMap<u64, Bytes> {
    log.list().unwrap().into_iter().map(|number| (number, log.read(number).unwrap())).collect()
}
