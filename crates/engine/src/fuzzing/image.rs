//! A pool as plain bytes without checksums, to be changed and sealed again.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::executor::block_on;

use crate::address::{Address, ItemKind, SegmentId};
use crate::format::VERSION;
use crate::format::manifest::{self, Manifest, TableChange};
use crate::log::batch::{self, Head, Key};
use crate::log::{BlockingLog, MemoryLog};
use crate::object::{MemoryStore, ObjectStore};
use crate::segment::codec::Codec;
use crate::segment::{
    Directory, FOOTER_TAIL_BYTES, ObjectBuilder, ObjectName, PoolMark, parse_footer_tail, parse_object_footer,
};
use crate::{Result, Storage};

/// What a piece of an image is.
#[derive(Clone)]
enum Place {
    /// An object that is put back as it is.
    Object(String),
    /// The body of a manifest or a table.
    Sealed(String),
    /// A node or frame, raw.
    Item { object: ObjectName, segment: SegmentId, index: u32, kind: ItemKind },
    /// The payload of a batch.
    Batch { log: u64, head: Head },
}

/// Bytes that a checksum covers, without it.
#[derive(Clone)]
pub struct Piece {
    place: Place,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Piece {
    /// What it is: the tree of a node, `frame`, `batch`, `manifest`, `table` or `object`.
    pub fn kind(&self) -> &'static str {
        match &self.place {
            Place::Object(_) => "object",
            Place::Sealed(name) if name.starts_with(manifest::PREFIX) => "manifest",
            Place::Sealed(_) => "table",
            Place::Batch { .. } => "batch",
            Place::Item { kind, .. } => match kind {
                ItemKind::Frame => "frame",
                ItemKind::Directory => "directory",
                ItemKind::File => "file",
                ItemKind::Side => "side",
                ItemKind::Alias => "alias",
                ItemKind::Ledger => "ledger",
                ItemKind::Realm => "realm",
            },
        }
    }

    /// Whether it is a node, a manifest or the like, and not content of a file.
    pub fn is_structure(&self) -> bool {
        !matches!(self.place, Place::Item { kind: ItemKind::Frame, .. })
    }

    /// The stored address, if it is an item.
    pub fn address(&self) -> Option<[u8; 8]> {
        match self.place {
            Place::Item { segment, index, .. } => Some(Address::new(segment, index).raw().to_le_bytes()),
            _ => None,
        }
    }
}

/// A pool taken apart.
#[derive(Clone)]
pub struct Image {
    /// Everything that can be changed.
    pub pieces: Vec<Piece>,
    logs: Vec<u64>,
    key: Key,
    mark: PoolMark,
}

impl Image {
    /// Takes a pool apart that nobody has open.
    ///
    /// # Errors
    /// Those of the media; `Corrupt` if the pool is not sound.
    pub fn take(objects: &MemoryStore, log: &MemoryLog) -> Result<Image> {
        let mut pieces = Vec::new();
        let mut key = Key::new(&[0; 16], [0, 0]);
        let mut mark = PoolMark::of(&[0; 16]);
        for object in block_on(objects.list(""))? {
            let bytes = block_on(objects.get(&object.name, 0, u64::MAX))?;
            if let Some(name) = ObjectName::parse(&object.name) {
                take_segments(name, &bytes, mark, &mut pieces)?;
            } else if object.name.starts_with(manifest::PREFIX)
                || object.name.starts_with(manifest::TABLE_PREFIX)
            {
                if object.name.starts_with(manifest::PREFIX) {
                    let read = Manifest::decode(&bytes, VERSION, &object.name)?;
                    key = Key::new(&read.pool_id, read.hash_key);
                    mark = PoolMark::of(&read.pool_id);
                }
                let body = bytes[12..bytes.len() - 4].to_vec();
                pieces.push(Piece { place: Place::Sealed(object.name), bytes: body });
            } else {
                pieces.push(Piece { place: Place::Object(object.name), bytes: bytes.to_vec() });
            }
        }
        let logs = log.list()?;
        for number in logs.iter().copied() {
            let bytes = log.read(number)?;
            for batch in batch::read(&key, &bytes, number).batches {
                let place = Place::Batch { log: number, head: batch.head };
                pieces.push(Piece { place, bytes: batch.payload().to_vec() });
            }
        }
        Ok(Image { pieces, logs, key, mark })
    }

    /// Seals everything and puts it into new media. Places of segments in manifests and tables follow what has become longer or shorter.
    ///
    /// # Errors
    /// Those of the media.
    pub fn restore(&self) -> Result<Storage> {
        let objects = MemoryStore::new();
        let put = |name: &str, bytes: Bytes| block_on(objects.put(name, vec![bytes]));
        let mut moved = BTreeMap::new();
        for (name, bytes) in self.objects_of_segments(&mut moved) {
            put(&name, bytes)?;
        }
        for piece in &self.pieces {
            match &piece.place {
                Place::Object(name) => put(name, Bytes::copy_from_slice(&piece.bytes))?,
                Place::Sealed(name) => put(name, seal(name, &piece.bytes, &moved))?,
                Place::Item { .. } | Place::Batch { .. } => {}
            }
        }
        let log = MemoryLog::new();
        for number in self.logs.iter().copied() {
            log.create(number)?;
            let mut offset = 0;
            for piece in &self.pieces {
                if let Place::Batch { log: of, head } = piece.place
                    && of == number
                {
                    let header = batch::header(&self.key, number, head, &piece.bytes);
                    let length = header.len() + piece.bytes.len();
                    log.append(number, offset, &[header, Bytes::copy_from_slice(&piece.bytes)])?;
                    offset += length as u64;
                }
            }
            log.sync(number)?;
        }
        Ok(Storage { objects: std::sync::Arc::new(objects), log: std::sync::Arc::new(log) })
    }

    /// The objects that hold the items, and where each segment lies in them now.
    fn objects_of_segments(&self, moved: &mut BTreeMap<SegmentId, (u64, u32)>) -> Vec<(String, Bytes)> {
        let mut builders: BTreeMap<ObjectName, Vec<(SegmentId, u32, ItemKind, &[u8])>> = BTreeMap::new();
        for piece in &self.pieces {
            if let Place::Item { object, segment, index, kind } = piece.place {
                builders.entry(object).or_default().push((segment, index, kind, &piece.bytes));
            }
        }
        let mut objects = Vec::new();
        for (name, items) in builders {
            let mut builder = ObjectBuilder::new(VERSION, name.epoch, 0);
            for of_one in items.chunk_by(|one, next| one.0 == next.0) {
                let segment = of_one[0].0;
                let mut directory = Directory::default();
                for (_, index, kind, raw) in of_one {
                    directory.items.push(builder.push(
                        segment,
                        *index,
                        *kind,
                        raw.len() as u32,
                        Codec::Raw,
                        raw,
                    ));
                }
                moved.insert(segment, builder.end_segment(segment, &directory, self.mark));
            }
            objects.push((name.path(), builder.finish()));
        }
        objects
    }
}

fn take_segments(object: ObjectName, bytes: &Bytes, mark: PoolMark, pieces: &mut Vec<Piece>) -> Result<()> {
    let tail = bytes.len() - FOOTER_TAIL_BYTES;
    let (length, checksum) = parse_footer_tail(&bytes[tail..])?;
    for (segment, offset, length) in parse_object_footer(&bytes[tail - length as usize..tail], checksum)? {
        let start = offset as usize;
        let directory = Directory::decode(&bytes[start..start + length as usize], segment, mark)?;
        for item in &directory.items {
            let start = item.offset as usize;
            let stored = bytes.slice(start..start + item.stored_length as usize);
            let raw = item.open(segment, None, stored)?;
            let place = Place::Item { object, segment, index: item.index, kind: item.kind };
            pieces.push(Piece { place, bytes: raw.to_vec() });
        }
    }
    Ok(())
}

/// A manifest or table with its envelope. If it can be read, it says where segments are now.
fn seal(name: &str, body: &[u8], moved: &BTreeMap<SegmentId, (u64, u32)>) -> Bytes {
    let follow = |changes: &mut Vec<TableChange>| {
        for (segment, record) in changes {
            if let (Some(record), Some((offset, length))) = (record, moved.get(segment)) {
                (record.directory_offset, record.directory_length) = (*offset, *length);
            }
        }
    };
    let is_manifest = name.starts_with(manifest::PREFIX);
    let magic = if is_manifest { manifest::MAGIC } else { manifest::TABLE_MAGIC };
    let sealed = manifest::seal(magic, VERSION, |out| out.bytes.extend_from_slice(body));
    if is_manifest {
        Manifest::decode(&sealed, VERSION, name).map(|mut manifest| {
            follow(&mut manifest.table_changes);
            manifest.encode()
        })
    } else {
        manifest::decode_table(&sealed, VERSION, name).map(|mut records| {
            follow(&mut records);
            manifest::encode_table(VERSION, &records)
        })
    }
    .unwrap_or(sealed)
}
