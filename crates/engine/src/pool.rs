//! [`Pool`]: the engine's front door.
//!
//! Every operation names inodes by [`Ino`]. A number is known to the pool from the call that returned it
//! ([`Pool::lookup`], [`Pool::read_dir`], [`Pool::create`], ...) until [`Pool::forget`]; each such return counts one reference.
//! A file whose last name goes stays whole for as long as its number is known or held: whoever has just looked it up can
//! still open it.
//! [`Ino::ROOT`] is always known.

mod background;
mod guard;
mod inner;
mod pause;
mod pieces;
mod read;
mod read_ahead;
mod unchanged;
mod upkeep;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use guard::Guard;
pub(crate) use inner::{Inner, NODE_MEMORY_BYTES, Parts, TAKEN_OVER};
pub(crate) use read_ahead::ReadAhead;
pub use unchanged::Unchanged;

use crate::log::LogStore;
use crate::metrics::Metrics;
use crate::namespace::{AttributeChange, Operation, Outcome, check_name, check_xattr_size};
use crate::object::ObjectStore;
use crate::record::Name;
use crate::report::{CheckReport, DefragmentReport, Difference, GcReport, Info, RepairReport, Status, Usage};
use crate::{Attributes, Clock, Ino, Kind, Result, Settings, Timestamp};

/// What a pool lives on.
#[derive(Clone)]
pub struct Storage {
    /// Segments and manifests.
    pub objects: Arc<dyn ObjectStore>,
    /// The log.
    pub log: Arc<dyn LogStore>,
}

/// What to do if there is a pool, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Open what is there; `NoPool` if nothing is.
    Existing,
    /// Make a new one; `PoolExists` if one is there.
    Create,
    /// Open what is there or make a new one.
    CreateIfMissing,
}

/// What a new inode starts with.
#[derive(Clone, Debug)]
pub struct NewInode {
    /// Type.
    pub kind: Kind,
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number, for device nodes.
    pub rdev: u32,
    /// Target, for symbolic links; at most 4,095 bytes.
    pub target: Bytes,
    /// Extended attributes to start with (inherited access control lists).
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The pool's clock.
    Now,
    /// This time.
    At(Timestamp),
}

/// Attributes to change; `None` leaves one as it is. The change time always becomes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Size in bytes: cuts off or extends with a hole; also sets the modification time if it differs or `mtime` asks for it.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<SetTime>,
    /// Modification time.
    pub mtime: Option<SetTime>,
    /// Set the change time to this instead of now (used for access-time updates, which pass the old one).
    pub ctime: Option<Timestamp>,
}

/// How [`Pool::rename`] treats an existing destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces it if POSIX allows.
    Replace,
    /// Fails with `Exists`.
    NoReplace,
    /// Swaps the two.
    Exchange,
    /// Replaces it if POSIX allows, and leaves a whiteout at the old name: a character device 0/0 of root without
    /// permissions, by which overlay file systems tell what was removed.
    Whiteout,
}

/// How [`Pool::allocate`] changes a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocateMode {
    /// Extends the size to the end of the range unless `keep_size`; content is kept.
    Allocate {
        /// Leave the size as it is.
        keep_size: bool,
    },
    /// Makes the range a hole; the size is kept.
    PunchHole,
    /// Makes the range read as zeros, extending the size unless `keep_size`.
    ZeroRange {
        /// Leave the size as it is.
        keep_size: bool,
    },
}

/// How [`Pool::set_xattr`] treats an existing attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XattrMode {
    /// Creates or replaces.
    Set,
    /// `Exists` if there is one.
    Create,
    /// `NoAttribute` if there is none.
    Replace,
}

/// What [`Pool::seek`] looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekTarget {
    /// The next byte that is not in a hole.
    Data,
    /// The next hole; the end of the file counts as one.
    Hole,
}

/// How a clone is made.
#[derive(Clone, Debug, Default)]
pub struct CloneOptions {
    /// Every change below it fails with `ReadOnly`.
    pub read_only: bool,
    /// Replace what is at the destination, atomically; the old tree is freed in the background.
    pub replace: bool,
    /// Path of the source, remembered as the clone's origin.
    pub source_path: Vec<u8>,
}

/// One entry of a directory.
#[derive(Clone, Debug)]
pub struct DirectoryItem {
    /// Its name, 1 to 255 bytes without `/` and NUL.
    pub name: Vec<u8>,
    /// Where a later [`Pool::read_dir`] goes on after this entry; 3 or more, below 2^63, stable over changes and restarts.
    pub cookie: u64,
    /// Its attributes.
    pub attributes: Attributes,
}

/// An open pool. Cheap to clone; all clones are the same pool.
#[derive(Clone)]
pub struct Pool {
    pub(crate) inner: Arc<Inner>,
}

impl Pool {
    /// Opens or makes a pool: finds the newest manifest, takes the writer's role and replays the log.
    ///
    /// # Errors
    /// `NoPool`, `PoolExists`, `NewerFormat`, `Corrupt`, `Fenced`, `NoSpace`, `Store`.
    pub async fn open(
        storage: Storage,
        clock: Arc<dyn Clock>,
        settings: Settings,
        mode: OpenMode,
    ) -> Result<Pool> {
        Ok(Pool { inner: crate::recovery::open(storage, clock, settings, mode).await? })
    }

    /// Does all background work until [`Pool::close`]: [`Pool::flush_in_background`], [`Pool::checkpoint_in_background`] and
    /// [`Pool::fetch_in_background`], in turns.
    pub async fn background(&self) {
        futures::join!(
            self.flush_in_background(),
            self.checkpoint_in_background(),
            self.fetch_in_background()
        );
    }

    /// Reads ahead of those who read in order until [`Pool::close`], if the store is at a distance; else it ends at once. Without it
    /// nothing is read ahead.
    pub async fn fetch_in_background(&self) {
        self.inner.fetch_in_background().await;
    }

    /// Writes the log until [`Pool::close`], so that what is not synced waits no longer than the flush interval. Run it on a thread
    /// of its own if the store blocks.
    pub async fn flush_in_background(&self) {
        self.inner.flush_in_background().await;
    }

    /// Makes checkpoints, frees and collects until [`Pool::close`]. Run it on a thread of its own if the store blocks; checkpoints
    /// compress.
    pub async fn checkpoint_in_background(&self) {
        self.inner.checkpoint_in_background().await;
    }

    /// Makes a last checkpoint and stops; every later change fails with `Closed`.
    ///
    /// # Errors
    /// Those of [`Pool::checkpoint`]; the pool is closed all the same and recovers from its log.
    pub async fn close(&self) -> Result<()> {
        self.inner.close().await
    }

    /// Counters.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Name, meaning and value of what the store counts.
    pub fn store_counters(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.inner.items.objects().counters()
    }

    /// The clock that the pool was opened with.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    // ---- names ----

    /// Finds `name` in `parent` and counts a reference to it.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `Stale`, `NameTooLong`.
    pub async fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attributes> {
        self.inner.lookup(parent, name).await
    }

    /// Drops `count` references to `ino`.
    pub fn forget(&self, ino: Ino, count: u64) {
        self.inner.forget(ino, count);
    }

    /// Directory and name of a known inode that nobody holds open, for who has to forget some. `None` if it is held, was
    /// removed or has several names.
    pub fn idle_name(&self, ino: Ino) -> Option<(Ino, Vec<u8>)> {
        self.inner.locations.lock().idle_name(ino)
    }

    /// Holds `ino` open: if its last name goes, its content stays until [`Pool::release`], forgotten or not.
    ///
    /// # Errors
    /// `Stale`.
    pub fn hold(&self, ino: Ino) -> Result<()> {
        self.inner.locations.lock().hold(ino, 1).map(|_| ())
    }

    /// Lets go of one [`Pool::hold`]; frees the file if it has no name and no other holder.
    ///
    /// # Errors
    /// `Fenced`, `Closed`: the file is freed at the next open instead.
    pub async fn release(&self, ino: Ino) -> Result<()> {
        self.inner.release(ino).await
    }

    /// Attributes of a known inode. One that was removed while still known shows `nlink` 0.
    ///
    /// # Errors
    /// `Stale`.
    pub async fn attributes(&self, ino: Ino) -> Result<Attributes> {
        self.inner.attributes(ino).await
    }

    /// The directory that contains a known inode (one of them, for a file of several names); the root's is itself.
    /// It is known as long as the child is.
    ///
    /// # Errors
    /// `Stale`.
    pub fn parent(&self, ino: Ino) -> Result<Ino> {
        self.inner.parent(ino)
    }

    /// The path of a known inode from the root, starting with `/`; removed ones end in ` (deleted)`.
    ///
    /// # Errors
    /// `Stale`.
    pub async fn path(&self, ino: Ino) -> Result<Vec<u8>> {
        self.inner.path(ino).await
    }

    /// Up to `limit` entries after `cookie` (0 is the start), without `.` and `..`, in the order of their cookies. With `remember` a
    /// reference to each is counted, otherwise none.
    ///
    /// # Errors
    /// `NotDirectory`, `Stale`.
    pub async fn read_dir(
        &self,
        directory: Ino,
        cookie: u64,
        limit: usize,
        remember: bool,
    ) -> Result<Vec<DirectoryItem>> {
        self.inner.read_dir(directory, cookie, limit, remember).await
    }

    /// Makes a new inode with a name; counts a reference to it.
    ///
    /// # Errors
    /// `Exists`, `NotFound` or `Stale` (the parent was removed), `NotDirectory`, `ReadOnly`, `NameTooLong`, `NoSpace`.
    pub async fn create(&self, parent: Ino, name: &[u8], new: NewInode) -> Result<Attributes> {
        check_name(name)?;
        let operation = Operation::Create { parent, name: Name::from_slice(name), new };
        self.inner.execute(operation).await.map(attributes)
    }

    /// Makes a file without a name in the realm of `parent` (`O_TMPFILE`), held open once and with one reference.
    ///
    /// # Errors
    /// As [`Pool::create`].
    pub async fn create_unnamed(&self, parent: Ino, new: NewInode) -> Result<Attributes> {
        self.inner.execute(Operation::CreateUnnamed { parent, new }).await.map(attributes)
    }

    /// Gives a file one more name; counts a reference.
    ///
    /// # Errors
    /// `Exists`, `IsDirectory`, `CrossRealm`, `ReadOnly`, `TooManyLinks`, `Stale`.
    pub async fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attributes> {
        check_name(name)?;
        self.inner
            .execute(Operation::Link { ino, parent, name: Name::from_slice(name) })
            .await
            .map(attributes)
    }

    /// Removes a name of anything but a directory.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory`, `ReadOnly`.
    pub async fn unlink(&self, parent: Ino, name: &[u8]) -> Result<()> {
        check_name(name)?;
        self.inner.execute(Operation::Unlink { parent, name: Name::from_slice(name) }).await.map(|_| ())
    }

    /// Removes an empty directory. The root of a read-only clone is removed with all below it, as deleting a snapshot.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `NotEmpty`, `ReadOnly`.
    pub async fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<()> {
        check_name(name)?;
        self.inner
            .execute(Operation::RemoveDirectory { parent, name: Name::from_slice(name) })
            .await
            .map(|_| ())
    }

    /// Removes anything with all below it in constant time; the space comes back in the background. Works on
    /// the root of a read-only clone, not on things inside one.
    ///
    /// # Errors
    /// `NotFound`, `ReadOnly`.
    pub async fn remove_tree(&self, parent: Ino, name: &[u8]) -> Result<()> {
        check_name(name)?;
        self.inner.remove_tree(parent, name).await
    }

    /// Moves a name.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `NotEmpty`, `IsDirectory`, `NotDirectory`, `Invalid` (into itself), `CrossRealm`, `ReadOnly`.
    pub async fn rename(
        &self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<()> {
        check_name(name)?;
        check_name(new_name)?;
        let (name, new_name) = (Name::from_slice(name), Name::from_slice(new_name));
        self.inner.execute(Operation::Rename { parent, name, new_parent, new_name, mode }).await.map(|_| ())
    }

    /// Clones a file, a directory with everything below it, or any other inode to a new name in constant time; counts a reference.
    ///
    /// # Errors
    /// `Exists`, `NotFound`, `Stale`, `ReadOnly`, `NoSpace`; with `replace` also `Invalid` where the source lies in what would be replaced.
    pub async fn clone_inode(
        &self,
        source: Ino,
        parent: Ino,
        name: &[u8],
        options: CloneOptions,
    ) -> Result<Attributes> {
        check_name(name)?;
        let outcome = self.inner.clone_to(source, parent, name, options).await?;
        self.inner.metrics.clones.add(1);
        Ok(attributes(outcome))
    }

    // ---- content and attributes ----

    /// Changes attributes.
    ///
    /// # Errors
    /// `ReadOnly`, `TooLarge`, `IsDirectory` or `Invalid` for a size of what has none, `NoSpace`.
    pub async fn set_attributes(&self, ino: Ino, set: SetAttributes) -> Result<Attributes> {
        self.inner.execute(self.setting(ino, set)).await.map(attributes)
    }

    /// The operation that sets attributes, with times made absolute.
    fn setting(&self, ino: Ino, set: SetAttributes) -> Operation {
        let now = self.inner.clock.now();
        let at = |time: SetTime| match time {
            SetTime::Now => now,
            SetTime::At(time) => time,
        };
        let SetAttributes { mode, uid, gid, size, atime, mtime, ctime } = set;
        let set = AttributeChange { mode, uid, gid, size, atime: atime.map(at), mtime: mtime.map(at), ctime };
        Operation::SetAttributes { ino, set }
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `Invalid` if it is none, `Stale`.
    pub async fn read_link(&self, ino: Ino) -> Result<Bytes> {
        self.inner.read_link(ino).await
    }

    /// Up to `length` bytes from `offset`, in pieces that follow one another; fewer bytes only at the end of the file. Holes
    /// read as zeros. Large pieces are shared with the cache and not copied; there are at most 2 for each 16 KiB, and one.
    ///
    /// # Errors
    /// `IsDirectory`, `Invalid`, `Corrupt`, `Store`.
    pub async fn read_pieces(&self, ino: Ino, offset: u64, length: usize) -> Result<Vec<Bytes>> {
        self.inner.read(ino, offset, length).await
    }

    /// Appends to `into` what [`Pool::read_pieces`] finds.
    ///
    /// # Errors
    /// As [`Pool::read_pieces`].
    pub async fn read(&self, ino: Ino, offset: u64, length: usize, into: &mut Vec<u8>) -> Result<()> {
        for piece in self.read_pieces(ino, offset, length).await? {
            into.extend_from_slice(&piece);
        }
        Ok(())
    }

    /// Writes all of `data` at `offset`; with `clear_set_id` the set-user-id and set-group-id bits go (as after a write by
    /// someone without privilege). Returns the attributes after it.
    ///
    /// # Errors
    /// `ReadOnly`, `TooLarge`, `NoSpace`, `IsDirectory`, `Invalid`.
    pub async fn write(&self, ino: Ino, offset: u64, data: Bytes, clear_set_id: bool) -> Result<Attributes> {
        self.inner.metrics.written_bytes.add(data.len() as u64);
        let data = self.inner.write_data(offset, data);
        let operation = Operation::Write { ino, offset: Some(offset), data, clear_set_id };
        self.inner.execute(operation).await.map(attributes)
    }

    /// Writes all of `data` at the end of the file, atomically with finding the end; returns the offset it got.
    ///
    /// # Errors
    /// As [`Pool::write`].
    pub async fn append(&self, ino: Ino, data: Bytes, clear_set_id: bool) -> Result<u64> {
        self.inner.metrics.written_bytes.add(data.len() as u64);
        let data = self.inner.write_data(0, data);
        self.inner.execute(Operation::Write { ino, offset: None, data, clear_set_id }).await.map(amount)
    }

    /// Allocates, punches or zeroes a range.
    ///
    /// # Errors
    /// As [`Pool::write`].
    pub async fn allocate(
        &self,
        ino: Ino,
        offset: u64,
        length: u64,
        mode: AllocateMode,
    ) -> Result<Attributes> {
        self.inner.execute(Operation::Allocate { ino, offset, length, mode }).await.map(attributes)
    }

    /// The first offset at or after `offset` with data or a hole; `None` is none before the end (`ENXIO`).
    ///
    /// # Errors
    /// `Stale`, `Invalid`.
    pub async fn seek(&self, ino: Ino, offset: u64, target: SeekTarget) -> Result<Option<u64>> {
        self.inner.seek(ino, offset, target).await
    }

    /// Shares a range of one file with another (or itself, without overlap) and returns its length, cut at the end of the source.
    /// No data moves.
    ///
    /// # Errors
    /// As [`Pool::write`]; `Invalid` for ranges that overlap in one file.
    pub async fn clone_range(
        &self,
        source: Ino,
        source_offset: u64,
        destination: Ino,
        destination_offset: u64,
        length: u64,
    ) -> Result<u64> {
        let operation =
            Operation::CloneRange { source, source_offset, destination, destination_offset, length };
        let outcome = self.inner.execute(operation).await?;
        self.inner.metrics.clones.add(1);
        Ok(amount(outcome))
    }

    /// An extended attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `Stale`.
    pub async fn xattr(&self, ino: Ino, name: &[u8]) -> Result<Bytes> {
        self.inner.xattr(ino, name).await
    }

    /// The names of all extended attributes, sorted.
    ///
    /// # Errors
    /// `Stale`.
    pub async fn xattrs(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        self.inner.xattrs(ino).await
    }

    /// Sets an extended attribute (at most 64 KiB each, 255 bytes of name, 128 KiB in all), and the mode with it if
    /// `mode` is given (an access control list changes both).
    ///
    /// # Errors
    /// `Exists`, `NoAttribute`, `AttributeTooLarge`, `ReadOnly`.
    pub async fn set_xattr(
        &self,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        how: XattrMode,
        mode: Option<u32>,
    ) -> Result<()> {
        check_xattr_size(name, value)?;
        let (name, value) = (name.to_vec(), value.to_vec());
        self.inner.execute(Operation::SetXattr { ino, name, value, how, mode }).await.map(|_| ())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `ReadOnly`.
    pub async fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        self.inner.execute(Operation::RemoveXattr { ino, name: name.to_vec() }).await.map(|_| ())
    }

    // ---- durability ----

    /// Whether a sync has to wait for a network, and not for a disk of this machine.
    pub fn is_log_remote(&self) -> bool {
        self.inner.log_store.is_remote()
    }

    /// Returns when every operation that was answered before this call survives a power cut.
    ///
    /// # Errors
    /// `Store`, `NoSpace`, `Fenced`, `Closed`.
    pub async fn sync(&self) -> Result<()> {
        self.inner.sync().await
    }

    /// Writes everything to segments and a new manifest.
    ///
    /// # Errors
    /// `Store`, `NoSpace`, `Fenced`, `Closed`.
    pub async fn checkpoint(&self) -> Result<()> {
        crate::checkpoint::checkpoint(&self.inner, false).await.map(|_| ())
    }

    // ---- reports and upkeep ----

    /// The state of the pool; O(1).
    pub async fn status(&self) -> Status {
        self.inner.status().await
    }

    /// What is known of an inode; O(1).
    ///
    /// # Errors
    /// `Stale`.
    pub async fn info(&self, ino: Ino) -> Result<Info> {
        self.inner.info(ino).await
    }

    /// Space of a file or tree, with what is shared told from what is exclusive. Walks nodes, never data.
    ///
    /// # Errors
    /// `Stale`, `Store`, `Corrupt`.
    pub async fn usage(&self, ino: Ino) -> Result<Usage> {
        crate::usage::usage(&self.inner, ino).await
    }

    /// Differences between two trees in the order of their names' hashes, given to `each` until it returns false. Costs what differs.
    ///
    /// # Errors
    /// `Stale`, `Store`, `Corrupt`.
    pub async fn diff(
        &self,
        first: Ino,
        second: Ino,
        each: &mut (dyn FnMut(Difference) -> bool + Send),
    ) -> Result<()> {
        crate::diff::diff(&self.inner, first, second, each).await
    }

    /// Puts the pieces of a file together where that pays, now, as the background does later and [`Pool::gc`] for all files. Nothing that can be
    /// seen of the file changes. What is shared with clones is left alone, and so is a file in a read-only clone.
    ///
    /// # Errors
    /// `Stale`, `IsDirectory`, `Invalid`, `Store`, `Corrupt`, `NoSpace`, `Fenced`, `Closed`.
    pub async fn defragment(&self, ino: Ino) -> Result<DefragmentReport> {
        crate::defragment::one_file(&self.inner, ino).await
    }

    /// Frees everything that is no longer referred to, puts fragmented files together and rewrites sparse segments now.
    ///
    /// # Errors
    /// `Store`, `NoSpace`, `Fenced`, `Closed`.
    pub async fn gc(&self) -> Result<GcReport> {
        self.inner.gc().await
    }

    /// Marks everything from the roots and compares it with every count and total.
    ///
    /// # Errors
    /// `Store`; what is wrong in the pool is in the report.
    pub async fn check(&self) -> Result<CheckReport> {
        crate::check::check(&self.inner).await
    }

    /// Reads every stored byte and verifies it; names the paths that are hit.
    ///
    /// # Errors
    /// `Store`; what is wrong in the pool is in the report.
    pub async fn scrub(&self) -> Result<CheckReport> {
        crate::check::scrub(&self.inner).await
    }

    /// Makes a damaged pool sound: takes out of the trees what cannot be read, gives names in `/lost+found` to what no name leads to any
    /// more, and makes everything that can be made from the trees anew. Of a file whose data is lost, that part stays
    /// unreadable until it is overwritten. With `dry_run` nothing is changed. Changes wait while it works, from when everything has been read.
    ///
    /// # Errors
    /// `Store`, `NoSpace`, `Fenced`, `Closed`; the pool is as it was then.
    pub async fn repair(&self, dry_run: bool) -> Result<RepairReport> {
        crate::repair::repair(&self.inner, dry_run).await
    }
}

fn attributes(outcome: Outcome) -> Attributes {
    match outcome {
        Outcome::Attributes(attributes) => *attributes,
        Outcome::Done | Outcome::Amount(_) => unreachable!("the operation answers attributes"),
    }
}

fn amount(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Amount(amount) => amount,
        Outcome::Done | Outcome::Attributes(_) => unreachable!("the operation answers an amount"),
    }
}
