//! [`DiskCache`]: stored items of a remote pool on a disk of this machine.
//!
//! Items and directories of segments are kept as they are stored, compressed and encrypted as they may be. Nodes and frames are kept
//! apart, each in a [`ring`] of files, so that reading large files does not push out the trees. Nothing is synced and nothing
//! is missed that is lost: each entry has a checksum, and what is not what was written is dropped and fetched again.
//!
//! What an address means never changes within one history of a pool. The cache belongs to the history that ends with the manifest that
//! it has noted ([`Mark`]): if the newest of the pool is another one when it is opened, another writer was at work, an older state was put
//! back, or this is a copy or a fork with the same id, and everything is dropped; so is whatever belongs to segments that the pool does not
//! know to be given out yet. One process uses a cache at a time.

mod ring;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::FlockOperation;

use crate::address::{Address, ItemKind, SegmentId};
use crate::format::manifest::Manifest;
use crate::object::disk;
use crate::segment::SegmentRecord;
use crate::sync::Mutex;
use ring::{Key, Ring};

/// File with the mark of the history that the cache is of.
const MARK: &str = "mark";
/// File that is locked by who uses the cache.
const LOCK: &str = "lock";
/// The part of the space that nodes get.
const NODES_PART: u64 = 4;
/// Bytes in front of a stored directory: epoch and number of its object, its offset.
const PLACE_BYTES: usize = 24;

/// Where a cache may be and how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCacheSettings {
    /// A directory; each pool has one of its own in it, which is made.
    pub directory: PathBuf,
    /// Bytes that files of one pool may take there.
    pub size_bytes: u64,
}

/// Tells a manifest from every other one of this and other pools: number, epoch, time, checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark([u8; 32]);

impl Mark {
    /// The mark of a manifest, all of whose nodes are stored.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&manifest.number.to_le_bytes());
        bytes[8..16].copy_from_slice(&manifest.epoch.to_le_bytes());
        bytes[16..24].copy_from_slice(&manifest.time.secs.to_le_bytes());
        bytes[24..28].copy_from_slice(&manifest.time.nanos.to_le_bytes());
        bytes[28..].copy_from_slice(&crc32c::crc32c(&manifest.encode()).to_le_bytes());
        Self(bytes)
    }
}

/// Items of one pool.
pub(crate) struct DiskCache {
    directory: PathBuf,
    size_bytes: u64,
    nodes: Mutex<Ring>,
    frames: Mutex<Ring>,
    /// Held as long as the cache is used.
    _lock: File,
}

impl DiskCache {
    /// Opens the cache of a pool whose newest manifest has this mark. `index_bytes` bounds the memory for knowing what is where.
    pub(crate) fn open(
        settings: &DiskCacheSettings,
        pool_id: &[u8; 16],
        newest: Mark,
        index_bytes: u64,
    ) -> io::Result<Self> {
        let name: String = pool_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = settings.directory.join(name);
        disk::ensure_directories(&directory)?;
        let lock = File::options().create(true).truncate(false).write(true).open(directory.join(LOCK))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| io::Error::other(format!("{} is used by another server", directory.display())))?;
        let noted = std::fs::read(directory.join(MARK)).ok();
        if noted.as_deref() != Some(&newest.0[..]) {
            // What is noted goes first: whatever happens now, nothing of it is believed again.
            remove(&directory.join(MARK))?;
            for file in std::fs::read_dir(&directory)? {
                let path = file?.path();
                if path.file_name().is_some_and(|name| name != LOCK) {
                    remove(&path)?;
                }
            }
        }
        let nodes_bytes = settings.size_bytes / NODES_PART;
        let nodes = Ring::open(&directory, "nodes", nodes_bytes, index_bytes / 2)?;
        let frames = Ring::open(&directory, "frames", settings.size_bytes - nodes_bytes, index_bytes / 2)?;
        Ok(Self {
            directory,
            size_bytes: settings.size_bytes,
            nodes: Mutex::new(nodes),
            frames: Mutex::new(frames),
            _lock: lock,
        })
    }

    /// Drops everything of segments from this number on.
    pub(crate) fn drop_from(&self, next_segment: u64) {
        self.nodes.lock().drop_from(next_segment);
        self.frames.lock().drop_from(next_segment);
    }

    /// Notes the newest manifest of the pool, which this writer has put. If it cannot be, the cache is empty after a restart.
    pub(crate) fn note(&self, newest: Mark) {
        let new = self.directory.join(format!("{MARK}~"));
        let noted =
            std::fs::write(&new, newest.0).and_then(|()| std::fs::rename(&new, self.directory.join(MARK)));
        if let Err(error) = noted {
            tracing::warn!(%error, directory = ?self.directory, "the disk cache will be empty after a restart");
        }
    }

    fn ring(&self, kind: ItemKind) -> &Mutex<Ring> {
        if kind == ItemKind::Frame { &self.frames } else { &self.nodes }
    }

    /// The stored bytes of an item. They have the checksum that they were given, and are still to be verified as an item.
    pub(crate) fn item(&self, address: Address, kind: ItemKind) -> Option<Bytes> {
        Ring::get(self.ring(kind), Key::item(address))
    }

    pub(crate) fn has_item(&self, address: Address, kind: ItemKind) -> bool {
        self.ring(kind).lock().has(Key::item(address))
    }

    pub(crate) fn put_item(&self, address: Address, kind: ItemKind, stored: &[u8]) {
        self.ring(kind).lock().put(Key::item(address), &[stored]);
    }

    /// Drops an item that is dead, or not what it should be.
    pub(crate) fn drop_item(&self, address: Address, kind: ItemKind) {
        self.ring(kind).lock().forget(Key::item(address));
    }

    /// Drops a directory that is not what it should be.
    pub(crate) fn drop_directory(&self, segment: SegmentId, record: &SegmentRecord) {
        self.nodes.lock().forget(Key::directory(segment, record.object));
    }

    /// The stored bytes of a segment's directory, if it is the one at this place.
    pub(crate) fn directory(&self, segment: SegmentId, record: &SegmentRecord) -> Option<Bytes> {
        let entry = Ring::get(&self.nodes, Key::directory(segment, record.object))?;
        let is_right = entry.get(..PLACE_BYTES) == Some(&place_bytes(record)[..])
            && entry.len() == PLACE_BYTES + record.directory_length as usize;
        is_right.then(|| entry.slice(PLACE_BYTES..))
    }

    pub(crate) fn put_directory(&self, segment: SegmentId, record: &SegmentRecord, stored: &[u8]) {
        let key = Key::directory(segment, record.object);
        self.nodes.lock().put(key, &[&place_bytes(record), stored]);
    }

    /// Bytes of its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.nodes.lock().bytes() + self.frames.lock().bytes()
    }

    /// Bytes that its files may have.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.size_bytes
    }
}

fn place_bytes(record: &SegmentRecord) -> [u8; PLACE_BYTES] {
    let mut bytes = [0; PLACE_BYTES];
    bytes[..8].copy_from_slice(&record.object.epoch.to_le_bytes());
    bytes[8..16].copy_from_slice(&record.object.number.to_le_bytes());
    bytes[16..].copy_from_slice(&record.directory_offset.to_le_bytes());
    bytes
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::ObjectName;

    const POOL: [u8; 16] = [7; 16];

    fn mark(number: u8) -> Mark {
        Mark([number; 32])
    }

    fn open(directory: &Path, number: u8) -> DiskCache {
        let settings = DiskCacheSettings { directory: directory.to_owned(), size_bytes: 16 << 20 };
        DiskCache::open(&settings, &POOL, mark(number), 1 << 20).unwrap()
    }

    fn address(segment: u64, index: u32) -> Address {
        Address::new(SegmentId(segment), index)
    }

    #[test]
    fn a_cache_lives_on_with_its_pool_and_with_no_other_history() {
        let directory = tempfile::tempdir().unwrap();
        let frame = |cache: &DiskCache| cache.item(address(3, 1), ItemKind::Frame);
        let cache = open(directory.path(), 5);
        assert!(frame(&cache).is_none());
        cache.drop_from(4);
        cache.note(mark(6));
        cache.put_item(address(3, 1), ItemKind::Frame, b"stored");
        assert!(cache.item(address(3, 1), ItemKind::Directory).is_none(), "kinds are apart");
        let settings = DiskCacheSettings { directory: directory.path().to_owned(), size_bytes: 16 << 20 };
        assert!(DiskCache::open(&settings, &POOL, mark(6), 1 << 20).is_err(), "it is in use");
        drop(cache);

        let cache = open(directory.path(), 6);
        cache.drop_from(10);
        cache.note(mark(7));
        assert_eq!(frame(&cache).unwrap(), b"stored"[..]);
        drop(cache);
        // Another writer has been there meanwhile.
        let cache = open(directory.path(), 8);
        assert!(frame(&cache).is_none());
        drop(cache);
        // Nothing is left of it, whatever the epoch is.
        assert!(frame(&open(directory.path(), 7)).is_none());
    }

    /// A server that dies has kept what it put, and the number of that segment may be used again.
    #[test]
    fn segments_that_the_pool_does_not_know_are_dropped_for_good() {
        let directory = tempfile::tempdir().unwrap();
        let cache = open(directory.path(), 5);
        cache.drop_from(4);
        cache.note(mark(6));
        for segment in 4..8 {
            cache.put_item(address(segment, 0), ItemKind::Frame, b"stored");
            cache.put_item(address(segment, 1), ItemKind::Directory, b"stored");
        }
        drop(cache);
        let cache = open(directory.path(), 6);
        cache.drop_from(6);
        cache.note(mark(7));
        assert!(cache.item(address(6, 0), ItemKind::Frame).is_none());
        assert!(cache.item(address(7, 1), ItemKind::Directory).is_none());
        drop(cache);
        let cache = open(directory.path(), 7);
        cache.drop_from(100);
        cache.note(mark(8));
        assert!(cache.item(address(6, 0), ItemKind::Frame).is_none());
        assert!(cache.item(address(7, 1), ItemKind::Directory).is_none());
    }

    #[test]
    fn a_directory_is_that_of_its_place() {
        let directory = tempfile::tempdir().unwrap();
        let cache = open(directory.path(), 5);
        let record = SegmentRecord {
            object: ObjectName { epoch: 1, number: 9 },
            directory_offset: 100,
            directory_length: 6,
            bytes: 106,
            live_items: 1,
            live_bytes: 10,
        };
        cache.put_directory(SegmentId(9), &record, b"listed");
        assert_eq!(cache.directory(SegmentId(9), &record).unwrap(), b"listed"[..]);
        let moved = SegmentRecord { object: ObjectName { epoch: 2, number: 12 }, ..record.clone() };
        assert!(cache.directory(SegmentId(9), &moved).is_none());
        assert!(cache.directory(SegmentId(9), &SegmentRecord { directory_offset: 99, ..record }).is_none());
        assert!(cache.bytes() <= 16 << 20);
    }
}
