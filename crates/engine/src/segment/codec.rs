//! How bytes are compressed before they are stored.
//!
//! What does not shrink by a sixteenth is stored raw: reading it back then costs nothing. Incompressible input is not probed
//! for first, as both compressors notice it themselves and skip ahead: on random bytes lz4 runs at 6 to 25 GB/s and
//! zstd at 1.4 GB/s (4 KiB) to 12 GB/s (128 KiB), where text takes 0.7 and 0.3 to 0.5 GB/s.
//!
//! Checksums are not here: lz4 blocks and our zstd frames carry none, so callers verify stored bytes before they decode. Decoding
//! still never trusts them: damaged input gives `Corrupt` and at most `raw_length` bytes of memory.

use std::borrow::Cow;
use std::cell::RefCell;

use bytes::Bytes;

use crate::{Compression, Error, ErrorKind, Result};

/// Longest input of [`encode`] and output of [`decode`], in bytes.
pub(crate) const RAW_BYTES_MAX: usize = 16 << 20;

/// How stored bytes are compressed; the numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Codec {
    /// As they are.
    Raw = 0,
    /// One LZ4 block without a length.
    Lz4 = 1,
    /// One Zstandard frame.
    Zstd = 2,
}

impl Codec {
    /// The stored form.
    pub(crate) fn to_stored(self) -> u8 {
        self as u8
    }

    /// From the stored form; an unknown number is `Corrupt`.
    pub(crate) fn from_stored(number: u8) -> Result<Self> {
        match number {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Lz4),
            2 => Ok(Self::Zstd),
            _ => Err(corrupt(format!("compression number {number} is unknown, expected 0 to 2"))),
        }
    }
}

/// Compresses `raw`, at most [`RAW_BYTES_MAX`] bytes; borrowed if it stays as it is.
pub(crate) fn encode(compression: Compression, raw: &[u8]) -> (Codec, Cow<'_, [u8]>) {
    assert!(raw.len() <= RAW_BYTES_MAX, "{} bytes are too many to compress in one piece", raw.len());
    let compressed = match compression {
        Compression::None => None,
        Compression::Lz4 => Some((Codec::Lz4, lz4_flex::block::compress(raw))),
        Compression::Zstd(level) => zstd_compress(level, raw).map(|c| (Codec::Zstd, c)),
    };
    match compressed {
        Some((codec, bytes)) if bytes.len() + raw.len().div_ceil(16) <= raw.len() => (codec, bytes.into()),
        _ => (Codec::Raw, raw.into()),
    }
}

/// Gives back what [`encode`] was given, which must have been `raw_length` bytes. Raw bytes are not copied.
///
/// # Errors
/// `Corrupt` if the stored bytes do not decode to exactly that length.
pub(crate) fn decode(codec: Codec, stored: Bytes, raw_length: usize) -> Result<Bytes> {
    if raw_length > RAW_BYTES_MAX {
        return Err(corrupt(format!("length {raw_length} is above the largest, {RAW_BYTES_MAX}")));
    }
    let raw = match codec {
        Codec::Raw => stored,
        Codec::Lz4 => match lz4_flex::block::decompress(&stored, raw_length) {
            Ok(raw) => Bytes::from(raw),
            Err(e) => return Err(damaged("an lz4 block", stored.len(), raw_length, e)),
        },
        Codec::Zstd => match zstd_decompress(&stored, raw_length) {
            Ok(raw) => Bytes::from(raw),
            Err(e) => return Err(damaged("a zstd frame", stored.len(), raw_length, e)),
        },
    };
    if raw.len() != raw_length {
        return Err(corrupt(format!("{codec:?} data decodes to {} bytes, expected {raw_length}", raw.len())));
    }
    Ok(raw)
}

thread_local! {
    /// A context is the larger part of the work for a small input, so that each thread keeps its own: for compression
    /// that of the level used last.
    static COMPRESSOR: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// `None` if zstd gives up, which it does for want of memory only; the bytes are then stored raw.
fn zstd_compress(level: i32, raw: &[u8]) -> Option<Vec<u8>> {
    let level = level.clamp(1, 19);
    COMPRESSOR.with_borrow_mut(|kept| {
        if kept.as_ref().is_none_or(|(kept_level, _)| *kept_level != level) {
            *kept = Some((level, zstd::bulk::Compressor::new(level).ok()?));
        }
        kept.as_mut().and_then(|(_, compressor)| compressor.compress(raw).ok())
    })
}

fn zstd_decompress(stored: &[u8], raw_length: usize) -> std::io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress(stored, raw_length)
    })
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, message)
}

fn damaged(
    what: &str,
    stored: usize,
    raw: usize,
    cause: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    let message = format!("{stored} stored bytes are not {what} of {raw} bytes");
    Error::with_source(ErrorKind::Corrupt, message, cause)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Lz4,
        Compression::Zstd(1),
        Compression::Zstd(9),
        Compression::Zstd(19),
    ];

    fn random_bytes(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        fastrand::Rng::with_seed(length as u64).fill(&mut bytes);
        bytes
    }

    fn round_trip(compression: Compression, raw: &[u8]) -> Codec {
        let (codec, stored) = encode(compression, raw);
        assert!(codec == Codec::Raw || stored.len() + raw.len() / 16 <= raw.len());
        let decoded = decode(codec, Bytes::from(stored.into_owned()), raw.len()).unwrap();
        assert_eq!(&decoded[..], raw, "{compression:?}");
        codec
    }

    #[test]
    fn compressible_bytes_shrink_and_come_back() {
        let text = "all work and no play ".repeat(6000);
        assert_eq!(round_trip(Compression::None, text.as_bytes()), Codec::Raw);
        assert_eq!(round_trip(Compression::Lz4, text.as_bytes()), Codec::Lz4);
        for level in [i32::MIN, 0, 1, 3, 19, i32::MAX] {
            assert_eq!(round_trip(Compression::Zstd(level), text.as_bytes()), Codec::Zstd);
        }
    }

    #[test]
    fn a_zero_page_becomes_tiny() {
        for compression in [Compression::Lz4, Compression::Zstd(1)] {
            let zeros = [0; 4096];
            let (_, stored) = encode(compression, &zeros);
            assert!(stored.len() < 50, "{compression:?} makes {} bytes of it", stored.len());
        }
    }

    #[test]
    fn incompressible_and_short_bytes_stay_raw() {
        for compression in ALL {
            for length in [0, 1, 2, 15, 16, 17, 4096, 128 << 10] {
                assert_eq!(round_trip(compression, &random_bytes(length)), Codec::Raw);
            }
            assert!(matches!(encode(compression, b"abc").1, Cow::Borrowed(_)));
        }
    }

    /// The worst case of a probe would be a sample that misleads: half of the input is random.
    #[test]
    fn half_random_input_is_compressed_by_its_other_half() {
        let mut raw = random_bytes(64 << 10);
        raw.resize(128 << 10, 0);
        assert_eq!(round_trip(Compression::Lz4, &raw), Codec::Lz4);
        raw.rotate_left(64 << 10);
        assert_eq!(round_trip(Compression::Zstd(1), &raw), Codec::Zstd);
    }

    #[test]
    fn a_wrong_length_is_corrupt() {
        let raw = vec![7; 10_000];
        for compression in ALL {
            let (codec, stored) = encode(compression, &raw);
            let stored = Bytes::from(stored.into_owned());
            for length in [0, 1, 9_999, 10_001, RAW_BYTES_MAX, RAW_BYTES_MAX + 1, usize::MAX] {
                let error = decode(codec, stored.clone(), length).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{codec:?} {length}");
            }
        }
    }

    #[test]
    fn codec_numbers_are_fixed_and_others_are_corrupt() {
        for (number, codec) in [(0, Codec::Raw), (1, Codec::Lz4), (2, Codec::Zstd)] {
            assert_eq!(codec.to_stored(), number);
            assert_eq!(Codec::from_stored(number).unwrap(), codec);
        }
        for number in 3..=u8::MAX {
            assert_eq!(Codec::from_stored(number).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    /// Frames that older programs wrote must decode for ever.
    #[test]
    fn stored_bytes_of_the_first_format_decode() {
        let lz4 = [0x1f, b'a', 1, 0, 7, 0x50, b'a', b'a', b'a', b'a', b'a'];
        let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 32, 0x03, 0x01, 0x00, b'a'];
        assert_eq!(decode(Codec::Lz4, Bytes::copy_from_slice(&lz4), 32).unwrap(), vec![b'a'; 32]);
        assert_eq!(decode(Codec::Zstd, Bytes::copy_from_slice(&zstd), 32).unwrap(), vec![b'a'; 32]);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(
            raw in proptest::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 0..5000),
            which in 0..ALL.len(),
        ) {
            round_trip(ALL[which], &raw);
        }

        #[test]
        fn any_stored_bytes_decode_or_are_corrupt(
            stored in proptest::collection::vec(any::<u8>(), 0..300),
            number in 0u8..3,
            length in 0usize..3000,
        ) {
            let decoded = decode(Codec::from_stored(number).unwrap(), Bytes::from(stored), length);
            match decoded {
                Ok(raw) => prop_assert_eq!(raw.len(), length),
                Err(e) => prop_assert_eq!(e.kind(), ErrorKind::Corrupt),
            }
        }

        #[test]
        fn damaged_stored_bytes_decode_or_are_corrupt(
            word in proptest::collection::vec(any::<u8>(), 1..40),
            which in 1..ALL.len(),
            bit in any::<proptest::sample::Index>(),
        ) {
            let raw = word.repeat(200);
            let (codec, stored) = encode(ALL[which], &raw);
            let mut stored = stored.into_owned();
            let bit = bit.index(stored.len() * 8);
            stored[bit / 8] ^= 1 << (bit % 8);
            match decode(codec, Bytes::from(stored), raw.len()) {
                Ok(decoded) => prop_assert_eq!(decoded.len(), raw.len()),
                Err(e) => prop_assert_eq!(e.kind(), ErrorKind::Corrupt),
            }
        }
    }
}
