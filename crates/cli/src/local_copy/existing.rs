//! What is there already: measuring it, and removing it, at any depth.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode};
use rustix::io::Errno;

use super::trail::Trail;

/// What a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Existing {
    pub(crate) files: u64,
    pub(crate) directories: u64,
    pub(crate) bytes: u64,
}

/// Counts what is at `path`; nothing if there is nothing. What lies on other file systems below it is not looked at.
pub(crate) fn measure(path: &Path) -> io::Result<Existing> {
    let mut found = Existing::default();
    let absolute = std::path::absolute(path)?;
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else { return Ok(found) };
    let parent = File::open(parent)?;
    let mut trail: Trail<Vec<OsString>> = Trail::new(parent.as_fd())?;
    let mut next = Some(name.to_owned());
    loop {
        if let Some(name) = next.take() {
            if !found.add(trail.here().as_fd(), &name)? {
                next = trail.load().and_then(Vec::pop);
                if next.is_none() && trail.depth() == 0 {
                    return Ok(found);
                }
                continue;
            }
            trail.enter(&name, Vec::new())?;
            let foreign = trail.devices().is_some_and(|(first, here)| first != here);
            let names = if foreign { Vec::new() } else { names(trail.here().as_fd())? };
            if let Some(load) = trail.load() {
                *load = names;
            }
        }
        next = trail.load().and_then(Vec::pop);
        if next.is_none() {
            trail.leave()?;
            if trail.depth() == 0 {
                return Ok(found);
            }
        }
    }
}

impl Existing {
    /// Counts one entry; whether it is a directory.
    fn add(&mut self, at: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
        let stat = match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            self.directories += 1;
            return Ok(true);
        }
        self.files += 1;
        if kind == FileType::RegularFile {
            self.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        }
        Ok(false)
    }
}

/// Removes a file or a directory with all below it; fine if there is nothing. Stops before another file system.
pub(super) fn remove(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    if !is_directory_left(at, name)? {
        return Ok(());
    }
    let mut trail: Trail<OsString> = Trail::new(at)?;
    enter_to_empty(&mut trail, name)?;
    loop {
        match first_directory_left(trail.here().as_fd())? {
            Some(below) => enter_to_empty(&mut trail, &below)?,
            None => {
                let Some((_, name)) = trail.leave()? else { return Ok(()) };
                rustix::fs::unlinkat(trail.here().as_fd(), &name, AtFlags::REMOVEDIR)?;
                if trail.depth() == 0 {
                    return Ok(());
                }
            }
        }
    }
}

fn enter_to_empty(trail: &mut Trail<OsString>, name: &OsStr) -> io::Result<()> {
    trail.enter(name, name.to_owned())?;
    if trail.devices().is_some_and(|(first, here)| first != here) {
        return Err(io::Error::other("another file system is mounted below it"));
    }
    // A directory that its owner may not change is no reason to stay. Where this is refused, removing says why.
    let _ = rustix::fs::fchmod(trail.here(), Mode::from_raw_mode(0o700));
    Ok(())
}

/// Removes what is no directory on the way to the first one that is.
fn first_directory_left(at: BorrowedFd<'_>) -> io::Result<Option<OsString>> {
    let mut entries = Dir::read_from(at)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        if is_dots(entry.file_name()) {
            continue;
        }
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if entry.file_type() == FileType::Directory || is_directory_left(at, name)? {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// Removes a name if it is of no directory; whether it is of one.
fn is_directory_left(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<bool> {
    match rustix::fs::unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(false),
        Err(error @ (Errno::ISDIR | Errno::PERM)) => {
            let found = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let is_directory = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
            if is_directory { Ok(true) } else { Err(error.into()) }
        }
        Err(error) => Err(error.into()),
    }
}

fn names(at: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    let mut entries = Dir::read_from(at)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        if !is_dots(entry.file_name()) {
            names.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        }
    }
    Ok(names)
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_is_measured_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let base = File::open(directory.path()).unwrap();
        let mut trail = Trail::new(base.as_fd()).unwrap();
        let name = "n".repeat(50);
        for _ in 0..200 {
            let here = trail.here();
            rustix::fs::mkdirat(here.as_fd(), &name, Mode::from_raw_mode(0o700)).unwrap();
            rustix::fs::symlinkat("nowhere", here.as_fd(), "link").unwrap();
            trail.enter(OsStr::new(&name), ()).unwrap();
        }
        drop(trail);
        std::fs::remove_file(directory.path().join("link")).unwrap();
        std::fs::write(directory.path().join(&name).join("file"), "12345").unwrap();
        let found = measure(&directory.path().join(&name)).unwrap();
        assert_eq!(found, Existing { files: 200, directories: 200, bytes: 5 });
        assert_eq!(measure(&directory.path().join("missing")).unwrap(), Existing::default());
        remove(base.as_fd(), OsStr::new(&name)).unwrap();
        remove(base.as_fd(), OsStr::new(&name)).unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
