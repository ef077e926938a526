//! Frames: pieces of file data in memory.

use std::sync::Arc;

use bytes::Bytes;

use crate::address::Address;
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the largest frame; larger writes are cut at multiples of it.
pub(crate) const FRAME_BYTES_MAX: usize = 128 << 10;

/// Where a frame's bytes are.
enum Data {
    /// Still growing: small writes are gathered here.
    Open(Vec<u8>),
    Whole(Bytes),
    /// Stored, and given to the cache.
    Gone,
}

/// Counts the bytes of frames that are not stored yet.
#[derive(Debug, Default)]
pub(crate) struct DirtyGauge(AtomicU64);

impl DirtyGauge {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A piece of file data that was written and may not be stored yet. It only changes while nothing else refers to it.
pub(crate) struct Frame {
    /// The raw address once stored, else 0.
    stored: AtomicU64,
    /// The checkpoint interval in which it joined a tree.
    interval: AtomicU64,
    length: u32,
    data: RwLock<Data>,
    gauge: Arc<DirtyGauge>,
}

impl Drop for Frame {
    fn drop(&mut self) {
        if !matches!(self.data.get_mut(), Data::Gone) {
            self.gauge.0.fetch_sub(u64::from(self.length), Ordering::Relaxed);
        }
    }
}

impl Frame {
    /// A frame that can grow.
    pub(crate) fn open(bytes: Vec<u8>, interval: u64, gauge: &Arc<DirtyGauge>) -> Self {
        Self::make(bytes.len(), Data::Open(bytes), interval, gauge)
    }

    /// A frame of bytes that are shared with the caller.
    pub(crate) fn whole(bytes: Bytes, interval: u64, gauge: &Arc<DirtyGauge>) -> Self {
        Self::make(bytes.len(), Data::Whole(bytes), interval, gauge)
    }

    fn make(length: usize, data: Data, interval: u64, gauge: &Arc<DirtyGauge>) -> Self {
        gauge.0.fetch_add(length as u64, Ordering::Relaxed);
        Self {
            stored: AtomicU64::new(0),
            interval: AtomicU64::new(interval),
            length: length as u32,
            data: RwLock::new(data),
            gauge: gauge.clone(),
        }
    }

    pub(crate) fn address(&self) -> Option<Address> {
        Address::from_raw(self.stored.load(Ordering::Acquire))
    }

    /// The checkpoint interval in which it joined a tree.
    pub(crate) fn interval(&self) -> u64 {
        self.interval.load(Ordering::Relaxed)
    }

    /// Notes that it joins a tree now.
    pub(crate) fn join(&self, interval: u64) {
        self.interval.store(interval, Ordering::Relaxed);
    }

    /// Bytes.
    pub(crate) fn length(&self) -> u32 {
        self.length
    }

    /// Notes that the frame is stored, and gives its bytes away; `None` if it was stored before, elsewhere.
    pub(crate) fn set_stored(&self, address: Address) -> Option<Bytes> {
        let mut data = self.data.write();
        let bytes = match std::mem::replace(&mut *data, Data::Gone) {
            Data::Open(bytes) => Bytes::from(bytes),
            Data::Whole(bytes) => bytes,
            Data::Gone => return None,
        };
        self.stored.store(address.raw(), Ordering::Release);
        self.gauge.0.fetch_sub(u64::from(self.length), Ordering::Relaxed);
        Some(bytes)
    }

    /// Shows the bytes if they are still here.
    pub(crate) fn with<R>(&self, show: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match &*self.data.read() {
            Data::Open(bytes) => Some(show(bytes)),
            Data::Whole(bytes) => Some(show(bytes)),
            Data::Gone => None,
        }
    }

    /// Writes over bytes from `start`, or on after the last one; false if the frame cannot be changed any more or
    /// would grow too large.
    pub(crate) fn overwrite(&mut self, start: usize, bytes: &[u8]) -> bool {
        if *self.stored.get_mut() != 0 {
            return false;
        }
        let Data::Open(data) = self.data.get_mut() else { return false };
        let end = start + bytes.len();
        if start > data.len() || end > FRAME_BYTES_MAX {
            return false;
        }
        let within = bytes.len().min(data.len() - start);
        data[start..start + within].copy_from_slice(&bytes[..within]);
        data.extend_from_slice(&bytes[within..]);
        self.gauge.0.fetch_add((data.len() - self.length as usize) as u64, Ordering::Relaxed);
        self.length = data.len() as u32;
        true
    }
}
