//! Reading, writing and appending.

use libc::{
    EBADF, EINVAL, O_APPEND, O_CREAT, O_DSYNC, O_RDONLY, O_RDWR, O_SYNC, O_WRONLY, SEEK_CUR, SEEK_SET,
};

use crate::expect::{Failure, equal, equal_bytes, holds, refused};
use crate::place::{create, open_ro, open_rw, pattern, read_all, write_all, write_all_at};
use crate::sys::{self, open, stat};

/// Runs `work` in `count` threads at once, each with its number; the first failure counts.
fn at_once(count: usize, work: impl Fn(usize) -> Result<(), Failure> + Sync) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..count).map(|i| scope.spawn(move || work(i))).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Failure::Failed("a thread panicked".to_owned())))
        })
    })
}

checks! { "io";
    /// what is written is read, in pieces of every awkward size
    fn pieces_of_any_size(t) {
        for piece in [1usize, 7, 511, 4_095, 4_096, 4_097, 65_537, 131_072, 1 << 20] {
            let data = pattern(piece as u64, piece * 3 + 11);
            let file = create(t.at("f"), 0o644)?;
            for part in data.chunks(piece) {
                write_all(&file, part)?;
            }
            equal(file.stat()?.size(), data.len() as u64)?;
            file.seek(0, SEEK_SET)?;
            let mut got = Vec::new();
            loop {
                let part = file.read(piece)?;
                if part.is_empty() {
                    break;
                }
                got.extend_from_slice(&part);
            }
            equal_bytes(&got, &data)?;
            sys::unlink(t.at("f"))?;
        }
    }

    /// 32 MiB come back from the disk as they were written
    fn large_file(t) {
        let data = pattern(1, 32 << 20);
        let file = create(t.at("f"), 0o644)?;
        write_all(&file, &data)?;
        file.fsync()?;
        file.drop_cache()?;
        drop(file);
        equal_bytes(&read_all(t.at("f"))?, &data)?;
    }

    /// at the end and behind it a read gives nothing
    fn read_at_the_end(t) {
        let file = open_ro(t.file("f", b"0123456789")?)?;
        equal(file.pread(10, 10)?.len(), 0)?;
        equal(file.pread(10, 1 << 40)?.len(), 0)?;
        equal_bytes(&file.pread(100, 7)?, b"789")?;
        equal(file.pread(0, 3)?.len(), 0)?;
    }

    /// pread and pwrite leave the position
    fn positioned_calls_leave_the_position(t) {
        let file = create(t.at("f"), 0o644)?;
        file.write(b"0123456789")?;
        file.seek(4, SEEK_SET)?;
        file.pread(3, 1)?;
        file.pwrite(b"xyz", 7)?;
        equal(file.seek(0, SEEK_CUR)?, 4)?;
        equal_bytes(&file.read(10)?, b"456xyz")?;
    }

    /// a negative offset is EINVAL
    fn negative_offset(t) {
        let file = create(t.at("f"), 0o644)?;
        refused(file.pread(1, -1), EINVAL)?;
        refused(file.pwrite(b"x", -1), EINVAL)?;
    }

    /// writev writes its pieces in a row
    fn vectored_write(t) {
        let file = create(t.at("f"), 0o644)?;
        let long = pattern(2, 10_000);
        equal(file.writev(&[b"ab", b"", &long, b"end"])?, 10_005)?;
        equal_bytes(&read_all(t.at("f"))?, &[b"ab", &long[..], b"end"].concat())?;
    }

    /// overwriting changes these bytes only
    fn overwrite(t) {
        let mut model = pattern(3, 50_000);
        let file = create(t.at("f"), 0o644)?;
        write_all(&file, &model)?;
        for (seed, (at, length)) in
            [(0usize, 1usize), (4_095, 2), (8_192, 4_096), (10_001, 12_345), (49_999, 1)]
                .into_iter()
                .enumerate()
        {
            let data = pattern(100 + seed as u64, length);
            write_all_at(&file, &data, at as i64)?;
            model[at..at + length].copy_from_slice(&data);
        }
        equal_bytes(&read_all(t.at("f"))?, &model)?;
        file.fsync()?;
        file.drop_cache()?;
        equal_bytes(&read_all(t.at("f"))?, &model)?;
    }

    /// three hundred random writes and reads agree with a plain buffer
    fn random_writes(t) {
        let file = create(t.at("f"), 0o644)?;
        let mut model: Vec<u8> = Vec::new();
        for (round, chunk) in pattern(4, 2_400).chunks_exact(8).enumerate() {
            let number = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
            let (at, length) = ((number >> 8) as usize % 250_000, 1 + (number >> 40) as usize % 20_000);
            if round % 4 == 0 {
                let want = model.get(at.min(model.len())..(at + length).min(model.len())).unwrap_or_default();
                equal_bytes(&file.pread(length, at as i64)?, want)?;
            } else {
                let data = pattern(number, length);
                write_all_at(&file, &data, at as i64)?;
                model.resize(model.len().max(at + length), 0);
                model[at..at + length].copy_from_slice(&data);
            }
            if round % 50 == 0 {
                file.fsync()?;
                file.drop_cache()?;
            }
        }
        equal_bytes(&read_all(t.at("f"))?, &model)?;
    }

    /// a write through one descriptor is read through another at once
    fn two_descriptors(t) {
        let path = t.file("f", b"")?;
        let (writer, reader) = (open_rw(&path)?, open_ro(&path)?);
        for i in 0..200u32 {
            writer.write(&i.to_le_bytes())?;
            equal_bytes(&reader.read(4)?, &i.to_le_bytes())?;
            equal(reader.stat()?.size(), u64::from(i + 1) * 4)?;
        }
    }

    /// O_APPEND writes at the end, wherever the position is
    fn append(t) {
        let path = t.file("f", b"start ")?;
        let file = open(&path, O_RDWR | O_APPEND, 0)?;
        file.seek(0, SEEK_SET)?;
        file.write(b"more")?;
        equal(file.seek(0, SEEK_CUR)?, 10)?;
        equal_bytes(&read_all(&path)?, b"start more")?;
    }

    /// after others wrote O_APPEND finds the new end
    fn append_after_others(t) {
        let path = t.file("f", b"")?;
        let (first, second) = (open(&path, O_WRONLY | O_APPEND, 0)?, open(&path, O_WRONLY | O_APPEND, 0)?);
        first.write(b"1111")?;
        second.write(b"22")?;
        first.write(b"3")?;
        sys::truncate(&path, 5)?;
        second.write(b"4")?;
        equal_bytes(&read_all(&path)?, b"111124")?;
    }

    /// pwrite on a descriptor with O_APPEND appends, as Linux does
    fn pwrite_with_append(t) {
        let path = t.file("f", b"start ")?;
        open(&path, O_WRONLY | O_APPEND, 0)?.pwrite(b"end", 0)?;
        equal_bytes(&read_all(&path)?, b"start end")?;
    }

    /// O_APPEND can be switched on and off while a file is open
    fn append_can_be_switched(t) {
        let path = t.file("f", b"0123456789")?;
        let file = open_rw(&path)?;
        let flags = file.flags()?;
        holds(flags & O_APPEND == 0, "it is off at first")?;
        file.set_flags(flags | O_APPEND)?;
        file.write(b"x")?;
        file.set_flags(flags)?;
        file.pwrite(b"y", 0)?;
        equal_bytes(&read_all(&path)?, b"y123456789x")?;
    }

    /// four threads with a descriptor each append five hundred records: none is lost or torn
    fn concurrent_appends(t) {
        let path = t.file("f", b"")?;
        at_once(4, |thread| {
            let file = open(&path, O_WRONLY | O_APPEND, 0)?;
            for record in 0..500 {
                equal(file.write(format!("thread {thread} record {record:04}\n").as_bytes())?, 21)?;
            }
            Ok(())
        })?;
        let text = String::from_utf8_lossy(&read_all(&path)?).into_owned();
        let mut lines: Vec<&str> = text.lines().collect();
        equal(lines.len(), 2_000)?;
        for thread in 0..4 {
            let own: Vec<&&str> =
                lines.iter().filter(|line| line.starts_with(&format!("thread {thread}"))).collect();
            holds(own.is_sorted(), "each thread's records are in order")?;
        }
        lines.sort_unstable();
        lines.dedup();
        equal(lines.len(), 2_000)?;
    }

    /// four threads write to places of their own in one file
    fn concurrent_writes_apart(t) {
        let path = t.file("f", b"")?;
        at_once(4, |thread| {
            let file = open_rw(&path)?;
            for round in 0..100 {
                let place = (round * 4 + thread) as i64;
                write_all_at(&file, &pattern(place as u64 + 1, 5_000), place * 5_000)?;
            }
            Ok(())
        })?;
        let got = read_all(&path)?;
        for (place, piece) in got.chunks(5_000).enumerate() {
            equal_bytes(piece, &pattern(place as u64 + 1, 5_000))?;
        }
        equal(got.len(), 2_000_000)?;
    }

    /// threads that share one descriptor's position write behind each other
    fn shared_position(t) {
        let file = create(t.at("f"), 0o644)?;
        at_once(4, |thread| {
            for _ in 0..200 {
                equal(file.write(&[b'a' + thread as u8; 10])?, 10)?;
            }
            Ok(())
        })?;
        let got = read_all(t.at("f"))?;
        equal(got.len(), 8_000)?;
        holds(got.chunks(10).all(|record| record.iter().all(|b| *b == record[0])), "no record is torn")?;
    }

    /// readers of a file that grows never see anything but what was written
    fn reading_while_growing(t) {
        let path = t.file("f", b"")?;
        let data = pattern(5, 2 << 20);
        at_once(2, |thread| {
            if thread == 0 {
                let file = open_rw(&path)?;
                for part in data.chunks(9_999) {
                    write_all(&file, part)?;
                }
                return Ok(());
            }
            let file = open_ro(&path)?;
            let mut at = 0;
            while at < data.len() {
                let part = file.pread(10_000, at as i64)?;
                equal_bytes(&part, &data[at..at + part.len()])?;
                at += part.len();
            }
            Ok(())
        })?;
    }

    /// O_SYNC and O_DSYNC write as usual
    fn synchronous_writes(t) {
        for (name, flag) in [("s", O_SYNC), ("d", O_DSYNC)] {
            let file = open(t.at(name), O_CREAT | O_RDWR | flag, 0o644)?;
            for _ in 0..5 {
                write_all(&file, &[7; 10_000])?;
            }
            file.drop_cache()?;
            equal_bytes(&read_all(t.at(name))?, &[7; 50_000])?;
        }
    }

    /// a write of nothing is 0 and makes no file larger
    fn empty_write(t) {
        let file = create(t.at("f"), 0o644)?;
        equal(file.write(b"")?, 0)?;
        equal(file.pwrite(b"", 1_000)?, 0)?;
        equal(file.stat()?.size(), 0)?;
        refused(open(t.at("f"), O_RDONLY, 0)?.pwrite(b"x", 0), EBADF)?;
    }

    /// a thousand small files keep their content apart
    fn many_small_files(t) {
        for i in 0..1_000u64 {
            t.file(&format!("f{i}"), &pattern(i, i as usize % 500))?;
        }
        for i in 0..1_000u64 {
            let path = t.at(&format!("f{i}"));
            equal(stat(&path)?.size(), i % 500)?;
            equal_bytes(&read_all(&path)?, &pattern(i, i as usize % 500))?;
        }
    }
}
