//! Pools on a store that is far away: how many calls they take, and how many at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::log::{LogStore, MemoryLog};
use offshoot_engine::object::{Call, DistantStore, Fault, FaultStore, MemoryStore, ObjectStore, Traffic};
use offshoot_engine::{
    Clock, Compression, DiskCacheSettings, ErrorKind, Ino, Kind, OpenMode, Pool, Settings, Storage,
    SystemClock,
};

use crate::world::{at, cheap_encryption, create, file, kind, list, read, write};

type Store = DistantStore<FaultStore<MemoryStore>>;

struct Far {
    objects: Arc<Store>,
    log: Arc<MemoryLog>,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

impl Far {
    fn new(round_trip: Duration, settings: Settings) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let store = FaultStore::new(MemoryStore::new());
        Self {
            objects: Arc::new(DistantStore::new(store, clock.clone(), round_trip)),
            log: Arc::new(MemoryLog::new()),
            clock,
            settings,
        }
    }

    /// The same, which pools take for a local store if `is_local`.
    fn taken_for(is_local: bool, round_trip: Duration, settings: Settings) -> Self {
        let mut far = Self::new(round_trip, settings);
        if is_local {
            let store = DistantStore::new(FaultStore::new(MemoryStore::new()), far.clock.clone(), round_trip);
            far.objects = Arc::new(store.taken_for_local());
        }
        far
    }

    fn open(&self) -> Pool {
        let storage = Storage { objects: self.objects.clone(), log: self.log.clone() };
        let open = Pool::open(storage, self.clock.clone(), self.settings.clone(), OpenMode::CreateIfMissing);
        block_on(open).unwrap()
    }

    /// The pool with nothing of it in memory.
    fn reopen(&self, pool: Pool) -> Pool {
        block_on(pool.close()).unwrap();
        drop(pool);
        let pool = self.open();
        self.objects.take_traffic();
        pool
    }

    fn count<T>(&self, work: impl FnOnce() -> T) -> (T, Traffic, Duration) {
        self.objects.take_traffic();
        let start = Instant::now();
        let done = work();
        (done, self.objects.take_traffic(), start.elapsed())
    }
}

fn settings() -> Settings {
    Settings { reserve_bytes: 0, compression: Compression::None, ..Settings::default() }
}

/// Runs `work` while the pool reads ahead.
fn with_background<T>(pool: &Pool, work: impl FnOnce() -> T) -> T {
    let background = pool.clone();
    let thread = std::thread::spawn(move || block_on(background.fetch_in_background()));
    let done = work();
    block_on(pool.close()).unwrap();
    thread.join().unwrap();
    done
}

fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

/// A tree of `directories` with `files` each, like sources.
fn tree(pool: &Pool, directories: usize, files: usize) {
    for d in 0..directories {
        create(pool, Ino::ROOT, &format!("directory-{d:05}"), Kind::Directory);
        let parent = at(pool, &format!("directory-{d:05}"));
        for f in 0..files {
            create(pool, parent, &format!("some_file_name_{f:05}.txt"), Kind::File);
        }
    }
}

/// All names and attributes, as `find -ls` asks for them.
fn walk(pool: &Pool, directory: Ino) -> usize {
    let mut count = 0;
    for item in list(pool, directory) {
        let found = block_on(pool.lookup(directory, &item.name)).unwrap();
        count += 1;
        if found.kind == Kind::Directory {
            count += walk(pool, found.ino);
        }
        pool.forget(found.ino, 1);
    }
    count
}

#[test]
fn full_segments_are_put_several_at_a_time() {
    let far = Far::new(Duration::from_millis(200), Settings { segment_bytes: 1 << 20, ..settings() });
    let pool = far.open();
    let content = bytes(1, 24 << 20);
    file(&pool, "f", b"");
    write(&pool, at(&pool, "f"), 0, &content);
    let (_, traffic, _) = far.count(|| block_on(pool.sync()).unwrap());
    assert!(traffic.puts >= 23, "{traffic:?}");
    assert!((4..=8).contains(&traffic.at_once_max), "{traffic:?}");
    let pool = far.reopen(pool);
    assert!(read(&pool, at(&pool, "f")) == content);
}

#[test]
fn a_put_that_fails_among_others_is_tried_again() {
    for nth in [1, 4, 9] {
        let far = Far::new(Duration::from_millis(1), Settings { segment_bytes: 1 << 20, ..settings() });
        let pool = far.open();
        let content = bytes(nth, 12 << 20);
        file(&pool, "f", b"");
        write(&pool, at(&pool, "f"), 0, &content);
        let faults = far.objects.inner();
        faults.fail_nth(Call::Put, nth, Fault::Refused(ErrorKind::NoSpace));
        faults.fail_nth(Call::Put, nth + 1, Fault::Refused(ErrorKind::NoSpace));
        assert_eq!(kind(block_on(pool.sync())), Some(ErrorKind::NoSpace));
        // How many puts were begun before the first failure was seen is a matter of time: the second one may still be to come.
        if let Err(error) = block_on(pool.sync()) {
            assert_eq!(error.kind(), ErrorKind::NoSpace);
            block_on(pool.sync()).unwrap();
        }
        // Power goes: what was synced is there.
        drop(pool);
        let pool = far.open();
        assert!(read(&pool, at(&pool, "f")) == content);
    }
}

#[test]
fn a_cold_walk_reads_nodes_by_the_hundred() {
    let far = Far::new(Duration::ZERO, Settings { compression: Compression::Lz4, ..settings() });
    let pool = far.open();
    tree(&pool, 100, 100);
    let pool = far.reopen(pool);
    let (count, traffic, _) = far.count(|| walk(&pool, Ino::ROOT));
    assert_eq!(count, 10_100);
    assert!(traffic.gets <= 20, "{traffic:?}");
    let pool = far.reopen(pool);
    let (count, traffic, _) = far.count(|| with_background(&pool, || walk(&pool, Ino::ROOT)));
    assert_eq!(count, 10_100);
    assert!(traffic.gets <= 20, "{traffic:?}");
}

#[test]
fn many_small_files_are_read_with_their_neighbours() {
    let far = Far::new(Duration::ZERO, settings());
    let pool = far.open();
    for n in 0..1000 {
        file(&pool, &format!("f{n}"), &bytes(n, 2000));
    }
    let pool = far.reopen(pool);
    let names: Vec<_> =
        list(&pool, Ino::ROOT).into_iter().map(|item| String::from_utf8(item.name).unwrap()).collect();
    let (_, traffic, _) = far.count(|| {
        for name in &names {
            let n: u64 = name[1..].parse().unwrap();
            assert!(read(&pool, at(&pool, name)) == bytes(n, 2000), "{name}");
        }
    });
    assert!(traffic.gets <= 20, "{traffic:?}");
}

#[test]
fn one_read_of_many_frames_is_few_calls_at_a_time() {
    let far = Far::new(Duration::from_millis(10), settings());
    let pool = far.open();
    let content = bytes(3, 16 << 20);
    file(&pool, "f", b"");
    write(&pool, at(&pool, "f"), 0, &content);
    let pool = far.reopen(pool);
    let ino = at(&pool, "f");
    let (found, traffic, _) = far.count(|| read(&pool, ino));
    assert!(found == content);
    assert!(traffic.gets <= 12, "{traffic:?}");
    assert!(traffic.at_once_max >= 3, "{traffic:?}");
}

#[test]
fn a_file_that_is_read_in_order_is_read_ahead() {
    let far = Far::new(Duration::from_millis(10), settings());
    let pool = far.open();
    let content = bytes(4, 48 << 20);
    file(&pool, "f", b"");
    write(&pool, at(&pool, "f"), 0, &content);
    let pool = far.reopen(pool);
    let (_, traffic, _) = far.count(|| {
        with_background(&pool, || {
            let ino = at(&pool, "f");
            for (n, expected) in content.chunks(128 << 10).enumerate() {
                let mut found = Vec::new();
                block_on(pool.read(ino, (n as u64) << 17, 128 << 10, &mut found)).unwrap();
                assert!(found == expected, "at {n}");
            }
        })
    });
    assert!(traffic.gets <= 60, "{traffic:?}");
    assert!(traffic.at_once_max >= 4, "{traffic:?}");
    assert!(traffic.got_bytes <= content.len() as u64 * 11 / 10, "{traffic:?}");
}

#[test]
fn random_reads_pay_for_what_they_read() {
    let far = Far::new(Duration::ZERO, settings());
    let pool = far.open();
    let content = bytes(5, 64 << 20);
    file(&pool, "f", b"");
    write(&pool, at(&pool, "f"), 0, &content);
    let pool = far.reopen(pool);
    let ino = at(&pool, "f");
    let mut random = fastrand::Rng::with_seed(1);
    let (_, traffic, _) = far.count(|| {
        with_background(&pool, || {
            for _ in 0..100 {
                let from = random.usize(..content.len() - 4096);
                let mut found = Vec::new();
                block_on(pool.read(ino, from as u64, 4096, &mut found)).unwrap();
                assert!(found == content[from..from + 4096]);
            }
        })
    });
    assert!(traffic.gets <= 115, "{traffic:?}");
    assert!(traffic.got_bytes <= 115 * (160 << 10), "{traffic:?}");
}

#[test]
fn who_wants_the_same_waits_for_the_same_call() {
    let far = Far::new(Duration::from_millis(100), settings());
    let pool = far.open();
    let content = bytes(6, 128 << 10);
    file(&pool, "f", b"");
    write(&pool, at(&pool, "f"), 0, &content);
    let pool = far.reopen(pool);
    let ino = at(&pool, "f");
    far.objects.take_traffic();
    let reads: Vec<_> = (0..8)
        .map(|_| {
            let pool = pool.clone();
            std::thread::spawn(move || read(&pool, ino))
        })
        .collect();
    for thread in reads {
        assert!(thread.join().unwrap() == content);
    }
    let traffic = far.objects.take_traffic();
    assert!(traffic.gets <= 2, "{traffic:?}");
}

/// What is read ahead fails without harm, and what is damaged is told by who needs it.
#[test]
fn damage_in_what_is_read_along_hurts_nobody_else() {
    let far = Far::new(Duration::ZERO, settings());
    let pool = far.open();
    for n in 0..64 {
        let ino = file(&pool, &format!("f{n}"), b"");
        write(&pool, ino, 0, &bytes(n, 100 << 10));
    }
    let pool = far.reopen(pool);
    let faults = far.objects.inner();
    let largest =
        block_on(faults.list("segments/")).unwrap().into_iter().max_by_key(|object| object.size).unwrap();
    block_on(faults.flip_bit(&largest.name, largest.size / 2 * 8)).unwrap();
    let damaged: Vec<u64> = (0..64)
        .filter(|n| {
            let ino = at(&pool, &format!("f{n}"));
            let mut found = Vec::new();
            let answer = block_on(pool.read(ino, 0, 1 << 20, &mut found));
            assert!(matches!(kind(answer), None | Some(ErrorKind::Corrupt)));
            found != bytes(*n, 100 << 10)
        })
        .collect();
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    faults.fail_randomly(1, 3);
    let mut failed = 0;
    for n in 0..64 {
        let ino = loop {
            if let Ok(found) = block_on(pool.lookup(Ino::ROOT, format!("f{n}").as_bytes())) {
                break found.ino;
            }
        };
        let mut found = Vec::new();
        match block_on(pool.read(ino, 0, 1 << 20, &mut found)) {
            Ok(()) => assert!(found == bytes(n, 100 << 10)),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Store), "{error}");
                failed += 1;
            }
        }
    }
    assert!(failed < 64);
}

/// What was written or read once is read from this machine's disk after a restart, and damage there is noticed.
#[test]
fn a_disk_cache_serves_a_restarted_server() {
    let directory = tempfile::tempdir().unwrap();
    let cache = DiskCacheSettings { directory: directory.path().to_owned(), size_bytes: 64 << 20 };
    let far = Far::new(
        Duration::ZERO,
        Settings { disk_cache: Some(cache), compression: Compression::Lz4, ..settings() },
    );
    let pool = far.open();
    tree(&pool, 20, 50);
    let content = bytes(3, 8 << 20);
    let ino = file(&pool, "f", b"");
    write(&pool, ino, 0, &content);
    block_on(pool.close()).unwrap();
    drop(pool);
    for round in 0..3 {
        let pool = far.open();
        let (_, traffic, _) = far.count(|| {
            assert_eq!(walk(&pool, Ino::ROOT), 1021);
            assert!(read(&pool, at(&pool, "f")) == content);
        });
        assert!(traffic.gets <= 2, "round {round}: {traffic:?}");
        assert!(pool.metrics().disk_cache_hits.get() > 60);
        block_on(pool.close()).unwrap();
    }
    let ours = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
    for file in std::fs::read_dir(&ours).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if path.file_name().unwrap() != "mark" {
            (0..bytes.len()).step_by(9_999).for_each(|at| bytes[at] ^= 4);
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let pool = far.open();
    assert_eq!(walk(&pool, Ino::ROOT), 1021);
    assert!(read(&pool, at(&pool, "f")) == content);
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
    assert_eq!(pool.metrics().items_unreadable.get(), 0);
}

/// What is read along and what the disk cache holds is opened with the keys of the pool, and lies there as in the store.
#[test]
fn an_encrypted_pool_is_cached_as_it_is_stored() {
    let marker = b"a marker that nobody may see";
    let mut seen = Vec::new();
    for is_encrypted in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let cache = DiskCacheSettings { directory: directory.path().to_owned(), size_bytes: 64 << 20 };
        let encryption = is_encrypted.then(|| cheap_encryption("a password", 7));
        let far = Far::new(Duration::ZERO, Settings { disk_cache: Some(cache), encryption, ..settings() });
        let pool = far.open();
        tree(&pool, 20, 50);
        let content = marker.repeat(100_000);
        let ino = file(&pool, "f", b"");
        write(&pool, ino, 0, &content);
        block_on(pool.close()).unwrap();
        drop(pool);
        for round in 0..2 {
            let pool = far.open();
            with_background(&pool, || {
                assert_eq!(walk(&pool, Ino::ROOT), 1021);
                assert!(read(&pool, at(&pool, "f")) == content);
                assert_eq!(block_on(pool.check()).unwrap().findings, []);
            });
            assert!(pool.metrics().disk_cache_hits.get() > 20, "round {round}");
        }
        let ours = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
        let holds = |path| {
            let bytes = std::fs::read(path).unwrap();
            let mut words = [&marker[..], b"some_file_name"].into_iter();
            words.any(|word| bytes.windows(word.len()).any(|at| at == word))
        };
        seen.push(std::fs::read_dir(&ours).unwrap().any(|file| holds(file.unwrap().path())));
        // With nothing on disk all of it is read from the store.
        std::fs::remove_dir_all(&ours).unwrap();
        let pool = far.open();
        with_background(&pool, || {
            assert_eq!(walk(&pool, Ino::ROOT), 1021);
            assert!(read(&pool, at(&pool, "f")) == content);
        });
        assert_eq!(pool.metrics().items_unreadable.get(), 0);
    }
    assert_eq!(seen, [true, false], "the first tells that this is a test");
}

/// Two copies of a pool have one id and reach the same epochs. Each read the directories that the other had cached, and with them the
/// other's bytes.
#[test]
fn a_copy_of_a_pool_does_not_read_what_the_other_has_cached() {
    let directory = tempfile::tempdir().unwrap();
    let cache = DiskCacheSettings { directory: directory.path().to_owned(), size_bytes: 64 << 20 };
    let settings = Settings { disk_cache: Some(cache), ..settings() };
    let far = Far::new(Duration::ZERO, settings.clone());
    let pool = far.open();
    file(&pool, "f", &bytes(1, 1 << 20));
    block_on(pool.close()).unwrap();
    drop(pool);
    let copy = Far::new(Duration::ZERO, settings);
    for object in block_on(far.objects.list("")).unwrap() {
        let whole = block_on(far.objects.get(&object.name, 0, object.size)).unwrap();
        block_on(copy.objects.put(&object.name, vec![whole])).unwrap();
    }
    for number in block_on(LogStore::list(&*far.log)).unwrap() {
        let whole = block_on(LogStore::read(&*far.log, number)).unwrap();
        block_on(LogStore::create(&*copy.log, number)).unwrap();
        block_on(LogStore::append(&*copy.log, number, 0, &[whole])).unwrap();
        block_on(LogStore::sync(&*copy.log, number)).unwrap();
    }
    for (far, seed) in [(&far, 2), (&copy, 3)] {
        let pool = far.open();
        file(&pool, "g", &bytes(seed, 1 << 20));
        block_on(pool.close()).unwrap();
    }
    for round in 0..3 {
        for (far, seed) in [(&far, 2), (&copy, 3)] {
            let pool = far.open();
            assert!(read(&pool, at(&pool, "f")) == bytes(1, 1 << 20));
            assert!(read(&pool, at(&pool, "g")) == bytes(seed, 1 << 20), "round {round}, copy {seed}");
            assert_eq!(block_on(pool.check()).unwrap().findings, []);
            block_on(pool.close()).unwrap();
        }
    }
}

/// A server that is killed finds its cache as good as before.
#[test]
fn a_disk_cache_survives_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let cache = DiskCacheSettings { directory: directory.path().to_owned(), size_bytes: 64 << 20 };
    let far = Far::new(Duration::ZERO, Settings { disk_cache: Some(cache), ..settings() });
    let pool = far.open();
    let content = bytes(5, 4 << 20);
    file(&pool, "f", b"");
    write(&pool, at(&pool, "f"), 0, &content);
    block_on(pool.sync()).unwrap();
    block_on(pool.checkpoint()).unwrap();
    drop(pool);
    let pool = far.open();
    let (_, traffic, _) = far.count(|| assert!(read(&pool, at(&pool, "f")) == content));
    assert!(traffic.gets <= 2, "{traffic:?}");
    let status = block_on(pool.status());
    assert!(status.disk_cache_bytes > 4 << 20 && status.disk_cache_bytes <= status.disk_cache_bytes_max);
    assert_eq!(status.disk_cache_bytes_max, 64 << 20);
    assert!(status.disk_cache_hits >= 32, "{}", status.disk_cache_hits);
}

/// A cache that cannot be is no reason for a pool not to be.
#[test]
fn a_pool_opens_where_its_disk_cache_cannot() {
    let directory = tempfile::tempdir().unwrap();
    let taken = directory.path().join("file");
    std::fs::write(&taken, "").unwrap();
    let cache = DiskCacheSettings { directory: taken, size_bytes: 64 << 20 };
    let far = Far::new(Duration::ZERO, Settings { disk_cache: Some(cache), ..settings() });
    let pool = far.open();
    file(&pool, "f", b"content");
    assert_eq!(read(&pool, at(&pool, "f")), b"content");
    assert_eq!(block_on(pool.status()).disk_cache_bytes_max, 0);
    block_on(pool.close()).unwrap();
}

/// Prints figures, before and after: `cargo test --release -p offshoot-engine --test engine -- --ignored --nocapture distant::figures`.
#[test]
#[ignore = "it measures, and takes a while"]
fn figures() {
    for is_local in [false, true] {
        println!("taken for {}", if is_local { "a local store" } else { "a remote store" });
        measure(is_local);
    }
}

fn measure(is_local: bool) {
    let round_trip = Duration::from_millis(30);
    let show = |what: &str, traffic: Traffic, time: Duration| {
        println!(
            "{what}: {:.2} s, {} gets of {:.1} MiB, {} puts of {:.1} MiB, at most {} at a time",
            time.as_secs_f64(),
            traffic.gets,
            traffic.got_bytes as f64 / 1048576.0,
            traffic.puts,
            traffic.put_bytes as f64 / 1048576.0,
            traffic.at_once_max
        );
    };
    let far = Far::taken_for(is_local, round_trip, Settings { compression: Compression::Lz4, ..settings() });
    let pool = far.open();
    tree(&pool, 1000, 100);
    let pool = far.reopen(pool);
    let (count, traffic, time) = far.count(|| with_background(&pool, || walk(&pool, Ino::ROOT)));
    show(&format!("cold walk of {count} inodes"), traffic, time);

    let far = Far::taken_for(is_local, round_trip, Settings { segment_bytes: 16 << 20, ..settings() });
    let pool = far.open();
    const LENGTH: usize = 128 << 20;
    let content = bytes(9, LENGTH);
    let ino = file(&pool, "f", b"");
    let (_, traffic, time) = far.count(|| {
        for (n, part) in content.chunks(1 << 20).enumerate() {
            block_on(pool.write(ino, (n as u64) << 20, Bytes::copy_from_slice(part), false)).unwrap();
        }
        block_on(pool.checkpoint()).unwrap();
    });
    show("write of 128 MiB and a checkpoint", traffic, time);
    let pool = far.reopen(pool);
    let (_, traffic, time) = far.count(|| {
        with_background(&pool, || {
            let ino = at(&pool, "f");
            for n in 0..LENGTH >> 17 {
                let mut found = Vec::new();
                block_on(pool.read(ino, (n as u64) << 17, 128 << 10, &mut found)).unwrap();
            }
        })
    });
    show("cold read of 128 MiB, 128 KiB at a time", traffic, time);
    let ranges = || async {
        use futures::stream::StreamExt as _;
        let objects = far.objects.list("segments/").await.unwrap();
        let ranges: Vec<_> = objects
            .into_iter()
            .flat_map(|object| (0..object.size).step_by(2 << 20).map(move |at| (object.name.clone(), at)))
            .collect();
        let gets = ranges.into_iter().map(|(name, at)| {
            let store = far.objects.clone();
            async move { store.get(&name, at, 2 << 20).await.unwrap().len() }
        });
        futures::stream::iter(gets).buffer_unordered(16).collect::<Vec<_>>().await
    };
    let (_, traffic, time) = far.count(|| block_on(ranges()));
    show("the same bytes in ranges of 2 MiB, 16 at a time", traffic, time);

    let pool = far.open();
    let ino = at(&pool, "f");
    let mut random = fastrand::Rng::with_seed(1);
    let (_, traffic, time) = far.count(|| {
        for _ in 0..50 {
            let mut found = Vec::new();
            block_on(pool.read(ino, random.u64(..LENGTH as u64 - 4096), 4096, &mut found)).unwrap();
        }
    });
    show("50 random reads of 4 KiB", traffic, time);

    let far = Far::taken_for(is_local, round_trip, settings());
    let pool = far.open();
    for n in 0..2000 {
        file(&pool, &format!("f{n}"), &bytes(n, 3000));
    }
    let pool = far.reopen(pool);
    let (_, traffic, time) = far.count(|| {
        with_background(&pool, || {
            for item in list(&pool, Ino::ROOT) {
                read(&pool, at(&pool, &String::from_utf8(item.name).unwrap()));
            }
        })
    });
    show("cold read of 2,000 files of 3,000 bytes", traffic, time);
}
