//! The first exchange of a mount: both sides say what they speak. Nothing else is served before.

use std::io;

use super::wait;
use crate::fuse::device::Device;
use crate::fuse::wire::init::{self, Agreement, Offer};
use crate::fuse::wire::reply::Reply;
use crate::fuse::wire::request::{self, Header};
use crate::fuse::wire::{Fields, MINOR_MIN, Malformed, VERSION, opcode};

/// Answers the kernel's `INIT`.
///
/// # Errors
/// When the mount ends before, the kernel starts with something else, or it is too old.
pub(super) fn greet(device: &Device, buffer: &mut [u8]) -> io::Result<Agreement> {
    loop {
        let Some(length) = wait::next(device, buffer)? else {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "it was unmounted at once"));
        };
        let (header, offer) = decode(&buffer[..length])
            .map_err(|error| failed(format!("the kernel's first request makes no sense: {error}")))?;
        let mut reply = Reply::new();
        if header.opcode != opcode::INIT {
            device.write(reply.finish(header.unique, libc::EIO))?;
            continue;
        }
        if offer.major > VERSION.0 {
            init::encode_version(reply.content());
            device.write(reply.finish(header.unique, 0))?;
            continue;
        }
        let Some(agreement) = offer.agree() else {
            device.write(reply.finish(header.unique, libc::EPROTO))?;
            let Offer { major, minor, .. } = offer;
            return Err(failed(format!(
                "the kernel speaks version {major}.{minor} of the protocol; {}.{MINOR_MIN} or later is needed (Linux 5.4)",
                VERSION.0
            )));
        };
        agreement.encode(reply.content());
        device.write(reply.finish(header.unique, 0))?;
        tracing::debug!(?offer, ?agreement, "agreed with the kernel");
        return Ok(agreement);
    }
}

fn decode(bytes: &[u8]) -> Result<(Header, Offer), Malformed> {
    let header = Header::decode(bytes)?;
    let mut fields = Fields::new(bytes);
    fields.skip(request::HEADER_BYTES)?;
    Ok((header, Offer::decode(fields)?))
}

fn failed(words: String) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, words)
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::*;

    fn pair() -> (Device, OwnedFd) {
        let (ours, kernel) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        (Device::new(ours), kernel)
    }

    fn send(kernel: &OwnedFd, opcode: u32, arguments: &[u32]) {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&(40 + 4 * arguments.len() as u32).to_ne_bytes());
        bytes.extend_from_slice(&opcode.to_ne_bytes());
        bytes.extend_from_slice(&[0; 32]);
        arguments.iter().for_each(|word| bytes.extend_from_slice(&word.to_ne_bytes()));
        rustix::io::write(kernel, &bytes).unwrap();
    }

    fn receive(kernel: &OwnedFd) -> (i32, Vec<u8>) {
        let mut buffer = [0; 256];
        let length = rustix::io::read(kernel, &mut buffer).unwrap();
        (i32::from_ne_bytes(buffer[4..8].try_into().unwrap()), buffer[16..length].to_vec())
    }

    #[test]
    fn what_comes_before_the_first_request_is_refused() {
        let (device, kernel) = pair();
        send(&kernel, opcode::STATFS, &[7, 45, 0, 0]);
        send(&kernel, opcode::INIT, &[7, 45, 0, 0]);
        greet(&device, &mut [0; 4096]).unwrap();
        assert_eq!(receive(&kernel), (-libc::EIO, vec![]));
        let (error, answer) = receive(&kernel);
        assert_eq!((error, answer.len()), (0, 64));
    }

    #[test]
    fn a_later_protocol_is_talked_down() {
        let (device, kernel) = pair();
        send(&kernel, opcode::INIT, &[8, 0]);
        send(&kernel, opcode::INIT, &[7, 45, 0, 0]);
        greet(&device, &mut [0; 4096]).unwrap();
        assert_eq!(receive(&kernel).1[..4], 7_u32.to_ne_bytes());
        assert_eq!(receive(&kernel).0, 0);
    }

    #[test]
    fn a_kernel_that_is_too_old_is_named() {
        let (device, kernel) = pair();
        send(&kernel, opcode::INIT, &[7, 12, 0, 0]);
        let error = greet(&device, &mut [0; 4096]).unwrap_err();
        assert!(error.to_string().contains("7.12"), "{error}");
        assert_eq!(receive(&kernel), (-libc::EPROTO, vec![]));
    }

    #[test]
    fn a_first_request_that_is_cut_short_is_an_error() {
        let (device, kernel) = pair();
        send(&kernel, opcode::INIT, &[7]);
        assert_eq!(greet(&device, &mut [0; 4096]).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
