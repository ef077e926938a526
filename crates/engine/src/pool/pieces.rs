//! [`Pieces`]: what a read found, put together with as little copying as is worth it.

use bytes::{Bytes, BytesMut};

/// From this many bytes on, a piece is handed out as it lies in the cache; less is copied, so that the caller gets few pieces.
const SHARED_BYTES_MIN: usize = 16 << 10;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Bytes in order, some of them shared with the cache.
#[derive(Default)]
pub(super) struct Pieces {
    done: Vec<Bytes>,
    /// Copied bytes that follow what is done.
    copied: BytesMut,
}

impl Pieces {
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.copied.extend_from_slice(bytes);
    }

    pub(super) fn share(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            self.copy(&bytes);
        } else {
            self.end_copied();
            self.done.push(bytes);
        }
    }

    pub(super) fn zeros(&mut self, mut count: usize) {
        while count > 0 {
            let zeros = Bytes::from_static(&ZEROS[..count.min(ZEROS.len())]);
            count -= zeros.len();
            self.share(zeros);
        }
    }

    pub(super) fn finish(mut self) -> Vec<Bytes> {
        self.end_copied();
        self.done
    }

    fn end_copied(&mut self) {
        if !self.copied.is_empty() {
            self.done.push(self.copied.split().freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bytes_are_gathered_and_large_ones_shared() {
        let large = Bytes::from(vec![7; SHARED_BYTES_MIN]);
        let mut pieces = Pieces::default();
        pieces.copy(b"ab");
        pieces.share(Bytes::from_static(b"cd"));
        pieces.zeros(2);
        pieces.share(large.clone());
        pieces.zeros(ZEROS.len() + 1);
        pieces.copy(b"e");
        let found = pieces.finish();
        assert_eq!(found.len(), 4);
        assert_eq!(found[0], b"abcd\0\0"[..]);
        assert_eq!(found[1].as_ptr(), large.as_ptr());
        assert_eq!(found[2].len(), ZEROS.len());
        assert_eq!(found[3], b"\0e"[..]);
        assert!(Pieces::default().finish().is_empty());
    }
}
