//! Stored bytes: how every record is encoded. `docs/format.md` draws them.
//!
//! Decoders never trust what they read: every length is checked before it is used and every failure is an error.

pub(crate) mod codec;
pub(crate) mod inode;
pub(crate) mod manifest;

/// The version of the stored format that this program writes.
pub(crate) const VERSION: u32 = 1;
