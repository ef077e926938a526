//! Stored bytes: how every record is encoded. `docs/format.md` draws them.
//!
//! Decoders never trust what they read: every length is checked before it is used and every failure is an error.

pub(crate) mod codec;
pub(crate) mod inode;
pub(crate) mod manifest;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use crate::{Error, ErrorKind, Result};

/// The version of the stored format that this program writes.
pub(crate) const VERSION: u32 = 1;
/// The oldest version that it reads.
pub(crate) const VERSION_MIN: u32 = 1;

/// Refuses what has another version than a program reads whose own version is `newest`.
///
/// # Errors
/// `NewerFormat`, or `Corrupt` for a version that no program of this kind has ever read.
pub(crate) fn check_version(version: u32, newest: u32, name: &str) -> Result<()> {
    if version > newest {
        return Err(Error::new(
            ErrorKind::NewerFormat,
            format!(
                "{name} has format version {version}, and this program reads up to {newest}: start the version of \
                 offshoot that wrote it, or a newer one. Nothing was changed"
            ),
        ));
    }
    if version < VERSION_MIN {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!(
                "{name} has format version {version}, and the oldest that this program reads is {VERSION_MIN}"
            ),
        ));
    }
    Ok(())
}
