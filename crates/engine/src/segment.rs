//! Segments: immutable objects that pack frames and nodes.
//!
//! An object holds one segment, or several that the garbage collector has shrunk; `docs/format.md` draws its bytes. An item is
//! found through the directory of its segment, so its address stays valid wherever the segment is moved.

mod ahead;
mod cache;
pub(crate) mod codec;
mod fetch;
mod items;
mod layout;
mod writer;

pub(crate) use cache::Pinned;
pub(crate) use fetch::Fetched;
pub(crate) use items::{Born, Items, ItemsSettings, absent};
pub(crate) use layout::{Directory, Item, ObjectBuilder, PoolMark};
#[cfg(feature = "fuzzing")]
pub(crate) use layout::{FOOTER_TAIL_BYTES, parse_footer_tail, parse_object_footer};
pub(crate) use writer::SegmentWriter;

use crate::Result;
use crate::address::SegmentId;
use crate::format::codec::{Reader, Writer};

/// Where a segment is and how much of it is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRecord {
    /// Epoch and number in the name of the object that holds it.
    pub(crate) object: ObjectName,
    /// Offset and length in bytes of its directory in the object.
    pub(crate) directory_offset: u64,
    pub(crate) directory_length: u32,
    /// Bytes of its items and its directory.
    pub(crate) bytes: u64,
    pub(crate) live_items: u32,
    /// Bytes of live items.
    pub(crate) live_bytes: u64,
}

/// The name of an object that holds segments: the writer's epoch makes it unique, whatever a fenced writer still does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectName {
    pub(crate) epoch: u64,
    pub(crate) number: u64,
}

/// Prefix of all objects that hold segments.
pub(crate) const PREFIX: &str = "segments/";

impl ObjectName {
    pub(crate) fn path(self) -> String {
        format!("{PREFIX}{:010x}-{:08x}", self.number, self.epoch)
    }

    /// The name in a path; nothing for what no pool has put there.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let (number, epoch) = path.strip_prefix(PREFIX)?.split_once('-')?;
        let name = Self {
            epoch: u64::from_str_radix(epoch, 16).ok()?,
            number: u64::from_str_radix(number, 16).ok()?,
        };
        (name.number < SegmentId::END && name.path() == path).then_some(name)
    }
}

impl SegmentRecord {
    pub(crate) fn encode(&self, out: &mut Writer) {
        out.varint(self.object.epoch);
        out.varint(self.object.number);
        out.varint(self.directory_offset);
        out.varint(u64::from(self.directory_length));
        out.varint(self.bytes);
        out.varint(u64::from(self.live_items));
        out.varint(self.live_bytes);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            object: ObjectName { epoch: from.varint()?, number: from.varint()? },
            directory_offset: from.varint()?,
            directory_length: from.varint_u32()?,
            bytes: from.varint()?,
            live_items: from.varint_u32()?,
            live_bytes: from.varint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was seen that `segments/+1-1` was taken for `segments/0000000001-00000001`, which would have been deleted in its
    /// place, and that a number that no segment can have made the next start panic.
    #[test]
    fn an_object_has_one_name() {
        let name = ObjectName { epoch: 0x1_0000_0001, number: (1 << 40) - 1 };
        assert_eq!(ObjectName::parse(&name.path()), Some(name));
        for other in [
            "segments/1-1",
            "segments/+000000001-00000001",
            "segments/000000000A-00000001",
            "segments/0000000001-00000001-",
            "segments/10000000000-00000001",
            "segments/ffffffffffffffff-00000001",
            "manifests/0000000001-00000001",
        ] {
            assert_eq!(ObjectName::parse(other), None, "{other}");
        }
    }
}
