//! [`Place`]: the directory that a check works in, the users it may act as, and calls that are put together often.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::expect::Failure;
use crate::sys::{self, File, Result};

/// Somebody without privilege.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    /// User id.
    pub(crate) uid: u32,
    /// Main group.
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: &'static [u32],
}

/// A plain user.
pub(crate) const ALICE: User = User { uid: 61001, gid: 61001, groups: &[] };
/// Another one, who shares nothing with Alice.
pub(crate) const BOB: User = User { uid: 61002, gid: 61002, groups: &[] };
/// A user who is also in group [`STAFF`].
pub(crate) const CAROL: User = User { uid: 61003, gid: 61003, groups: &[STAFF] };
/// The group that only Carol is in.
pub(crate) const STAFF: u32 = 61050;

/// An empty directory (mode 0777, owned by root) that belongs to one check.
pub(crate) struct Place {
    directory: PathBuf,
}

impl Place {
    /// Takes over an existing directory.
    pub(crate) fn new(directory: PathBuf) -> Place {
        Place { directory }
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.directory
    }

    /// A path in it.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A new file `name` with mode 0644 and `content`, closed again.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> Result<PathBuf> {
        let path = self.at(name);
        write_all(&create(&path, 0o644)?, content)?;
        Ok(path)
    }

    /// A new file owned by `user` with exactly `mode`.
    pub(crate) fn file_of(&self, user: User, name: &str, mode: u32) -> Result<PathBuf> {
        let path = self.file(name, b"text")?;
        sys::chown(&path, user.uid, user.gid)?;
        sys::chmod(&path, mode)?;
        Ok(path)
    }

    /// A new directory with exactly `mode`.
    pub(crate) fn dir(&self, name: &str, mode: u32) -> Result<PathBuf> {
        let path = self.at(name);
        sys::mkdir(&path, mode)?;
        sys::chmod(&path, mode)?;
        Ok(path)
    }

    /// A new directory owned by `user` with exactly `mode`.
    pub(crate) fn dir_of(&self, user: User, name: &str, mode: u32) -> Result<PathBuf> {
        let path = self.dir(name, mode)?;
        sys::chown(&path, user.uid, user.gid)?;
        sys::chmod(&path, mode)?;
        Ok(path)
    }
}

/// A new file open for reading and writing.
pub(crate) fn create(path: impl AsRef<Path>, mode: u32) -> Result<File> {
    sys::open(path, libc::O_CREAT | libc::O_EXCL | libc::O_RDWR, mode)
}

/// An existing file open for reading and writing.
pub(crate) fn open_rw(path: impl AsRef<Path>) -> Result<File> {
    sys::open(path, libc::O_RDWR, 0)
}

/// An existing file open for reading.
pub(crate) fn open_ro(path: impl AsRef<Path>) -> Result<File> {
    sys::open(path, libc::O_RDONLY, 0)
}

/// Writes all of `data` at the file's position.
pub(crate) fn write_all(file: &File, mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        data = &data[file.write(data)?..];
    }
    Ok(())
}

/// Writes all of `data` at `offset`.
pub(crate) fn write_all_at(file: &File, mut data: &[u8], mut offset: i64) -> Result<()> {
    while !data.is_empty() {
        let written = file.pwrite(data, offset)?;
        data = &data[written..];
        offset += i64::try_from(written).unwrap_or(i64::MAX);
    }
    Ok(())
}

/// All bytes of a file.
pub(crate) fn read_all(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let file = open_ro(path)?;
    let mut all = Vec::new();
    loop {
        let part = file.read(1 << 20)?;
        if part.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(&part);
    }
}

/// Bytes that depend on their position and on `seed`, so that misplaced blocks show.
pub(crate) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(length);
    out
}

/// Runs `work` as `user` in a thread of its own.
#[track_caller]
pub(crate) fn as_user<T: Send>(
    user: User,
    work: impl FnOnce() -> T + Send,
) -> std::result::Result<T, Failure> {
    in_thread(move || {
        sys::become_user(user.uid, user.gid, user.groups)?;
        Ok(work())
    })
}

/// Runs `work` in a thread of its own, so that what it changes about itself (ids, umask, working directory) is gone after it.
#[track_caller]
pub(crate) fn in_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> std::result::Result<T, Failure> {
    match thread::scope(|scope| scope.spawn(work).join()) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure::from(error)),
        Err(_) => Err(Failure::Failed("the check itself panicked".to_owned())),
    }
}

/// Waits until the clock that stamps files has surely moved on.
pub(crate) fn tick() {
    thread::sleep(Duration::from_millis(15));
}
