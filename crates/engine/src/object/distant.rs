//! A store that answers late and counts. For tests and measurements only; nothing in a real pool uses it.
//!
//! Every call waits for a round trip first, and for its bytes if a bandwidth is set. So many calls at a time are on their way as
//! the store lets through; the others queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{Call, ObjectInfo, ObjectStore, Space};
use crate::{Clock, Result};

/// For tests: a store behind a network.
pub struct DistantStore<S> {
    inner: S,
    clock: Arc<dyn Clock>,
    round_trip: Duration,
    /// Of one call; 0 is no bound.
    bytes_per_second: u64,
    lanes: Semaphore,
    is_remote: bool,
    under_way: AtomicU64,
    counts: Counts,
}

/// What a [`DistantStore`] was asked since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Calls of [`ObjectStore::get`].
    pub gets: u64,
    /// Bytes that they answered.
    pub got_bytes: u64,
    /// Calls of [`ObjectStore::put`].
    pub puts: u64,
    /// Bytes that they were given.
    pub put_bytes: u64,
    /// All other calls.
    pub others: u64,
    /// Most calls that were under way at a time.
    pub at_once_max: u64,
}

#[derive(Default)]
struct Counts {
    gets: AtomicU64,
    got_bytes: AtomicU64,
    puts: AtomicU64,
    put_bytes: AtomicU64,
    others: AtomicU64,
    at_once_max: AtomicU64,
}

impl<S: ObjectStore> DistantStore<S> {
    /// Puts a store at a distance.
    pub fn new(inner: S, clock: Arc<dyn Clock>, round_trip: Duration) -> Self {
        Self {
            inner,
            clock,
            round_trip,
            bytes_per_second: 0,
            lanes: Semaphore::new(Semaphore::MAX_PERMITS),
            is_remote: true,
            under_way: AtomicU64::new(0),
            counts: Counts::default(),
        }
    }

    /// Lets only so many calls through at a time.
    #[must_use]
    pub fn with_lanes(mut self, lanes: usize) -> Self {
        self.lanes = Semaphore::new(lanes);
        self
    }

    /// Bounds how fast the bytes of one call travel.
    #[must_use]
    pub fn with_bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = bytes_per_second;
        self
    }

    /// Lets pools take it for a local store: then they read one thing after the other, and nothing ahead.
    #[must_use]
    pub fn taken_for_local(mut self) -> Self {
        self.is_remote = false;
        self
    }

    /// The store itself, which answers at once.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// What it was asked since the last time that this was called.
    pub fn take_traffic(&self) -> Traffic {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        Traffic {
            gets: take(&self.counts.gets),
            got_bytes: take(&self.counts.got_bytes),
            puts: take(&self.counts.puts),
            put_bytes: take(&self.counts.put_bytes),
            others: take(&self.counts.others),
            at_once_max: take(&self.counts.at_once_max),
        }
    }

    async fn travel<T>(
        &self,
        call: Call,
        sent: u64,
        carry_out: impl Future<Output = Result<T>>,
        size: impl Fn(&T) -> u64,
    ) -> Result<T> {
        let _lane = self.lanes.acquire().await;
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        let _leave = Leave(&self.under_way);
        self.counts.at_once_max.fetch_max(under_way, Ordering::Relaxed);
        if !self.round_trip.is_zero() {
            self.clock.sleep(self.round_trip).await;
        }
        let answer = carry_out.await;
        let bytes = sent + answer.as_ref().map_or(0, size);
        if self.bytes_per_second > 0 && bytes > 0 {
            self.clock.sleep(Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64)).await;
        }
        let (calls, amount) = match call {
            Call::Get => (&self.counts.gets, Some(&self.counts.got_bytes)),
            Call::Put => (&self.counts.puts, Some(&self.counts.put_bytes)),
            Call::Size | Call::List | Call::Delete | Call::Space => (&self.counts.others, None),
        };
        calls.fetch_add(1, Ordering::Relaxed);
        if let Some(amount) = amount {
            amount.fetch_add(bytes, Ordering::Relaxed);
        }
        answer
    }
}

struct Leave<'a>(&'a AtomicU64);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for DistantStore<S> {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        let sent = parts.iter().map(|part| part.len() as u64).sum();
        self.travel(Call::Put, sent, self.inner.put(name, parts), |()| 0).await
    }

    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes> {
        self.travel(Call::Get, 0, self.inner.get(name, offset, length), |bytes| bytes.len() as u64).await
    }

    async fn size(&self, name: &str) -> Result<u64> {
        self.travel(Call::Size, 0, self.inner.size(name), |_| 0).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.travel(Call::List, 0, self.inner.list(prefix), |_| 0).await
    }

    async fn delete(&self, name: &str) -> Result<()> {
        self.travel(Call::Delete, 0, self.inner.delete(name), |()| 0).await
    }

    async fn space(&self) -> Result<Option<Space>> {
        self.inner.space().await
    }

    fn is_remote(&self) -> bool {
        self.is_remote
    }
}
