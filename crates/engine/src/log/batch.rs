//! Batches: what is written to the log at one go, whole or not at all.
//!
//! Bytes: magic, number of the log file, sequence of the first operation, number of operations, length of the payload,
//! checksum of all that and the payload, payload. A batch counts only if it stands in the file it was written for and its checksum
//! is right, so remains of older files and torn writes end the log.

use bytes::Bytes;

use super::record::{self, Record};
use crate::Result;
use crate::format::codec::{Reader, Writer};

const MAGIC: u32 = 0x4753_464f;
/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 32;

/// The head of a batch for `payload`.
pub(crate) fn header(log: u64, sequence: u64, operations: u32, payload: &[u8]) -> Bytes {
    let mut out = Writer::with_capacity(HEADER_BYTES);
    out.u32(MAGIC);
    out.u64(log);
    out.u64(sequence);
    out.u32(operations);
    out.u32(payload.len() as u32);
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&out.bytes), payload);
    out.u32(checksum);
    out.bytes.into()
}

/// A batch that was read back.
pub(crate) struct Batch<'a> {
    pub(crate) sequence: u64,
    pub(crate) operations: u32,
    payload: &'a [u8],
}

impl Batch<'_> {
    /// The records in order.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        let mut from = Reader::new(self.payload);
        let mut records = Vec::new();
        while !from.is_empty() {
            records.push(record::decode(&mut from)?);
        }
        Ok(records)
    }
}

/// The batches of log file `log`, up to the first that is not whole.
pub(crate) fn batches(file: &[u8], log: u64) -> Vec<Batch<'_>> {
    let mut found = Vec::new();
    let mut rest = file;
    while let Some((batch, length)) = next(rest, log) {
        found.push(batch);
        rest = &rest[length..];
    }
    found
}

fn next(file: &[u8], log: u64) -> Option<(Batch<'_>, usize)> {
    let mut from = Reader::new(file);
    let magic = from.u32().ok()?;
    let number = from.u64().ok()?;
    let sequence = from.u64().ok()?;
    let operations = from.u32().ok()?;
    let length = from.u32().ok()? as usize;
    let checksum = from.u32().ok()?;
    let payload = from.take(length).ok()?;
    let whole = magic == MAGIC
        && number == log
        && crc32c::crc32c_append(crc32c::crc32c(&file[..HEADER_BYTES - 4]), payload) == checksum;
    whole.then_some((Batch { sequence, operations, payload }, HEADER_BYTES + length))
}
