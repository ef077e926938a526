//! Small pools that have one of everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::log::MemoryLog;
use offshoot_engine::{
    Clock, CloneOptions, Ino, Kind, OpenMode, Pool, RenameMode, Settings, Storage, XattrMode,
};

use super::content::{Contents, contents};
use super::store::{Image, Overlay, files_of, log_of};
use crate::world::{Chance, Random, StepClock, at, cheap_encryption, clone, create, file, write};

/// A pool to be damaged.
pub struct Sample {
    pub name: &'static str,
    pub settings: Settings,
    pub image: Image,
    /// Another pool, to which the same was done with other data.
    pub other: Image,
    /// Objects that there were and that are gone.
    pub history: BTreeMap<String, Bytes>,
    /// What it holds after each operation that the log still has; the last is what it holds.
    pub states: Vec<Contents>,
}

pub fn open(
    image: &Image,
    settings: &Settings,
    accept_loss: bool,
) -> (offshoot_engine::Result<Pool>, Arc<Overlay>, Arc<MemoryLog>) {
    let (objects, log) = (Overlay::of(image), log_of(&image.log));
    let pool = reopen(&objects, &log, settings, accept_loss);
    (pool, objects, log)
}

pub fn reopen(
    objects: &Arc<Overlay>,
    log: &Arc<MemoryLog>,
    settings: &Settings,
    accept_loss: bool,
) -> offshoot_engine::Result<Pool> {
    let storage = Storage { objects: objects.clone(), log: log.clone() };
    let clock: Arc<dyn Clock> = Arc::new(StepClock::default());
    let settings = Settings { accept_loss, ..settings.clone() };
    block_on(Pool::open(storage, clock, settings, OpenMode::CreateIfMissing))
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    Random(seed).bytes_of_noise(length)
}

fn read_only(pool: &Pool, source: &str, name: &str) {
    let options = CloneOptions { read_only: true, ..CloneOptions::default() };
    block_on(pool.clone_inode(at(pool, source), Ino::ROOT, name.as_bytes(), options)).unwrap();
}

fn forget_all(pool: Pool, objects: &Arc<Overlay>, log: &Arc<MemoryLog>, settings: &Settings) -> Pool {
    block_on(pool.checkpoint()).unwrap();
    drop(pool);
    reopen(objects, log, settings, false).unwrap()
}

/// Clones of clones, hard links, attributes, files of all kinds, orphans, segments that were moved, and a log to be replayed.
pub fn rich() -> Sample {
    rich_with("rich", None)
}

/// The same, encrypted.
pub fn encrypted() -> Sample {
    rich_with("encrypted", Some(1))
}

fn rich_with(name: &'static str, encryption: Option<u64>) -> Sample {
    let other = rich_of(name, [9, 2, 3, 4], 1 << 32, encryption.map(|seed| seed + 1)).image;
    Sample { other, ..rich_of(name, [1, 2, 3, 4], 0, encryption) }
}

fn rich_of(name: &'static str, identity: [u64; 4], salt: u64, encryption: Option<u64>) -> Sample {
    let mut settings = Settings { reserve_bytes: 0, segment_bytes: 6 << 10, ..Settings::default() };
    settings.identity = identity;
    settings.encryption = encryption.map(|seed| cheap_encryption("a password", seed));
    let noise = |seed: u64, length| noise(seed + salt, length);
    let (pool, objects, log) = open(&Image::default(), &settings, false);
    let pool = pool.unwrap();
    create(&pool, Ino::ROOT, "d", Kind::Directory);
    create(&pool, at(&pool, "d"), "e", Kind::Directory);
    file(&pool, "d/inline", &noise(1, 100));
    file(&pool, "d/extents", &noise(2, 2500));
    let sparse = file(&pool, "d/tree", &noise(3, 300));
    for n in 1..14 {
        write(&pool, sparse, n * 150_000, &noise(3 + n, 300));
    }
    file(&pool, "d/frames", &vec![7; 200_000]);
    let attributes = file(&pool, "d/attributes", b"x");
    for (name, value) in [(&b"user.small"[..], noise(20, 40)), (b"user.large", noise(21, 1500))] {
        block_on(pool.set_xattr(attributes, name, &value, XattrMode::Set, None)).unwrap();
    }
    block_on(pool.set_xattr(at(&pool, "d/inline"), b"user.a", b"b", XattrMode::Set, None)).unwrap();
    let linked = file(&pool, "d/one", &noise(22, 1200));
    block_on(pool.link(linked, at(&pool, "d/e"), b"two")).unwrap();
    block_on(pool.link(linked, Ino::ROOT, b"three")).unwrap();
    let small = file(&pool, "d/e/small one", b"small");
    block_on(pool.link(small, at(&pool, "d"), b"small two")).unwrap();
    let mut link = crate::world::new(Kind::Symlink);
    link.target = Bytes::from_static(b"d/extents");
    block_on(pool.create(Ino::ROOT, b"symlink", link)).unwrap();
    create(&pool, Ino::ROOT, "fifo", Kind::Fifo);
    let pool = forget_all(pool, &objects, &log, &settings);

    // A directory of several nodes.
    create(&pool, Ino::ROOT, "many", Kind::Directory);
    for n in 0..90 {
        let name = format!("{n:03} {}", "long ".repeat(16));
        file(&pool, &format!("many/{name}"), &noise(100 + n, 20));
    }
    block_on(pool.checkpoint()).unwrap();
    clone(&pool, at(&pool, "d"), Ino::ROOT, "c1");
    write(&pool, at(&pool, "c1/extents"), 100, &noise(300, 700));
    write(&pool, at(&pool, "c1/one"), 0, &noise(301, 400));
    block_on(pool.checkpoint()).unwrap();
    read_only(&pool, "c1", "c2");
    clone(&pool, at(&pool, "many"), at(&pool, "c1"), "nested");
    file(&pool, "c1/nested/own", &noise(302, 900));
    file(&pool, "move", &noise(303, 600));
    block_on(pool.rename(Ino::ROOT, b"move", at(&pool, "c1"), b"moved in", RenameMode::Replace)).unwrap();
    clone(&pool, Ino::ROOT, Ino::ROOT, "whole");
    contents(&pool);
    block_on(pool.checkpoint()).unwrap();
    clone(&pool, at(&pool, "c1"), Ino::ROOT, "gone");
    for n in 0..10 {
        file(&pool, &format!("gone/filler {n}"), &noise(400 + n, 1500));
    }
    let pool = forget_all(pool, &objects, &log, &settings);
    block_on(pool.remove_tree(Ino::ROOT, b"gone")).unwrap();
    for _ in 0..2 {
        block_on(pool.gc()).unwrap();
    }

    // Something that was removed and is still held.
    let held = file(&pool, "held", &noise(500, 900));
    pool.hold(held).unwrap();
    block_on(pool.unlink(Ino::ROOT, b"held")).unwrap();
    block_on(pool.checkpoint()).unwrap();
    write(&pool, held, 0, b"more");

    // What only the log has.
    let mut states = vec![settled(&objects, &log, &settings)];
    let mut step = |work: &dyn Fn(&Pool)| {
        work(&pool);
        block_on(pool.sync()).unwrap();
        states.push(settled(&objects, &log, &settings));
    };
    step(&|pool| _ = create(pool, Ino::ROOT, "new", Kind::Directory));
    step(&|pool| _ = create(pool, at(pool, "new"), "file", Kind::File));
    step(&|pool| write(pool, at(pool, "new/file"), 0, &noise(600, 300)));
    step(&|pool| write(pool, at(pool, "new/file"), 0, &vec![9; 100_000]));
    step(&|pool| _ = clone(pool, at(pool, "new"), Ino::ROOT, "new copy"));
    step(&|pool| write(pool, at(pool, "d/extents"), 10, b"changed"));
    drop(pool);
    let image = Image { objects: objects.objects(), log: files_of(&log) };
    Sample { name, settings, image, other: Image::default(), history: objects.history(), states }
}

/// What a pool would hold after a start now.
fn settled(objects: &Arc<Overlay>, log: &Arc<MemoryLog>, settings: &Settings) -> Contents {
    let image = Image { objects: objects.objects(), log: files_of(log) };
    contents(&open(&image, settings, false).0.unwrap())
}

/// So many segments that their table is an object of its own.
pub fn tabled() -> Sample {
    let other = tabled_of([9, 6, 7, 8], 1 << 32).image;
    Sample { other, ..tabled_of([5, 6, 7, 8], 0) }
}

fn tabled_of(identity: [u64; 4], salt: u64) -> Sample {
    let mut settings = Settings { reserve_bytes: 0, segment_bytes: 200, ..Settings::default() };
    settings.identity = identity;
    let noise = |seed: u64, length| noise(seed + salt, length);
    let (pool, objects, log) = open(&Image::default(), &settings, false);
    let pool = pool.unwrap();
    for d in 0..5 {
        create(&pool, Ino::ROOT, &format!("d{d}"), Kind::Directory);
        for f in 0..60 {
            file(&pool, &format!("d{d}/f{f}"), &noise(d * 100 + f, 560));
        }
    }
    clone(&pool, at(&pool, "d1"), Ino::ROOT, "copy");
    block_on(pool.checkpoint()).unwrap();
    file(&pool, "later", &noise(1000, 700));
    block_on(pool.close()).unwrap();
    drop(pool);
    let states = vec![settled(&objects, &log, &settings)];
    let image = Image { objects: objects.objects(), log: files_of(&log) };
    assert!(image.objects.keys().any(|name| name.starts_with("tables/")), "{:?}", image.objects.keys());
    Sample { name: "tabled", settings, image, other: Image::default(), history: objects.history(), states }
}
