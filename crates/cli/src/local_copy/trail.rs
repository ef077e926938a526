//! The way from a directory down to where work is done, of any depth, with a bounded number of open descriptors.
//!
//! The deepest directories of the way are open. Those further up are closed on the way down and opened again on the way up, each
//! through `..` of the one below it, and only if it is the directory that it was before.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

/// Directories of a way that are open at a time.
const OPEN_MAX: usize = 64;

/// A way; it has at least the directory that it began with.
pub(super) struct Trail<T> {
    base: Arc<OwnedFd>,
    steps: Vec<Step<T>>,
}

struct Step<T> {
    descriptor: Option<Arc<OwnedFd>>,
    /// Device and number of the directory.
    identity: (u64, u64),
    load: T,
}

impl<T> Trail<T> {
    /// A way that begins in a directory.
    pub(super) fn new(base: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { base: Arc::new(base.try_clone_to_owned()?), steps: Vec::new() })
    }

    /// Directories on the way below its beginning.
    pub(super) fn depth(&self) -> usize {
        self.steps.len()
    }

    /// Where the way has led to.
    pub(super) fn here(&self) -> Arc<OwnedFd> {
        let deepest = self.steps.last().and_then(|step| step.descriptor.as_ref());
        Arc::clone(deepest.unwrap_or(&self.base))
    }

    /// What was taken along into the deepest directory; `None` at the beginning.
    pub(super) fn load(&mut self) -> Option<&mut T> {
        self.steps.last_mut().map(|step| &mut step.load)
    }

    /// The device that the directory lies on into which the way led first, and that of the deepest one.
    pub(super) fn devices(&self) -> Option<(u64, u64)> {
        Some((self.steps.first()?.identity.0, self.steps.last()?.identity.0))
    }

    /// Goes down into a directory that is there.
    pub(super) fn enter(&mut self, name: &OsStr, load: T) -> io::Result<()> {
        let opened = open(self.here().as_fd(), name)?;
        let identity = identity(opened.as_fd())?;
        self.steps.push(Step { descriptor: Some(Arc::new(opened)), identity, load });
        if let Some(far) = self.steps.len().checked_sub(OPEN_MAX + 1) {
            self.steps[far].descriptor = None;
        }
        Ok(())
    }

    /// Goes up again; the directory that was left and what had been taken into it. `None` at the beginning.
    pub(super) fn leave(&mut self) -> io::Result<Option<(Arc<OwnedFd>, T)>> {
        let Some(Step { descriptor, load, .. }) = self.steps.pop() else { return Ok(None) };
        // The deepest directory is always open.
        let Some(left) = descriptor else { return Err(io::ErrorKind::NotFound.into()) };
        if let Some(above) = self.steps.last_mut().filter(|above| above.descriptor.is_none()) {
            let opened = open(left.as_fd(), OsStr::new(".."))?;
            if identity(opened.as_fd())? != above.identity {
                return Err(io::Error::other("a directory was moved while it was worked in"));
            }
            above.descriptor = Some(Arc::new(opened));
        }
        Ok(Some((left, load)))
    }
}

fn open(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

fn identity(descriptor: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let found = rustix::fs::fstat(descriptor)?;
    Ok((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn a_way_of_any_depth_keeps_few_directories_open() {
        let directory = tempfile::tempdir().unwrap();
        let base = std::fs::File::open(directory.path()).unwrap();
        let mut trail = Trail::new(base.as_fd()).unwrap();
        let before = open_descriptors();
        for depth in 0..300 {
            rustix::fs::mkdirat(trail.here().as_fd(), "d", Mode::from_raw_mode(0o700)).unwrap();
            trail.enter(OsStr::new("d"), depth).unwrap();
        }
        // Other tests of this process have theirs.
        assert!(open_descriptors() < before + OPEN_MAX + 60);
        assert_eq!((trail.depth(), trail.load().copied()), (300, Some(299)));
        for depth in (0..300).rev() {
            let (_, load) = trail.leave().unwrap().unwrap();
            assert_eq!(load, depth);
            rustix::fs::unlinkat(trail.here().as_fd(), "d", rustix::fs::AtFlags::REMOVEDIR).unwrap();
        }
        assert!(trail.leave().unwrap().is_none());
    }

    #[test]
    fn a_directory_that_was_moved_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let base = std::fs::File::open(directory.path()).unwrap();
        let mut trail = Trail::new(base.as_fd()).unwrap();
        let mut path = directory.path().to_owned();
        for _ in 0..OPEN_MAX + 2 {
            path.push("d");
            std::fs::create_dir(&path).unwrap();
            trail.enter(OsStr::new("d"), ()).unwrap();
        }
        let second = directory.path().join("d/d");
        std::fs::rename(second.join("d"), directory.path().join("moved")).unwrap();
        let mut gone_up = 0;
        while trail.leave().is_ok() {
            gone_up += 1;
        }
        assert_eq!(gone_up, OPEN_MAX - 1);
    }
}
