//! Objects as files below a directory of this machine.
//!
//! Owns every file below its root. An object appears under its name in one step, after its bytes are durable: they are
//! written to a temporary file beside it, synced, and renamed without replacing; then every directory that got an entry is
//! synced. A crash leaves at most temporary files (`~put-...`, no legal object name), which [`LocalStore::open`] removes.
//! Opening also makes durable what it finds: a process that was killed may have renamed and not synced, and whoever builds on
//! an object must not lose it in a later power cut. A temporary file is locked by the process that writes it, so that opening a store spares the files of a live writer.
//!
//! All calls block the calling thread by design: local disks are fast, a hand-over to another thread costs more than most of
//! them. Nothing here keeps two writers apart but put-if-absent; who may write is decided by manifests.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::fs::FlockOperation;

use super::{ObjectInfo, ObjectStore, Space, disk, name};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{Error, ErrorKind, Result};

/// Begins the names of temporary files; `~` is in no object name.
const TEMPORARY_PREFIX: &str = "~put-";
/// Most files that are kept open for reading.
const OPEN_FILES_MAX: usize = 256;
/// How often a put starts again when its temporary file was taken from it.
const PUT_ATTEMPTS_MAX: u32 = 8;

/// An [`ObjectStore`] in a local directory. Every call blocks the calling thread.
pub struct LocalStore {
    root: PathBuf,
    /// Directories whose own entry is known to be durable.
    durable_directories: Mutex<FxHashSet<PathBuf>>,
    next_temporary: AtomicU64,
    open_files: Mutex<OpenFiles>,
}

impl LocalStore {
    /// Opens the store below `root`, removes what interrupted puts have left and makes all entries durable that are there. A root
    /// that does not exist is an empty store; the first put makes it.
    ///
    /// # Errors
    /// `Store` if `root` is something other than a directory or cannot be read.
    pub fn open(root: PathBuf) -> Result<Self> {
        let root = std::path::absolute(&root)
            .map_err(|e| Error::io(format!("cannot tell where the store {root:?} is"), e))?;
        let store = Self {
            root,
            durable_directories: Mutex::default(),
            next_temporary: AtomicU64::new(0),
            open_files: Mutex::default(),
        };
        if store.root.exists() {
            store.ensure_directory(&store.root).map_err(|e| store.unreadable(&store.root, e))?;
            store.recover(&store.root)?;
        }
        Ok(store)
    }

    /// The directory that holds everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        name::check(name)?;
        Ok(self.root.join(name))
    }

    fn put_blocking(&self, name: &str, parts: &[Bytes]) -> Result<()> {
        let target = self.path(name)?;
        let failed = |e| Error::io(format!("cannot store object {name} in {:?}", self.root), e);
        let directory = target.parent().expect("a path below the root has a parent");
        self.ensure_directory(directory).map_err(failed)?;
        let mut attempt = 1;
        loop {
            // Asked first so that a taken name is told as such on a full disk too.
            if target.symlink_metadata().is_ok() {
                // It may have come there by an earlier put that failed before its name was durable. Whoever finds it taken by
                // its own bytes relies on it from now on.
                disk::sync_directory(directory).map_err(failed)?;
                return Err(taken(name));
            }
            let temporary = self.create_temporary(directory).map_err(failed)?;
            disk::write_object(&temporary.file, parts).map_err(failed)?;
            temporary.file.sync_data().map_err(failed)?;
            match temporary.rename(&target) {
                Ok(()) => break,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(taken(name)),
                // Another process opened the store before the file was locked, and took it for a leftover.
                Err(e) if e.kind() == io::ErrorKind::NotFound && attempt < PUT_ATTEMPTS_MAX => attempt += 1,
                Err(e) => return Err(failed(e)),
            }
        }
        disk::sync_directory(directory).map_err(failed)
    }

    /// Makes a directory and its parents and sees to it that their entries are durable, whoever made them: another thread may
    /// have made one a moment ago and not have synced it yet.
    fn ensure_directory(&self, directory: &Path) -> io::Result<()> {
        if self.durable_directories.lock().contains(directory) {
            return Ok(());
        }
        if directory == self.root {
            disk::ensure_directories(directory)?;
        } else {
            let parent = directory.parent().expect("a directory below the root has a parent");
            self.ensure_directory(parent)?;
            disk::create_directory(directory)?;
            disk::sync_directory(parent)?;
        }
        self.durable_directories.lock().insert(directory.to_path_buf());
        Ok(())
    }

    fn create_temporary(&self, directory: &Path) -> io::Result<Temporary> {
        loop {
            let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("{TEMPORARY_PREFIX}{number:016x}"));
            match disk::create_new(&path) {
                // Another process writes here too, or died; its file is not ours to touch.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(e),
                Ok(file) => {
                    // Held until the file is closed. If an opening process has the lock already it will remove the file,
                    // the rename will miss it and the put starts again. File systems without locks go without.
                    let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
                    return Ok(Temporary { path, file, renamed: false });
                }
            }
        }
    }

    /// Removes temporary files from a directory and all below it, and makes the other entries durable.
    fn recover(&self, directory: &Path) -> Result<()> {
        let failed = |e| self.unreadable(directory, e);
        let mut inner = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            let file_name = entry.file_name();
            let Some(file_name) = file_name.to_str() else { continue };
            if kind.is_file() && file_name.starts_with(TEMPORARY_PREFIX) {
                remove_leftover(&entry.path());
            } else if kind.is_dir() && name::is_legal(file_name) {
                inner.push(entry.path());
            }
        }
        disk::sync_directory(directory).map_err(failed)?;
        self.durable_directories.lock().extend(inner.iter().cloned());
        inner.iter().try_for_each(|directory| self.recover(directory))
    }

    fn unreadable(&self, directory: &Path, cause: io::Error) -> Error {
        Error::io(format!("cannot open {directory:?} of the store {:?}", self.root), cause)
    }

    fn open_object(&self, name: &str) -> Result<Arc<OpenFile>> {
        let path = self.path(name)?;
        let deletions = {
            let mut files = self.open_files.lock();
            if let Some(file) = files.get(name) {
                return Ok(file);
            }
            files.deletions
        };
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => self.missing(name),
            _ => Error::io(format!("cannot open object {name} in {:?}", self.root), e),
        };
        let file = File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(self.missing(name));
        }
        let opened = Arc::new(OpenFile { file, size: metadata.len() });
        let mut files = self.open_files.lock();
        // A file that was deleted meanwhile must not stay open: it would keep its space.
        if files.deletions == deletions {
            files.insert(name, Arc::clone(&opened));
        }
        Ok(opened)
    }

    fn missing(&self, name: &str) -> Error {
        Error::new(ErrorKind::NotFound, format!("there is no object {name} in {:?}", self.root))
    }

    fn list_directory(
        &self,
        directory: &Path,
        base: &str,
        prefix: &str,
        found: &mut Vec<ObjectInfo>,
    ) -> Result<()> {
        let failed = |e| Error::io(format!("cannot list {directory:?}"), e);
        let entries = match std::fs::read_dir(directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let Ok(file_name) = entry.file_name().into_string() else { continue };
            if !name::is_legal(&file_name) {
                continue;
            }
            let kind = entry.file_type().map_err(failed)?;
            let name = format!("{base}{file_name}");
            if kind.is_dir() {
                let base = format!("{name}/");
                if base.starts_with(prefix) || prefix.starts_with(&base) {
                    self.list_directory(&entry.path(), &base, prefix, found)?;
                }
            } else if kind.is_file() && name.starts_with(prefix) {
                match entry.metadata() {
                    Ok(metadata) => found.push(ObjectInfo { name, size: metadata.len() }),
                    // Deleted while we looked.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(failed(e)),
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put(&self, name: &str, parts: Vec<Bytes>) -> Result<()> {
        self.put_blocking(name, &parts)
    }

    async fn get(&self, name: &str, offset: u64, length: u64) -> Result<Bytes> {
        let opened = self.open_object(name)?;
        // Never more than the object has: a caller may ask for "all of it" with a huge length.
        let length = length.min(opened.size.saturating_sub(offset));
        disk::read_at(&opened.file, offset, length as usize).map_err(|e| {
            let doing = format!("cannot read {length} bytes at {offset} of object {name} in {:?}", self.root);
            // What the medium cannot read is lost, and trying again for ever would not bring it back.
            match e.raw_os_error() {
                Some(code) if code == rustix::io::Errno::IO.raw_os_error() => {
                    Error::with_source(ErrorKind::Corrupt, doing, e)
                }
                _ => Error::io(doing, e),
            }
        })
    }

    async fn size(&self, name: &str) -> Result<u64> {
        Ok(self.open_object(name)?.size)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        name::check_prefix(prefix)?;
        let mut found = Vec::new();
        self.list_directory(&self.root, "", prefix, &mut found)?;
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Directories stay, empty or not. Their entries are not synced: after a power cut the object may be back, and whoever
    /// deletes objects that nothing refers to finds it again by listing.
    async fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        let removed = std::fs::remove_file(&path);
        self.open_files.lock().remove(name);
        match removed {
            Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(Error::io(format!("cannot delete object {name} in {:?}", self.root), e))
            }
            _ => Ok(()),
        }
    }

    async fn space(&self) -> Result<Option<Space>> {
        // Before the first put the root may be missing; it will be made on the medium of its nearest ancestor.
        let place = self.root.ancestors().find(|a| a.exists()).unwrap_or(&self.root);
        let stat = rustix::fs::statvfs(place)
            .map_err(|e| Error::io(format!("cannot ask for the space of {place:?}"), e.into()))?;
        Ok(Some(Space { total: stat.f_blocks * stat.f_frsize, free: stat.f_bavail * stat.f_frsize }))
    }
}

fn taken(name: &str) -> Error {
    Error::new(ErrorKind::Exists, format!("there is an object {name} already"))
}

/// Removes a temporary file unless a live process is writing it. What cannot be removed is told and left: it harms nothing.
fn remove_leftover(path: &Path) {
    let removed = File::open(path).and_then(|file| {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(()),
            // Locked by us, or the file system has no locks.
            _ => std::fs::remove_file(path),
        }
    });
    if let Err(e) = removed
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(?path, error = %e, "cannot remove what an interrupted write has left");
    }
}

/// A file that becomes an object, or goes away when dropped.
struct Temporary {
    path: PathBuf,
    file: File,
    renamed: bool,
}

impl Temporary {
    fn rename(mut self, target: &Path) -> io::Result<()> {
        disk::rename_new(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // If this fails the next open tries again.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// An object opened for reading.
struct OpenFile {
    file: File,
    size: u64,
}

/// The files read last, at most [`OPEN_FILES_MAX`].
#[derive(Default)]
struct OpenFiles {
    files: FxHashMap<String, (Arc<OpenFile>, u64)>,
    /// Grows with every use; the file with the lowest goes first.
    uses: u64,
    /// Grows with every deletion.
    deletions: u64,
}

impl OpenFiles {
    fn get(&mut self, name: &str) -> Option<Arc<OpenFile>> {
        let (file, used) = self.files.get_mut(name)?;
        self.uses += 1;
        *used = self.uses;
        Some(Arc::clone(file))
    }

    fn insert(&mut self, name: &str, file: Arc<OpenFile>) {
        if self.files.len() >= OPEN_FILES_MAX {
            // A scan of 256 entries is nothing beside the open that led here.
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                self.files.remove(&oldest);
            }
        }
        self.uses += 1;
        self.files.insert(name.to_owned(), (file, self.uses));
    }

    fn remove(&mut self, name: &str) {
        self.files.remove(name);
        self.deletions += 1;
    }
}

#[cfg(test)]
mod tests;
