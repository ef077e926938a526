//! Log files as objects of the pool's store: a sync is one put.
//!
//! Log file `n` is the objects `log/<n>/<part>`, numbered from 0 without a gap and put one after the other under names that nobody
//! has used. Part 0 claims the file for the writer that starts it. Each sync puts what was appended since the last one as the next
//! part. An answer that is lost leaves a part in doubt: it is put again, with the same bytes, before anything else.
//!
//! Whoever takes over claims the next file and then puts a seal behind the last part of every file that the old writer could still
//! append to: either the old writer's part came first and is read, or it finds the name taken and is fenced. So a sync that was
//! answered is in the log that the new writer reads, whatever clocks say and however late a request arrives. For that a seal stays
//! when its file is deleted, or the old writer could come back and find the name free. Neither can it go on in a new file: having claimed
//! one, it looks whether its last one was sealed. Only a writer that has closed its log itself leaves nothing behind.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::Mutex;

use super::LogStore;
use crate::format::codec::{Reader, Writer};
use crate::object::{ObjectInfo, ObjectStore, keep_copy, put_own};
use crate::simulation::mutant::{self, Mutant};
use crate::{Error, ErrorKind, Result};

/// Prefix of all parts of log files.
pub(crate) const PREFIX: &str = "log/";
/// Parts are no larger, in bytes.
const PART_BYTES_MAX: usize = 8 << 20;
/// Requests at one time, where there are many to make.
const PARALLEL: usize = 16;
const MAGIC: u32 = 0x4c53_464f;
const MARK_BYTES: usize = 24;
/// The version of marks and names.
const VERSION: u32 = 1;

/// A [`LogStore`] among the objects of a pool.
pub struct ObjectLog<S> {
    objects: S,
    /// A random number: whose marks are whose.
    identity: u64,
    /// Files that this writer has started.
    own: Mutex<BTreeMap<u64, File>>,
}

/// A file that is written.
struct File {
    /// The part that is put next.
    part: u32,
    /// Bytes that were appended.
    length: u64,
    /// Appended after what is in doubt.
    waiting: BytesMut,
    /// The next part, if a put of it has failed.
    in_doubt: Option<Bytes>,
}

/// What a part says that holds no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The first part of a file.
    Claim = 0,
    /// The last one: another writer has taken over.
    Seal = 1,
    /// The last one: its writer has closed the pool.
    End = 2,
}

impl Mark {
    fn encode(self, identity: u64) -> Bytes {
        let mut out = Writer::with_capacity(MARK_BYTES);
        out.u32(MAGIC);
        out.u32(VERSION);
        out.u32(self as u32);
        out.u64(identity);
        let checksum = crc32c::crc32c(&out.bytes);
        out.u32(checksum);
        out.bytes.into()
    }

    fn decode(part: &[u8]) -> Option<Mark> {
        let mut from = Reader::new(Some(part).filter(|part| part.len() == MARK_BYTES)?);
        let (magic, _version, mark) = (from.u32().ok()?, from.u32().ok()?, from.u32().ok()?);
        let (_identity, checksum) = (from.u64().ok()?, from.u32().ok()?);
        let is_whole = magic == MAGIC && crc32c::crc32c(&part[..MARK_BYTES - 4]) == checksum;
        [Mark::Claim, Mark::Seal, Mark::End].into_iter().find(|known| is_whole && *known as u32 == mark)
    }
}

fn path(number: u64, part: u32) -> String {
    format!("{PREFIX}{number:016x}/{part:08x}")
}

/// The prefix of the parts of a file.
pub(crate) fn directory(number: u64) -> String {
    format!("{PREFIX}{number:016x}/")
}

/// The file and the part that an object is.
pub(crate) fn parse(name: &str) -> Option<(u64, u32)> {
    let (number, part) = name.strip_prefix(PREFIX)?.split_once('/')?;
    let parsed = (u64::from_str_radix(number, 16).ok()?, u32::from_str_radix(part, 16).ok()?);
    (path(parsed.0, parsed.1) == name).then_some(parsed)
}

impl<S: ObjectStore> ObjectLog<S> {
    /// The log among `objects`. `identity` is a random number that no other writer has.
    pub fn new(objects: S, identity: u64) -> Self {
        Self { objects, identity, own: Mutex::default() }
    }

    /// The parts of a file in order.
    async fn parts(&self, number: u64) -> Result<Vec<ObjectInfo>> {
        let mut parts = self.objects.list(&directory(number)).await?;
        parts.retain(|object| parse(&object.name).is_some());
        Ok(parts)
    }

    /// The mark that a part is, if it is one.
    async fn mark(&self, number: u64, part: u32) -> Result<Option<Mark>> {
        Ok(Mark::decode(&self.get(&path(number, part)).await?))
    }

    /// Puts a seal behind part `last` of file `number`, or where the file has come to by then, unless it has ended.
    async fn seal(&self, number: u64, last: u32) -> Result<()> {
        let mut part = last;
        loop {
            part += 1;
            match self.put_mark(number, part, Mark::Seal).await {
                // The old writer was faster, or somebody else has sealed it.
                Err(error) if error.kind() == ErrorKind::Exists => {}
                put => return put,
            }
            if matches!(self.mark(number, part).await?, Some(Mark::Seal | Mark::End)) {
                return Ok(());
            }
        }
    }

    async fn put_mark(&self, number: u64, part: u32, mark: Mark) -> Result<()> {
        put_own(&self.objects, &path(number, part), mark.encode(self.identity)).await
    }

    async fn get(&self, name: &str) -> Result<Bytes> {
        self.objects.get(name, 0, u64::MAX).await
    }
}

/// Bytes of the next part if so many wait. No part with records is as short as a mark.
fn part_length(waiting: usize) -> usize {
    match waiting.saturating_sub(PART_BYTES_MAX) {
        0 => waiting,
        MARK_BYTES => PART_BYTES_MAX - 1,
        _ => PART_BYTES_MAX,
    }
}

fn fenced() -> Error {
    Error::new(
        ErrorKind::Fenced,
        "another writer has taken over the pool and ended this one's log; what was synced is safe, restart to continue from it",
    )
}

fn not_started(number: u64) -> Error {
    Error::new(ErrorKind::NotFound, format!("log file {number:016x} was not started by this writer"))
}

#[async_trait]
impl<S: ObjectStore> LogStore for ObjectLog<S> {
    async fn list(&self) -> Result<Vec<u64>> {
        let objects = self.objects.list(PREFIX).await?;
        // Of a file that was deleted a seal may be left.
        let first = objects.iter().filter_map(|object| parse(&object.name).filter(|(_, part)| *part == 0));
        Ok(first.map(|(number, _)| number).collect())
    }

    async fn take_over(&self, files: &[u64], next: u64) -> Result<()> {
        self.own.lock().await.clear();
        self.create(next).await?;
        // One listing tells of them all, as a start that fails leaves one more.
        let mut last: BTreeMap<u64, (u32, u64)> = BTreeMap::new();
        for object in self.objects.list(PREFIX).await? {
            if let Some((number, part)) = parse(&object.name) {
                last.insert(number, (part, object.size));
            }
        }
        for number in files.iter().filter(|_| !mutant::is_on(Mutant::SkipSeal)) {
            match last.get(number) {
                // Nothing but a mark is as short, and that of part 0 is a claim.
                Some((part, size)) if *part > 0 && *size == MARK_BYTES as u64 => {}
                Some((part, _)) => self.seal(*number, *part).await?,
                None => {}
            }
        }
        Ok(())
    }

    async fn create(&self, number: u64) -> Result<()> {
        let mut own = self.own.lock().await;
        if own.contains_key(&number) {
            return Ok(());
        }
        self.put_mark(number, 0, Mark::Claim).await?;
        if !mutant::is_on(Mutant::GoOnUnasked)
            && let Some((last, file)) = own.last_key_value()
        {
            match self.get(&path(*last, file.part)).await {
                Ok(part) if file.in_doubt.as_ref() == Some(&part) => {}
                Ok(_) => return Err(fenced()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        own.insert(number, File { part: 1, length: 0, waiting: BytesMut::new(), in_doubt: None });
        Ok(())
    }

    async fn append(&self, number: u64, offset: u64, parts: &[Bytes]) -> Result<()> {
        let mut own = self.own.lock().await;
        let file = own.get_mut(&number).ok_or_else(|| not_started(number))?;
        assert_eq!(file.length, offset, "an append begins where the last one ended");
        for part in parts {
            file.waiting.extend_from_slice(part);
            file.length += part.len() as u64;
        }
        Ok(())
    }

    async fn sync(&self, number: u64) -> Result<()> {
        let mut own = self.own.lock().await;
        let file = own.get_mut(&number).ok_or_else(|| not_started(number))?;
        loop {
            let bytes = match &file.in_doubt {
                Some(bytes) => bytes.clone(),
                None if file.waiting.is_empty() => return Ok(()),
                None => {
                    let length = part_length(file.waiting.len());
                    file.in_doubt.insert(file.waiting.split_to(length).freeze()).clone()
                }
            };
            match put_own(&self.objects, &path(number, file.part), bytes).await {
                Err(error) if error.kind() == ErrorKind::Exists => {
                    if !mutant::is_on(Mutant::IgnoreTakenPart) {
                        return Err(fenced());
                    }
                }
                put => put?,
            }
            file.in_doubt = None;
            file.part += 1;
        }
    }

    fn is_remote(&self) -> bool {
        true
    }

    async fn read(&self, number: u64) -> Result<Bytes> {
        let mut parts = self.parts(number).await?;
        if parts.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, format!("there is no log file {number:016x}")));
        }
        parts.retain(|object| object.size != MARK_BYTES as u64);
        let got: Vec<Bytes> = futures::stream::iter(parts)
            .map(|object| async move { self.get(&object.name).await })
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        let mut whole = BytesMut::new();
        for part in &got {
            whole.extend_from_slice(part);
        }
        Ok(whole.freeze())
    }

    /// The copies are below `damaged/`, under the names that the parts have.
    async fn keep_copy(&self, number: u64) -> Result<()> {
        for object in self.parts(number).await? {
            let bytes = self.get(&object.name).await?;
            keep_copy(&self.objects, &object.name, bytes).await?;
        }
        Ok(())
    }

    /// The first part goes last: what is left of a file still shows that it was there. A seal stays.
    async fn delete(&self, number: u64) -> Result<()> {
        let mut parts = self.parts(number).await?;
        let is_own = self.own.lock().await.contains_key(&number);
        if !is_own
            && !mutant::is_on(Mutant::DeleteSeal)
            && let Some((_, last)) = parts.last().and_then(|object| parse(&object.name))
            && self.mark(number, last).await? == Some(Mark::Seal)
        {
            parts.pop();
        }
        futures::stream::iter(parts.into_iter().skip(1))
            .map(|object| async move { self.objects.delete(&object.name).await })
            .buffer_unordered(PARALLEL)
            .try_collect::<()>()
            .await?;
        self.objects.delete(&path(number, 0)).await?;
        self.own.lock().await.remove(&number);
        Ok(())
    }

    async fn close(&self, number: u64) -> Result<()> {
        let mut own = self.own.lock().await;
        let Some(file) = own.get_mut(&number) else { return Ok(()) };
        match self.put_mark(number, file.part, Mark::End).await {
            Err(error) if error.kind() == ErrorKind::Exists => return Err(fenced()),
            put => put?,
        }
        own.remove(&number);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
