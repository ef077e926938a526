//! The first exchange: which protocol, and which of its features.

use super::request::Dialect;
use super::{Fields, MINOR_MIN, Malformed, VERSION};

bitflags::bitflags! {
    /// Features that one side offers and the other takes (`FUSE_` flags of `INIT`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::fuse) struct Features: u64 {
        const ASYNC_READ = 1 << 0;
        const BIG_WRITES = 1 << 5;
        const DONT_MASK = 1 << 6;
        const DO_READDIRPLUS = 1 << 13;
        const READDIRPLUS_AUTO = 1 << 14;
        const ASYNC_DIO = 1 << 15;
        const PARALLEL_DIROPS = 1 << 18;
        const HANDLE_KILLPRIV = 1 << 19;
        const POSIX_ACL = 1 << 20;
        const MAX_PAGES = 1 << 22;
        const CACHE_SYMLINKS = 1 << 23;
        const EXPLICIT_INVAL_DATA = 1 << 25;
        const HANDLE_KILLPRIV_V2 = 1 << 28;
        const SETXATTR_EXT = 1 << 29;
        const INIT_EXT = 1 << 30;
        const CREATE_SUPP_GROUP = 1 << 34;
    }
}

/// What is taken wherever it is offered. Not `FUSE_EXPORT_SUPPORT`: a number that the kernel has forgotten cannot be found again. Not
/// `FUSE_ATOMIC_O_TRUNC`: opening would empty a program that runs before the kernel refuses it with `ETXTBSY`. Not
/// `FUSE_NO_OPEN_SUPPORT`: opening for writing inside a read-only clone has to fail. Not `FUSE_NO_OPENDIR_SUPPORT`: who opens a
/// directory decides whether its listing is cached. Not `FUSE_DIRECT_IO_ALLOW_MMAP`: no file is opened
/// for direct use only. Not the write-back cache; see the module `fuse`.
const WANTED: Features = Features::ASYNC_READ
    .union(Features::BIG_WRITES)
    .union(Features::DONT_MASK)
    .union(Features::DO_READDIRPLUS)
    .union(Features::READDIRPLUS_AUTO)
    .union(Features::ASYNC_DIO)
    .union(Features::PARALLEL_DIROPS)
    .union(Features::POSIX_ACL)
    .union(Features::MAX_PAGES)
    .union(Features::CACHE_SYMLINKS)
    .union(Features::EXPLICIT_INVAL_DATA)
    .union(Features::HANDLE_KILLPRIV_V2)
    .union(Features::SETXATTR_EXT)
    .union(Features::INIT_EXT)
    .union(Features::CREATE_SUPP_GROUP);

/// Most bytes of one read or write.
pub(in crate::fuse) const DATA_BYTES_MAX: usize = 1 << 20;
const PAGE_BYTES_MIN: usize = 4 << 10;
/// Requests that the kernel sends ahead without anybody waiting for them.
const BACKGROUND_MAX: u16 = 64;
/// From how many of them on it holds back.
const CONGESTION: u16 = BACKGROUND_MAX / 4 * 3;
const TIME_GRANULARITY_NANOSECONDS: u32 = 1;
const ANSWER_BYTES: usize = 64;

/// What the kernel offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fuse) struct Offer {
    pub(in crate::fuse) major: u32,
    pub(in crate::fuse) minor: u32,
    read_ahead_max: u32,
    features: Features,
}

impl Offer {
    /// Decodes the arguments of `INIT`.
    pub(in crate::fuse) fn decode(mut fields: Fields<'_>) -> Result<Offer, Malformed> {
        let (major, minor) = (fields.u32()?, fields.u32()?);
        if major != VERSION.0 {
            // Another major version may look different from here on.
            return Ok(Offer { major, minor, read_ahead_max: 0, features: Features::empty() });
        }
        let (read_ahead_max, low) = (fields.u32()?, fields.u32()?);
        let mut bits = u64::from(low);
        if Features::from_bits_retain(bits).contains(Features::INIT_EXT) {
            bits |= u64::from(fields.u32()?) << 32;
        }
        Ok(Offer { major, minor, read_ahead_max, features: Features::from_bits_retain(bits) })
    }

    /// What is taken of it; `None` if the kernel is too old to talk to.
    pub(in crate::fuse) fn agree(&self) -> Option<Agreement> {
        if self.major != VERSION.0 || self.minor < MINOR_MIN {
            return None;
        }
        let mut features = self.features & WANTED;
        if !features.contains(Features::HANDLE_KILLPRIV_V2) {
            features |= self.features & Features::HANDLE_KILLPRIV;
        }
        Some(Agreement { features, read_ahead_max: self.read_ahead_max })
    }
}

/// What both sides can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fuse) struct Agreement {
    pub(in crate::fuse) features: Features,
    read_ahead_max: u32,
}

impl Agreement {
    /// How requests look.
    pub(in crate::fuse) fn dialect(&self) -> Dialect {
        Dialect { long_setxattr: self.features.contains(Features::SETXATTR_EXT) }
    }

    /// The answer to `INIT`.
    pub(in crate::fuse) fn encode(&self, into: &mut Vec<u8>) {
        let bits = self.features.bits();
        let start = into.len();
        for value in [VERSION.0, VERSION.1, self.read_ahead_max, bits as u32] {
            into.extend_from_slice(&value.to_ne_bytes());
        }
        for value in [BACKGROUND_MAX, CONGESTION] {
            into.extend_from_slice(&value.to_ne_bytes());
        }
        for value in [DATA_BYTES_MAX as u32, TIME_GRANULARITY_NANOSECONDS] {
            into.extend_from_slice(&value.to_ne_bytes());
        }
        let pages = (DATA_BYTES_MAX / PAGE_BYTES_MIN) as u16;
        for value in [pages, 0] {
            into.extend_from_slice(&value.to_ne_bytes());
        }
        into.extend_from_slice(&((bits >> 32) as u32).to_ne_bytes());
        into.resize(start + ANSWER_BYTES, 0);
    }
}

/// The answer to a kernel of a later major version, which then asks again in ours.
pub(in crate::fuse) fn encode_version(into: &mut Vec<u8>) {
    let start = into.len();
    for value in [VERSION.0, VERSION.1] {
        into.extend_from_slice(&value.to_ne_bytes());
    }
    into.resize(start + ANSWER_BYTES, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(words: &[u32]) -> Result<Offer, Malformed> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        Offer::decode(Fields::new(&bytes))
    }

    #[test]
    fn what_is_offered_and_wanted_is_taken() {
        let offered = offer(&[7, 45, 1 << 17, u32::MAX, u32::MAX, 0, 0]).unwrap();
        let agreement = offered.agree().unwrap();
        assert_eq!(agreement.features, WANTED);
        assert!(agreement.dialect().long_setxattr);
        let mut answer = Vec::new();
        agreement.encode(&mut answer);
        assert_eq!(answer.len(), 64);
        assert_eq!(answer[32..36], (1_u32 << 2).to_ne_bytes(), "the supplementary group is bit 34");
    }

    #[test]
    fn an_old_kernel_gets_what_it_knows() {
        let kill_privileges = Features::HANDLE_KILLPRIV.bits() as u32;
        let offered = offer(&[7, 31, 1 << 17, kill_privileges]).unwrap();
        let agreement = offered.agree().unwrap();
        assert_eq!(agreement.features, Features::HANDLE_KILLPRIV);
        assert!(!agreement.dialect().long_setxattr);
    }

    #[test]
    fn other_versions_are_told_apart() {
        assert_eq!(offer(&[7, 30, 0, 0]).unwrap().agree(), None);
        assert_eq!(offer(&[6, 45]).unwrap().agree(), None);
        assert_eq!(offer(&[8, 1]).unwrap().major, 8);
        assert!(offer(&[7, 45]).is_err() && offer(&[7]).is_err());
        assert!(offer(&[7, 45, 0, 1 << 30]).is_err(), "the second word of features is missing");
    }
}
