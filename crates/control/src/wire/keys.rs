//! What opens an encrypted pool, on the wire. Secrets travel in requests only, and are never shown.

use std::fmt;

use offshoot_engine::{KeyChange, KeySlot, Pool, Secret, SlotKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::problem::{Kind, Problem};

/// A password, or the hexadecimal digits of a key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SecretText(pub String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// What is to be done with the keys of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyAction {
    /// The slot that the server opened the pool with is replaced by one for the secret given.
    Replace,
    /// A slot for the secret given is added.
    Add,
    /// The slot with the number given goes.
    Remove,
    /// What is written from now on is encrypted with a new key.
    Rotate,
}

/// Change what opens the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRequest {
    /// What to do.
    pub action: KeyAction,
    /// A new password, to replace or add.
    #[serde(default)]
    pub password: Option<SecretText>,
    /// A new key of 32 bytes as 64 hexadecimal digits, to replace or add.
    #[serde(default)]
    pub key: Option<SecretText>,
    /// The slot to remove.
    #[serde(default)]
    pub slot: Option<u32>,
    /// A rotation drops all other slots.
    #[serde(default)]
    pub drop_others: bool,
}

impl KeyRequest {
    /// A request that gives nothing but what to do.
    pub fn new(action: KeyAction) -> Self {
        Self { action, password: None, key: None, slot: None, drop_others: false }
    }

    /// The change that is asked for.
    ///
    /// # Errors
    /// `BadRequest` if something is missing or given for nothing.
    pub fn change(self) -> Result<KeyChange, Problem> {
        let bad = |words: &str| Problem::new(Kind::BadRequest, words);
        let Self { action, password, key, slot, drop_others } = self;
        let secret = match (password, key) {
            (Some(password), None) => Some(Secret::password(&password.0)?),
            (None, Some(key)) => Some(Secret::key(key.0.as_bytes())?),
            (None, None) => None,
            (Some(_), Some(_)) => return Err(bad("give a password or a key, not both")),
        };
        match (action, secret, slot, drop_others) {
            (KeyAction::Replace, Some(secret), None, false) => Ok(KeyChange::Replace(secret)),
            (KeyAction::Add, Some(secret), None, false) => Ok(KeyChange::Add(secret)),
            (KeyAction::Remove, None, Some(slot), false) => Ok(KeyChange::Remove(slot)),
            (KeyAction::Rotate, None, None, drop_others) => Ok(KeyChange::Rotate { drop_others }),
            _ => Err(bad(
                "to replace and to add take a `password` or a `key`, to remove takes a `slot`, to rotate may take \
                 `drop_others`, and none takes more",
            )),
        }
    }
}

/// A way to open the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeySlotBody {
    /// Its number.
    pub id: u32,
    /// `password` or `key`.
    pub kind: String,
    /// The pool was opened with it.
    pub current: bool,
}

/// What opens the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyList {
    /// What is stored is encrypted.
    pub encrypted: bool,
    /// Ways to open it.
    pub slots: Vec<KeySlotBody>,
    /// How many keys the pool has had for what it writes.
    pub pool_keys: u64,
}

impl From<KeySlot> for KeySlotBody {
    fn from(from: KeySlot) -> Self {
        let kind = match from.kind {
            SlotKind::Password => "password",
            SlotKind::Key => "key",
        };
        Self { id: from.id, kind: kind.into(), current: from.is_current }
    }
}

impl From<&Pool> for KeyList {
    fn from(pool: &Pool) -> Self {
        let slots = pool.key_slots();
        Self {
            encrypted: slots.is_some(),
            slots: slots.into_iter().flatten().map(KeySlotBody::from).collect(),
            pool_keys: pool.key_count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_takes_what_its_action_needs_and_shows_no_secret() {
        let password = || Some(SecretText("very secret".into()));
        let add = KeyRequest { password: password(), ..KeyRequest::new(KeyAction::Add) };
        assert!(!format!("{add:?}").contains("very secret"));
        assert!(matches!(add.clone().change(), Ok(KeyChange::Add(_))));
        let bad = |request: KeyRequest| {
            let problem = request.change().expect_err("it does not fit");
            assert!(!problem.detail.contains("very secret"), "{}", problem.detail);
        };
        bad(KeyRequest { action: KeyAction::Remove, ..add.clone() });
        bad(KeyRequest { key: Some(SecretText("00".repeat(32))), ..add.clone() });
        bad(KeyRequest { slot: Some(1), ..add.clone() });
        bad(KeyRequest { drop_others: true, ..add });
        bad(KeyRequest { key: Some(SecretText("very secret".into())), ..KeyRequest::new(KeyAction::Add) });
        bad(KeyRequest { password: Some(SecretText(String::new())), ..KeyRequest::new(KeyAction::Add) });
        bad(KeyRequest::new(KeyAction::Replace));
        bad(KeyRequest::new(KeyAction::Remove));
        assert!(matches!(KeyRequest::new(KeyAction::Rotate).change(), Ok(KeyChange::Rotate { .. })));
    }
}
