//! The wire decoder and the server of requests, opened to `tools/fuzzing`; no part of the API.
//!
//! The kernel's place is taken by a file in memory, into which answers are written.

use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use offshoot_vfs::Vfs;
use rustix::fs::{MemfdFlags, SeekFrom};

use super::device::Device;
use super::operations::Requests;
use super::wire::init::Offer;
use super::wire::reply::Reply;
use super::wire::request::{Dialect, HEADER_BYTES, Header, Operation, Request};
use super::wire::{Fields, opcode};

/// How long an answer that comes from another thread may take.
const LATER_MAX: Duration = Duration::from_secs(20);

/// Decodes a whole request, as the kernel would send it, and the arguments of the first exchange.
pub fn request(bytes: &[u8], long_setxattr: bool) {
    if let Ok(offer) = Offer::decode(Fields::new(bytes)) {
        let _ = offer.agree();
    }
    let Ok(decoded) = Request::decode(bytes, Dialect { long_setxattr }) else { return };
    let arguments = bytes.len() - HEADER_BYTES;
    assert!(decoded.groups.iter().count() <= arguments / 4, "more groups than bytes");
    if let Operation::ForgetMany(forgets) = decoded.operation {
        assert!(forgets.iter().count() <= arguments / 16, "more numbers than bytes");
    }
}

/// One mount without a kernel.
pub struct Kernel {
    requests: Requests,
    device: Arc<Device>,
    answers: OwnedFd,
    reply: Reply,
}

impl Kernel {
    /// Serves a file system to nobody.
    ///
    /// # Errors
    /// What the system says to a file in memory.
    pub fn new(vfs: Vfs) -> std::io::Result<Kernel> {
        static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
        let runtime = RUNTIME.get_or_init(|| {
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime needs nothing")
        });
        let offered: Vec<u8> =
            [7_u32, 45, 0, u32::MAX, u32::MAX].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let offer = Offer::decode(Fields::new(&offered)).expect("it has every field");
        let agreement = offer.agree().expect("it is the version that is spoken");
        let answers = rustix::fs::memfd_create("answers", MemfdFlags::CLOEXEC)?;
        let device = Arc::new(Device::new(answers.try_clone()?));
        let handle = runtime.handle().clone();
        let requests = Requests::new(vfs, handle, Arc::default(), Arc::default(), &agreement);
        Ok(Kernel { requests, device, answers, reply: Reply::new() })
    }

    /// Sends one request, given its arguments, from one of two users. Gives what was answered behind the header, if anything.
    ///
    /// # Panics
    /// If it is not answered exactly once, as it should be, or not with its own number.
    pub fn ask(&mut self, opcode: u32, node: u64, privileged: bool, arguments: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES + arguments.len());
        bytes.extend_from_slice(&((HEADER_BYTES + arguments.len()) as u32).to_ne_bytes());
        bytes.extend_from_slice(&opcode.to_ne_bytes());
        bytes.extend_from_slice(&77_u64.to_ne_bytes());
        bytes.extend_from_slice(&node.to_ne_bytes());
        let user: u32 = if privileged { 0 } else { 1000 };
        bytes.extend_from_slice(&user.to_ne_bytes());
        bytes.extend_from_slice(&user.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(arguments);
        self.send(&bytes)
    }

    /// As [`Kernel::ask`], with a header that may be anything.
    ///
    /// # Panics
    /// As [`Kernel::ask`].
    pub fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.requests.serve(&self.device, bytes, &mut self.reply);
        let Ok(header) = Header::decode(bytes) else {
            assert!(self.answered().is_empty(), "what names no request was answered");
            return Vec::new();
        };
        if !opcode::is_answered(header.opcode) {
            assert!(self.answered().is_empty(), "a request that nobody waits for was answered");
            return Vec::new();
        }
        let asked = Instant::now();
        let answer = loop {
            let answer = self.answered();
            if !answer.is_empty() {
                break answer;
            }
            assert!(asked.elapsed() < LATER_MAX, "a request is never answered: {header:?}");
            std::thread::sleep(Duration::from_micros(20));
        };
        let mut fields = Fields::new(&answer);
        assert_eq!(fields.u32(), Ok(answer.len() as u32), "two answers, or a wrong length");
        fields.skip(4).expect("the header of an answer has 16 bytes");
        assert_eq!(fields.u64(), Ok(header.unique), "the answer to another request");
        fields.rest().to_vec()
    }

    /// Ends the mount.
    pub fn end(self) {
        self.requests.end();
    }

    fn answered(&self) -> Vec<u8> {
        let length = rustix::fs::fstat(&self.answers).map_or(0, |stat| stat.st_size as usize);
        let mut bytes = vec![0; length];
        if length > 0 {
            let read = rustix::io::pread(&self.answers, &mut bytes, 0);
            assert_eq!(read, Ok(length), "a file in memory is read whole");
            rustix::fs::ftruncate(&self.answers, 0).expect("a file in memory is cut");
            rustix::fs::seek(&self.answers, SeekFrom::Start(0)).expect("a file in memory is sought in");
        }
        bytes
    }
}
