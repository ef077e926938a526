//! Running a scenario under many schedules.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use offshoot_engine::log::MemoryLog;
use offshoot_engine::object::{FaultStore, MemoryStore, PowerSwitch};
use offshoot_engine::{Attributes, Clock, Ino, Kind, OpenMode, Pool, Result, Settings, Storage, Timestamp};
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread::JoinHandle;
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::new;

/// Stack of a thread; what is deeper grows stacks of its own.
const STACK_BYTES: usize = 1 << 20;
/// Points of choice after which a schedule counts as one that never ends.
const STEPS_MAX: usize = 2_000_000;
/// Changes of priority that the half of the schedules with priorities has.
const PRIORITY_CHANGES: usize = 3;
/// Schedules of one seed with priorities; the first finds out how long they are.
const PRIORITY_SCHEDULES: u64 = 4;

/// Runs a scenario under fresh schedules for `OFFSHOOT_SCHEDULES_SECONDS` (2 if it is not set), or under that of
/// `OFFSHOOT_SCHEDULES_SEED` alone. Every other seed gives threads priorities, which finds what takes a thread that sleeps long.
pub(crate) fn explore(scenario: impl Fn() + Send + Sync + 'static) {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let scenario = Arc::new(scenario);
    if let Some(seed) = number("OFFSHOOT_SCHEDULES_SEED") {
        run(seed, &scenario);
        return;
    }
    let time = Duration::from_secs(number("OFFSHOOT_SCHEDULES_SECONDS").unwrap_or(2));
    let first = crate::fresh_seed();
    let start = Instant::now();
    let mut count = 0;
    for seed in first.. {
        count += run(seed, &scenario);
        if start.elapsed() > time {
            break;
        }
    }
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("{name}: {count} schedules in {:.1} s", start.elapsed().as_secs_f64());
}

/// Runs the schedules of one seed, and says how many there are.
fn run(seed: u64, scenario: &Arc<impl Fn() + Send + Sync + 'static>) -> u64 {
    let mut config = Config::new();
    config.stack_size = STACK_BYTES;
    config.max_steps = MaxSteps::FailAfter(STEPS_MAX);
    config.failure_persistence = FailurePersistence::None;
    config.silence_warnings = true;
    let scenario = scenario.clone();
    let done = catch_unwind(AssertUnwindSafe(|| {
        if seed.is_multiple_of(2) {
            Runner::new(RandomScheduler::new_from_seed(seed, 1), config).run(move || scenario());
            1
        } else {
            let scheduler = PctScheduler::new_from_seed(seed, PRIORITY_CHANGES, PRIORITY_SCHEDULES as usize);
            Runner::new(scheduler, config).run(move || scenario());
            PRIORITY_SCHEDULES
        }
    }));
    done.unwrap_or_else(|panic| {
        eprintln!("OFFSHOOT_SCHEDULES_SEED={seed} repeats this schedule");
        resume_unwind(panic)
    })
}

/// A clock by which nothing is ever due.
struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp { secs: 1_000_000, nanos: 0 }
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

/// Storage that outlives its pool.
pub(crate) struct Stand {
    pub(crate) objects: Arc<FaultStore<MemoryStore>>,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) power: PowerSwitch,
    pub(crate) settings: Settings,
}

impl Stand {
    pub(crate) fn new(memory_bytes: u64) -> Self {
        let power = PowerSwitch::new();
        // The same identity in every run, so that a seed repeats it.
        let settings = Settings {
            reserve_bytes: 0,
            segment_bytes: 64 << 10,
            memory_bytes,
            identity: [1, 2, 3, 4],
            ..Settings::default()
        };
        Self {
            objects: Arc::new(FaultStore::with_power(MemoryStore::new(), power.clone())),
            log: Arc::new(MemoryLog::with_power(power.clone())),
            power,
            settings,
        }
    }

    pub(crate) fn open(&self) -> Pool {
        let storage = Storage { objects: self.objects.clone(), log: self.log.clone() };
        let opened =
            Pool::open(storage, Arc::new(StillClock), self.settings.clone(), OpenMode::CreateIfMissing);
        block_on(opened).unwrap()
    }

    /// Loses what was not synced, and opens what is left.
    pub(crate) fn cut(&self, pool: Pool) -> Pool {
        self.power.cut();
        drop(pool);
        self.log.crash(7);
        self.power.restore();
        self.open()
    }
}

/// The two threads of the background; they end when the pool is closed or has stopped.
pub(crate) fn background(pool: &Pool) -> [JoinHandle<()>; 2] {
    let (first, second) = (pool.clone(), pool.clone());
    [
        shuttle::thread::spawn(move || block_on(first.flush_in_background())),
        shuttle::thread::spawn(move || block_on(second.checkpoint_in_background())),
    ]
}

/// Starts a thread on a pool.
pub(crate) fn thread<R: Send + 'static>(
    pool: &Pool,
    work: impl AsyncFnOnce(Pool) -> R + Send + 'static,
) -> JoinHandle<R> {
    let pool = pool.clone();
    shuttle::thread::spawn(move || block_on(work(pool)))
}

pub(crate) fn join<R>(threads: impl IntoIterator<Item = JoinHandle<R>>) -> Vec<R> {
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// A new file below a directory.
pub(crate) async fn file(pool: &Pool, parent: Ino, name: &str, content: &[u8]) -> Result<Attributes> {
    let made = pool.create(parent, name.as_bytes(), new(Kind::File)).await?;
    pool.write(made.ino, 0, Bytes::copy_from_slice(content), false).await
}

pub(crate) async fn content(pool: &Pool, ino: Ino) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    pool.read(ino, 0, 1 << 30, &mut content).await?;
    Ok(content)
}

/// Everything that is stored fits together, and can be read.
pub(crate) async fn assert_sound(pool: &Pool) {
    pool.checkpoint().await.unwrap();
    let report = pool.scrub().await.unwrap();
    assert_eq!(report.findings_total, 0, "{:?}", report.findings);
}
