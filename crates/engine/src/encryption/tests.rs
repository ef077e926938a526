//! What the two forms of encryption promise.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::format::manifest;

const POOL: [u8; 16] = *b"0123456789abcdef";
const CHEAP: PasswordCost = PasswordCost { memory_kib: 8, passes: 1, lanes: 1 };

fn encryption(password: &str, seed: u64) -> Encryption {
    let secret = Secret::password(password).unwrap();
    Encryption { secret, cost: CHEAP, random: Random::seeded(seed) }
}

fn keys(seed: u64) -> Keys {
    Keys::create(POOL, &encryption("a password", seed))
}

#[test]
fn a_box_opens_for_what_it_was_made_for_and_for_nothing_else() {
    let keys = keys(1);
    for plain in [&b""[..], b"x", &[7; 10_000]] {
        let stored = keys.encrypt(Purpose::Table, b"here", plain);
        assert_eq!(keys.decrypt(Purpose::Table, b"here", &stored).unwrap(), plain);
        assert!(keys.decrypt(Purpose::Manifest, b"here", &stored).is_err());
        assert!(keys.decrypt(Purpose::Table, b"there", &stored).is_err());
        assert!(super::tests::keys(2).decrypt(Purpose::Table, b"here", &stored).is_err());
        assert!(
            Keys::create(*b"fedcba9876543210", &encryption("a password", 1))
                .decrypt(Purpose::Table, b"here", &stored)
                .is_err()
        );
        for length in 0..stored.len().min(200) {
            assert!(keys.decrypt(Purpose::Table, b"here", &stored[..length]).is_err());
        }
        for bit in 0..stored.len().min(200) * 8 {
            let mut other = stored.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            let error = keys.decrypt(Purpose::Table, b"here", &other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}

/// A put that is repeated finds what it has put itself, and other content never meets the key of this one.
#[test]
fn a_box_of_the_same_is_the_same_and_a_box_of_anything_else_has_another_key() {
    let keys = keys(1);
    let stored = keys.encrypt(Purpose::Batch, b"here", b"content");
    assert_eq!(keys.encrypt(Purpose::Batch, b"here", b"content"), stored);
    let salt = |stored: &[u8]| stored[4..BOX_HEAD_BYTES].to_vec();
    let mut salts = BTreeSet::from([salt(&stored)]);
    for (purpose, context, plain) in [
        (Purpose::Batch, &b"here"[..], &b"contenu"[..]),
        (Purpose::Batch, b"her", b"econtent"),
        (Purpose::Batch, b"there", b"content"),
        (Purpose::Table, b"here", b"content"),
        (Purpose::Batch, b"here", b""),
    ] {
        assert!(salts.insert(salt(&keys.encrypt(purpose, context, plain))));
    }
}

#[test]
fn items_are_bound_to_segment_index_and_nature() {
    let keys = keys(1);
    let (one, two) = (keys.new_item_key(1), keys.new_item_key(1));
    assert_ne!(one, two, "a segment that is begun again has another key");
    let stored = Bytes::from(one.encrypt(3, b"nature", b"content"));
    assert_eq!(&one.decrypt(3, b"nature", stored.clone()).unwrap()[..], b"content");
    assert!(one.decrypt(4, b"nature", stored.clone()).is_err());
    assert!(one.decrypt(3, b"culture", stored.clone()).is_err());
    assert!(two.decrypt(3, b"nature", stored.clone()).is_err());
    let again = keys.stored_item_key(&one.stored()).unwrap();
    assert_eq!(&again.decrypt(3, b"nature", stored.clone()).unwrap()[..], b"content");
    for bit in 0..stored.len() * 8 {
        let mut other = stored.to_vec();
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(one.decrypt(3, b"nature", other.into()).is_err());
    }
}

/// Two machines that are copies of one another draw the same salts; their epochs differ all the same.
#[test]
fn writers_of_two_epochs_have_two_keys_even_with_one_randomness() {
    let (one, two) = (keys(5), keys(5));
    assert_eq!(one.new_item_key(1), two.new_item_key(1), "the randomness is the same");
    assert_ne!(one.new_item_key(1), two.new_item_key(2));
}

#[test]
fn nothing_secret_is_shown() {
    let encryption = encryption("my secret words", 1);
    let keys = Keys::create(POOL, &encryption);
    let shown = format!("{encryption:?} {:?}", keys.new_item_key(1));
    assert!(!shown.contains("my secret") && !shown.contains("109, 121"), "{shown}");
    let key = Secret::key(&[0xab; 32]).unwrap();
    assert!(!format!("{key:?}").contains("ab"), "{key:?}");
}

#[test]
fn key_files_are_bytes_or_digits() {
    let digits = "ab".repeat(32);
    let key = Secret::key(&[0xab; 32]).unwrap();
    assert!(Secret::key(digits.as_bytes()).unwrap() == key);
    assert!(Secret::key(format!("{digits}\n").to_uppercase().as_bytes()).unwrap() == key);
    for other in [&b""[..], &[0xab; 31], &[0xab; 33], &digits.as_bytes()[1..], &[b'g'; 64]] {
        let error = Secret::key(other).unwrap_err();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("openssl rand"), "{error}");
    }
    assert!(Secret::password("").is_err());
}

fn stored_manifest(keys: &Arc<Keys>) -> (String, Bytes, Bytes) {
    let path = manifest::path(7);
    let plain =
        manifest::seal(manifest::MAGIC, 1, |out| out.bytes.extend_from_slice(b"what a manifest says"));
    (path.clone(), encrypt_object(Some(keys), &path, plain.clone()), plain)
}

#[test]
fn a_manifest_opens_with_its_secrets_under_its_name() {
    let first = encryption("first", 1);
    let keys = Arc::new(Keys::create(POOL, &first));
    let (path, stored, plain) = stored_manifest(&keys);
    assert_eq!(encrypt_object(Some(&keys), &path, plain.clone()), stored, "it is the same each time");
    let again = unlock(Some(&first), 1, &path, &stored).unwrap();
    assert_eq!(decrypt_object(again.as_ref(), 1, &path, stored.clone()).unwrap(), plain);
    let other = manifest::path(8);
    assert!(decrypt_object(again.as_ref(), 1, &other, stored.clone()).is_err(), "it is another manifest");

    for wrong in [Some(encryption("second", 1)), None] {
        let error = unlock(wrong.as_ref(), 1, &path, &stored).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::WrongPassword);
        assert!(!error.to_string().contains("second"), "{error}");
    }
    let error = unlock(Some(&first), 1, &path, &plain).err().unwrap();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("not encrypted"), "{error}");
    assert!(unlock(None, 1, &path, &plain).unwrap().is_none());
    let newer = manifest::seal(manifest::MAGIC, 1, |_| {});
    let newer = encrypt_object(Some(&keys), &path, newer);
    let mut newer = newer.to_vec();
    newer[8] = 2;
    let end = newer.len() - 4;
    let checksum = crc32c::crc32c(&newer[..end]);
    newer[end..].copy_from_slice(&checksum.to_le_bytes());
    let error = unlock(Some(&first), 1, &path, &newer).err().unwrap();
    assert_eq!(
        error.kind(),
        ErrorKind::NewerFormat,
        "a newer program is told before a password is asked for"
    );
}

/// Whoever can write to the store can make checksums fit; what they change is seen all the same.
#[test]
fn a_manifest_that_was_changed_with_its_checksum_is_refused() {
    let first = encryption("first", 1);
    let keys = Arc::new(Keys::create(POOL, &first));
    let (path, stored, _) = stored_manifest(&keys);
    for at in 12..stored.len() - 4 {
        let mut other = stored.to_vec();
        other[at] ^= 1;
        let end = other.len() - 4;
        let checksum = crc32c::crc32c(&other[..end]);
        other[end..].copy_from_slice(&checksum.to_le_bytes());
        let opened = unlock(Some(&first), 1, &path, &other)
            .and_then(|keys| decrypt_object(keys.as_ref(), 1, &path, other.into()));
        let kind = opened.expect_err("a changed manifest").kind();
        assert!(matches!(kind, ErrorKind::Corrupt | ErrorKind::WrongPassword), "byte {at}: {kind:?}");
    }
}

/// What a store that was tampered with may ask of this machine has a limit.
#[test]
fn a_slot_that_costs_too_much_is_refused() {
    use crate::format::codec::{Reader, Writer};
    let slot = slot::Slot::new(1, &POOL, &encryption("first", 1), &[1; 32]);
    for (cost, is_good) in [
        (CHEAP, true),
        (PasswordCost::default(), true),
        (PasswordCost { memory_kib: u32::MAX, ..CHEAP }, false),
        (PasswordCost { passes: 1000, ..CHEAP }, false),
        (PasswordCost { memory_kib: 1, ..CHEAP }, false),
        (PasswordCost { lanes: 0, ..CHEAP }, false),
    ] {
        let mut out = Writer::default();
        slot::Slot { cost: Some(cost), ..slot.clone() }.encode(&mut out);
        assert_eq!(slot::Slot::decode(&mut Reader::new(&out.bytes)).is_ok(), is_good, "{cost:?}");
    }
}
