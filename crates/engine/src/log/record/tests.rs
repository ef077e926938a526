//! Records come back as they were written, and damaged ones never do harm.

use proptest::prelude::*;

use super::samples::operations;
use super::*;
use crate::record::Foreign;

fn encode(time: Timestamp, operation: &Operation) -> Vec<u8> {
    let mut out = Writer::default();
    encode_operation(time, operation, &mut out, &mut Vec::new());
    out.bytes
}

#[test]
fn operations_come_back_as_they_were_written() {
    let time = Timestamp { secs: 1 << 40, nanos: 1 };
    for operation in operations() {
        let bytes = encode(time, &operation);
        let mut from = Reader::new(&bytes);
        let Ok(Record::Operation(read_time, read)) = decode(&mut from) else { panic!("record {}", bytes[0]) };
        from.end().unwrap();
        assert_eq!(read_time, time);
        assert_eq!(encode(time, &read), bytes, "record {}", bytes[0]);
    }
    let places = [
        Where::Name(EntryKey { hash: 4, name: Name::from_slice(b"x") }),
        Where::Side(SideKey { foreign: Some(Foreign { home: 1, realm: 2 }), number: 3 }),
        Where::Side(SideKey { foreign: None, number: 3 }),
    ];
    for place in places {
        let is_root = matches!(place, Where::Name(_));
        let mut out = Writer::default();
        encode_locate(Ino(5), Ino(u64::MAX), &place, is_root, &mut out);
        match decode(&mut Reader::new(&out.bytes)).unwrap() {
            Record::Locate { ino, parent, place: read, realm_root } => {
                assert_eq!((ino, parent, read, realm_root), (Ino(5), Ino(u64::MAX), place, is_root));
            }
            Record::Operation(..) => panic!("a location came back as an operation"),
        }
    }
}

#[test]
fn records_that_are_cut_off_are_refused() {
    for operation in operations() {
        let bytes = encode(Timestamp::default(), &operation);
        for length in 0..bytes.len() {
            assert!(
                decode(&mut Reader::new(&bytes[..length])).is_err(),
                "record {} cut at {length}",
                bytes[0]
            );
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), tag in 0..40u8) {
        let _ = decode(&mut Reader::new(&bytes));
        let _ = decode(&mut Reader::new(&[&[tag], &bytes[..]].concat()));
    }
}
