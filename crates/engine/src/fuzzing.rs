//! Decoders of stored bytes, opened to `tools/fuzzing`; no part of the API.
//!
//! Each function takes any bytes at all and panics where a property does not hold: what decodes is encoded again to the same
//! bytes, and an estimate of a size is never too low. Where a checksum would keep nearly all input out, the function adds the one
//! that fits, so that what lies behind it is reached. [`Image`] does the same for a whole pool.

mod image;
mod samples;

use bytes::Bytes;

use crate::Compression;
use crate::address::{Address, ItemKind, SegmentId};
use crate::format::VERSION;
use crate::format::codec::{Reader, Writer};
use crate::format::inode::encode_xattrs;
use crate::format::manifest::{self, Manifest};
use crate::log::batch::{self, Head, Key};
use crate::log::record::{self, Record};
use crate::segment::{Directory, ObjectName, PoolMark, codec, parse_footer_tail, parse_object_footer};
use crate::tree::{AnyNode, Node, Tree};

pub use image::{Image, Piece};
pub use samples::{compressed, sample_encodings, sample_records, sample_table, segment_parts};

/// What the checksums of heads begin with in [`log_file`].
const POOL_ID: [u8; 16] = *b"offshoot-fuzzing";
/// The number of the log file that [`log_file`] reads.
const LOG: u64 = 5;

/// A node of any tree; its first byte says which.
pub fn node(bytes: &[u8]) {
    let Some(kind) = bytes.first().and_then(|kind| ItemKind::from_u8(*kind)) else { return };
    // The last address there is, so that any other can be below it.
    let address = Address::new(SegmentId(SegmentId::END - 1), Address::ITEMS_MAX - 1);
    let Ok(node) = AnyNode::decode(kind, bytes, address) else { return };
    match &node {
        AnyNode::Directory(node) => same_node(node, bytes),
        AnyNode::File(node) => same_node(node, bytes),
        AnyNode::Side(node) => same_node(node, bytes),
        AnyNode::Alias(node) => same_node(node, bytes),
        AnyNode::Ledger(node) => same_node(node, bytes),
        AnyNode::Realm(node) => same_node(node, bytes),
    }
}

fn same_node<K: Tree>(node: &Node<K>, bytes: &[u8]) {
    assert_eq!(node.encode(), bytes, "a node is encoded to other bytes than it was decoded from");
    assert!(node.bytes >= bytes.len(), "{} bytes were estimated to be {}", bytes.len(), node.bytes);
}

/// A list of extended attributes, as a frame holds it.
pub fn attribute_list(bytes: &[u8]) {
    let Ok(list) = crate::namespace::decode_xattr_frame(bytes) else { return };
    let mut out = Writer::default();
    encode_xattrs(&list, &mut out);
    assert_eq!(out.bytes, bytes, "attributes are encoded to other bytes than they were decoded from");
}

/// The directory of a segment, as it is and with the checksum that fits.
pub fn segment_directory(bytes: &[u8]) {
    let Some(id) = bytes.first_chunk::<8>() else { return };
    let segment = SegmentId(u64::from_le_bytes(*id));
    let mark = PoolMark::of(b"0123456789abcdef");
    let _ = Directory::decode(bytes, segment, mark);
    let sealed = [bytes, &mark.checksum(bytes).to_le_bytes()].concat();
    if let Ok(directory) = Directory::decode(&sealed, segment, mark) {
        assert_eq!(directory.encode(segment, mark), sealed, "a directory is encoded to other bytes");
        for item in &directory.items {
            assert_eq!(directory.find(item.index), Some(item));
        }
    }
}

/// The footer of an object: the tail as it is, and a list with the checksum that fits.
pub fn segment_footer(bytes: &[u8]) {
    let _ = parse_footer_tail(bytes);
    let _ = parse_object_footer(bytes, crc32c::crc32c(bytes));
}

/// The name of an object of segments or of a manifest.
pub fn object_name(text: &str) {
    if let Some(name) = ObjectName::parse(text) {
        assert_eq!(name.path(), text, "an object has two names");
    }
    if let Some(number) = manifest::number(text) {
        assert_eq!(manifest::path(number), text, "a manifest has two names");
    }
}

/// Stored bytes of an item that should become `raw_length` bytes; `number` is that of the codec.
pub fn item(number: u8, raw_length: usize, stored: &[u8]) {
    let Ok(known) = codec::Codec::from_stored(number) else { return };
    if let Ok(raw) = codec::decode(known, Bytes::copy_from_slice(stored), raw_length) {
        assert_eq!(raw.len(), raw_length);
    }
}

/// Compresses bytes in every way and takes them back.
pub fn compression(raw: &[u8]) {
    for chosen in [Compression::None, Compression::Lz4, Compression::Zstd(1), Compression::Zstd(9)] {
        let (codec, stored) = codec::encode(chosen, raw);
        let back = codec::decode(codec, Bytes::copy_from_slice(&stored), raw.len());
        assert!(back.is_ok_and(|back| back == raw), "{chosen:?} does not give back what it was given");
    }
}

/// The bytes of a log file.
pub fn log_file(bytes: &[u8]) {
    let key = Key::new(&POOL_ID, [0, 0]);
    let content = batch::read(&key, bytes, LOG);
    assert!(content.end <= bytes.len() as u64);
    for batch in &content.batches {
        let _ = batch.records();
    }
}

/// A batch with heads and checksums that fit, for [`log_file`].
pub fn log_batch(sequence: u64, operations: u32, durable: u64, payload: &[u8]) -> Vec<u8> {
    let head = Head { version: VERSION, sequence, operations, durable };
    let mut bytes = batch::header(&Key::new(&POOL_ID, [0, 0]), LOG, head, payload).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

/// Whole batches at the front of a file are read, whatever follows. Gives how many were.
pub fn log_batches_read(bytes: &[u8]) -> usize {
    batch::read(&Key::new(&POOL_ID, [0, 0]), bytes, LOG).batches.len()
}

/// Records as a batch holds them.
pub fn log_records(bytes: &[u8]) {
    let mut from = Reader::new(bytes);
    let mut out = Writer::default();
    while !from.is_empty() {
        match record::decode(&mut from) {
            Ok(Record::Operation(time, operation)) => {
                let mut open = Vec::new();
                record::encode_operation(time, &operation, &mut out, &mut open);
                assert!(open.is_empty(), "a record that was read has frames without addresses");
            }
            Ok(Record::Locate { ino, parent, place, realm_root }) => {
                record::encode_locate(ino, parent, &place, realm_root, &mut out);
            }
            Err(_) => break,
        }
    }
    let same = bytes.starts_with(&out.bytes);
    assert!(same, "records are encoded to other bytes than they were decoded from");
}

/// The body of a manifest, which gets its envelope here; and the bytes as they are.
pub fn manifest(bytes: &[u8]) {
    let _ = Manifest::decode(bytes, VERSION, "it");
    let sealed = manifest::seal(manifest::MAGIC, VERSION, |out| out.bytes.extend_from_slice(bytes));
    if let Ok(manifest) = Manifest::decode(&sealed, VERSION, "it") {
        assert_eq!(manifest.encode(), sealed, "a manifest is encoded to other bytes");
    }
}

/// The body of a segment table, likewise.
pub fn segment_table(bytes: &[u8]) {
    let _ = manifest::decode_table(bytes, VERSION, "it");
    let sealed = manifest::seal(manifest::TABLE_MAGIC, VERSION, |out| out.bytes.extend_from_slice(bytes));
    if let Ok(records) = manifest::decode_table(&sealed, VERSION, "it") {
        assert_eq!(
            manifest::encode_table(VERSION, &records),
            sealed,
            "a segment table is encoded to other bytes"
        );
    }
}
