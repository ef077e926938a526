//! What a disk was told, in order, and what it may hold after a power cut.
//!
//! **The model.** A flush makes every write before it durable. Of the writes since the last flush each may be on the medium or
//! not, whatever came before or after it, and one that is may be torn: some of its sectors are old. A sector is whole: 512
//! bytes, but 4 KiB where the file system below takes that for granted. ext4 does so for its superblock alone. XFS does so
//! for all metadata: it does not replay what it finds to be newer by the first sector of a block, and then finds the
//! checksum of the block wrong.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;

use super::image::Image;

/// What a medium writes whole for ext4, in bytes.
const SECTOR_BYTES: usize = 512;
/// What it writes whole for XFS, and where a superblock is, in bytes.
const BLOCK_BYTES: usize = 4096;

/// One thing that a disk was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Bytes at an offset.
    Write(u64, Vec<u8>),
    /// All before it is durable from here on.
    Flush,
}

/// What a disk held at first and what it was told since.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    /// The file system on the disk.
    pub(crate) kind: String,
    pub(crate) first: Image,
    pub(crate) events: Vec<Event>,
}

/// What happened to the writes that no flush covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// All reached the medium.
    Kept,
    /// None did.
    Lost,
    /// Each did with this probability, in percent.
    Some(u8),
    /// All but one.
    OneLost,
    /// A single one.
    OneKept,
}

/// A power cut: after how many events, and what it does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Events that had reached the disk.
    pub(crate) at: usize,
    pub(crate) fate: Fate,
    /// Kept writes are torn with this probability, in percent.
    pub(crate) torn: u8,
    /// Chooses the writes and sectors.
    seed: u64,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { at, fate, torn, .. } = self;
        match fate {
            Fate::Kept => write!(f, "after event {at}, all unflushed writes kept")?,
            Fate::Lost => write!(f, "after event {at}, all unflushed writes lost")?,
            Fate::Some(percent) => write!(f, "after event {at}, {percent}% of unflushed writes kept")?,
            Fate::OneLost => write!(f, "after event {at}, one unflushed write lost")?,
            Fate::OneKept => write!(f, "after event {at}, one unflushed write kept")?,
        }
        if *torn > 0 { write!(f, ", {torn}% of them torn") } else { Ok(()) }
    }
}

impl Cut {
    /// Cut `number` of the series that `seed` begins, at or behind event `from`: mostly where much is at stake or right behind a
    /// flush, when everything must be there that was waiting for it.
    pub(crate) fn choose(recording: &Recording, from: usize, seed: u64, number: u64) -> Self {
        let mut random = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let from = from.min(recording.events.len());
        let at = match random.u8(..10) {
            0..5 => recording.at_stake_between_flushes(from, &mut random),
            5 => recording.at_flush(from, &mut random),
            6..8 => recording.at_flush(from, &mut random).map(|flush| flush + 1),
            _ => None,
        };
        let at = at.unwrap_or_else(|| random.usize(from..=recording.events.len()));
        let fate = match random.u8(..10) {
            0 => Fate::Kept,
            1..3 => Fate::Lost,
            3 => Fate::Some(10),
            4..7 => Fate::Some(50),
            7 => Fate::Some(90),
            8 => Fate::OneLost,
            _ => Fate::OneKept,
        };
        let torn = [0, 0, 30, 100][random.usize(..4)];
        Self { at, fate, torn, seed: random.u64(..) }
    }

    /// At the end, with everything lost that was not flushed.
    pub(crate) fn worst_end(recording: &Recording) -> Self {
        Self { at: recording.events.len(), fate: Fate::Lost, torn: 0, seed: 0 }
    }
}

/// The durable content at a flush, which moves forward.
#[derive(Clone, Debug)]
pub(crate) struct Medium {
    image: Image,
    /// Events that the image holds.
    held: usize,
}

impl Medium {
    pub(crate) fn new(recording: &Recording) -> Self {
        Self { image: recording.first.clone(), held: 0 }
    }

    /// What the disk holds after a cut, with the number of writes that were at stake. A cut before what was passed
    /// already starts over.
    pub(crate) fn after(&mut self, recording: &Recording, cut: &Cut) -> (Image, usize) {
        let events = &recording.events[..cut.at];
        let flushed = events.iter().rposition(|event| *event == Event::Flush).map_or(0, |flush| flush + 1);
        if flushed < self.held {
            *self = Self::new(recording);
        }
        for event in &events[self.held..flushed] {
            if let Event::Write(offset, bytes) = event {
                self.image.write(*offset, bytes);
            }
        }
        self.held = flushed;
        let mut image = self.image.clone();
        let mut random = Rng::with_seed(cut.seed);
        let at_stake = events.len() - flushed;
        let single = random.usize(..at_stake.max(1));
        for (number, event) in events[flushed..].iter().enumerate() {
            let is_kept = match cut.fate {
                Fate::Kept => true,
                Fate::Lost => false,
                Fate::Some(percent) => random.u8(..100) < percent,
                Fate::OneLost => number != single,
                Fate::OneKept => number == single,
            };
            if let Event::Write(offset, bytes) = event
                && is_kept
            {
                if random.u8(..100) < cut.torn {
                    write_torn(&mut image, &recording.kind, *offset, bytes, &mut random);
                } else {
                    image.write(*offset, bytes);
                }
            }
        }
        (image, at_stake)
    }
}

/// Writes a front, a back or any of the sectors.
fn write_torn(image: &mut Image, kind: &str, offset: u64, bytes: &[u8], random: &mut Rng) {
    let is_whole = kind == "xfs" || offset < BLOCK_BYTES as u64;
    let unit = if is_whole { BLOCK_BYTES } else { SECTOR_BYTES };
    let sectors = bytes.len().div_ceil(unit);
    let (edge, way) = (random.usize(..=sectors), random.u8(..3));
    for (number, sector) in bytes.chunks(unit).enumerate() {
        let is_kept = match way {
            0 => number < edge,
            1 => number >= edge,
            _ => random.bool(),
        };
        if is_kept {
            image.write(offset + (number * unit) as u64, sector);
        }
    }
}

impl Recording {
    /// A flush behind `from`, before which most is at stake.
    fn at_flush(&self, from: usize, random: &mut Rng) -> Option<usize> {
        let flushes = (from..self.events.len()).filter(|at| self.events[*at] == Event::Flush);
        random.choice(flushes.collect::<Vec<_>>())
    }

    /// A place behind `from` in a row of writes without a flush; most rows are short, and half of the choices fall into long ones.
    fn at_stake_between_flushes(&self, from: usize, random: &mut Rng) -> Option<usize> {
        let mut rows: Vec<(usize, usize)> = Vec::new();
        let mut first = from;
        for at in from..=self.events.len() {
            if self.events.get(at).is_none_or(|event| *event == Event::Flush) {
                rows.push((first, at));
                first = at + 1;
            }
        }
        let least = if random.bool() { 16 } else { 3 };
        rows.retain(|(first, end)| end - first >= least);
        let (first, end) = random.choice(rows)?;
        Some(if random.bool() { end } else { random.usize(first + 1..=end) })
    }

    /// Bytes of all writes.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.events
            .iter()
            .map(|event| if let Event::Write(_, bytes) = event { bytes.len() as u64 } else { 0 })
            .sum()
    }

    pub(crate) fn flushes(&self) -> usize {
        self.events.iter().filter(|event| **event == Event::Flush).count()
    }

    /// Keeps it as two files in `dir`.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        self.first.save(&dir.join("first.img"))?;
        let write = || -> std::io::Result<()> {
            let mut file = BufWriter::new(File::create(dir.join("events"))?);
            for event in &self.events {
                let (offset, bytes) = match event {
                    Event::Write(offset, bytes) => (*offset, &bytes[..]),
                    Event::Flush => (u64::MAX, &[][..]),
                };
                file.write_all(&offset.to_le_bytes())?;
                file.write_all(&(bytes.len() as u64).to_le_bytes())?;
                file.write_all(bytes)?;
            }
            file.flush()
        };
        write().with_context(|| format!("cannot keep the events in {}", dir.display()))
    }

    /// What [`Self::save`] has kept.
    pub(crate) fn load(dir: &Path, kind: &str) -> Result<Self> {
        let first = Image::load(&dir.join("first.img"))?;
        let path = dir.join("events");
        let mut file = BufReader::new(File::open(&path).with_context(|| format!("no {}", path.display()))?);
        let mut events = Vec::new();
        let mut head = [0; 16];
        while file.read_exact(&mut head).is_ok() {
            let (offset, length) = head.split_at(8);
            let number =
                |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            let (offset, length) = (number(offset), number(length));
            if offset == u64::MAX {
                events.push(Event::Flush);
                continue;
            }
            ensure!(length <= first.size(), "{} is damaged", path.display());
            let mut bytes = vec![0; length as usize];
            file.read_exact(&mut bytes).with_context(|| format!("{} is cut off", path.display()))?;
            events.push(Event::Write(offset, bytes));
        }
        Ok(Self { kind: kind.to_owned(), first, events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording() -> Recording {
        let write = |at: u64, byte: u8| Event::Write(at * 8192, vec![byte; 8192]);
        let events = vec![write(1, 1), Event::Flush, write(2, 2), write(3, 3), Event::Flush, write(1, 4)];
        Recording { kind: "ext4".into(), first: Image::new(1 << 20), events }
    }

    fn found(image: &Image) -> [u8; 3] {
        [1, 2, 3].map(|at| {
            let mut byte = [0];
            image.read(at * 8192, &mut byte);
            byte[0]
        })
    }

    #[test]
    fn what_was_flushed_is_kept_and_the_rest_as_fate_has_it() {
        let recording = recording();
        let mut medium = Medium::new(&recording);
        let mut after = |at, fate| {
            let cut = Cut { at, fate, torn: 0, seed: 7 };
            found(&medium.after(&recording, &cut).0)
        };
        assert_eq!(after(6, Fate::Lost), [1, 2, 3]);
        assert_eq!(after(6, Fate::Kept), [4, 2, 3]);
        assert_eq!(after(4, Fate::Lost), [1, 0, 0]);
        assert_eq!(after(4, Fate::Kept), [1, 2, 3]);
        assert!([[1, 2, 0], [1, 0, 3]].contains(&after(4, Fate::OneKept)));
        assert_eq!(after(0, Fate::Kept), [0, 0, 0]);
    }

    #[test]
    fn torn_writes_keep_whole_sectors() {
        let mut random = Rng::with_seed(1);
        for _ in 0..50 {
            let mut image = Image::new(1 << 20);
            write_torn(&mut image, "ext4", 8192, &[7; 4096], &mut random);
            let mut bytes = [0; 4096];
            image.read(8192, &mut bytes);
            for sector in bytes.chunks(SECTOR_BYTES) {
                assert!(sector.iter().all(|byte| *byte == sector[0]));
            }
        }
    }

    #[test]
    fn a_kept_recording_is_the_same() {
        let dir = std::env::temp_dir().join(format!("offshoot-recording-{}", std::process::id()));
        std::fs::create_dir(&dir).expect("a new directory");
        let recording = recording();
        recording.save(&dir).expect("saved");
        let loaded = Recording::load(&dir, "ext4").expect("loaded");
        std::fs::remove_dir_all(&dir).expect("it is there");
        assert_eq!(loaded.events, recording.events);
    }

    #[test]
    fn a_cut_is_the_same_each_time_it_is_chosen() {
        let recording = recording();
        for number in 0..100 {
            let [one, two] = [1, 2].map(|_| Cut::choose(&recording, 2, 5, number).to_string());
            assert_eq!(one, two);
        }
    }
}
