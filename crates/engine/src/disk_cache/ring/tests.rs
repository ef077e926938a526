//! The ring against a map that forgets.

use proptest::prelude::*;

use super::*;
use crate::object::disk::tests::TinyMedium;

const SIZE: u64 = 2 << 20;

fn open(directory: &Path) -> Ring {
    Ring::open(directory, "nodes", SIZE, 1 << 20).unwrap()
}

fn key(number: u64) -> Key {
    Key(1 << 24 | number, 0)
}

fn payload(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(number).fill(&mut bytes);
    bytes
}

fn put(ring: &mut Ring, number: u64) {
    ring.put(key(number), &[&payload(number, 3000)]);
}

fn get(ring: Ring, number: u64) -> (Ring, Option<Bytes>) {
    let ring = Mutex::new(ring);
    let found = Ring::get(&ring, key(number));
    (ring.into_inner(), found)
}

fn bytes_on_disk(directory: &Path) -> u64 {
    std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn the_bound_is_kept_and_the_newest_stay() {
    let directory = tempfile::tempdir().unwrap();
    let mut ring = open(directory.path());
    for number in 0..3000 {
        put(&mut ring, number);
        assert!(bytes_on_disk(directory.path()) <= SIZE, "after {number}");
    }
    let (ring, newest) = get(ring, 2999);
    assert_eq!(newest.unwrap(), payload(2999, 3000));
    let (ring, oldest) = get(ring, 0);
    assert!(oldest.is_none());
    assert!(ring.index.len() > 500, "{} entries", ring.index.len());
}

#[test]
fn what_is_used_survives_a_pass_over_much_else() {
    let directory = tempfile::tempdir().unwrap();
    let mut ring = open(directory.path());
    (0..100).for_each(|number| put(&mut ring, number));
    for number in 1000..6000 {
        put(&mut ring, number);
        let (after, found) = get(ring, number % 20);
        assert_eq!(found.unwrap(), payload(number % 20, 3000), "after {number}");
        ring = after;
    }
    let (_, unused) = get(ring, 50);
    assert!(unused.is_none());
}

#[test]
fn entries_survive_a_restart_with_and_without_a_list() {
    let directory = tempfile::tempdir().unwrap();
    let mut ring = open(directory.path());
    (0..200).for_each(|number| put(&mut ring, number));
    drop(ring);
    let mut ring = open(directory.path());
    for number in 0..200 {
        let (after, found) = get(ring, number);
        assert_eq!(found.unwrap(), payload(number, 3000));
        ring = after;
    }
    // New entries go into a new file.
    put(&mut ring, 500);
    assert_eq!(get(ring, 500).1.unwrap(), payload(500, 3000));
    assert!(bytes_on_disk(directory.path()) <= SIZE);
}

/// Whatever happens to its files, a cache gives what was put or nothing.
#[test]
fn damage_gives_nothing_and_never_something_else() {
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..60 {
        let directory = tempfile::tempdir().unwrap();
        let mut ring = open(directory.path());
        (0..150).for_each(|number| put(&mut ring, number));
        let is_open = round % 2 == 0;
        let held = is_open.then_some(ring);
        for file in std::fs::read_dir(directory.path()).unwrap() {
            let path = file.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            match random.u8(..4) {
                0 => bytes.truncate(random.usize(..bytes.len())),
                1 => {
                    let at = random.usize(..bytes.len());
                    bytes[at] ^= 1 << random.u8(..8);
                }
                2 => {
                    let at = random.usize(..bytes.len());
                    bytes[at..].fill(0);
                }
                _ => continue,
            }
            std::fs::write(&path, bytes).unwrap();
        }
        let mut ring = held.unwrap_or_else(|| open(directory.path()));
        let mut found = 0;
        for number in 0..150 {
            let (after, entry) = get(ring, number);
            ring = after;
            if let Some(entry) = entry {
                found += 1;
                assert_eq!(entry, payload(number, 3000));
            }
        }
        assert!(found > 0);
        put(&mut ring, 1000);
        assert_eq!(get(ring, 1000).1.unwrap(), payload(1000, 3000));
    }
}

#[test]
fn the_index_has_a_bound_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut ring = Ring::open(directory.path(), "nodes", SIZE, 64 * INDEX_BYTES * 4).unwrap();
    for number in 0..20_000 {
        ring.put(key(number), &[b"short"]);
        assert!(ring.index.len() <= 256, "{}", ring.index.len());
    }
}

#[test]
fn a_smaller_setting_is_kept_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut ring = open(directory.path());
    (0..600).for_each(|number| put(&mut ring, number));
    drop(ring);
    let ring = Ring::open(directory.path(), "nodes", SIZE / 4, 1 << 20).unwrap();
    assert!(bytes_on_disk(directory.path()) <= SIZE / 4);
    drop(ring);
}

/// Each start begins a file of its own; once, sixteen starts left nothing of what was there before.
#[test]
fn many_starts_that_write_little_push_nothing_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut ring = open(directory.path());
    (0..300).for_each(|number| put(&mut ring, number));
    for start in 0..40 {
        drop(ring);
        ring = open(directory.path());
        put(&mut ring, 1000 + start);
    }
    for number in (0..300).chain(1000..1040) {
        let (after, found) = get(ring, number);
        assert_eq!(found.unwrap(), payload(number, 3000), "{number}");
        ring = after;
    }
    assert!(bytes_on_disk(directory.path()) <= SIZE);
}

#[test]
fn room_is_left_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let mut ring = open(directory.path());
    (0..200).for_each(|number| put(&mut ring, number));
    ring.free_bytes_min = u64::MAX;
    (200..400).for_each(|number| put(&mut ring, number));
    assert_eq!(bytes_on_disk(directory.path()), 0, "what others need is given back");
    assert_eq!(ring.bytes(), 0);
    ring.free_bytes_min = 0;
    (400..600).for_each(|number| put(&mut ring, number));
    assert_eq!(get(ring, 599).1.unwrap(), payload(599, 3000));
}

#[test]
fn a_full_disk_ends_the_writing_and_nothing_else() {
    let Some(medium) = TinyMedium::tmpfs() else { return };
    let mut ring = open(&medium.path());
    ring.free_bytes_min = 0;
    (0..600).for_each(|number| put(&mut ring, number));
    assert!(ring.failed, "600 entries of 3,000 bytes do not fit into 1 MiB");
    assert!(bytes_on_disk(&medium.path()) <= ring.bytes() + 4096, "what was half written is gone");
    let mut served = 0;
    for number in 0..600 {
        let (after, found) = get(ring, number);
        ring = after;
        if let Some(found) = found {
            assert_eq!(found, payload(number, 3000));
            served += 1;
        }
    }
    assert!(served > 100, "{served}");
    drop(ring);
    let ring = open(&medium.path());
    assert!(get(ring, 0).1.is_some());
}

#[test]
fn files_that_somebody_removes_are_missed_by_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let mut ring = open(directory.path());
    (0..200).for_each(|number| put(&mut ring, number));
    std::fs::remove_dir_all(directory.path()).unwrap();
    for number in 0..200 {
        let (after, found) = get(ring, number);
        assert!(found.is_none());
        ring = after;
    }
    (200..400).for_each(|number| put(&mut ring, number));
    assert!(ring.failed, "there is nowhere to write to");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn it_is_a_map_that_forgets(actions in prop::collection::vec((0u8..6, 0u64..60, 0usize..20_000), 1..300)) {
        let directory = tempfile::tempdir().unwrap();
        let mut ring = open(directory.path());
        for (action, number, length) in actions {
            match action {
                0 | 1 => ring.put(key(number), &[&payload(number, length % 7), &payload(number, length)]),
                2 => {
                    ring.forget(key(number));
                    prop_assert!(!ring.has(key(number)));
                }
                3 => ring = { drop(ring); open(directory.path()) },
                _ => {
                    let (after, found) = get(ring, number);
                    ring = after;
                    if let Some(found) = found {
                        // Of the lengths that were put, this one tells itself.
                        let whole = payload(number, 20_000);
                        let heads = (0..7).any(|head| {
                            found.get(head..).is_some_and(|rest| whole.get(..rest.len()) == Some(rest))
                        });
                        prop_assert!(heads);
                    }
                }
            }
            prop_assert!(bytes_on_disk(directory.path()) <= SIZE);
        }
    }
}
