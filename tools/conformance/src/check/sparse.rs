//! Sparse files and huge offsets.

use libc::{EFBIG, EINVAL};

use crate::expect::{equal, equal_bytes, holds, refused_with};
use crate::place::{create, pattern, read_all, write_all_at};
use crate::sys::stat;

checks! { "sparse";
    /// a hole reads as zeros
    fn hole_reads_zeros(t) {
        let file = create(t.at("f"), 0o644)?;
        file.pwrite(b"end", 300_000)?;
        let mut want = vec![0; 300_000];
        want.extend_from_slice(b"end");
        equal_bytes(&read_all(t.at("f"))?, &want)?;
    }

    /// a hole takes no blocks
    fn hole_takes_no_blocks(t) {
        let file = create(t.at("f"), 0o644)?;
        file.pwrite(b"end", 1 << 30)?;
        file.fsync()?;
        let blocks = stat(t.at("f"))?.blocks();
        holds(blocks < 2_048, &format!("a GiB of hole takes less than a MiB, not {blocks} blocks"))?;
    }

    /// bytes at 4 GiB, 1 TiB and 8 TiB are kept apart
    fn far_offsets(t) {
        let file = create(t.at("f"), 0o644)?;
        for (seed, at) in [(1, 1i64 << 31), (2, 1 << 32), (3, 1 << 40), (4, 8 << 40)] {
            write_all_at(&file, &pattern(seed, 10_000), at - 5_000)?;
        }
        file.fsync()?;
        file.drop_cache()?;
        for (seed, at) in [(1, 1i64 << 31), (2, 1 << 32), (3, 1 << 40), (4, 8 << 40)] {
            equal_bytes(&file.pread(10_000, at - 5_000)?, &pattern(seed, 10_000))?;
            equal_bytes(&file.pread(5_000, at - 10_000)?, &[0; 5_000])?;
        }
    }

    /// a write that would end beyond the largest offset is EFBIG or EINVAL
    fn beyond_the_largest_offset(t) {
        let file = create(t.at("f"), 0o644)?;
        refused_with(file.pwrite(b"xy", i64::MAX), &[EFBIG, EINVAL])?;
        equal(file.stat()?.size(), 0)?;
        refused_with(file.pwrite(b"x", -1), &[EINVAL])?;
    }

    /// two hundred pieces scattered over 1 TiB are found again
    fn scattered_pieces(t) {
        let file = create(t.at("f"), 0o644)?;
        let places: Vec<i64> = pattern(9, 1_600)
            .chunks_exact(8)
            .map(|chunk| {
                (u64::from_le_bytes(chunk.try_into().unwrap_or_default()) % (1 << 28)) as i64 * 4_096
            })
            .collect();
        for at in &places {
            file.pwrite(&pattern(*at as u64, 4_096), *at)?;
        }
        file.fsync()?;
        file.drop_cache()?;
        for at in &places {
            equal_bytes(&file.pread(4_096, *at)?, &pattern(*at as u64, 4_096))?;
        }
    }

    /// a hole can be filled from behind
    fn filled_backwards(t) {
        let file = create(t.at("f"), 0o644)?;
        let data = pattern(10, 200_000);
        for (at, piece) in data.chunks(7_000).enumerate().collect::<Vec<_>>().into_iter().rev() {
            write_all_at(&file, piece, at as i64 * 7_000)?;
        }
        equal_bytes(&read_all(t.at("f"))?, &data)?;
    }

    /// a byte in the middle of a hole leaves zeros around it
    fn byte_in_a_hole(t) {
        let file = create(t.at("f"), 0o644)?;
        file.truncate(100_000)?;
        file.pwrite(b"x", 50_001)?;
        let mut want = vec![0; 100_000];
        want[50_001] = b'x';
        equal_bytes(&read_all(t.at("f"))?, &want)?;
        file.fsync()?;
        file.drop_cache()?;
        equal_bytes(&read_all(t.at("f"))?, &want)?;
    }

    /// zeros that were written are zeros, and overwrite what was there
    fn written_zeros(t) {
        let path = t.file("f", &pattern(11, 50_000))?;
        let file = crate::place::open_rw(&path)?;
        file.pwrite(&[0; 20_000], 10_000)?;
        file.fsync()?;
        file.drop_cache()?;
        let mut want = pattern(11, 50_000);
        want[10_000..30_000].fill(0);
        equal_bytes(&read_all(&path)?, &want)?;
    }
}
