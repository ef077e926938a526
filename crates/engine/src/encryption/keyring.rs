//! The ring: the pool keys, under a key that every slot wraps.
//!
//! What is written is encrypted under the newest pool key; the older ones stay, for what was written under them.

use ring::{hkdf, hmac};
use zeroize::Zeroizing;

use super::slot::Slot;
use super::{Encryption, KEY_BYTES, Purpose, SALT_BYTES, Secret, not_authentic, open_box, seal_box};
use crate::Result;
use crate::format::codec::{Reader, Writer, out_of_range};

/// A key from which the keys of everything come that is stored.
#[derive(Clone)]
pub(super) struct PoolKey {
    number: u32,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    salting: hmac::Key,
}

impl PoolKey {
    fn new(number: u32, pool_id: &[u8; 16], bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let info: [&[u8]; 3] = [b"offshoot", &[Purpose::Salt as u8], pool_id];
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&bytes[..]);
        let derived =
            derived.expand(&info, hmac::HMAC_SHA256).expect("a key is shorter than the limit of HKDF");
        Self { number, salting: hmac::Key::from(derived), bytes }
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    /// HMAC-SHA-256 of what a box is for, where it belongs and what it holds.
    pub(super) fn salt(&self, purpose: Purpose, context: &[u8], plain: &[u8]) -> [u8; SALT_BYTES] {
        let mut hash = hmac::Context::with_key(&self.salting);
        hash.update(&[purpose as u8]);
        hash.update(&(context.len() as u64).to_le_bytes());
        hash.update(context);
        hash.update(plain);
        hash.sign().as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }
}

/// Keys and slots.
#[derive(Clone)]
pub(super) struct Ring {
    pool_id: [u8; 16],
    /// Wrapped by every slot; it encrypts the pool keys.
    key: PoolKey,
    /// Ascending by number; never empty.
    keys: Vec<PoolKey>,
    pub(super) slots: Vec<Slot>,
    /// What the pool was opened with, and the slot that it opened.
    pub(super) secret: Secret,
    pub(super) slot: u32,
}

impl Ring {
    /// A ring with one key and one slot.
    pub(super) fn create(pool_id: &[u8; 16], encryption: &Encryption) -> Self {
        let key = PoolKey::new(0, pool_id, encryption.random.key());
        Self {
            pool_id: *pool_id,
            keys: vec![PoolKey::new(1, pool_id, encryption.random.key())],
            slots: vec![Slot::new(1, pool_id, encryption, key.bytes())],
            secret: encryption.secret.clone(),
            slot: 1,
            key,
        }
    }

    pub(super) fn newest(&self) -> u32 {
        self.keys.last().map_or(0, PoolKey::number)
    }

    pub(super) fn key(&self, number: u32) -> Option<&PoolKey> {
        self.keys.iter().find(|key| key.number == number)
    }

    pub(super) fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// An id that no slot of the pool has had.
    pub(super) fn next_slot(&self) -> u32 {
        self.slots.iter().map(|slot| slot.id).max().unwrap_or(0).saturating_add(1)
    }

    /// Adds a slot, which gets the next id.
    pub(super) fn add_slot(&mut self, encryption: &Encryption) -> u32 {
        let id = self.next_slot();
        self.slots.push(Slot::new(id, &self.pool_id, encryption, self.key.bytes()));
        id
    }

    /// A new pool key and a new key of the ring, which only the secret that the pool was opened with opens.
    pub(super) fn rotate(&mut self, encryption: &Encryption) {
        self.keys.push(PoolKey::new(self.newest() + 1, &self.pool_id, encryption.random.key()));
        self.key = PoolKey::new(0, &self.pool_id, encryption.random.key());
        let id = self.next_slot();
        self.slots = vec![Slot::new(id, &self.pool_id, encryption, self.key.bytes())];
        self.slot = id;
    }

    /// The pool keys, encrypted.
    pub(super) fn seal(&self) -> Vec<u8> {
        let mut plain = Zeroizing::new(Vec::with_capacity(16 + self.keys.len() * (KEY_BYTES + 8)));
        let mut out = Writer::default();
        out.varint(self.keys.len() as u64);
        plain.append(&mut out.bytes);
        for key in &self.keys {
            plain.extend_from_slice(&key.number.to_le_bytes());
            plain.extend_from_slice(key.bytes());
        }
        let mut sealed = Vec::new();
        seal_box(&self.key, &self.pool_id, Purpose::Ring, &[], &plain, &mut sealed);
        sealed
    }

    /// Opens the ring with a secret; `None` if it opens no slot.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(super) fn open(
        pool_id: &[u8; 16],
        slots: Vec<Slot>,
        sealed: &[u8],
        secret: &Secret,
    ) -> Result<Option<Self>> {
        let opened = slots.iter().find_map(|slot| Some((slot.id, slot.open(pool_id, secret)?)));
        let Some((slot, key)) = opened else { return Ok(None) };
        let plain = Zeroizing::new(open_box(&key, pool_id, Purpose::Ring, &[], sealed)?);
        let mut from = Reader::new(&plain);
        let mut keys: Vec<PoolKey> = Vec::new();
        for _ in 0..from.count(4 + KEY_BYTES)? {
            let number = from.u32()?;
            if keys.last().is_some_and(|last| last.number >= number) || number == 0 {
                return Err(out_of_range("number of a pool key"));
            }
            let mut bytes = Zeroizing::new([0; KEY_BYTES]);
            bytes.copy_from_slice(from.take(KEY_BYTES)?);
            keys.push(PoolKey::new(number, pool_id, bytes));
        }
        from.end()?;
        if keys.is_empty() {
            return Err(not_authentic());
        }
        let key = PoolKey::new(0, pool_id, key);
        Ok(Some(Self { pool_id: *pool_id, key, keys, slots, secret: secret.clone(), slot }))
    }
}
