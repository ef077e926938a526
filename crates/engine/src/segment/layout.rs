//! The bytes of an object that holds segments: header, then for each segment its items and its directory, then the footer.
//!
//! In an encrypted pool each item, each directory and the list in the footer are encrypted by themselves.

use std::sync::Arc;

use bytes::Bytes;

use super::ObjectName;
use super::codec::Codec;
use crate::address::{ItemKind, SegmentId};
use crate::encryption::{ITEM_KEY_BYTES, ItemKey, Keys, Purpose};
use crate::format::check_version;
use crate::format::codec::{Reader, Writer, out_of_range};
use crate::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"OFFSHSEG";
const FOOTER_MAGIC: &[u8; 8] = b"OFFSHEND";
/// Magic, version, 1 if it is encrypted, epoch.
pub(crate) const HEADER_BYTES: usize = 24;
/// Length of the footer's list, checksum, magic.
pub(crate) const FOOTER_TAIL_BYTES: usize = 16;

/// One item of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) index: u32,
    /// Offset in the object, in bytes.
    pub(crate) offset: u64,
    pub(crate) stored_length: u32,
    pub(crate) raw_length: u32,
    pub(crate) kind: ItemKind,
    pub(crate) codec: Codec,
    /// CRC-32C over the item's place and nature, then its stored bytes.
    pub(crate) checksum: u32,
}

impl Item {
    fn nature(&self, segment: SegmentId) -> [u8; 18] {
        nature(segment, self.index, self.raw_length, self.kind, self.codec)
    }

    fn checksum_of(&self, segment: SegmentId, stored: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.nature(segment)), stored)
    }

    /// Checks stored bytes, decrypts them with the key of the segment if it has one, and decompresses them.
    pub(crate) fn open(&self, segment: SegmentId, key: Option<&ItemKey>, stored: Bytes) -> Result<Bytes> {
        if stored.len() != self.stored_length as usize || self.checksum_of(segment, &stored) != self.checksum
        {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "item {} of segment {:x} does not have the bytes that were written",
                    self.index, segment.0
                ),
            ));
        }
        let compressed = match key {
            None => stored,
            Some(key) => key.decrypt(self.index, &self.nature(segment), stored).map_err(|error| {
                let message = format!("item {} of segment {:x}: {error}", self.index, segment.0);
                Error::with_source(error.kind(), message, error)
            })?,
        };
        super::codec::decode(self.codec, compressed, self.raw_length as usize)
    }
}

/// Tells the segments of a pool from those of any other. An object of another pool may have the same name, segment and places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolMark(u32);

impl PoolMark {
    pub(crate) fn of(pool_id: &[u8; 16]) -> Self {
        Self(crc32c::crc32c(pool_id))
    }

    /// CRC-32C over the pool's id, then `bytes`.
    pub(crate) fn checksum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

/// What the checksum of an item begins with, and what is authenticated with it.
pub(super) fn nature(
    segment: SegmentId,
    index: u32,
    raw_length: u32,
    kind: ItemKind,
    codec: Codec,
) -> [u8; 18] {
    let mut nature = [0u8; 18];
    nature[..8].copy_from_slice(&segment.0.to_le_bytes());
    nature[8..12].copy_from_slice(&index.to_le_bytes());
    nature[12..16].copy_from_slice(&raw_length.to_le_bytes());
    nature[16] = kind as u8;
    nature[17] = codec.to_stored();
    nature
}

/// The items of a segment, ascending by index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) items: Vec<Item>,
    /// What the items are encrypted with.
    pub(crate) key: Option<ItemKey>,
}

impl Directory {
    /// An empty one, for items that are encrypted with `key`.
    pub(crate) fn with_key(key: Option<ItemKey>) -> Self {
        Self { items: Vec::new(), key }
    }

    pub(crate) fn find(&self, index: u32) -> Option<&Item> {
        self.place(index).map(|place| &self.items[place])
    }

    /// Where among the items the one with this index is.
    pub(crate) fn place(&self, index: u32) -> Option<usize> {
        // As long as nothing was dropped before it, an item stands at its index.
        match self.items.get(index as usize) {
            Some(item) if item.index == index => Some(index as usize),
            _ => self.items.binary_search_by_key(&index, |item| item.index).ok(),
        }
    }

    pub(crate) fn encode(&self, segment: SegmentId, mark: PoolMark) -> Vec<u8> {
        let mut out = Writer::with_capacity(16 * self.items.len() + 32);
        out.u64(segment.0);
        out.varint(self.items.len() as u64);
        let mut next = 0;
        for item in &self.items {
            out.varint(u64::from(item.index - next));
            next = item.index + 1;
            out.varint(item.offset);
            out.varint(u64::from(item.stored_length));
            out.varint(u64::from(item.raw_length));
            out.u8(item.kind as u8);
            out.u8(item.codec.to_stored());
            out.u32(item.checksum);
        }
        let checksum = mark.checksum(&out.bytes);
        out.u32(checksum);
        out.bytes
    }

    /// # Errors
    /// `Corrupt` if it is not the directory of this segment, or one of another pool.
    pub(crate) fn decode(bytes: &[u8], segment: SegmentId, mark: PoolMark) -> Result<Self> {
        let corrupt = || {
            Error::new(
                ErrorKind::Corrupt,
                format!("the directory of segment {:x} is not what this pool has written", segment.0),
            )
        };
        let body = bytes.len().checked_sub(4).ok_or_else(corrupt)?;
        // The first programs left the pool's id out.
        let checksums = [mark.checksum(&bytes[..body]), crc32c::crc32c(&bytes[..body])];
        if !checksums.iter().any(|checksum| checksum.to_le_bytes() == bytes[body..]) {
            return Err(corrupt());
        }
        let mut from = Reader::new(&bytes[..body]);
        if from.u64()? != segment.0 {
            return Err(corrupt());
        }
        let count = from.count(10)?;
        let mut items = Vec::with_capacity(count);
        let mut next = 0u64;
        for _ in 0..count {
            let index = next.checked_add(from.varint()?).filter(|i| *i < 1 << 24).ok_or_else(corrupt)?;
            next = index + 1;
            items.push(Item {
                index: index as u32,
                offset: from.varint()?,
                stored_length: from.varint_u32()?,
                raw_length: from.varint_u32()?,
                kind: ItemKind::from_u8(from.u8()?).ok_or_else(|| out_of_range("item kind"))?,
                codec: Codec::from_stored(from.u8()?)?,
                checksum: from.u32()?,
            });
        }
        from.end()?;
        Ok(Self { items, key: None })
    }

    fn encrypt(&self, segment: SegmentId, mark: PoolMark, keys: &Keys, object: ObjectName) -> Vec<u8> {
        let key = self.key.as_ref().expect("a segment of an encrypted pool has a key");
        let plain = [&key.stored()[..], &self.encode(segment, mark)].concat();
        keys.encrypt(Purpose::Directory, &place_of_directory(segment, object), &plain)
    }

    /// As [`Directory::decode`], for one that is stored in an object of an encrypted pool.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn decrypt(
        bytes: &[u8],
        segment: SegmentId,
        mark: PoolMark,
        keys: &Keys,
        object: ObjectName,
    ) -> Result<Self> {
        let plain = keys.decrypt(Purpose::Directory, &place_of_directory(segment, object), bytes).map_err(
            |error| {
                let message = format!("the directory of segment {:x}: {error}", segment.0);
                Error::with_source(error.kind(), message, error)
            },
        )?;
        let (key, encoded) =
            plain.split_first_chunk::<ITEM_KEY_BYTES>().ok_or_else(|| out_of_range("directory"))?;
        Ok(Self { key: Some(keys.stored_item_key(key)?), ..Self::decode(encoded, segment, mark)? })
    }
}

fn place_of_directory(segment: SegmentId, object: ObjectName) -> Vec<u8> {
    [&segment.0.to_le_bytes(), object.path().as_bytes()].concat()
}

/// A segment in a footer: id, and offset and length of its directory.
pub(crate) type FooterEntry = (SegmentId, u64, u32);

/// Gathers the bytes of an object.
pub(crate) struct ObjectBuilder {
    bytes: Vec<u8>,
    footer: Vec<FooterEntry>,
    /// What directories and footer are encrypted with, and the name that they are bound to.
    encryption: Option<(Arc<Keys>, ObjectName)>,
}

impl ObjectBuilder {
    pub(crate) fn new(version: u32, epoch: u64, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&epoch.to_le_bytes());
        debug_assert_eq!(bytes.len(), HEADER_BYTES);
        Self { bytes, footer: Vec::new(), encryption: None }
    }

    /// For the object with this name, encrypted if there are keys.
    pub(crate) fn encrypted(mut self, keys: Option<&Arc<Keys>>, object: ObjectName) -> Self {
        if let Some(keys) = keys {
            self.bytes[12] = 1;
            self.encryption = Some((keys.clone(), object));
        }
        self
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Adds an item of `segment`; `index` is higher than all of it so far.
    pub(crate) fn push(
        &mut self,
        segment: SegmentId,
        index: u32,
        kind: ItemKind,
        raw_length: u32,
        codec: Codec,
        stored: &[u8],
    ) -> Item {
        let mut item = Item {
            index,
            offset: self.bytes.len() as u64,
            stored_length: stored.len() as u32,
            raw_length,
            kind,
            codec,
            checksum: 0,
        };
        item.checksum = item.checksum_of(segment, stored);
        self.bytes.extend_from_slice(stored);
        item
    }

    /// The stored bytes of an item pushed before.
    pub(crate) fn stored(&self, item: &Item) -> Bytes {
        let start = item.offset as usize;
        Bytes::copy_from_slice(&self.bytes[start..start + item.stored_length as usize])
    }

    /// Ends a segment; returns offset and length of its directory.
    pub(crate) fn end_segment(
        &mut self,
        segment: SegmentId,
        directory: &Directory,
        mark: PoolMark,
    ) -> (u64, u32) {
        let encoded = match &self.encryption {
            None => directory.encode(segment, mark),
            Some((keys, object)) => directory.encrypt(segment, mark, keys, *object),
        };
        let place = (self.bytes.len() as u64, encoded.len() as u32);
        self.bytes.extend_from_slice(&encoded);
        self.footer.push((segment, place.0, place.1));
        place
    }

    /// The whole object.
    pub(crate) fn finish(mut self) -> Bytes {
        let mut out = Writer::default();
        out.varint(self.footer.len() as u64);
        for (segment, offset, length) in &self.footer {
            out.u64(segment.0);
            out.u64(*offset);
            out.u32(*length);
        }
        if let Some((keys, object)) = &self.encryption {
            out.bytes = keys.encrypt(Purpose::Footer, object.path().as_bytes(), &out.bytes);
        }
        let checksum = crc32c::crc32c(&out.bytes);
        let length = out.bytes.len() as u32;
        self.bytes.extend_from_slice(&out.bytes);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        self.bytes.extend_from_slice(FOOTER_MAGIC);
        self.bytes.into()
    }
}

/// Verifies the first [`HEADER_BYTES`] of an object.
pub(crate) fn parse_header(header: &[u8], epoch: u64, newest: u32, is_encrypted: bool) -> Result<()> {
    let mut from = Reader::new(header);
    let is_right = from.take(8)? == MAGIC
        && (1..=newest).contains(&from.u32()?)
        && from.u32()? == u32::from(is_encrypted)
        && from.u64()? == epoch;
    if is_right { Ok(()) } else { Err(out_of_range("segment header")) }
}

/// Refuses the header of an object that a newer program wrote, and what is none.
///
/// # Errors
/// `NewerFormat`, `Corrupt`.
pub(crate) fn check_header(header: &[u8], newest: u32, name: &str) -> Result<()> {
    let mut from = Reader::new(header);
    if from.take(8)? != MAGIC {
        return Err(out_of_range("header of a segment object"));
    }
    check_version(from.u32()?, newest, name)
}

/// Length and checksum of the footer's list, from the last [`FOOTER_TAIL_BYTES`] of an object.
pub(crate) fn parse_footer_tail(tail: &[u8]) -> Result<(u32, u32)> {
    let mut from = Reader::new(tail);
    let (length, checksum) = (from.u32()?, from.u32()?);
    if from.take(8)? != FOOTER_MAGIC {
        return Err(out_of_range("segment footer"));
    }
    Ok((length, checksum))
}

/// As [`parse_object_footer`], for an object of an encrypted pool.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn decrypt_object_footer(
    list: &[u8],
    checksum: u32,
    keys: &Keys,
    path: &str,
) -> Result<Vec<FooterEntry>> {
    if crc32c::crc32c(list) != checksum {
        return Err(out_of_range("segment footer"));
    }
    let plain = keys
        .decrypt(Purpose::Footer, path.as_bytes(), list)
        .map_err(|error| Error::with_source(error.kind(), format!("the footer: {error}"), error))?;
    parse_object_footer(&plain, crc32c::crc32c(&plain))
}

/// The segments of an object, from the list in its footer.
pub(crate) fn parse_object_footer(list: &[u8], checksum: u32) -> Result<Vec<FooterEntry>> {
    if crc32c::crc32c(list) != checksum {
        return Err(out_of_range("segment footer"));
    }
    let mut from = Reader::new(list);
    let count = from.count(20)?;
    let entries =
        (0..count).map(|_| Ok((segment_id(&mut from)?, from.u64()?, from.u32()?))).collect::<Result<_>>()?;
    from.end()?;
    Ok(entries)
}

fn segment_id(from: &mut Reader<'_>) -> Result<SegmentId> {
    SegmentId::checked(from.u64()?).ok_or_else(|| out_of_range("segment"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A footer that names a segment whose number no address can hold made recovery panic.
    #[test]
    fn a_footer_names_segments_that_can_be() {
        for (id, is_good) in [(1, true), (SegmentId::END - 1, true), (0, false), (SegmentId::END, false)] {
            let mut builder = ObjectBuilder::new(1, 1, 0);
            builder.footer.push((SegmentId(id), 24, 0));
            let object = builder.finish();
            let tail = object.len() - FOOTER_TAIL_BYTES;
            let (length, checksum) = parse_footer_tail(&object[tail..]).unwrap();
            let list = parse_object_footer(&object[tail - length as usize..tail], checksum);
            assert_eq!(list.is_ok(), is_good, "{id:x}");
        }
    }
}
