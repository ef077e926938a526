//! How long changes wait while checkpoints run: in virtual time, with a store of a known speed.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::object::{FaultStore, MemoryStore, ObjectInfo, ObjectStore, Space};
use offshoot_engine::{
    Clock, Compression, Error, ErrorKind, Ino, Kind, OpenMode, Pool, Result, Settings, Storage,
};
use sim::clock::VirtualClock;

use crate::wire::poll;
use crate::world::{Chance, Random, World, create, file};

/// Bytes that the store takes in a millisecond.
const PUT_BYTES_EACH_MS: u64 = 8 << 10;
/// No change waits longer, and the little that it waits for others.
const WAIT_MAX: Duration = Duration::from_millis(320);

/// A store that takes its time, and can be away.
struct SlowStore {
    objects: Arc<FaultStore<MemoryStore>>,
    clock: VirtualClock,
    is_away: AtomicBool,
}

#[async_trait]
impl ObjectStore for SlowStore {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        self.clock.pause(Duration::from_millis(5 + bytes / PUT_BYTES_EACH_MS)).await;
        if self.is_away.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Store, "the store is away (simulated)"));
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
        self.objects.space().await
    }
}

/// A pool on such a store, and how long its operations took.
struct Stand {
    pool: Pool,
    clock: VirtualClock,
    store: Arc<SlowStore>,
}

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

impl Stand {
    fn new() -> Self {
        let settings = Settings {
            memory_bytes: 12 << 20,
            compression: Compression::None,
            defragment: false,
            ..World::new().settings
        };
        let world = World::with(settings.clone());
        let clock = VirtualClock::default();
        let store = Arc::new(SlowStore {
            objects: world.objects.clone(),
            clock: clock.clone(),
            is_away: AtomicBool::new(false),
        });
        let storage = Storage { objects: store.clone(), log: world.log.clone() };
        let opened = Cell::new(None);
        let open: Running<'_> = Box::pin(async {
            let made =
                Pool::open(storage, Arc::new(clock.clone()), settings, OpenMode::CreateIfMissing).await;
            opened.set(Some(made.unwrap()));
        });
        run(&clock, None, vec![open]);
        Self { pool: opened.take().unwrap(), clock, store }
    }

    /// Runs the background and some clients until these are done.
    fn run(&self, clients: Vec<Running<'_>>) {
        run(&self.clock, Some(Box::pin(self.pool.background())), clients);
    }

    /// The time now.
    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Writes at random places of a file until a time, and notes how long each write took.
    async fn write_until(&self, ino: Ino, bytes: usize, until: Duration, took: &RefCell<Vec<Duration>>) {
        let mut random = Random(ino.0);
        let data = Bytes::from(vec![7; bytes]);
        while self.now() < until {
            let offset = random.below(10_000) * 4096;
            let start = self.now();
            self.pool.write(ino, offset, data.clone(), false).await.unwrap();
            took.borrow_mut().push(self.now() - start);
            self.clock.pause(Duration::from_millis(1)).await;
        }
    }

    fn files(&self, count: usize) -> Vec<Ino> {
        (0..count).map(|n| create(&self.pool, Ino::ROOT, &format!("f{n}"), Kind::File)).collect()
    }
}

/// Polls all in turns, and lets time pass when none gets further.
fn run(clock: &VirtualClock, mut background: Option<Running<'_>>, mut clients: Vec<Running<'_>>) {
    loop {
        for _ in 0..3 {
            if let Some(background) = &mut background {
                assert!(poll(background).is_pending());
            }
            clients.retain_mut(|client| poll(client).is_pending());
        }
        if clients.is_empty() {
            return;
        }
        assert!(clock.advance_to_next(), "all wait for ever");
    }
}

/// Changes ran on until too much was dirty, and then all stood still until a checkpoint had ended, as long as that took.
#[test]
fn changes_wait_many_short_times_and_never_once_for_long() {
    let stand = Stand::new();
    let took = RefCell::default();
    let until = Duration::from_secs(3);
    let clients = stand
        .files(4)
        .into_iter()
        .map(|ino| -> Running<'_> { Box::pin(stand.write_until(ino, 4096, until, &took)) });
    stand.run(clients.collect());
    let took = took.into_inner();
    let longest = took.iter().max().unwrap();
    assert!(*longest <= WAIT_MAX, "one of {} waited {longest:?}", took.len());
    assert!(stand.pool.metrics().memory_delays.get() > 0, "none was slowed down");
    // What is slowed is as much as the store takes.
    let stored = stand.pool.metrics().segment_bytes.get();
    let most = PUT_BYTES_EACH_MS * until.as_millis() as u64;
    assert!(stored > most / 2, "{stored} bytes were stored of {most} that could have been");
}

/// Who writes much at once waits for it, and not who writes little.
#[test]
fn a_small_change_does_not_wait_behind_large_ones() {
    let stand = Stand::new();
    let (large, small) = (RefCell::default(), RefCell::default());
    let until = Duration::from_secs(3);
    let files = stand.files(4);
    let mut clients: Vec<Running<'_>> = Vec::new();
    for ino in &files[..3] {
        clients.push(Box::pin(stand.write_until(*ino, 256 << 10, until, &large)));
    }
    clients.push(Box::pin(stand.write_until(files[3], 512, until, &small)));
    stand.run(clients);
    let mean = |took: &RefCell<Vec<Duration>>| {
        let took = took.borrow();
        took.iter().sum::<Duration>() / took.len() as u32
    };
    let (large, small) = (mean(&large), mean(&small));
    assert!(small * 4 < large, "small ones waited {small:?}, large ones {large:?}");
}

/// With room for all of it, nobody is slowed down, whatever runs in the background.
#[test]
fn nobody_waits_while_there_is_room() {
    let stand = Stand::new();
    let took = RefCell::default();
    let ino = stand.files(1)[0];
    let client = async {
        for _ in 0..40 {
            let until = stand.now() + Duration::from_millis(20);
            stand.write_until(ino, 4096, until, &took).await;
            stand.pool.checkpoint().await.unwrap();
        }
    };
    stand.run(vec![Box::pin(client)]);
    assert!(took.borrow().iter().all(Duration::is_zero));
    assert_eq!(stand.pool.metrics().memory_delays.get(), 0);
}

/// A store that is away: changes go on until no more may be dirty, then wait as long as it is away, and lose nothing. A
/// removal does not wait.
#[test]
fn changes_wait_for_a_store_that_is_away_and_removals_do_not() {
    let stand = Stand::new();
    file(&stand.pool, "old", b"x");
    let files = stand.files(4);
    let done = Cell::new(0);
    stand.store.is_away.store(true, Ordering::Relaxed);
    let mut clients: Vec<Running<'_>> = Vec::new();
    for ino in &files {
        clients.push(Box::pin(async {
            for n in 0..400_u64 {
                let data = Bytes::from(vec![n as u8; 4096]);
                stand.pool.write(*ino, n * 40_960, data, false).await.unwrap();
                done.set(done.get() + 1);
                stand.clock.pause(Duration::from_millis(1)).await;
            }
        }));
    }
    clients.push(Box::pin(async {
        stand.clock.pause(Duration::from_secs(20)).await;
        let before = done.get();
        assert!(before < 1_600, "nobody waits for the store");
        let start = stand.now();
        stand.pool.unlink(Ino::ROOT, b"old").await.unwrap();
        assert_eq!(stand.now(), start, "the removal waited");
        stand.clock.pause(Duration::from_secs(5)).await;
        assert_eq!(done.get(), before, "changes went on beyond the bound");
        stand.store.is_away.store(false, Ordering::Relaxed);
    }));
    stand.run(clients);
    assert_eq!(done.get(), 1_600);
    let last = 399 * 40_960;
    for ino in files {
        let mut found = Vec::new();
        block_on(stand.pool.read(ino, last, 4096, &mut found)).unwrap();
        assert_eq!(found, vec![143; 4096]);
    }
}
