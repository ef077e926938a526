//! Files, marks and parts in memory.

use std::sync::Arc;

use futures::executor::block_on;

use super::*;
use crate::object::{Call, Fault, FaultStore, MemoryStore};

fn log(objects: &Arc<MemoryStore>, identity: u64) -> ObjectLog<Arc<MemoryStore>> {
    ObjectLog::new(objects.clone(), identity)
}

fn append(log: &dyn LogStore, number: u64, offset: u64, bytes: &'static [u8]) {
    block_on(log.append(number, offset, &[Bytes::from_static(bytes)])).unwrap();
}

fn names(objects: &MemoryStore) -> Vec<String> {
    block_on(objects.list("")).unwrap().into_iter().map(|object| object.name).collect()
}

#[test]
fn a_sync_is_one_object_and_a_file_is_all_of_them() {
    let objects = Arc::new(MemoryStore::new());
    let log = log(&objects, 1);
    block_on(log.create(5)).unwrap();
    append(&log, 5, 0, b"one, ");
    append(&log, 5, 5, b"two, ");
    assert_eq!(block_on(log.read(5)).unwrap(), "", "nothing is durable yet");
    block_on(log.sync(5)).unwrap();
    block_on(log.sync(5)).unwrap();
    append(&log, 5, 10, b"three");
    block_on(log.sync(5)).unwrap();
    assert_eq!(block_on(log.read(5)).unwrap(), "one, two, three");
    let parts = [0, 1, 2].map(|part| format!("log/0000000000000005/0000000{part}"));
    assert_eq!(names(&objects), parts, "a sync of nothing puts nothing");
    assert_eq!(block_on(log.list()).unwrap(), [5]);
    block_on(log.keep_copy(5)).unwrap();
    block_on(log.delete(5)).unwrap();
    assert_eq!(names(&objects), parts.map(|name| format!("damaged/{name}")));
    assert_eq!(block_on(log.read(5)).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn who_takes_over_reads_what_was_synced_and_fences_what_was_not() {
    let objects = Arc::new(MemoryStore::new());
    let (old, new) = (log(&objects, 1), log(&objects, 2));
    block_on(old.create(1)).unwrap();
    append(&old, 1, 0, b"synced");
    block_on(old.sync(1)).unwrap();
    append(&old, 1, 6, b"late");
    block_on(new.take_over(&[1], 2)).unwrap();
    assert_eq!(block_on(old.sync(1)).unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(block_on(old.create(2)).unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(block_on(new.read(1)).unwrap(), "synced");
    append(&new, 2, 0, b"next");
    block_on(new.create(2)).unwrap();
    block_on(new.sync(2)).unwrap();
    assert_eq!(block_on(new.read(2)).unwrap(), "next");
    // Another start that went no further than this.
    let third = log(&objects, 3);
    block_on(third.take_over(&[1, 2], 3)).unwrap();
    block_on(log(&objects, 4).take_over(&[1, 2, 3], 4)).unwrap();
    assert_eq!(block_on(third.read(3)).unwrap(), "");
    assert_eq!(block_on(log(&objects, 5).take_over(&[2], 3)).unwrap_err().kind(), ErrorKind::Exists);
}

/// The successor has made its checkpoint and deleted what it no longer needs.
#[test]
fn an_old_writer_stays_fenced_when_its_log_is_gone() {
    let objects = Arc::new(MemoryStore::new());
    let (old, new) = (log(&objects, 1), log(&objects, 2));
    block_on(old.create(1)).unwrap();
    append(&old, 1, 0, b"synced");
    block_on(old.sync(1)).unwrap();
    // Begun, and not yet appended to.
    block_on(old.create(2)).unwrap();
    append(&old, 1, 6, b"late");
    block_on(new.take_over(&[1, 2], 3)).unwrap();
    block_on(new.create(4)).unwrap();
    for gone in 1..=3 {
        block_on(new.delete(gone)).unwrap();
    }
    assert_eq!(block_on(new.list()).unwrap(), [4], "seals are no files");
    assert_eq!(block_on(old.sync(1)).unwrap_err().kind(), ErrorKind::Fenced);
    append(&old, 2, 0, b"late");
    assert_eq!(block_on(old.sync(2)).unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(block_on(old.create(3)).unwrap_err().kind(), ErrorKind::Fenced, "though the number is free");
}

#[test]
fn who_closes_the_log_leaves_nothing_for_ever() {
    let objects = Arc::new(MemoryStore::new());
    let (old, new) = (log(&objects, 1), log(&objects, 2));
    block_on(old.create(1)).unwrap();
    block_on(old.close(1)).unwrap();
    block_on(new.take_over(&[1], 2)).unwrap();
    block_on(new.delete(1)).unwrap();
    assert_eq!(names(&objects), ["log/0000000000000002/00000000"]);
}

#[test]
fn a_part_in_doubt_is_put_again_before_what_came_after() {
    let memory = Arc::new(MemoryStore::new());
    let objects = Arc::new(FaultStore::new(memory.clone()));
    let log = ObjectLog::new(objects.clone(), 1);
    block_on(log.create(1)).unwrap();
    let store = ErrorKind::Store;
    for (fault, offset) in [(Fault::AnswerLost(store), 0), (Fault::Refused(store), 8)] {
        objects.fail_nth(Call::Put, 1, fault);
        append(&log, 1, offset, b"some");
        assert_eq!(block_on(log.sync(1)).unwrap_err().kind(), ErrorKind::Store);
        append(&log, 1, offset + 4, b"more");
        block_on(log.sync(1)).unwrap();
    }
    assert_eq!(block_on(log.read(1)).unwrap(), "somemoresomemore");
    assert_eq!(names(&memory).len(), 5);
}

#[test]
fn much_is_put_in_several_parts() {
    let objects = Arc::new(MemoryStore::new());
    let log = log(&objects, 1);
    block_on(log.create(1)).unwrap();
    let much: Bytes = (0..PART_BYTES_MAX * 2 + 7).map(|at| (at / 1000) as u8).collect::<Vec<_>>().into();
    block_on(log.append(1, 0, std::slice::from_ref(&much))).unwrap();
    block_on(log.sync(1)).unwrap();
    assert_eq!(names(&objects).len(), 4);
    assert_eq!(block_on(log.read(1)).unwrap(), much);
}

/// Each start that fails leaves a file. With a store that fails now and then, later starts had ever more to ask for and never came
/// through.
#[test]
fn starts_that_failed_cost_later_ones_nothing() {
    let objects = Arc::new(FaultStore::new(MemoryStore::new()));
    let log = |identity| ObjectLog::new(objects.clone(), identity);
    let calls = |from: u64| objects.power().calls() - from;
    let mut files = Vec::new();
    let mut first = 0;
    for number in 1..=20 {
        let before = objects.power().calls();
        let starting = log(number);
        block_on(starting.take_over(&files, number)).unwrap();
        for file in &files {
            assert_eq!(block_on(starting.read(*file)).unwrap(), "");
        }
        // Each file is listed to be read, and nothing in it is fetched.
        let cost = calls(before) - files.len() as u64;
        if number == 2 {
            first = cost;
        }
        assert!(number <= 2 || cost == first, "start {number} made {cost} calls, the second one {first}");
        files.push(number);
    }
}

#[test]
fn no_part_with_records_is_as_short_as_a_mark() {
    let near =
        |parts: usize| (PART_BYTES_MAX * parts).saturating_sub(100).max(48)..PART_BYTES_MAX * parts + 100;
    for waiting in near(0).chain(near(1)).chain(near(2)).chain(near(3)) {
        let mut left = waiting;
        while left > 0 {
            let length = part_length(left);
            assert!(length != MARK_BYTES && length > 0, "{waiting}");
            left -= length;
        }
    }
}

#[test]
fn other_names_are_no_parts() {
    assert_eq!(parse("log/0000000000000010/0000000a"), Some((16, 10)));
    for name in ["log/10/0a", "log/0000000000000010", "log/000000000000001G/00000000", "segments/x"] {
        assert_eq!(parse(name), None, "{name}");
    }
}
