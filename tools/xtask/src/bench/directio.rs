//! Reads and writes that pass the kernel's cache by: they need memory at an address that suits the disk.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Result;
use fastrand::Rng;
use rustix::fs::OFlags;

/// One piece.
pub(super) const PIECE_BYTES: usize = 4096;

/// A piece at an address that is a multiple of its size.
pub(super) struct Piece {
    memory: Vec<u8>,
    start: usize,
}

impl Piece {
    /// Filled with what does not compress.
    pub(super) fn new(seed: u64) -> Self {
        let memory = vec![0; 2 * PIECE_BYTES];
        let start = memory.as_ptr().align_offset(PIECE_BYTES);
        let mut piece = Self { memory, start };
        Rng::with_seed(seed).fill(piece.bytes_mut());
        piece
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + PIECE_BYTES]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + PIECE_BYTES]
    }
}

/// Opens for reading and writing, around the cache if `direct`.
pub(super) fn open(path: &Path, direct: bool) -> Result<File> {
    let flags = if direct { OFlags::DIRECT } else { OFlags::empty() };
    let mut options = File::options();
    Ok(options.read(true).write(true).create(true).custom_flags(flags.bits() as i32).open(path)?)
}

/// Writes a file piece by piece in random order. Around the cache it is as fragmented as it can be; through the cache a file
/// system may put neighbours together before it stores them.
pub(super) fn write_scattered(path: &Path, size_bytes: u64, seed: u64, direct: bool) -> Result<()> {
    let file = open(path, direct)?;
    let mut order: Vec<u64> = (0..size_bytes / PIECE_BYTES as u64).collect();
    let mut random = Rng::with_seed(seed);
    for at in (1..order.len()).rev() {
        order.swap(at, random.usize(..=at));
    }
    let mut piece = Piece::new(seed);
    for number in order {
        // Each piece is one of its own, or a store that looks for equal ones would find them.
        piece.bytes_mut()[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all_at(piece.bytes(), number * PIECE_BYTES as u64)?;
    }
    file.sync_all()?;
    Ok(())
}
