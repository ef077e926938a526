//! The local directory as a store: whole objects, leftovers, full disks.

use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;

use futures::executor::block_on;

use super::*;
use crate::object::disk::tests::TinyMedium;

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn open(&self) -> LocalStore {
        LocalStore::open(self.root()).unwrap()
    }
}

fn put(store: &LocalStore, name: &str, bytes: &[u8]) -> Result<()> {
    block_on(store.put(name, vec![Bytes::copy_from_slice(bytes)]))
}

fn get(store: &LocalStore, name: &str) -> Result<Bytes> {
    block_on(store.get(name, 0, u64::MAX))
}

fn kind<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("should have failed"),
        Err(e) => e.kind(),
    }
}

/// Every file below `root`, temporary ones too.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path().to_str().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn an_object_is_there_after_reopening() {
    let place = Place::new();
    let parts = vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two")];
    block_on(place.open().put("segments/00/0a", parts)).unwrap();

    let store = place.open();
    assert_eq!(get(&store, "segments/00/0a").unwrap(), "onetwo");
    assert_eq!(block_on(store.size("segments/00/0a")).unwrap(), 6);
    assert_eq!(block_on(store.get("segments/00/0a", 2, 3)).unwrap(), "etw");
    assert_eq!(block_on(store.get("segments/00/0a", 4, 100)).unwrap(), "wo");
    assert_eq!(block_on(store.get("segments/00/0a", 6, 1)).unwrap(), "");
    assert_eq!(block_on(store.get("segments/00/0a", u64::MAX, u64::MAX)).unwrap(), "");
}

#[test]
fn thousands_of_parts_are_written_in_order() {
    let place = Place::new();
    let store = place.open();
    let parts: Vec<Bytes> = (0..3000u32).map(|n| Bytes::copy_from_slice(&n.to_le_bytes())).collect();
    block_on(store.put("many", parts.clone())).unwrap();
    assert_eq!(get(&store, "many").unwrap(), parts.concat());
    block_on(store.put("none", Vec::new())).unwrap();
    assert_eq!(block_on(store.size("none")).unwrap(), 0);
}

#[test]
fn a_taken_name_is_refused_and_keeps_its_bytes() {
    let place = Place::new();
    let store = place.open();
    put(&store, "manifest/1", b"first").unwrap();
    assert_eq!(kind(put(&store, "manifest/1", b"second")), ErrorKind::Exists);
    assert_eq!(get(&store, "manifest/1").unwrap(), "first");
    assert_eq!(kind(put(&store, "manifest", b"a directory has this name")), ErrorKind::Exists);
    assert_eq!(files(&place.root()).len(), 1);
}

#[test]
fn of_racing_puts_exactly_one_wins() {
    let place = Place::new();
    // Two stores on one directory, as two processes would have them.
    let stores = [place.open(), place.open()];
    for round in 0..30 {
        let name = format!("races/{round}/object");
        let barrier = Barrier::new(8);
        let winners: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|n| {
                    let (store, barrier, name) = (&stores[n % 2], &barrier, &name);
                    scope.spawn(move || {
                        let bytes = format!("{n}").repeat(10_000);
                        barrier.wait();
                        match put(store, name, bytes.as_bytes()) {
                            Ok(()) => Some(bytes),
                            Err(e) => {
                                assert_eq!(e.kind(), ErrorKind::Exists);
                                None
                            }
                        }
                    })
                })
                .collect();
            threads.into_iter().filter_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(get(&stores[0], &name).unwrap(), winners[0]);
    }
    assert_eq!(files(&place.root()).len(), 30);
}

/// A reader that opens the store sweeps it; the files of a writer at work must survive that, or the put must start again.
#[test]
fn opening_a_store_does_not_disturb_a_live_writer() {
    let place = Place::new();
    let store = place.open();
    let mut results = Vec::new();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                place.open();
            }
        });
        for n in 0..200 {
            results.push(put(&store, &format!("segments/{n}"), &vec![n as u8; 50_000]));
        }
        done.store(true, Ordering::Relaxed);
    });
    results.into_iter().collect::<Result<Vec<()>>>().unwrap();
    assert_eq!(block_on(store.list("segments/")).unwrap().len(), 200);
    assert_eq!(files(&place.root()).len(), 200);
}

#[test]
fn opening_spares_a_locked_temporary_file_and_removes_the_rest() {
    let place = Place::new();
    let store = place.open();
    put(&store, "a/b/object", b"kept").unwrap();
    let directory = place.root().join("a/b");
    let live = store.create_temporary(&directory).unwrap();
    let dead = directory.join("~put-00000000000000ff");
    std::fs::write(&dead, b"half an obj").unwrap();
    std::fs::write(place.root().join("~put-0000000000000001"), b"").unwrap();
    std::fs::write(place.root().join("README.txt~"), b"not ours").unwrap();

    let reopened = place.open();
    assert!(live.path.exists());
    assert!(!dead.exists());
    let mut left = files(&place.root());
    left.sort();
    assert_eq!(left.len(), 3, "{left:?}");
    assert!(place.root().join("README.txt~").exists());
    let listed = block_on(reopened.list("")).unwrap();
    assert_eq!(listed, vec![ObjectInfo { name: "a/b/object".into(), size: 4 }]);

    drop(live);
    assert_eq!(files(&place.root()).len(), 2);
}

#[test]
fn a_lost_temporary_file_is_noticed_and_a_foreign_one_passed_over() {
    let place = Place::new();
    let store = place.open();
    put(&store, "a", b"").unwrap();
    let temporary = store.create_temporary(&place.root()).unwrap();
    std::fs::remove_file(&temporary.path).unwrap();
    let error = temporary.rename(&place.root().join("b")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    // The name of another process's temporary file is passed over.
    let number = store.next_temporary.load(Ordering::Relaxed);
    let foreign = place.root().join(format!("~put-{number:016x}"));
    std::fs::write(&foreign, b"of another").unwrap();
    put(&store, "b", b"bytes").unwrap();
    assert_eq!(get(&store, "b").unwrap(), "bytes");
    assert_eq!(std::fs::read(&foreign).unwrap(), b"of another");
}

#[test]
fn list_is_sorted_by_whole_names_and_filtered_by_prefix() {
    let place = Place::new();
    let store = place.open();
    assert_eq!(block_on(store.list("")).unwrap(), vec![]);
    for name in ["b", "a/c/1", "a.b", "a/b", "a-b/x", "ab/1", "a/c/0"] {
        put(&store, name, name.as_bytes()).unwrap();
    }
    let names = |prefix: &str| -> Vec<String> {
        block_on(store.list(prefix)).unwrap().into_iter().map(|o| o.name).collect()
    };
    assert_eq!(names(""), ["a-b/x", "a.b", "a/b", "a/c/0", "a/c/1", "ab/1", "b"]);
    assert_eq!(names("a/"), ["a/b", "a/c/0", "a/c/1"]);
    assert_eq!(names("a"), ["a-b/x", "a.b", "a/b", "a/c/0", "a/c/1", "ab/1"]);
    assert_eq!(names("a/c"), ["a/c/0", "a/c/1"]);
    assert_eq!(names("a/c/1"), ["a/c/1"]);
    assert_eq!(names("x/y/"), Vec::<String>::new());
    assert_eq!(kind(block_on(store.list("../"))), ErrorKind::Invalid);
}

#[test]
fn what_is_not_there_is_not_found() {
    let place = Place::new();
    let store = place.open();
    put(&store, "a/b", b"x").unwrap();
    for name in ["c", "a/c", "a", "a/b/c", "x/y/z"] {
        assert_eq!(kind(get(&store, name)), ErrorKind::NotFound, "{name}");
        assert_eq!(kind(block_on(store.size(name))), ErrorKind::NotFound, "{name}");
    }
    for name in ["c", "a/b/c", "x/y/z"] {
        block_on(store.delete(name)).unwrap();
    }
    for name in ["../a", "", "/etc/passwd", "a/../../b"] {
        assert_eq!(kind(put(&store, name, b"")), ErrorKind::Invalid);
        assert_eq!(kind(get(&store, name)), ErrorKind::Invalid);
        assert_eq!(kind(block_on(store.size(name))), ErrorKind::Invalid);
        assert_eq!(kind(block_on(store.delete(name))), ErrorKind::Invalid);
    }
}

#[test]
fn a_deleted_object_is_gone_and_its_file_is_closed() {
    let place = Place::new();
    let store = place.open();
    put(&store, "a", b"old").unwrap();
    get(&store, "a").unwrap();
    block_on(store.delete("a")).unwrap();
    assert_eq!(kind(get(&store, "a")), ErrorKind::NotFound);
    assert!(store.open_files.lock().files.is_empty());
    put(&store, "a", b"new").unwrap();
    assert_eq!(get(&store, "a").unwrap(), "new");
}

/// A read that opens a file just before it is deleted must not keep it open, where it would hold its space.
#[test]
fn a_read_that_races_a_deletion_leaves_no_file_open() {
    let place = Place::new();
    let store = place.open();
    for round in 0..500 {
        let name = format!("{round}");
        put(&store, &name, b"bytes").unwrap();
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                match get(&store, &name) {
                    Ok(bytes) => assert_eq!(bytes, "bytes"),
                    Err(e) => assert_eq!(e.kind(), ErrorKind::NotFound),
                }
            });
            barrier.wait();
            block_on(store.delete(&name)).unwrap();
        });
        assert!(store.open_files.lock().files.is_empty(), "round {round}");
    }
}

#[test]
fn open_files_are_bounded_and_the_oldest_goes_first() {
    let place = Place::new();
    let store = place.open();
    for n in 0..OPEN_FILES_MAX + 10 {
        put(&store, &format!("{n}"), &[n as u8]).unwrap();
    }
    for n in 0..OPEN_FILES_MAX + 10 {
        get(&store, "0").unwrap();
        assert_eq!(get(&store, &format!("{n}")).unwrap(), [n as u8][..]);
    }
    let files = store.open_files.lock();
    assert_eq!(files.files.len(), OPEN_FILES_MAX);
    assert!(files.files.contains_key("0"));
    assert!(!files.files.contains_key("1"));
}

#[test]
fn a_root_that_is_missing_is_an_empty_store_and_stays_missing_until_a_put() {
    let place = Place::new();
    let root = place.directory.path().join("x/y/z");
    let store = LocalStore::open(root.clone()).unwrap();
    assert_eq!(block_on(store.list("")).unwrap(), vec![]);
    assert_eq!(kind(get(&store, "a")), ErrorKind::NotFound);
    assert!(block_on(store.space()).unwrap().unwrap().total > 0);
    assert!(!root.exists());
    put(&store, "a", b"").unwrap();
    assert_eq!(std::fs::metadata(root.join("a")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let place = Place::new();
    std::fs::write(place.root(), b"").unwrap();
    assert_eq!(LocalStore::open(place.root()).map(|_| ()).map_err(|e| e.kind()), Err(ErrorKind::Store));
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    for medium in [TinyMedium::tmpfs(), TinyMedium::ext4()].into_iter().flatten() {
        let store = LocalStore::open(medium.path().join("store")).unwrap();
        put(&store, "small", b"fits").unwrap();
        let space = block_on(store.space()).unwrap().unwrap();
        assert!(space.free <= space.total && space.total <= 8 << 20, "{space:?}");
        let large = vec![1; space.total as usize + 4096];
        assert_eq!(kind(put(&store, "large", &large)), ErrorKind::NoSpace, "{}", medium.kind);
        assert_eq!(kind(put(&store, "other/large", &large)), ErrorKind::NoSpace, "{}", medium.kind);
        assert_eq!(kind(put(&store, "small", &large)), ErrorKind::Exists, "{}", medium.kind);
        assert_eq!(files(&medium.path().join("store")).len(), 1);
        // The space of the attempt is back, and what was there is well.
        put(&store, "half", &large[..space.free as usize / 2]).unwrap();
        assert_eq!(get(&store, "small").unwrap(), "fits");
        block_on(store.delete("half")).unwrap();
        put(&store, "half2", &large[..space.free as usize / 2]).unwrap();
    }
}
