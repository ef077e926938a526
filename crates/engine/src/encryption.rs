//! Encryption of a pool: nothing else in the engine knows a key or a cipher.
//!
//! Everything is AES-256-GCM, in two forms. An *item* of a segment is encrypted under the key of its segment, which comes from a salt
//! that was drawn when the segment was begun, and its nonce is its index: within a segment an index is given out once and what has
//! it never changes, so whoever moves an item takes it along as it is. Everything else is a *box*: a directory, a footer, a
//! manifest, a table, the payload of a batch. Its salt is a keyed hash of all that it holds and where it belongs, its key comes from
//! that salt and is used for this one box. So the same content under the same name is the same box, which makes a repeated
//! put harmless, and other content has another key, whoever writes it: a writer that was replaced and its
//! successor can never use one nonce for two contents.
//!
//! What does a box or an item belong to is authenticated with it, so nothing can be put in the place of anything else. That an old
//! state of the whole store was put back cannot be seen here.

mod change;
mod envelope;
mod keyring;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod samples;
mod secret;
mod slot;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;

pub use change::{KeyChange, KeySlot, SlotKind};
pub(crate) use envelope::{Unlocked, decrypt_object, encrypt_object, unlock};
use keyring::{PoolKey, Ring};
pub use secret::{Encryption, PasswordCost, Random, Secret};

use crate::sync::RwLock;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{Error, ErrorKind, Result};

const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// Number of the pool key, and salt.
const BOX_HEAD_BYTES: usize = 4 + SALT_BYTES;
/// Bytes of what stands for an [`ItemKey`] in a directory.
pub(crate) const ITEM_KEY_BYTES: usize = 4 + SALT_BYTES;

/// What a key is for; the numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Purpose {
    /// Items of one segment.
    Items = 1,
    /// The directory of a segment.
    Directory = 2,
    /// The list in the footer of an object.
    Footer = 3,
    Manifest = 4,
    Table = 5,
    /// The payload of a batch.
    Batch = 6,
    /// The pool keys, under the key that every slot wraps.
    Ring = 7,
    /// That key, in a slot.
    Slot = 8,
    /// Keyed hashes that become salts.
    Salt = 9,
}

/// The keys of an open pool.
pub(crate) struct Keys {
    pool_id: [u8; 16],
    random: Random,
    ring: RwLock<Ring>,
    /// The pool key for what is written from now on.
    active: AtomicU64,
}

impl Keys {
    fn new(pool_id: [u8; 16], random: Random, ring: Ring) -> Self {
        let active = AtomicU64::new(u64::from(ring.newest()));
        Self { pool_id, random, ring: RwLock::new(ring), active }
    }

    /// Keys for a new pool.
    pub(crate) fn create(pool_id: [u8; 16], encryption: &Encryption) -> Self {
        Self::new(pool_id, encryption.random.clone(), Ring::create(&pool_id, encryption))
    }

    /// The number of the pool key for what is written now.
    fn active(&self) -> u32 {
        self.active.load(Ordering::Acquire) as u32
    }

    /// Writes with the newest pool key from now on.
    fn activate_newest(&self) {
        self.active.store(u64::from(self.ring.read().newest()), Ordering::Release);
    }

    /// Encrypts what belongs to `context`.
    pub(crate) fn encrypt(&self, purpose: Purpose, context: &[u8], plain: &[u8]) -> Vec<u8> {
        let ring = self.ring.read();
        let key = ring.key(self.active()).expect("the active key is in the ring");
        let mut out = Vec::with_capacity(BOX_HEAD_BYTES + plain.len() + TAG_BYTES);
        out.extend_from_slice(&key.number().to_le_bytes());
        seal_box(key, &self.pool_id, purpose, context, plain, &mut out);
        out
    }

    /// What [`Keys::encrypt`] was given.
    ///
    /// # Errors
    /// `Corrupt` if it is not what was encrypted for this purpose and context.
    pub(crate) fn decrypt(&self, purpose: Purpose, context: &[u8], stored: &[u8]) -> Result<Vec<u8>> {
        let (number, sealed) = stored.split_first_chunk().ok_or_else(not_authentic)?;
        let number = u32::from_le_bytes(*number);
        let ring = self.ring.read();
        let key = ring.key(number).ok_or_else(|| unknown_key(number))?;
        open_box(key.bytes(), &self.pool_id, purpose, context, sealed)
    }

    /// A key for a segment that is begun now by the writer of this epoch.
    pub(crate) fn new_item_key(&self, epoch: u64) -> ItemKey {
        let mut salt = [0; SALT_BYTES];
        self.random.fill(&mut salt);
        // Writers of one pool differ even if the machine that they run on has been copied with the state of its randomness.
        salt[..8].copy_from_slice(&epoch.to_le_bytes());
        self.item_key(self.active(), salt).expect("the active key is in the ring")
    }

    /// The key that a directory names.
    ///
    /// # Errors
    /// `Corrupt` if the pool has no such key.
    pub(crate) fn stored_item_key(&self, stored: &[u8; ITEM_KEY_BYTES]) -> Result<ItemKey> {
        let (number, salt) = stored.split_first_chunk().expect("it is longer");
        self.item_key(u32::from_le_bytes(*number), salt.try_into().expect("the rest is the salt"))
    }

    fn item_key(&self, number: u32, salt: [u8; SALT_BYTES]) -> Result<ItemKey> {
        let ring = self.ring.read();
        let key = ring.key(number).ok_or_else(|| unknown_key(number))?;
        let cipher = derive(key.bytes(), &salt, Purpose::Items, &self.pool_id);
        Ok(ItemKey(Arc::new(SegmentKey { number, salt, cipher })))
    }
}

/// Encrypts the items of one segment.
#[derive(Clone)]
pub(crate) struct ItemKey(Arc<SegmentKey>);

struct SegmentKey {
    number: u32,
    salt: [u8; SALT_BYTES],
    cipher: LessSafeKey,
}

impl ItemKey {
    /// What stands for it in the directory.
    pub(crate) fn stored(&self) -> [u8; ITEM_KEY_BYTES] {
        let mut stored = [0; ITEM_KEY_BYTES];
        stored[..4].copy_from_slice(&self.0.number.to_le_bytes());
        stored[4..].copy_from_slice(&self.0.salt);
        stored
    }

    /// Encrypts an item. No two items of a segment have one index.
    pub(crate) fn encrypt(&self, index: u32, nature: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + TAG_BYTES);
        out.extend_from_slice(plain);
        self.0
            .cipher
            .seal_in_place_append_tag(nonce(index), Aad::from(nature), &mut out)
            .expect("an item is shorter than the limit of the cipher");
        out
    }

    /// What [`ItemKey::encrypt`] was given; in place where nobody else has the bytes.
    ///
    /// # Errors
    /// `Corrupt` if it is not what was encrypted under this index and nature.
    pub(crate) fn decrypt(&self, index: u32, nature: &[u8], stored: Bytes) -> Result<Bytes> {
        let mut bytes = stored.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let plain = self.0.cipher.open_in_place(nonce(index), Aad::from(nature), &mut bytes);
        let length = plain.map_err(|_| not_authentic())?.len();
        bytes.truncate(length);
        Ok(bytes.freeze())
    }
}

impl PartialEq for ItemKey {
    fn eq(&self, other: &Self) -> bool {
        self.stored() == other.stored()
    }
}

impl Eq for ItemKey {}

impl fmt::Debug for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ItemKey of pool key {}", self.0.number)
    }
}

/// Appends salt, ciphertext and tag.
fn seal_box(
    key: &PoolKey,
    pool_id: &[u8; 16],
    purpose: Purpose,
    context: &[u8],
    plain: &[u8],
    out: &mut Vec<u8>,
) {
    let salt = key.salt(purpose, context, plain);
    let cipher = derive(key.bytes(), &salt, purpose, pool_id);
    out.extend_from_slice(&salt);
    let start = out.len();
    out.extend_from_slice(plain);
    let tag = cipher
        .seal_in_place_separate_tag(nonce(0), Aad::from(context), &mut out[start..])
        .expect("a box is shorter than the limit of the cipher");
    out.extend_from_slice(tag.as_ref());
}

fn open_box(
    key: &[u8; KEY_BYTES],
    pool_id: &[u8; 16],
    purpose: Purpose,
    context: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>> {
    let (salt, rest) = sealed.split_first_chunk::<SALT_BYTES>().ok_or_else(not_authentic)?;
    let cipher = derive(key, salt, purpose, pool_id);
    let mut bytes = rest.to_vec();
    let plain = cipher.open_in_place(nonce(0), Aad::from(context), &mut bytes);
    let length = plain.map_err(|_| not_authentic())?.len();
    bytes.truncate(length);
    Ok(bytes)
}

/// HKDF-SHA-256 (RFC 5869) from a key and a salt to a key of AES-256-GCM that has one purpose in one pool.
fn derive(key: &[u8; KEY_BYTES], salt: &[u8], purpose: Purpose, pool_id: &[u8; 16]) -> LessSafeKey {
    let info: [&[u8]; 3] = [b"offshoot", &[purpose as u8], pool_id];
    let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    let derived = derived.expand(&info, &AES_256_GCM).expect("a key is shorter than the limit of HKDF");
    LessSafeKey::new(UnboundKey::from(derived))
}

fn nonce(index: u32) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&index.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn not_authentic() -> Error {
    Error::new(
        ErrorKind::Corrupt,
        "the encrypted bytes are not what this pool has written in this place: they are damaged, or were put there by \
         somebody else",
    )
}

fn unknown_key(number: u32) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the bytes are encrypted with pool key {number}, which the pool does not have"),
    )
}
