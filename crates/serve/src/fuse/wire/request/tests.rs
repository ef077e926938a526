//! Requests as the kernel sends them, cut short, and made of arbitrary bytes.

use proptest::prelude::*;

use super::*;

const LONG: Dialect = Dialect { long_setxattr: true };

/// A request with these arguments and extensions.
fn request(opcode: u32, arguments: &[u8], extensions: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let length = HEADER_BYTES + arguments.len() + extensions.len();
    bytes.extend_from_slice(&(length as u32).to_ne_bytes());
    bytes.extend_from_slice(&opcode.to_ne_bytes());
    bytes.extend_from_slice(&77_u64.to_ne_bytes());
    bytes.extend_from_slice(&5_u64.to_ne_bytes());
    for value in [1000_u32, 100, 42] {
        bytes.extend_from_slice(&value.to_ne_bytes());
    }
    bytes.extend_from_slice(&((extensions.len() / 8) as u16).to_ne_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(arguments);
    bytes.extend_from_slice(extensions);
    bytes
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn longs(values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn with(mut front: Vec<u8>, back: &[u8]) -> Vec<u8> {
    front.extend_from_slice(back);
    front
}

fn decode(bytes: &[u8]) -> Result<Request<'_>, Malformed> {
    Request::decode(bytes, LONG)
}

/// One whole request of every kind with arguments.
fn examples() -> Vec<(u32, Vec<u8>)> {
    let set_attributes = with(with(words(&[0x1ff, 0]), &longs(&[9; 6])), &words(&[5; 8]));
    vec![
        (opcode::LOOKUP, b"name\0".to_vec()),
        (opcode::FORGET, longs(&[3])),
        (opcode::BATCH_FORGET, with(words(&[2, 0]), &longs(&[5, 1, 6, 2]))),
        (opcode::SETATTR, set_attributes),
        (opcode::SYMLINK, b"name\0target\0".to_vec()),
        (opcode::MKNOD, with(words(&[0o644, 1, 0o22, 0]), b"name\0")),
        (opcode::MKDIR, with(words(&[0o755, 0o22]), b"name\0")),
        (opcode::UNLINK, b"name\0".to_vec()),
        (opcode::RMDIR, b"name\0".to_vec()),
        (opcode::RENAME, with(longs(&[6]), b"old\0new\0")),
        (opcode::RENAME2, with(with(longs(&[6]), &words(&[1, 0])), b"old\0new\0")),
        (opcode::LINK, with(longs(&[6]), b"name\0")),
        (opcode::OPEN, words(&[2])),
        (opcode::READ, with(longs(&[1, 4096]), &words(&[100]))),
        (
            opcode::WRITE,
            with(
                with(with(longs(&[1, 4096]), &words(&[4, 4])), &with(longs(&[0]), &words(&[2, 0]))),
                b"data",
            ),
        ),
        (opcode::RELEASE, longs(&[1])),
        (opcode::SETXATTR, with(words(&[5, 1, 1, 0]), b"user.a\0value")),
        (opcode::GETXATTR, with(words(&[64, 0]), b"user.a\0")),
        (opcode::LISTXATTR, words(&[64])),
        (opcode::REMOVEXATTR, b"user.a\0".to_vec()),
        (opcode::READDIR, with(longs(&[0, 3]), &words(&[4096]))),
        (opcode::READDIRPLUS, with(longs(&[0, 3]), &words(&[4096]))),
        (opcode::CREATE, with(words(&[0o102, 0o644, 0o22, 0]), b"name\0")),
        (opcode::TMPFILE, words(&[0o102, 0o644, 0o22, 0])),
        (opcode::FALLOCATE, with(longs(&[1, 2, 3]), &words(&[4]))),
        (opcode::LSEEK, with(longs(&[1, 2]), &words(&[4]))),
        (opcode::COPY_FILE_RANGE, longs(&[1, 2, 3, 4, 5, 6, 0])),
        (opcode::COPY_FILE_RANGE_64, longs(&[1, 2, 3, 4, 5, 6, 0])),
    ]
}

#[test]
fn every_kind_is_understood_and_no_shorter_one_is() {
    for (opcode, arguments) in examples() {
        let whole = request(opcode, &arguments, &[]);
        let decoded = decode(&whole).unwrap_or_else(|error| panic!("{opcode}: {error}"));
        assert!(!matches!(decoded.operation, Operation::Other), "{opcode}");
        for length in 0..arguments.len() {
            let short = request(opcode, &arguments[..length], &[]);
            assert!(decode(&short).is_err(), "{opcode} with {length} of {} bytes", arguments.len());
        }
        for length in 0..whole.len() {
            assert!(decode(&whole[..length]).is_err(), "{opcode}, cut at {length}");
        }
    }
}

#[test]
fn the_header_says_who_and_what() {
    let bytes = request(opcode::GETATTR, &[], &[]);
    let header = decode(&bytes).unwrap().header;
    assert_eq!((header.opcode, header.unique, header.node), (opcode::GETATTR, 77, 5));
    assert_eq!((header.uid, header.gid, header.pid), (1000, 100, 42));
}

#[test]
fn a_length_that_lies_is_refused() {
    let mut bytes = request(opcode::LOOKUP, b"name\0", &[]);
    bytes[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
    assert_eq!(decode(&bytes).unwrap_err(), Malformed::Length { said: u32::MAX, read: 45 });
    assert_eq!(Header::decode(&bytes).unwrap().unique, 77);
}

#[test]
fn a_write_takes_exactly_the_bytes_that_it_counts() {
    let mut arguments = with(longs(&[1, 0]), &words(&[u32::MAX, 0]));
    arguments = with(with(arguments, &longs(&[0])), &words(&[0, 0]));
    let bytes = request(opcode::WRITE, &with(arguments, b"data"), &[]);
    assert!(matches!(decode(&bytes).unwrap_err(), Malformed::Short { left: 4, .. }));
}

#[test]
fn more_forgotten_numbers_than_there_are_bytes_are_refused() {
    for count in [2, 1 << 28, u32::MAX] {
        let bytes = request(opcode::BATCH_FORGET, &with(words(&[count, 0]), &longs(&[5, 1])), &[]);
        assert_eq!(decode(&bytes).unwrap_err(), Malformed::Count(count));
    }
    let bytes = request(opcode::BATCH_FORGET, &with(words(&[1, 0]), &longs(&[5, 3])), &[]);
    let Operation::ForgetMany(forgets) = decode(&bytes).unwrap().operation else { panic!() };
    assert_eq!(forgets.iter().collect::<Vec<_>>(), [(5, 3)]);
}

fn set_times(valid: u32, seconds: [i64; 2], nanoseconds: [u32; 2]) -> Vec<u8> {
    let mut arguments = with(words(&[valid, 0]), &longs(&[0, 0, 0]));
    arguments = with(arguments, &longs(&[seconds[0] as u64, seconds[1] as u64, 0]));
    arguments = with(arguments, &words(&[nanoseconds[0], nanoseconds[1], 0, 0, 0, 0, 0, 0]));
    request(opcode::SETATTR, &arguments, &[])
}

#[test]
fn any_second_is_carried_exactly() {
    let valid = valid::ATIME | valid::MTIME;
    for pair in [[i64::MIN, i64::MAX], [-1, 0], [1, i64::MIN + 1]] {
        let bytes = set_times(valid, pair, [0, 999_999_999]);
        let Operation::SetAttributes(set) = decode(&bytes).unwrap().operation else { panic!() };
        assert_eq!(set.atime, Some(Time::At { seconds: pair[0], nanoseconds: 0 }));
        assert_eq!(set.mtime, Some(Time::At { seconds: pair[1], nanoseconds: 999_999_999 }));
        assert_eq!((set.mode, set.size, set.handle), (None, None, None));
    }
}

#[test]
fn a_whole_second_of_nanoseconds_is_refused_unless_it_is_not_meant() {
    let bytes = set_times(valid::ATIME, [0, 0], [1_000_000_000, 0]);
    assert_eq!(decode(&bytes).unwrap_err(), Malformed::Nanoseconds(1_000_000_000));
    let bytes = set_times(valid::ATIME | valid::ATIME_NOW, [0, 0], [u32::MAX, u32::MAX]);
    let Operation::SetAttributes(set) = decode(&bytes).unwrap().operation else { panic!() };
    assert_eq!((set.atime, set.mtime), (Some(Time::Now), None));
}

#[test]
fn setting_an_attribute_has_a_short_and_a_long_form() {
    let short = request(opcode::SETXATTR, &with(words(&[1, 2]), b"user.a\0v"), &[]);
    let decoded = Request::decode(&short, Dialect::default()).unwrap();
    let Operation::SetXattr { name, value, flags, kill_set_gid } = decoded.operation else { panic!() };
    assert_eq!((name, value, flags, kill_set_gid), (&b"user.a"[..], &b"v"[..], 2, false));
    let long = request(opcode::SETXATTR, &with(words(&[1, 2, 1, 0]), b"user.a\0v"), &[]);
    let Operation::SetXattr { value, kill_set_gid, .. } = decode(&long).unwrap().operation else { panic!() };
    assert_eq!((value, kill_set_gid), (&b"v"[..], true));
}

#[test]
fn groups_come_as_an_extension() {
    let create = with(words(&[0o102, 0o644, 0o22, 0]), b"name\0\0\0\0");
    let extension = words(&[20, 32, 2, 50, 51, 0]);
    let bytes = request(opcode::CREATE, &create, &extension);
    let decoded = decode(&bytes).unwrap();
    assert_eq!(decoded.groups.iter().collect::<Vec<_>>(), [50, 51]);
    assert!(matches!(decoded.operation, Operation::Create { name: b"name", .. }));
}

/// As Linux 6.18 sends it: nothing pads the name, and the one group that matters is that of the directory.
#[test]
fn an_extension_follows_a_name_of_any_length() {
    let create = with(words(&[0x8841, 0o100_666, 0o22, 0]), b"member\0");
    let bytes = request(opcode::CREATE, &create, &words(&[16, 32, 1, 61_050]));
    assert_eq!(bytes.len(), 79);
    let decoded = decode(&bytes).unwrap();
    assert_eq!(decoded.groups.iter().collect::<Vec<_>>(), [61_050]);
    assert!(matches!(decoded.operation, Operation::Create { name: b"member", mode: 0o100_666, .. }));
}

#[test]
fn extensions_that_do_not_add_up_are_refused() {
    let create = with(words(&[0o102, 0o644, 0o22, 0]), b"name\0\0\0\0");
    let refused = |extension: &[u32]| decode(&request(opcode::CREATE, &create, &words(extension))).is_err();
    assert!(refused(&[7, 32]), "smaller than its own header");
    assert!(refused(&[u32::MAX, 32]), "larger than the request");
    assert!(refused(&[16, 32, 2, 50]), "fewer groups than it counts");
    assert!(refused(&[16, 32, u32::MAX, 50]));
    assert!(refused(&[8, 32]), "no count");
    assert!(!refused(&[8, 7]), "an extension of another kind is passed over");
    let mut bytes = request(opcode::CREATE, &create, &[]);
    bytes[36..38].copy_from_slice(&u16::MAX.to_ne_bytes());
    assert_eq!(decode(&bytes).unwrap_err(), Malformed::Extension);
}

#[test]
fn what_is_not_known_is_named_so() {
    for opcode in [0, 7, 25, 31, 36, 39, 54, 4096, u32::MAX] {
        assert!(matches!(decode(&request(opcode, b"x", &[])).unwrap().operation, Operation::Other));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), long: bool) {
        let _ = Request::decode(&bytes, Dialect { long_setxattr: long });
    }

    #[test]
    fn arbitrary_arguments_of_known_kinds_never_panic(
        opcode in 0_u32..60,
        arguments in proptest::collection::vec(any::<u8>(), 0..160),
        extension_words in 0_u16..24,
    ) {
        let mut bytes = request(opcode, &arguments, &[]);
        bytes[36..38].copy_from_slice(&extension_words.to_ne_bytes());
        if let Ok(decoded) = decode(&bytes) {
            if let Operation::ForgetMany(forgets) = decoded.operation {
                prop_assert!(forgets.iter().count() <= arguments.len() / FORGET_BYTES);
            }
            prop_assert!(decoded.groups.iter().count() <= bytes.len() / 4);
        }
    }

    #[test]
    fn a_changed_byte_never_panics(
        which in 0_usize..28,
        place: proptest::sample::Index,
        byte: u8,
    ) {
        let (opcode, arguments) = examples().swap_remove(which);
        let mut bytes = request(opcode, &arguments, &[]);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = decode(&bytes);
    }
}
