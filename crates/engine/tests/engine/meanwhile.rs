//! What one operation does while another one waits: for the store, or for memory.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::log::{BlockingLog, MemoryLog};
use offshoot_engine::object::Call;
use offshoot_engine::simulation::{Fate, Observer, observe};
use offshoot_engine::{
    Clock, CloneOptions, Error, ErrorKind, Ino, Kind, OpenMode, Pool, RenameMode, Result, SetAttributes,
    Settings, Storage, Timestamp, Unchanged, XattrMode,
};

use crate::wire::{Trouble, Wire, poll};
use crate::world::{World, at, create, file, new, read};

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs the background and some operations in turns, until the operations are done. False if they never are: then nothing
/// changes from one turn to the next.
fn all_end(pool: &Pool, mut running: Vec<Running<'_>>) -> bool {
    let mut background = Box::pin(pool.checkpoint_in_background());
    for _ in 0..1_000 {
        assert!(poll(&mut background).is_pending());
        running.retain_mut(|operation| poll(operation).is_pending());
        if running.is_empty() {
            return true;
        }
    }
    false
}

/// A clock by which nothing is ever due: the background works when it is told to, and only then.
struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp { secs: 1, nanos: 0 }
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, _: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::pending())
    }
}

fn open_still(world: &World, memory_bytes: u64) -> Pool {
    let settings = Settings { memory_bytes, ..world.settings.clone() };
    block_on(Pool::open(world.storage(), Arc::new(StillClock), settings, OpenMode::CreateIfMissing)).unwrap()
}

/// A world with a directory of many files, of which nothing is in memory.
fn cold_directory(wire: &Arc<Wire>, world: &World) -> Pool {
    let pool = wire.open(world);
    create(&pool, Ino::ROOT, "d", Kind::Directory);
    for n in 0..600 {
        file(&pool, &format!("d/f{n}"), b"x");
    }
    block_on(pool.close()).unwrap();
    wire.open(world)
}

/// An operation that has to fetch a node lets go of the lock. The collector deleted the object of that node meanwhile, and the
/// operation said that a segment was missing, though nothing was damaged.
#[test]
fn what_an_operation_fetches_is_not_deleted_meanwhile() {
    let world = World::new();
    let wire = Wire::to(&world);
    let pool = cold_directory(&wire, &world);
    let directory = at(&pool, "d");
    wire.plan(Call::Get, "segments/", Trouble::Held, 1);
    let mut created = Box::pin(pool.create(directory, b"new", new(Kind::File)));
    assert!(poll(&mut created).is_pending());
    assert_eq!(wire.troubles(), 1);

    // All that it could be waiting for is replaced and moved, and the old places are given up.
    for n in 0..600 {
        block_on(pool.unlink(directory, format!("f{n}").as_bytes())).unwrap();
    }
    for _ in 0..2 {
        block_on(pool.gc()).unwrap();
    }
    wire.let_go();
    block_on(created).unwrap();
    at(&pool, "d/new");
    assert_eq!(block_on(pool.status()).unreadable_items, 0);
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

/// The space of a tree was looked up in the newest segment table only. A segment that a checkpoint had moved or dropped since the
/// walk began was reported as damage.
#[test]
fn usage_is_of_the_state_that_it_began_with() {
    let world = World::new();
    let wire = Wire::to(&world);
    let pool = cold_directory(&wire, &world);
    let expected = block_on(pool.usage(at(&pool, "d"))).unwrap();
    drop(pool);

    let pool = wire.open(&world);
    let directory = at(&pool, "d");
    wire.hold_get_after_put("manifests/");
    let mut usage = Box::pin(pool.usage(directory));
    assert!(poll(&mut usage).is_pending());
    assert_eq!(wire.troubles(), 1);

    block_on(pool.remove_tree(Ino::ROOT, b"d")).unwrap();
    pool.forget(directory, u64::MAX >> 1);
    for _ in 0..2 {
        block_on(pool.gc()).unwrap();
    }
    assert!(block_on(pool.lookup(Ino::ROOT, b"d")).is_err());
    wire.let_go();
    assert_eq!(block_on(usage).unwrap(), expected);
    assert_eq!(block_on(pool.status()).unreadable_items, 0);
}

/// Frames of writes that waited for memory counted as what a checkpoint would store, which it could not: they are of no state yet.
/// With several large writes waiting, all waited for each other for ever.
#[test]
fn writes_that_wait_for_memory_do_not_wait_for_each_other() {
    let world = World::new();
    let pool = open_still(&world, 3 << 20);
    let names: Vec<_> = (0..4).map(|n| format!("f{n}")).collect();
    let inos: Vec<_> = names.iter().map(|name| create(&pool, Ino::ROOT, name, Kind::File)).collect();
    let writes: Vec<Running<'_>> = inos
        .iter()
        .zip(1_u8..)
        .map(|(ino, byte)| {
            let data = Bytes::from(vec![byte; 900_000]);
            let pool = &pool;
            Box::pin(async move { pool.write(*ino, 0, data, false).await.map(|_| ()).unwrap() })
                as Running<'_>
        })
        .collect();
    assert!(all_end(&pool, writes), "the writes wait for ever");
    assert!(pool.metrics().memory_waits.get() > 0, "none had to wait");
    for (ino, byte) in inos.iter().zip(1_u8..) {
        assert!(read(&pool, *ino) == vec![byte; 900_000]);
    }
}

/// A pool with far more changed nodes of a directory in memory than may be: a start has replayed them from the log.
fn full_of_changes(world: &World) -> Pool {
    let pool = world.open();
    file(&pool, "other", b"x");
    let directory = create(&pool, Ino::ROOT, "d", Kind::Directory);
    for n in 0..6_000 {
        block_on(pool.create(directory, format!("f{n}").as_bytes(), new(Kind::File))).unwrap();
    }
    block_on(pool.sync()).unwrap();
    drop(pool);
    open_still(world, 1 << 20)
}

/// A removal kept the changed nodes of its directory in memory, to see whether they were still the same, and then waited until
/// fewer were: for itself, for ever.
#[test]
fn the_removal_of_a_changed_tree_does_not_wait_for_itself() {
    let world = World::new();
    let pool = full_of_changes(&world);
    let removal = async { pool.remove_tree(Ino::ROOT, b"d").await.unwrap() };
    assert!(all_end(&pool, vec![Box::pin(removal)]), "the removal waits for ever");
    assert!(pool.metrics().memory_waits.get() > 0, "it did not have to wait");
    assert!(block_on(pool.lookup(Ino::ROOT, b"d")).is_err());
}

/// The same of a clone that replaces such a directory.
#[test]
fn a_clone_over_a_changed_tree_does_not_wait_for_itself() {
    let world = World::new();
    let pool = full_of_changes(&world);
    let options = CloneOptions { replace: true, ..CloneOptions::default() };
    let clone = async {
        let source = pool.lookup(Ino::ROOT, b"other").await.unwrap().ino;
        pool.clone_inode(source, Ino::ROOT, b"d", options).await.unwrap();
    };
    assert!(all_end(&pool, vec![Box::pin(clone)]), "the clone waits for ever");
    assert!(pool.metrics().memory_waits.get() > 0, "it did not have to wait");
    assert_eq!(block_on(pool.lookup(Ino::ROOT, b"d")).unwrap().kind, Kind::File);
}

/// The list of attributes is in a frame that is not in memory when the condition is looked at, and nothing is left of what was refused.
#[test]
fn a_change_on_a_condition_is_made_whole_or_not_at_all() {
    let world = World::new();
    let pool = world.open();
    let ino = file(&pool, "f", b"content");
    let long = vec![b'v'; 4096];
    block_on(pool.set_xattr(ino, b"user.long", &long, XattrMode::Set, None)).unwrap();
    block_on(pool.close()).unwrap();
    let pool = world.open();
    let ino = at(&pool, "f");
    let before = block_on(pool.attributes(ino)).unwrap();

    let set = SetAttributes { mode: Some(0o600), uid: Some(7), ..SetAttributes::default() };
    let with = |value: &[u8]| Unchanged {
        xattr: Some((b"user.long".to_vec(), Some(Bytes::copy_from_slice(value)))),
        ..Unchanged::default()
    };
    let attempts = [
        with(b"other"),
        Unchanged { xattr: Some((b"user.long".to_vec(), None)), ..Unchanged::default() },
        Unchanged { xattr: Some((b"user.none".to_vec(), Some(Bytes::new()))), ..Unchanged::default() },
        Unchanged { mode: Some(before.mode ^ 1), ..with(&long) },
        Unchanged { uid: Some(before.uid + 1), ..with(&long) },
        Unchanged { gid: Some(before.gid + 1), ..with(&long) },
        Unchanged { ctime: Some(Timestamp { secs: -1, nanos: 0 }), ..with(&long) },
    ];
    for unchanged in attempts {
        assert_eq!(block_on(pool.set_attributes_if(ino, set, unchanged.clone())).unwrap(), None);
        let attribute = (&b"user.new"[..], &b"x"[..]);
        let unset = block_on(pool.set_xattr_if(ino, attribute, XattrMode::Set, None, unchanged)).unwrap();
        assert!(!unset);
    }
    assert_eq!(block_on(pool.attributes(ino)).unwrap(), before);
    assert_eq!(block_on(pool.xattrs(ino)).unwrap(), [b"user.long"]);

    let unchanged = Unchanged {
        mode: Some(before.mode),
        uid: Some(before.uid),
        gid: Some(before.gid),
        ctime: Some(before.ctime),
        ..with(&long)
    };
    let after = block_on(pool.set_attributes_if(ino, set, unchanged)).unwrap().unwrap();
    assert_eq!((after.mode, after.uid), (0o600, 7));
    block_on(pool.sync()).unwrap();
    drop(pool);
    let pool = world.open();
    let replayed = block_on(pool.attributes(at(&pool, "f"))).unwrap();
    assert_eq!((replayed.mode, replayed.uid, replayed.ctime), (0o600, 7, after.ctime));
}

/// Holds whoever has counted names for one turn.
struct OneTurn;

impl Observer for OneTurn {
    fn executed(&self, _: u64, _: Timestamp, _: bool) {}

    fn recovered(&self, _: u64) {}

    fn reached(&self, failpoint: &'static str) -> Fate {
        Fate::Waits(u32::from(failpoint == "remove_after_counting_links"))
    }
}

/// A directory came to be where a file had been, or another directory, between the counting of the names below and the removal. The
/// file with a name in it was said to have one name more than it had, for ever.
#[test]
fn what_is_removed_is_what_the_names_were_counted_of() {
    for replaced in [false, true] {
        for was in [None, Some(Kind::File), Some(Kind::Directory)] {
            let world = World::new();
            let pool = world.open();
            let shared = file(&pool, "shared", b"with several names");
            if let Some(kind) = was {
                create(&pool, Ino::ROOT, "name", kind);
            }
            // Without a name there is nothing to remove, and something to replace only later.
            if was.is_none() && !replaced {
                continue;
            }
            let source = file(&pool, "source", b"x");
            let other = create(&pool, Ino::ROOT, "other", Kind::Directory);
            block_on(pool.link(shared, other, b"second")).unwrap();
            observe(Some(Rc::new(OneTurn)));
            let mut removal: Running<'_> = Box::pin(async {
                let options = CloneOptions { replace: true, ..CloneOptions::default() };
                match replaced {
                    true => drop(pool.clone_inode(source, Ino::ROOT, b"name", options).await.unwrap()),
                    false => pool.remove_tree(Ino::ROOT, b"name").await.unwrap(),
                }
            });
            assert!(poll(&mut removal).is_pending());
            let how = if was.is_some() { RenameMode::Exchange } else { RenameMode::Replace };
            block_on(pool.rename(Ino::ROOT, b"other", Ino::ROOT, b"name", how)).unwrap();
            while poll(&mut removal).is_pending() {}
            observe(None);
            drop(removal);
            assert_eq!(block_on(pool.attributes(shared)).unwrap().nlink, 1, "{was:?}, replaced: {replaced}");
            assert_eq!(block_on(pool.check()).unwrap().findings, []);
        }
    }
}

/// A read came to the end of a file and waited for the store. The file had grown by the time that it looked for more, so the
/// reader got its old beginning and its new end.
#[test]
fn a_read_is_of_one_state() {
    let world = World::new();
    let wire = Wire::to(&world);
    let pool = wire.open(&world);
    let old: Vec<u8> = (0..100_000_u32).map(|n| (n / 7) as u8).collect();
    file(&pool, "f", &old);
    block_on(pool.close()).unwrap();
    let pool = wire.open(&world);
    let ino = at(&pool, "f");
    wire.plan(Call::Get, "segments/", Trouble::Held, 1);
    let mut bytes = Vec::new();
    let mut reading = Box::pin(pool.read(ino, 0, 1 << 20, &mut bytes));
    assert!(poll(&mut reading).is_pending() && wire.troubles() == 1, "it waits for the store");
    block_on(pool.write(ino, 0, Bytes::from_static(b"new"), false)).unwrap();
    block_on(pool.write(ino, 100_000, Bytes::from_static(b"new"), false)).unwrap();
    wire.let_go();
    while poll(&mut reading).is_pending() {}
    drop(reading);
    assert!(bytes == old, "{} bytes", bytes.len());
}

/// A log whose first sync fails, and whose later ones say that all is well, as a disk may whose cache has dropped what it could not write.
struct Forgetful {
    log: MemoryLog,
    syncs: AtomicUsize,
}

impl BlockingLog for Forgetful {
    fn list(&self) -> Result<Vec<u64>> {
        BlockingLog::list(&self.log)
    }

    fn create(&self, number: u64) -> Result<()> {
        BlockingLog::create(&self.log, number)
    }

    fn append(&self, number: u64, offset: u64, parts: &[Bytes]) -> Result<()> {
        BlockingLog::append(&self.log, number, offset, parts)
    }

    fn sync(&self, _: u64) -> Result<()> {
        match self.syncs.fetch_add(1, Ordering::Relaxed) {
            0 => Err(Error::new(ErrorKind::Store, "the disk has failed (simulated)")),
            _ => Ok(()),
        }
    }

    fn read(&self, number: u64) -> Result<Bytes> {
        BlockingLog::read(&self.log, number)
    }

    fn keep_copy(&self, number: u64) -> Result<()> {
        BlockingLog::keep_copy(&self.log, number)
    }

    fn delete(&self, number: u64) -> Result<()> {
        BlockingLog::delete(&self.log, number)
    }
}

/// The second of two syncs waited while the first one failed, and then synced again what the disk no longer had.
#[test]
fn a_sync_that_waited_while_the_log_failed_fails_too() {
    let world = World::new();
    let wire = Wire::to(&world);
    let log = Arc::new(Forgetful { log: MemoryLog::new(), syncs: AtomicUsize::new(0) });
    let storage = Storage { objects: wire.clone(), log };
    let opening = Pool::open(storage, Arc::new(StillClock), world.settings.clone(), OpenMode::Create);
    let pool = block_on(opening).unwrap();
    // Frames go to the store first, where the first sync is held up.
    let ino = file(&pool, "f", b"");
    block_on(pool.write(ino, 0, vec![7; 200_000].into(), false)).unwrap();
    wire.plan(Call::Put, "segments/", Trouble::Held, 1);
    let (mut first, mut second) = (Box::pin(pool.sync()), Box::pin(pool.sync()));
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    wire.let_go();
    let answer = |sync: &mut Pin<Box<dyn Future<Output = Result<()>> + '_>>| {
        for _ in 0..100 {
            if let Poll::Ready(answer) = poll(sync) {
                return answer.map_err(|error| error.kind());
            }
        }
        panic!("it never ends");
    };
    let (mut first, mut second): (Pin<Box<dyn Future<Output = _>>>, Pin<Box<dyn Future<Output = _>>>) =
        (first, second);
    assert_eq!(answer(&mut first), Err(ErrorKind::Store));
    assert_eq!(answer(&mut second), Err(ErrorKind::Store), "nobody knows what the disk has");
}
