//! Histories made by hand, possible and impossible ones, which the search must tell apart.

use rustix::io::Errno;

use super::names::{Answer, How, Names, Operation as Name};
use super::register::{Operation as Word, Register};
use super::search::{Event, History, Model, Verdict, least, search};

/// Threads follow from the place: no two of them need be one.
fn history<M: Model>(events: &[(u64, u64, M::Operation, M::Answer)]) -> History<M> {
    let event =
        |(thread, (start_ns, end_ns, operation, answer)): (usize, &(u64, u64, M::Operation, M::Answer))| {
            Event {
                thread,
                start_ns: *start_ns,
                end_ns: *end_ns,
                operation: operation.clone(),
                answer: answer.clone(),
            }
        };
    events.iter().enumerate().map(event).collect()
}

fn words(events: &[(u64, u64, Word, Option<u64>)]) -> Verdict {
    search::<Register>(&history::<Register>(events))
}

fn names(events: &[(u64, u64, Name, Answer)]) -> Verdict {
    search::<Names>(&history::<Names>(events))
}

const fn file(ino: u64) -> Answer {
    Answer::Inode { ino, directory: false }
}

const MISSING: Answer = Answer::Error(Errno::NOENT);

#[test]
fn a_lost_update_is_impossible() {
    let write = |value| (Word::Write(value), Some(value));
    let ((one, one_done), (two, two_done)) = (write(1), write(2));
    let sound = [(0, 10, one, one_done), (5, 15, two, two_done), (20, 30, Word::Read, Some(1))];
    assert_eq!(words(&sound), Verdict::Linearizable);
    let lost = [(0, 10, one, one_done), (11, 15, two, two_done), (20, 30, Word::Read, Some(1))];
    assert_eq!(words(&lost), Verdict::Impossible);
}

#[test]
fn readers_that_see_two_writes_in_two_orders_are_impossible() {
    let writes = [(0, 100, Word::Write(1), Some(1)), (0, 100, Word::Write(2), Some(2))];
    let reads = |values: [u64; 4]| {
        let read = |place: usize| {
            let start = (place as u64 % 2) * 20;
            (start, start + 10, Word::Read, Some(values[place]))
        };
        words(&[&writes[..], &[read(0), read(1), read(2), read(3)]].concat())
    };
    assert_eq!(reads([1, 2, 1, 2]), Verdict::Linearizable);
    assert_eq!(reads([1, 2, 2, 1]), Verdict::Impossible);
    // New and then old again is as impossible for one reader alone.
    let back = [(0, 90, Word::Write(1), Some(1)), (1, 5, Word::Read, Some(1)), (6, 9, Word::Read, Some(0))];
    assert_eq!(words(&back), Verdict::Impossible);
}

#[test]
fn a_torn_word_is_impossible() {
    let torn = [(0, 10, Word::Write(0x11), Some(0x11)), (0, 10, Word::Read, Some(0x10))];
    assert_eq!(words(&torn), Verdict::Impossible);
}

#[test]
fn one_of_two_exclusive_creates_succeeds() {
    let exists = Answer::Error(Errno::EXIST);
    assert_eq!(
        names(&[(0, 10, Name::Create(0), file(7)), (0, 10, Name::Create(0), exists)]),
        Verdict::Linearizable
    );
    assert_eq!(
        names(&[(0, 10, Name::Create(0), file(7)), (0, 10, Name::Create(0), file(8))]),
        Verdict::Impossible
    );
    // And one does: nobody has removed the name.
    assert_eq!(
        names(&[(0, 10, Name::Create(0), exists), (0, 10, Name::Create(0), exists)]),
        Verdict::Impossible
    );
}

#[test]
fn a_stale_name_after_a_rename_is_impossible() {
    let rename = Name::Rename(0, 1, How::Replace);
    let during = [
        (0, 10, Name::Create(0), file(7)),
        (20, 40, rename, Answer::Done),
        (30, 50, Name::Stat(0), file(7)),
        (51, 60, Name::Stat(1), file(7)),
    ];
    assert_eq!(names(&during), Verdict::Linearizable);
    let mut stale = during;
    (stale[2].0, stale[2].1) = (41, 50);
    assert_eq!(names(&stale), Verdict::Impossible);
    let least = least::<Names>(history::<Names>(&stale));
    assert_eq!(least.len(), 3, "what came later is not needed: {least:?}");
}

#[test]
fn a_rename_that_replaces_leaves_no_moment_without_the_name() {
    let gap = [
        (0, 10, Name::Create(0), file(7)),
        (11, 20, Name::Create(1), file(8)),
        (30, 60, Name::Rename(0, 1, How::Replace), Answer::Done),
        (40, 50, Name::Stat(1), MISSING),
    ];
    assert_eq!(names(&gap), Verdict::Impossible);
    let exchanged = |second: u64| {
        names(&[
            (0, 10, Name::Create(0), file(7)),
            (11, 20, Name::Create(1), file(8)),
            (30, 90, Name::Rename(0, 1, How::Exchange), Answer::Done),
            (40, 50, Name::Stat(1), file(7)),
            (60, 70, Name::Stat(0), file(second)),
        ])
    };
    assert_eq!(exchanged(8), Verdict::Linearizable);
    assert_eq!(exchanged(7), Verdict::Impossible);
}

#[test]
fn a_removed_file_gets_no_name() {
    let linked = |unlinked: u64| {
        names(&[
            (0, 10, Name::Create(0), file(7)),
            (20, unlinked, Name::Unlink(0), Answer::Done),
            (40, 50, Name::Link(7, 1), Answer::Done),
        ])
    };
    assert_eq!(linked(45), Verdict::Linearizable);
    assert_eq!(linked(30), Verdict::Impossible);
}
