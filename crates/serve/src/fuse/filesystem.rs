//! [`Requests`]: each request of the kernel as a call of the POSIX layer, and its answer.
//!
//! Futures of the pool are normally ready at first poll; one that is not has to fetch from the store, and then its thread waits. A request
//! that panics is answered with `EIO` and costs nobody else anything.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};
use futures::executor::block_on;
use offshoot_engine::{Attributes, DirectoryItem, Ino, Kind, SeekTarget, SetTime};
use offshoot_vfs::{AttributeChange, CLONE_ATTRIBUTE, Caller, Code, Create, Error, Handle, Vfs};

use super::handles::Handles;
use super::known::Known;
use super::map;

/// How long the kernel may keep names and attributes. Changes from elsewhere are told to it at once; this is how long it could be wrong
/// if word of one was lost.
pub(super) const CACHE_TIME: Duration = Duration::from_secs(60);
const GENERATION: Generation = Generation(0);
const WRITE_BYTES_MAX: u32 = 1 << 20;
const BACKGROUND_MAX: u16 = 64;
const BLOCK_BYTES: u32 = 4 << 10;
/// Entries that are fetched at a time to fill an answer.
const DIRECTORY_BATCH: usize = 32;
/// Content that stays cached when a file is opened again; see the module's invariants.
const OPENED: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE.union(FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES);

/// What is asked of the kernel beyond `fuser`'s own choice. Not `FUSE_EXPORT_SUPPORT`: a number that the kernel has forgotten cannot be
/// found again. Not `FUSE_ATOMIC_O_TRUNC`: opening would empty a program that runs before the kernel refuses it with `ETXTBSY`.
const WANTED: [InitFlags; 8] = [
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_DONT_MASK,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_POSIX_ACL,
];

/// One mount's requests.
pub(super) struct Requests {
    vfs: Vfs,
    runtime: tokio::runtime::Handle,
    handles: Arc<Handles>,
    known: Known,
    /// The kernel says with each write whether set-id bits go; otherwise it follows from who writes.
    says_set_id: bool,
    /// The kernel opens directories without asking.
    opens_directories: bool,
}

impl Requests {
    pub(super) fn new(vfs: Vfs, runtime: tokio::runtime::Handle, handles: Arc<Handles>) -> Requests {
        Requests {
            vfs,
            runtime,
            handles,
            known: Known::default(),
            says_set_id: false,
            opens_directories: false,
        }
    }

    fn handle(&self, number: FileHandle) -> Result<Arc<Handle>, Error> {
        self.handles
            .get(number.0)
            .ok_or_else(|| Error::new(Code::BadHandle, "the kernel names a handle that is closed"))
    }

    fn entry(&self, reply: ReplyEntry, made: Result<Attributes, Error>) {
        match made {
            Ok(attributes) => {
                self.known.remember(attributes.ino);
                reply.entry(&CACHE_TIME, &map::file_attr(&attributes), GENERATION);
            }
            Err(error) => reply.error(map::errno(&error)),
        }
    }

    fn clears_set_id(&self, req: &Request) -> bool {
        req.uid() != 0
    }

    fn create_file(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        create: Create,
        flags: i32,
    ) -> Result<(Attributes, Handle), Error> {
        let access = map::access(OpenFlags(flags));
        match block_on(self.vfs.create_open(caller, parent, name, create, access)) {
            // Somebody else made it after the kernel had looked.
            Err(error) if error.code() == Code::Exists && flags & libc::O_EXCL == 0 => {
                let attributes = block_on(self.vfs.lookup(caller, parent, name))?;
                match block_on(self.vfs.open(caller, attributes.ino, access)) {
                    Ok(handle) => Ok((attributes, handle)),
                    Err(error) => {
                        self.vfs.forget(attributes.ino, 1);
                        Err(error)
                    }
                }
            }
            created => created,
        }
    }

    /// Gives `add` every entry from `offset` on until it is full. The first two are the directory itself and its parent.
    fn list(
        &self,
        caller: &Caller,
        directory: Ino,
        offset: u64,
        remember: bool,
        mut add: impl FnMut(Entry<'_>) -> bool,
    ) -> Result<(), Error> {
        if offset == 0 && add(Entry::Dots { ino: directory, name: ".", next: 1 }) {
            return Ok(());
        }
        if offset <= 1 && add(Entry::Dots { ino: self.vfs.parent(directory)?, name: "..", next: 2 }) {
            return Ok(());
        }
        // Cookies of the pool start at 3.
        let mut cookie = if offset <= 2 { 0 } else { offset };
        loop {
            let items = block_on(self.vfs.read_dir(caller, directory, cookie, DIRECTORY_BATCH, remember))?;
            for (index, item) in items.iter().enumerate() {
                if add(Entry::Item(item)) {
                    if remember {
                        items[index..].iter().for_each(|item| self.vfs.forget(item.attributes.ino, 1));
                    }
                    return Ok(());
                }
                if remember {
                    self.known.remember(item.attributes.ino);
                }
            }
            match items.last() {
                Some(last) if items.len() >= DIRECTORY_BATCH => cookie = last.cookie,
                _ => return Ok(()),
            }
        }
    }
}

enum Entry<'a> {
    Dots { ino: Ino, name: &'static str, next: u64 },
    Item(&'a DirectoryItem),
}

fn caller(req: &Request) -> Caller {
    Caller { uid: req.uid(), gid: req.gid(), groups: Vec::new(), privileged: true }
}

/// The caller with its further groups, which the kernel does not send. For the rare request that depends on them.
fn caller_with_groups(req: &Request) -> Caller {
    let status = std::fs::read_to_string(format!("/proc/{}/status", req.pid())).unwrap_or_default();
    let groups = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    Caller {
        groups: groups.split_whitespace().filter_map(|group| group.parse().ok()).collect(),
        ..caller(req)
    }
}

fn ino(number: INodeNo) -> Ino {
    Ino(number.0)
}

fn done(reply: ReplyEmpty, result: Result<(), Error>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(map::errno(&error)),
    }
}

fn value(reply: ReplyXattr, size: u32, value: Result<Bytes, Error>) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(map::errno(&error)),
    }
}

/// Runs one request. What it holds of the request is dropped if it panics, and that answers with `EIO`.
fn guard(request: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(request)).is_err() {
        tracing::error!("a request panicked and was answered with EIO");
    }
}

impl Filesystem for Requests {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for wanted in WANTED {
            if config.add_capabilities(wanted).is_err() {
                tracing::debug!(?wanted, "the kernel lacks a capability");
            }
        }
        self.says_set_id = config.add_capabilities(InitFlags::FUSE_HANDLE_KILLPRIV_V2).is_ok();
        if !self.says_set_id && config.add_capabilities(InitFlags::FUSE_HANDLE_KILLPRIV).is_err() {
            tracing::debug!("the kernel ends set-id bits itself");
        }
        self.opens_directories = config.capabilities().contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        // What is out of bounds leaves the kernel's own choice.
        let _ = config.set_max_write(WRITE_BYTES_MAX);
        let _ = config.set_max_background(BACKGROUND_MAX);
        Ok(())
    }

    fn destroy(&mut self) {
        for handle in self.handles.drain() {
            if let Err(error) = block_on(self.vfs.close(&handle)) {
                tracing::debug!(%error, "an open file of the mount is freed when the pool is opened next");
            }
        }
        for (ino, count) in self.known.drain() {
            self.vfs.forget(ino, count);
        }
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        guard(|| match block_on(self.vfs.lookup(&caller(req), ino(parent), name.as_bytes())) {
            Err(error) if error.code() == Code::NoEntry => {
                reply.entry(&CACHE_TIME, &map::absent(), GENERATION)
            }
            found => self.entry(reply, found),
        });
    }

    fn forget(&self, _req: &Request, number: INodeNo, count: u64) {
        guard(|| {
            let count = self.known.forget(ino(number), count);
            if count > 0 {
                self.vfs.forget(ino(number), count);
            }
        });
    }

    fn getattr(&self, _req: &Request, number: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        guard(|| match block_on(self.vfs.attributes(ino(number))) {
            Ok(attributes) => reply.attr(&CACHE_TIME, &map::file_attr(&attributes)),
            Err(error) => reply.error(map::errno(&error)),
        });
    }

    fn setattr(
        &self,
        req: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        guard(|| {
            let handle = handle.and_then(|handle| self.handles.get(handle.0));
            let (atime, mut mtime) = (atime.map(map::set_time), mtime.map(map::set_time));
            if size == Some(0) || (size.is_some() && handle.is_some()) {
                // `ftruncate` and opening with `O_TRUNC` count as a change also where the size stays.
                mtime = mtime.or(Some(SetTime::Now));
            }
            let change = AttributeChange { mode, uid, gid, size, atime, mtime };
            let caller = caller(req);
            match block_on(self.vfs.set_attributes(&caller, ino(number), handle.as_deref(), change)) {
                Ok(attributes) => reply.attr(&CACHE_TIME, &map::file_attr(&attributes)),
                Err(error) => reply.error(map::errno(&error)),
            }
        });
    }

    fn readlink(&self, _req: &Request, number: INodeNo, reply: ReplyData) {
        guard(|| match block_on(self.vfs.read_link(ino(number))) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(map::errno(&error)),
        });
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        guard(|| {
            let Some(kind) = map::kind(mode) else { return reply.error(Errno::EINVAL) };
            let create = Create { rdev, ..Create::new(kind, mode, umask) };
            self.entry(reply, block_on(self.vfs.create(&caller(req), ino(parent), name.as_bytes(), create)));
        });
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        guard(|| {
            let create = Create::new(Kind::Directory, mode, umask);
            self.entry(reply, block_on(self.vfs.create(&caller(req), ino(parent), name.as_bytes(), create)));
        });
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        guard(|| {
            let create = Create::symlink(Bytes::copy_from_slice(target.as_os_str().as_bytes()));
            self.entry(reply, block_on(self.vfs.create(&caller(req), ino(parent), name.as_bytes(), create)));
        });
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        guard(|| done(reply, block_on(self.vfs.unlink(&caller(req), ino(parent), name.as_bytes()))));
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        guard(|| done(reply, block_on(self.vfs.rmdir(&caller(req), ino(parent), name.as_bytes()))));
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        guard(|| {
            let Some(mode) = map::rename_mode(flags) else { return reply.error(Errno::EINVAL) };
            let (name, new_name) = (name.as_bytes(), new_name.as_bytes());
            done(
                reply,
                block_on(self.vfs.rename(&caller(req), ino(parent), name, ino(new_parent), new_name, mode)),
            );
        });
    }

    fn link(&self, req: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        guard(|| {
            let caller = caller(req);
            self.entry(reply, block_on(self.vfs.link(&caller, ino(number), ino(parent), name.as_bytes())));
        });
    }

    fn open(&self, req: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        guard(|| match block_on(self.vfs.open(&caller(req), ino(number), map::access(flags))) {
            Ok(handle) => reply.opened(FileHandle(self.handles.insert(handle)), OPENED),
            Err(error) => reply.error(map::errno(&error)),
        });
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        guard(|| {
            let create = Create::new(Kind::File, mode, umask);
            match self.create_file(&caller(req), ino(parent), name.as_bytes(), create, flags) {
                Ok((attributes, handle)) => {
                    self.known.remember(attributes.ino);
                    let number = FileHandle(self.handles.insert(handle));
                    reply.created(&CACHE_TIME, &map::file_attr(&attributes), GENERATION, number, OPENED);
                }
                Err(error) => reply.error(map::errno(&error)),
            }
        });
    }

    fn read(
        &self,
        _req: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        guard(|| {
            let read = self
                .handle(handle)
                .and_then(|handle| block_on(self.vfs.read(&handle, offset, size as usize)));
            match read {
                Ok(pieces) => match pieces.as_slice() {
                    [piece] => reply.data(piece),
                    pieces => reply.data(&pieces.concat()),
                },
                Err(error) => reply.error(map::errno(&error)),
            }
        });
    }

    fn write(
        &self,
        req: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        guard(|| {
            let clear_set_id = if self.says_set_id {
                write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID)
            } else {
                self.clears_set_id(req)
            };
            let written = self.handle(handle).and_then(|handle| {
                let bytes = Bytes::copy_from_slice(data);
                block_on(self.vfs.write_at(&handle, offset, bytes, clear_set_id))?;
                if map::is_durable(flags) { block_on(self.vfs.sync()) } else { Ok(()) }
            });
            match written {
                Ok(()) => reply.written(data.len() as u32),
                Err(error) => reply.error(map::errno(&error)),
            }
        });
    }

    /// Nothing is kept back that closing would have to bring in. The kernel does not ask again.
    fn flush(
        &self,
        _req: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _req: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        guard(|| match self.handles.remove(handle.0) {
            Some(handle) => done(reply, block_on(self.vfs.close(&handle))),
            None => reply.ok(),
        });
    }

    fn fsync(
        &self,
        _req: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        guard(|| done(reply, block_on(self.vfs.sync())));
    }

    /// Where the kernel can do without, it opens directories itself from the first answer on, and caches what it reads of them.
    fn opendir(&self, _req: &Request, _number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        if self.opens_directories {
            reply.error(Errno::ENOSYS);
        } else {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
        }
    }

    fn readdir(
        &self,
        req: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        guard(|| {
            let listed = self.list(&caller(req), ino(number), offset, false, |entry| match entry {
                Entry::Dots { ino, name, next } => {
                    reply.add(INodeNo(ino.0), next, fuser::FileType::Directory, name)
                }
                Entry::Item(item) => {
                    let attributes = &item.attributes;
                    let name = OsStr::from_bytes(&item.name);
                    reply.add(INodeNo(attributes.ino.0), item.cookie, map::file_type(attributes.kind), name)
                }
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(map::errno(&error)),
            }
        });
    }

    fn readdirplus(
        &self,
        req: &Request,
        number: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        guard(|| {
            let listed = self.list(&caller(req), ino(number), offset, true, |entry| match entry {
                Entry::Dots { ino, name, next } => {
                    // The kernel takes the type and the number of these two, and counts no reference.
                    let attr = fuser::FileAttr {
                        ino: INodeNo(ino.0),
                        kind: fuser::FileType::Directory,
                        ..map::absent()
                    };
                    reply.add(attr.ino, next, name, &Duration::ZERO, &attr, GENERATION)
                }
                Entry::Item(item) => {
                    let attr = map::file_attr(&item.attributes);
                    let name = OsStr::from_bytes(&item.name);
                    reply.add(attr.ino, item.cookie, name, &CACHE_TIME, &attr, GENERATION)
                }
            });
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.error(map::errno(&error)),
            }
        });
    }

    fn fsyncdir(
        &self,
        _req: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        guard(|| done(reply, block_on(self.vfs.sync())));
    }

    fn statfs(&self, _req: &Request, _number: INodeNo, reply: ReplyStatfs) {
        guard(|| {
            let space = block_on(self.vfs.space());
            let block = u64::from(BLOCK_BYTES);
            let (total, free) = (space.total_bytes / block, space.free_bytes / block);
            let files = space.files.saturating_add(space.free_files);
            let (name, size) = (space.name_bytes_max, BLOCK_BYTES);
            reply.statfs(total, free, free, files, space.free_files, size, name, size);
        });
    }

    fn setxattr(
        &self,
        req: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        guard(|| {
            let Some(how) = map::xattr_mode(flags) else { return reply.error(Errno::EINVAL) };
            let name = name.as_bytes();
            if name == CLONE_ATTRIBUTE {
                // A clone first brings in what mappings of this mount hold, so this thread has to go on serving. The kernel has checked
                // nothing about the destination.
                let caller = Caller { privileged: req.uid() == 0, ..caller_with_groups(req) };
                let (vfs, value) = (self.vfs.clone(), value.to_vec());
                self.runtime.spawn_blocking(move || {
                    let cloned = vfs.set_xattr(&caller, ino(number), CLONE_ATTRIBUTE, &value, how);
                    done(reply, block_on(cloned));
                });
                return;
            }
            let caller = if name.starts_with(b"system.") { caller_with_groups(req) } else { caller(req) };
            done(reply, block_on(self.vfs.set_xattr(&caller, ino(number), name, value, how)));
        });
    }

    fn getxattr(&self, req: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        guard(|| value(reply, size, block_on(self.vfs.xattr(&caller(req), ino(number), name.as_bytes()))));
    }

    fn listxattr(&self, req: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        guard(|| {
            let names = block_on(self.vfs.xattrs(&caller(req), ino(number)));
            let joined = names.map(|names| {
                let mut joined = Vec::new();
                for name in names {
                    joined.extend_from_slice(&name);
                    joined.push(0);
                }
                Bytes::from(joined)
            });
            value(reply, size, joined);
        });
    }

    fn removexattr(&self, req: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        guard(|| done(reply, block_on(self.vfs.remove_xattr(&caller(req), ino(number), name.as_bytes()))));
    }

    fn ioctl(
        &self,
        _req: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _input: &[u8],
        _output_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn poll(
        &self,
        _req: &Request,
        _number: INodeNo,
        _handle: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        req: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        guard(|| {
            let Some(mode) = map::allocate_mode(mode) else { return reply.error(Errno::EOPNOTSUPP) };
            let clear_set_id = self.clears_set_id(req);
            let allocated = self
                .handle(handle)
                .and_then(|handle| block_on(self.vfs.allocate(&handle, offset, length, mode, clear_set_id)));
            done(reply, allocated);
        });
    }

    fn lseek(
        &self,
        _req: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        guard(|| {
            let target = match whence {
                libc::SEEK_DATA => SeekTarget::Data,
                libc::SEEK_HOLE => SeekTarget::Hole,
                _ => return reply.error(Errno::EINVAL),
            };
            let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
            let found =
                self.handle(handle).and_then(|handle| block_on(self.vfs.seek(&handle, offset, target)));
            match found {
                Ok(found) => reply.offset(found as i64),
                Err(error) => reply.error(map::errno(&error)),
            }
        });
    }

    fn copy_file_range(
        &self,
        req: &Request,
        _source: INodeNo,
        source: FileHandle,
        source_offset: u64,
        _destination: INodeNo,
        destination: FileHandle,
        destination_offset: u64,
        length: u64,
        flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        guard(|| {
            if !flags.is_empty() {
                return reply.error(Errno::EINVAL);
            }
            // The answer has 32 bits; the kernel asks again for the rest, which starts at a whole block.
            let length = length.min(u64::from(!(BLOCK_BYTES - 1)));
            let copied = self.handle(source).and_then(|source| {
                let destination = self.handle(destination)?;
                let clear_set_id = self.clears_set_id(req);
                let copy = self.vfs.copy_range(
                    &source,
                    source_offset,
                    &destination,
                    destination_offset,
                    length,
                    clear_set_id,
                );
                block_on(copy)
            });
            match copied {
                Ok(copied) => reply.written(copied as u32),
                Err(error) => reply.error(map::errno(&error)),
            }
        });
    }
}
