//! The manifest: the root of everything, one numbered object for each checkpoint and each change of the writer.

use std::ops::Range;

use bytes::Bytes;

use super::check_version;
use super::codec::{Reader, Writer, out_of_range};
use super::inode::{decode_inode, decode_realm, encode_inode, encode_realm};
use crate::address::{Address, ItemKind, SegmentId};
use crate::kinds::{AliasTree, Ledger, RealmTree};
use crate::object::ObjectStore;
use crate::record::{Inode, Realm};
use crate::segment::SegmentRecord;
use crate::tree::{Link, Root, Tree, decode_address};
use crate::{Error, ErrorKind, Result, Timestamp};

pub(crate) const MAGIC: &[u8; 8] = b"OFFSHMAN";
pub(crate) const TABLE_MAGIC: &[u8; 8] = b"OFFSHTAB";
/// Prefix of all manifests.
pub(crate) const PREFIX: &str = "manifests/";
/// Prefix of all segment tables.
pub(crate) const TABLE_PREFIX: &str = "tables/";

/// The path of manifest `number`.
pub(crate) fn path(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

/// The path of the segment table that was written with manifest `number`.
pub(crate) fn table_path(number: u64) -> String {
    format!("{TABLE_PREFIX}{number:016x}")
}

/// The number in the path of a manifest; nothing for what no pool has put there.
pub(crate) fn number(path: &str) -> Option<u64> {
    let number = u64::from_str_radix(path.strip_prefix(PREFIX)?, 16).ok()?;
    (self::path(number) == path).then_some(number)
}

/// The number of the newest manifest that there is.
///
/// # Errors
/// `Store`.
pub(crate) async fn newest(objects: &dyn ObjectStore) -> Result<Option<u64>> {
    let listed = objects.list(PREFIX).await?;
    Ok(listed.iter().filter_map(|object| number(&object.name)).max())
}

/// Says that the log is among the objects.
const LOG_IN_STORE: u8 = 1;

/// A segment's record, or that it is no more.
pub(crate) type TableChange = (SegmentId, Option<SegmentRecord>);

/// Everything that a pool needs to open, but the log.
#[derive(Clone)]
pub(crate) struct Manifest {
    /// Of the format: that of the program which made it.
    pub(crate) version: u32,
    pub(crate) number: u64,
    /// Grows with every open for writing.
    pub(crate) epoch: u64,
    pub(crate) pool_id: [u8; 16],
    pub(crate) hash_key: [u64; 2],
    pub(crate) hash_mask: u64,
    pub(crate) time: Timestamp,
    pub(crate) root: Inode,
    pub(crate) orphans: Inode,
    pub(crate) aliases: Root<AliasTree>,
    pub(crate) realms: Root<RealmTree>,
    pub(crate) ledger: Root<Ledger>,
    /// Nodes of the ledger that died with the last change of it; the next change of it notes that.
    pub(crate) ledger_dead: Vec<Address>,
    /// Nodes that are no longer referred to and still hold references themselves.
    pub(crate) garbage: Vec<(Address, ItemKind)>,
    /// Items that no count knows yet.
    pub(crate) born: Vec<(Address, ItemKind)>,
    pub(crate) next_number: u64,
    pub(crate) next_realm: Realm,
    pub(crate) next_segment: u64,
    /// Operations that are part of this.
    pub(crate) sequence: u64,
    /// The first log file to replay.
    pub(crate) log: u64,
    /// The newest log file that there was.
    pub(crate) newest_log: u64,
    /// Operations that were durable, in this or in the log.
    pub(crate) durable: u64,
    /// Nodes that could not be read when they were to be taken apart, over the life of the pool. What they led to is kept.
    pub(crate) abandoned: u64,
    /// Addresses whose counts were lost, from one up to another: what the ledger does not name there is never freed.
    pub(crate) uncounted: Vec<Range<u64>>,
    /// Manifest with which the segment table was last written whole; 0 is never.
    pub(crate) table: u64,
    /// What has changed in the segment table since.
    pub(crate) table_changes: Vec<TableChange>,
    /// The log is among the objects of the pool, and not on a disk of the machine that wrote this.
    pub(crate) log_in_store: bool,
}

fn encode_link<K: Tree>(root: &Root<K>, out: &mut Writer) {
    out.u64(
        root.as_ref()
            .map_or(0, |link| link.address().expect("all nodes are stored before the manifest").raw()),
    );
}

fn decode_link<K: Tree>(from: &mut Reader<'_>) -> Result<Root<K>> {
    let raw = from.u64()?;
    if raw == 0 {
        return Ok(None);
    }
    Address::from_raw(raw).map(|address| Some(Link::Stored(address))).ok_or_else(|| out_of_range("address"))
}

fn encode_items(items: &[(Address, ItemKind)], out: &mut Writer) {
    out.varint(items.len() as u64);
    for (address, kind) in items {
        out.u64(address.raw());
        out.u8(*kind as u8);
    }
}

fn decode_items(from: &mut Reader<'_>) -> Result<Vec<(Address, ItemKind)>> {
    (0..from.count(9)?)
        .map(|_| {
            let address = decode_address(from)?;
            Ok((address, ItemKind::from_u8(from.u8()?).ok_or_else(|| out_of_range("item kind"))?))
        })
        .collect()
}

fn encode_changes(changes: &[TableChange], out: &mut Writer) {
    out.varint(changes.len() as u64);
    for (segment, record) in changes {
        out.varint(segment.0);
        match record {
            None => out.u8(0),
            Some(record) => {
                out.u8(1);
                record.encode(out);
            }
        }
    }
}

fn decode_changes(from: &mut Reader<'_>) -> Result<Vec<TableChange>> {
    (0..from.count(2)?)
        .map(|_| {
            let segment = SegmentId::checked(from.varint()?).ok_or_else(|| out_of_range("segment"))?;
            let record = match from.u8()? {
                0 => None,
                1 => Some(SegmentRecord::decode(from)?),
                _ => return Err(out_of_range("segment table")),
            };
            Ok((segment, record))
        })
        .collect()
}

/// A number that a pool counts up, and can go on counting up.
fn counter(number: u64) -> Result<u64> {
    if number < 1 << 63 { Ok(number) } else { Err(out_of_range("manifest")) }
}

/// Magic, version, body, checksum of all before it.
pub(crate) fn seal(magic: &[u8; 8], version: u32, body: impl FnOnce(&mut Writer)) -> Bytes {
    let mut out = Writer::with_capacity(1024);
    out.bytes.extend_from_slice(magic);
    out.u32(version);
    body(&mut out);
    let checksum = crc32c::crc32c(&out.bytes);
    out.u32(checksum);
    out.bytes.into()
}

/// Version and body of a sealed object, for a program whose own version is `newest`.
pub(crate) fn unseal<'a>(
    magic: &[u8; 8],
    bytes: &'a [u8],
    newest: u32,
    name: &str,
) -> Result<(u32, &'a [u8])> {
    let corrupt =
        || Error::new(ErrorKind::Corrupt, format!("{name} does not have the bytes that were written"));
    if bytes.len() < 16 || bytes[..8] != *magic {
        return Err(corrupt());
    }
    let body_end = bytes.len() - 4;
    if crc32c::crc32c(&bytes[..body_end]).to_le_bytes() != bytes[body_end..] {
        return Err(corrupt());
    }
    let version = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    check_version(version, newest, name)?;
    Ok((version, &bytes[12..body_end]))
}

/// The bytes of a whole segment table.
pub(crate) fn encode_table(version: u32, records: &[TableChange]) -> Bytes {
    seal(TABLE_MAGIC, version, |out| encode_changes(records, out))
}

pub(crate) fn decode_table(bytes: &[u8], newest: u32, name: &str) -> Result<Vec<TableChange>> {
    let (_, body) = unseal(TABLE_MAGIC, bytes, newest, name)?;
    let mut from = Reader::new(body);
    let changes = decode_changes(&mut from)?;
    from.end()?;
    Ok(changes)
}

impl Manifest {
    pub(crate) fn encode(&self) -> Bytes {
        seal(MAGIC, self.version, |out| {
            out.u64(self.number);
            out.u64(self.epoch);
            out.bytes.extend_from_slice(&self.pool_id);
            out.u64(self.hash_key[0]);
            out.u64(self.hash_key[1]);
            out.u64(self.hash_mask);
            out.time(self.time);
            encode_inode(&self.root, out);
            encode_inode(&self.orphans, out);
            encode_link(&self.aliases, out);
            encode_link(&self.realms, out);
            encode_link(&self.ledger, out);
            out.varint(self.ledger_dead.len() as u64);
            self.ledger_dead.iter().for_each(|address| out.u64(address.raw()));
            encode_items(&self.garbage, out);
            encode_items(&self.born, out);
            out.varint(self.next_number);
            encode_realm(self.next_realm, out);
            out.varint(self.next_segment);
            out.varint(self.sequence);
            out.varint(self.log);
            out.varint(self.newest_log);
            out.varint(self.durable);
            out.varint(self.abandoned);
            out.varint(self.uncounted.len() as u64);
            for range in &self.uncounted {
                out.u64(range.start);
                out.u64(range.end);
            }
            out.varint(self.table);
            encode_changes(&self.table_changes, out);
            if self.log_in_store {
                out.u8(LOG_IN_STORE);
            }
        })
    }

    /// Whether the state goes on in the log: so it is but for a new pool, and one that was closed.
    pub(crate) fn needs_log(&self) -> bool {
        self.log <= self.newest_log
    }

    /// For a program whose own version is `newest`.
    ///
    /// # Errors
    /// `NewerFormat`, `Corrupt`.
    pub(crate) fn decode(bytes: &[u8], newest: u32, name: &str) -> Result<Self> {
        let (version, body) = unseal(MAGIC, bytes, newest, name)?;
        let mut from = Reader::new(body);
        let from = &mut from;
        let manifest = Self {
            version,
            number: counter(from.u64()?)?,
            epoch: counter(from.u64()?)?,
            pool_id: from.take(16)?.try_into().expect("sixteen bytes were taken"),
            hash_key: [from.u64()?, from.u64()?],
            hash_mask: from.u64()?,
            time: from.time()?,
            root: decode_inode(from)?,
            orphans: decode_inode(from)?,
            aliases: decode_link(from)?,
            realms: decode_link(from)?,
            ledger: decode_link(from)?,
            ledger_dead: (0..from.count(8)?).map(|_| decode_address(from)).collect::<Result<_>>()?,
            garbage: decode_items(from)?,
            born: decode_items(from)?,
            next_number: from.varint()?,
            next_realm: decode_realm(from)?,
            next_segment: from.varint()?,
            sequence: counter(from.varint()?)?,
            log: counter(from.varint()?)?,
            newest_log: counter(from.varint()?)?,
            durable: counter(from.varint()?)?,
            abandoned: counter(from.varint()?)?,
            uncounted: (0..from.count(16)?).map(|_| Ok(from.u64()?..from.u64()?)).collect::<Result<_>>()?,
            table: counter(from.varint()?)?,
            table_changes: decode_changes(from)?,
            log_in_store: match from.is_empty() {
                true => false,
                false if from.u8()? == LOG_IN_STORE => true,
                false => return Err(out_of_range("place of the log")),
            },
        };
        from.end()?;
        if number(name).is_some_and(|number| number != manifest.number) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("{name} is a copy of manifest {:016x} under another name", manifest.number),
            ));
        }
        Ok(manifest)
    }
}
