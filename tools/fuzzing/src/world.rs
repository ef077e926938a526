//! The world of the engine's tests, with chance that comes from the input.

#[path = "../../../crates/engine/tests/engine/world.rs"]
pub mod engine;

use std::collections::VecDeque;

// What the other file of this module needs.
use crc32c as _;
use futures_timer as _;

pub use engine::{StepClock, World, at, clone, create, file, new, write};

/// Decisions from an input, and pseudo-random ones behind its end. To the model it looks as the seeded chance of the tests does.
pub struct Random {
    input: VecDeque<u8>,
    state: u64,
}

impl Random {
    pub fn of(input: &[u8]) -> Self {
        Self { input: input.iter().copied().collect(), state: 0 }
    }

    pub fn is_used_up(&self) -> bool {
        self.input.is_empty()
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

    #[allow(clippy::should_implement_trait, reason = "it is no iterator: it never ends")]
    pub fn next(&mut self) -> u64 {
        match self.take(8) {
            Some(value) => value,
            None => self.pseudo_random(),
        }
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        let bytes = (64 - (bound - 1).leading_zeros()).div_ceil(8).max(1) as usize;
        match self.take(bytes) {
            Some(value) => value % bound,
            None => self.pseudo_random() % bound,
        }
    }

    /// True once in `in_all` times.
    pub fn one_in(&mut self, in_all: u64) -> bool {
        self.below(in_all) == 0
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Bytes: sometimes all alike, sometimes noise.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        if self.one_in(2) { vec![self.below(255) as u8 + 1; length] } else { self.bytes_of_noise(length) }
    }

    /// Bytes that do not shrink; the input decides which alone.
    pub fn bytes_of_noise(&mut self, length: usize) -> Vec<u8> {
        let seed = self.below(1 << 16);
        engine::Random(seed).bytes_of_noise(length)
    }
}

impl sim::random::Chance for Random {
    fn below(&mut self, bound: u64) -> u64 {
        Random::below(self, bound)
    }
}
