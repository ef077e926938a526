//! Times: `utimensat`, and which operation moves which time.

use libc::{AT_SYMLINK_NOFOLLOW, EACCES, EINVAL, ENOENT, EPERM, O_RDONLY, O_TRUNC, O_WRONLY};

use crate::expect::{Failure, equal, holds, refused};
use crate::place::{ALICE, BOB, as_user, create, open_ro, open_rw, tick};
use crate::sys::{self, Directory, NOW, OMIT, Stat, open, stat, utimens};

/// Which of (atime, mtime, ctime) moved.
fn moved(before: &Stat, after: &Stat) -> (bool, bool, bool) {
    (after.atime() != before.atime(), after.mtime() != before.mtime(), after.ctime() != before.ctime())
}

/// Which times of `path` move when `work` is done.
fn moved_by(
    path: &std::path::Path,
    work: impl FnOnce() -> Result<(), Failure>,
) -> Result<(bool, bool, bool), Failure> {
    let before = sys::lstat(path)?;
    tick();
    work()?;
    Ok(moved(&before, &sys::lstat(path)?))
}

checks! { "time";
    /// times are kept to the nanosecond
    fn nanoseconds(t) {
        let path = t.file("f", b"")?;
        utimens(&path, (1_000_000_000, 123_456_789), (1_500_000_000, 999_999_999), 0)?;
        let stat = stat(&path)?;
        equal(stat.atime(), (1_000_000_000, 123_456_789))?;
        equal(stat.mtime(), (1_500_000_000, 999_999_999))?;
    }

    /// times before 1970 and after 2038 are kept
    fn far_away(t) {
        let path = t.file("f", b"")?;
        for seconds in [-2_000_000_000, -1, 0, 0x7fff_ffff, 0x8000_0000, 4_294_967_296, 9_000_000_000] {
            utimens(&path, (seconds, 1), (seconds, 2), 0)?;
            let stat = stat(&path)?;
            equal((stat.atime(), stat.mtime()), ((seconds, 1), (seconds, 2)))?;
        }
    }

    /// they stay after the file is closed, synced and dropped from the cache
    fn survive_a_sync(t) {
        let path = t.file("f", b"text")?;
        let file = open_rw(&path)?;
        file.utimens((11, 12), (13, 14))?;
        file.fsync()?;
        file.drop_cache()?;
        drop(file);
        equal(stat(&path)?.mtime(), (13, 14))?;
    }

    /// times that are set stay when written data reaches the disk later
    fn writeback_keeps_times_that_were_set(t) {
        let path = t.at("f");
        let file = create(&path, 0o644)?;
        file.write(&[1; 100_000])?;
        utimens(&path, (11, 12), (13, 14), 0)?;
        file.fsync()?;
        equal(stat(&path)?.mtime(), (13, 14))?;
        drop(file);
        equal(stat(&path)?.mtime(), (13, 14))?;
    }

    /// UTIME_OMIT keeps one time, and both together move nothing
    fn omit(t) {
        let path = t.file("f", b"")?;
        utimens(&path, (11, 0), (12, 0), 0)?;
        utimens(&path, (21, 0), OMIT, 0)?;
        equal((stat(&path)?.atime(), stat(&path)?.mtime()), ((21, 0), (12, 0)))?;
        utimens(&path, OMIT, (22, 0), 0)?;
        equal((stat(&path)?.atime(), stat(&path)?.mtime()), ((21, 0), (22, 0)))?;
        equal(moved_by(&path, || Ok(utimens(&path, OMIT, OMIT, 0)?))?, (false, false, false))?;
    }

    /// UTIME_NOW sets the clock's time
    fn now(t) {
        let path = t.file("f", b"")?;
        let made = stat(&path)?.mtime();
        utimens(&path, (11, 0), (12, 0), 0)?;
        utimens(&path, NOW, OMIT, 0)?;
        let after = stat(&path)?;
        holds(after.atime() >= made && after.atime().0 < made.0 + 100, "the access time is now")?;
        equal(after.mtime(), (12, 0))?;
        sys::utimens_null(&path)?;
        let after = stat(&path)?;
        holds(after.mtime() >= made && after.mtime().0 < made.0 + 100, "the modification time is now")?;
    }

    /// nanoseconds of a second and more are EINVAL
    fn too_many_nanoseconds(t) {
        let path = t.file("f", b"")?;
        refused(utimens(&path, (1, 1_000_000_000), (1, 0), 0), EINVAL)?;
        refused(utimens(&path, (1, 0), (1, -5), 0), EINVAL)?;
        refused(utimens(t.at("x"), (1, 0), (1, 0), 0), ENOENT)?;
    }

    /// a symbolic link has times of its own
    fn of_a_symlink(t) {
        t.file("f", b"")?;
        sys::symlink("f", t.at("l"))?;
        utimens(t.at("l"), (1, 2), (3, 4), 0)?;
        equal(stat(t.at("f"))?.mtime(), (3, 4))?;
        utimens(t.at("l"), (5, 6), (7, 8), AT_SYMLINK_NOFOLLOW)?;
        equal(stat(t.at("f"))?.mtime(), (3, 4))?;
        equal(sys::lstat(t.at("l"))?.mtime(), (7, 8))?;
    }

    /// only the owner sets times freely: EPERM, also for who may write
    fn setting_is_for_the_owner(t) {
        let path = t.file_of(ALICE, "f", 0o666)?;
        refused(as_user(BOB, || utimens(&path, (1, 0), (2, 0), 0))?, EPERM)?;
        refused(as_user(BOB, || utimens(&path, NOW, OMIT, 0))?, EPERM)?;
        as_user(ALICE, || utimens(&path, (1, 0), (2, 0), 0))??;
    }

    /// who may write may set both times to now; who may not gets EACCES
    fn touching_needs_write(t) {
        let path = t.file_of(ALICE, "f", 0o666)?;
        as_user(BOB, || sys::utimens_null(&path))??;
        as_user(BOB, || utimens(&path, NOW, NOW, 0))??;
        sys::chmod(&path, 0o644)?;
        refused(as_user(BOB, || sys::utimens_null(&path))?, EACCES)?;
    }

    /// the owner may touch a file that is read-only for them
    fn owner_touches_a_read_only_file(t) {
        let path = t.file_of(ALICE, "f", 0o444)?;
        as_user(ALICE, || sys::utimens_null(&path))??;
    }

    /// setting times moves the change time
    fn setting_moves_the_change_time(t) {
        let path = t.file("f", b"")?;
        equal(moved_by(&path, || Ok(utimens(&path, (1, 0), (2, 0), 0)?))?, (true, true, true))?;
    }

    /// a new file has three equal times close to the clock's
    fn of_a_new_file(t) {
        let stat = stat(t.file("f", b"")?)?;
        equal(stat.atime(), stat.mtime())?;
        equal(stat.mtime(), stat.ctime())?;
        let clock =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
        holds(
            (clock.cast_signed() - stat.mtime().0).abs() < 60,
            "the file's clock is within a minute of this machine's",
        )?;
    }

    /// write moves modification and change time
    fn write_moves(t) {
        let path = t.file("f", b"text")?;
        let file = open_rw(&path)?;
        equal(
            moved_by(&path, || {
                file.write(b"x")?;
                Ok(())
            })?,
            (false, true, true),
        )?;
    }

    /// a write of no bytes moves nothing
    fn empty_write_moves_nothing(t) {
        let path = t.file("f", b"text")?;
        let file = open_rw(&path)?;
        equal(
            moved_by(&path, || {
                file.write(b"")?;
                Ok(())
            })?,
            (false, false, false),
        )?;
    }

    /// times that a write moved are the same before and after fsync and close
    fn write_time_is_stable(t) {
        let path = t.file("f", b"text")?;
        let file = open_rw(&path)?;
        file.write(b"x")?;
        let written = stat(&path)?;
        tick();
        file.fsync()?;
        equal(moved(&written, &stat(&path)?), (false, false, false))?;
        drop(file);
        equal(moved(&written, &stat(&path)?), (false, false, false))?;
    }

    /// a truncation that changes the size moves modification and change time, both calls do so even without a change
    fn truncate_moves(t) {
        let path = t.file("f", b"text")?;
        equal(moved_by(&path, || Ok(sys::truncate(&path, 2)?))?, (false, true, true))?;
        equal(moved_by(&path, || Ok(sys::truncate(&path, 9)?))?, (false, true, true))?;
        let file = open_rw(&path)?;
        equal(moved_by(&path, || Ok(file.truncate(9)?))?, (false, true, true))?;
    }

    /// O_TRUNC moves modification and change time
    fn open_with_truncation_moves(t) {
        let path = t.file("f", b"text")?;
        let moves = moved_by(&path, || {
            open(&path, O_WRONLY | O_TRUNC, 0)?;
            Ok(())
        })?;
        equal(moves, (false, true, true))?;
    }

    /// opening and asking move nothing
    fn looking_moves_nothing(t) {
        let path = t.file("f", b"text")?;
        let moves = moved_by(&path, || {
            let file = open(&path, O_RDONLY, 0)?;
            file.stat()?;
            sys::access(&path, libc::R_OK)?;
            refused(sys::getxattr(&path, "user.none"), libc::ENODATA)
        })?;
        equal(moves, (false, false, false))?;
    }

    /// calls that fail move nothing
    fn failures_move_nothing(t) {
        let d = t.dir("d", 0o755)?;
        t.file("d/f", b"")?;
        let moves = moved_by(&d, || {
            refused(sys::unlink(d.join("x")), ENOENT)?;
            refused(sys::mkdir(d.join("f"), 0o755), libc::EEXIST)?;
            refused(as_user(ALICE, || create(d.join("y"), 0o644))?, EACCES)?;
            refused(as_user(ALICE, || sys::chmod(&d, 0o777))?, EPERM)
        })?;
        equal(moves, (false, false, false))?;
    }

    /// creating a name moves the directory's modification and change time
    fn creation_moves_the_directory(t) {
        let d = t.dir("d", 0o755)?;
        let both = (false, true, true);
        equal(
            moved_by(&d, || {
                create(d.join("f"), 0o644)?;
                Ok(())
            })?,
            both,
        )?;
        equal(moved_by(&d, || Ok(sys::symlink("x", d.join("l"))?))?, both)?;
        equal(moved_by(&d, || Ok(sys::mkfifo(d.join("p"), 0o600)?))?, both)?;
        equal(moved_by(&d, || Ok(sys::link(d.join("f"), d.join("g"))?))?, both)?;
    }

    /// writing to a file moves nothing of its directory
    fn writing_leaves_the_directory(t) {
        let path = t.file("f", b"text")?;
        let moves = moved_by(t.root(), || {
            open_rw(&path)?.write(b"x")?;
            Ok(sys::chmod(&path, 0o600)?)
        })?;
        equal(moves, (false, false, false))?;
    }

    /// setting and removing an extended attribute move the change time only
    fn xattr_moves_the_change_time(t) {
        let path = t.file("f", b"text")?;
        equal(moved_by(&path, || Ok(sys::setxattr(&path, "user.k", b"v", 0)?))?, (false, false, true))?;
        equal(moved_by(&path, || Ok(sys::removexattr(&path, "user.k")?))?, (false, false, true))?;
    }

    /// relatime: a read moves an access time that is not after the modification time, or the mount has none
    fn relatime_after_a_change(t) {
        let path = t.file("f", b"text")?;
        let now = stat(&path)?.mtime();
        utimens(&path, (now.0 - 100, 0), (now.0 - 50, 0), 0)?;
        open_ro(&path)?.read(4)?;
        let after = stat(&path)?.atime();
        if sys::statvfs(&path)?.f_flag & libc::ST_NOATIME != 0 {
            equal(after, (now.0 - 100, 0))?;
        } else {
            holds(after >= now, "the access time is now")?;
        }
    }

    /// relatime: a read moves an access time that is a day old, or the mount has none
    fn relatime_after_a_day(t) {
        let path = t.file("f", b"text")?;
        let now = stat(&path)?.mtime();
        let old = (now.0 - 90_000, 0);
        utimens(&path, old, (now.0 - 100_000, 0), 0)?;
        open_ro(&path)?.read(4)?;
        let after = stat(&path)?.atime();
        if sys::statvfs(&path)?.f_flag & libc::ST_NOATIME != 0 {
            equal(after, old)?;
        } else {
            holds(after >= now, "the access time is now")?;
        }
    }

    /// relatime: a fresh access time after the modification time stays
    fn relatime_keeps_a_fresh_time(t) {
        let path = t.file("f", b"text")?;
        let flags = sys::statvfs(&path)?.f_flag;
        if flags & (libc::ST_RELATIME | libc::ST_NOATIME) == 0 {
            return crate::expect::skip("the mount keeps strict access times");
        }
        let now = stat(&path)?.mtime();
        let fresh = (now.0 - 10, 5);
        utimens(&path, fresh, (now.0 - 50, 0), 0)?;
        // The change time counts as well, and it is now: the first read moves the access time past it.
        tick();
        open_ro(&path)?.read(4)?;
        let first = stat(&path)?.atime();
        tick();
        open_ro(&path)?.read(4)?;
        equal(stat(&path)?.atime(), first)?;
    }

    /// O_NOATIME reads move nothing
    fn noatime_flag(t) {
        let path = t.file("f", b"text")?;
        utimens(&path, (11, 0), (12, 0), 0)?;
        open(&path, O_RDONLY | libc::O_NOATIME, 0)?.read(4)?;
        equal(stat(&path)?.atime(), (11, 0))?;
    }

    /// listing a directory moves nothing but its access time
    fn listing(t) {
        let d = t.dir("d", 0o755)?;
        t.file("d/f", b"")?;
        let (_, modified, changed) = moved_by(&d, || {
            Directory::open(&d)?.rest()?;
            Ok(())
        })?;
        equal((modified, changed), (false, false))?;
    }
}
