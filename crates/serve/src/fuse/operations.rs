//! [`Requests`]: the requests of one mount, each as a call of the POSIX layer, and its answer.
//!
//! An operation is a method that takes the decoded request and returns an [`Answer`] or a [`Refusal`]. Decoding, answering, logging and
//! what happens to a request that panics are in this file alone, so an operation cannot forget one of them.
//!
//! Futures of the pool are normally ready at first poll; one that is not has to fetch from the store, and then its thread waits. A request
//! that cannot be understood or that panics is answered with `EIO` and costs nobody else anything.

mod attributes;
mod content;
mod directories;
mod inodes;
mod names;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use offshoot_engine::{Attributes, Ino, Kind};
use offshoot_vfs::{Caller, Code, Error, Handle, Space, Vfs};

use super::device::Device;
use super::handles::{CachedListings, Handles};
use super::known::Known;
use super::map;
use super::node;
use super::wire::init::{Agreement, Features};
use super::wire::opcode;
use super::wire::reply::{self, Reply};
use super::wire::request::{Dialect, Header, Operation, Request};

/// How long the kernel may keep names and attributes. Changes from elsewhere are told to it at once; this is how long it could be wrong
/// if word of one was lost.
pub(super) const CACHE_TIME: Duration = Duration::from_secs(60);
/// Content that stays cached when a file is opened again; see the invariants of the module `fuse`.
const OPENED: u32 = reply::OPEN_KEEP_CACHE | reply::OPEN_PARALLEL_DIRECT_WRITES;

/// What a request is answered with when it succeeds.
#[derive(Debug)]
enum Answer {
    /// It is done, and there is nothing more to say.
    Done,
    /// What the operation has put into the reply.
    Content,
    /// Content of a file, in pieces that follow one another.
    Pieces(Vec<Bytes>),
    /// A name leads to this inode, and the kernel now knows it once more.
    Entry(Attributes),
    /// There is no such name, which the kernel may remember as long as a name.
    NoEntry,
    Attributes(Attributes),
    /// Attributes with the birth time.
    ExtendedAttributes(Attributes),
    Opened {
        handle: u64,
        flags: u32,
    },
    /// As `Entry`, and it is open.
    Created {
        attributes: Attributes,
        handle: u64,
    },
    /// Bytes that were written or copied, or that a value has.
    Size(u32),
    /// A place in a file, or bytes that were copied.
    Offset(u64),
    Space(Space),
    /// The kernel waits for no answer.
    Unanswered,
    /// Somebody else has the [`Ticket`].
    Later,
}

/// Why it does not succeed.
#[derive(Debug)]
enum Refusal {
    Error(Error),
    /// A matter of the wire alone, with a Linux error number.
    Errno(i32),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Error(error)
    }
}

type Outcome = Result<Answer, Refusal>;

/// One mount's requests.
pub(super) struct Requests {
    vfs: Vfs,
    runtime: tokio::runtime::Handle,
    handles: Arc<Handles>,
    known: Arc<Known>,
    dialect: Dialect,
    /// The kernel says with each write whether set-id bits go; otherwise it follows from who writes.
    says_set_id: bool,
    listings: CachedListings,
}

/// A request and where its answer goes.
struct Asked<'a> {
    device: &'a Arc<Device>,
    request: &'a Request<'a>,
}

impl Asked<'_> {
    fn header(&self) -> &Header {
        &self.request.header
    }

    /// The inode that the request is about.
    fn ino(&self) -> Ino {
        node::ino(self.header().node)
    }

    /// Who asks, with the further groups that the kernel has sent. The kernel has made the checks.
    fn caller(&self) -> Caller {
        let Header { uid, gid, .. } = *self.header();
        Caller { uid, gid, groups: self.request.groups.iter().collect(), privileged: true }
    }

    /// Whether set-id bits end with a change of content, where the kernel does not say so itself.
    fn clears_set_id(&self) -> bool {
        self.header().uid != 0
    }

    /// The right to answer later, for [`Answer::Later`].
    fn ticket(&self) -> Ticket {
        Ticket { device: self.device.clone(), unique: self.header().unique, answered: false }
    }
}

/// An answer that is still owed. Dropping it answers with `EIO`.
struct Ticket {
    device: Arc<Device>,
    unique: u64,
    answered: bool,
}

impl Ticket {
    /// Answers with success or an error and nothing more.
    fn answer(mut self, result: Result<(), Error>) {
        self.send(result.map_or_else(|error| map::errno(&error), |()| 0));
    }

    /// Answers with a number of bytes, or an error.
    fn answer_size(mut self, result: Result<(), Error>, size: u32) {
        match result {
            Ok(()) => {
                let mut reply = Reply::new();
                reply.size(size);
                self.put(reply.finish(self.unique, 0));
            }
            Err(error) => self.send(map::errno(&error)),
        }
    }

    fn send(&mut self, errno: i32) {
        let header = reply::header(reply::HEADER_BYTES, self.unique, errno);
        self.put(&header);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.answered = true;
        if let Err(error) = self.device.write(bytes) {
            tracing::debug!(unique = self.unique, %error, "answer not taken");
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered {
            self.send(libc::EIO);
        }
    }
}

impl Requests {
    pub(super) fn new(
        vfs: Vfs,
        runtime: tokio::runtime::Handle,
        handles: Arc<Handles>,
        known: Arc<Known>,
        agreement: &Agreement,
    ) -> Requests {
        Requests {
            vfs,
            runtime,
            handles,
            known,
            dialect: agreement.dialect(),
            says_set_id: agreement.features.contains(Features::HANDLE_KILLPRIV_V2),
            listings: CachedListings::default(),
        }
    }

    /// Serves one request, whatever its bytes are.
    pub(super) fn serve(&self, device: &Arc<Device>, bytes: &[u8], reply: &mut Reply) {
        let header = match Header::decode(bytes) {
            Ok(header) => header,
            Err(error) => return tracing::error!(%error, "a request without a header was passed over"),
        };
        reply.clear();
        let served = catch_unwind(AssertUnwindSafe(|| self.outcome(device, bytes, reply)));
        let errno = match served {
            Ok(Ok(Answer::Pieces(pieces))) => return send_pieces(device, &header, &pieces),
            Ok(Ok(answer)) => match self.put(answer, reply) {
                true => 0,
                false => return,
            },
            Ok(Err(Refusal::Errno(errno))) => errno,
            Ok(Err(Refusal::Error(error))) => map::errno(&error),
            Err(_) => {
                tracing::error!(?header, "a request panicked and is answered with EIO");
                libc::EIO
            }
        };
        if !opcode::is_answered(header.opcode) {
            return;
        }
        if let Err(error) = device.write(reply.finish(header.unique, errno)) {
            not_taken(device, &header, &error);
        }
    }

    fn outcome(&self, device: &Arc<Device>, bytes: &[u8], reply: &mut Reply) -> Outcome {
        match Request::decode(bytes, self.dialect) {
            Ok(request) => self.perform(&Asked { device, request: &request }, reply),
            Err(error) => {
                tracing::error!(header = ?Header::decode(bytes), %error, "a request makes no sense");
                Err(Refusal::Errno(libc::EIO))
            }
        }
    }

    fn perform(&self, asked: &Asked<'_>, reply: &mut Reply) -> Outcome {
        match asked.request.operation {
            Operation::Lookup { name } => self.lookup(asked, name),
            Operation::Forget { count } => self.forget([(asked.header().node, count)].into_iter()),
            Operation::ForgetMany(forgets) => self.forget(forgets.iter()),
            Operation::Attributes => self.attributes(asked),
            Operation::ExtendedAttributes => self.extended_attributes(asked),
            Operation::SetAttributes(set) => self.set_attributes(asked, set),
            Operation::ReadLink => self.read_link(asked, reply),
            Operation::Symlink { name, target } => self.symlink(asked, name, target),
            Operation::MakeNode { name, mode, umask, rdev } => self.make_node(asked, name, mode, umask, rdev),
            Operation::MakeDirectory { name, mode, umask } => self.make_directory(asked, name, mode, umask),
            Operation::Unlink { name } => self.unlink(asked, name),
            Operation::RemoveDirectory { name } => self.remove_directory(asked, name),
            Operation::Rename { name, new_parent, new_name, flags } => {
                self.rename(asked, name, new_parent, new_name, flags)
            }
            Operation::Link { node, name } => self.link(asked, node, name),
            Operation::Open { flags } => self.open(asked, flags),
            Operation::Create { name, flags, mode, umask } => self.create(asked, name, flags, mode, umask),
            Operation::CreateUnnamed { flags, mode, umask } => self.create_unnamed(asked, flags, mode, umask),
            Operation::Read { handle, offset, size } => self.read(handle, offset, size),
            Operation::Write { handle, offset, data, flags, kill_set_id } => {
                let clear_set_id = if self.says_set_id { kill_set_id } else { asked.clears_set_id() };
                self.write(asked, handle, offset, data, flags, clear_set_id)
            }
            Operation::Space => Ok(Answer::Space(block_on(self.vfs.space()))),
            Operation::Release { handle } => self.release(handle),
            Operation::Sync => self.sync(asked),
            Operation::SetXattr { name, value, flags, kill_set_gid } => {
                self.set_xattr(asked, name, value, flags, kill_set_gid)
            }
            Operation::Xattr { name, size } => self.xattr(asked, name, size, reply),
            Operation::Xattrs { size } => self.xattrs(asked, size, reply),
            Operation::RemoveXattr { name } => self.remove_xattr(asked, name),
            Operation::OpenDirectory => self.open_directory(asked.ino()),
            Operation::ReadDirectory { offset, size, plus } => {
                self.read_directory(asked, offset, size, plus, reply)
            }
            Operation::ReleaseDirectory { handle } => self.release_directory(asked.ino(), handle),
            Operation::Destroy => Ok(Answer::Done),
            Operation::Allocate { handle, offset, length, mode } => {
                self.allocate(asked, handle, offset, length, mode)
            }
            Operation::Seek { handle, offset, whence } => self.seek(handle, offset, whence),
            Operation::CopyRange(range) => self.copy_range(asked, range),
            // Among others: flushing, since nothing is kept back that closing would have to bring in, and interrupts, since nothing waits
            // for long. The kernel does not ask again.
            Operation::Other => Err(Refusal::Errno(libc::ENOSYS)),
        }
    }

    /// Puts an answer into the reply; false if none is to be sent from here.
    fn put(&self, answer: Answer, reply: &mut Reply) -> bool {
        match answer {
            Answer::Done | Answer::Content | Answer::Pieces(_) => {}
            Answer::Entry(attributes) => {
                self.known.remember(attributes.ino, attributes.kind == Kind::Directory);
                reply.entry(&map::inode(&attributes), CACHE_TIME);
            }
            Answer::NoEntry => reply.entry(&map::absent(), CACHE_TIME),
            Answer::Attributes(attributes) => reply.attributes(&map::inode(&attributes), CACHE_TIME),
            Answer::ExtendedAttributes(attributes) => {
                reply.extended_attributes(&map::inode(&attributes), CACHE_TIME);
            }
            Answer::Opened { handle, flags } => reply.opened(handle, flags),
            Answer::Created { attributes, handle } => {
                self.known.remember(attributes.ino, attributes.kind == Kind::Directory);
                reply.entry(&map::inode(&attributes), CACHE_TIME);
                reply.opened(handle, OPENED);
            }
            Answer::Size(size) => reply.size(size),
            Answer::Offset(offset) => reply.offset(offset),
            Answer::Space(space) => reply.space(&map::space(&space)),
            Answer::Unanswered | Answer::Later => return false,
        }
        true
    }

    fn handle(&self, number: u64) -> Result<Arc<Handle>, Error> {
        self.handles
            .get(number)
            .ok_or_else(|| Error::new(Code::BadHandle, "the kernel names a handle that is closed"))
    }

    /// Closes and forgets what the kernel had, at the end of the mount.
    pub(super) fn end(&self) {
        for handle in self.handles.drain() {
            if let Err(error) = block_on(self.vfs.close(&handle)) {
                tracing::debug!(%error, "an open file of the mount is freed when the pool is opened next");
            }
        }
        for (ino, count) in self.known.drain() {
            self.vfs.forget(ino, count);
        }
    }
}

/// Answers a read without bringing its pieces together.
fn send_pieces(device: &Device, header: &Header, pieces: &[Bytes]) {
    let length = reply::HEADER_BYTES + pieces.iter().map(Bytes::len).sum::<usize>();
    if let Err(error) = device.write_pieces(&reply::header(length, header.unique, 0), pieces) {
        not_taken(device, header, &error);
    }
}

fn not_taken(device: &Device, header: &Header, error: &io::Error) {
    if error.kind() == io::ErrorKind::InvalidInput {
        // Whoever asked would wait for ever.
        tracing::error!(?header, "the kernel refused an answer; it gets EIO instead");
        let _ = device.write(&reply::header(reply::HEADER_BYTES, header.unique, libc::EIO));
    } else {
        // The mount ends, and what the answer had counted ends with it.
        tracing::debug!(?header, %error, "answer not taken");
    }
}

#[cfg(test)]
mod tests;
