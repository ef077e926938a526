//! One of everything that is encrypted, with keys and salts that are known, for the promise of the format.

use std::sync::Arc;

use bytes::Bytes;

use super::{Encryption, Keys, PasswordCost, Purpose, Random, Secret, encrypt_object};
use crate::format::codec::Writer;
use crate::format::{VERSION, manifest};

fn keys(secret: Secret) -> Keys {
    let cost = PasswordCost { memory_kib: 8, passes: 1, lanes: 1 };
    let encryption = Encryption { secret, cost, random: Random::same(0x5a) };
    Keys::create(*b"0123456789abcdef", &encryption)
}

/// Everything, each with what it is.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let with_password = keys(Secret::password("a password").expect("it is not empty"));
    let with_key = keys(Secret::key(&[7; 32]).expect("it has the length"));
    let item = with_password.new_item_key(3);
    let path = manifest::path(0xabc);
    let plain = manifest::seal(manifest::MAGIC, VERSION, |out: &mut Writer| out.u64(0xabc));
    let stored =
        |keys: Keys, plain: &Bytes| encrypt_object(Some(&Arc::new(keys)), &path, plain.clone()).to_vec();
    vec![
        ("key of encrypted items".into(), item.stored().to_vec()),
        ("encrypted item".into(), item.encrypt(5, b"nature", b"item")),
        ("box".into(), with_password.encrypt(Purpose::Footer, b"where it belongs", b"what it holds")),
        ("encrypted manifest with a password".into(), stored(with_password, &plain)),
        ("encrypted manifest with a key".into(), stored(with_key, &plain)),
    ]
}
