//! A pool in memory that can lose its power, and short ways to use it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::log::MemoryLog;
use offshoot_engine::object::{DistantStore, FaultStore, MemoryStore, ObjectStore, PowerSwitch};
use offshoot_engine::{
    Attributes, Clock, CloneOptions, DirectoryItem, Encryption, ErrorKind, Ino, Kind, OpenMode, PasswordCost,
    Pool, Result, Secret, Settings, Storage, Timestamp,
};
pub use sim::model::new;
pub use sim::random::{Chance, Random};

/// Storage that outlives its pool.
pub struct World {
    pub objects: Arc<FaultStore<MemoryStore>>,
    pub log: Arc<MemoryLog>,
    pub power: PowerSwitch,
    pub clock: Arc<StepClock>,
    pub settings: Settings,
    /// Pools take the store for one at a distance.
    pub remote: bool,
}

impl World {
    pub fn new() -> Self {
        let settings = Settings { reserve_bytes: 0, segment_bytes: 1 << 20, ..Settings::default() };
        Self::with(settings)
    }

    pub fn with(settings: Settings) -> Self {
        let power = PowerSwitch::new();
        Self {
            objects: Arc::new(FaultStore::with_power(MemoryStore::new(), power.clone())),
            log: Arc::new(MemoryLog::with_power(power.clone())),
            power,
            clock: Arc::default(),
            settings,
            remote: false,
        }
    }

    pub fn storage(&self) -> Storage {
        let objects: Arc<dyn ObjectStore> = if self.remote {
            Arc::new(DistantStore::new(self.objects.clone(), self.clock.clone(), Duration::ZERO))
        } else {
            self.objects.clone()
        };
        Storage { objects, log: self.log.clone() }
    }

    pub fn try_open(&self) -> Result<Pool> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        block_on(Pool::open(self.storage(), clock, self.settings.clone(), OpenMode::CreateIfMissing))
    }

    pub fn open(&self) -> Pool {
        self.try_open().unwrap()
    }

    /// Opens what is damaged without what is lost.
    pub fn open_with_loss(&mut self) -> Pool {
        self.settings.accept_loss = true;
        let pool = self.open();
        self.settings.accept_loss = false;
        pool
    }

    /// Loses an object for good.
    pub fn lose_object(&self, name: &str) {
        block_on(self.objects.delete(name)).unwrap();
    }

    /// Bytes of an object.
    pub fn object(&self, name: &str) -> Vec<u8> {
        block_on(self.objects.get(name, 0, u64::MAX)).unwrap().to_vec()
    }

    /// Puts other bytes in the place of an object.
    pub fn replace_object(&self, name: &str, bytes: Vec<u8>) {
        block_on(self.objects.delete(name)).unwrap();
        block_on(self.objects.put(name, vec![bytes.into()])).unwrap();
    }

    /// Names of all objects below a prefix.
    pub fn object_names(&self, prefix: &str) -> Vec<String> {
        block_on(self.objects.list(prefix)).unwrap().into_iter().map(|object| object.name).collect()
    }

    /// Makes the pool's name hashes known, and equal for many names if `mask` has few bits. Only for a pool that has never
    /// been opened.
    pub fn set_hash(&self, key: u64, mask: u64) {
        drop(self.open());
        for name in self.object_names("manifests/") {
            let mut bytes = self.object(&name);
            // Two words of the key and the mask, behind magic, version, number, epoch and identity.
            for (place, word) in [(44, key), (52, !key), (60, mask)] {
                bytes[place..place + 8].copy_from_slice(&word.to_le_bytes());
            }
            reseal(&mut bytes);
            self.replace_object(&name, bytes);
        }
    }
}

/// Encryption that costs little and has its numbers from a seed.
pub fn cheap_encryption(password: &str, seed: u64) -> Encryption {
    Encryption {
        secret: Secret::password(password).unwrap(),
        cost: PasswordCost { memory_kib: 8, passes: 1, lanes: 1 },
        random: offshoot_engine::Random::seeded(seed),
    }
}

/// Gives a manifest or table that was changed the checksum that fits.
pub fn reseal(bytes: &mut [u8]) {
    let end = bytes.len() - 4;
    let checksum = crc32c::crc32c(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&checksum);
}

/// A clock that only moves when it is told to.
pub struct StepClock(AtomicU64);

impl Default for StepClock {
    fn default() -> Self {
        Self(AtomicU64::new(1_000_000))
    }
}

impl StepClock {
    /// Moves on by a second.
    pub fn step(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        Timestamp { secs: self.0.load(Ordering::SeqCst) as i64, nanos: 5 }
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(futures_timer::Delay::new(duration))
    }
}

pub fn create(pool: &Pool, parent: Ino, name: &str, kind: Kind) -> Ino {
    block_on(pool.create(parent, name.as_bytes(), new(kind))).unwrap().ino
}

pub fn clone(pool: &Pool, source: Ino, parent: Ino, name: &str) -> Attributes {
    block_on(pool.clone_inode(source, parent, name.as_bytes(), CloneOptions::default())).unwrap()
}

pub fn write(pool: &Pool, ino: Ino, offset: u64, data: &[u8]) {
    block_on(pool.write(ino, offset, Bytes::copy_from_slice(data), false)).unwrap();
}

pub fn read(pool: &Pool, ino: Ino) -> Vec<u8> {
    let mut data = Vec::new();
    block_on(pool.read(ino, 0, 1 << 30, &mut data)).unwrap();
    data
}

/// A new file with content at a path whose directory exists.
pub fn file(pool: &Pool, path: &str, data: &[u8]) -> Ino {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let ino = create(pool, at(pool, parent), name, Kind::File);
    write(pool, ino, 0, data);
    ino
}

/// The inode at a path below the root.
pub fn at(pool: &Pool, path: &str) -> Ino {
    path.split('/').filter(|name| !name.is_empty()).fold(Ino::ROOT, |parent, name| {
        block_on(pool.lookup(parent, name.as_bytes())).unwrap_or_else(|error| panic!("{path}: {error:?}")).ino
    })
}

/// All entries of a directory.
pub fn list(pool: &Pool, directory: Ino) -> Vec<DirectoryItem> {
    let mut all: Vec<DirectoryItem> = Vec::new();
    loop {
        let cookie = all.last().map_or(0, |item| item.cookie);
        let more = block_on(pool.read_dir(directory, cookie, 1000, false)).unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// The kind of error that a call answers; a success is none.
pub fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}
