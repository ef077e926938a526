//! [`Device`]: the file through which the kernel and this server talk, and [`Notifier`], which tells the kernel something on its own.
//!
//! A request is answered through the descriptor that it was read from, since the kernel looks for it in the queue of that one.
//!
//! The one `unsafe` is the system call that ties a new descriptor to a mount: it reads one 32-bit number, which lives until the call
//! returns, and changes no memory of ours.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

use super::wire::init::DATA_BYTES_MAX;
use super::wire::notify;

/// Where the kernel offers it.
pub(super) const DEVICE: &str = "/dev/fuse";

/// `FUSE_DEV_IOC_CLONE`.
const CLONE: Opcode = opcode::read::<u32>(229, 0);

/// Parts of an answer that go out as they are: a header, and 2 pieces for each 16 KiB of the longest read and one more, which are
/// the most that the pool makes of it.
const PARTS: usize = 2 + 2 * (DATA_BYTES_MAX / (16 << 10));

/// One descriptor of a mount.
#[derive(Debug)]
pub(super) struct Device(OwnedFd);

impl Device {
    pub(super) fn new(descriptor: OwnedFd) -> Device {
        Device(descriptor)
    }

    /// A descriptor of the same mount with a queue of its own.
    ///
    /// # Errors
    /// What the system says; an ordinary user may be kept from opening the device.
    pub(super) fn duplicate(&self) -> io::Result<Device> {
        let opened = OwnedFd::from(File::options().read(true).write(true).open(DEVICE)?);
        // A descriptor is never negative.
        let ours = self.0.as_raw_fd() as u32;
        // SAFETY: see the head of this file; the number and type of the argument are those of the kernel's header.
        unsafe { ioctl(&opened, Setter::<CLONE, u32>::new(ours))? };
        Ok(Device(opened))
    }

    /// Waits for a request and reads all of it; returns its length in bytes. The buffer must have room for the longest.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0.as_fd(), buffer)?)
    }

    /// Gives the kernel one answer or notification.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        // The kernel takes one message whole or not at all.
        rustix::io::write(self.0.as_fd(), bytes)?;
        Ok(())
    }

    /// As [`Device::write`], of a header and what comes after it.
    pub(super) fn write_pieces(&self, header: &[u8], pieces: &[Bytes]) -> io::Result<()> {
        let parts = std::iter::once(header).chain(pieces.iter().map(|piece| &piece[..]));
        if pieces.len() >= PARTS {
            return self.write(&parts.collect::<Vec<_>>().concat());
        }
        let mut list = [IoSlice::new(&[]); PARTS];
        list.iter_mut().zip(parts).for_each(|(slot, part)| *slot = IoSlice::new(part));
        rustix::io::writev(self.0.as_fd(), &list[..=pieces.len()])?;
        Ok(())
    }
}

/// Tells the kernel of changes. Each call may wait for locks that the kernel holds while one of its requests is served.
#[derive(Clone, Debug)]
pub(super) struct Notifier(Arc<Device>);

impl Notifier {
    pub(super) fn new(device: Arc<Device>) -> Notifier {
        Notifier(device)
    }

    /// See [`notify::invalidate_inode`]; dirty pages are written back first.
    pub(super) fn invalidate_inode(&self, node: u64, offset: i64, length: i64) -> io::Result<()> {
        taken(self.0.write(&notify::invalidate_inode(node, offset, length)))
    }

    /// See [`notify::invalidate_entry`].
    pub(super) fn invalidate_entry(&self, parent: u64, name: &[u8]) -> io::Result<()> {
        taken(self.0.write(&notify::invalidate_entry(parent, name)))
    }

    /// See [`notify::prune`].
    pub(super) fn prune(&self, nodes: &[u64]) -> io::Result<()> {
        taken(self.0.write(&notify::prune(nodes)))
    }
}

/// What the kernel does not know it need not forget.
fn taken(sent: io::Result<()>) -> io::Result<()> {
    match sent {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        sent => sent,
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::*;

    #[test]
    fn pieces_arrive_as_one_message_however_many_there_are() {
        let (ours, kernel) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let device = Device::new(ours);
        for count in [0, 1, 5, PARTS - 1, PARTS, PARTS + 1, 1500] {
            let pieces: Vec<Bytes> = (0..count).map(|n| Bytes::from(vec![n as u8; 3])).collect();
            device.write_pieces(b"header", &pieces).unwrap();
            let mut message = [0; 8192];
            let length = rustix::io::read(&kernel, &mut message).unwrap();
            assert_eq!(message[..length], [b"header", &pieces.concat()[..]].concat(), "{count}");
        }
    }
}
