//! `O_DIRECT`, where it is supported.

use libc::{EINVAL, EOPNOTSUPP, O_CREAT, O_DIRECT, O_RDWR};

use crate::expect::{Failure, equal, equal_bytes, or_skip};
use crate::memory::AlignedBuffer;
use crate::place::{Place, open_rw, pattern, read_all};
use crate::sys::{File, open};

fn direct(place: &Place) -> Result<File, Failure> {
    let opened = open(place.at("f"), O_CREAT | O_RDWR | O_DIRECT, 0o644);
    or_skip(opened, &[EINVAL, EOPNOTSUPP], "O_DIRECT is not supported")
}

fn pages(seed: u64, count: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::new(count, 0);
    buffer.bytes_mut().copy_from_slice(&pattern(seed, count * 4_096));
    buffer
}

checks! { "direct";
    /// aligned pages are written and read
    fn aligned_pages(t) {
        let file = direct(t)?;
        let data = pages(1, 64);
        equal(file.pwrite(data.bytes(), 0)?, 64 * 4_096)?;
        let mut got = AlignedBuffer::new(64, 0);
        equal(file.pread_into(got.bytes_mut(), 0)?, 64 * 4_096)?;
        equal_bytes(got.bytes(), data.bytes())?;
        equal(file.stat()?.size(), 64 * 4_096)?;
    }

    /// direct writes are seen by buffered reads, even where pages are cached
    fn seen_by_buffered_reads(t) {
        let file = direct(t)?;
        file.pwrite(pages(1, 4).bytes(), 0)?;
        let buffered = open_rw(t.at("f"))?;
        equal_bytes(&buffered.pread(16_384, 0)?, pages(1, 4).bytes())?;
        file.pwrite(pages(2, 2).bytes(), 4_096)?;
        equal_bytes(&buffered.pread(8_192, 4_096)?, pages(2, 2).bytes())?;
    }

    /// direct reads see buffered writes that are not synced
    fn sees_buffered_writes(t) {
        let file = direct(t)?;
        let data = pages(3, 4);
        open_rw(t.at("f"))?.pwrite(data.bytes(), 0)?;
        let mut got = AlignedBuffer::new(4, 0);
        equal(file.pread_into(got.bytes_mut(), 0)?, 16_384)?;
        equal_bytes(got.bytes(), data.bytes())?;
    }

    /// a read across the end is short
    fn read_across_the_end(t) {
        let file = direct(t)?;
        open_rw(t.at("f"))?.pwrite(&pattern(4, 5_000), 0)?;
        let mut got = AlignedBuffer::new(4, 0);
        equal(file.pread_into(got.bytes_mut(), 0)?, 5_000)?;
        equal_bytes(&got.bytes()[..5_000], &pattern(4, 5_000))?;
        equal(file.pread_into(got.bytes_mut(), 8_192)?, 0)?;
    }

    /// a direct write far behind the end leaves a hole of zeros
    fn behind_the_end(t) {
        let file = direct(t)?;
        file.pwrite(pages(5, 1).bytes(), 40_960)?;
        let got = read_all(t.at("f"))?;
        equal_bytes(&got[..40_960], &[0; 40_960])?;
        equal_bytes(&got[40_960..], pages(5, 1).bytes())?;
    }

    /// unaligned calls work or are EINVAL, and never write half
    fn unaligned(t) {
        let file = direct(t)?;
        file.pwrite(pages(6, 2).bytes(), 0)?;
        match file.pwrite(b"odd", 1_001) {
            Ok(written) => {
                equal(written, 3)?;
                equal_bytes(&open_rw(t.at("f"))?.pread(3, 1_001)?, b"odd")?;
            }
            Err(error) => {
                equal(error.errno, EINVAL)?;
                equal_bytes(&read_all(t.at("f"))?, pages(6, 2).bytes())?;
            }
        }
    }

    /// 8 MiB in one call
    fn large_call(t) {
        let file = direct(t)?;
        let data = pages(7, 2_048);
        let mut at = 0;
        while at < data.bytes().len() {
            at += file.pwrite(&data.bytes()[at..], at as i64)?;
        }
        file.fsync()?;
        let mut got = AlignedBuffer::new(2_048, 0);
        let mut at = 0;
        while at < data.bytes().len() {
            let read = file.pread_into(&mut got.bytes_mut()[at..], at as i64)?;
            crate::expect::holds(read > 0, "a read before the end gives something")?;
            at += read;
        }
        equal_bytes(got.bytes(), data.bytes())?;
    }
}
