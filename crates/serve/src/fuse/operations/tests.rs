//! Requests as bytes, served without a kernel: the device is one end of a pair of sockets.

use std::os::fd::OwnedFd;

use offshoot_engine::log::{MemoryLog, ObjectLog};
use offshoot_engine::object::MemoryStore;
use offshoot_engine::{OpenMode, Pool, Settings, Storage, SystemClock};
use offshoot_vfs::VfsSettings;
use proptest::prelude::*;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::*;
use crate::fuse::wire::Fields;
use crate::fuse::wire::init::Offer;

/// A mount without a kernel.
struct Server {
    requests: Requests,
    device: Arc<Device>,
    kernel: OwnedFd,
    runtime: Option<tokio::runtime::Runtime>,
    reply: Reply,
}

/// The error number, positive, and what comes after the header.
type Answered = (i32, Vec<u8>);

impl Server {
    fn new() -> Server {
        Server::on(Storage { objects: Arc::new(MemoryStore::new()), log: Arc::new(MemoryLog::new()) })
    }

    fn on(storage: Storage) -> Server {
        let clock = Arc::new(SystemClock::default());
        let opened = Pool::open(storage, clock, Settings::default(), OpenMode::Create);
        let vfs = Vfs::new(block_on(opened).unwrap(), VfsSettings::default());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let offer: Vec<u8> =
            [7_u32, 45, 0, u32::MAX, u32::MAX].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let agreement = Offer::decode(Fields::new(&offer)).unwrap().agree().unwrap();
        let (ours, kernel) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        let requests =
            Requests::new(vfs, runtime.handle().clone(), Arc::default(), Arc::default(), &agreement);
        let device = Arc::new(Device::new(ours));
        Server { requests, device, kernel, runtime: Some(runtime), reply: Reply::new() }
    }

    fn serve(&mut self, bytes: &[u8]) -> Option<Answered> {
        self.requests.serve(&self.device, bytes, &mut self.reply);
        self.answered()
    }

    fn ask(&mut self, opcode: u32, node: u64, arguments: &[u8]) -> Option<Answered> {
        self.serve(&request(opcode, node, arguments))
    }

    fn answered(&self) -> Option<Answered> {
        let mut buffer = vec![0; 1 << 16];
        let length = rustix::io::read(&self.kernel, &mut buffer).ok()?;
        let mut fields = Fields::new(&buffer[..length]);
        assert_eq!(fields.u32().unwrap() as usize, length);
        let errno = fields.u32().unwrap().cast_signed();
        assert_eq!(fields.u64().unwrap(), 77);
        Some((-errno, fields.rest().to_vec()))
    }
}

fn request(opcode: u32, node: u64, arguments: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&(40 + arguments.len() as u32).to_ne_bytes());
    bytes.extend_from_slice(&opcode.to_ne_bytes());
    bytes.extend_from_slice(&77_u64.to_ne_bytes());
    bytes.extend_from_slice(&node.to_ne_bytes());
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(arguments);
    bytes
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_ne_bytes()).collect()
}

fn make_directory(name: &[u8]) -> Vec<u8> {
    [&words(&[0o755, 0o022])[..], name, b"\0"].concat()
}

fn number(answer: &[u8]) -> u64 {
    Fields::new(answer).u64().unwrap()
}

const ROOT: u64 = 1;

#[test]
fn what_is_made_is_found() {
    let mut server = Server::new();
    let (errno, made) = server.ask(opcode::MKDIR, ROOT, &make_directory(b"d")).unwrap();
    assert_eq!((errno, made.len()), (0, 128));
    let (errno, found) = server.ask(opcode::LOOKUP, ROOT, b"d\0").unwrap();
    assert_eq!((errno, number(&found)), (0, number(&made)));
    let (errno, missing) = server.ask(opcode::LOOKUP, ROOT, b"missing\0").unwrap();
    assert_eq!((errno, number(&missing)), (0, 0), "a name that is not there may be remembered");
    assert_eq!(server.ask(opcode::MKDIR, ROOT, &make_directory(b"d")).unwrap(), (libc::EEXIST, vec![]));
}

#[test]
fn what_makes_no_sense_is_answered_with_an_error() {
    let mut server = Server::new();
    assert_eq!(server.ask(opcode::LOOKUP, ROOT, b"endless").unwrap().0, libc::EIO);
    assert_eq!(server.ask(opcode::WRITE, ROOT, &[]).unwrap().0, libc::EIO);
    assert_eq!(server.ask(opcode::FORGET, ROOT, &[1]), None, "nobody waits for an answer");
    assert_eq!(server.serve(&request(opcode::GETATTR, ROOT, &[])[..30]), None, "nobody is named to answer");
    assert_eq!(server.ask(opcode::READ, ROOT, &[255; 40]).unwrap().0, libc::EBADF);
    assert_eq!(server.ask(opcode::GETATTR, 12345, &[0; 16]).unwrap().0, libc::ESTALE);
    assert_eq!(server.ask(opcode::GETATTR, ROOT, &[0; 16]).unwrap().0, 0, "and the rest goes on");
}

#[test]
fn what_is_not_served_is_said_once_and_for_all() {
    let mut server = Server::new();
    const FLUSH: u32 = 25;
    const INTERRUPT: u32 = 36;
    for opcode in [FLUSH, INTERRUPT, 39, 40, 54, u32::MAX] {
        assert_eq!(server.ask(opcode, ROOT, &[0; 64]).unwrap().0, libc::ENOSYS, "{opcode}");
    }
}

/// Two whose listings were both cached could leave one in the kernel that lacks a change.
#[test]
fn a_directory_is_cached_for_one_who_opens_it_at_a_time() {
    const CACHES: u32 = 1 << 3;
    let mut server = Server::new();
    let open = |server: &mut Server| {
        let (errno, opened) = server.ask(opcode::OPENDIR, ROOT, &[0; 8]).unwrap();
        assert_eq!((errno, opened.len()), (0, 16));
        let flags = u32::from_ne_bytes(opened[8..12].try_into().unwrap());
        (opened[..8].to_vec(), flags & CACHES != 0)
    };
    let close = |server: &mut Server, handle: &[u8]| {
        let answer = server.ask(opcode::RELEASEDIR, ROOT, &[handle, &[0; 16]].concat());
        assert_eq!(answer.unwrap(), (0, vec![]));
    };
    let (first, second, third) = (open(&mut server), open(&mut server), open(&mut server));
    assert_eq!([first.1, second.1, third.1], [true, false, false]);
    close(&mut server, &second.0);
    assert!(!open(&mut server).1, "the first one is still open");
    close(&mut server, &first.0);
    assert!(open(&mut server).1);
}

/// Running an executor inside of another is refused with a panic, and every request of the pool runs one.
#[test]
fn a_panic_costs_one_request() {
    let mut server = Server::new();
    let answered = block_on(async { server.ask(opcode::GETATTR, ROOT, &[0; 16]) });
    assert_eq!(answered.unwrap(), (libc::EIO, vec![]));
    assert_eq!(server.ask(opcode::GETATTR, ROOT, &[0; 16]).unwrap().0, 0);
}

#[test]
fn a_clone_that_is_never_run_is_answered_too() {
    let mut server = Server::new();
    drop(server.runtime.take());
    let arguments = [&words(&[2, 0, 0, 0])[..], b"user.offshoot.clone\0/c"].concat();
    assert_eq!(server.ask(opcode::SETXATTR, ROOT, &arguments).unwrap().0, libc::EIO);
}

#[test]
fn syncing_the_file_system_is_a_sync() {
    let mut server = Server::new();
    for opcode in [opcode::SYNCFS, opcode::FSYNC, opcode::FSYNCDIR] {
        let before = server.requests.vfs.pool().metrics().syncs.get();
        assert_eq!(server.ask(opcode, ROOT, &[0; 16]).unwrap(), (0, vec![]));
        assert_eq!(server.requests.vfs.pool().metrics().syncs.get(), before + 1);
    }
}

#[test]
fn a_sync_over_a_network_is_answered_when_it_is_done() {
    let objects = Arc::new(MemoryStore::new());
    let log = Arc::new(ObjectLog::new(objects.clone(), 1));
    let mut server = Server::on(Storage { objects, log });
    for number in 0..3_u8 {
        server.ask(opcode::MKDIR, ROOT, &make_directory(&[b'a' + number])).unwrap();
        server.requests.serve(&server.device, &request(opcode::FSYNC, ROOT, &[0; 16]), &mut server.reply);
        let until = std::time::Instant::now() + Duration::from_secs(60);
        let answered = std::iter::repeat_with(|| server.answered())
            .inspect(|_| std::thread::sleep(Duration::from_millis(1)))
            .take_while(|_| std::time::Instant::now() < until)
            .find_map(|answered| answered);
        assert_eq!(answered, Some((0, vec![])));
    }
    assert_eq!(block_on(server.requests.vfs.pool().status()).unsynced_bytes, 0);
}

#[test]
fn a_file_without_a_name_is_made_open() {
    let mut server = Server::new();
    let flags = (libc::O_TMPFILE | libc::O_RDWR) as u32;
    let (errno, made) = server.ask(opcode::TMPFILE, ROOT, &words(&[flags, 0o100_600, 0, 0])).unwrap();
    assert_eq!((errno, made.len()), (0, 128 + 16));
    let node = number(&made);
    let handle = number(&made[128..]);
    assert_eq!(server.ask(opcode::GETATTR, node, &[0; 16]).unwrap().0, 0);
    server.ask(opcode::RELEASE, node, &[&handle.to_ne_bytes()[..], &[0; 16]].concat());
    assert_eq!(server.ask(opcode::FORGET, node, &1_u64.to_ne_bytes()), None);
    assert_eq!(server.ask(opcode::GETATTR, node, &[0; 16]).unwrap().0, libc::ESTALE);
}

#[test]
fn more_is_forgotten_than_was_known_and_nothing_breaks() {
    let mut server = Server::new();
    let (_, made) = server.ask(opcode::MKDIR, ROOT, &make_directory(b"d")).unwrap();
    for node in [number(&made), ROOT, 0, u64::MAX] {
        assert_eq!(server.ask(opcode::FORGET, node, &u64::MAX.to_ne_bytes()), None);
    }
    assert_eq!(server.ask(opcode::LOOKUP, ROOT, b"d\0").unwrap().0, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Well-formed headers with arbitrary arguments, a few dozen to one server: every request that is to be answered is, once, and the
    /// server goes on.
    #[test]
    fn arbitrary_arguments_are_answered_once(
        asked in proptest::collection::vec(
            (0_u32..60, 0_u64..4, proptest::collection::vec(any::<u8>(), 0..96)),
            1..40,
        ),
    ) {
        let mut server = Server::new();
        for (opcode, node, arguments) in asked {
            let answered = server.ask(opcode, node, &arguments);
            prop_assert_eq!(answered.is_some(), opcode::is_answered(opcode), "{}", opcode);
            prop_assert_eq!(server.answered(), None);
        }
        prop_assert_eq!(server.ask(opcode::GETATTR, ROOT, &[0; 16]).unwrap().0, 0);
    }
}
