//! Words of 64 bits in one file, written and read at fixed places by several threads, each with a descriptor of its own.
//!
//! A word is an object of its own, so each has a history of its own. All descriptors of a round are of one sort, through the
//! page cache or around it (`O_DIRECT`): Linux promises nothing to programs that mix them.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Result;
use fastrand::Rng;
use rustix::fs::OFlags;

use super::search::{Event, History, Model};
use super::together;

/// Where the words are: two in one page, one in a page of its own, one far away.
const PLACES: [u64; 4] = [0, 8, 4096 + 40, 1 << 20];
const OPERATIONS: usize = 16;

pub(super) struct Register;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Write(u64),
    Read,
}

impl Model for Register {
    type State = u64;
    type Operation = Operation;
    /// The value that was read or written; none if it failed.
    type Answer = Option<u64>;

    fn initial() -> u64 {
        0
    }

    fn step(state: &u64, _: u8, operation: &Operation, answer: &Option<u64>) -> Option<u64> {
        match operation {
            Operation::Write(value) => (*answer == Some(*value)).then_some(*value),
            Operation::Read => (*answer == Some(*state)).then_some(*state),
        }
    }

    fn can_be_left_out(operation: &Operation, _: &Option<u64>) -> bool {
        *operation == Operation::Read
    }
}

/// The histories of one round, one for each word.
/// `direct` says whether the file system takes words through `O_DIRECT` (local ones take whole blocks).
pub(super) fn round(
    dir: &Path,
    threads: usize,
    direct: bool,
    random: &mut Rng,
) -> Result<Vec<History<Register>>> {
    let path = dir.join("words");
    std::fs::write(&path, [0; 8])?;
    let file = OpenOptions::new().write(true).open(&path)?;
    file.set_len((1 << 20) + 8)?;
    let flags = if direct && random.bool() { OFlags::DIRECT.bits() as i32 } else { 0 };
    let open = || OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path);
    let files: Vec<File> = (0..threads).map(|_| open()).collect::<std::io::Result<_>>()?;
    let recorded = together(threads, random, |thread, began, random| {
        let mut events = Vec::new();
        for number in 0..OPERATIONS {
            let word = random.usize(..PLACES.len());
            let operation = match random.bool() {
                true => Operation::Write((thread * OPERATIONS + number + 1) as u64),
                false => Operation::Read,
            };
            let event = Event::record(thread, began, operation, |op| execute(&files[thread], word, *op));
            events.push((word, event));
        }
        events
    })?;
    let mut histories: Vec<History<Register>> = PLACES.iter().map(|_| Vec::new()).collect();
    for (word, event) in recorded {
        histories[word].push(event);
    }
    Ok(histories)
}

fn execute(file: &File, word: usize, operation: Operation) -> Option<u64> {
    let mut bytes = [0; 8];
    match operation {
        Operation::Write(value) => file.write_all_at(&value.to_le_bytes(), PLACES[word]).ok().map(|()| value),
        Operation::Read => {
            file.read_exact_at(&mut bytes, PLACES[word]).ok().map(|()| u64::from_le_bytes(bytes))
        }
    }
}
