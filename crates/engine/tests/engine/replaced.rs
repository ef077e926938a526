//! A writer that another one has replaced, and that comes back without knowing it: what its successor has acknowledged stays whole.

use futures::executor::block_on;
use offshoot_engine::log::BlockingLog;
use offshoot_engine::object::{Call, Fault};
use offshoot_engine::{ErrorKind, Ino, Pool};

use crate::world::{World, at, file, kind, list, read};

fn names(pool: &Pool) -> Vec<String> {
    let mut names: Vec<_> =
        list(pool, Ino::ROOT).into_iter().map(|item| String::from_utf8(item.name).unwrap()).collect();
    names.sort();
    names
}

/// A writer and the one that has replaced it; each has synced a file.
fn taken_over() -> (World, Pool, Pool) {
    let world = World::new();
    let replaced = world.open();
    file(&replaced, "common", b"synced by the first");
    block_on(replaced.sync()).unwrap();
    let successor = world.open();
    file(&successor, "kept", b"synced by the successor");
    block_on(successor.sync()).unwrap();
    (world, replaced, successor)
}

/// A replaced writer came back and appended to its old log file, which is still needed until the successor's next checkpoint but one. A later
/// start replayed what it had appended, and then skipped what the successor had synced under the same numbers.
#[test]
fn what_a_replaced_writer_appends_does_not_push_out_what_its_successor_synced() {
    let (world, replaced, successor) = taken_over();

    file(&replaced, "late", b"of a writer that had been replaced");
    let appended = block_on(replaced.sync());
    assert_eq!(kind(appended), None, "nothing has told it yet");
    drop((replaced, successor));

    for _ in 0..2 {
        let pool = world.open();
        assert_eq!(names(&pool), ["common", "kept"]);
        assert_eq!(read(&pool, at(&pool, "common")), b"synced by the first");
        assert_eq!(read(&pool, at(&pool, "kept")), b"synced by the successor");
        assert_eq!(block_on(pool.check()).unwrap().findings, []);
    }
}

/// A replaced writer and its successor both used the next number for a segment. The next start took in the one that comes
/// first in the list of objects, which is the older writer's, and the successor's file read as the other's content.
#[test]
fn of_two_segments_with_one_number_the_successors_is_taken_in() {
    for is_late in [false, true] {
        let world = World::new();
        let replaced = world.open();
        let successor = world.open();
        let put_older = |pool: &Pool| {
            file(pool, "late", &[b'r'; 100_000]);
            assert_eq!(kind(block_on(pool.sync())), None, "nothing has told it yet");
        };
        if !is_late {
            put_older(&replaced);
        }
        file(&successor, "kept", &[b's'; 100_000]);
        block_on(successor.sync()).unwrap();
        if is_late {
            put_older(&replaced);
        }
        drop((replaced, successor));
        let numbers: Vec<_> =
            world.object_names("segments/").iter().map(|name| name[..19].to_owned()).collect();
        assert_eq!(numbers, ["segments/0000000001", "segments/0000000001"]);

        for _ in 0..2 {
            let pool = world.open();
            assert_eq!(names(&pool), ["kept"]);
            assert!(read(&pool, at(&pool, "kept")) == [b's'; 100_000], "late: {is_late}");
            assert_eq!(block_on(pool.check()).unwrap().findings, []);
            block_on(pool.checkpoint()).unwrap();
        }
    }
}

/// A replaced writer whose log file its successor had deleted said that a file was not found, which nobody could act upon.
#[test]
fn a_replaced_writer_whose_log_is_gone_learns_that_it_was_replaced() {
    let world = World::new();
    let replaced = world.open();
    file(&replaced, "common", b"synced by the first");
    block_on(replaced.sync()).unwrap();
    let own = *world.log.list().unwrap().last().unwrap();
    let successor = world.open();
    for n in 0..3 {
        file(&successor, &format!("f{n}"), b"x");
        block_on(successor.checkpoint()).unwrap();
    }
    assert!(!world.log.list().unwrap().contains(&own), "the successor has deleted the log file");

    file(&replaced, "late", b"x");
    assert_eq!(kind(block_on(replaced.sync())), Some(ErrorKind::Fenced));
    let told = block_on(replaced.status()).stopped.unwrap();
    assert!(told.contains("another writer has taken over"), "{told}");
    // It does not recover from that, and the successor does not notice.
    assert_eq!(kind(block_on(replaced.sync())), Some(ErrorKind::Fenced));
    file(&successor, "f3", b"x");
    block_on(successor.sync()).unwrap();
    assert_eq!(names(&successor), ["common", "f0", "f1", "f2", "f3"]);
}

/// A replaced writer found the number of its next manifest free, since its successor had gone on from there and deleted it. When the
/// list that tells so could not be had, it took its own manifest for the newest, and would have deleted what its successor needs.
#[test]
fn a_writer_that_cannot_see_whether_it_was_replaced_does_not_go_on() {
    let world = World::new();
    let replaced = world.open();
    file(&replaced, "common", b"synced by the first");
    block_on(replaced.checkpoint()).unwrap();
    let successor = world.open();
    for n in 0..3 {
        file(&successor, &format!("f{n}"), b"x");
        block_on(successor.checkpoint()).unwrap();
    }
    world.objects.fail_nth(Call::List, 1, Fault::Refused(ErrorKind::Store));
    assert_eq!(kind(block_on(replaced.checkpoint())), Some(ErrorKind::Store));
    assert_eq!(kind(block_on(replaced.checkpoint())), Some(ErrorKind::Fenced));
    drop((replaced, successor));
    let pool = world.open();
    assert_eq!(names(&pool), ["common", "f0", "f1", "f2"]);
    assert_eq!(block_on(pool.check()).unwrap().findings, []);
}

/// A log file that is taken is no log file of one's own: what a replaced writer appended there would stand where its successor has
/// written, and it could, for as long as no manifest of its own told it.
#[test]
fn a_replaced_writer_does_not_go_on_in_the_log_file_of_its_successor() {
    let (world, replaced, successor) = taken_over();

    file(&replaced, "late", b"x");
    world.objects.fail_nth(Call::Put, 1, Fault::Refused(ErrorKind::Store));
    assert_eq!(kind(block_on(replaced.checkpoint())), Some(ErrorKind::Fenced));
    assert_eq!(kind(block_on(replaced.sync())), Some(ErrorKind::Fenced));
    // It has put nothing: the failure was still to come.
    assert_eq!(kind(block_on(successor.checkpoint())), Some(ErrorKind::Store));
    drop((replaced, successor));
    let pool = world.open();
    assert_eq!(names(&pool), ["common", "kept"]);
    assert_eq!(read(&pool, at(&pool, "kept")), b"synced by the successor");
}
