//! Where the log is: it changes only with a pool that was closed, an idle pool asks next to nothing of its store, and what is not durable
//! is told.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use offshoot_engine::log::{LogStore, ObjectLog};
use offshoot_engine::object::{Call, Fault};
use offshoot_engine::{Clock, ErrorKind, Ino, OpenMode, Pool, Result, Storage, Timestamp};

use crate::world::{World, at, file, kind, new as world_new, read};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    Disk,
    Objects(u64),
}

fn try_open(world: &World, log: Where, clock: Arc<dyn Clock>) -> Result<Pool> {
    let log: Arc<dyn LogStore> = match log {
        Where::Disk => world.log.clone(),
        Where::Objects(identity) => Arc::new(ObjectLog::new(world.objects.clone(), identity)),
    };
    let storage = Storage { objects: world.objects.clone(), log };
    block_on(Pool::open(storage, clock, world.settings.clone(), OpenMode::CreateIfMissing))
}

fn open(world: &World, log: Where) -> Pool {
    try_open(world, log, world.clock.clone()).unwrap()
}

/// A log of the other kind has nothing of what was synced: with such a log the pool was opened in the state of its last checkpoint.
#[test]
fn a_pool_that_was_not_closed_keeps_its_kind_of_log() {
    for (first, second, word) in [
        (Where::Disk, Where::Objects(1), "on a disk of the machine"),
        (Where::Objects(1), Where::Disk, "among the objects of this pool"),
    ] {
        let world = World::new();
        let pool = open(&world, first);
        file(&pool, "checkpointed", b"x");
        block_on(pool.checkpoint()).unwrap();
        file(&pool, "synced", b"x");
        block_on(pool.sync()).unwrap();
        drop(pool);
        let objects = world.object_names("");
        let error = try_open(&world, second, world.clock.clone()).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let said = error.to_string();
        assert!(said.contains(word) && said.contains("stop that server cleanly"), "{said}");
        assert_eq!(world.object_names(""), objects, "nothing was changed by {second:?}");
        let pool = open(&world, first);
        assert_eq!(read(&pool, at(&pool, "synced")), b"x");
        block_on(pool.close()).unwrap();
        let pool = open(&world, second);
        assert_eq!(read(&pool, at(&pool, "synced")), b"x");
        assert_eq!(block_on(pool.status()).log_in_store, second != Where::Disk);
        assert_eq!(block_on(pool.check()).unwrap().findings, []);
    }
}

/// Closed, opened the other way and killed, again and again: numbers of log files on one medium never stand for those of the other.
#[test]
fn the_kind_of_log_can_change_with_every_closing() {
    let world = World::new();
    let mut names: Vec<String> = Vec::new();
    for round in 0..12_u64 {
        let kind = if round % 2 == 0 { Where::Disk } else { Where::Objects(round) };
        let other = if round % 2 == 0 { Where::Objects(100 + round) } else { Where::Disk };
        for life in 0..2 {
            let pool = open(&world, kind);
            for name in &names {
                assert_eq!(read(&pool, at(&pool, name)), name.as_bytes(), "round {round}");
            }
            let name = format!("f{round}-{life}");
            file(&pool, &name, name.as_bytes());
            names.push(name);
            if round % 3 == life {
                block_on(pool.checkpoint()).unwrap();
            }
            block_on(pool.sync()).unwrap();
            drop(pool);
            assert_eq!(
                try_open(&world, other, world.clock.clone()).map(drop).unwrap_err().kind(),
                ErrorKind::Invalid
            );
        }
        let pool = open(&world, kind);
        block_on(pool.close()).unwrap();
    }
}

/// The last manifest of a closed pool may not come to be; then it is as one that died.
#[test]
fn a_closing_that_fails_leaves_the_log_needed() {
    for fault in [Fault::Refused(ErrorKind::Store), Fault::AnswerLost(ErrorKind::Store)] {
        let world = World::new();
        let pool = open(&world, Where::Disk);
        file(&pool, "f", b"x");
        block_on(pool.checkpoint()).unwrap();
        // That of the checkpoint, and the last one.
        world.objects.fail_nth(Call::Put, 2, fault);
        assert_eq!(kind(block_on(pool.close())), Some(ErrorKind::Store));
        drop(pool);
        if fault == Fault::Refused(ErrorKind::Store) {
            assert_eq!(
                kind(try_open(&world, Where::Objects(1), world.clock.clone())),
                Some(ErrorKind::Invalid)
            );
        }
        let pool = open(&world, Where::Disk);
        assert_eq!(read(&pool, at(&pool, "f")), b"x");
    }
}

/// Closing used to make one checkpoint, and what came while it did was in a log that nobody was told of.
#[test]
fn what_is_changed_while_a_pool_is_closed_is_there_or_refused() {
    for round in 0..20 {
        let world = World::new();
        let pool = open(&world, Where::Disk);
        file(&pool, "first", b"x");
        let acknowledged = std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                let mut count = 0;
                loop {
                    let new = world_new(offshoot_engine::Kind::File);
                    let made = block_on(pool.create(Ino::ROOT, format!("f{count}").as_bytes(), new));
                    if made.is_err() || block_on(pool.sync()).is_err() {
                        return count;
                    }
                    count += 1;
                }
            });
            std::thread::sleep(Duration::from_micros(300 * round));
            block_on(pool.close()).unwrap();
            writing.join().unwrap()
        });
        drop(pool);
        let pool = open(&world, Where::Disk);
        for number in 0..acknowledged {
            at(&pool, &format!("f{number}"));
        }
    }
}

#[test]
fn what_is_not_durable_is_told_with_its_age() {
    let world = World::new();
    let pool = open(&world, Where::Objects(1));
    let status = || block_on(pool.status());
    assert_eq!((status().unsynced_operations, status().unsynced_age), (0, Duration::ZERO));
    file(&pool, "f", b"x");
    world.clock.step();
    file(&pool, "g", b"x");
    assert_eq!((status().unsynced_operations, status().unsynced_age), (4, Duration::from_secs(1)));
    world.objects.fail_nth(Call::Put, 1, Fault::Refused(ErrorKind::Store));
    assert_eq!(kind(block_on(pool.sync())), Some(ErrorKind::Store));
    world.clock.step();
    file(&pool, "h", b"x");
    assert_eq!((status().unsynced_operations, status().unsynced_age), (6, Duration::from_secs(2)));
    assert!(status().unsynced_bytes > 0);
    block_on(pool.sync()).unwrap();
    assert_eq!((status().unsynced_operations, status().unsynced_age), (0, Duration::ZERO));
    assert_eq!(status().unsynced_bytes, 0);
}

/// A clock that runs fast, and whose sleeps are as short.
struct FastClock(Instant, u32);

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        Timestamp { secs: self.monotonic().as_secs() as i64, nanos: 0 }
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed() * self.1
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(futures_timer::Delay::new(duration / self.1))
    }
}

const TIMES: u32 = 300;

/// Runs the background while something else is done.
fn with_background<T>(pool: &Pool, work: impl FnOnce() -> T) -> T {
    std::thread::scope(|scope| {
        scope.spawn(|| block_on(pool.checkpoint_in_background()));
        scope.spawn(|| block_on(pool.flush_in_background()));
        let done = work();
        let _ = block_on(pool.close());
        done
    })
}

fn pass(minutes: u32) {
    std::thread::sleep(Duration::from_secs(60) * minutes / TIMES);
}

/// Requests cost money, also those of a pool that nobody uses.
#[test]
fn an_idle_pool_makes_at_most_one_request_a_minute() {
    let world = World::new();
    let clock = Arc::new(FastClock(Instant::now(), TIMES));
    let pool = try_open(&world, Where::Objects(1), clock.clone()).unwrap();
    with_background(&pool, || {
        for number in 0..20 {
            file(&pool, &format!("f{number}"), &[b'x'; 5000]);
        }
        block_on(pool.sync()).unwrap();
        // A checkpoint, and the one after which what that replaced is deleted.
        pass(4);
        let (before, from) = (world.power.calls(), clock.monotonic());
        pass(10);
        let (requests, passed) = (world.power.calls() - before, clock.monotonic() - from);
        let minutes = passed.as_secs_f64() / 60.0;
        assert!(requests as f64 <= minutes + 1.0, "{requests} requests in {minutes:.1} minutes");
        assert!(requests > 0, "nobody looks whether another writer has taken over");
    });
}

/// Who changes nothing syncs nothing, and would show what is no more for ever.
#[test]
fn a_replaced_writer_that_is_idle_finds_out() {
    let world = World::new();
    let clock = Arc::new(FastClock(Instant::now(), TIMES));
    let replaced = try_open(&world, Where::Objects(1), clock.clone()).unwrap();
    with_background(&replaced, || {
        file(&replaced, "f", b"x");
        block_on(replaced.sync()).unwrap();
        pass(2);
        let successor = open(&world, Where::Objects(2));
        let started = Instant::now();
        while block_on(replaced.status()).stopped.is_none() {
            assert!(started.elapsed() < Duration::from_secs(20), "it never finds out");
            pass(1);
        }
        let stopped = block_on(replaced.status()).stopped.unwrap();
        assert!(stopped.contains("another writer has taken over"), "{stopped}");
        assert_eq!(read(&successor, at(&successor, "f")), b"x");
    });
}

/// Without a sync, what is acknowledged is durable after the flush interval.
#[test]
fn the_background_syncs_within_the_flush_interval() {
    let mut world = World::new();
    world.settings.flush_interval = Duration::from_secs(5);
    let clock = Arc::new(FastClock(Instant::now(), TIMES));
    let pool = try_open(&world, Where::Objects(1), clock.clone()).unwrap();
    with_background(&pool, || {
        file(&pool, "f", b"x");
        let from = Instant::now();
        while block_on(pool.status()).unsynced_operations > 0 {
            // In seconds of this clock the interval is a sixtieth of one.
            assert!(from.elapsed() < Duration::from_secs(10), "it is never synced");
            std::thread::yield_now();
        }
        // Nothing more is put while there is nothing to sync.
        let before = world.object_names("log/").len();
        pass(1);
        assert!(world.object_names("log/").len() <= before.max(3));
    });
}
