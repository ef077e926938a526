//! `truncate` and `ftruncate`.

use libc::{EFBIG, EINVAL, EISDIR, ENOENT, ENOTDIR, SEEK_CUR, SEEK_SET};

use crate::expect::{equal, equal_bytes, holds, refused, refused_with};
use crate::place::{create, open_ro, open_rw, pattern, read_all, write_all, write_all_at};
use crate::process::{Ended, code, in_child, limit_file_size};
use crate::sys::{self, stat, truncate};

checks! { "truncate";
    /// a file is cut and keeps what is before the cut
    fn shrinks(t) {
        let data = pattern(1, 100_000);
        let path = t.file("f", &data)?;
        for size in [99_999, 65_536, 65_535, 4_097, 4_096, 4_095, 1, 0] {
            truncate(&path, size as i64)?;
            equal(stat(&path)?.size(), size as u64)?;
            equal_bytes(&read_all(&path)?, &data[..size])?;
        }
    }

    /// a file grows by zeros
    fn grows(t) {
        let path = t.file("f", b"abc")?;
        for size in [4usize, 4_095, 4_096, 4_097, 200_000] {
            truncate(&path, size as i64)?;
            let mut want = b"abc".to_vec();
            want.resize(size, 0);
            equal_bytes(&read_all(&path)?, &want)?;
        }
    }

    /// what was cut does not come back when the file grows again
    fn cut_bytes_do_not_come_back(t) {
        let data = pattern(2, 20_000);
        for cut in [0usize, 1, 100, 4_095, 4_096, 4_097, 10_000, 16_384] {
            let path = t.file("f", &data)?;
            truncate(&path, cut as i64)?;
            truncate(&path, 20_000)?;
            let mut want = data[..cut].to_vec();
            want.resize(20_000, 0);
            equal_bytes(&read_all(&path)?, &want)?;
            sys::unlink(&path)?;
        }
    }

    /// nor does it when the data was on disk and out of the cache
    fn cut_bytes_do_not_come_back_from_disk(t) {
        let data = pattern(3, 20_000);
        let file = create(t.at("f"), 0o644)?;
        write_all(&file, &data)?;
        file.fsync()?;
        file.truncate(5_000)?;
        file.fsync()?;
        file.drop_cache()?;
        file.truncate(20_000)?;
        file.fsync()?;
        file.drop_cache()?;
        let mut want = data[..5_000].to_vec();
        want.resize(20_000, 0);
        equal_bytes(&read_all(t.at("f"))?, &want)?;
    }

    /// nor when a write far behind the cut makes the file grow
    fn write_behind_a_cut_leaves_zeros(t) {
        let file = create(t.at("f"), 0o644)?;
        write_all(&file, &pattern(4, 10_000))?;
        file.truncate(100)?;
        file.pwrite(b"end", 9_000)?;
        let mut want = pattern(4, 100);
        want.resize(9_000, 0);
        want.extend_from_slice(b"end");
        equal_bytes(&read_all(t.at("f"))?, &want)?;
    }

    /// the position of a descriptor stays, and a write there leaves a hole of zeros
    fn keeps_the_position(t) {
        let file = create(t.at("f"), 0o644)?;
        file.write(b"0123456789")?;
        file.truncate(2)?;
        equal(file.seek(0, SEEK_CUR)?, 10)?;
        file.write(b"x")?;
        equal_bytes(&read_all(t.at("f"))?, b"01\0\0\0\0\0\0\0\0x")?;
    }

    /// other openers see the new size at once
    fn is_seen_by_other_openers(t) {
        let path = t.file("f", b"0123456789")?;
        let (writer, reader) = (open_rw(&path)?, open_ro(&path)?);
        reader.seek(5, SEEK_SET)?;
        writer.truncate(3)?;
        equal(reader.stat()?.size(), 3)?;
        equal(reader.read(10)?.len(), 0)?;
        writer.truncate(6)?;
        equal_bytes(&reader.read(10)?, b"\0")?;
    }

    /// a negative size is EINVAL
    fn negative_size(t) {
        let path = t.file("f", b"text")?;
        refused(truncate(&path, -1), EINVAL)?;
        refused(open_rw(&path)?.truncate(-1), EINVAL)?;
        equal(stat(&path)?.size(), 4)?;
    }

    /// a directory is EISDIR, what is not there ENOENT, a fifo EINVAL
    fn wrong_targets(t) {
        t.file("f", b"")?;
        refused(truncate(t.dir("d", 0o755)?, 0), EISDIR)?;
        refused(truncate(t.at("x"), 0), ENOENT)?;
        refused(truncate(t.at("f/x"), 0), ENOTDIR)?;
        sys::mkfifo(t.at("p"), 0o600)?;
        refused(truncate(t.at("p"), 0), EINVAL)?;
    }

    /// a size beyond what the file system can hold is EFBIG, and a possible one is reached
    fn largest_size(t) {
        let path = t.file("f", b"start")?;
        match truncate(&path, i64::MAX) {
            Ok(()) => equal(stat(&path)?.size(), i64::MAX as u64)?,
            Err(error) => {
                holds(matches!(error.errno, EFBIG | EINVAL), "the size is too large or accepted")?;
                equal(stat(&path)?.size(), 5)?;
            }
        }
    }

    /// a file of 8 TiB is made in no time and read at its end
    fn huge_size(t) {
        let path = t.file("f", b"start")?;
        let size = 8i64 << 40;
        truncate(&path, size)?;
        equal(stat(&path)?.size(), size as u64)?;
        let file = open_rw(&path)?;
        equal_bytes(&file.pread(10, size - 4)?, &[0; 4])?;
        truncate(&path, 5)?;
        equal_bytes(&read_all(&path)?, b"start")?;
    }

    /// cutting gives blocks back
    fn frees_blocks(t) {
        let file = create(t.at("f"), 0o644)?;
        write_all(&file, &pattern(5, 1 << 20))?;
        file.fsync()?;
        let before = file.stat()?.blocks();
        file.truncate(4_096)?;
        file.fsync()?;
        let after = file.stat()?.blocks();
        holds(before >= 2_048, &format!("1 MiB takes 2,048 blocks, not {before}"))?;
        holds(after <= 256, &format!("4 KiB take few blocks, not {after}"))?;
    }

    /// through a symbolic link the target is cut
    fn follows_symlinks(t) {
        t.file("f", b"0123456789")?;
        sys::symlink("f", t.at("l"))?;
        truncate(t.at("l"), 4)?;
        equal(stat(t.at("f"))?.size(), 4)?;
    }

    /// a program's limit on file sizes holds: EFBIG
    fn limit_of_the_process(t) {
        let path = t.file("f", b"text")?;
        let ended = in_child(|| {
            limit_file_size(10_000);
            let Ok(file) = open_rw(&path) else { return 1 };
            if file.truncate(10_000).is_err() {
                return 2;
            }
            code(file.truncate(10_001))
        })?;
        equal(ended, Ended::Exited(EFBIG))?;
        let ended = in_child(|| {
            limit_file_size(10_000);
            let Ok(file) = open_rw(&path) else { return 1 };
            if file.pwrite(&[1; 100], 9_950) != Ok(50) {
                return 2;
            }
            code(file.pwrite(&[1; 100], 10_000))
        })?;
        equal(ended, Ended::Exited(EFBIG))?;
        equal(stat(&path)?.size(), 10_000)?;
    }

    /// cutting and writing in turn, a hundred times at random, gives what a plain buffer gives
    fn random_cuts_and_writes(t) {
        let file = create(t.at("f"), 0o644)?;
        let mut model: Vec<u8> = Vec::new();
        let numbers = pattern(6, 800);
        for (round, chunk) in numbers.chunks_exact(8).enumerate() {
            let number = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
            let (at, length) = ((number >> 8) as usize % 60_000, (number >> 32) as usize % 9_000);
            if round % 3 == 0 {
                file.truncate(at as i64)?;
                model.resize(at, 0);
            } else {
                let data = pattern(number, length);
                write_all_at(&file, &data, at as i64)?;
                if length > 0 {
                    model.resize(model.len().max(at + length), 0);
                    model[at..at + length].copy_from_slice(&data);
                }
            }
            equal(file.stat()?.size(), model.len() as u64)?;
        }
        equal_bytes(&read_all(t.at("f"))?, &model)?;
        file.fsync()?;
        file.drop_cache()?;
        equal_bytes(&read_all(t.at("f"))?, &model)?;
        refused_with(truncate(t.at("f"), i64::MIN), &[EINVAL])?;
    }
}
