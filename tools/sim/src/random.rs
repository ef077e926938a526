//! Chance from a seed.

/// Numbers that one seed always gives in the same order: SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

/// Where decisions come from: a seed, or the bytes of an input.
pub trait Chance {
    /// Any number.
    fn next(&mut self) -> u64;

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Bytes that do not shrink.
    fn bytes_of_noise(&mut self, length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..length / 8 + 1).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(length);
        bytes
    }

    /// Whether there is no more chance; of a seed there always is.
    fn is_used_up(&self) -> bool {
        false
    }

    /// True once in `in_all` times.
    fn one_in(&mut self, in_all: u64) -> bool {
        self.below(in_all) == 0
    }

    /// One of several.
    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Bytes: sometimes all alike, sometimes noise.
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        if self.one_in(2) { vec![self.below(255) as u8 + 1; length] } else { self.bytes_of_noise(length) }
    }
}

impl Chance for Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
