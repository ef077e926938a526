//! A log in memory that forgets what a power cut would, for tests and for pools that need not outlive the process.
//!
//! It is as unhelpful as the seam allows: a deleted file's bytes come back as remains in the next one, a deletion is only
//! certain after the next `create`, and [`MemoryLog::crash`] keeps an arbitrary part of what was appended but not synced.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;

use super::BlockingLog;
use crate::object::PowerSwitch;
use crate::object::fault::Supply;
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};

/// What a disk writes as one: a power cut tears between such pieces, and once within one.
const SECTOR_BYTES: usize = 512;

/// A [`BlockingLog`] in memory.
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
    kept: BTreeMap<u64, Bytes>,
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

    /// The copies that [`BlockingLog::keep_copy`] made.
    pub fn kept(&self) -> BTreeMap<u64, Bytes> {
        self.state.lock().kept.clone()
    }

    /// For tests: damages what is at rest, a bit that counts from the start of file `number`.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` if the file is shorter.
    pub fn flip_bit(&self, number: u64, bit: u64) -> Result<()> {
        let mut state = self.state.lock();
        let file = state.file(number)?;
        let byte = usize::try_from(bit / 8).ok().and_then(|at| file.bytes.get_mut(at));
        let byte = byte.ok_or_else(|| Error::new(ErrorKind::Invalid, "the file is shorter"))?;
        *byte ^= 1 << (bit % 8);
        Ok(())
    }

    /// For tests: loses file `number` for good.
    pub fn lose(&self, number: u64) {
        self.state.lock().files.remove(&number);
    }

    /// Leaves the medium as a power cut would: what was synced stays; of the rest the seed chooses what is kept, torn at
    /// any byte; deletions may be undone. A [`PowerSwitch`] is not touched.
    pub fn crash(&self, seed: u64) {
        let mut random = Rng::with_seed(seed);
        let mut state = self.state.lock();
        let State { files, deleted, .. } = &mut *state;
        for (number, file) in std::mem::take(deleted) {
            if random.bool() {
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

    fn crash(&mut self, random: &mut Rng) {
        let Some(Unsynced { start, before }) = self.unsynced.take() else { return };
        let length = before.len();
        let kept = Kept::choose(random, length);
        let mut piece = 0;
        while piece < length {
            // Pieces end where sectors of the medium end.
            let piece_end = (((start + piece) / SECTOR_BYTES + 1) * SECTOR_BYTES - start).min(length);
            let lost = piece + kept.of_piece(random, piece, piece_end);
            self.bytes[start + lost..start + piece_end].copy_from_slice(&before[lost..piece_end]);
            piece = piece_end;
        }
    }
}

/// What of the unsynced bytes a power cut has kept.
enum Kept {
    /// All that lie before this position: nothing at 0.
    Before(usize),
    /// Any sectors in any order, and one torn at this position.
    Sectors { torn_at: usize },
}

impl Kept {
    fn choose(random: &mut Rng, length: usize) -> Self {
        let torn_at = random.usize(..=length);
        match random.u8(..4) {
            0 => Self::Before(0),
            1 => Self::Before(length),
            2 => Self::Before(torn_at),
            _ => Self::Sectors { torn_at },
        }
    }

    /// How many bytes of the piece from `start` to `end` are kept; the rest of it is lost.
    fn of_piece(&self, random: &mut Rng, start: usize, end: usize) -> usize {
        match *self {
            Self::Before(position) => position.clamp(start, end) - start,
            Self::Sectors { torn_at } if (start..end).contains(&torn_at) => torn_at - start,
            Self::Sectors { .. } => random.usize(..2) * (end - start),
        }
    }
}

impl BlockingLog for MemoryLog {
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
        let mut state = self.state.lock();
        let file = state.file(number)?;
        file.unsynced = None;
        answer(Bytes::copy_from_slice(&file.bytes), is_lost)
    }

    fn keep_copy(&self, number: u64) -> Result<()> {
        let is_lost = self.enter()?;
        let mut state = self.state.lock();
        let bytes = Bytes::copy_from_slice(&state.file(number)?.bytes);
        state.kept.entry(number).or_insert(bytes);
        answer((), is_lost)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn bytes(byte: u8, length: usize) -> [Bytes; 2] {
        [Bytes::from(vec![byte; length / 2]), Bytes::from(vec![byte; length - length / 2])]
    }

    #[test]
    fn what_is_appended_is_read_until_the_file_is_deleted() {
        let log = MemoryLog::new();
        log.create(3).unwrap();
        log.create(1).unwrap();
        assert_eq!(log.create(3).unwrap_err().kind(), ErrorKind::Exists);
        log.append(3, 0, &bytes(1, 3)).unwrap();
        log.append(3, 3, &bytes(2, 2)).unwrap();
        assert_eq!(log.list().unwrap(), [1, 3]);
        assert_eq!(log.read(3).unwrap(), [1, 1, 1, 2, 2][..]);
        log.delete(3).unwrap();
        log.delete(3).unwrap();
        assert_eq!(log.list().unwrap(), [1]);
        for result in [log.append(3, 0, &[]), log.sync(3), log.read(3).map(|_| ())] {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_new_file_holds_the_remains_of_a_deleted_one() {
        let log = MemoryLog::new();
        log.create(1).unwrap();
        log.append(1, 0, &bytes(1, 6)).unwrap();
        log.delete(1).unwrap();
        log.create(2).unwrap();
        log.append(2, 0, &bytes(2, 2)).unwrap();
        assert_eq!(log.read(2).unwrap(), [2, 2, 1, 1, 1, 1][..]);
        // What a crash takes from an append is what was there before, remains too.
        let left: BTreeSet<Vec<u8>> = (0..50)
            .map(|seed| {
                log.crash(seed);
                let left = log.read(2).unwrap().to_vec();
                log.append(2, 0, &bytes(1, 2)).unwrap();
                log.sync(2).unwrap();
                log.append(2, 0, &bytes(2, 2)).unwrap();
                left
            })
            .collect();
        let [old, torn, new] = [[1, 1], [2, 1], [2, 2]].map(|start| [&start[..], &[1; 4]].concat());
        assert_eq!(left, BTreeSet::from([old, torn, new]));
    }

    #[test]
    fn a_crash_keeps_all_that_was_synced_and_any_part_of_the_rest() {
        let mut kept_in_order = 0;
        let (mut kept_all, mut kept_none, mut kept_out_of_order, mut torn_in_a_sector) = (0, 0, 0, 0);
        for seed in 0..2000 {
            let log = MemoryLog::new();
            log.create(1).unwrap();
            log.append(1, 0, &bytes(1, 700)).unwrap();
            log.sync(1).unwrap();
            log.append(1, 700, &bytes(2, 1000)).unwrap();
            log.append(1, 1700, &bytes(3, 1000)).unwrap();
            log.crash(seed);
            let read = log.read(1).unwrap();
            assert_eq!(&read[..700], &[1; 700]);
            let kept: Vec<bool> = read[700..]
                .iter()
                .enumerate()
                .map(|(n, byte)| {
                    let appended = if n < 1000 { 2 } else { 3 };
                    assert!(*byte == 0 || *byte == appended, "seed {seed}");
                    *byte == appended
                })
                .collect();
            let prefix = kept.iter().take_while(|k| **k).count();
            let count = kept.iter().filter(|k| **k).count();
            kept_all += usize::from(count == 2000);
            kept_none += usize::from(count == 0);
            kept_in_order += usize::from(count == prefix);
            kept_out_of_order += usize::from(count > prefix);
            let edges = (1..2000).filter(|n| kept[*n] != kept[*n - 1]);
            torn_in_a_sector += usize::from(edges.into_iter().any(|n| (700 + n) % SECTOR_BYTES != 0));
            // A second cut changes nothing: what is on the medium is durable.
            log.crash(seed + 1);
            assert_eq!(log.read(1).unwrap(), read);
        }
        for (what, times) in [
            ("all", kept_all),
            ("none", kept_none),
            ("in order", kept_in_order),
            ("out of order", kept_out_of_order),
            ("torn", torn_in_a_sector),
        ] {
            assert!(times > 0, "kept {what} never");
        }
    }

    #[test]
    fn what_was_read_is_durable() {
        for seed in 0..20 {
            let log = MemoryLog::new();
            log.create(1).unwrap();
            log.append(1, 0, &bytes(1, 700)).unwrap();
            assert_eq!(log.read(1).unwrap(), [1; 700][..]);
            log.crash(seed);
            assert_eq!(log.read(1).unwrap(), [1; 700][..]);
        }
    }

    #[test]
    fn a_retried_append_forgets_the_failed_one_in_a_crash_too() {
        for seed in 0..200 {
            let log = MemoryLog::new();
            log.create(1).unwrap();
            log.append(1, 0, &bytes(1, 10)).unwrap();
            log.sync(1).unwrap();
            log.append(1, 10, &bytes(2, 10)).unwrap();
            log.append(1, 5, &bytes(3, 10)).unwrap();
            log.crash(seed);
            let read = log.read(1).unwrap();
            assert_eq!(&read[..5], &[1; 5]);
            assert!(read[5..10].iter().all(|b| [1, 3].contains(b)), "seed {seed}: {read:?}");
            assert!(read[10..15].iter().all(|b| [0, 3].contains(b)), "seed {seed}: {read:?}");
            assert!(read[15..20].iter().all(|b| [0, 2].contains(b)), "seed {seed}: {read:?}");
        }
    }

    #[test]
    fn a_crash_may_undo_a_deletion_until_the_next_create() {
        let mut back = 0;
        for seed in 0..100 {
            let log = MemoryLog::new();
            log.create(1).unwrap();
            log.append(1, 0, &bytes(7, 4)).unwrap();
            log.sync(1).unwrap();
            log.delete(1).unwrap();
            log.crash(seed);
            if log.list().unwrap() == [1] {
                assert_eq!(log.read(1).unwrap(), [7; 4][..]);
                back += 1;
            }
            log.delete(1).unwrap();
            log.create(2).unwrap();
            log.crash(seed);
            assert_eq!(log.list().unwrap(), [2]);
        }
        assert!((20..=80).contains(&back), "{back} of 100 came back");
    }

    #[test]
    fn a_capacity_is_kept() {
        let log = MemoryLog::new();
        log.create(1).unwrap();
        log.set_capacity(Some(10));
        log.append(1, 0, &bytes(1, 10)).unwrap();
        assert_eq!(log.append(1, 10, &bytes(1, 1)).unwrap_err().kind(), ErrorKind::NoSpace);
        log.append(1, 5, &bytes(1, 5)).unwrap();
        log.create(2).unwrap();
        assert_eq!(log.append(2, 0, &bytes(1, 1)).unwrap_err().kind(), ErrorKind::NoSpace);
        log.delete(1).unwrap();
        log.append(2, 0, &bytes(1, 10)).unwrap();
    }

    #[test]
    fn no_power_no_log() {
        let power = PowerSwitch::new();
        let log = MemoryLog::with_power(power.clone());
        log.create(1).unwrap();
        power.cut_after(0, true);
        assert!(log.append(1, 0, &bytes(1, 4)).is_err());
        assert!(log.read(1).is_err() && log.sync(1).is_err() && log.list().is_err());
        assert!(log.create(2).is_err() && log.delete(1).is_err());
        power.restore();
        assert_eq!(log.read(1).unwrap(), [1; 4][..]);
        power.cut_after(0, false);
        assert!(log.append(1, 4, &bytes(1, 4)).is_err());
        power.restore();
        assert_eq!(log.read(1).unwrap(), [1; 4][..]);
    }
}
