//! `lseek`, with `SEEK_DATA` and `SEEK_HOLE`.

use libc::{
    EINVAL, ENXIO, EOVERFLOW, ESPIPE, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, SEEK_CUR, SEEK_DATA,
    SEEK_END, SEEK_HOLE, SEEK_SET,
};

use crate::expect::{Failure, equal, equal_bytes, holds, or_skip, refused, refused_with, skip};
use crate::place::{Place, create, pattern, write_all_at};
use crate::sys::{self, File, open};

/// An empty file where holes are told apart from data. The holes of these checks are large and aligned, as a block may be.
fn sparse_file(place: &Place) -> Result<File, Failure> {
    let file = create(place.at("f"), 0o644)?;
    file.truncate(1 << 20)?;
    let hole = or_skip(file.seek(0, SEEK_HOLE), &[EINVAL], "there is no SEEK_HOLE")?;
    if hole != 0 {
        skip("holes are not told apart from data")?;
    }
    file.truncate(0)?;
    file.seek(0, SEEK_SET)?;
    Ok(file)
}

const MIB: i64 = 1 << 20;

checks! { "seek";
    /// SET, CUR and END count from start, position and end
    fn whence(t) {
        let file = create(t.at("f"), 0o644)?;
        file.write(b"0123456789")?;
        equal(file.seek(3, SEEK_SET)?, 3)?;
        equal(file.seek(2, SEEK_CUR)?, 5)?;
        equal(file.seek(-1, SEEK_CUR)?, 4)?;
        equal(file.seek(-3, SEEK_END)?, 7)?;
        equal_bytes(&file.read(10)?, b"789")?;
    }

    /// a position behind the end is fine and changes no size
    fn behind_the_end(t) {
        let file = create(t.at("f"), 0o644)?;
        equal(file.seek(1_000, SEEK_END)?, 1_000)?;
        equal(file.stat()?.size(), 0)?;
        equal(file.read(10)?.len(), 0)?;
    }

    /// a negative position is EINVAL and moves nothing
    fn negative(t) {
        let file = create(t.at("f"), 0o644)?;
        file.write(b"0123456789")?;
        refused(file.seek(-1, SEEK_SET), EINVAL)?;
        refused(file.seek(-11, SEEK_END), EINVAL)?;
        refused(file.seek(0, 77), EINVAL)?;
        equal(file.seek(0, SEEK_CUR)?, 10)?;
    }

    /// a position beyond all numbers is EINVAL or EOVERFLOW
    fn overflow(t) {
        let file = create(t.at("f"), 0o644)?;
        file.write(b"0123456789")?;
        refused_with(file.seek(i64::MAX, SEEK_CUR), &[EINVAL, EOVERFLOW])?;
    }

    /// a fifo has no position: ESPIPE
    fn fifo(t) {
        sys::mkfifo(t.at("p"), 0o600)?;
        refused(open(t.at("p"), libc::O_RDWR, 0)?.seek(0, SEEK_CUR), ESPIPE)?;
    }

    /// a full file is data up to its end, which counts as a hole
    fn full_file(t) {
        let file = create(t.at("f"), 0o644)?;
        write_all_at(&file, &pattern(1, 300_000), 0)?;
        let data = or_skip(file.seek(0, SEEK_DATA), &[EINVAL], "there is no SEEK_DATA")?;
        equal(data, 0)?;
        equal(file.seek(123_456, SEEK_DATA)?, 123_456)?;
        equal(file.seek(0, SEEK_HOLE)?, 300_000)?;
        equal(file.seek(299_999, SEEK_HOLE)?, 300_000)?;
    }

    /// at the end and behind it there is neither data nor hole: ENXIO
    fn at_the_end(t) {
        let file = create(t.at("f"), 0o644)?;
        refused(file.seek(0, SEEK_DATA), ENXIO)?;
        file.write(b"0123456789")?;
        for at in [10, 11, MIB] {
            refused(file.seek(at, SEEK_DATA), ENXIO)?;
            refused(file.seek(at, SEEK_HOLE), ENXIO)?;
        }
        refused_with(file.seek(-1, SEEK_DATA), &[ENXIO, EINVAL])?;
    }

    /// a file that is one hole has no data: ENXIO
    fn only_a_hole(t) {
        let file = sparse_file(t)?;
        file.truncate(10 * MIB)?;
        refused(file.seek(0, SEEK_DATA), ENXIO)?;
        equal(file.seek(0, SEEK_HOLE)?, 0)?;
        equal(file.seek(5 * MIB + 7, SEEK_HOLE)?, 5 * MIB + 7)?;
    }

    /// hole, data, hole, data: every border is found, also before anything is synced
    fn borders(t) {
        let file = sparse_file(t)?;
        write_all_at(&file, &pattern(1, MIB as usize), 2 * MIB)?;
        write_all_at(&file, &pattern(2, MIB as usize), 6 * MIB)?;
        for synced in [false, true] {
            if synced {
                file.fsync()?;
            }
            equal(file.seek(0, SEEK_HOLE)?, 0)?;
            equal(file.seek(0, SEEK_DATA)?, 2 * MIB)?;
            equal(file.seek(2 * MIB + 5, SEEK_DATA)?, 2 * MIB + 5)?;
            equal(file.seek(2 * MIB, SEEK_HOLE)?, 3 * MIB)?;
            equal(file.seek(3 * MIB, SEEK_DATA)?, 6 * MIB)?;
            equal(file.seek(6 * MIB, SEEK_HOLE)?, 7 * MIB)?;
        }
    }

    /// a hole at the end is found
    fn hole_at_the_end(t) {
        let file = sparse_file(t)?;
        write_all_at(&file, &pattern(1, MIB as usize), 0)?;
        file.truncate(4 * MIB)?;
        equal(file.seek(0, SEEK_HOLE)?, MIB)?;
        refused(file.seek(MIB, SEEK_DATA), ENXIO)?;
    }

    /// a punched hole is found
    fn punched_hole(t) {
        let file = sparse_file(t)?;
        write_all_at(&file, &pattern(1, 4 * MIB as usize), 0)?;
        file.fsync()?;
        or_skip(
            file.fallocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB, MIB),
            &[libc::EOPNOTSUPP],
            "holes cannot be punched",
        )?;
        equal(file.seek(0, SEEK_HOLE)?, MIB)?;
        equal(file.seek(MIB, SEEK_DATA)?, 2 * MIB)?;
        equal(file.seek(2 * MIB, SEEK_HOLE)?, 4 * MIB)?;
    }

    /// data is found at once in a file of 8 TiB
    fn far_away_data(t) {
        let file = sparse_file(t)?;
        file.truncate(8 << 40)?;
        let at = (7i64 << 40) + 64 * MIB;
        file.pwrite(&[1; 65_536], at)?;
        let found = file.seek(0, SEEK_DATA)?;
        holds(found <= at && found > at - MIB, &format!("data is found at {at}, not at {found}"))?;
    }

    /// it moves the position
    fn moves_the_position(t) {
        let file = sparse_file(t)?;
        write_all_at(&file, &pattern(1, MIB as usize), 2 * MIB)?;
        file.seek(0, SEEK_DATA)?;
        equal(file.seek(0, SEEK_CUR)?, 2 * MIB)?;
        equal_bytes(&file.read(100)?, &pattern(1, 100))?;
    }

    /// what lies in a hole is zero: the data alone makes a true copy
    fn copy_by_data_only(t) {
        let file = sparse_file(t)?;
        for i in 0..16i64 {
            write_all_at(&file, &pattern(i as u64, 70_000 + i as usize * 1_000), i * 3 * MIB / 2)?;
        }
        let size = file.stat()?.size();
        let copy = create(t.at("copy"), 0o644)?;
        copy.truncate(size as i64)?;
        let mut at = 0;
        while let Ok(start) = file.seek(at, SEEK_DATA) {
            let end = file.seek(start, SEEK_HOLE)?;
            holds(end > start, "a piece of data is not empty")?;
            write_all_at(&copy, &file.pread((end - start) as usize, start)?, start)?;
            at = end;
        }
        equal_bytes(&copy.pread(size as usize, 0)?, &file.pread(size as usize, 0)?)?;
    }
}
