//! The log: operations since the last checkpoint, in commit order.
//!
//! [`LogStore`] is the seam to its medium: a few numbered files that are appended to and synced.

use bytes::Bytes;

use crate::Result;

pub(crate) mod batch;
mod file;
mod memory;
pub(crate) mod record;
pub(crate) mod writer;

pub use file::FileLog;
pub use memory::MemoryLog;

/// A medium for numbered log files. Only the newest file is ever appended to. Calls may block the calling thread.
///
/// What was appended is durable only after [`LogStore::sync`]; a power cut may keep any part of what was not
/// synced, torn at any byte.
pub trait LogStore: Send + Sync + 'static {
    /// The numbers of all files, ascending.
    ///
    /// # Errors
    /// `Store`.
    fn list(&self) -> Result<Vec<u64>>;

    /// Starts file `number`, empty to a reader (its medium may hold remains of older files after the end; the format of
    /// batches tells them apart). Durable when it answers.
    ///
    /// # Errors
    /// `NoSpace`, `Store`.
    fn create(&self, number: u64) -> Result<()>;

    /// Writes `parts` one after the other at `offset` of file `number`, which continues where the last append ended.
    ///
    /// # Errors
    /// `NoSpace`, `Store`.
    fn append(&self, number: u64, offset: u64, parts: &[Bytes]) -> Result<()>;

    /// Makes everything appended to file `number` durable.
    ///
    /// # Errors
    /// `Store`.
    fn sync(&self, number: u64) -> Result<()>;

    /// Reads the whole medium of file `number`, remains included. What it shows is durable: who recovers from it may build
    /// on it.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    fn read(&self, number: u64) -> Result<Bytes>;

    /// Keeps a durable copy of file `number` as it is now, outside of the log: nothing reads it or writes to it any more. If
    /// there is such a copy already, that one stays.
    ///
    /// # Errors
    /// `NotFound`, `NoSpace`, `Store`.
    fn keep_copy(&self, number: u64) -> Result<()>;

    /// Gives file `number` back; its medium may be used again for a later number.
    ///
    /// # Errors
    /// `Store`.
    fn delete(&self, number: u64) -> Result<()>;
}
