//! Writes of whole blocks at random places of one file, and truncations. Each is one operation of the pool, so after a
//! crash the file is as it was after one of them: the last that was durable or a later one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::{Mark, Place, acknowledged, content, locked, read, sync_dir};

const BLOCK_BYTES: usize = 4096;
/// Blocks of the file at most.
const BLOCKS: usize = 512;
/// Blocks of one write at most, which is half of what the kernel sends at once.
const WRITE_BLOCKS_MAX: usize = 128;
const NAME: &str = "blocks";

/// One operation.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Deed {
    /// First block and how many.
    Write(usize, usize),
    /// To so many blocks.
    Truncate(usize),
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Notes {
    seed: u64,
    /// All that were begun.
    deeds: Vec<Deed>,
    /// How many are durable.
    durable: Vec<Mark>,
}

pub(super) fn run(place: &Place<'_>, notes: &Mutex<Notes>) {
    let mut random = Rng::with_seed(place.seed);
    locked(notes).seed = place.seed;
    let path = place.dir.join(NAME);
    let open = || {
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        sync_dir(&place.dir)?;
        Ok(file)
    };
    let Some(file) = place.tries(open) else { return };
    for number in 1_u64.. {
        let deed = choose(&mut random);
        locked(notes).deeds.push(deed);
        let act = || match deed {
            Deed::Write(first, count) => {
                let bytes: Vec<u8> =
                    (first..first + count).flat_map(|at| block(place.seed, number, at)).collect();
                file.write_all_at(&bytes, (first * BLOCK_BYTES) as u64)
            }
            Deed::Truncate(blocks) => file.set_len((blocks * BLOCK_BYTES) as u64),
        };
        if place.tries(act).is_none() {
            return;
        }
        if random.u8(..6) == 0 {
            if place.tries(|| file.sync_all()).is_none() {
                return;
            }
            let moment = place.now();
            locked(notes).durable.push(Mark { moment, count: number });
        } else {
            // Leaves time for others; unsynced writes alone would fill the disk.
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

fn choose(random: &mut Rng) -> Deed {
    if random.u8(..20) == 0 {
        return Deed::Truncate(random.usize(..BLOCKS));
    }
    let count = match random.u8(..10) {
        0..6 => 1,
        6..9 => random.usize(1..16),
        _ => random.usize(1..=WRITE_BLOCKS_MAX),
    };
    Deed::Write(random.usize(..BLOCKS - count), count)
}

impl Notes {
    /// Returns how many operations are durable and there.
    pub(super) fn verify(&self, dir: &Path, moment: u64) -> Result<u64> {
        let path = dir.join(NAME);
        let durable = acknowledged(&self.durable, moment);
        let Some(found) = read(&path)? else {
            ensure!(durable == 0, "{} is lost, {durable} operations were durable", path.display());
            return Ok(0);
        };
        ensure!(found.len().is_multiple_of(BLOCK_BYTES), "{} ends in a torn block", path.display());
        let found = found
            .chunks(BLOCK_BYTES)
            .enumerate()
            .map(|(at, bytes)| self.number_of(at, bytes).with_context(|| path.display().to_string()))
            .collect::<Result<Vec<u64>>>()?;
        let mut state: Vec<u64> = Vec::new();
        let mut is_like_before = durable == 0 && found.is_empty();
        for (number, deed) in (1_u64..).zip(&self.deeds) {
            match *deed {
                Deed::Write(first, count) => {
                    state.resize(state.len().max(first + count), 0);
                    state[first..first + count].fill(number);
                }
                Deed::Truncate(blocks) => state.resize(blocks, 0),
            }
            is_like_before |= number >= durable && state == found;
        }
        ensure!(
            is_like_before,
            "{} is as it never was: not as after operation {durable}, nor after any of the {} that were begun behind it; \
             the newest in it is {}",
            path.display(),
            self.deeds.len() as u64 - durable,
            found.iter().max().unwrap_or(&0)
        );
        Ok(durable)
    }

    /// Which operation wrote a block; 0 if it is a hole.
    fn number_of(&self, at: usize, bytes: &[u8]) -> Result<u64> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(0);
        }
        let number = bytes[..8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        ensure!(
            number <= self.deeds.len() as u64 && bytes == block(self.seed, number, at),
            "block {at} is damaged"
        );
        Ok(number)
    }
}

fn block(seed: u64, number: u64, at: usize) -> Vec<u8> {
    let mut bytes = content(seed.wrapping_add(number << 20).wrapping_add(at as u64), BLOCK_BYTES);
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}
