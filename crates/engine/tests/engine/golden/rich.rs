//! A pool that holds something of every kind, made in the same way every time.

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::{
    AllocateMode, CloneOptions, Ino, Kind, NewInode, Pool, RenameMode, SetAttributes, SetTime, Settings,
    Timestamp, XattrMode,
};

use crate::world::{World, at, clone, create, file, new, write};

/// How much of everything there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Something of every kind.
    Small,
    /// As much of it that every tree has branches.
    Full,
}

/// Settings by which two pools get the same bytes.
pub fn settings() -> Settings {
    Settings {
        reserve_bytes: 0,
        segment_bytes: 16 << 10,
        memory_bytes: 64 << 20,
        identity: [1, 2, 3, 4],
        ..Settings::default()
    }
}

/// Text that compresses, different for each `seed`.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let line = format!("line of text number {seed}, which comes again and again. ");
    line.bytes().cycle().take(length).collect()
}

/// Bytes that do not compress.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut byte = || {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| byte()).collect()
}

fn directory(pool: &Pool, path: &str) -> Ino {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    create(pool, at(pool, parent), name, Kind::Directory)
}

fn read_only() -> CloneOptions {
    CloneOptions { read_only: true, source_path: b"/where/it/was".to_vec(), ..CloneOptions::default() }
}

/// Fills a new pool, with a checkpoint now and then. Nothing of it is closed, forgotten or cut off at the end.
pub fn fill(world: &World, pool: &Pool, size: Size) {
    let many = |small: u64, full: u64| if size == Size::Small { small } else { full };
    kinds(pool);
    attributes(pool);
    world.clock.step();
    content(pool, many(2, 400), size);
    block_on(pool.checkpoint()).unwrap();
    world.clock.step();
    links(pool, "links", 3);
    world.clock.step();
    clones(pool);
    directory(pool, "many");
    for n in 0..many(5, 140) {
        file(pool, &format!("many/file number {n}"), n.to_string().as_bytes());
    }
    links(pool, "more links", many(1, 110));
    aliases(pool, many(2, 18));
    block_on(pool.checkpoint()).unwrap();
    world.clock.step();
    waste(pool, many(3, 900));
    block_on(pool.checkpoint()).unwrap();
    removed(pool);
    // The log of all this goes with the second manifest after it.
    for _ in 0..2 {
        world.clock.step();
        block_on(pool.set_attributes(Ino::ROOT, SetAttributes::default())).unwrap();
        block_on(pool.checkpoint()).unwrap();
    }
}

fn kinds(pool: &Pool) {
    directory(pool, "kinds");
    file(pool, "kinds/empty", b"");
    file(pool, "kinds/inline", &text(1, 300));
    let longer = file(pool, "kinds/inline and a hole", b"only ten b");
    let set = SetAttributes { size: Some(1 << 20), ..SetAttributes::default() };
    block_on(pool.set_attributes(longer, set)).unwrap();
    let parent = at(pool, "kinds");
    let link = |target: &[u8]| NewInode { target: Bytes::copy_from_slice(target), ..new(Kind::Symlink) };
    block_on(pool.create(parent, b"symlink", link(b"inline"))).unwrap();
    block_on(pool.create(parent, b"long symlink", link(&text(2, 4000)))).unwrap();
    for (name, kind) in [("fifo", Kind::Fifo), ("socket", Kind::Socket)] {
        create(pool, parent, name, kind);
    }
    for (name, kind) in [("character", Kind::CharDevice), ("block", Kind::BlockDevice)] {
        let device = NewInode { rdev: 0x12_0345, mode: 0o7777, ..new(kind) };
        block_on(pool.create(parent, name.as_bytes(), device)).unwrap();
    }
    block_on(pool.create(parent, b"name \xff\n of bytes", new(Kind::File))).unwrap();
    block_on(pool.create(parent, &[b'n'; 255], new(Kind::File))).unwrap();
}

fn attributes(pool: &Pool) {
    let parent = directory(pool, "attributes");
    let inline = file(pool, "attributes/inline", b"x");
    let frame = file(pool, "attributes/frame", b"y");
    let set = |ino, name: &[u8], value: &[u8]| {
        block_on(pool.set_xattr(ino, name, value, XattrMode::Set, None)).unwrap();
    };
    for ino in [parent, inline, frame] {
        set(ino, b"user.b", b"second");
        set(ino, b"user.a", b"");
        set(ino, b"trusted.\xff", &[0, 255]);
    }
    set(frame, b"user.long", &text(3, 3000));
    let odd = file(pool, "attributes/odd", b"");
    let set = SetAttributes {
        mode: Some(0o6755),
        uid: Some(u32::MAX - 1),
        gid: Some(70_000),
        atime: Some(SetTime::At(Timestamp { secs: -5, nanos: 999_999_999 })),
        mtime: Some(SetTime::At(Timestamp { secs: i64::MIN, nanos: 1 })),
        ctime: Some(Timestamp { secs: i64::MAX, nanos: 0 }),
        ..SetAttributes::default()
    };
    block_on(pool.set_attributes(odd, set)).unwrap();
}

fn content(pool: &Pool, pieces: u64, size: Size) {
    directory(pool, "content");
    directory(pool, "content/below");
    file(pool, "content/below/small", &noise(1, 700));
    let whole = if size == Size::Small { 2000 } else { (128 << 10) + 5 };
    file(pool, "content/whole", &text(4, whole));
    file(pool, "content/noise", &noise(2, 1500));
    let sparse = file(pool, "content/sparse", &text(5, 600));
    write(pool, sparse, 1 << 20, &text(6, 5000));
    write(pool, sparse, (1 << 20) + 2000, &noise(3, 700));
    write(pool, sparse, 1 << 40, &text(7, 600));
    let punched = file(pool, "content/punched", &text(8, 9000));
    block_on(pool.allocate(punched, 3000, 2000, AllocateMode::PunchHole)).unwrap();
    block_on(pool.allocate(punched, 20_000, 100, AllocateMode::Allocate { keep_size: false })).unwrap();
    let source = at(pool, "content/whole");
    let tree = file(pool, "content/tree", b"");
    for piece in 0..pieces.max(10) {
        block_on(pool.clone_range(source, piece % 7 * 100, tree, piece * 200, 90)).unwrap();
    }
    block_on(pool.append(punched, Bytes::from_static(b"the end"), false)).unwrap();
}

fn links(pool: &Pool, name: &str, count: u64) {
    directory(pool, name);
    let other = directory(pool, &format!("{name}/other"));
    for n in 0..count {
        let ino = file(pool, &format!("{name}/{n}"), format!("linked {n}").as_bytes());
        block_on(pool.link(ino, other, format!("second name {n}").as_bytes())).unwrap();
    }
}

fn clones(pool: &Pool) {
    let parent = directory(pool, "clones");
    clone(pool, at(pool, "content"), parent, "first");
    clone(pool, at(pool, "clones/first"), parent, "of a clone");
    file(pool, "clones/of a clone/new", b"only here");
    block_on(pool.unlink(at(pool, "clones/of a clone"), b"noise")).unwrap();
    block_on(pool.clone_inode(at(pool, "links"), parent, b"read-only", read_only())).unwrap();
    let noise = at(pool, "content/noise");
    block_on(pool.clone_inode(noise, parent, b"read-only file", read_only())).unwrap();
    clone(pool, noise, parent, "file");
    clone(pool, at(pool, "clones/first/below"), parent, "part");
    clone(pool, Ino::ROOT, parent, "root");
    write(pool, at(pool, "clones/root/content/noise"), 100, b"changed in the clone");
    // A file that comes from another realm, and what clones make of it.
    let home = directory(pool, "clones/home");
    let first = at(pool, "clones/first");
    block_on(pool.rename(first, b"whole", home, b"moved in", RenameMode::Replace)).unwrap();
    clone(pool, home, parent, "clone of home");
    at(pool, "clones/clone of home/moved in");
    let moved = at(pool, "clones/home/moved in");
    // Realms are not left by links, but a file from elsewhere may have two names in one.
    let _ = block_on(pool.link(moved, home, b"moved in and linked"));
    clone(pool, home, parent, "second clone of home");
    at(pool, "clones/second clone of home/moved in");
}

/// Clones of a directory of clones, all looked at: each realm gets a number in each.
fn aliases(pool: &Pool, count: u64) {
    let inner = directory(pool, "aliases");
    let base = directory(pool, "aliases/base");
    for n in 0..count {
        clone(pool, base, inner, &format!("inner {n}"));
    }
    let parent = directory(pool, "outer");
    for n in 0..count {
        clone(pool, inner, parent, &format!("{n}"));
        for m in 0..count {
            at(pool, &format!("outer/{n}/inner {m}"));
        }
    }
}

/// Frames that are written over, so that there is something to count and to collect.
fn waste(pool: &Pool, count: u64) {
    let ino = file(pool, "waste", b"");
    for n in 0..count {
        write(pool, ino, n * 1000, &text(n, 600));
    }
    block_on(pool.checkpoint()).unwrap();
    for n in (0..count).filter(|n| n % 5 != 0) {
        write(pool, ino, n * 1000, &[0; 600]);
    }
    block_on(pool.allocate(ino, 0, count * 500, AllocateMode::PunchHole)).unwrap();
}

/// What was removed and is still held open.
fn removed(pool: &Pool) {
    let lone = file(pool, "removed file", &text(9, 800));
    pool.hold(lone).unwrap();
    block_on(pool.unlink(Ino::ROOT, b"removed file")).unwrap();
    directory(pool, "removed");
    let open = file(pool, "removed/open", b"still open");
    let linked = file(pool, "removed/linked", b"linked");
    block_on(pool.link(linked, at(pool, "removed"), b"linked too")).unwrap();
    clone(pool, at(pool, "content/below"), at(pool, "removed"), "clone");
    pool.hold(open).unwrap();
    block_on(pool.remove_tree(Ino::ROOT, b"removed")).unwrap();
}

/// An operation of every kind that callers can ask for.
pub fn operate(world: &World, pool: &Pool) {
    let parent = directory(pool, "operated");
    file(pool, "operated/plain", &text(10, 700));
    let unnamed = block_on(pool.create_unnamed(parent, new(Kind::File))).unwrap().ino;
    write(pool, unnamed, 0, b"without a name");
    block_on(pool.link(unnamed, parent, b"named later")).unwrap();
    world.clock.step();
    attributes_of(pool, parent);
    let large = file(pool, "operated/large", &text(13, 70_000));
    block_on(pool.allocate(large, 0, 100, AllocateMode::ZeroRange { keep_size: true })).unwrap();
    block_on(pool.clone_range(large, 4096, large, 200_000, 4096)).unwrap();
    world.clock.step();
    directory(pool, "operated/empty");
    block_on(pool.rmdir(parent, b"empty")).unwrap();
    file(pool, "operated/gone", b"x");
    block_on(pool.unlink(parent, b"gone")).unwrap();
    clone(pool, at(pool, "content"), parent, "clone");
    clone(pool, parent, Ino::ROOT, "clone of operated");
    at(pool, "clone of operated/clone/below/small");
    block_on(pool.rename(parent, b"plain", parent, b"renamed", RenameMode::NoReplace)).unwrap();
    block_on(pool.rename(parent, b"renamed", parent, b"named later", RenameMode::Exchange)).unwrap();
    block_on(pool.rename(parent, b"renamed", parent, b"whiteout", RenameMode::Whiteout)).unwrap();
    let replace = CloneOptions { replace: true, ..read_only() };
    block_on(pool.clone_inode(at(pool, "kinds"), parent, b"clone", replace)).unwrap();
    let held = file(pool, "operated/held", &text(11, 600));
    pool.hold(held).unwrap();
    block_on(pool.unlink(parent, b"held")).unwrap();
    pool.forget(held, 1);
    block_on(pool.release(held)).unwrap();
    world.clock.step();
    for n in 0..40_u64 {
        write(pool, large, n * 1024, &noise(n, 700));
    }
}

fn attributes_of(pool: &Pool, parent: Ino) {
    let ino = at(pool, "operated/plain");
    let set =
        SetAttributes { mode: Some(0o600), size: Some(650), mtime: Some(SetTime::Now), ..Default::default() };
    block_on(pool.set_attributes(ino, set)).unwrap();
    for name in [&b"user.kept"[..], b"user.removed"] {
        block_on(pool.set_xattr(ino, name, &text(12, 80), XattrMode::Create, Some(0o640))).unwrap();
    }
    block_on(pool.remove_xattr(ino, b"user.removed")).unwrap();
    block_on(pool.append(ino, Bytes::from_static(b" and more"), true)).unwrap();
    block_on(pool.set_xattr(parent, b"user.directory", b"", XattrMode::Set, None)).unwrap();
}
