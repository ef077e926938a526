//! Whole pools whose stored bytes were changed and sealed again with checksums that fit: whoever opens, reads, checks or changes
//! one gets errors, and never a panic, an endless loop or memory without bound.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::fuzzing::{Image, Piece};
use offshoot_engine::{
    Attributes, Clock, CloneOptions, Compression, Ino, Kind, NewInode, OpenMode, Pool, RenameMode, Result,
    SeekTarget, Settings, Storage, XattrMode,
};

use crate::choices::Choices;
use crate::memory;
use crate::rich::{self, Size};
use crate::world::{StepClock, World};

/// What a pool of some hundred kilobytes may need at most, in bytes.
const MEMORY_MAX: usize = 256 << 20;
/// Changes to one pool.
const EDITS_MAX: usize = 12;
/// Inodes that are looked at.
const INODES_MAX: usize = 400;
/// Directories that lie in one another.
const DEPTH_MAX: usize = 24;

/// The pools that are changed: one with a log to replay, and one closed cleanly.
static BASES: LazyLock<[Image; 2]> = LazyLock::new(|| [base(true), base(false)]);

fn base(with_log: bool) -> Image {
    let settings = Settings { compression: Compression::None, ..rich::settings() };
    let world = World::with(settings);
    let pool = world.open();
    rich::fill(&world, &pool, Size::Small);
    if with_log {
        rich::operate(&world, &pool);
        block_on(pool.sync()).expect("the medium is memory");
    } else {
        block_on(pool.close()).expect("the medium is memory");
    }
    drop(pool);
    Image::take(world.objects.inner(), &world.log).expect("a new pool is sound")
}

/// The input chooses a pool, changes and what is done with it.
pub(crate) fn pool(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut image = BASES[usize::from(choices.u8() % 2)].clone();
    let plan = choices.u8();
    for _ in 0..EDITS_MAX {
        if choices.is_empty() {
            break;
        }
        edit(&mut image.pieces, &mut choices);
    }
    let storage = image.restore().expect("the medium is memory");
    memory::within(MEMORY_MAX, || {
        // What is refused is opened once more, without what is lost.
        if let Ok(pool) = open(&storage, false).or_else(|_| open(&storage, true)) {
            let _ = use_pool(&pool, plan);
        }
    });
}

fn open(storage: &Storage, accept_loss: bool) -> Result<Pool> {
    let clock: Arc<dyn Clock> = Arc::new(StepClock::default());
    let settings = Settings { accept_loss, memory_bytes: 8 << 20, ..rich::settings() };
    let opened = block_on(Pool::open(storage.clone(), clock, settings, OpenMode::Existing));
    opened.inspect_err(|error| assert!(!error.to_string().is_empty(), "a refusal without words"))
}

/// Changes one piece.
fn edit(pieces: &mut [Piece], choices: &mut Choices<'_>) {
    let how = choices.u8();
    // Most changes go to what has a structure.
    let candidates: Vec<usize> =
        (0..pieces.len()).filter(|index| how & 0x80 != 0 || pieces[*index].is_structure()).collect();
    let chosen = candidates[choices.below(candidates.len())];
    let other = choices.below(pieces.len());
    let offset = choices.u16();
    let given = pieces[other].bytes.clone();
    let address = pieces[other].address();
    let bytes = &mut pieces[chosen].bytes;
    let at = if bytes.is_empty() { 0 } else { usize::from(offset) % bytes.len() };
    let mut overwrite = |with: &[u8]| {
        let length = with.len().min(bytes.len() - at);
        bytes[at..at + length].copy_from_slice(&with[..length]);
    };
    match how % 8 {
        0 | 1 => overwrite(choices.piece()),
        2 => drop(bytes.splice(at..at, choices.piece().iter().copied())),
        3 => {
            let end = (at + usize::from(choices.u8())).min(bytes.len());
            bytes.drain(at..end);
        }
        4 => overwrite(&address.unwrap_or_default()),
        5 => {
            let odd = [0, 1, u64::MAX, 1 << 63, 1 << 40, (1 << 40) - 1, 1 << 24, u64::from(u32::MAX)];
            overwrite(&odd[choices.below(odd.len())].to_le_bytes());
        }
        6 => overwrite(&[choices.u8(), 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]),
        _ => *bytes = given,
    }
}

/// Looks at everything, changes something, and looks again.
fn use_pool(pool: &Pool, plan: u8) -> Result<()> {
    look(pool);
    // What one step says does not keep the next from being tried.
    let _ = block_on(pool.check());
    if plan & 1 != 0 {
        let _ = block_on(pool.scrub());
    }
    if plan & 2 != 0 {
        let _ = block_on(pool.usage(Ino::ROOT));
        compare(pool);
    }
    if plan & 4 != 0 {
        change(pool);
    }
    if plan & 8 != 0 {
        let _ = block_on(pool.gc());
    }
    let _ = block_on(pool.sync());
    let _ = block_on(pool.checkpoint());
    if plan & 16 != 0 {
        look(pool);
        let _ = block_on(pool.check());
    }
    block_on(pool.status());
    block_on(pool.close())
}

/// Walks down from the root, as far as the bounds let it.
fn look(pool: &Pool) {
    let mut left = vec![(Ino::ROOT, 0)];
    let mut seen = 0;
    while let Some((ino, depth)) = left.pop() {
        seen += 1;
        if let Ok(attributes) = block_on(pool.attributes(ino)) {
            look_at(pool, &attributes);
            if attributes.kind == Kind::Directory && depth < DEPTH_MAX && seen < INODES_MAX {
                let mut cookie = 0;
                while let Ok(items) = block_on(pool.read_dir(ino, cookie, 16, true))
                    && let Some(last) = items.last()
                    && left.len() < INODES_MAX
                {
                    assert!(last.cookie > cookie || items.len() < 16, "reading a directory goes on");
                    cookie = last.cookie;
                    left.extend(items.iter().map(|item| (item.attributes.ino, depth + 1)));
                }
            }
        }
        if seen > INODES_MAX {
            return;
        }
    }
}

fn look_at(pool: &Pool, attributes: &Attributes) {
    let ino = attributes.ino;
    let _ = block_on(pool.path(ino));
    let _ = block_on(pool.info(ino));
    for name in block_on(pool.xattrs(ino)).unwrap_or_default() {
        let _ = block_on(pool.xattr(ino, &name));
    }
    match attributes.kind {
        Kind::Symlink => drop(block_on(pool.read_link(ino))),
        Kind::File => {
            for offset in [0, attributes.size / 2, attributes.size.saturating_sub(5000), u64::MAX] {
                let read = block_on(pool.read_pieces(ino, offset, 200_000));
                let length: usize = read.unwrap_or_default().iter().map(Bytes::len).sum();
                assert!(length <= 200_000, "more was read than asked for");
                let _ = block_on(pool.seek(ino, offset, SeekTarget::Data));
                let _ = block_on(pool.seek(ino, offset, SeekTarget::Hole));
            }
        }
        _ => {}
    }
}

fn compare(pool: &Pool) {
    let clones = [&b"content"[..], b"clones"].map(|name| block_on(pool.lookup(Ino::ROOT, name)));
    if let [Ok(first), Ok(second)] = clones {
        let mut differences = 0;
        let _ = block_on(pool.diff(first.ino, second.ino, &mut |_| {
            differences += 1;
            differences < 1000
        }));
    }
}

fn change(pool: &Pool) {
    let inode = |kind| NewInode {
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        rdev: 0,
        target: Bytes::new(),
        xattrs: Vec::new(),
    };
    let names = block_on(pool.read_dir(Ino::ROOT, 0, 8, true)).unwrap_or_default();
    for (number, item) in names.iter().enumerate() {
        let ino = item.attributes.ino;
        let name = format!("new {number}").into_bytes();
        let _ = block_on(pool.clone_inode(ino, Ino::ROOT, &name, CloneOptions::default()));
        let _ = block_on(pool.create(ino, b"made", inode(Kind::Directory)));
        for below in block_on(pool.read_dir(ino, 0, 8, true)).unwrap_or_default() {
            let below_ino = below.attributes.ino;
            let _ = block_on(pool.write(below_ino, 1000, Bytes::from_static(&[7; 3000]), true));
            let _ = block_on(pool.set_xattr(below_ino, b"user.n", b"new", XattrMode::Set, None));
            let _ = block_on(pool.link(below_ino, ino, b"linked"));
            let _ = block_on(pool.defragment(below_ino));
            let _ = block_on(pool.rename(ino, &below.name, Ino::ROOT, b"moved", RenameMode::Replace));
            pool.forget(below_ino, 1);
        }
        let _ = block_on(pool.remove_tree(Ino::ROOT, &item.name));
        pool.forget(ino, 1);
    }
}
