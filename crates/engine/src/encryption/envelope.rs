//! Encrypted manifests and segment tables: an envelope as that of a plain one, with the plain one in a box.
//!
//! The envelope of a manifest also has what is needed to open the pool: its id, the slots and the encrypted pool keys.

use std::sync::Arc;

use bytes::Bytes;

use super::keyring::Ring;
use super::slot::{SLOTS_MAX, Slot};
use super::{Encryption, Keys, Purpose};
use crate::format::codec::{Reader, Writer, out_of_range};
use crate::format::manifest::{self, seal, unseal};
use crate::{Error, ErrorKind, Result};

const MAGIC: &[u8; 8] = b"OFFSXMAN";
const TABLE_MAGIC: &[u8; 8] = b"OFFSXTAB";

/// What an encrypted manifest says in plain.
struct Head {
    pool_id: [u8; 16],
    slots: Vec<Slot>,
    ring: Vec<u8>,
}

impl Head {
    fn of(keys: &Keys) -> Self {
        let ring = keys.ring.read();
        Self { pool_id: keys.pool_id, slots: ring.slots.clone(), ring: ring.seal() }
    }

    fn encode(&self, out: &mut Writer) {
        out.bytes.extend_from_slice(&self.pool_id);
        out.varint(self.slots.len() as u64);
        self.slots.iter().for_each(|slot| slot.encode(out));
        out.bytes(&self.ring);
    }

    fn decode(from: &mut Reader<'_>) -> Result<Self> {
        let pool_id = from.take(16)?.try_into().expect("sixteen bytes were taken");
        let count = from.count(1)?;
        if count > SLOTS_MAX {
            return Err(out_of_range("number of key slots"));
        }
        let slots = (0..count).map(|_| Slot::decode(from)).collect::<Result<_>>()?;
        Ok(Self { pool_id, slots, ring: from.bytes()?.to_vec() })
    }
}

/// What is authenticated with the box of an object: its name, its version and everything that it says in plain.
fn context(magic: &[u8; 8], version: u32, head: &[u8], name: &str) -> Vec<u8> {
    [magic, &version.to_le_bytes()[..], head, name.as_bytes()].concat()
}

/// A manifest or a table as it is stored under its name: encrypted if the pool is.
pub(crate) fn encrypt_object(keys: Option<&Arc<Keys>>, name: &str, plain: Bytes) -> Bytes {
    let Some(keys) = keys else { return plain };
    let version = u32::from_le_bytes(plain[8..12].try_into().expect("four bytes"));
    let is_manifest = plain[..8] == *manifest::MAGIC;
    let mut head = Writer::default();
    let (magic, purpose) = if is_manifest {
        Head::of(keys).encode(&mut head);
        (MAGIC, Purpose::Manifest)
    } else {
        (TABLE_MAGIC, Purpose::Table)
    };
    let sealed = keys.encrypt(purpose, &context(magic, version, &head.bytes, name), &plain);
    seal(magic, version, |out| {
        out.bytes.extend_from_slice(&head.bytes);
        out.bytes(&sealed);
    })
}

/// The plain form of a stored manifest or table, for a program whose own version is `newest`.
///
/// # Errors
/// `NewerFormat`, `Corrupt`.
pub(crate) fn decrypt_object(
    keys: Option<&Arc<Keys>>,
    newest: u32,
    name: &str,
    stored: Bytes,
) -> Result<Bytes> {
    let Some(keys) = keys else { return Ok(stored) };
    let is_manifest = name.starts_with(manifest::PREFIX);
    let (magic, purpose) =
        if is_manifest { (MAGIC, Purpose::Manifest) } else { (TABLE_MAGIC, Purpose::Table) };
    let (version, body) = unseal(magic, &stored, newest, name)?;
    let mut from = Reader::new(body);
    let mut head = Writer::default();
    if is_manifest {
        // It has one encoding, so this is what was read.
        Head::decode(&mut from)?.encode(&mut head);
    }
    let sealed = from.bytes()?;
    from.end()?;
    let plain = keys
        .decrypt(purpose, &context(magic, version, &head.bytes, name), sealed)
        .map_err(|error| Error::with_source(error.kind(), format!("{name}: {error}"), error))?;
    // What stands outside and what stands inside are of one program.
    let (inner, _) =
        unseal(if is_manifest { manifest::MAGIC } else { manifest::TABLE_MAGIC }, &plain, newest, name)?;
    if inner != version {
        return Err(out_of_range("version"));
    }
    Ok(plain.into())
}

/// What a manifest needs to be read.
pub(crate) type Unlocked = Option<Arc<Keys>>;

/// The keys of a pool, by a manifest of it; none if the pool is not encrypted.
///
/// # Errors
/// `WrongPassword`; `Invalid` if the pool is not encrypted and a secret is given; `NewerFormat`, `Corrupt`.
pub(crate) fn unlock(
    encryption: Option<&Encryption>,
    newest: u32,
    name: &str,
    stored: &[u8],
) -> Result<Unlocked> {
    if !stored.starts_with(MAGIC) {
        if let Some(encryption) = encryption {
            unseal(manifest::MAGIC, stored, newest, name)?;
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "the pool is not encrypted, and an encryption {} is given: take it out of the settings to use the \
                     pool as it is, or make a new pool with it and copy into that. If this pool was encrypted, somebody \
                     has put another in its place",
                    encryption.secret.word()
                ),
            ));
        }
        return Ok(None);
    }
    let (_, body) = unseal(MAGIC, stored, newest, name)?;
    let head = Head::decode(&mut Reader::new(body))?;
    let Some(encryption) = encryption else {
        return Err(Error::new(
            ErrorKind::WrongPassword,
            "the pool is encrypted, and no password or key is given: set storage.encryption_password, \
             storage.encryption_password_file or storage.encryption_key_file",
        ));
    };
    match Ring::open(&head.pool_id, head.slots, &head.ring, &encryption.secret)? {
        Some(ring) => Ok(Some(Arc::new(Keys::new(head.pool_id, encryption.random.clone(), ring)))),
        None => Err(Error::new(
            ErrorKind::WrongPassword,
            format!(
                "the pool is encrypted, and this {} does not open it: it is not one that was set for this pool. Nothing \
                 was changed",
                encryption.secret.word()
            ),
        )),
    }
}
