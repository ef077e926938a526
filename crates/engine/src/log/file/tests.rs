//! The log files of a local directory: appends, remains, full disks.

use std::os::unix::fs::MetadataExt;

use super::*;
use crate::object::disk::tests::TinyMedium;

const MIB: u64 = 1 << 20;

fn bytes(byte: u8, length: usize) -> [Bytes; 2] {
    [Bytes::from(vec![byte; length / 3]), Bytes::from(vec![byte; length - length / 3])]
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn allocated_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn appends_are_read_after_reopening() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("a/log");
    let log = FileLog::open(directory.clone(), 16 * MIB).unwrap();
    assert_eq!(log.list().unwrap(), []);
    log.create(0x1f).unwrap();
    log.create(2).unwrap();
    log.append(2, 0, &bytes(1, 1000)).unwrap();
    log.append(2, 1000, &bytes(2, 5000)).unwrap();
    log.sync(2).unwrap();
    assert_eq!(names(&directory), ["log-0000000000000002", "log-000000000000001f"]);

    let log = FileLog::open(directory, 16 * MIB).unwrap();
    assert_eq!(log.list().unwrap(), [2, 0x1f]);
    let read = log.read(2).unwrap();
    assert_eq!(&read[..1000], &[1; 1000]);
    assert_eq!(&read[1000..6000], &[2; 5000]);
    assert!(read[6000..].iter().all(|b| *b == 0));
    // The reopened log goes on where it was.
    log.append(2, 6000, &bytes(3, 10)).unwrap();
    log.sync(2).unwrap();
    assert_eq!(&log.read(2).unwrap()[5999..6011], [&[2][..], &[3; 10], &[0]].concat());
}

#[test]
fn a_kept_copy_stays_whatever_becomes_of_the_file() {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().to_owned();
    let log = FileLog::open(directory.clone(), 0).unwrap();
    log.create(3).unwrap();
    log.append(3, 0, &bytes(7, 3000)).unwrap();
    log.sync(3).unwrap();
    // A copy that was broken off is made again.
    std::fs::write(directory.join("kept-0000000000000003-unfinished"), b"half").unwrap();
    log.keep_copy(3).unwrap();
    log.append(3, 0, &bytes(8, 3000)).unwrap();
    log.keep_copy(3).unwrap();
    log.delete(3).unwrap();
    log.create(4).unwrap();
    let log = FileLog::open(directory.clone(), 0).unwrap();
    assert_eq!(log.list().unwrap(), [4]);
    let kept = std::fs::read(directory.join("kept-0000000000000003")).unwrap();
    assert_eq!(&kept[..3000], &[7; 3000]);
    assert_eq!(log.keep_copy(9).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn blocks_are_there_before_they_are_needed() {
    let place = tempfile::tempdir().unwrap();
    let log = FileLog::open(place.path().to_owned(), 64 * MIB).unwrap();
    log.create(1).unwrap();
    let path = log.path(1);
    assert!(allocated_bytes(&path) >= STEP_BYTES);
    let mut position = 0;
    while position < 3 * STEP_BYTES {
        log.append(1, position, &bytes(1, 100_000)).unwrap();
        position += 100_000;
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(metadata.len() >= position && metadata.len() <= position + 2 * STEP_BYTES);
        assert_eq!(metadata.len() % STEP_BYTES, 0);
    }
    log.sync(1).unwrap();
    assert!(allocated_bytes(&path) >= position);
    assert_eq!(&log.read(1).unwrap()[..position as usize], vec![1; position as usize]);
}

#[test]
fn a_small_or_no_preallocation_is_kept_small() {
    let place = tempfile::tempdir().unwrap();
    for (number, preallocate) in [(1, 0), (2, 8192)] {
        let log = FileLog::open(place.path().to_owned(), preallocate).unwrap();
        log.create(number).unwrap();
        assert_eq!(std::fs::metadata(log.path(number)).unwrap().len(), preallocate);
        for n in 0..50 {
            log.append(number, n * 1000, &bytes(n as u8, 1000)).unwrap();
        }
        let read = log.read(number).unwrap();
        for n in 0..50 {
            assert_eq!(&read[n * 1000..][..1000], &[n as u8; 1000]);
        }
        assert!(read.len() < 50_000 + 2 * 8192);
    }
}

#[test]
fn a_deleted_file_is_used_again_with_its_blocks() {
    let place = tempfile::tempdir().unwrap();
    let log = FileLog::open(place.path().to_owned(), 16 * MIB).unwrap();
    log.create(1).unwrap();
    log.append(1, 0, &bytes(1, 100_000)).unwrap();
    log.sync(1).unwrap();
    let ino = std::fs::metadata(log.path(1)).unwrap().ino();
    log.delete(1).unwrap();
    log.delete(1).unwrap();
    assert_eq!(log.list().unwrap(), []);
    assert_eq!(log.read(1).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(names(place.path()), ["spare-1"]);

    log.create(2).unwrap();
    assert_eq!(std::fs::metadata(log.path(2)).unwrap().ino(), ino);
    log.append(2, 0, &bytes(2, 5000)).unwrap();
    let read = log.read(2).unwrap();
    assert_eq!(&read[..5000], &[2; 5000]);
    // Filled up to a whole page, then old content.
    assert_eq!(&read[5000..8192], &[0; 3192]);
    assert_eq!(&read[8192..100_000], vec![1; 100_000 - 8192]);
    assert_eq!(names(place.path()), ["log-0000000000000002"]);
}

#[test]
fn spares_are_few_and_never_large() {
    let place = tempfile::tempdir().unwrap();
    let log = FileLog::open(place.path().to_owned(), 4096).unwrap();
    for number in 0..5 {
        log.create(number).unwrap();
    }
    log.append(4, 0, &bytes(1, 2 * STEP_BYTES as usize + 1)).unwrap();
    log.delete(4).unwrap();
    assert_eq!(names(place.path()).len(), 4);
    for number in 0..4 {
        log.delete(number).unwrap();
    }
    assert_eq!(names(place.path()), ["spare-5", "spare-6"]);
    // A spare that somebody removed is not missed; foreign files are left alone.
    std::fs::remove_file(place.path().join("spare-6")).unwrap();
    std::fs::write(place.path().join("log-notes"), b"").unwrap();
    log.create(7).unwrap();
    assert_eq!(log.list().unwrap(), [7]);
    assert_eq!(names(place.path()), ["log-0000000000000007", "log-notes"]);
}

#[test]
fn spares_survive_reopening_up_to_their_number() {
    let place = tempfile::tempdir().unwrap();
    for number in [3, 10, 11, 9] {
        std::fs::write(place.path().join(format!("spare-{number}")), b"short, as after a crash").unwrap();
    }
    let log = FileLog::open(place.path().to_owned(), MIB).unwrap();
    assert_eq!(names(place.path()), ["spare-3", "spare-9"]);
    log.create(1).unwrap();
    log.append(1, 0, &bytes(1, 5000)).unwrap();
    log.sync(1).unwrap();
    assert_eq!(&log.read(1).unwrap()[..5000], &[1; 5000]);
    log.create(2).unwrap();
    log.create(3).unwrap();
    assert_eq!(log.list().unwrap(), [1, 2, 3]);
    assert_eq!(names(place.path()).len(), 3);
}

#[test]
fn a_taken_number_is_refused_and_the_file_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let log = FileLog::open(place.path().to_owned(), 8192).unwrap();
    log.create(1).unwrap();
    log.append(1, 0, &bytes(1, 10)).unwrap();
    assert_eq!(log.create(1).unwrap_err().kind(), ErrorKind::Exists);
    assert_eq!(&log.read(1).unwrap()[..10], &[1; 10]);
    assert_eq!(names(place.path()), ["log-0000000000000001"]);
    log.append(1, 10, &bytes(2, 10)).unwrap();
    assert_eq!(&log.read(1).unwrap()[..20], [[1; 10], [2; 10]].concat());
}

#[test]
fn a_missing_file_is_not_found() {
    let place = tempfile::tempdir().unwrap();
    let log = FileLog::open(place.path().to_owned(), 8192).unwrap();
    for result in [log.append(1, 0, &[]), log.sync(1), log.read(1).map(|_| ())] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn after_a_failed_sync_nothing_more_is_promised() {
    let place = tempfile::tempdir().unwrap();
    let log = FileLog::open(place.path().to_owned(), 8192).unwrap();
    log.create(1).unwrap();
    // The null device takes writes and has nothing to sync: fdatasync fails with EINVAL.
    let device = File::options().read(true).write(true).open("/dev/null").unwrap();
    log.state.lock().open.insert(1, Arc::new(LogFile::found(device).unwrap()));
    log.append(1, 0, &bytes(1, 10)).unwrap();
    assert_eq!(log.sync(1).unwrap_err().kind(), ErrorKind::Store);
    for result in [log.sync(1), log.append(1, 10, &bytes(1, 10))] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert!(error.message().contains("failed to sync before"), "{error}");
    }
    // Other files are not concerned.
    log.create(2).unwrap();
    log.append(2, 0, &bytes(1, 10)).unwrap();
    log.sync(2).unwrap();
}

#[test]
fn a_full_disk_is_told_and_prepared_blocks_still_take_appends() {
    for medium in [TinyMedium::tmpfs(), TinyMedium::ext4()].into_iter().flatten() {
        let directory = medium.path().join("log");
        let log = FileLog::open(directory.clone(), 256 << 10).unwrap();
        log.create(1).unwrap();
        let filler = medium.path().join("filler");
        let full = std::iter::repeat_with(|| append_to(&filler)).find(Result::is_err).unwrap().unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);

        // There is room in the file that is prepared, and no room for another or for more.
        log.append(1, 0, &bytes(1, 256 << 10)).unwrap();
        log.sync(1).unwrap();
        assert_eq!(log.append(1, 256 << 10, &bytes(2, 4096)).unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(log.create(2).unwrap_err().kind(), ErrorKind::NoSpace, "{}", medium.kind);
        assert_eq!(names(&directory), ["log-0000000000000001"], "{}", medium.kind);

        std::fs::remove_file(&filler).unwrap();
        log.append(1, 256 << 10, &bytes(2, 4096)).unwrap();
        log.sync(1).unwrap();
        log.create(2).unwrap();
        assert_eq!(log.list().unwrap(), [1, 2]);
        assert_eq!(&log.read(1).unwrap()[(256 << 10) - 1..][..3], [1, 2, 2]);
    }
}

fn append_to(path: &Path) -> io::Result<()> {
    let file = File::options().append(true).create(true).open(path)?;
    io::Write::write_all(&mut &file, &[1; 4096])?;
    file.sync_all()
}

/// The last bytes of a disk may go to an append although the zeros behind it find no room.
#[test]
fn an_append_succeeds_if_only_the_zeros_behind_it_do_not_fit() {
    let Some(medium) = TinyMedium::tmpfs() else { return };
    let log = FileLog::open(medium.path().join("log"), 640 << 10).unwrap();
    log.create(1).unwrap();
    log.append(1, 0, &bytes(1, 640 << 10)).unwrap();
    log.append(1, 640 << 10, &bytes(2, 100)).unwrap();
    log.sync(1).unwrap();
    assert_eq!(&log.read(1).unwrap()[640 << 10..][..101], [vec![2; 100], vec![0]].concat());
}
