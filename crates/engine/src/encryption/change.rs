//! Changing what opens a pool, and the key for what is written.
//!
//! Slots and keys are part of every manifest, so a change is a checkpoint. It is made twice: with the second the
//! manifest from before the change is deleted, and with it the slots that it had.

use super::slot::{SLOTS_MAX, Slot};
use super::{Encryption, Keys, Ring, Secret};
use crate::checkpoint::checkpoint_within;
use crate::pool::Inner;
use crate::{Error, ErrorKind, Pool, Result};

/// What a slot is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// A password.
    Password,
    /// A key file.
    Key,
}

/// One way to open a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySlot {
    /// Its number.
    pub id: u32,
    /// What opens it.
    pub kind: SlotKind,
    /// Whether it is the one that this pool was opened with.
    pub is_current: bool,
}

/// A change of what opens a pool. No stored data is written anew.
#[derive(Clone, Debug)]
pub enum KeyChange {
    /// The slot that the pool was opened with is replaced by one for this secret.
    Replace(Secret),
    /// A slot for this secret is added.
    Add(Secret),
    /// The slot with this number goes.
    Remove(u32),
    /// What is written from now on is encrypted with a new pool key, which only the secret opens that the pool was opened with.
    Rotate {
        /// Other slots are dropped; else there may be none.
        drop_others: bool,
    },
}

impl Keys {
    fn slots(&self) -> Vec<KeySlot> {
        let ring = self.ring.read();
        let kind = |slot: &Slot| if slot.cost.is_some() { SlotKind::Password } else { SlotKind::Key };
        let show = |slot: &Slot| KeySlot { id: slot.id, kind: kind(slot), is_current: slot.id == ring.slot };
        ring.slots.iter().map(show).collect()
    }

    /// The ring after a change.
    fn changed(&self, change: KeyChange, encryption: &Encryption) -> Result<Ring> {
        let mut ring = self.ring.read().clone();
        let with = |secret| Encryption { secret, ..encryption.clone() };
        match change {
            KeyChange::Replace(secret) => {
                let old = ring.slot;
                ring.slot = ring.add_slot(&with(secret.clone()));
                ring.secret = secret;
                ring.slots.retain(|slot| slot.id != old);
            }
            KeyChange::Add(secret) => {
                if ring.slots.len() == SLOTS_MAX {
                    return Err(invalid(format!(
                        "the pool has {SLOTS_MAX} key slots, which is the most; remove one first"
                    )));
                }
                ring.add_slot(&with(secret));
            }
            KeyChange::Remove(id) => {
                let before = ring.slots.len();
                ring.slots.retain(|slot| slot.id != id);
                if ring.slots.len() == before {
                    return Err(Error::new(ErrorKind::NotFound, format!("the pool has no key slot {id}")));
                }
                if id == ring.slot {
                    return Err(invalid(format!(
                        "key slot {id} is the one that the pool was opened with: open the pool with another secret to \
                         remove it"
                    )));
                }
            }
            KeyChange::Rotate { drop_others } => {
                if ring.slots.len() > 1 && !drop_others {
                    return Err(invalid(format!(
                        "the pool has {} key slots, and a new key can be given to the one alone that the pool was opened \
                         with: drop the others, and add them again",
                        ring.slots.len()
                    )));
                }
                let secret = ring.secret.clone();
                ring.rotate(&with(secret));
            }
        }
        Ok(ring)
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

impl Pool {
    /// The ways to open this pool; `None` if it is not encrypted.
    pub fn key_slots(&self) -> Option<Vec<KeySlot>> {
        self.inner.items.keys().map(|keys| keys.slots())
    }

    /// How many keys the pool has had for what it writes; 0 if it is not encrypted.
    pub fn key_count(&self) -> usize {
        self.inner.items.keys().map_or(0, |keys| keys.ring.read().key_count())
    }

    /// Changes what opens this pool. When it answers, what opened the pool before and does not any more opens nothing that is
    /// still in the store. It says nothing of copies that somebody has made before.
    ///
    /// # Errors
    /// `Invalid`, `NotFound`; `NoSpace`, `Store`: the change is part of the next checkpoint that succeeds.
    pub async fn change_keys(&self, change: KeyChange) -> Result<()> {
        change_keys(&self.inner, change).await
    }
}

async fn change_keys(inner: &Inner, change: KeyChange) -> Result<()> {
    let (Some(keys), Some(encryption)) = (inner.items.keys(), &inner.settings.encryption) else {
        return Err(invalid(
            "the pool is not encrypted; whether it is, is chosen when it is made: make a new pool with a password, and \
             copy into that"
                .to_owned(),
        ));
    };
    let mut checkpointer = inner.checkpointer.lock().await;
    // A manifest that may have been stored already must stay as it is.
    checkpoint_within(inner, &mut checkpointer, false).await?;
    let ring = keys.changed(change, encryption)?;
    *keys.ring.write() = ring;
    checkpoint_within(inner, &mut checkpointer, false).await?;
    checkpoint_within(inner, &mut checkpointer, false).await?;
    // Both manifests that there are have the key now.
    keys.activate_newest();
    Ok(())
}
