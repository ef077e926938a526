//! Batches: what is written to the log at one go, whole or not at all.
//!
//! A head says where the batch belongs, what it holds and up to which operation everything was durable when it was
//! written; then comes the payload. A batch counts only if it stands in the file it was written for and its checksums are
//! right, so remains of older files and torn writes end the log. Behind the end no batch is read, but heads are looked for:
//! one that claims more to have been durable than could be read is the proof that the log was damaged and not torn.
//!
//! The checksum of a head begins with a secret of the pool, so that content which users write, and which the log holds as
//! payload, can never pass for a head. In an encrypted pool the payload is encrypted, and what its head says is authenticated with it.

use std::sync::Arc;

use bytes::Bytes;

use super::record::{self, Record};
use crate::Result;
use crate::encryption::{Keys, Purpose};
use crate::format::codec::{Reader, Writer};
use crate::simulation::mutant::{self, Mutant};

const MAGIC: u32 = 0x4753_464f;
/// Bytes before the payload.
pub(crate) const HEADER_BYTES: usize = 48;

/// What the checksums of a pool's heads begin with, and what its payloads are encrypted with.
#[derive(Clone)]
pub(crate) struct Key {
    checksum: u32,
    keys: Option<Arc<Keys>>,
}

impl Key {
    /// The key of the pool with this identity and these words of its name hash.
    pub(crate) fn new(pool_id: &[u8; 16], hash_key: [u64; 2]) -> Self {
        let [first, second] = hash_key.map(u64::to_le_bytes);
        let checksum = crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(pool_id), &first), &second);
        Self { checksum, keys: None }
    }

    /// The same for a pool with these keys.
    pub(crate) fn encrypted(self, keys: Option<&Arc<Keys>>) -> Self {
        Self { keys: keys.cloned(), ..self }
    }

    /// The payload as it is stored, of records that are to stand under `head` in log file `log`; `None` if it is these records.
    pub(crate) fn encrypt(&self, log: u64, head: Head, records: &[u8]) -> Option<Bytes> {
        let keys = self.keys.as_ref()?;
        Some(keys.encrypt(Purpose::Batch, &head.context(log), records).into())
    }
}

/// What a head says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Of the format that the records have.
    pub(crate) version: u32,
    /// Sequence of the first operation; 0 if there is none.
    pub(crate) sequence: u64,
    pub(crate) operations: u32,
    /// Sequence of the last operation that was durable when this was written.
    pub(crate) durable: u64,
}

impl Head {
    /// What is authenticated with an encrypted payload.
    fn context(&self, log: u64) -> Vec<u8> {
        let Self { version, sequence, operations, durable } = *self;
        let mut out = Writer::with_capacity(32);
        out.u32(version);
        out.u64(log);
        out.u64(sequence);
        out.u64(durable);
        out.u32(operations);
        out.bytes
    }

    /// Sequence of the last operation, 0 if there is none.
    pub(crate) fn last(&self) -> u64 {
        if self.operations == 0 { 0 } else { self.sequence.saturating_add(u64::from(self.operations) - 1) }
    }
}

/// The head of a batch for `payload`, as it is stored.
pub(crate) fn header(key: &Key, log: u64, head: Head, payload: &[u8]) -> Bytes {
    let mut out = Writer::with_capacity(HEADER_BYTES);
    out.u32(MAGIC);
    out.u32(head.version);
    out.u64(log);
    out.u64(head.sequence);
    out.u64(head.durable);
    out.u32(head.operations);
    out.u32(payload.len() as u32);
    out.u32(crc32c::crc32c(payload));
    let checksum = crc32c::crc32c_append(key.checksum, &out.bytes);
    out.u32(checksum);
    out.bytes.into()
}

/// A batch that was read back.
pub(crate) struct Batch<'a> {
    pub(crate) head: Head,
    /// Where it begins in the file.
    pub(crate) offset: u64,
    payload: &'a [u8],
    log: u64,
    key: &'a Key,
}

impl Batch<'_> {
    /// The records as they are stored.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn payload(&self) -> &[u8] {
        self.payload
    }

    /// The records in order.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        let decrypted = match &self.key.keys {
            None => None,
            Some(keys) => Some(keys.decrypt(Purpose::Batch, &self.head.context(self.log), self.payload)?),
        };
        let mut from = Reader::new(decrypted.as_deref().unwrap_or(self.payload));
        let mut records = Vec::new();
        while !from.is_empty() {
            records.push(record::decode(&mut from)?);
        }
        Ok(records)
    }
}

/// Whether a log file whose pool is not known can hold anything.
pub(crate) fn may_hold_batches(file: &[u8]) -> bool {
    find_magic(file).is_some()
}

/// What a log file holds.
pub(crate) struct Content<'a> {
    /// The batches up to the first that is not whole.
    pub(crate) batches: Vec<Batch<'a>>,
    /// Where the last of them ends.
    pub(crate) end: u64,
    /// Heads that stand behind the end.
    pub(crate) behind: Vec<Head>,
}

impl Content<'_> {
    /// Leaves out what goes beyond operation `last`: a writer appended it that had been replaced by then, and no longer knew what had
    /// happened since.
    pub(crate) fn leave_out_behind(&mut self, last: u64) {
        if mutant::is_on(Mutant::ReplayZombies) {
            return;
        }
        let goes_beyond = |head: &Head| head.durable > last || (head.operations > 0 && head.last() > last);
        if let Some(first) = self.batches.iter().position(|batch| goes_beyond(&batch.head)) {
            self.end = self.batches[first].offset;
            self.batches.truncate(first);
        }
        self.behind.retain(|head| !goes_beyond(head));
    }
}

/// Reads the bytes of log file `log`.
pub(crate) fn read<'a>(key: &'a Key, file: &'a [u8], log: u64) -> Content<'a> {
    let mut batches = Vec::new();
    let mut end = 0;
    while let Some(found) = head_at(key, &file[end..], log)
        && let Some(payload) = found.payload(&file[end..])
    {
        batches.push(Batch { head: found.head, offset: end as u64, payload, log, key });
        end += HEADER_BYTES + payload.len();
    }
    if mutant::is_on(Mutant::ReplayStopsEarly) {
        batches.pop();
    }
    let mut behind = Vec::new();
    let mut at = end;
    while let Some(next) = find_magic(&file[at..]) {
        at += next;
        match head_at(key, &file[at..], log) {
            Some(found) => {
                behind.push(found.head);
                // A payload that is whole holds no heads of this file.
                at += HEADER_BYTES + found.payload(&file[at..]).map_or(0, <[u8]>::len);
            }
            None => at += 1,
        }
    }
    Content { batches, end: end as u64, behind }
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    let magic = MAGIC.to_le_bytes();
    let mut from = 0;
    while let Some(found) = bytes[from..].iter().position(|byte| *byte == magic[0]) {
        from += found;
        if bytes[from..].starts_with(&magic) {
            return Some(from);
        }
        from += 1;
    }
    None
}

struct Found {
    head: Head,
    length: usize,
    checksum: u32,
}

impl Found {
    /// The payload behind the head that `bytes` begins with, if it is whole.
    fn payload<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let payload = bytes[HEADER_BYTES..].get(..self.length)?;
        let is_whole = crc32c::crc32c(payload) == self.checksum || mutant::is_on(Mutant::IgnoreBatchChecksum);
        is_whole.then_some(payload)
    }
}

/// The head that `bytes` begins with, if it is one of log file `log`.
fn head_at(key: &Key, bytes: &[u8], log: u64) -> Option<Found> {
    let mut from = Reader::new(bytes.get(..HEADER_BYTES)?);
    let magic = from.u32().ok()?;
    let version = from.u32().ok()?;
    let number = from.u64().ok()?;
    let sequence = from.u64().ok()?;
    let durable = from.u64().ok()?;
    let operations = from.u32().ok()?;
    let length = from.u32().ok()? as usize;
    let checksum = from.u32().ok()?;
    let own = from.u32().ok()?;
    let whole = magic == MAGIC
        && number == log
        && crc32c::crc32c_append(key.checksum, &bytes[..HEADER_BYTES - 4]) == own;
    whole.then_some(Found { head: Head { version, sequence, operations, durable }, length, checksum })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &Key = &Key { checksum: 7, keys: None };
    const OTHER: &Key = &Key { checksum: 8, keys: None };

    /// Three batches of one operation each, every one written when those before it were durable.
    fn three(log: u64) -> (Vec<u8>, Vec<usize>) {
        let mut file = Vec::new();
        let mut starts = Vec::new();
        for sequence in 1..=3 {
            starts.push(file.len());
            let payload = vec![sequence as u8; 100];
            file.extend(header(
                KEY,
                log,
                Head { version: 1, sequence, operations: 1, durable: sequence - 1 },
                &payload,
            ));
            file.extend(payload);
        }
        (file, starts)
    }

    #[test]
    fn what_stands_behind_a_damaged_batch_is_found_and_not_read() {
        let (good, starts) = three(5);
        let whole = read(KEY, &good, 5);
        assert_eq!((whole.batches.len(), whole.end, whole.behind.len()), (3, good.len() as u64, 0));
        for byte in starts[1]..starts[2] {
            let mut bytes = good.clone();
            bytes[byte] ^= 0x10;
            let content = read(KEY, &bytes, 5);
            assert_eq!((content.batches.len(), content.end), (1, starts[1] as u64), "byte {byte}");
            assert_eq!(content.behind.last().map(|head| head.durable), Some(2), "byte {byte}");
        }
    }

    #[test]
    fn remains_and_heads_of_others_prove_nothing() {
        let (remains, _) = three(4);
        let (mut file, _) = three(5);
        file.extend_from_slice(&remains);
        // As a user's file could hold it who knows everything but the key.
        file.extend(header(OTHER, 5, Head { version: 1, sequence: 9, operations: 1, durable: 8 }, b""));
        file.extend_from_slice(&MAGIC.to_le_bytes()[..3]);
        let content = read(KEY, &file, 5);
        assert_eq!((content.batches.len(), content.behind.len()), (3, 0));
        assert_eq!(read(OTHER, &remains, 4).batches.len(), 0);
    }
}
