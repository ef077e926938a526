//! `flock`, record locks of processes and record locks of open files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libc::{
    EACCES, EAGAIN, EBADF, EINTR, EINVAL, F_GETLK, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_RDLCK, F_SETLK,
    F_SETLKW, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, O_WRONLY,
};

use crate::expect::{Failure, Outcome, equal, fail, holds, refused, refused_with};
use crate::place::{open_ro, open_rw};
use crate::process::{Ended, code, in_child, interrupt_after, start};
use crate::sys::{self, File, open};

const BUSY: &[i32] = &[EAGAIN, EACCES];

/// What a child gets that asks for a record lock of its own: 0 or an error number.
fn asked_by_child(path: &std::path::Path, kind: i32, from: i64, length: i64) -> sys::Result<Ended> {
    in_child(|| code(open_rw(path).and_then(|file| file.record_lock(F_SETLK, kind, from, length))))
}

/// Expects `wait` to wait until `release` was called.
fn waits_for(
    wait: impl FnOnce() -> sys::Result<()> + Send,
    release: impl FnOnce() -> sys::Result<()>,
) -> Outcome {
    let got = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let result = wait();
            got.store(true, Ordering::SeqCst);
            result
        });
        std::thread::sleep(Duration::from_millis(50));
        let early = got.load(Ordering::SeqCst);
        release()?;
        let waited = waiter.join().map_err(|_| Failure::Failed("a thread panicked".to_owned()))?;
        holds(!early, "the second waits for the first")?;
        waited.map_err(Failure::from)
    })
}

fn set(file: &File, kind: i32, from: i64, length: i64) -> sys::Result<()> {
    file.record_lock(F_OFD_SETLK, kind, from, length).map(drop)
}

checks! { "lock";
    /// flock: an exclusive lock keeps all others out: EAGAIN
    fn flock_exclusive(t) {
        let path = t.file("f", b"")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        first.flock(LOCK_EX)?;
        refused(second.flock(LOCK_EX | LOCK_NB), EAGAIN)?;
        refused(second.flock(LOCK_SH | LOCK_NB), EAGAIN)?;
        first.flock(LOCK_UN)?;
        second.flock(LOCK_EX | LOCK_NB)?;
    }

    /// flock: shared locks live together and keep an exclusive one out
    fn flock_shared(t) {
        let path = t.file("f", b"")?;
        let (first, second, third) = (open_ro(&path)?, open_ro(&path)?, open_ro(&path)?);
        first.flock(LOCK_SH)?;
        second.flock(LOCK_SH | LOCK_NB)?;
        refused(third.flock(LOCK_EX | LOCK_NB), EAGAIN)?;
        first.flock(LOCK_UN)?;
        refused(third.flock(LOCK_EX | LOCK_NB), EAGAIN)?;
        second.flock(LOCK_UN)?;
        third.flock(LOCK_EX | LOCK_NB)?;
    }

    /// flock: a lock can be changed from exclusive to shared and back
    fn flock_conversion(t) {
        let path = t.file("f", b"")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        first.flock(LOCK_EX)?;
        first.flock(LOCK_SH | LOCK_NB)?;
        second.flock(LOCK_SH | LOCK_NB)?;
        refused(first.flock(LOCK_EX | LOCK_NB), EAGAIN)?;
        second.flock(LOCK_UN)?;
        first.flock(LOCK_EX | LOCK_NB)?;
    }

    /// flock: a duplicate holds the same lock, which goes with the last close
    fn flock_of_duplicates(t) {
        let path = t.file("f", b"")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        let duplicate = first.duplicate()?;
        first.flock(LOCK_EX)?;
        duplicate.flock(LOCK_EX | LOCK_NB)?;
        drop(first);
        refused(second.flock(LOCK_EX | LOCK_NB), EAGAIN)?;
        drop(duplicate);
        second.flock(LOCK_EX | LOCK_NB)?;
    }

    /// flock: who does not say LOCK_NB waits
    fn flock_waits(t) {
        let path = t.file("f", b"")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        first.flock(LOCK_EX)?;
        waits_for(|| second.flock(LOCK_EX), || first.flock(LOCK_UN))?;
    }

    /// flock: directories can be locked, too
    fn flock_of_directories(t) {
        let d = t.dir("d", 0o755)?;
        let (first, second) = (open_ro(&d)?, open_ro(&d)?);
        first.flock(LOCK_EX)?;
        refused(second.flock(LOCK_EX | LOCK_NB), EAGAIN)?;
    }

    /// flock: other names of the file lead to the same lock, other files do not
    fn flock_follows_the_inode(t) {
        let path = t.file("f", b"")?;
        sys::link(&path, t.at("g"))?;
        t.file("h", b"")?;
        let first = open_rw(&path)?;
        first.flock(LOCK_EX)?;
        refused(open_rw(t.at("g"))?.flock(LOCK_EX | LOCK_NB), EAGAIN)?;
        open_rw(t.at("h"))?.flock(LOCK_EX | LOCK_NB)?;
        sys::rename(&path, t.at("moved"))?;
        refused(open_rw(t.at("moved"))?.flock(LOCK_EX | LOCK_NB), EAGAIN)?;
    }

    /// flock: a lock ends with the process that holds it
    fn flock_ends_with_its_process(t) {
        let path = t.file("f", b"")?;
        let ended = in_child(|| {
            let Ok(file) = open_rw(&path) else { return 1 };
            let result = code(file.flock(LOCK_EX | LOCK_NB));
            // The process ends with the file open.
            std::mem::forget(file);
            result
        })?;
        equal(ended, Ended::Exited(0))?;
        open_rw(&path)?.flock(LOCK_EX | LOCK_NB)?;
    }

    /// flock: nonsense is EINVAL
    fn flock_nonsense(t) {
        refused(open_rw(t.file("f", b"")?)?.flock(0), EINVAL)?;
    }

    /// flock: a wait ends with EINTR when a signal comes
    fn flock_wait_is_interrupted(t) {
        let path = t.file("f", b"")?;
        let first = open_rw(&path)?;
        first.flock(LOCK_EX)?;
        let ended = in_child(|| {
            interrupt_after(50);
            code(open_rw(&path).and_then(|file| file.flock(LOCK_EX)))
        })?;
        equal(ended, Ended::Exited(EINTR))?;
    }

    /// open files: ranges that overlap exclude each other: EAGAIN; others do not
    fn ranges(t) {
        let path = t.file("f", b"")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        set(&first, F_WRLCK, 100, 100)?;
        for (from, length) in [(100, 100), (199, 1), (0, 101), (150, 0), (0, 0)] {
            refused_with(set(&second, F_WRLCK, from, length), BUSY)?;
        }
        for (from, length) in [(0, 100), (200, 1), (200, 0)] {
            set(&second, F_WRLCK, from, length)?;
        }
    }

    /// open files: read locks live together and keep write locks out
    fn read_locks(t) {
        let path = t.file("f", b"")?;
        let (first, second, third) = (open_ro(&path)?, open_rw(&path)?, open_rw(&path)?);
        set(&first, F_RDLCK, 0, 10)?;
        set(&second, F_RDLCK, 5, 10)?;
        refused_with(set(&third, F_WRLCK, 12, 1), BUSY)?;
        refused_with(set(&second, F_WRLCK, 5, 10), BUSY)?;
        set(&first, F_UNLCK, 0, 10)?;
        set(&second, F_WRLCK, 5, 10)?;
    }

    /// open files: a lock can be split by giving its middle back
    fn splitting(t) {
        let path = t.file("f", b"")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        set(&first, F_WRLCK, 0, 300)?;
        set(&first, F_UNLCK, 100, 100)?;
        set(&second, F_WRLCK, 100, 100)?;
        refused_with(set(&second, F_WRLCK, 99, 1), BUSY)?;
        refused_with(set(&second, F_WRLCK, 200, 1), BUSY)?;
    }

    /// open files: a part can change from write to read
    fn converting_a_part(t) {
        let path = t.file("f", b"")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        set(&first, F_WRLCK, 0, 300)?;
        set(&first, F_RDLCK, 100, 100)?;
        set(&second, F_RDLCK, 100, 100)?;
        refused_with(set(&second, F_RDLCK, 99, 2), BUSY)?;
        refused_with(set(&second, F_RDLCK, 199, 2), BUSY)?;
    }

    /// open files: a length of 0 reaches to the end, however far that moves
    fn to_the_end(t) {
        let path = t.file("f", b"text")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        set(&first, F_WRLCK, 1_000, 0)?;
        first.truncate(100_000)?;
        refused_with(set(&second, F_WRLCK, 1 << 40, 1), BUSY)?;
        set(&second, F_WRLCK, 0, 1_000)?;
    }

    /// open files: a negative length counts backwards, what lies before the start is EINVAL
    fn negative_length(t) {
        let path = t.file("f", b"")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        set(&first, F_WRLCK, 100, -50)?;
        set(&second, F_WRLCK, 100, 1)?;
        refused_with(set(&second, F_WRLCK, 50, 1), BUSY)?;
        refused(set(&first, F_WRLCK, 10, -50), EINVAL)?;
    }

    /// open files: write locks need a descriptor for writing, read locks one for reading: EBADF
    fn needs_access(t) {
        let path = t.file("f", b"")?;
        refused(set(&open_ro(&path)?, F_WRLCK, 0, 1), EBADF)?;
        refused(set(&open(&path, O_WRONLY, 0)?, F_RDLCK, 0, 1), EBADF)?;
    }

    /// open files: asking names the lock in the way, or none
    fn asking(t) {
        let path = t.file("f", b"")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        set(&first, F_WRLCK, 100, 50)?;
        let found = second.record_lock(F_OFD_GETLK, F_RDLCK, 0, 1_000)?;
        equal((i32::from(found.l_type), found.l_start, found.l_len, found.l_pid), (F_WRLCK, 100, 50, -1))?;
        let found = second.record_lock(F_OFD_GETLK, F_RDLCK, 0, 100)?;
        equal(i32::from(found.l_type), F_UNLCK)?;
    }

    /// open files: a lock goes with the last close of its open file only
    fn goes_with_the_last_close(t) {
        let path = t.file("f", b"")?;
        let (first, second, other) = (open_rw(&path)?, open_rw(&path)?, open_rw(&path)?);
        set(&first, F_WRLCK, 0, 0)?;
        let duplicate = first.duplicate()?;
        drop(other);
        drop(first);
        refused_with(set(&second, F_WRLCK, 0, 1), BUSY)?;
        drop(duplicate);
        set(&second, F_WRLCK, 0, 1)?;
    }

    /// open files: a request may wait until the lock is free
    fn waiting(t) {
        let path = t.file("f", b"")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        set(&first, F_WRLCK, 0, 10)?;
        waits_for(
            || second.record_lock(F_OFD_SETLKW, F_WRLCK, 5, 10).map(drop),
            || set(&first, F_UNLCK, 0, 10),
        )?;
    }

    /// processes: a lock keeps other processes out and not its own
    fn process_lock(t) {
        let path = t.file("f", b"")?;
        let file = open_rw(&path)?;
        file.record_lock(F_SETLK, F_WRLCK, 0, 100)?;
        file.record_lock(F_SETLK, F_WRLCK, 50, 100)?;
        let ended = asked_by_child(&path, F_RDLCK, 149, 1)?;
        holds(
            matches!(ended, Ended::Exited(EAGAIN | EACCES)),
            &format!("a child is refused, not {ended:?}"),
        )?;
        equal(asked_by_child(&path, F_WRLCK, 150, 1)?, Ended::Exited(0))?;
    }

    /// processes: a child does not inherit its parent's lock
    fn process_lock_is_not_inherited(t) {
        let file = open_rw(t.file("f", b"")?)?;
        file.record_lock(F_SETLK, F_WRLCK, 0, 0)?;
        let ended = in_child(|| code(file.record_lock(F_SETLK, F_WRLCK, 0, 0)))?;
        holds(
            matches!(ended, Ended::Exited(EAGAIN | EACCES)),
            &format!("the child is refused, not {ended:?}"),
        )?;
    }

    /// processes: closing any descriptor of the file gives all locks back
    fn process_lock_goes_with_any_close(t) {
        let path = t.file("f", b"")?;
        let file = open_rw(&path)?;
        file.record_lock(F_SETLK, F_WRLCK, 0, 0)?;
        drop(open_ro(&path)?);
        equal(asked_by_child(&path, F_WRLCK, 0, 0)?, Ended::Exited(0))?;
    }

    /// processes: a lock ends when its process is killed, and asking before says whose it is
    fn process_lock_ends_with_its_process(t) {
        let path = t.file("f", b"")?;
        let child = start(|| {
            let Ok(file) = open_rw(&path) else { return 1 };
            let _ = file.record_lock(F_SETLK, F_WRLCK, 10, 10);
            std::thread::sleep(Duration::from_secs(60));
            0
        })?;
        let file = open_rw(&path)?;
        let mut found = file.record_lock(F_GETLK, F_WRLCK, 0, 0)?;
        for _ in 0..200 {
            if i32::from(found.l_type) == F_WRLCK {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
            found = file.record_lock(F_GETLK, F_WRLCK, 0, 0)?;
        }
        equal(
            (i32::from(found.l_type), found.l_start, found.l_len, found.l_pid),
            (F_WRLCK, 10, 10, child.id()),
        )?;
        child.kill();
        equal(child.wait()?, Ended::Killed(libc::SIGKILL))?;
        for _ in 0..200 {
            if file.record_lock(F_SETLK, F_WRLCK, 0, 0).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        fail("the lock of a killed process is never free")?;
    }

    /// processes: a wait ends with EINTR when a signal comes
    fn process_wait_is_interrupted(t) {
        let path = t.file("f", b"")?;
        let file = open_rw(&path)?;
        file.record_lock(F_SETLK, F_WRLCK, 0, 0)?;
        let ended = in_child(|| {
            interrupt_after(50);
            code(open_rw(&path).and_then(|file| file.record_lock(F_SETLKW, F_WRLCK, 0, 0)))
        })?;
        equal(ended, Ended::Exited(EINTR))?;
    }

    /// processes: locks of processes and of open files exclude each other
    fn both_kinds_exclude_each_other(t) {
        let path = t.file("f", b"")?;
        let file = open_rw(&path)?;
        set(&file, F_WRLCK, 0, 10)?;
        let ended = asked_by_child(&path, F_WRLCK, 0, 10)?;
        holds(
            matches!(ended, Ended::Exited(EAGAIN | EACCES)),
            &format!("a child is refused, not {ended:?}"),
        )?;
    }

    /// locks keep nobody from reading, writing or unlinking
    fn locks_are_advisory(t) {
        let path = t.file("f", b"text")?;
        let file = open_rw(&path)?;
        file.flock(LOCK_EX)?;
        set(&file, F_WRLCK, 0, 0)?;
        open_rw(&path)?.write(b"TEXT")?;
        equal(open_ro(&path)?.read(4)?, b"TEXT".to_vec())?;
        sys::unlink(&path)?;
    }

    /// four threads that count in a file under a lock lose no step
    fn mutual_exclusion(t) {
        let path = t.file("f", &0u64.to_le_bytes())?;
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let path = &path;
                scope.spawn(move || -> sys::Result<()> {
                    let file = open_rw(path)?;
                    for _ in 0..100 {
                        if thread % 2 == 0 {
                            file.flock(LOCK_EX)?;
                        }
                        file.record_lock(F_OFD_SETLKW, F_WRLCK, 0, 8)?;
                        let mut count = [0; 8];
                        file.pread_into(&mut count, 0)?;
                        file.pwrite(&(u64::from_le_bytes(count) + 1).to_le_bytes(), 0)?;
                        set(&file, F_UNLCK, 0, 8)?;
                        file.flock(LOCK_UN)?;
                    }
                    Ok(())
                });
            }
        });
        equal(crate::place::read_all(&path)?, 400u64.to_le_bytes().to_vec())?;
    }
}
