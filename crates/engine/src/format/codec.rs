//! Bytes in and out: little-endian integers, LEB128 variable-length integers, length-prefixed byte strings.

use crate::{Error, ErrorKind, Result, Timestamp};

/// Appends encoded values to a buffer.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// LEB128.
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Zigzag seconds, then nanoseconds.
    pub(crate) fn time(&mut self, value: Timestamp) {
        self.varint(zigzag(value.secs));
        self.varint(u64::from(value.nanos));
    }
}

/// Encoded size of a number, in bytes.
pub(crate) fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Encoded size of a time, in bytes.
pub(crate) fn time_bytes(time: Timestamp) -> usize {
    varint_bytes(zigzag(time.secs)) + varint_bytes(u64::from(time.nanos))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Takes encoded values from a slice.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

fn short() -> Error {
    Error::new(ErrorKind::Corrupt, "a stored record ends too early or has a value out of range")
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        if count > self.rest.len() {
            return Err(short());
        }
        let (head, tail) = self.rest.split_at(count);
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("four bytes were taken")))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight bytes were taken")))
    }

    pub(crate) fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                return Err(short());
            }
            value |= part << shift;
            if byte < 0x80 {
                // A last byte of zero says nothing: no version writes one, so each number has one encoding.
                return if byte == 0 && shift > 0 { Err(short()) } else { Ok(value) };
            }
        }
        Err(short())
    }

    pub(crate) fn varint_u32(&mut self) -> Result<u32> {
        u32::try_from(self.varint()?).map_err(|_| short())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.varint()?).map_err(|_| short())?;
        self.take(length)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp> {
        let zigzag = self.varint()?;
        let nanos = self.varint_u32()?;
        if nanos >= 1_000_000_000 {
            return Err(short());
        }
        Ok(Timestamp { secs: (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64), nanos })
    }

    /// A count of records that take at least `least` bytes each.
    pub(crate) fn count(&mut self, least: usize) -> Result<usize> {
        let count = usize::try_from(self.varint()?).map_err(|_| short())?;
        if count > self.rest.len() / least.max(1) {
            return Err(short());
        }
        Ok(count)
    }

    /// Checks that nothing is left.
    pub(crate) fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(short()) }
    }
}

/// The error for a value that no version writes.
pub(crate) fn out_of_range(what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("a stored {what} has a value that no version of this format writes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Option<u64> {
        let mut from = Reader::new(bytes);
        from.varint().ok().filter(|_| from.is_empty())
    }

    #[test]
    fn every_number_has_one_encoding() {
        for number in [0, 1, 0x7f, 0x80, 0x3fff, 0x4000, 1 << 56, 1 << 63, u64::MAX] {
            let mut out = Writer::default();
            out.varint(number);
            assert_eq!(varint(&out.bytes), Some(number));
            assert_eq!(out.bytes.len(), varint_bytes(number));
        }
    }

    /// It was seen that 0x80 0x00 was read as 0: two nodes of different bytes meant the same.
    #[test]
    fn a_number_that_could_be_shorter_is_refused() {
        for longer in [&[0x80, 0][..], &[0xff, 0], &[0x81, 0x80, 0], &[0x80; 11], &[0xff; 10]] {
            assert_eq!(varint(longer), None, "{longer:x?}");
        }
        assert_eq!(varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), None, "65 bits");
    }
}
