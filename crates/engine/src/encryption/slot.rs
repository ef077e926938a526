//! Slots: each wraps the key of the ring under one password or one key file, so that any of them opens the pool.
//!
//! A slot is never changed: whoever sets a password makes a new one with a new salt, so a key that wraps is used once.

use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, LessSafeKey};
use zeroize::Zeroizing;

use super::secret::Form;
use super::{Encryption, KEY_BYTES, PasswordCost, Purpose, SALT_BYTES, Secret, TAG_BYTES, derive, nonce};
use crate::Result;
use crate::format::codec::{Reader, Writer, out_of_range};

/// Most slots that a pool has.
pub(super) const SLOTS_MAX: usize = 8;
/// What a slot may ask for at most: a store that was tampered with must not take all memory or all time.
const MEMORY_KIB_MAX: u32 = 4 << 20;
const PASSES_MAX: u32 = 64;
const LANES_MAX: u32 = 16;

/// One way to open the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Never used for another slot of the pool.
    pub(super) id: u32,
    /// What its password costs; `None` if it is for a key.
    pub(super) cost: Option<PasswordCost>,
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) wrapped: [u8; KEY_BYTES + TAG_BYTES],
}

impl Slot {
    /// Wraps the key of the ring.
    pub(super) fn new(
        id: u32,
        pool_id: &[u8; 16],
        encryption: &Encryption,
        ring_key: &[u8; KEY_BYTES],
    ) -> Self {
        let cost = matches!(encryption.secret.0, Form::Password(_)).then_some(encryption.cost);
        let mut slot = Self { id, cost, salt: [0; SALT_BYTES], wrapped: [0; KEY_BYTES + TAG_BYTES] };
        encryption.random.fill(&mut slot.salt);
        let cipher = slot.cipher(pool_id, &encryption.secret).expect("the slot is for this kind of secret");
        let mut wrapped = ring_key.to_vec();
        cipher
            .seal_in_place_append_tag(nonce(0), Aad::from(slot.nature()), &mut wrapped)
            .expect("a key is shorter than the limit of the cipher");
        slot.wrapped.copy_from_slice(&wrapped);
        slot
    }

    /// The key of the ring, if this is what it was wrapped with.
    pub(super) fn open(&self, pool_id: &[u8; 16], secret: &Secret) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        let cipher = self.cipher(pool_id, secret)?;
        let mut bytes = Zeroizing::new(self.wrapped);
        let plain = cipher.open_in_place(nonce(0), Aad::from(self.nature()), &mut bytes[..]).ok()?;
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        key.copy_from_slice(plain);
        Some(key)
    }

    /// The cipher of a secret; `None` if the slot is for another kind of secret.
    fn cipher(&self, pool_id: &[u8; 16], secret: &Secret) -> Option<LessSafeKey> {
        match (&secret.0, self.cost) {
            (Form::Password(password), Some(cost)) => {
                let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(KEY_BYTES)).ok()?;
                let mut key = Zeroizing::new([0; KEY_BYTES]);
                Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                    .hash_password_into(password, &self.salt, &mut key[..])
                    .ok()?;
                Some(derive(&key, &[], Purpose::Slot, pool_id))
            }
            (Form::Key(key), None) => Some(derive(key, &self.salt, Purpose::Slot, pool_id)),
            _ => None,
        }
    }

    fn nature(&self) -> Vec<u8> {
        let mut out = Writer::default();
        self.encode_nature(&mut out);
        out.bytes
    }

    fn encode_nature(&self, out: &mut Writer) {
        out.varint(u64::from(self.id));
        match self.cost {
            Some(PasswordCost { memory_kib, passes, lanes }) => {
                out.u8(1);
                [memory_kib, passes, lanes].into_iter().for_each(|number| out.varint(u64::from(number)));
            }
            None => out.u8(2),
        }
        out.bytes.extend_from_slice(&self.salt);
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        self.encode_nature(out);
        out.bytes.extend_from_slice(&self.wrapped);
    }

    pub(super) fn decode(from: &mut Reader<'_>) -> Result<Self> {
        let id = from.varint_u32()?;
        let cost = match from.u8()? {
            1 => {
                let (memory_kib, passes, lanes) =
                    (from.varint_u32()?, from.varint_u32()?, from.varint_u32()?);
                let is_known = memory_kib <= MEMORY_KIB_MAX && passes <= PASSES_MAX && lanes <= LANES_MAX;
                if !is_known || Params::new(memory_kib, passes, lanes, Some(KEY_BYTES)).is_err() {
                    return Err(out_of_range("cost of a password"));
                }
                Some(PasswordCost { memory_kib, passes, lanes })
            }
            2 => None,
            _ => return Err(out_of_range("kind of a key slot")),
        };
        let salt = from.take(SALT_BYTES)?.try_into().expect("as many were taken");
        let wrapped = from.take(KEY_BYTES + TAG_BYTES)?.try_into().expect("as many were taken");
        Ok(Self { id, cost, salt, wrapped })
    }
}
