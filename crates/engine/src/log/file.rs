//! Log files in a local directory, laid out so that a sync costs one flush of data and no commit of the file system.
//!
//! A file is written full of zeros before the log reaches the place: an append then overwrites blocks that are allocated and
//! initialised, and `fdatasync` has no metadata to make durable. (Blocks that are only reserved with `fallocate` would
//! have to be marked as written by a journal commit.) A fresh file starts with one step of zeros and grows by steps. A deleted file
//! becomes a spare and is used again under a new name, with its blocks and its old content.
//!
//! Owns every `log-<16 hex digits>` and `spare-<n>` in its directory, and makes `kept-<16 hex digits>`, which it never
//! touches again. After a failed sync a file accepts nothing more: the
//! kernel may have dropped what it could not write, so a later success would promise too much.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::BlockingLog;
use crate::object::disk;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::{Error, ErrorKind, Result};

const LOG_PREFIX: &str = "log-";
const SPARE_PREFIX: &str = "spare-";
const KEPT_PREFIX: &str = "kept-";
/// Most deleted files that are kept for later.
const SPARES_MAX: usize = 2;
/// Zeros are written in steps of this size, in bytes.
const STEP_BYTES: u64 = 4 << 20;
/// Appends are filled up with zeros to a multiple of this: a page of the kernel's cache.
const PAGE_BYTES: u64 = 4096;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A [`BlockingLog`] in a local directory. Every call blocks the calling thread.
pub struct FileLog {
    directory: PathBuf,
    preallocate_bytes: u64,
    state: Mutex<State>,
}

struct State {
    open: FxHashMap<u64, Arc<LogFile>>,
    spares: Vec<u64>,
    next_spare: u64,
}

struct LogFile {
    file: File,
    extent: Mutex<Extent>,
    /// A sync has failed.
    is_broken: AtomicBool,
}

/// How far a file is prepared for appends, in bytes.
struct Extent {
    /// Blocks up to here are allocated and have been written.
    written: u64,
    /// Pages up to here have been filled by this process: a partial write needs no read of what the disk holds.
    filled: u64,
}

impl FileLog {
    /// Opens the log in `directory`, which is made if it is missing. Files are kept at `preallocate_bytes` when they are used
    /// again; 0 prepares nothing ahead.
    ///
    /// # Errors
    /// `Store` if the directory cannot be made or read.
    pub fn open(directory: PathBuf, preallocate_bytes: u64) -> Result<Self> {
        let failed = |e| Error::io(format!("cannot open the log in {directory:?}"), e);
        let directory = std::path::absolute(&directory).map_err(failed)?;
        disk::ensure_directories(&directory).map_err(failed)?;
        // A process that was killed may have renamed files and not synced.
        disk::sync_directory(&directory).map_err(failed)?;
        let mut spares = numbers(&directory, SPARE_PREFIX, 10).map_err(failed)?;
        for surplus in spares.split_off(spares.len().min(SPARES_MAX)) {
            std::fs::remove_file(directory.join(format!("{SPARE_PREFIX}{surplus}"))).map_err(failed)?;
        }
        let next_spare = spares.last().map_or(0, |n| n + 1);
        let state = Mutex::new(State { open: FxHashMap::default(), spares, next_spare });
        Ok(Self { directory, preallocate_bytes, state })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{LOG_PREFIX}{number:016x}"))
    }

    fn spare_path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{SPARE_PREFIX}{number}"))
    }

    /// Size of the steps in which zeros are written, in bytes.
    fn step(&self) -> u64 {
        STEP_BYTES.min(self.preallocate_bytes)
    }

    fn file(&self, number: u64) -> Result<Arc<LogFile>> {
        let mut state = self.state.lock();
        if let Some(file) = state.open.get(&number) {
            return Ok(Arc::clone(file));
        }
        let path = self.path(number);
        let opened = File::options().read(true).write(true).open(&path);
        let file = match opened {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::new(ErrorKind::NotFound, format!("there is no log file {path:?}")));
            }
            opened => opened.and_then(LogFile::found),
        };
        let file = Arc::new(file.map_err(|e| Error::io(format!("cannot open log file {path:?}"), e))?);
        state.open.insert(number, Arc::clone(&file));
        Ok(file)
    }

    fn sync_file(&self, number: u64, file: &LogFile) -> Result<()> {
        file.check(number)?;
        file.file.sync_data().map_err(|e| {
            file.is_broken.store(true, Ordering::Release);
            Error::io(format!("cannot sync log file {:?}", self.path(number)), e)
        })
    }

    /// Takes a spare, or makes one of a single step.
    fn take_spare(&self, state: &mut State) -> io::Result<(PathBuf, LogFile)> {
        while let Some(number) = state.spares.pop() {
            let path = self.spare_path(number);
            match File::options().read(true).write(true).open(&path) {
                // Somebody tidied up.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                opened => return Ok((path, LogFile::found(opened?)?)),
            }
        }
        let path = self.spare_path(state.next_spare);
        state.next_spare += 1;
        let file = disk::create_new(&path)?;
        let prepared = write_zeros(&file, 0, self.step()).and_then(|()| file.sync_all());
        match prepared {
            Ok(()) => Ok((path, LogFile::new(file, Extent { written: self.step(), filled: self.step() }))),
            Err(e) => {
                // If this fails too, the next open finds a short spare, which is as good as a long one.
                let _ = std::fs::remove_file(&path);
                Err(e)
            }
        }
    }

    fn recycle_or_remove(&self, state: &mut State, path: &Path) -> io::Result<()> {
        // One that has grown far is not kept: it would hold its space for nothing.
        let size_max = 2 * self.preallocate_bytes.max(STEP_BYTES);
        if state.spares.len() >= SPARES_MAX || path.metadata()?.len() > size_max {
            return std::fs::remove_file(path);
        }
        let spare = state.next_spare;
        state.next_spare += 1;
        disk::rename_new(path, &self.spare_path(spare))?;
        state.spares.push(spare);
        Ok(())
    }
}

impl BlockingLog for FileLog {
    fn list(&self) -> Result<Vec<u64>> {
        numbers(&self.directory, LOG_PREFIX, 16)
            .map_err(|e| Error::io(format!("cannot list the log in {:?}", self.directory), e))
    }

    /// A number that is taken is refused with `Exists`.
    fn create(&self, number: u64) -> Result<()> {
        let path = self.path(number);
        let failed = |e| Error::io(format!("cannot start log file {path:?}"), e);
        let mut state = self.state.lock();
        let (spare, file) = self.take_spare(&mut state).map_err(failed)?;
        if let Err(e) = disk::rename_new(&spare, &path) {
            let _ = std::fs::remove_file(&spare);
            return Err(match e.kind() {
                io::ErrorKind::AlreadyExists => {
                    Error::with_source(ErrorKind::Exists, format!("there is a log file {path:?} already"), e)
                }
                _ => failed(e),
            });
        }
        disk::sync_directory(&self.directory).map_err(failed)?;
        state.open.insert(number, Arc::new(file));
        Ok(())
    }

    fn append(&self, number: u64, offset: u64, parts: &[Bytes]) -> Result<()> {
        let file = self.file(number)?;
        file.check(number)?;
        file.append(offset, parts, self.step())
            .map_err(|e| Error::io(format!("cannot append to log file {:?}", self.path(number)), e))
    }

    fn sync(&self, number: u64) -> Result<()> {
        let file = self.file(number)?;
        self.sync_file(number, &file)
    }

    fn read(&self, number: u64) -> Result<Bytes> {
        let file = self.file(number)?;
        // A killed process leaves appends in the kernel's cache: they look well, and the next power cut would take them.
        self.sync_file(number, &file)?;
        let size = file.file.metadata().map(|m| m.len());
        size.and_then(|size| disk::read_at(&file.file, 0, size as usize))
            .map_err(|e| Error::io(format!("cannot read log file {:?}", self.path(number)), e))
    }

    /// The copy is `kept-<16 hex digits>`.
    fn keep_copy(&self, number: u64) -> Result<()> {
        let kept = self.directory.join(format!("{KEPT_PREFIX}{number:016x}"));
        if kept.exists() {
            return Ok(());
        }
        let bytes = self.read(number)?;
        let unfinished = self.directory.join(format!("{KEPT_PREFIX}{number:016x}-unfinished"));
        let copy = || {
            let file = File::create(&unfinished)?;
            disk::write_all_at(&file, 0, &[&bytes])?;
            file.sync_all()?;
            disk::rename_new(&unfinished, &kept)?;
            disk::sync_directory(&self.directory)
        };
        copy().map_err(|e| Error::io(format!("cannot keep a copy of log file {:?}", self.path(number)), e))
    }

    /// The directory is not synced: after a power cut the file may be back as it was, until a later `create`, which syncs the
    /// directory before anything overwrites the medium. One that is not there is no error.
    fn delete(&self, number: u64) -> Result<()> {
        let path = self.path(number);
        let mut state = self.state.lock();
        state.open.remove(&number);
        match self.recycle_or_remove(&mut state, &path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::io(format!("cannot delete log file {path:?}"), e))
            }
            _ => Ok(()),
        }
    }
}

impl LogFile {
    fn new(file: File, extent: Extent) -> Self {
        Self { file, extent: Mutex::new(extent), is_broken: AtomicBool::new(false) }
    }

    /// A file from earlier: its blocks have been written, but what they hold may not be in the kernel's cache.
    fn found(file: File) -> io::Result<Self> {
        let written = file.metadata()?.len();
        Ok(Self::new(file, Extent { written, filled: 0 }))
    }

    fn check(&self, number: u64) -> Result<()> {
        if self.is_broken.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorKind::Store,
                format!(
                    "log file {number:016x} failed to sync before, what the disk holds is not known: open the pool again"
                ),
            ));
        }
        Ok(())
    }

    fn append(&self, offset: u64, parts: &[Bytes], step: u64) -> io::Result<()> {
        let mut extent = self.extent.lock();
        let end = offset + parts.iter().map(|p| p.len() as u64).sum::<u64>();
        // Whole pages, so that the kernel need not read what is left of old content to complete the last one. Nothing behind
        // the end is of value.
        let padded = if end > extent.filled { end.next_multiple_of(PAGE_BYTES) } else { end };
        let mut slices: Vec<&[u8]> = parts.iter().map(|p| &p[..]).collect();
        slices.push(&ZEROS[..(padded - end) as usize]);
        disk::write_all_at(&self.file, offset, &slices)?;
        extent.filled = extent.filled.max(padded);
        if padded <= extent.written {
            return Ok(());
        }
        extent.written = padded;
        if step == 0 {
            return Ok(());
        }
        // The next sync commits the new blocks of this append anyway; the zeros go with it.
        let target = (padded + step / 2).next_multiple_of(step);
        match write_zeros(&self.file, padded, target) {
            Ok(()) => {
                *extent = Extent { written: target, filled: target };
                Ok(())
            }
            // The append itself found room, and that is what was asked for.
            Err(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

fn write_zeros(file: &File, start: u64, end: u64) -> io::Result<()> {
    let mut slices: Vec<&[u8]> = Vec::new();
    let mut left = end.saturating_sub(start);
    while left > 0 {
        let length = left.min(ZEROS.len() as u64);
        slices.push(&ZEROS[..length as usize]);
        left -= length;
    }
    disk::write_all_at(file, start, &slices)
}

/// The numbers of all files in `directory` that are named `prefix` and a number of 16 hexadecimal digits (radix 16) or
/// of decimal digits (radix 10), ascending.
fn numbers(directory: &Path, prefix: &str, radix: u32) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(digits) = name.to_str().and_then(|n| n.strip_prefix(prefix)) else { continue };
        let is_number = match radix {
            16 => digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')),
            _ => digits.bytes().all(|b| b.is_ascii_digit()),
        };
        if is_number && let Ok(number) = u64::from_str_radix(digits, radix) {
            found.push(number);
        }
    }
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests;
