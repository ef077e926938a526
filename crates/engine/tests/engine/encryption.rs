//! Encrypted pools: what is stored shows nothing, what was tampered with is refused, and keys can be changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::executor::block_on;
use offshoot_engine::log::{LogStore, ObjectLog};
use offshoot_engine::object::{MemoryStore, ObjectStore};
use offshoot_engine::{
    CloneOptions, ErrorKind, Ino, KeyChange, Kind, OpenMode, Pool, Secret, Settings, SlotKind, Storage,
    XattrMode, fork,
};

use crate::world::{
    Chance, Random, World, at, cheap_encryption, clone, create, file, kind, new, read, reseal, write,
};

fn world_with(password: &str) -> World {
    World::with(Settings {
        reserve_bytes: 0,
        segment_bytes: 16 << 10,
        encryption: Some(cheap_encryption(password, 7)),
        ..Settings::default()
    })
}

fn set_password(world: &mut World, password: &str) {
    world.settings.encryption = Some(cheap_encryption(password, 8));
}

fn password(password: &str) -> Secret {
    Secret::password(password).unwrap()
}

/// Everything that is stored.
fn stored(world: &World) -> BTreeMap<String, Vec<u8>> {
    let objects = world.object_names("").into_iter().map(|name| (name.clone(), world.object(&name)));
    let log = block_on(world.log.list()).unwrap().into_iter();
    let log = log.map(|number| (format!("log {number}"), block_on(world.log.read(number)).unwrap().to_vec()));
    objects.chain(log).collect()
}

fn sound(pool: &Pool) {
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
    assert_eq!(block_on(pool.scrub()).unwrap().findings, []);
}

/// Names, contents, attributes, targets, values and paths of origins that nothing else has.
const WORDS: [&str; 9] = [
    "name-of-a-directory",
    "name-of-a-file",
    "content-that-is-inline",
    "content-of-a-frame",
    "user.name-of-an-attribute",
    "value-of-an-attribute",
    "target-of-a-link",
    "path-of-an-origin",
    "content-in-the-log",
];

fn fill(pool: &Pool) {
    let directory = create(pool, Ino::ROOT, WORDS[0], Kind::Directory);
    let path = |name: &str| format!("{}/{name}", WORDS[0]);
    let inline = file(pool, &path(WORDS[1]), WORDS[2].as_bytes());
    block_on(pool.set_xattr(inline, WORDS[4].as_bytes(), WORDS[5].as_bytes(), XattrMode::Set, None)).unwrap();
    file(pool, &path("frames"), &WORDS[3].as_bytes().repeat(20_000));
    for n in 0..300 {
        file(pool, &path(&format!("{} {n}", WORDS[1])), format!("{} {n}", WORDS[3]).repeat(90).as_bytes());
    }
    let mut link = new(Kind::Symlink);
    link.target = WORDS[6].into();
    block_on(pool.create(directory, b"link", link)).unwrap();
    let options = CloneOptions { source_path: WORDS[7].as_bytes().to_vec(), ..CloneOptions::default() };
    block_on(pool.clone_inode(directory, Ino::ROOT, b"copy", options)).unwrap();
    block_on(pool.checkpoint()).unwrap();
    block_on(pool.remove_tree(Ino::ROOT, b"copy")).unwrap();
    block_on(pool.gc()).unwrap();
    // What the log has alone.
    file(pool, &path("later"), WORDS[8].repeat(3).as_bytes());
    block_on(pool.sync()).unwrap();
}

fn shows(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn nothing_that_was_written_can_be_read_in_what_is_stored() {
    for compression in [offshoot_engine::Compression::None, offshoot_engine::Compression::Lz4] {
        let mut world = world_with("a password");
        world.settings.compression = compression;
        let pool = world.open();
        fill(&pool);
        drop(pool);
        for (name, bytes) in stored(&world) {
            for word in WORDS {
                assert!(!shows(&bytes, word), "{name} shows {word}");
            }
        }
        let pool = world.open();
        sound(&pool);
        assert_eq!(read(&pool, at(&pool, &format!("{}/later", WORDS[0]))), WORDS[8].repeat(3).as_bytes());
        block_on(pool.close()).unwrap();
        drop(pool);
        for (name, bytes) in stored(&world) {
            assert!(WORDS.iter().all(|word| !shows(&bytes, word)), "{name}");
        }
        // The same without encryption shows all of it, so this is a test.
        let mut plain = World::new();
        plain.settings.compression = offshoot_engine::Compression::None;
        fill(&plain.open());
        let all: Vec<u8> = stored(&plain).into_values().flatten().collect();
        assert!(WORDS.iter().all(|word| shows(&all, word)));
    }
}

#[test]
fn a_wrong_password_or_none_opens_nothing_and_changes_nothing() {
    let mut world = world_with("right");
    fill(&world.open());
    let before = stored(&world);
    let right = world.settings.encryption.clone();
    let key =
        offshoot_engine::Encryption { secret: Secret::key(&[3; 32]).unwrap(), ..right.clone().unwrap() };
    for wrong in [Some(cheap_encryption("wrong", 1)), Some(key), None] {
        let is_given = wrong.is_some();
        world.settings.encryption = wrong;
        for accept_loss in [false, true] {
            world.settings.accept_loss = accept_loss;
            let error = world.try_open().err().unwrap();
            assert_eq!(error.kind(), ErrorKind::WrongPassword);
            let words = if is_given { "does not open it" } else { "storage.encryption_password" };
            assert!(error.to_string().contains(words), "{error}");
        }
    }
    assert_eq!(stored(&world), before);
    world.settings.encryption = right;
    sound(&world.open());
}

/// Somebody who can write to the store could put a pool of their own there: who asks for an encrypted one never gets it.
#[test]
fn a_password_for_a_pool_that_is_not_encrypted_is_an_error() {
    let mut world = World::new();
    fill(&world.open());
    let before = stored(&world);
    set_password(&mut world, "a password");
    let error = world.try_open().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("not encrypted"), "{error}");
    assert_eq!(stored(&world), before);
}

#[test]
fn a_plain_pool_says_that_it_has_no_keys() {
    let pool = World::new().open();
    assert_eq!((pool.key_slots(), pool.key_count()), (None, 0));
    let error = block_on(pool.change_keys(KeyChange::Add(password("x")))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("make a new pool"), "{error}");
}

#[test]
fn a_password_can_be_replaced_and_the_old_one_opens_nothing_any_more() {
    let mut world = world_with("old");
    let pool = world.open();
    fill(&pool);
    let segments = |world: &World| -> Vec<_> {
        stored(world).into_iter().filter(|(name, _)| name.starts_with("segments/")).collect()
    };
    block_on(pool.checkpoint()).unwrap();
    let before = segments(&world);
    block_on(pool.change_keys(KeyChange::Replace(password("new")))).unwrap();
    let after = segments(&world);
    assert!(
        after.iter().filter(|object| before.contains(object)).count() * 2 > before.len(),
        "nothing is rewritten"
    );
    assert_eq!(pool.key_slots().unwrap().len(), 1);
    file(&pool, "after", b"the change");
    block_on(pool.sync()).unwrap();
    drop(pool);
    assert_eq!(kind(world.try_open()), Some(ErrorKind::WrongPassword));
    // Nor if what it had is gone: the manifest before the newest has the new slot too.
    let newest = world.object_names("manifests/").pop().unwrap();
    let kept = world.object(&newest);
    world.lose_object(&newest);
    assert_eq!(kind(world.try_open()), Some(ErrorKind::WrongPassword));
    world.replace_object(&newest, kept);
    set_password(&mut world, "new");
    let pool = world.open();
    sound(&pool);
    assert_eq!(read(&pool, at(&pool, "after")), b"the change");
}

#[test]
fn several_secrets_open_one_pool() {
    let mut world = world_with("first");
    let pool = world.open();
    fill(&pool);
    block_on(pool.change_keys(KeyChange::Add(password("second")))).unwrap();
    block_on(pool.change_keys(KeyChange::Add(Secret::key(&[9; 32]).unwrap()))).unwrap();
    let slots = pool.key_slots().unwrap();
    let kinds: Vec<_> = slots.iter().map(|slot| (slot.kind, slot.is_current)).collect();
    assert_eq!(kinds, [(SlotKind::Password, true), (SlotKind::Password, false), (SlotKind::Key, false)]);
    let error = block_on(pool.change_keys(KeyChange::Remove(slots[0].id))).unwrap_err();
    assert!(error.to_string().contains("opened with"), "{error}");
    assert_eq!(kind(block_on(pool.change_keys(KeyChange::Remove(77)))), Some(ErrorKind::NotFound));
    drop(pool);

    world.settings.encryption.as_mut().unwrap().secret = Secret::key(&[9; 32]).unwrap();
    let pool = world.open();
    block_on(pool.change_keys(KeyChange::Remove(slots[0].id))).unwrap();
    drop(pool);
    set_password(&mut world, "first");
    assert_eq!(kind(world.try_open()), Some(ErrorKind::WrongPassword));
    set_password(&mut world, "second");
    let pool = world.open();
    for n in 0..6 {
        block_on(pool.change_keys(KeyChange::Add(password(&format!("more {n}"))))).unwrap();
    }
    let error = block_on(pool.change_keys(KeyChange::Add(password("too many")))).unwrap_err();
    assert!(error.to_string().contains('8'), "{error}");
    sound(&pool);
}

#[test]
fn a_new_key_is_for_what_is_written_from_then_on() {
    let mut world = world_with("first");
    let pool = world.open();
    fill(&pool);
    block_on(pool.change_keys(KeyChange::Add(password("second")))).unwrap();
    let error = block_on(pool.change_keys(KeyChange::Rotate { drop_others: false })).unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("drop the others"), "{error}");
    block_on(pool.change_keys(KeyChange::Rotate { drop_others: true })).unwrap();
    assert_eq!((pool.key_count(), pool.key_slots().unwrap().len()), (2, 1));
    file(&pool, "after", &b"the change".repeat(9000));
    let other = clone(&pool, at(&pool, WORDS[0]), Ino::ROOT, "other").ino;
    write(&pool, at(&pool, "other/frames"), 5, b"new");
    block_on(pool.sync()).unwrap();
    block_on(pool.gc()).unwrap();
    sound(&pool);
    assert_eq!(&read(&pool, at(&pool, "other/frames"))[5..8], b"new");
    pool.forget(other, 1);
    drop(pool);
    let newest = world.object(&world.object_names("manifests/").pop().unwrap());
    set_password(&mut world, "second");
    assert_eq!(kind(world.try_open()), Some(ErrorKind::WrongPassword));
    set_password(&mut world, "first");
    let pool = world.open();
    sound(&pool);
    assert_eq!(read(&pool, at(&pool, "after")), b"the change".repeat(9000));
    block_on(pool.change_keys(KeyChange::Rotate { drop_others: false })).unwrap();
    assert_eq!(pool.key_count(), 3);
    file(&pool, "third", b"x");
    block_on(pool.close()).unwrap();
    drop(pool);
    assert_ne!(world.object(&world.object_names("manifests/").pop().unwrap()), newest);
    sound(&world.open());
}

/// A fork and its parent have the same keys and go on under the same numbers: no content of one may meet a key of the other.
#[test]
fn a_fork_of_an_encrypted_pool_opens_with_the_password_and_goes_its_own_way() {
    let objects: Arc<dyn ObjectStore> = Arc::new(MemoryStore::new());
    let world = world_with("a password");
    let open = |objects: &Arc<dyn ObjectStore>, seed: u64| {
        let log = Arc::new(ObjectLog::new(objects.clone(), seed));
        let storage = Storage { objects: objects.clone(), log };
        let mut settings = world.settings.clone();
        // Both draw their numbers from one seed.
        settings.encryption = Some(cheap_encryption("a password", 7));
        block_on(Pool::open(storage, world.clock.clone(), settings, OpenMode::CreateIfMissing))
    };
    let parent = open(&objects, 1).unwrap();
    fill(&parent);
    let own = Arc::new(MemoryStore::new());
    block_on(fork::fork(&*objects, &*own, "the parent", "the child", 1)).unwrap();
    let known = block_on(fork::parent_of(&*own)).unwrap().unwrap();
    let own: Arc<dyn ObjectStore> = own;
    let store: Arc<dyn ObjectStore> =
        Arc::new(block_on(fork::ForkStore::open(own.clone(), objects.clone(), known)).unwrap());
    let child = open(&store, 2).unwrap();
    for (pool, content) in [(&parent, b"of the parent"), (&child, b"of the fork..")] {
        file(pool, "own", &content.repeat(5000));
        block_on(pool.sync()).unwrap();
        block_on(pool.change_keys(KeyChange::Rotate { drop_others: false })).unwrap();
        file(pool, "own too", content);
        block_on(pool.checkpoint()).unwrap();
        sound(pool);
    }
    assert_eq!(read(&parent, at(&parent, "own")), b"of the parent".repeat(5000));
    assert_eq!(read(&child, at(&child, "own")), b"of the fork..".repeat(5000));
    drop((parent, child));
    sound(&open(&objects, 3).unwrap());
    let child = open(&store, 4).unwrap();
    sound(&child);
    assert_eq!(read(&child, at(&child, "own too")), b"of the fork..");
    for object in block_on(own.list("")).unwrap() {
        let bytes = block_on(own.get(&object.name, 0, u64::MAX)).unwrap();
        assert!(!WORDS.iter().any(|word| shows(&bytes, word)), "{}", object.name);
        assert!(!shows(&bytes, "of the fork"), "{}", object.name);
    }
}

/// A power cut anywhere in a change of keys leaves a pool that one of the two secrets opens, with everything in it.
#[test]
fn a_change_of_keys_that_is_cut_off_leaves_a_pool_that_opens() {
    for rotate in [false, true] {
        let mut opened = [0; 2];
        let mut calls = 1;
        // Every part of the change, and its end.
        for part in 0..=16 {
            let mut world = world_with("old");
            let pool = world.open();
            file(&pool, WORDS[1], &WORDS[3].as_bytes().repeat(3000));
            let before = world.power.calls();
            if part > 0 {
                world.power.cut_after(calls * part / 16, part % 2 == 0);
            }
            let change = if rotate {
                KeyChange::Rotate { drop_others: true }
            } else {
                KeyChange::Replace(password("new"))
            };
            let changed = block_on(pool.change_keys(change));
            if part == 0 {
                changed.unwrap();
                calls = world.power.calls() - before;
                file(&pool, "after", b"the change");
                block_on(pool.sync()).unwrap();
            }
            drop(pool);
            world.power.restore();
            let with_old = match world.try_open() {
                Ok(pool) => {
                    sound(&pool);
                    true
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WrongPassword, "{error}");
                    false
                }
            };
            if !with_old {
                set_password(&mut world, "new");
                let pool = world.open();
                sound(&pool);
                if part == 0 {
                    assert_eq!(read(&pool, at(&pool, "after")), b"the change");
                }
            }
            opened[usize::from(with_old)] += 1;
        }
        assert!(opened[1] > 0 && (rotate || opened[0] > 0), "{opened:?}");
    }
}

/// Whoever can write to the store can give what they change the checksums that fit. It is seen all the same.
#[test]
fn what_was_tampered_with_is_never_shown() {
    let world = world_with("a password");
    let pool = world.open();
    fill(&pool);
    block_on(pool.close()).unwrap();
    drop(pool);
    let names = world.object_names("");
    let objects: Vec<_> = names.iter().map(|name| (name.clone(), world.object(name))).collect();
    let mut random = Random(3);
    for (name, bytes) in &objects {
        for _ in 0..12 {
            for name in world.object_names("") {
                world.lose_object(&name);
            }
            for (name, bytes) in &objects {
                world.replace_object(name, bytes.clone());
            }
            let at = random.below(bytes.len() as u64 - 4) as usize;
            let mut other = bytes.clone();
            other[at] ^= 1 << random.below(8);
            if !name.starts_with("segments/") {
                reseal(&mut other);
            }
            world.replace_object(name, other);
            match world.try_open() {
                Err(error) => {
                    use ErrorKind::{Corrupt, Invalid, NewerFormat, WrongPassword};
                    let is_told = matches!(error.kind(), Corrupt | Invalid | NewerFormat | WrongPassword);
                    assert!(is_told, "{name} {at}: {error:?}");
                }
                // What nothing needs any more may be damaged without a word; what is read is right or fails.
                Ok(pool) => match block_on(pool.lookup(Ino::ROOT, WORDS[0].as_bytes())) {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{name} {at}: {error:?}"),
                },
            }
        }
    }
}
