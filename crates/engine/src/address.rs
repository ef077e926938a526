//! Where an item is: `(segment, index)`, in 64 bits. It stays valid for ever, also when the segment is rewritten.

use std::fmt;
use std::num::NonZeroU64;

/// The number of a segment, 1 to 2^40 - 1, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SegmentId(pub(crate) u64);

impl SegmentId {
    /// Behind the last number.
    pub(crate) const END: u64 = 1 << 40;

    /// The number, if a segment can have it.
    pub(crate) fn checked(number: u64) -> Option<Self> {
        (1..Self::END).contains(&number).then_some(Self(number))
    }
}

/// The address of a node or frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(NonZeroU64);

impl Address {
    /// Items that one segment can hold.
    pub(crate) const ITEMS_MAX: u32 = 1 << 24;

    /// In place of the frame that bytes lay in which were lost: no segment has it, and reading it fails. Nothing counts it.
    pub(crate) const LOST: Self = match NonZeroU64::new(((1 << 40) - 1) << 24) {
        Some(raw) => Self(raw),
        None => unreachable!(),
    };

    pub(crate) fn is_lost(self) -> bool {
        self == Self::LOST
    }

    pub(crate) fn new(segment: SegmentId, index: u32) -> Self {
        assert!(index < Self::ITEMS_MAX && segment.0 < SegmentId::END, "address out of range");
        Self(NonZeroU64::new(segment.0 << 24 | u64::from(index)).expect("segment ids start at 1"))
    }

    pub(crate) fn from_raw(raw: u64) -> Option<Self> {
        NonZeroU64::new(raw).filter(|raw| raw.get() >> 24 != 0).map(Self)
    }

    pub(crate) fn raw(self) -> u64 {
        self.0.get()
    }

    pub(crate) fn segment(self) -> SegmentId {
        SegmentId(self.0.get() >> 24)
    }

    pub(crate) fn index(self) -> u32 {
        (self.0.get() & 0xff_ffff) as u32
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.segment().0, self.index())
    }
}

/// What an item is. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum ItemKind {
    /// A piece of file data, or a set of extended attributes.
    Frame = 0,
    /// A node of a directory tree.
    Directory = 1,
    /// A node of a file tree.
    File = 2,
    /// A node of a side tree.
    Side = 3,
    /// A node of the tree of realm aliases.
    Alias = 4,
    /// A node of the ledger (reference counts).
    Ledger = 5,
    /// A node of the tree of realms.
    Realm = 6,
}

impl ItemKind {
    pub(crate) fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Frame,
            1 => Self::Directory,
            2 => Self::File,
            3 => Self::Side,
            4 => Self::Alias,
            5 => Self::Ledger,
            6 => Self::Realm,
            _ => return None,
        })
    }
}
