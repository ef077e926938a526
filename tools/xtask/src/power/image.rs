//! The content of a disk, in memory: sparse, and a copy costs a pointer for each chunk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

/// Content is shared and copied in pieces of this size, in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// The content of a disk. What was never written is zero.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    chunks: Vec<Option<Arc<Vec<u8>>>>,
}

impl Image {
    /// All zeros; `size_bytes` is rounded up to whole chunks.
    pub(crate) fn new(size_bytes: u64) -> Self {
        Self { chunks: vec![None; size_bytes.div_ceil(CHUNK_BYTES as u64) as usize] }
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        (self.chunks.len() * CHUNK_BYTES) as u64
    }

    /// Reads a file.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let said = || format!("cannot read {}", path.display());
        let mut file = File::open(path).with_context(said)?;
        let mut image = Self::new(file.metadata().with_context(said)?.len());
        let mut chunk = vec![0; CHUNK_BYTES];
        for at in 0..image.chunks.len() {
            let mut length = 0;
            while length < CHUNK_BYTES {
                match file.read(&mut chunk[length..]).with_context(said)? {
                    0 => break,
                    read => length += read,
                }
            }
            if chunk[..length].iter().any(|byte| *byte != 0) {
                image.write((at * CHUNK_BYTES) as u64, &chunk[..length]);
            }
        }
        Ok(image)
    }

    /// Writes a sparse file.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let write = || -> std::io::Result<()> {
            let mut file = File::create(path)?;
            file.set_len(self.size())?;
            for (at, chunk) in self.chunks.iter().enumerate() {
                if let Some(chunk) = chunk {
                    file.seek(SeekFrom::Start((at * CHUNK_BYTES) as u64))?;
                    file.write_all(chunk)?;
                }
            }
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Fills `bytes` from `offset`; zeros behind the end.
    pub(crate) fn read(&self, offset: u64, bytes: &mut [u8]) {
        let (mut at, mut rest) = (offset as usize, bytes);
        while !rest.is_empty() {
            let inside = at % CHUNK_BYTES;
            let length = rest.len().min(CHUNK_BYTES - inside);
            match self.chunks.get(at / CHUNK_BYTES) {
                Some(Some(chunk)) => rest[..length].copy_from_slice(&chunk[inside..inside + length]),
                _ => rest[..length].fill(0),
            }
            at += length;
            rest = &mut rest[length..];
        }
    }

    /// Writes at `offset`. What lies behind the end of the disk is dropped: the kernel does not write there.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let (mut at, mut rest) = (offset as usize, bytes);
        while !rest.is_empty() {
            let inside = at % CHUNK_BYTES;
            let length = rest.len().min(CHUNK_BYTES - inside);
            if let Some(chunk) = self.chunks.get_mut(at / CHUNK_BYTES) {
                let chunk = Arc::make_mut(chunk.get_or_insert_with(|| Arc::new(vec![0; CHUNK_BYTES])));
                chunk[inside..inside + length].copy_from_slice(&rest[..length]);
            }
            at += length;
            rest = &rest[length..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_over_chunks_is_read_and_a_copy_keeps_the_old() {
        let mut image = Image::new(3 * CHUNK_BYTES as u64);
        let old = image.clone();
        let bytes: Vec<u8> = (0..CHUNK_BYTES + 1000).map(|at| (at % 251) as u8 + 1).collect();
        image.write(700, &bytes);
        let mut found = vec![9; bytes.len() + 1];
        image.read(700, &mut found);
        assert_eq!((&found[..bytes.len()], found[bytes.len()]), (&bytes[..], 0));
        old.read(700, &mut found);
        assert!(found.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn a_file_holds_all_of_it() {
        let path = std::env::temp_dir().join(format!("offshoot-image-{}", std::process::id()));
        let mut image = Image::new(4 * CHUNK_BYTES as u64);
        image.write(CHUNK_BYTES as u64 * 2 + 5, b"here");
        image.save(&path).expect("saved");
        let loaded = Image::load(&path).expect("loaded");
        std::fs::remove_file(&path).expect("it is there");
        let mut found = [0; 6];
        loaded.read(CHUNK_BYTES as u64 * 2 + 4, &mut found);
        assert_eq!((&found, loaded.size()), (b"\0here\0", image.size()));
    }
}
