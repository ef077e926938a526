//! Damage that `check` has to find: manifests that were changed and sealed again.

use std::sync::Arc;

use bytes::Bytes;
use futures::executor::block_on;

use crate::format::manifest::{self, Manifest};
use crate::log::MemoryLog;
use crate::object::{MemoryStore, ObjectStore};
use crate::record::{Realm, Scope};
use crate::{CloneOptions, Ino, Kind, NewInode, OpenMode, Pool, Settings, Storage, SystemClock};

fn open(storage: &Storage) -> Pool {
    let settings = Settings { reserve_bytes: 0, ..Settings::default() };
    block_on(Pool::open(
        storage.clone(),
        Arc::new(SystemClock::default()),
        settings,
        OpenMode::CreateIfMissing,
    ))
    .unwrap()
}

fn create(pool: &Pool, parent: Ino, name: &str, kind: Kind) -> Ino {
    let new =
        NewInode { kind, mode: 0o755, uid: 0, gid: 0, rdev: 0, target: Bytes::new(), xattrs: Vec::new() };
    block_on(pool.create(parent, name.as_bytes(), new)).unwrap().ino
}

/// What `check` says of a pool with clones, an alias, a freed id and a file with two names, after its newest manifest has been
/// changed.
fn findings(change: impl FnOnce(&mut Manifest)) -> String {
    let storage = Storage { objects: Arc::new(MemoryStore::new()), log: Arc::new(MemoryLog::new()) };
    let pool = open(&storage);
    let base = create(&pool, Ino::ROOT, "base", Kind::Directory);
    create(&pool, base, "f", Kind::File);
    let clone = |source, name: &str| {
        block_on(pool.clone_inode(source, Ino::ROOT, name.as_bytes(), CloneOptions::default())).unwrap().ino
    };
    clone(base, "a");
    let gone = clone(base, "b");
    let whole = clone(Ino::ROOT, "c");
    block_on(pool.lookup(whole, b"a")).unwrap();
    block_on(pool.remove_tree(Ino::ROOT, b"b")).unwrap();
    pool.forget(gone, 1);
    let file = create(&pool, Ino::ROOT, "one", Kind::File);
    block_on(pool.link(file, Ino::ROOT, b"two")).unwrap();
    block_on(pool.gc()).unwrap();
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
    block_on(pool.close()).unwrap();
    drop(pool);
    let newest = block_on(storage.objects.list(manifest::PREFIX)).unwrap().pop().unwrap();
    let bytes = block_on(storage.objects.get(&newest.name, 0, newest.size)).unwrap();
    let mut manifest = Manifest::decode(&bytes, crate::format::VERSION, &newest.name).unwrap();
    change(&mut manifest);
    block_on(storage.objects.delete(&newest.name)).unwrap();
    block_on(storage.objects.put(&newest.name, vec![manifest.encode()])).unwrap();
    let report = block_on(open(&storage).check()).unwrap();
    report.findings.into_iter().map(|finding| finding.message + "\n").collect()
}

#[test]
fn an_id_that_is_neither_used_nor_free_is_found() {
    let found = findings(|manifest| manifest.next_realm.id += 2);
    assert!(found.contains("are neither used nor free"), "{found}");
    let found = findings(|manifest| manifest.next_realm.id -= 1);
    assert!(found.contains("was never given out"), "{found}");
}

#[test]
fn a_use_that_is_not_counted_is_found() {
    let found = findings(|manifest| manifest.realms = None);
    assert!(found.contains("is used 1 times and the tree of realms has none"), "{found}");
    assert!(found.contains("is gone and still has aliases"), "{found}");
}

#[test]
fn a_use_that_is_counted_and_not_there_is_found() {
    let found = findings(|manifest| manifest.aliases = None);
    assert!(found.contains("1 uses by the tree of realms; 0 uses"), "{found}");
}

#[test]
fn an_id_that_is_used_twice_is_found() {
    // The next clone gets an id that one has.
    let storage = Storage { objects: Arc::new(MemoryStore::new()), log: Arc::new(MemoryLog::new()) };
    let pool = open(&storage);
    let base = create(&pool, Ino::ROOT, "base", Kind::Directory);
    block_on(pool.clone_inode(base, Ino::ROOT, b"a", CloneOptions::default())).unwrap();
    pool.inner.core.write().state.next_realm.id = Realm::FIRST.id;
    block_on(pool.clone_inode(base, Ino::ROOT, b"b", CloneOptions::default())).unwrap();
    let report = block_on(pool.check()).unwrap();
    assert!(report.findings.iter().any(|finding| finding.message.contains("is used twice")), "{report:?}");
}

#[test]
fn wrong_counts_of_names_are_found() {
    let found = findings(|manifest| {
        manifest.root.directory_mut().unwrap().realm.as_mut().unwrap().side = None;
    });
    assert!(found.contains("2 names lead to file"), "{found}");
    // As if only a part of the names was there: then they are not compared.
    let found = findings(|manifest| {
        let realm = manifest.root.directory_mut().unwrap().realm.as_mut().unwrap();
        realm.scope = Scope::Part;
    });
    assert_eq!(found, "");
}

#[test]
fn a_count_of_names_that_is_too_high_or_low_is_found() {
    for change in [1i32, -1] {
        let storage = Storage { objects: Arc::new(MemoryStore::new()), log: Arc::new(MemoryLog::new()) };
        let pool = open(&storage);
        let file = create(&pool, Ino::ROOT, "one", Kind::File);
        block_on(pool.link(file, Ino::ROOT, b"two")).unwrap();
        {
            let mut core = pool.inner.core.write();
            let realm = core.state.root.directory_mut().unwrap().realm.as_mut().unwrap();
            let key = crate::record::SideKey { foreign: None, number: file.number() };
            let nodes = crate::segment::Pinned::new(&pool.inner.items);
            crate::tree::update::<_, _, crate::tree::Missing>(&mut realm.side, &key, &nodes, |inode| {
                let inode = Arc::make_mut(inode);
                inode.nlink = inode.nlink.saturating_add_signed(change);
                Ok(())
            })
            .unwrap();
        }
        let report = block_on(pool.check()).unwrap();
        let expected = format!("says {} names and has 2", 2 + change);
        assert!(report.findings.iter().any(|finding| finding.message.contains(&expected)), "{report:?}");
    }
}
