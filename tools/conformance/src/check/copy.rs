//! `copy_file_range`, and sharing a whole file with `FICLONE`.

use libc::{
    EBADF, EINVAL, EISDIR, ENOSYS, ENOTTY, EOPNOTSUPP, EXDEV, O_APPEND, O_WRONLY, SEEK_CUR, SEEK_SET,
};

use crate::expect::{Failure, equal, equal_bytes, holds, or_skip, refused, refused_with};
use crate::place::{ALICE, Place, as_user, create, open_ro, open_rw, pattern, read_all, write_all};
use crate::sys::{self, File, copy_at_positions, copy_range, open, share_all, stat};

/// A full source and an empty target.
fn files(place: &Place, length: usize) -> sys::Result<(File, File)> {
    let source = create(place.at("source"), 0o644)?;
    write_all(&source, &pattern(1, length))?;
    Ok((source, create(place.at("target"), 0o644)?))
}

/// Copies all of a range, in as many calls as it takes.
fn copy_all(
    from: &File,
    mut start: i64,
    to: &File,
    mut target: i64,
    mut length: usize,
) -> Result<(), Failure> {
    while length > 0 {
        let copied = or_skip(
            copy_range(from, start, to, target, length),
            &[ENOSYS, EOPNOTSUPP],
            "no copy_file_range",
        )?;
        holds(copied > 0, "a copy before the end copies something")?;
        start += copied as i64;
        target += copied as i64;
        length -= copied;
    }
    Ok(())
}

checks! { "copy";
    /// a whole file is copied
    fn whole_file(t) {
        let (source, target) = files(t, 3_000_001)?;
        copy_all(&source, 0, &target, 0, 3_000_001)?;
        equal_bytes(&read_all(t.at("target"))?, &pattern(1, 3_000_001))?;
    }

    /// a piece is copied between any offsets
    fn piece_between_any_offsets(t) {
        let (source, target) = files(t, 200_000)?;
        let mut want = pattern(2, 200_000);
        write_all(&target, &want)?;
        let data = pattern(1, 200_000);
        for (from, to, length) in [
            (0usize, 4_096usize, 4_096usize),
            (100, 7, 50),
            (65_536, 131_072, 65_536),
            (12_345, 54_321, 33_333),
        ] {
            copy_all(&source, from as i64, &target, to as i64, length)?;
            want[to..to + length].copy_from_slice(&data[from..from + length]);
            equal_bytes(&read_all(t.at("target"))?, &want)?;
        }
    }

    /// source and target are independent afterwards
    fn independent_afterwards(t) {
        let (source, target) = files(t, 1 << 20)?;
        copy_all(&source, 0, &target, 0, 1 << 20)?;
        source.pwrite(b"changed source", 1_000)?;
        target.pwrite(b"changed target", 500_000)?;
        let mut want = pattern(1, 1 << 20);
        want[500_000..500_014].copy_from_slice(b"changed target");
        equal_bytes(&read_all(t.at("target"))?, &want)?;
        let mut want = pattern(1, 1 << 20);
        want[1_000..1_014].copy_from_slice(b"changed source");
        equal_bytes(&read_all(t.at("source"))?, &want)?;
    }

    /// a copy outlives its source
    fn outlives_the_source(t) {
        let (source, target) = files(t, 1 << 20)?;
        copy_all(&source, 0, &target, 0, 1 << 20)?;
        source.truncate(0)?;
        drop(source);
        sys::unlink(t.at("source"))?;
        target.fsync()?;
        target.drop_cache()?;
        equal_bytes(&read_all(t.at("target"))?, &pattern(1, 1 << 20))?;
    }

    /// without offsets the positions are used and moved
    fn positions(t) {
        let (source, target) = files(t, 10_000)?;
        source.seek(100, SEEK_SET)?;
        target.seek(50, SEEK_SET)?;
        let copied =
            or_skip(copy_at_positions(&source, &target, 1_000), &[ENOSYS, EOPNOTSUPP], "no copy_file_range")?
                as i64;
        equal(source.seek(0, SEEK_CUR)?, 100 + copied)?;
        equal(target.seek(0, SEEK_CUR)?, 50 + copied)?;
        equal_bytes(&target.pread(50, 0)?, &[0; 50])?;
        equal_bytes(&target.pread(1_000, 50)?, &pattern(1, 10_000)[100..100 + copied as usize])?;
    }

    /// behind the source's end there is nothing to copy: 0; across it the copy is short
    fn behind_the_end(t) {
        let (source, target) = files(t, 1_000)?;
        equal(
            or_skip(copy_range(&source, 1_000, &target, 0, 10), &[ENOSYS, EOPNOTSUPP], "no copy_file_range")?,
            0,
        )?;
        equal(copy_range(&source, 5_000, &target, 0, 10)?, 0)?;
        equal(copy_range(&source, 900, &target, 0, 1_000)?, 100)?;
        equal(target.stat()?.size(), 100)?;
    }

    /// a copy of nothing is 0
    fn nothing(t) {
        let (source, target) = files(t, 10)?;
        equal(copy_range(&source, 0, &target, 0, 0)?, 0)?;
        equal(target.stat()?.size(), 0)?;
    }

    /// within one file pieces that do not overlap are copied, others are EINVAL
    fn within_one_file(t) {
        let (source, _) = files(t, 100_000)?;
        copy_all(&source, 0, &source, 50_000, 10_000)?;
        let mut want = pattern(1, 100_000);
        want.copy_within(0..10_000, 50_000);
        equal_bytes(&read_all(t.at("source"))?, &want)?;
        refused(copy_range(&source, 0, &source, 5_000, 10_000), EINVAL)?;
    }

    /// a copy far behind the target's end leaves a hole of zeros
    fn into_a_hole(t) {
        let (source, target) = files(t, 10_000)?;
        copy_all(&source, 0, &target, 100_000, 10_000)?;
        equal_bytes(&target.pread(100_000, 0)?, &[0; 100_000])?;
        equal_bytes(&target.pread(10_000, 100_000)?, &pattern(1, 10_000))?;
    }

    /// holes of the source read zeros in the target
    fn from_a_hole(t) {
        let source = create(t.at("source"), 0o644)?;
        source.truncate(1 << 20)?;
        source.pwrite(b"middle", 500_000)?;
        let target = create(t.at("target"), 0o644)?;
        write_all(&target, &[9; 1 << 20])?;
        copy_all(&source, 0, &target, 0, 1 << 20)?;
        equal_bytes(&read_all(t.at("target"))?, &read_all(t.at("source"))?)?;
    }

    /// data that is not synced is copied, too, and what was mapped or cached of the target is fresh
    fn unsynced_data(t) {
        let (source, target) = files(t, 100_000)?;
        write_all(&target, &[9; 100_000])?;
        equal_bytes(&target.pread(10, 50_000)?, &[9; 10])?;
        source.pwrite(b"last moment", 50_000)?;
        copy_all(&source, 0, &target, 0, 100_000)?;
        equal_bytes(&target.pread(11, 50_000)?, b"last moment")?;
    }

    /// descriptors must be open for their part: EBADF, and not for appending
    fn rights(t) {
        let (source, target) = files(t, 1_000)?;
        refused(copy_range(&source, 0, &open_ro(t.at("target"))?, 0, 10), EBADF)?;
        refused(copy_range(&open(t.at("source"), O_WRONLY, 0)?, 0, &target, 0, 10), EBADF)?;
        refused(copy_range(&source, 0, &open(t.at("target"), O_WRONLY | O_APPEND, 0)?, 0, 10), EBADF)?;
    }

    /// only files are copied: a directory is EISDIR, a fifo EINVAL
    fn wrong_types(t) {
        let (_, target) = files(t, 1_000)?;
        refused(copy_range(&open_ro(t.dir("d", 0o755)?)?, 0, &target, 0, 10), EISDIR)?;
        sys::mkfifo(t.at("p"), 0o600)?;
        let fifo = open(t.at("p"), libc::O_RDWR, 0)?;
        refused_with(copy_range(&fifo, 0, &target, 0, 10), &[EINVAL, libc::ESPIPE])?;
    }

    /// the target's modification time moves, the source's does not
    fn times(t) {
        let (source, target) = files(t, 10_000)?;
        let before = (source.stat()?.mtime(), target.stat()?.mtime());
        crate::place::tick();
        copy_all(&source, 0, &target, 0, 10_000)?;
        equal(source.stat()?.mtime(), before.0)?;
        holds(target.stat()?.mtime() > before.1, "the target's modification time moves")?;
    }

    /// a copy by somebody without privilege takes the target's set-id bits away
    fn clears_set_ids(t) {
        let (source, target) = files(t, 10_000)?;
        copy_all(&source, 0, &target, 0, 100)?;
        sys::chmod(t.at("target"), 0o6777)?;
        as_user(ALICE, || copy_range(&open_ro(t.at("source"))?, 0, &open_rw(t.at("target"))?, 0, 1_000))??;
        equal(stat(t.at("target"))?.mode(), 0o777)?;
    }

    /// FICLONE gives a file all data of another; both are independent afterwards
    fn clone_of_a_file(t) {
        let (source, target) = files(t, 1_000_001)?;
        or_skip(
            share_all(&source, &target),
            &[EOPNOTSUPP, ENOTTY, EINVAL, ENOSYS, EXDEV],
            "files cannot share data",
        )?;
        equal_bytes(&read_all(t.at("target"))?, &pattern(1, 1_000_001))?;
        target.pwrite(b"changed", 500_000)?;
        equal_bytes(&read_all(t.at("source"))?, &pattern(1, 1_000_001))?;
        source.truncate(0)?;
        equal_bytes(&target.pread(7, 500_000)?, b"changed")?;
        equal_bytes(&target.pread(1_000, 0)?, &pattern(1, 1_000))?;
    }
}
