//! Encodings to begin with.

use bytes::Bytes;

use crate::Compression;
use crate::format::samples;
use crate::segment::{FOOTER_TAIL_BYTES, codec, parse_footer_tail, parse_object_footer};

/// A record of every kind, with its name.
pub fn sample_records() -> Vec<(String, Vec<u8>)> {
    let mut records = samples::records();
    records.iter_mut().for_each(|(name, _)| *name = name.replace([' ', ','], "-"));
    records
}

/// Everything that is stored, each with its name.
pub fn sample_encodings() -> Vec<(String, Vec<u8>)> {
    samples::all()
}

/// The body of a segment table.
pub fn sample_table() -> Vec<u8> {
    let whole = samples::segment_table();
    whole[12..whole.len() - 4].to_vec()
}

/// Bytes compressed in every way: number of the codec, and what is stored.
pub fn compressed(raw: &[u8]) -> Vec<(u8, Vec<u8>)> {
    [Compression::None, Compression::Lz4, Compression::Zstd(3)]
        .map(|chosen| {
            let (codec, stored) = codec::encode(chosen, raw);
            (codec.to_stored(), stored.into_owned())
        })
        .into()
}

/// The first directory of an object, without its checksum, and the list of its footer; nothing if it is not sound.
pub fn segment_parts(object: &Bytes) -> Option<(Vec<u8>, Vec<u8>)> {
    let tail = object.len().checked_sub(FOOTER_TAIL_BYTES)?;
    let (length, checksum) = parse_footer_tail(&object[tail..]).ok()?;
    let list = object.get(tail.checked_sub(length as usize)?..tail)?;
    let (_, offset, length) = *parse_object_footer(list, checksum).ok()?.first()?;
    let directory = object.get(offset as usize..offset as usize + length as usize)?;
    Some((directory[..directory.len() - 4].to_vec(), list.to_vec()))
}
