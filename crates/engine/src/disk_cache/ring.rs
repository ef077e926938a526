//! [`Ring`]: a bounded log of entries in files, of which the oldest file goes when room is needed.
//!
//! Entries are only ever appended, to the newest file. When the oldest file goes, what was used since it was written goes on at the
//! front, up to half of the file; what was not is dropped. So one pass over much data pushes out what nobody comes back to,
//! and little else. A file that is full ends with the list of its entries; where that is missing, the entries are found one after
//! the other, up to what is torn. Only the file that is written to is held open: there may be thousands.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::address::{Address, SegmentId};
use crate::object::disk;
use crate::segment::ObjectName;
use crate::sync::Mutex;

/// Begins an entry: magic, length of the payload, key, checksum of the payload, checksum of all of this.
const HEAD_BYTES: u64 = 32;
const MAGIC: u32 = 0x4343_464f;
/// Ends a file: length of the list in entries, checksum of the list, magic.
const TAIL_BYTES: u64 = 12;
const TAIL_MAGIC: u32 = 0x4543_464f;
/// An entry in the list: key, offset, length of the payload.
const LISTED_BYTES: u64 = 24;
/// What an entry takes beside its payload.
const EACH_BYTES: u64 = HEAD_BYTES + LISTED_BYTES;
/// Files of one ring, roughly.
const FILES: u64 = 16;
const FILE_BYTES_MIN: u64 = 64 << 10;
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Memory that knowing an entry takes: 33 bytes of a table that is at worst a little under half full.
const INDEX_BYTES: u64 = 80;
/// Bytes of its file system that a ring leaves free, as far as it can: the log of the pool may be there.
const FREE_BYTES_MIN: u64 = 256 << 20;

/// What an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key(u64, u64);

impl Key {
    pub(super) fn item(address: Address) -> Self {
        Self(address.raw(), 0)
    }

    /// Of one place; the entry itself says which.
    pub(super) fn directory(segment: SegmentId, object: ObjectName) -> Self {
        Self(segment.0, 1 | object.number << 24 | object.epoch << 1)
    }

    fn segment(self) -> u64 {
        if self.1 == 0 { self.0 >> 24 } else { self.0 }
    }
}

/// Where an entry is.
#[derive(Clone, Copy)]
struct Place {
    file: u32,
    offset: u32,
    length: u32,
    used: bool,
}

struct Region {
    number: u32,
    /// Bytes that are written.
    length: u64,
    /// The highest segment that has an entry in it.
    segment_max: u64,
}

/// Entries in files.
pub(super) struct Ring {
    directory: PathBuf,
    name: &'static str,
    size_bytes: u64,
    file_bytes: u64,
    free_bytes_min: u64,
    entries_max: usize,
    index: FxHashMap<Key, Place>,
    /// Oldest first.
    regions: VecDeque<Region>,
    /// The file of the last one, if it is written to.
    writing: Option<File>,
    /// Entries of the file that is written to.
    listed: Vec<(Key, u32, u32)>,
    next: u32,
    /// Nothing is written any more.
    failed: bool,
    /// Damage was found, and was told.
    is_damaged: bool,
}

impl Ring {
    /// Reads what is there. `index_bytes` bounds the memory that its index takes.
    pub(super) fn open(
        directory: &Path,
        name: &'static str,
        size_bytes: u64,
        index_bytes: u64,
    ) -> io::Result<Self> {
        let file_bytes = (size_bytes / FILES).clamp(FILE_BYTES_MIN, FILE_BYTES_MAX);
        let mut ring = Self {
            directory: directory.to_owned(),
            name,
            size_bytes,
            file_bytes,
            free_bytes_min: FREE_BYTES_MIN,
            entries_max: (index_bytes / INDEX_BYTES).max(16 * FILES) as usize,
            index: FxHashMap::default(),
            regions: VecDeque::new(),
            writing: None,
            listed: Vec::new(),
            next: 0,
            failed: false,
            is_damaged: false,
        };
        let mut numbers: Vec<u32> = std::fs::read_dir(directory)?
            .flatten()
            .filter_map(|file| {
                let file = file.file_name().into_string().ok()?;
                u32::from_str_radix(file.strip_prefix(name)?.strip_prefix('-')?, 16).ok()
            })
            .collect();
        numbers.sort_unstable();
        for number in numbers {
            ring.next = ring.next.max(number + 1);
            if ring.load(number).is_err() {
                super::remove(&ring.path(number))?;
            }
            // The setting may have become smaller.
            while ring.bytes() > ring.size_bytes || ring.index.len() > ring.entries_max {
                ring.drop_oldest();
            }
        }
        Ok(ring)
    }

    fn path(&self, number: u32) -> PathBuf {
        self.directory.join(format!("{}-{number:08x}", self.name))
    }

    fn load(&mut self, number: u32) -> io::Result<()> {
        let file = File::open(self.path(number))?;
        let length = file.metadata()?.len();
        if length > self.file_bytes {
            return Err(io::Error::other("the file is larger than files are now"));
        }
        let listed = match read_list(&file, length) {
            Some(listed) => listed,
            None => find_entries(&file, length)?,
        };
        let segment_max = listed.iter().map(|(key, ..)| key.segment()).max().unwrap_or(0);
        for (key, offset, length) in listed {
            self.index.insert(key, Place { file: number, offset, length, used: false });
        }
        self.regions.push_back(Region { number, length, segment_max });
        Ok(())
    }

    pub(super) fn has(&self, key: Key) -> bool {
        self.index.contains_key(&key)
    }

    /// The payload of an entry. The ring is not locked while it is read.
    pub(super) fn get(this: &Mutex<Self>, key: Key) -> Option<Bytes> {
        let (place, path) = {
            let mut ring = this.lock();
            let place = ring.index.get_mut(&key)?;
            place.used = true;
            let place = *place;
            (place, ring.path(place.file))
        };
        let payload = read_entry(&path, key, place);
        if payload.is_none() {
            let mut ring = this.lock();
            let is_same = |now: &Place| (now.file, now.offset) == (place.file, place.offset);
            // Its file may have gone meanwhile, which is no damage.
            if ring.index.get(&key).is_some_and(is_same) {
                ring.index.remove(&key);
                if !std::mem::replace(&mut ring.is_damaged, true) {
                    tracing::warn!(file = ?path, "an entry of the disk cache is damaged; such entries are fetched again");
                }
            }
        }
        payload
    }

    /// Adds an entry, unless there is one.
    pub(super) fn put(&mut self, key: Key, parts: &[&[u8]]) {
        if self.failed || self.size_bytes < 2 * self.file_bytes || self.has(key) {
            return;
        }
        let length: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if let Err(error) = self.try_put(key, parts, length) {
            self.failed = true;
            tracing::warn!(%error, directory = ?self.directory, "the disk cache is not written to any more; the pool works without it");
            // What was half written is no entry, and room is given back.
            if self.writing.take().is_some()
                && let Some(region) = self.regions.pop_back()
            {
                self.give_up(&region);
            }
        }
    }

    fn try_put(&mut self, key: Key, parts: &[&[u8]], length: u64) -> io::Result<()> {
        let needed = HEAD_BYTES + length;
        if needed + LISTED_BYTES + TAIL_BYTES > self.file_bytes / 2 {
            return Ok(());
        }
        while self.index.len() >= self.entries_max && self.regions.len() > 1 {
            self.drop_oldest();
        }
        if !self.has_room(needed) && !self.turn()? {
            return Ok(());
        }
        self.append(key, parts, length)
    }

    /// Whether an entry of so many bytes goes into the file that is written to, with the list. A file has no more than its part of all
    /// entries that there may be.
    fn has_room(&self, needed: u64) -> bool {
        let list = (self.listed.len() as u64 + 1) * LISTED_BYTES + TAIL_BYTES;
        self.writing.is_some()
            && self.listed.len() < self.entries_max / FILES as usize
            && self.regions.back().is_some_and(|region| region.length + needed + list <= self.file_bytes)
    }

    fn append(&mut self, key: Key, parts: &[&[u8]], length: u64) -> io::Result<()> {
        let (Some(region), Some(file)) = (self.regions.back_mut(), &self.writing) else {
            unreachable!("a file is written to")
        };
        let checksum = parts.iter().fold(0, |sum, part| crc32c::crc32c_append(sum, part));
        let head = head(key, length as u32, checksum);
        let all: Vec<&[u8]> = std::iter::once(&head[..]).chain(parts.iter().copied()).collect();
        disk::write_all_at(file, region.length, &all)?;
        let offset = region.length as u32;
        region.length += HEAD_BYTES + length;
        region.segment_max = region.segment_max.max(key.segment());
        let place = Place { file: region.number, offset, length: length as u32, used: false };
        self.index.insert(key, place);
        self.listed.push((key, offset, length as u32));
        Ok(())
    }

    /// Ends the newest file and begins another, for which the oldest may have to go. False if there is no room for one now.
    fn turn(&mut self) -> io::Result<bool> {
        if let Some(file) = self.writing.take()
            && let Some(region) = self.regions.back_mut()
        {
            let list = list_bytes(&std::mem::take(&mut self.listed));
            disk::write_all_at(&file, region.length, &[&list])?;
            region.length += list.len() as u64;
        }
        let mut kept = Vec::new();
        while self.bytes() + self.file_bytes > self.size_bytes || self.is_short_of_space()? {
            if self.regions.is_empty() {
                return Ok(false);
            }
            self.keep_used_of_oldest(&mut kept);
            self.drop_oldest();
        }
        let number = self.next;
        self.next += 1;
        self.writing = Some(disk::create_new(&self.path(number))?);
        self.listed.clear();
        self.regions.push_back(Region { number, length: 0, segment_max: 0 });
        for (key, payload) in kept {
            self.append(key, &[&payload], payload.len() as u64)?;
        }
        Ok(true)
    }

    /// Whether its file system has too little room for another file.
    fn is_short_of_space(&self) -> io::Result<bool> {
        let space = rustix::fs::statvfs(&self.directory)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize) < self.free_bytes_min)
    }

    /// Adds the entries of the oldest file that were used since they were written: half a file of them at most.
    fn keep_used_of_oldest(&self, kept: &mut Vec<(Key, Bytes)>) {
        let Some(oldest) = self.regions.front() else { return };
        let Ok(file) = File::open(self.path(oldest.number)) else { return };
        let mut used: Vec<(Key, Place)> = self
            .index
            .iter()
            .filter(|(_, place)| place.file == oldest.number && place.used)
            .map(|(key, place)| (*key, *place))
            .collect();
        used.sort_unstable_by_key(|(_, place)| place.offset);
        let mut bytes: u64 = kept.iter().map(|(_, payload)| payload.len() as u64 + EACH_BYTES).sum();
        for (key, place) in used {
            bytes += u64::from(place.length) + EACH_BYTES;
            if bytes > self.file_bytes / 2 || kept.len() >= self.entries_max / FILES as usize {
                break;
            }
            kept.extend(entry_in(&file, key, place).map(|payload| (key, payload)));
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.regions.pop_front() else { return };
        if self.regions.is_empty() {
            self.writing = None;
        }
        self.give_up(&oldest);
    }

    fn give_up(&mut self, region: &Region) {
        self.index.retain(|_, place| place.file != region.number);
        if let Err(error) = super::remove(&self.path(region.number)) {
            // Its bytes cannot be counted any more, so none are added.
            tracing::warn!(%error, file = ?self.path(region.number), "a file of the disk cache cannot be removed");
            self.failed = true;
        }
    }

    pub(super) fn forget(&mut self, key: Key) {
        self.index.remove(&key);
    }

    /// Drops files that hold anything of segments from `first` on.
    pub(super) fn drop_from(&mut self, first: u64) {
        self.writing = None;
        self.listed.clear();
        let (gone, kept) =
            std::mem::take(&mut self.regions).into_iter().partition(|region| region.segment_max >= first);
        self.regions = kept;
        for region in gone {
            self.give_up(&region);
        }
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.regions.iter().map(|region| region.length).sum()
    }
}

fn head(key: Key, length: u32, checksum: u32) -> [u8; HEAD_BYTES as usize] {
    let mut head = [0; HEAD_BYTES as usize];
    head[..4].copy_from_slice(&MAGIC.to_le_bytes());
    head[4..8].copy_from_slice(&length.to_le_bytes());
    head[8..16].copy_from_slice(&key.0.to_le_bytes());
    head[16..24].copy_from_slice(&key.1.to_le_bytes());
    head[24..28].copy_from_slice(&checksum.to_le_bytes());
    let sum = crc32c::crc32c(&head[..28]);
    head[28..].copy_from_slice(&sum.to_le_bytes());
    head
}

fn read_entry(path: &Path, key: Key, place: Place) -> Option<Bytes> {
    entry_in(&File::open(path).ok()?, key, place)
}

fn entry_in(file: &File, key: Key, place: Place) -> Option<Bytes> {
    let length = HEAD_BYTES + u64::from(place.length);
    let entry = disk::read_at(file, u64::from(place.offset), length as usize).ok()?;
    check(key, place.length, entry)
}

/// The payload of an entry that is what was written.
fn check(key: Key, length: u32, entry: Bytes) -> Option<Bytes> {
    let payload = entry.get(HEAD_BYTES as usize..).filter(|payload| payload.len() == length as usize)?;
    let is_right = entry[..HEAD_BYTES as usize] == head(key, length, crc32c::crc32c(payload));
    is_right.then(|| entry.slice(HEAD_BYTES as usize..))
}

fn list_bytes(listed: &[(Key, u32, u32)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(listed.len() * LISTED_BYTES as usize + TAIL_BYTES as usize);
    for (key, offset, length) in listed {
        bytes.extend_from_slice(&key.0.to_le_bytes());
        bytes.extend_from_slice(&key.1.to_le_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&(listed.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&TAIL_MAGIC.to_le_bytes());
    bytes
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The list at the end of a file, if there is one.
fn read_list(file: &File, length: u64) -> Option<Vec<(Key, u32, u32)>> {
    let end = length.checked_sub(TAIL_BYTES)?;
    let tail = disk::read_at(file, end, TAIL_BYTES as usize).ok().filter(|t| t.len() as u64 == TAIL_BYTES)?;
    let (count, checksum, magic) = (u32_at(&tail, 0), u32_at(&tail, 4), u32_at(&tail, 8));
    let list_length = u64::from(count) * LISTED_BYTES;
    let start = end.checked_sub(list_length).filter(|_| magic == TAIL_MAGIC)?;
    let list = disk::read_at(file, start, list_length as usize).ok()?;
    if list.len() as u64 != list_length || crc32c::crc32c(&list) != checksum {
        return None;
    }
    let entry =
        |bytes: &[u8]| (Key(u64_at(bytes, 0), u64_at(bytes, 8)), u32_at(bytes, 16), u32_at(bytes, 20));
    Some(list.chunks_exact(LISTED_BYTES as usize).map(entry).collect())
}

/// The entries of a file that was not ended, up to what is no entry.
fn find_entries(file: &File, length: u64) -> io::Result<Vec<(Key, u32, u32)>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + HEAD_BYTES <= length {
        let bytes = disk::read_at(file, at, HEAD_BYTES as usize)?;
        if bytes.len() as u64 != HEAD_BYTES {
            break;
        }
        let (key, payload) = (Key(u64_at(&bytes, 8), u64_at(&bytes, 16)), u32_at(&bytes, 4));
        let end = at + HEAD_BYTES + u64::from(payload);
        if bytes[..] != head(key, payload, u32_at(&bytes, 24)) || end > length {
            break;
        }
        found.push((key, at as u32, payload));
        at = end;
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
