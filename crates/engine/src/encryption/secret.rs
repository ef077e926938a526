//! What opens an encrypted pool: a password or a key, and how it is used.

use std::fmt;
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::KEY_BYTES;
use crate::sync::Mutex;
use crate::{Error, ErrorKind, Result};

/// A password or a key. It is never shown and is wiped when the last copy goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(super) Form);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Form {
    Password(Arc<Zeroizing<Vec<u8>>>),
    Key(Arc<Zeroizing<[u8; KEY_BYTES]>>),
}

impl Secret {
    /// A password, as it is.
    ///
    /// # Errors
    /// `Invalid` if it is empty.
    pub fn password(password: &str) -> Result<Self> {
        if password.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "the encryption password is empty"));
        }
        Ok(Self(Form::Password(Arc::new(Zeroizing::new(password.as_bytes().to_vec())))))
    }

    /// The key in a key file: 32 bytes, or 64 hexadecimal digits and white space around them.
    ///
    /// # Errors
    /// `Invalid` if it is neither.
    pub fn key(file: &[u8]) -> Result<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        let digits = file.trim_ascii();
        if file.len() == KEY_BYTES {
            key.copy_from_slice(file);
        } else if digits.len() == 2 * KEY_BYTES && digits.iter().all(u8::is_ascii_hexdigit) {
            for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
                let digit =
                    |at: usize| char::from(pair[at]).to_digit(16).expect("it was just looked at") as u8;
                *byte = digit(0) << 4 | digit(1);
            }
        } else {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "an encryption key file has 32 random bytes, or 64 hexadecimal digits as `openssl rand -hex 32` makes \
                     them; this one has {} bytes",
                    file.len()
                ),
            ));
        }
        Ok(Self(Form::Key(Arc::new(key))))
    }

    /// What it is, in a word for messages.
    pub fn word(&self) -> &'static str {
        match self.0 {
            Form::Password(_) => "password",
            Form::Key(_) => "key",
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.word())
    }
}

/// What it costs to turn a password into a key with Argon2id (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PasswordCost {
    /// 64 MiB and 3 passes, the second recommendation of RFC 9106, in one lane.
    fn default() -> Self {
        Self { memory_kib: 64 << 10, passes: 3, lanes: 1 }
    }
}

/// Where keys and salts come from.
#[derive(Clone)]
pub struct Random(Arc<dyn Fn(&mut [u8]) + Send + Sync>);

impl Random {
    /// The system's.
    pub fn system() -> Self {
        let random = SystemRandom::new();
        Self(Arc::new(move |bytes| {
            random.fill(bytes).expect("the system gives random bytes once it has started")
        }))
    }

    /// A number.
    pub fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// Numbers that a seed repeats. They protect nothing: for simulated worlds and checked-in pools.
    #[doc(hidden)]
    pub fn seeded(seed: u64) -> Self {
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        Self(Arc::new(move |bytes| random.lock().fill(bytes)))
    }

    /// One byte again and again.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn same(byte: u8) -> Self {
        Self(Arc::new(move |bytes| bytes.fill(byte)))
    }

    pub(super) fn fill(&self, bytes: &mut [u8]) {
        (self.0)(bytes);
    }

    pub(super) fn key(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        self.fill(&mut key[..]);
        key
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}

/// How a pool is encrypted, and how it is opened again.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// What opens the pool.
    pub secret: Secret,
    /// For passwords that are set; those that were set say themselves what they cost.
    pub cost: PasswordCost,
    /// Where keys and salts come from.
    pub random: Random,
}

impl Encryption {
    /// With this secret and everything else as it should be.
    pub fn new(secret: Secret) -> Self {
        Self { secret, cost: PasswordCost::default(), random: Random::system() }
    }
}
