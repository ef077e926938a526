//! Forks and copies of whole pools: each side goes its own way, and what a fork still needs is never deleted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::executor::block_on;
use offshoot_engine::copy::copy;
use offshoot_engine::fork::{Fork, ForkStore, fork, forks_of, parent_of, release};
use offshoot_engine::log::ObjectLog;
use offshoot_engine::object::{Call, Fault, FaultStore, MemoryStore, ObjectStore};
use offshoot_engine::{Clock, ErrorKind, Ino, OpenMode, Pool, Storage};

use crate::world::{self, World, at, clone, create, list, read, write};

type Store = Arc<dyn ObjectStore>;

/// A store of a pool and its log.
struct Place {
    objects: Store,
    world: World,
}

impl Place {
    fn new() -> Place {
        Place { objects: Arc::new(MemoryStore::new()), world: World::new() }
    }

    /// The fork in `own`.
    fn over(own: &Arc<MemoryStore>, parent: &Store) -> Place {
        let known = block_on(parent_of(own)).unwrap().expect("it is a fork");
        assert_eq!(known.location, "the parent");
        let own: Store = own.clone();
        let objects = block_on(ForkStore::open(own, parent.clone(), known)).unwrap();
        Place { objects: Arc::new(objects), world: World::new() }
    }

    fn open(&self, identity: u64) -> Pool {
        let log = Arc::new(ObjectLog::new(self.objects.clone(), identity));
        let storage = Storage { objects: self.objects.clone(), log };
        let clock: Arc<dyn Clock> = self.world.clock.clone();
        block_on(Pool::open(storage, clock, self.world.settings.clone(), OpenMode::CreateIfMissing)).unwrap()
    }

    fn fork(&self, id: u64) -> Arc<MemoryStore> {
        let own = Arc::new(MemoryStore::new());
        let forked = block_on(fork(&self.objects, &own, "the parent", "the child", id)).unwrap();
        assert_eq!(forked.id, id);
        own
    }

    fn segments(&self) -> usize {
        block_on(self.objects.list("segments/")).unwrap().len()
    }
}

fn content(seed: u32) -> Vec<u8> {
    (0..400_000_u32).map(|n| ((n ^ seed).wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Makes a file that nobody refers to, so that it is gone once it is removed.
fn file(pool: &Pool, name: &str, content: &[u8]) {
    pool.forget(world::file(pool, name, content), 1);
}

fn remove(pool: &Pool, name: &str) {
    block_on(pool.unlink(Ino::ROOT, name.as_bytes())).unwrap();
}

fn is_sound(pool: &Pool) {
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

#[test]
fn each_side_goes_its_own_way() {
    let parent = Place::new();
    let pool = parent.open(1);
    for number in 0..4 {
        file(&pool, &format!("f{number}"), &content(number));
    }
    block_on(pool.checkpoint()).unwrap();
    file(&pool, "synced", &content(9));
    block_on(pool.sync()).unwrap();
    file(&pool, "neither", b"not durable yet");

    let own = parent.fork(7);
    let child = Place::over(&own, &parent.objects);
    let forked = child.open(2);
    assert!(list(&forked, Ino::ROOT).iter().all(|item| item.name != b"neither"));
    assert_eq!(read(&forked, at(&forked, "synced")), content(9));

    // The parent loses everything that the fork shares, and the fork changes it.
    for name in ["f0", "f1", "f2", "f3", "synced"] {
        remove(&pool, name);
    }
    file(&pool, "of the parent", &content(20));
    write(&forked, at(&forked, "f0"), 1000, b"of the fork");
    remove(&forked, "f1");
    file(&forked, "of the fork", &content(21));
    for pool in [&pool, &forked] {
        block_on(pool.gc()).unwrap();
        is_sound(pool);
    }
    let mut changed = content(0);
    changed[1000..1011].copy_from_slice(b"of the fork");
    drop(forked);
    // Another start, which finds what the fork has deleted of the parent's.
    let child = Place::over(&own, &parent.objects);
    let forked = child.open(3);
    is_sound(&forked);
    assert_eq!(block_on(forked.scrub()).unwrap().findings, []);
    assert!(read(&forked, at(&forked, "f0")) == changed);
    assert!(read(&forked, at(&forked, "f2")) == content(2));
    assert!(read(&forked, at(&forked, "of the fork")) == content(21));
    assert!(read(&pool, at(&pool, "of the parent")) == content(20));
    let known = block_on(forks_of(&parent.objects)).unwrap();
    assert_eq!((known.len(), known[0].id, known[0].location.as_str()), (1, 7, "the child"));
    assert!(known[0].objects.is_some_and(|objects| objects > 0));

    // Nobody needs the fork any more.
    let kept = parent.segments();
    drop(forked);
    block_on(release(&parent.objects, 7)).unwrap();
    remove(&pool, "of the parent");
    block_on(pool.gc()).unwrap();
    assert!(parent.segments() < kept, "{} of {kept} objects are left", parent.segments());
    is_sound(&pool);
}

#[test]
fn a_fork_of_a_fork_reads_from_both() {
    let first = Place::new();
    let pool = first.open(1);
    file(&pool, "first", &content(1));
    block_on(pool.checkpoint()).unwrap();
    let second_own = first.fork(1);
    let second = Place::over(&second_own, &first.objects);
    let forked = second.open(2);
    file(&forked, "second", &content(2));
    block_on(forked.checkpoint()).unwrap();
    let third_own = second.fork(2);
    for pool in [&pool, &forked] {
        remove(pool, "first");
        block_on(pool.gc()).unwrap();
    }
    remove(&forked, "second");
    block_on(forked.gc()).unwrap();
    let third = Place::over(&third_own, &second.objects);
    let last = third.open(3);
    assert!(read(&last, at(&last, "first")) == content(1));
    assert!(read(&last, at(&last, "second")) == content(2));
    is_sound(&last);
}

/// Says that something is over when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The parent makes checkpoints, collects and deletes as fast as it can, while it is forked.
#[test]
fn a_parent_in_use_is_forked_whole() {
    let parent = Place::new();
    let pool = parent.open(1);
    let directory = create(&pool, Ino::ROOT, "d", offshoot_engine::Kind::Directory);
    block_on(pool.checkpoint()).unwrap();
    let (is_over, objects) = (AtomicBool::new(false), parent.objects.clone());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0_u32.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                file(&pool, &format!("f{number}"), &content(number));
                clone(&pool, directory, Ino::ROOT, &format!("c{number}"));
                if number >= 3 {
                    remove(&pool, &format!("f{}", number - 3));
                }
                match number % 3 {
                    0 => block_on(pool.sync()).unwrap(),
                    1 => block_on(pool.checkpoint()).unwrap(),
                    _ => drop(block_on(pool.gc()).unwrap()),
                }
            }
        });
        // Also when an assertion fails, or the other thread would go on for ever.
        let _over = Over(&is_over);
        let mut made = 0;
        for id in 0..40 {
            let own = Arc::new(MemoryStore::new());
            match block_on(fork(&objects, &own, "the parent", "the child", id)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::InUse => continue,
                Err(error) => panic!("{error}"),
            }
            made += 1;
            let forked = Place::over(&own, &objects).open(100 + id);
            is_sound(&forked);
            let names: Vec<_> = list(&forked, Ino::ROOT).into_iter().map(|item| item.name).collect();
            for name in names.iter().filter(|name| name.starts_with(b"f")) {
                let name = std::str::from_utf8(name).unwrap();
                assert!(read(&forked, at(&forked, name)) == content(name[1..].parse().unwrap()), "{name}");
            }
            if id % 2 == 0 {
                drop(forked);
                block_on(release(&objects, id)).unwrap();
            }
        }
        assert!(made > 20, "only {made} of 40 forks could be made");
    });
    is_sound(&pool);
}

#[test]
fn a_fork_that_was_never_finished_keeps_everything_until_it_is_let_go() {
    let parent = Place::new();
    let pool = parent.open(1);
    file(&pool, "f", &content(1));
    block_on(pool.checkpoint()).unwrap();
    // The machine that made the fork has died over it.
    block_on(parent.objects.put("forks/0000000000000005/begun", Vec::new())).unwrap();
    assert_eq!(
        block_on(forks_of(&parent.objects)).unwrap(),
        [Fork { id: 5, location: String::new(), objects: None }]
    );
    let names = || block_on(parent.objects.list("segments/")).unwrap();
    let before = names();
    remove(&pool, "f");
    block_on(pool.gc()).unwrap();
    assert!(before.iter().all(|object| names().contains(object)));
    block_on(release(&parent.objects, 5)).unwrap();
    file(&pool, "g", b"a change, so that there is a checkpoint");
    block_on(pool.gc()).unwrap();
    assert!(before.iter().all(|object| !names().contains(object)));
    assert_eq!(block_on(forks_of(&parent.objects)).unwrap(), []);
}

#[test]
fn a_fork_needs_a_pool_and_an_empty_place() {
    let parent = Place::new();
    let own = Arc::new(MemoryStore::new());
    let error = block_on(fork(&parent.objects, &own, "x", "y", 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoPool);
    assert_eq!(block_on(forks_of(&parent.objects)).unwrap(), [], "nothing is left of it");
    drop(parent.open(1));
    block_on(own.put("something", Vec::new())).unwrap();
    let error = block_on(fork(&parent.objects, &own, "x", "y", 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PoolExists);
    assert_eq!(block_on(parent_of(&own)).unwrap(), None);
}

#[test]
fn a_copy_goes_on_where_it_was_interrupted_and_is_a_pool_of_its_own() {
    let source = Place::new();
    let pool = source.open(1);
    for number in 0..8 {
        file(&pool, &format!("f{number}"), &content(number));
        block_on(pool.checkpoint()).unwrap();
    }
    file(&pool, "synced", b"in the log");
    block_on(pool.sync()).unwrap();

    let destination = Arc::new(FaultStore::new(MemoryStore::new()));
    destination.fail_nth(Call::Put, 6, Fault::Refused(ErrorKind::Store));
    let nothing = |_, _| {};
    let interrupted = block_on(copy(&source.objects, &destination, "the copy", 1, &nothing));
    assert_eq!(interrupted.unwrap_err().kind(), ErrorKind::Store);
    assert_eq!(block_on(forks_of(&source.objects)).unwrap(), [], "the source is free again");
    // The source goes on meanwhile.
    remove(&pool, "f0");
    file(&pool, "later", &content(99));
    block_on(pool.gc()).unwrap();

    let told = std::sync::Mutex::new(Vec::new());
    let tell = |done, all| told.lock().unwrap().push((done, all));
    let report = block_on(copy(&source.objects, &destination, "the copy", 2, &tell)).unwrap();
    assert!(report.objects_found > 0 && report.objects > report.objects_found, "{report:?}");
    let told = told.into_inner().unwrap();
    assert!(told.is_sorted() && told.last() == Some(&(report.bytes, report.bytes)), "{told:?}");
    let full = block_on(copy(&source.objects, &destination, "the copy", 3, &nothing)).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::PoolExists);

    drop(pool);
    let copied = Place { objects: destination, world: World::new() };
    let pool = copied.open(2);
    is_sound(&pool);
    assert_eq!(block_on(pool.scrub()).unwrap().findings, []);
    assert!(read(&pool, at(&pool, "later")) == content(99) && read(&pool, at(&pool, "f7")) == content(7));
    assert_eq!(read(&pool, at(&pool, "synced")), b"in the log");
    assert!(block_on(copied.objects.list("copy")).unwrap().is_empty());
}

/// A fork used to have its parent's id, by which a cache would have taken the objects of one for those of the other.
#[test]
fn forks_and_copies_have_ids_of_their_own() {
    for encryption in [None, Some(world::cheap_encryption("secret", 1))] {
        let mut parent = Place::new();
        parent.world.settings.encryption = encryption.clone();
        let pool = parent.open(1);
        file(&pool, "f", &content(1));
        block_on(pool.checkpoint()).unwrap();
        let id = |pool: &Pool| block_on(pool.status()).pool_id;
        let copied: Store = Arc::new(MemoryStore::new());
        block_on(copy(&parent.objects, &copied, "the copy", 9, &|_, _| {})).unwrap();
        let mut places = [7, 8]
            .map(|number| Place::over(&parent.fork(number), &parent.objects))
            .into_iter()
            .collect::<Vec<_>>();
        places.push(Place { objects: copied, world: World::new() });
        let mut ids = std::collections::BTreeSet::from([id(&pool)]);
        for place in &mut places {
            place.world.settings.encryption = encryption.clone();
            let first = place.open(2);
            assert!(read(&first, at(&first, "f")) == content(1));
            let own = id(&first);
            block_on(first.close()).unwrap();
            let again = place.open(3);
            assert_eq!(id(&again), own, "it stays");
            is_sound(&again);
            assert!(ids.insert(own), "one of another");
        }
        assert_eq!(ids.len(), 4);
    }
}

/// A log on a disk does not come along. A fork or a copy of such a pool could not be opened, because its log was missing.
#[test]
fn without_its_log_a_fork_or_a_copy_begins_with_the_last_checkpoint() {
    for is_late in [false, true] {
        let world = World::new();
        let parent: Store = world.objects.clone();
        let pool = world.open();
        file(&pool, "checkpointed", &content(1));
        block_on(pool.checkpoint()).unwrap();
        file(&pool, "synced", &content(2));
        block_on(pool.sync()).unwrap();
        if is_late {
            // Also where the manifest is told that more was durable.
            drop(pool);
            drop(world.open());
        }
        let own = Arc::new(MemoryStore::new());
        block_on(fork(&parent, &own, "the parent", "the child", 3)).unwrap();
        let copied: Store = Arc::new(MemoryStore::new());
        block_on(copy(&parent, &copied, "the copy", 4, &|_, _| {})).unwrap();
        for place in [Place::over(&own, &parent), Place { objects: copied, world: World::new() }] {
            let made = place.open(1);
            assert!(read(&made, at(&made, "checkpointed")) == content(1));
            assert!(list(&made, Ino::ROOT).iter().all(|item| item.name != b"synced"));
            is_sound(&made);
            file(&made, "own", &content(3));
            block_on(made.sync()).unwrap();
            drop(made);
            let again = place.open(2);
            assert!(read(&again, at(&again, "own")) == content(3));
            is_sound(&again);
        }
    }
}

/// A copy that was killed kept its source from deleting anything for ever.
#[test]
fn a_copy_that_was_killed_and_made_again_leaves_its_source_free() {
    let source = Place::new();
    let pool = source.open(1);
    file(&pool, "f", &content(1));
    block_on(pool.checkpoint()).unwrap();
    let power = offshoot_engine::object::PowerSwitch::new();
    let killed = Arc::new(FaultStore::with_power(source.objects.clone(), power.clone()));
    let destination = Arc::new(MemoryStore::new());
    // It has begun, and then the machine is gone: nothing more is done to the source.
    power.cut_after(3, false);
    assert!(block_on(copy(&killed, &destination, "there", 5, &|_, _| {})).is_err());
    let left = block_on(forks_of(&source.objects)).unwrap();
    assert_eq!((left.len(), left[0].id, left[0].location.as_str()), (1, 5, "there"));
    block_on(copy(&source.objects, &destination, "there", 6, &|_, _| {})).unwrap();
    assert_eq!(block_on(forks_of(&source.objects)).unwrap(), []);
    let copied = Place { objects: destination, world: World::new() };
    is_sound(&copied.open(2));
}
