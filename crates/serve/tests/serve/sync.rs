//! What `sync` and its relatives reach through a mount.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use offshoot_engine::log::ObjectLog;
use offshoot_engine::object::{MemoryStore, ObjectInfo, ObjectStore, Space};
use offshoot_engine::{Result, Storage};

use crate::world::World;

/// How long a request takes.
const ROUND_TRIP: Duration = Duration::from_millis(30);
const PROGRAMS: usize = 100;

fn syncs(world: &World) -> u64 {
    world.vfs.pool().metrics().syncs.get()
}

#[test]
fn each_sync_of_a_file_or_directory_reaches_the_pool() {
    let world = World::new();
    let mut file = File::create(world.path("f")).unwrap();
    for round in 0..3 {
        file.write_all(b"x").unwrap();
        let before = syncs(&world);
        match round {
            0 => file.sync_all().unwrap(),
            1 => file.sync_data().unwrap(),
            _ => File::open(world.mount_point()).unwrap().sync_all().unwrap(),
        }
        assert!(syncs(&world) > before, "round {round}");
    }
}

/// Linux 6.18 does not send it to the server of such a mount; one that does is served. Either way it is answered.
#[test]
fn syncing_the_file_system_is_answered() {
    let world = World::new();
    let file = File::create(world.path("f")).unwrap();
    let before = syncs(&world);
    rustix::fs::syncfs(&file).unwrap();
    assert!(syncs(&world) <= before + 1);
}

/// A store at a distance, which can hold puts back.
#[derive(Default)]
struct Distant {
    objects: MemoryStore,
    held: AtomicBool,
    puts: AtomicUsize,
}

#[async_trait]
impl ObjectStore for Distant {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        self.puts.fetch_add(1, Ordering::SeqCst);
        futures_timer::Delay::new(ROUND_TRIP).await;
        while self.held.load(Ordering::SeqCst) {
            futures_timer::Delay::new(Duration::from_millis(1)).await;
        }
        self.objects.put(name, parts).await
    }

    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes> {
        self.objects.get(name, offset, length).await
    }

    async fn size(&self, name: &str) -> Result<u64> {
        self.objects.size(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.objects.list(prefix).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.objects.delete(name).await
    }

    async fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }
}

/// Each took a thread of the mount for a round trip, so that a hundred took fifty of them with two threads. A write that is to be
/// durable still did.
#[test]
fn many_who_wait_for_a_store_at_a_distance_share_two_round_trips() {
    for flags in [0, libc::O_DSYNC] {
        let objects = Arc::new(Distant::default());
        let log = Arc::new(ObjectLog::new(objects.clone(), 1));
        let world = World::on(Storage { objects: objects.clone(), log }, 2);
        let files: Vec<File> = (0..PROGRAMS)
            .map(|number| {
                let mut options = File::options();
                options
                    .create(true)
                    .write(true)
                    .custom_flags(flags)
                    .open(world.path(&format!("f{number}")))
                    .unwrap()
            })
            .collect();
        files[0].sync_all().unwrap();
        let before = syncs(&world);
        objects.held.store(true, Ordering::SeqCst);
        objects.puts.store(0, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for mut file in &files {
                scope.spawn(move || {
                    file.write_all(b"x").unwrap();
                    file.sync_data().unwrap();
                });
            }
            // The first is on its way, and all others have asked behind it.
            let started = Instant::now();
            while syncs(&world) < before + PROGRAMS as u64 {
                assert!(
                    started.elapsed() < Duration::from_secs(20),
                    "only {} have asked",
                    syncs(&world) - before
                );
                // The mount serves others meanwhile.
                std::fs::metadata(world.path("f0")).unwrap();
            }
            objects.held.store(false, Ordering::SeqCst);
        });
        let puts = objects.puts.load(Ordering::SeqCst);
        // One more if the background wrote the log meanwhile.
        assert!((2..=3).contains(&puts), "{puts} puts with flags {flags:o}");
    }
}
