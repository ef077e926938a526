//! The engine in this process, without a kernel or a socket in between.

pub(super) mod clones;
pub(super) mod cpu;
pub(super) mod defragment;
pub(super) mod encryption;
pub(super) mod reads;
pub(super) mod space;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::log::{FileLog, LogStore, MemoryLog};
use offshoot_engine::object::{LocalStore, MemoryStore, ObjectStore};
use offshoot_engine::{Ino, Kind, NewInode, OpenMode, Pool, Settings, Storage, SystemClock};

use crate::place::Place;

/// The engine walks trees recursively in the background.
const STACK_BYTES: usize = 1 << 30;
const FILES_PER_DIRECTORY: u64 = 1000;
const LOG_BYTES: u64 = 64 << 20;

/// A new pool with its background thread.
struct Engine {
    pool: Pool,
    background: JoinHandle<()>,
}

impl Engine {
    /// On a local disk.
    fn on_disk(place: &Place) -> Result<Self> {
        Self::on_disk_with(place, Settings::default())
    }

    fn on_disk_with(place: &Place, settings: Settings) -> Result<Self> {
        let objects = Arc::new(LocalStore::open(place.join("objects"))?);
        Self::open(objects, Arc::new(FileLog::open(place.join("log"), LOG_BYTES)?), settings)
    }

    /// In memory.
    fn in_memory() -> Result<Self> {
        Self::open(Arc::new(MemoryStore::new()), Arc::new(MemoryLog::new()), Settings::default())
    }

    fn open(objects: Arc<dyn ObjectStore>, log: Arc<dyn LogStore>, settings: Settings) -> Result<Self> {
        let storage = Storage { objects, log };
        let clock = Arc::new(SystemClock::default());
        let pool = block_on(Pool::open(storage, clock, settings, OpenMode::Create))?;
        let worker = pool.clone();
        let background = std::thread::Builder::new()
            .name("background".into())
            .stack_size(STACK_BYTES)
            .spawn(move || block_on(worker.background()))?;
        Ok(Self { pool, background })
    }

    /// Closes the pool; an error here would make the figures worthless.
    fn close(self) -> Result<()> {
        block_on(self.pool.close())?;
        self.background.join().map_err(|_| anyhow!("the background thread panicked"))
    }
}

fn new_inode(kind: Kind) -> NewInode {
    NewInode { kind, mode: 0o755, uid: 0, gid: 0, rdev: 0, target: Bytes::new(), xattrs: Vec::new() }
}

async fn create(pool: &Pool, parent: Ino, name: &str, kind: Kind) -> Result<Ino> {
    let made = pool.create(parent, name.as_bytes(), new_inode(kind)).await;
    Ok(made.with_context(|| format!("cannot make {name}"))?.ino)
}

/// Makes `count` files with `content` in directories of a thousand below a new directory, and returns that; it stays known.
async fn create_tree(pool: &Pool, name: &str, count: u64, content: &Bytes) -> Result<Ino> {
    let tree = create(pool, Ino::ROOT, name, Kind::Directory).await?;
    for directory in 0..count.div_ceil(FILES_PER_DIRECTORY) {
        let parent = create(pool, tree, &format!("d{directory}"), Kind::Directory).await?;
        for number in 0..FILES_PER_DIRECTORY.min(count - directory * FILES_PER_DIRECTORY) {
            let file = create(pool, parent, &format!("f{number}"), Kind::File).await?;
            if !content.is_empty() {
                pool.write(file, 0, content.clone(), false).await?;
            }
            pool.forget(file, 1);
        }
        pool.forget(parent, 1);
    }
    Ok(tree)
}

/// Clones to a new name in `parent` and forgets the clone.
async fn clone(pool: &Pool, source: Ino, parent: Ino, name: &str) -> Result<()> {
    let made = pool.clone_inode(source, parent, name.as_bytes(), Default::default()).await?;
    pool.forget(made.ino, 1);
    Ok(())
}

/// CPU time of all threads of this process so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
