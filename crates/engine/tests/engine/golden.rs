//! Golden pools: made once by each version of the format, checked in, and read for ever.
//!
//! `tests/golden/v<version>/<name>/` has the files of a pool (`pool/`, `log/`) and `expected.txt`, which tells everything that can be
//! seen of it. The tests work on copies. `cargo xtask golden` makes those of the current version.

#[path = "golden/describe.rs"]
mod describe;
#[path = "golden/rich.rs"]
pub mod rich;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::executor::block_on;
use offshoot_engine::log::{BlockingLog, FileLog};
use offshoot_engine::object::{LocalStore, ObjectStore};
use offshoot_engine::{
    Clock, CloneOptions, Compression, Encryption, ErrorKind, Ino, Kind, OpenMode, Pool, Result, Settings,
    Storage,
};

use crate::world::{StepClock, World, at, cheap_encryption, create, file, read, write};
use rich::Size;

/// The version of the format that the current program writes.
const VERSION: u32 = 1;

/// What is made: name, how it is compressed, how much there is, the size of segments in bytes (those of one item each become many, which
/// are then moved together, and need a table), and whether operations are left in its log.
const KINDS: [(&str, Compression, Size, u64, bool); 7] = [
    ("raw", Compression::None, Size::Small, 16 << 10, false),
    ("lz4", Compression::Lz4, Size::Full, 16 << 10, false),
    ("zstd", Compression::Zstd(3), Size::Small, 16 << 10, false),
    ("table", Compression::Lz4, Size::Full, 64, false),
    ("log", Compression::Lz4, Size::Small, 16 << 10, true),
    ("encrypted", Compression::Lz4, Size::Small, 16 << 10, true),
    ("encrypted-table", Compression::Lz4, Size::Full, 64, false),
];

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// All golden pools of all versions, with their versions.
fn pools() -> Vec<(u32, PathBuf)> {
    let list = |directory: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let mut found: Vec<_> = entries.filter(|path| path.is_dir()).collect();
        found.sort();
        found
    };
    let mut all = Vec::new();
    for version in list(&golden()) {
        let name = version.file_name().unwrap().to_str().unwrap();
        let number = name.strip_prefix('v').and_then(|digits| digits.parse().ok()).expect("v and a number");
        all.extend(list(&version).into_iter().map(|pool| (number, pool)));
    }
    assert!(!all.is_empty(), "there are no golden pools");
    all
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            std::fs::copy(&source, &target).unwrap();
        }
    }
}

/// Every file below a directory with its bytes.
fn bytes_of(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(bytes_of(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            files.push((path, bytes));
        }
    }
    files.sort();
    files
}

fn storage(directory: &Path) -> Storage {
    Storage {
        objects: Arc::new(LocalStore::open(directory.join("pool")).unwrap()),
        log: Arc::new(FileLog::open(directory.join("log"), 0).unwrap()),
    }
}

/// The password of a pool is in a file beside it, if it is encrypted.
const PASSWORD: &str = "password.txt";

fn encryption(directory: &Path) -> Option<Encryption> {
    let password = std::fs::read_to_string(directory.join(PASSWORD)).ok()?;
    Some(cheap_encryption(&password, 1))
}

/// Opens the pool in a directory as a program whose own version of the format is `version`.
fn open(directory: &Path, version: u32) -> Result<Pool> {
    let clock: Arc<dyn Clock> = Arc::new(StepClock::default());
    let encryption = encryption(directory);
    let settings = Settings { format_version: version, encryption, ..rich::settings() };
    block_on(Pool::open(storage(directory), clock, settings, OpenMode::Existing))
}

fn assert_sound(pool: &Pool) {
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
    assert_eq!(block_on(pool.scrub()).unwrap().findings, []);
}

fn assert_as_expected(pool: &Pool, golden: &Path) {
    let expected = std::fs::read_to_string(golden.join("expected.txt")).unwrap();
    let seen = describe::pool(pool);
    for (seen, expected) in seen.lines().zip(expected.lines()) {
        assert_eq!(seen, expected);
    }
    assert_eq!(seen.lines().count(), expected.lines().count());
}

/// Changes a pool in many ways, in a directory of its own that goes in the end.
fn work(pool: &Pool) {
    let directory = create(pool, Ino::ROOT, "work", Kind::Directory);
    file(pool, "work/new", &[7; 70_000]);
    write(pool, at(pool, "work/new"), 100, b"changed");
    for (name, source) in [("content", "content"), ("of a clone", "clones/of a clone"), ("links", "links")] {
        let options = CloneOptions::default();
        block_on(pool.clone_inode(at(pool, source), directory, name.as_bytes(), options)).unwrap();
    }
    write(pool, at(pool, "work/content/whole"), 10, b"only in the clone");
    assert_eq!(&read(pool, at(pool, "work/content/whole"))[10..27], b"only in the clone");
    block_on(pool.unlink(at(pool, "work/links"), b"0")).unwrap();
    block_on(pool.defragment(at(pool, "work/content/tree"))).unwrap();
    block_on(pool.sync()).unwrap();
    block_on(pool.checkpoint()).unwrap();
    assert_sound(pool);
    block_on(pool.remove_tree(Ino::ROOT, b"work")).unwrap();
}

#[test]
fn every_golden_pool_is_read_as_it_was_and_can_be_written() {
    for (_, golden) in pools() {
        println!("{}", golden.display());
        let place = tempfile::tempdir().unwrap();
        copy(&golden, place.path());
        let pool = open(place.path(), VERSION).unwrap();
        assert_as_expected(&pool, &golden);
        assert_sound(&pool);
        let before = describe::pool(&pool);
        work(&pool);
        block_on(pool.gc()).unwrap();
        block_on(pool.close()).unwrap();
        drop(pool);
        let pool = open(place.path(), VERSION).unwrap();
        let after = describe::pool(&pool);
        let pairs = describe::of_inodes(&after).into_iter().zip(describe::of_inodes(&before));
        pairs.for_each(|(after, before)| assert_eq!(after, before, "work leaves nothing"));
        assert_eq!(after.lines().count(), before.lines().count());
        assert_sound(&pool);
        block_on(pool.close()).unwrap();
    }
}

/// What an upgrade is: the next program opens the pools of all before it, and what it has opened belongs to it.
#[test]
fn the_next_version_takes_a_pool_over_and_this_one_then_leaves_it_alone() {
    for (_, golden) in pools() {
        println!("{}", golden.display());
        let place = tempfile::tempdir().unwrap();
        copy(&golden, place.path());
        let pool = open(place.path(), VERSION + 1).unwrap();
        assert_as_expected(&pool, &golden);
        assert_eq!(block_on(pool.status()).format_version, VERSION + 1);
        work(&pool);
        // Some of what it wrote is in its log alone.
        file(&pool, "in the log", &[1; 70_000]);
        block_on(pool.sync()).unwrap();
        drop(pool);

        let before = bytes_of(place.path());
        let error = open(place.path(), VERSION).err().expect("the pool belongs to a newer program");
        assert_eq!(error.kind(), ErrorKind::NewerFormat);
        let words = error.to_string();
        assert!(words.contains("format version 2") && words.contains("reads up to 1"), "{words}");
        assert!(words.contains("offshoot"), "it says what to do: {words}");
        assert!(bytes_of(place.path()) == before, "a pool that is refused is not changed");

        let pool = open(place.path(), VERSION + 1).unwrap();
        assert_eq!(read(&pool, at(&pool, "in the log")), [1; 70_000]);
        assert_sound(&pool);
        block_on(pool.close()).unwrap();
    }
}

/// The manifest is what counts, but nothing that a newer program wrote is taken for something else where the manifest is lost.
#[test]
fn objects_and_batches_of_a_newer_program_are_refused_by_themselves() {
    for keep_log in [true, false] {
        let place = tempfile::tempdir().unwrap();
        copy(&golden().join("v1/raw"), place.path());
        let pool = open(place.path(), VERSION + 1).unwrap();
        file(&pool, "new", &[1; 70_000]);
        block_on(pool.sync()).unwrap();
        drop(pool);
        // The newest manifest goes, and with it the word of the newer program.
        let objects = LocalStore::open(place.path().join("pool")).unwrap();
        let newest = block_on(objects.list("manifests/")).unwrap().pop().unwrap();
        block_on(objects.delete(&newest.name)).unwrap();
        drop(objects);
        if keep_log {
            // Only its batches are left.
            for entry in std::fs::read_dir(place.path().join("pool/segments")).unwrap() {
                let path = entry.unwrap().path();
                if std::fs::read(&path).unwrap()[8] == 2 {
                    std::fs::remove_file(path).unwrap();
                }
            }
        } else {
            for number in FileLog::open(place.path().join("log"), 0).unwrap().list().unwrap() {
                std::fs::remove_file(place.path().join(format!("log/log-{number:016x}"))).unwrap();
            }
        }
        let error = open(place.path(), VERSION).err().expect("a newer program was here");
        assert_eq!(error.kind(), ErrorKind::NewerFormat, "{error}");
    }
}

/// Makes the golden pools of the current version; `cargo xtask golden` runs it. Those of released versions are never made again.
#[test]
#[ignore = "it writes into the source tree"]
fn make() {
    for (name, compression, size, segment_bytes, with_log) in KINDS {
        let directory = golden().join(format!("v{VERSION}")).join(name);
        if directory.exists() {
            std::fs::remove_dir_all(&directory).unwrap();
        }
        std::fs::create_dir_all(&directory).unwrap();
        if name.starts_with("encrypted") {
            std::fs::write(directory.join(PASSWORD), "the password of a golden pool").unwrap();
        }
        let encryption = encryption(&directory);
        let settings = Settings { compression, segment_bytes, encryption, ..rich::settings() };
        let mut world = World::with(settings);
        let pool = world.open();
        rich::fill(&world, &pool, size);
        // Whatever is looked at has its number from then on.
        describe::pool(&pool);
        if with_log {
            block_on(pool.checkpoint()).unwrap();
            rich::operate(&world, &pool);
            block_on(pool.sync()).unwrap();
        } else {
            block_on(pool.close()).unwrap();
        }
        drop(pool);
        if segment_bytes < 1 << 10 {
            move_together(&mut world);
        }
        save(&world, &directory);
        let place = tempfile::tempdir().unwrap();
        copy(&directory, place.path());
        let pool = open(place.path(), VERSION).unwrap();
        assert_sound(&pool);
        std::fs::write(directory.join("expected.txt"), describe::pool(&pool)).unwrap();
    }
}

/// Lets the collector put many small segments into few objects.
fn move_together(world: &mut World) {
    world.settings.segment_bytes = 16 << 10;
    let pool = world.open();
    for _ in 0..3 {
        block_on(pool.gc()).unwrap();
    }
    block_on(pool.close()).unwrap();
}

/// Writes what is stored in a world as the local media would hold it.
fn save(world: &World, directory: &Path) {
    for name in world.object_names("") {
        let path = directory.join("pool").join(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, world.object(&name)).unwrap();
    }
    std::fs::create_dir_all(directory.join("log")).unwrap();
    for number in world.log.list().unwrap() {
        let mut bytes = world.log.read(number).unwrap().to_vec();
        // Behind the end are remains of older files; a little of them is kept.
        bytes.truncate(log_end(&bytes, number) + 300);
        std::fs::write(directory.join(format!("log/log-{number:016x}")), bytes).unwrap();
    }
}

/// Where the last batch of a log file ends.
fn log_end(bytes: &[u8], number: u64) -> usize {
    let mut end = 0;
    while let Some(head) = bytes.get(end..end + 48)
        && head.starts_with(b"OFSG")
        && head[8..16] == number.to_le_bytes()
    {
        end += 48 + u32::from_le_bytes(head[36..40].try_into().unwrap()) as usize;
    }
    end
}
