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
