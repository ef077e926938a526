//! How a worker waits for its next request: in a blocking read, and nothing else. Decision 0013 tells what was measured with a worker
//! that looks for a while before it blocks.

use std::io;

use rustix::io::Errno;

use crate::fuse::device::Device;

/// Reads the next request into `buffer`; `None` when the mount has ended.
///
/// # Errors
/// When the device fails; no more requests come through it then.
pub(super) fn next(device: &Device, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        let error = match device.read(buffer) {
            Ok(length) => return Ok(Some(length)),
            Err(error) => error,
        };
        match Errno::from_io_error(&error) {
            // A request that was taken back before it was read, and a signal.
            Some(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
            Some(Errno::NODEV) => return Ok(None),
            _ => return Err(error),
        }
    }
}
