//! A pool in memory with a clock that stands still until it is moved.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use offshoot_engine::log::MemoryLog;
use offshoot_engine::object::MemoryStore;
use offshoot_engine::{Attributes, Clock, Ino, Kind, OpenMode, Pool, Settings, Storage, Timestamp};
use offshoot_vfs::{Access, Caller, Code, Create, Error, Handle, Vfs, VfsSettings};
use parking_lot::Mutex;

pub(crate) const START_SECS: i64 = 1_000_000;

type Work = Box<dyn FnOnce() + Send>;

pub(crate) struct StillClock {
    now: Mutex<Timestamp>,
    work: Mutex<Option<Work>>,
}

impl StillClock {
    pub(crate) fn advance(&self, secs: i64) {
        self.now.lock().secs += secs;
    }

    /// Has `work` done by another thread within the next question for the time.
    pub(crate) fn at_next_look(&self, work: impl FnOnce() + Send + 'static) {
        *self.work.lock() = Some(Box::new(work));
    }
}

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        let work = self.work.lock().take();
        if let Some(work) = work {
            std::thread::spawn(work).join().unwrap();
        }
        *self.now.lock()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.now.lock().secs as u64)
    }

    /// No test runs the background work, so nobody sleeps.
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

pub(crate) struct World {
    pub(crate) vfs: Vfs,
    pub(crate) clock: Arc<StillClock>,
}

pub(crate) fn user(uid: u32) -> Caller {
    Caller { uid, gid: uid, groups: Vec::new(), privileged: false }
}

pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    result.expect_err("should be refused").code()
}

impl World {
    pub(crate) fn new() -> World {
        let now = Mutex::new(Timestamp { secs: START_SECS, nanos: 0 });
        let clock = Arc::new(StillClock { now, work: Mutex::default() });
        let storage = Storage { objects: Arc::new(MemoryStore::new()), log: Arc::new(MemoryLog::new()) };
        let opened = Pool::open(storage, clock.clone(), Settings::default(), OpenMode::Create);
        let pool = block_on(opened).unwrap();
        World { vfs: Vfs::new(pool, VfsSettings::default()), clock }
    }

    /// Makes something with exactly this mode.
    pub(crate) fn make(&self, caller: &Caller, parent: Ino, name: &str, kind: Kind, mode: u32) -> Attributes {
        block_on(self.vfs.create(caller, parent, name.as_bytes(), Create::new(kind, mode, 0))).unwrap()
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> Attributes {
        let made = self.make(&Caller::root(), Ino::ROOT, name, Kind::File, 0o644);
        let handle = self.open(made.ino, Access::WRITE);
        self.write(&handle, 0, content);
        block_on(self.vfs.close(&handle)).unwrap();
        self.stat(made.ino)
    }

    pub(crate) fn open(&self, ino: Ino, access: Access) -> Handle {
        block_on(self.vfs.open(&Caller::root(), ino, access)).unwrap()
    }

    pub(crate) fn write(&self, handle: &Handle, offset: u64, content: &str) {
        let data = bytes::Bytes::copy_from_slice(content.as_bytes());
        block_on(self.vfs.write(handle, offset, data, false)).unwrap();
    }

    pub(crate) fn read(&self, handle: &Handle) -> String {
        let pieces = block_on(self.vfs.read(handle, 0, 1 << 20)).unwrap();
        String::from_utf8(pieces.concat()).unwrap()
    }

    pub(crate) fn content(&self, path: &str) -> String {
        let found = block_on(self.vfs.resolve(path.as_bytes())).unwrap();
        self.read(&self.open(found.ino(), Access::READ))
    }

    pub(crate) fn stat(&self, ino: Ino) -> Attributes {
        block_on(self.vfs.attributes(ino)).unwrap()
    }
}
