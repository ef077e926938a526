//! What a bucket is asked and what it moves, counted per kind of call.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// Counters of one bucket, each attempt of a request counted.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[doc = $doc])+ pub(crate) $name: Counter,)+ }

        impl Counters {
            /// Name, meaning and value of each counter, in a stable order.
            pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+), self.$name.get()),)+]
            }
        }
    };
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

counters! {
    /// Requests to the bucket that put an object.
    bucket_puts,
    /// Bytes of objects that were sent to the bucket, repetitions included.
    bucket_put_bytes,
    /// Requests to the bucket that read of an object.
    bucket_gets,
    /// Bytes of objects that came from the bucket.
    bucket_got_bytes,
    /// Listings of the bucket, each of one request for 1,000 objects.
    bucket_lists,
    /// Requests to the bucket that delete an object.
    bucket_deletes,
    /// Requests that failed and were made again.
    bucket_retries,
    /// Times that the bucket asked for fewer requests.
    bucket_slow_downs,
    /// Reads that were asked for a second time because the first was late.
    bucket_hedges,
    /// Second reads that answered first.
    bucket_hedges_won,
    /// Puts of which an answer was lost and that turned out to have been carried out.
    bucket_puts_found,
    /// Requests that were given up.
    bucket_failures,
}
