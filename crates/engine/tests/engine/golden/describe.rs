//! Everything that can be seen of a pool, as text: a line for each inode, in the order of paths, and one for all.
//!
//! `tests/golden/decode.py` makes the same lines from the stored bytes alone.

use std::fmt::Write as _;

use futures::executor::block_on;
use offshoot_engine::{Attributes, Ino, Kind, Pool, SeekTarget, Timestamp};

const BLOCK: u64 = 4096;

/// FNV-1a of 64 bits (Fowler, Noll, Vo 1991): short in every language.
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn of(bytes: &[u8]) -> String {
        let mut hash = Self::new();
        hash.add(bytes);
        format!("{:016x}", hash.0)
    }
}

/// The whole pool.
pub fn pool(pool: &Pool) -> String {
    let root = block_on(pool.attributes(Ino::ROOT)).unwrap();
    let mut lines = String::new();
    inode(pool, "/", &root, &mut lines);
    below(pool, "", Ino::ROOT, &mut lines);
    let status = block_on(pool.status());
    writeln!(
        lines,
        "files={} directories={} bytes={} realms={}",
        status.files, status.directories, status.logical_bytes, status.realm_ids
    )
    .unwrap();
    lines
}

/// The lines but for those that change with whatever is done: that of the root, with its times, and the last one.
pub fn of_inodes(description: &str) -> Vec<&str> {
    let lines: Vec<&str> = description.lines().collect();
    lines[1..lines.len() - 1].to_vec()
}

fn below(pool: &Pool, path: &str, directory: Ino, lines: &mut String) {
    let mut items = Vec::new();
    let mut cookie = 0;
    loop {
        let more = block_on(pool.read_dir(directory, cookie, 100, true)).unwrap();
        let Some(last) = more.last() else { break };
        cookie = last.cookie;
        items.extend(more);
    }
    items.sort_by(|one, other| one.name.cmp(&other.name));
    for item in items {
        let path = format!("{path}/{}", escaped(&item.name));
        inode(pool, &path, &item.attributes, lines);
        if item.attributes.kind == Kind::Directory {
            below(pool, &path, item.attributes.ino, lines);
        }
        pool.forget(item.attributes.ino, 1);
    }
}

/// Bytes of a name; all but letters, digits and some signs as `%xx`.
fn escaped(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    bytes.iter().map(|b| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02x}") }).collect()
}

fn time(time: Timestamp) -> String {
    format!("{}.{:09}", time.secs, time.nanos)
}

fn inode(pool: &Pool, path: &str, attributes: &Attributes, lines: &mut String) {
    let Attributes { ino, kind, mode, uid, gid, nlink, size, allocated, rdev, .. } = attributes;
    let kind_name = format!("{kind:?}").to_lowercase();
    let (realm, number) = (ino.realm(), ino.number());
    write!(lines, "{path} {kind_name} {realm}.{number} mode={mode:o} nlink={nlink}").unwrap();
    let others = [
        ("size", *size),
        ("allocated", *allocated),
        ("uid", u64::from(*uid)),
        ("gid", u64::from(*gid)),
        ("rdev", u64::from(*rdev)),
        ("ro", u64::from(attributes.read_only)),
        ("clone", u64::from(attributes.clone_root)),
    ];
    for (name, value) in others.into_iter().filter(|(_, value)| *value != 0) {
        write!(lines, " {name}={value}").unwrap();
    }
    let times = [attributes.atime, attributes.mtime, attributes.ctime, attributes.btime];
    let same = times.iter().all(|time| *time == times[0]);
    let times: Vec<_> = times.into_iter().take(if same { 1 } else { 4 }).map(time).collect();
    write!(lines, " times={}", times.join(",")).unwrap();
    for name in block_on(pool.xattrs(*ino)).unwrap() {
        let value = block_on(pool.xattr(*ino, &name)).unwrap();
        write!(lines, " {}={}", escaped(&name), Hash::of(&value)).unwrap();
    }
    if let Some(origin) = block_on(pool.info(*ino)).unwrap().origin {
        let path = escaped(&origin.path);
        write!(lines, " origin={}.{},{path},{}", origin.ino.realm(), origin.ino.number(), time(origin.time))
            .unwrap();
    }
    match kind {
        Kind::Symlink => {
            write!(lines, " target={}", Hash::of(&block_on(pool.read_link(*ino)).unwrap())).unwrap()
        }
        Kind::File => write!(lines, " content={}", content(pool, *ino, *size)).unwrap(),
        _ => {}
    }
    lines.push('\n');
}

/// A hash of all blocks that are not zeros, each with its number in front.
fn content(pool: &Pool, ino: Ino, size: u64) -> String {
    let mut hash = Hash::new();
    let mut at = 0;
    while let Some(data) = block_on(pool.seek(ino, at, SeekTarget::Data)).unwrap() {
        let block = data / BLOCK;
        let mut bytes = Vec::new();
        block_on(pool.read(ino, block * BLOCK, BLOCK as usize, &mut bytes)).unwrap();
        if bytes.iter().any(|byte| *byte != 0) {
            hash.add(&block.to_le_bytes());
            hash.add(&bytes);
        }
        at = (block + 1) * BLOCK;
        if at >= size {
            break;
        }
    }
    format!("{:016x}", hash.0)
}
