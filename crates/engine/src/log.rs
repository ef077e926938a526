//! The log: operations since the last checkpoint, in commit order.
//!
//! [`LogStore`] is the seam to its medium: a few numbered files that are appended to and synced. It is a directory of this machine
//! ([`FileLog`]) or the object store of the pool ([`ObjectLog`]).

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

pub(crate) mod batch;
mod file;
mod memory;
mod objects;
pub(crate) mod record;
pub(crate) mod writer;

pub use file::FileLog;
pub use memory::MemoryLog;
pub use objects::ObjectLog;
pub(crate) use objects::{PREFIX as PARTS_PREFIX, directory as parts_of, parse as part_of};

/// A medium for numbered log files. Only the newest file is ever appended to.
///
/// What was appended is durable only after [`LogStore::sync`]; a power cut may keep any part of what was not
/// synced, torn at any byte.
#[async_trait]
pub trait LogStore: Send + Sync + 'static {
    /// The numbers of all files, ascending.
    ///
    /// # Errors
    /// `Store`.
    async fn list(&self) -> Result<Vec<u64>>;

    /// Takes the log over from a writer that may still run, on a medium that several can reach: when this answers, nobody else
    /// appends to any of `files` or starts file `next` any more.
    ///
    /// # Errors
    /// `Exists` if file `next` was started meanwhile, `Store`.
    async fn take_over(&self, files: &[u64], next: u64) -> Result<()>;

    /// Starts file `number`, empty to a reader (its medium may hold remains of older files after the end; the format of
    /// batches tells them apart). Durable when it answers.
    ///
    /// # Errors
    /// `Exists`, `NoSpace`, `Store`.
    async fn create(&self, number: u64) -> Result<()>;

    /// Writes `parts` one after the other at `offset` of file `number`, which continues where the last append ended.
    ///
    /// # Errors
    /// `NoSpace`, `Store`.
    async fn append(&self, number: u64, offset: u64, parts: &[Bytes]) -> Result<()>;

    /// Makes everything appended to file `number` durable.
    ///
    /// # Errors
    /// `Fenced` if another writer has taken over, `Store`.
    async fn sync(&self, number: u64) -> Result<()>;

    /// Whether the medium is reached over a network. Then nothing of what was appended is forgotten when a sync fails, and it can be
    /// tried again.
    fn is_remote(&self) -> bool;

    /// Reads the whole medium of file `number`, remains included. What it shows is durable: who recovers from it may build
    /// on it.
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    async fn read(&self, number: u64) -> Result<Bytes>;

    /// Keeps a durable copy of file `number` as it is now, outside of the log: nothing reads it or writes to it any more. If
    /// there is such a copy already, that one stays.
    ///
    /// # Errors
    /// `NotFound`, `NoSpace`, `Store`.
    async fn keep_copy(&self, number: u64) -> Result<()>;

    /// Gives file `number` back; its medium may be used again for a later number.
    ///
    /// # Errors
    /// `Store`.
    async fn delete(&self, number: u64) -> Result<()>;

    /// Nothing more will be appended to file `number`, all of which is synced, nor to any other by this writer.
    ///
    /// # Errors
    /// `Fenced`, `Store`.
    async fn close(&self, number: u64) -> Result<()>;
}

/// A [`LogStore`] of one machine, whose calls block the calling thread. Whoever opens it has it alone, and after a sync that failed
/// nobody knows what the medium holds.
pub trait BlockingLog: Send + Sync + 'static {
    /// See [`LogStore::list`].
    ///
    /// # Errors
    /// `Store`.
    fn list(&self) -> Result<Vec<u64>>;

    /// See [`LogStore::create`].
    ///
    /// # Errors
    /// `Exists`, `NoSpace`, `Store`.
    fn create(&self, number: u64) -> Result<()>;

    /// See [`LogStore::append`].
    ///
    /// # Errors
    /// `NoSpace`, `Store`.
    fn append(&self, number: u64, offset: u64, parts: &[Bytes]) -> Result<()>;

    /// See [`LogStore::sync`].
    ///
    /// # Errors
    /// `Store`.
    fn sync(&self, number: u64) -> Result<()>;

    /// See [`LogStore::read`].
    ///
    /// # Errors
    /// `NotFound`, `Store`.
    fn read(&self, number: u64) -> Result<Bytes>;

    /// See [`LogStore::keep_copy`].
    ///
    /// # Errors
    /// `NotFound`, `NoSpace`, `Store`.
    fn keep_copy(&self, number: u64) -> Result<()>;

    /// See [`LogStore::delete`].
    ///
    /// # Errors
    /// `Store`.
    fn delete(&self, number: u64) -> Result<()>;
}

#[async_trait]
impl<L: BlockingLog> LogStore for L {
    async fn list(&self) -> Result<Vec<u64>> {
        BlockingLog::list(self)
    }

    async fn take_over(&self, _files: &[u64], _next: u64) -> Result<()> {
        Ok(())
    }

    async fn create(&self, number: u64) -> Result<()> {
        BlockingLog::create(self, number)
    }

    async fn append(&self, number: u64, offset: u64, parts: &[Bytes]) -> Result<()> {
        BlockingLog::append(self, number, offset, parts)
    }

    async fn sync(&self, number: u64) -> Result<()> {
        BlockingLog::sync(self, number)
    }

    fn is_remote(&self) -> bool {
        false
    }

    async fn read(&self, number: u64) -> Result<Bytes> {
        BlockingLog::read(self, number)
    }

    async fn keep_copy(&self, number: u64) -> Result<()> {
        BlockingLog::keep_copy(self, number)
    }

    async fn delete(&self, number: u64) -> Result<()> {
        BlockingLog::delete(self, number)
    }

    async fn close(&self, _number: u64) -> Result<()> {
        Ok(())
    }
}
