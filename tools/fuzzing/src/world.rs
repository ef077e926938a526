//! The world of the engine's tests, with chance that comes from the input.

#[path = "../../../crates/engine/tests/engine/world.rs"]
pub mod engine;

use std::collections::VecDeque;

// What the other file of this module needs.
use crc32c as _;
use futures_timer as _;
use sim as _;

pub use engine::{Chance, StepClock, World, at, cheap_encryption, clone, create, file, new, write};

/// Decisions from an input, and pseudo-random ones behind its end. To the model it looks as the seeded chance of the tests does.
pub struct Random {
    input: VecDeque<u8>,
    state: u64,
}

impl Random {
    pub fn of(input: &[u8]) -> Self {
        Self { input: input.iter().copied().collect(), state: 0 }
    }

    fn take(&mut self, bytes: usize) -> Option<u64> {
        let taken = self.input.drain(..bytes.min(self.input.len()));
        taken.rev().fold(None, |value, byte| Some(value.unwrap_or(0) << 8 | u64::from(byte)))
    }

    fn pseudo_random(&mut self) -> u64 {
        let mut chance = engine::Random(self.state);
        let value = chance.next();
        self.state = chance.0;
        value
    }
}

impl Chance for Random {
    fn next(&mut self) -> u64 {
        match self.take(8) {
            Some(value) => value,
            None => self.pseudo_random(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        let bytes = (64 - (bound - 1).leading_zeros()).div_ceil(8).max(1) as usize;
        match self.take(bytes) {
            Some(value) => value % bound,
            None => self.pseudo_random() % bound,
        }
    }

    /// The input decides alone which they are.
    fn bytes_of_noise(&mut self, length: usize) -> Vec<u8> {
        let seed = self.below(1 << 16);
        engine::Random(seed).bytes_of_noise(length)
    }

    fn is_used_up(&self) -> bool {
        self.input.is_empty()
    }
}
