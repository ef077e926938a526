//! A pool in memory that can lose its power.

use std::sync::Arc;

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::log::MemoryLog;
use offshoot_engine::object::MemoryStore;
use offshoot_engine::{Ino, Kind, NewInode, OpenMode, Pool, Settings, Storage, SystemClock};

/// Storage that outlives its pool.
pub struct World {
    pub objects: Arc<MemoryStore>,
    pub log: Arc<MemoryLog>,
    pub settings: Settings,
}

impl World {
    pub fn new() -> Self {
        let settings = Settings { reserve_bytes: 0, segment_bytes: 1 << 20, ..Settings::default() };
        Self { objects: Arc::new(MemoryStore::new()), log: Arc::new(MemoryLog::new()), settings }
    }

    pub fn open(&self) -> Pool {
        let storage = Storage { objects: self.objects.clone(), log: self.log.clone() };
        block_on(Pool::open(
            storage,
            Arc::new(SystemClock::default()),
            self.settings.clone(),
            OpenMode::CreateIfMissing,
        ))
        .unwrap()
    }
}

pub fn new(kind: Kind) -> NewInode {
    NewInode { kind, mode: 0o644, uid: 0, gid: 0, rdev: 0, target: Bytes::new(), xattrs: Vec::new() }
}

pub fn create(pool: &Pool, parent: Ino, name: &str, kind: Kind) -> Ino {
    block_on(pool.create(parent, name.as_bytes(), new(kind))).unwrap().ino
}

pub fn write(pool: &Pool, ino: Ino, offset: u64, data: &[u8]) {
    block_on(pool.write(ino, offset, Bytes::copy_from_slice(data), false)).unwrap();
}

pub fn read(pool: &Pool, ino: Ino) -> Vec<u8> {
    let mut data = Vec::new();
    block_on(pool.read(ino, 0, 1 << 30, &mut data)).unwrap();
    data
}

/// The inode at a path below the root.
pub fn at(pool: &Pool, path: &str) -> Ino {
    path.split('/').filter(|name| !name.is_empty()).fold(Ino::ROOT, |parent, name| {
        block_on(pool.lookup(parent, name.as_bytes())).unwrap_or_else(|error| panic!("{path}: {error:?}")).ino
    })
}
