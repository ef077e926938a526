//! The FUSE protocol of Linux as bytes: what the kernel sends, decoded, and what it is answered, encoded.
//!
//! Source: `include/uapi/linux/fuse.h` of the kernel. What is spoken is [`VERSION`], of which kernels down to [`MINOR_MIN`] speak enough.
//! Numbers have the byte order of the machine; a record that another may follow is padded to 8 bytes.
//!
//! Invariants:
//! - Decoding takes any bytes at all and never panics: lengths and counts are checked before they are used, and names end with a NUL
//!   and hold none.
//! - Decoding copies nothing and allocates nothing; a request borrows the buffer that it was read into.
//!
//! Nothing here knows the POSIX layer, a device, or what a request means.

mod fields;
pub(super) mod init;
pub(super) mod notify;
pub(super) mod opcode;
pub(super) mod reply;
pub(super) mod request;

pub(super) use fields::{Fields, Malformed};

/// The protocol that is spoken: major and minor.
pub(super) const VERSION: (u32, u32) = (7, 45);
/// The oldest minor version that is spoken; Linux 5.4 has it.
pub(super) const MINOR_MIN: u32 = 31;

/// What a record is padded to, in bytes.
const ALIGNMENT: usize = 8;

/// `length` with the padding that follows.
const fn padded(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT)
}
