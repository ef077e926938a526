//! Where a pool comes from that was made from another one, by a fork or by a copy.
//!
//! Such a pool has the manifest of the other one, and with it the id that keys, marks and checksums of all that is shared are made of. So
//! that the two are never taken for each other (by a cache, or by who looks at them), it is shown with an id of its own,
//! which follows from a random number. A log that is not among the objects does not come along: the pool then begins with what
//! its first manifest says.

use bytes::Bytes;

use crate::format::codec::Reader;
use crate::format::manifest::{Manifest, seal, unseal};
use crate::object::ObjectStore;
use crate::{ErrorKind, Result};

/// The object with it.
pub(crate) const NAME: &str = "descent";
const MAGIC: &[u8; 8] = b"OFFSHDSC";

/// What was noted when the pool was made from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descent {
    /// A random number that no other fork or copy has.
    pub(crate) id: u64,
    /// The number of the manifest that was taken over.
    pub(crate) manifest: u64,
}

impl Descent {
    pub(crate) fn encode(self) -> Bytes {
        seal(MAGIC, crate::format::VERSION, |out| {
            out.u64(self.id);
            out.u64(self.manifest);
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let (_, body) = unseal(MAGIC, bytes, crate::format::VERSION, NAME)?;
        let mut from = Reader::new(body);
        let descent = Self { id: from.u64()?, manifest: from.u64()? };
        from.end()?;
        Ok(descent)
    }

    /// That of the pool in a store, if it was made from another one.
    ///
    /// # Errors
    /// `Corrupt`, `NewerFormat`, `Store`.
    pub(crate) async fn of(objects: &dyn ObjectStore) -> Result<Option<Self>> {
        match objects.get(NAME, 0, u64::MAX).await {
            Ok(bytes) => Self::decode(&bytes).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The id that a pool is shown with: the first half of SHA-256 of words, the id that it was made with, and the number.
    pub(crate) fn own_id(descent: Option<Self>, pool_id: &[u8; 16]) -> [u8; 16] {
        let Some(Self { id, .. }) = descent else { return *pool_id };
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        hash.update(b"offshoot descent");
        hash.update(pool_id);
        hash.update(&id.to_le_bytes());
        let mut own = [0; 16];
        own.copy_from_slice(&hash.finish().as_ref()[..16]);
        own
    }

    /// Lets a manifest end the log that was left behind with the pool that it comes from.
    pub(crate) fn cut_log(descent: Option<Self>, manifest: &mut Manifest) {
        let is_behind = descent.is_some_and(|descent| descent.manifest == manifest.number);
        if is_behind && !manifest.log_in_store {
            manifest.log = manifest.newest_log + 1;
            manifest.durable = manifest.sequence;
        }
    }
}
