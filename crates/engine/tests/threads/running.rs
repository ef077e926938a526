//! Real threads on one pool: all that it can do at the same time, and then everything checked. `cargo xtask races` runs it for
//! minutes under ThreadSanitizer; here it runs for as long as it takes to meet everything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::log::{FileLog, LogStore, MemoryLog};
use offshoot_engine::object::{LocalStore, MemoryStore, ObjectStore};
use offshoot_engine::{
    AllocateMode, CloneOptions, ErrorKind, Ino, Kind, OpenMode, Pool, RenameMode, Result, SetAttributes,
    Settings, Storage, SystemClock, Unchanged, XattrMode,
};

use crate::{fresh_seed, new};
use fastrand::Rng;

const THREADS: u64 = 6;
/// Directories that all threads share, and names in each.
const DIRECTORIES: u64 = 3;
const NAMES: u64 = 12;
/// Small, so that writers wait for memory and readers for the store.
const MEMORY_BYTES: u64 = 6 << 20;
const FILE_BYTES: u64 = 1 << 20;

fn time() -> Duration {
    let set = std::env::var("OFFSHOOT_THREADS_SECONDS").ok().and_then(|value| value.parse().ok());
    Duration::from_secs_f64(set.unwrap_or(1.0))
}

#[test]
fn threads_on_a_pool_in_memory() {
    run(Storage { objects: Arc::new(MemoryStore::new()), log: Arc::new(MemoryLog::new()) });
}

#[test]
fn threads_on_a_pool_on_a_disk() {
    let place = tempfile::tempdir().unwrap();
    let objects: Arc<dyn ObjectStore> = Arc::new(LocalStore::open(place.path().join("objects")).unwrap());
    let log: Arc<dyn LogStore> = Arc::new(FileLog::open(place.path().join("log"), 1 << 20).unwrap());
    run(Storage { objects, log });
}

fn run(storage: Storage) {
    let settings = Settings {
        memory_bytes: MEMORY_BYTES,
        reserve_bytes: 0,
        segment_bytes: 1 << 20,
        flush_interval: Duration::from_millis(5),
        checkpoint_interval: Duration::from_millis(20),
        realm_ids: 64,
        ..Settings::default()
    };
    let clock = Arc::new(SystemClock::default());
    let open = |mode| block_on(Pool::open(storage.clone(), clock.clone(), settings.clone(), mode)).unwrap();
    let pool = open(OpenMode::Create);
    for n in 0..DIRECTORIES {
        block_on(pool.create(Ino::ROOT, directory(n).as_bytes(), new(Kind::Directory))).unwrap();
    }
    let seed = fresh_seed();
    println!("seed {seed}");
    let end = Instant::now() + time();
    std::thread::scope(|scope| {
        let flusher = scope.spawn(|| block_on(pool.flush_in_background()));
        let checkpointer = scope.spawn(|| block_on(pool.checkpoint_in_background()));
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                let pool = &pool;
                scope.spawn(move || {
                    let mut one = One { pool, random: Rng::with_seed(seed ^ n), held: Vec::new() };
                    while Instant::now() < end {
                        one.step();
                    }
                    one.end();
                })
            })
            .collect();
        let keeper = scope.spawn(|| keep(&pool, end));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        keeper.join().unwrap();
        assert_sound(&pool);
        block_on(pool.close()).unwrap();
        flusher.join().unwrap();
        checkpointer.join().unwrap();
    });
    drop(pool);
    assert_sound(&open(OpenMode::Existing));
}

/// What a control plane does all the time.
fn keep(pool: &Pool, end: Instant) {
    while Instant::now() < end {
        block_on(async {
            pool.status().await;
            pool.checkpoint().await.unwrap();
            pool.usage(Ino::ROOT).await.unwrap();
            pool.gc().await.unwrap();
            pool.check().await.unwrap();
            drop(pool.repair(true).await.unwrap());
        });
    }
}

fn assert_sound(pool: &Pool) {
    block_on(pool.checkpoint()).unwrap();
    let report = block_on(pool.scrub()).unwrap();
    assert_eq!(report.findings_total, 0, "{:?}", report.findings);
}

fn directory(n: u64) -> String {
    format!("d{n}")
}

/// What one thread has open.
struct One<'a> {
    pool: &'a Pool,
    random: Rng,
    held: Vec<Ino>,
}

impl One<'_> {
    fn step(&mut self) {
        match block_on(self.act()) {
            Ok(()) => {}
            // Others take names away and put others there, and clones can be too many.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound
                        | ErrorKind::Exists
                        | ErrorKind::Stale
                        | ErrorKind::IsDirectory
                        | ErrorKind::NotDirectory
                        | ErrorKind::NotEmpty
                        | ErrorKind::CrossRealm
                        | ErrorKind::Invalid
                        | ErrorKind::NoAttribute
                        | ErrorKind::NoSpace
                ) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    fn below(&mut self, max: u64) -> u64 {
        self.random.u64(..max)
    }

    async fn act(&mut self) -> Result<()> {
        let pool = self.pool;
        let d = directory(self.below(DIRECTORIES));
        let parent = pool.lookup(Ino::ROOT, d.as_bytes()).await?.ino;
        let name = format!("n{}", self.below(NAMES));
        let done = self.act_in(parent, name.as_bytes()).await;
        pool.forget(parent, 1);
        done
    }

    async fn act_in(&mut self, parent: Ino, name: &[u8]) -> Result<()> {
        let pool = self.pool;
        let act = self.below(24);
        match act {
            0 | 1 => {
                let made = pool.create(parent, name, new(Kind::File)).await?;
                pool.forget(made.ino, 1);
            }
            2 => {
                let made = pool.create(parent, name, new(Kind::Directory)).await?;
                let below = pool.create(made.ino, b"below", new(Kind::File)).await;
                pool.forget(made.ino, 1);
                pool.forget(below?.ino, 1);
            }
            3 => pool.unlink(parent, name).await?,
            4 => pool.remove_tree(parent, name).await?,
            5 => {
                let other = format!("n{}", self.below(NAMES));
                pool.rename(parent, name, parent, other.as_bytes(), RenameMode::Replace).await?;
            }
            6 => {
                let other = format!("n{}", self.below(NAMES));
                pool.rename(parent, name, parent, other.as_bytes(), RenameMode::Exchange).await?;
            }
            7 => pool.sync().await?,
            _ => {
                let found = pool.lookup(parent, name).await?;
                let done = self.act_on(act, parent, found.ino, name).await;
                pool.forget(found.ino, 1);
                done?;
            }
        }
        Ok(())
    }

    async fn act_on(&mut self, act: u64, parent: Ino, ino: Ino, name: &[u8]) -> Result<()> {
        let pool = self.pool;
        let offset = self.below(FILE_BYTES);
        match act {
            8..=10 => {
                let length = if self.below(8) == 0 { 100_000 } else { self.below(5_000) as usize };
                pool.write(ino, offset, Bytes::from(vec![b'w'; length]), true).await?;
            }
            11..=13 => {
                let mut content = Vec::new();
                pool.read(ino, offset, 1 << 17, &mut content).await?;
                assert!(content.iter().all(|byte| [0, b'w'].contains(byte)));
            }
            14 => {
                let options = CloneOptions { replace: self.below(2) == 0, ..CloneOptions::default() };
                let to = format!("n{}", self.below(NAMES));
                let made = pool.clone_inode(ino, parent, to.as_bytes(), options).await?;
                pool.forget(made.ino, 1);
            }
            15 => {
                let to = format!("n{}", self.below(NAMES));
                let made = pool.link(ino, parent, to.as_bytes()).await?;
                pool.forget(made.ino, 1);
            }
            16 => {
                pool.clone_range(ino, 0, ino, FILE_BYTES, self.below(FILE_BYTES)).await?;
            }
            17 => {
                pool.allocate(ino, offset, 10_000, AllocateMode::PunchHole).await?;
            }
            18 => {
                let before = pool.attributes(ino).await?;
                let mode = Some(before.mode ^ 1);
                let unchanged = Unchanged { mode: Some(before.mode), ..Unchanged::default() };
                pool.set_attributes_if(ino, SetAttributes { mode, ..SetAttributes::default() }, unchanged)
                    .await?;
            }
            19 => {
                let size = Some(offset);
                pool.set_attributes(ino, SetAttributes { size, ..SetAttributes::default() }).await?;
            }
            20 => {
                let value = vec![b'x'; self.below(3_000) as usize];
                pool.set_xattr(ino, b"user.x", &value, XattrMode::Set, None).await?;
                pool.xattrs(ino).await?;
            }
            21 => {
                pool.hold(ino)?;
                self.held.push(ino);
                pool.unlink(parent, name).await?;
            }
            22 => {
                if let Some(held) = self.held.pop() {
                    pool.attributes(held).await?;
                    pool.release(held).await?;
                }
            }
            _ => {
                pool.defragment(ino).await?;
            }
        }
        Ok(())
    }

    fn end(self) {
        for ino in self.held {
            block_on(self.pool.release(ino)).unwrap();
        }
    }
}
