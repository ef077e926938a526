//! `fallocate` and its modes.

use libc::{
    EBADF, EINVAL, EISDIR, ENODEV, EOPNOTSUPP, ESPIPE, FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE,
    FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE,
};

use crate::expect::{Failure, equal, equal_bytes, holds, or_skip, refused, refused_with};
use crate::place::{ALICE, Place, as_user, create, open_ro, open_rw, pattern, read_all, write_all};
use crate::sys::{self, File, open, stat};

const PUNCH: i32 = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

fn filled(place: &Place, seed: u64, length: usize) -> sys::Result<File> {
    let file = create(place.at("f"), 0o644)?;
    write_all(&file, &pattern(seed, length))?;
    Ok(file)
}

fn allocate(file: &File, mode: i32, offset: i64, length: i64) -> Result<(), Failure> {
    or_skip(file.fallocate(mode, offset, length), &[EOPNOTSUPP], "this mode of fallocate is not supported")
}

checks! { "allocate";
    /// mode 0 makes a file larger by zeros
    fn extends(t) {
        let file = filled(t, 1, 1_000)?;
        allocate(&file, 0, 0, 50_000)?;
        let mut want = pattern(1, 1_000);
        want.resize(50_000, 0);
        equal_bytes(&read_all(t.at("f"))?, &want)?;
    }

    /// mode 0 changes no data, and no size within the file
    fn keeps_data(t) {
        let file = filled(t, 2, 30_000)?;
        allocate(&file, 0, 1_000, 10_000)?;
        equal_bytes(&read_all(t.at("f"))?, &pattern(2, 30_000))?;
    }

    /// mode 0 far behind the end leaves zeros between
    fn extends_behind_the_end(t) {
        let file = filled(t, 3, 10)?;
        allocate(&file, 0, 100_000, 10)?;
        equal(file.stat()?.size(), 100_010)?;
        let mut want = pattern(3, 10);
        want.resize(100_010, 0);
        equal_bytes(&read_all(t.at("f"))?, &want)?;
    }

    /// KEEP_SIZE keeps the size, and later growth reads zeros
    fn keep_size(t) {
        let file = filled(t, 4, 1_000)?;
        allocate(&file, FALLOC_FL_KEEP_SIZE, 0, 100_000)?;
        equal(file.stat()?.size(), 1_000)?;
        equal_bytes(&read_all(t.at("f"))?, &pattern(4, 1_000))?;
        file.truncate(5_000)?;
        equal_bytes(&file.pread(4_000, 1_000)?, &[0; 4_000])?;
    }

    /// a punched hole reads zeros, to the byte, and the size stays
    fn punch(t) {
        for (at, length) in
            [(0usize, 4_096usize), (4_096, 8_192), (100, 50), (4_000, 5_000), (16_384, 33_616), (49_999, 1)]
        {
            let file = filled(t, 5, 50_000)?;
            allocate(&file, PUNCH, at as i64, length as i64)?;
            let mut want = pattern(5, 50_000);
            want[at..at + length].fill(0);
            equal_bytes(&read_all(t.at("f"))?, &want)?;
            file.fsync()?;
            file.drop_cache()?;
            equal_bytes(&read_all(t.at("f"))?, &want)?;
            sys::unlink(t.at("f"))?;
        }
    }

    /// a hole punched across the end changes no size
    fn punch_across_the_end(t) {
        let file = filled(t, 6, 10_000)?;
        allocate(&file, PUNCH, 5_000, 1 << 40)?;
        equal(file.stat()?.size(), 10_000)?;
        let mut want = pattern(6, 10_000);
        want[5_000..].fill(0);
        equal_bytes(&read_all(t.at("f"))?, &want)?;
        allocate(&file, PUNCH, 1 << 30, 4_096)?;
        equal(file.stat()?.size(), 10_000)?;
    }

    /// a punched hole gives blocks back
    fn punch_frees_blocks(t) {
        let file = filled(t, 7, 1 << 20)?;
        file.fsync()?;
        let before = file.stat()?.blocks();
        allocate(&file, PUNCH, 0, 1 << 20)?;
        file.fsync()?;
        let after = file.stat()?.blocks();
        holds(after + 1_800 <= before, &format!("the hole takes 2,048 blocks off: {before}, then {after}"))?;
        equal(file.stat()?.size(), 1 << 20)?;
    }

    /// a hole can be written to again
    fn write_into_a_punched_hole(t) {
        let file = filled(t, 8, 50_000)?;
        allocate(&file, PUNCH, 10_000, 20_000)?;
        file.pwrite(b"inside", 15_000)?;
        let mut want = pattern(8, 50_000);
        want[10_000..30_000].fill(0);
        want[15_000..15_006].copy_from_slice(b"inside");
        equal_bytes(&read_all(t.at("f"))?, &want)?;
    }

    /// PUNCH_HOLE without KEEP_SIZE is not supported: EOPNOTSUPP or EINVAL
    fn punch_needs_keep_size(t) {
        let file = filled(t, 9, 10_000)?;
        refused_with(file.fallocate(FALLOC_FL_PUNCH_HOLE, 0, 4_096), &[EOPNOTSUPP, EINVAL])?;
        equal_bytes(&read_all(t.at("f"))?, &pattern(9, 10_000))?;
    }

    /// ZERO_RANGE writes zeros, to the byte, and makes the file larger if need be
    fn zero_range(t) {
        let file = filled(t, 10, 20_000)?;
        allocate(&file, FALLOC_FL_ZERO_RANGE, 5_000, 9_000)?;
        let mut want = pattern(10, 20_000);
        want[5_000..14_000].fill(0);
        equal_bytes(&read_all(t.at("f"))?, &want)?;
        allocate(&file, FALLOC_FL_ZERO_RANGE, 19_000, 6_000)?;
        want[19_000..].fill(0);
        want.resize(25_000, 0);
        equal_bytes(&read_all(t.at("f"))?, &want)?;
    }

    /// ZERO_RANGE with KEEP_SIZE keeps the size
    fn zero_range_keep_size(t) {
        let file = filled(t, 11, 20_000)?;
        allocate(&file, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 10_000, 90_000)?;
        equal(file.stat()?.size(), 20_000)?;
        let mut want = pattern(11, 20_000);
        want[10_000..].fill(0);
        equal_bytes(&read_all(t.at("f"))?, &want)?;
    }

    /// COLLAPSE_RANGE takes a piece out
    fn collapse_range(t) {
        let file = filled(t, 12, 16 * 4_096)?;
        let unit = 4_096;
        or_skip(
            file.fallocate(FALLOC_FL_COLLAPSE_RANGE, unit, 2 * unit),
            &[EOPNOTSUPP, EINVAL],
            "no COLLAPSE_RANGE of 4 KiB",
        )?;
        let mut want = pattern(12, 16 * 4_096);
        want.drain(4_096..3 * 4_096);
        equal_bytes(&read_all(t.at("f"))?, &want)?;
        refused(file.fallocate(FALLOC_FL_COLLAPSE_RANGE, 0, 1 << 30), EINVAL)?;
    }

    /// INSERT_RANGE moves the rest away and leaves zeros
    fn insert_range(t) {
        let file = filled(t, 13, 16 * 4_096)?;
        or_skip(
            file.fallocate(FALLOC_FL_INSERT_RANGE, 4_096, 8_192),
            &[EOPNOTSUPP, EINVAL],
            "no INSERT_RANGE of 4 KiB",
        )?;
        let data = pattern(13, 16 * 4_096);
        let want = [&data[..4_096], &[0; 8_192], &data[4_096..]].concat();
        equal_bytes(&read_all(t.at("f"))?, &want)?;
    }

    /// a length of nothing and negative numbers are EINVAL
    fn senseless_ranges(t) {
        let file = filled(t, 14, 10)?;
        for (offset, length) in [(0, 0), (0, -1), (-1, 10)] {
            refused(file.fallocate(0, offset, length), EINVAL)?;
        }
        refused_with(file.fallocate(0, i64::MAX - 10, 100), &[libc::EFBIG, EOPNOTSUPP])?;
    }

    /// it needs a descriptor for writing: EBADF, and a file: ENODEV, EISDIR or EBADF
    fn wrong_descriptors(t) {
        let path = t.file("f", b"text")?;
        refused(open_ro(&path)?.fallocate(0, 0, 10), EBADF)?;
        refused_with(open_ro(t.dir("d", 0o755)?)?.fallocate(0, 0, 10), &[ENODEV, EISDIR, EBADF])?;
        sys::mkfifo(t.at("p"), 0o600)?;
        refused_with(open(t.at("p"), libc::O_RDWR, 0)?.fallocate(0, 0, 10), &[ESPIPE, ENODEV])?;
    }

    /// it moves modification and change time
    fn times(t) {
        let file = filled(t, 15, 10_000)?;
        let before = file.stat()?;
        crate::place::tick();
        allocate(&file, PUNCH, 0, 4_096)?;
        let after = file.stat()?;
        holds(after.mtime() > before.mtime() && after.ctime() > before.ctime(), "both times move")?;
    }

    /// somebody without privilege takes the set-id bits away by it
    fn clears_set_ids(t) {
        allocate(&filled(t, 16, 10_000)?, PUNCH, 0, 10)?;
        sys::chmod(t.at("f"), 0o6777)?;
        as_user(ALICE, || open_rw(t.at("f"))?.fallocate(PUNCH, 0, 4_096))??;
        equal(stat(t.at("f"))?.mode(), 0o777)?;
    }
}
