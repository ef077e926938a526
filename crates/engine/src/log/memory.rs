//! A log in memory that forgets what a power cut would, for tests and for pools that need not outlive the process.
//!
//! It is as unhelpful as the seam allows: a deleted file's bytes come back as remains in the next one, a deletion is only
//! certain after the next `create`, and [`MemoryLog::crash`] keeps an arbitrary part of what was appended but not synced.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;

use super::LogStore;
use crate::object::PowerSwitch;
use crate::object::fault::Supply;
use crate::object::random::Random;
use crate::{Error, ErrorKind, Result};

/// What a disk writes as one: a power cut tears between such pieces, and once within one.
const SECTOR_BYTES: usize = 512;

/// A [`LogStore`] in memory.
#[derive(Default)]
pub struct MemoryLog {
    power: PowerSwitch,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u64, MemoryFile>,
    /// Deleted since the last `create`; a power cut may bring them back.
    deleted: BTreeMap<u64, MemoryFile>,
    capacity: Option<u64>,
}

#[derive(Default)]
struct MemoryFile {
    bytes: Vec<u8>,
    unsynced: Option<Unsynced>,
}

/// Appends since the last sync: where they began, and what the medium held there.
struct Unsynced {
    start: usize,
    before: Vec<u8>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// For tests: the same on a switch that other media share.
    pub fn with_power(power: PowerSwitch) -> Self {
        Self { power, state: Mutex::default() }
    }

    /// Limits the bytes of all files; an append that would go beyond answers `NoSpace`. `None` is no limit.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.state.lock().capacity = capacity_bytes;
    }

    /// Leaves the medium as a power cut would: what was synced stays; of the rest the seed chooses what is kept, torn at
    /// any byte; deletions may be undone. A [`PowerSwitch`] is not touched.
    pub fn crash(&self, seed: u64) {
        let mut random = Random::new(seed);
        let mut state = self.state.lock();
        let State { files, deleted, .. } = &mut *state;
        for (number, file) in std::mem::take(deleted) {
            if random.below(2) == 0 {
                files.insert(number, file);
            }
        }
        for file in files.values_mut() {
            file.crash(&mut random);
        }
    }

    /// Counts one call; true if it is to be carried out but to answer an error.
    fn enter(&self) -> Result<bool> {
        match self.power.draw() {
            Supply::On => Ok(false),
            Supply::GoneAfter => Ok(true),
            Supply::Gone => Err(PowerSwitch::error()),
        }
    }
}

fn answer<T>(done: T, is_lost: bool) -> Result<T> {
    if is_lost { Err(PowerSwitch::error()) } else { Ok(done) }
}

impl State {
    fn file(&mut self, number: u64) -> Result<&mut MemoryFile> {
        self.files
            .get_mut(&number)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no log file {number:016x}")))
    }
}

impl MemoryFile {
    fn append(&mut self, offset: usize, parts: &[Bytes]) {
        assert!(offset <= self.bytes.len(), "an append begins where the last one ended, not behind the end");
        let end = offset + parts.iter().map(Bytes::len).sum::<usize>();
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        match &mut self.unsynced {
            None => {
                self.unsynced = Some(Unsynced { start: offset, before: self.bytes[offset..end].to_vec() });
            }
            Some(unsynced) => {
                if offset < unsynced.start {
                    let mut before = self.bytes[offset..unsynced.start].to_vec();
                    before.append(&mut unsynced.before);
                    *unsynced = Unsynced { start: offset, before };
                }
                let known = unsynced.start + unsynced.before.len();
                if end > known {
                    unsynced.before.extend_from_slice(&self.bytes[known..end]);
                }
            }
        }
        let mut position = offset;
        for part in parts {
            self.bytes[position..position + part.len()].copy_from_slice(part);
            position += part.len();
        }
    }

    fn crash(&mut self, random: &mut Random) {
        let Some(Unsynced { start, before }) = self.unsynced.take() else { return };
        let length = before.len();
        if length == 0 {
            return;
        }
        let torn_at = random.below(length as u64 + 1) as usize;
        let in_order = random.below(2) == 0;
        let mut piece = 0;
        while piece < length {
            // Pieces end where sectors of the medium end.
            let piece_end =
                ((start + piece) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - start).min(length);
            let kept = if torn_at >= piece && torn_at < piece_end {
                torn_at
            } else if in_order {
                if piece_end <= torn_at { piece_end } else { piece }
            } else if random.below(2) == 0 {
                piece_end
            } else {
                piece
            };
            self.bytes[start + kept..start + piece_end].copy_from_slice(&before[kept..piece_end]);
            piece = piece_end;
        }
    }
}

impl LogStore for MemoryLog {
    fn list(&self) -> Result<Vec<u64>> {
        let is_lost = self.enter()?;
        answer(self.state.lock().files.keys().copied().collect(), is_lost)
    }

    /// A number that is taken is refused with `Exists`.
    fn create(&self, number: u64) -> Result<()> {
        let is_lost = self.enter()?;
        let mut state = self.state.lock();
        if state.files.contains_key(&number) {
            return Err(Error::new(ErrorKind::Exists, format!("there is a log file {number:016x} already")));
        }
        let mut file = state.deleted.pop_last().map(|(_, file)| file).unwrap_or_default();
        file.unsynced = None;
        state.deleted.clear();
        state.files.insert(number, file);
        answer((), is_lost)
    }

    fn append(&self, number: u64, offset: u64, parts: &[Bytes]) -> Result<()> {
        let is_lost = self.enter()?;
        let mut state = self.state.lock();
        if let Some(capacity) = state.capacity {
            let end = offset + parts.iter().map(|p| p.len() as u64).sum::<u64>();
            let others: u64 =
                state.files.iter().filter(|(n, _)| **n != number).map(|(_, f)| f.bytes.len() as u64).sum();
            if others + end.max(state.file(number)?.bytes.len() as u64) > capacity {
                return Err(Error::new(
                    ErrorKind::NoSpace,
                    format!("log file {number:016x} does not fit in {capacity} bytes"),
                ));
            }
        }
        state.file(number)?.append(offset as usize, parts);
        answer((), is_lost)
    }

    fn sync(&self, number: u64) -> Result<()> {
        let is_lost = self.enter()?;
        self.state.lock().file(number)?.unsynced = None;
        answer((), is_lost)
    }

    fn read(&self, number: u64) -> Result<Bytes> {
        let is_lost = self.enter()?;
        let bytes = Bytes::copy_from_slice(&self.state.lock().file(number)?.bytes);
        answer(bytes, is_lost)
    }

    /// One that is not there is no error.
    fn delete(&self, number: u64) -> Result<()> {
        let is_lost = self.enter()?;
        let mut state = self.state.lock();
        if let Some(file) = state.files.remove(&number) {
            state.deleted.insert(number, file);
        }
        answer((), is_lost)
    }
}
