//! A file's bytes with holes: blocks that are not all zeros.

use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const BLOCK: u64 = 4096;

/// Bytes at any offset; what was never written is zero. Equal bytes are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sparse(BTreeMap<u64, Arc<Vec<u8>>>);

impl Sparse {
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let place = offset + at as u64;
            let within = (place % BLOCK) as usize;
            let length = (BLOCK as usize - within).min(bytes.len() - at);
            self.change(place / BLOCK, |block| {
                block[within..within + length].copy_from_slice(&bytes[at..at + length]);
            });
            at += length;
        }
    }

    pub fn zero(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let touched: Vec<u64> =
            self.0.range(from / BLOCK..=(to - 1) / BLOCK).map(|(index, _)| *index).collect();
        for index in touched {
            let start = from.saturating_sub(index * BLOCK).min(BLOCK) as usize;
            let end = (to - index * BLOCK).min(BLOCK) as usize;
            self.change(index, |block| block[start..end].fill(0));
        }
    }

    fn change(&mut self, index: u64, change: impl FnOnce(&mut [u8])) {
        let block = self.0.entry(index).or_insert_with(|| Arc::new(vec![0; BLOCK as usize]));
        change(Arc::make_mut(block).as_mut_slice());
        if block.iter().all(|byte| *byte == 0) {
            self.0.remove(&index);
        }
    }

    /// Pieces of a range that may hold other bytes than zeros.
    pub fn part(&self, from: u64, to: u64) -> Vec<(u64, Vec<u8>)> {
        if from >= to {
            return Vec::new();
        }
        self.0
            .range(from / BLOCK..=(to - 1) / BLOCK)
            .map(|(index, block)| {
                let start = (index * BLOCK).max(from);
                let end = (index * BLOCK + BLOCK).min(to);
                (start, block[(start - index * BLOCK) as usize..(end - index * BLOCK) as usize].to_vec())
            })
            .collect()
    }
}
