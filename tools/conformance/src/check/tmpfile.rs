//! Files without a name: `O_TMPFILE`.

use libc::{
    AT_SYMLINK_FOLLOW, EACCES, EINVAL, EISDIR, ENOENT, ENOTDIR, EOPNOTSUPP, O_EXCL, O_RDONLY, O_RDWR,
    O_TMPFILE,
};

use crate::expect::{Failure, equal, equal_bytes, or_skip, refused, refused_with};
use crate::place::{ALICE, Place, as_user, pattern, read_all, write_all};
use crate::sys::{self, Directory, File, open};

fn unnamed(place: &Place, flags: i32) -> Result<File, Failure> {
    or_skip(
        open(place.root(), O_TMPFILE | flags, 0o640),
        &[EOPNOTSUPP, EISDIR],
        "the file system has no unnamed files",
    )
}

checks! { "tmpfile";
    /// a new file has no name, no entry in its directory and the mode asked for
    fn has_no_name(t) {
        let file = unnamed(t, O_RDWR)?;
        let stat = file.stat()?;
        equal((stat.nlink(), stat.mode(), stat.size()), (0, 0o640, 0))?;
        equal(Directory::open(t.root())?.rest()?.len(), 0)?;
    }

    /// what is written can be read back
    fn holds_data(t) {
        let file = unnamed(t, O_RDWR)?;
        let data = pattern(1, 300_000);
        write_all(&file, &data)?;
        equal_bytes(&file.pread(data.len(), 0)?, &data)?;
        file.truncate(10)?;
        equal(file.stat()?.size(), 10)?;
    }

    /// linkat gives it a name, with content and attributes
    fn can_be_given_a_name(t) {
        let file = unnamed(t, O_RDWR)?;
        write_all(&file, b"content")?;
        file.setxattr("user.k", b"v", 0)?;
        sys::link_with(file.proc_path(), t.at("f"), AT_SYMLINK_FOLLOW)?;
        equal(file.stat()?.nlink(), 1)?;
        drop(file);
        equal_bytes(&read_all(t.at("f"))?, b"content")?;
        equal_bytes(&sys::getxattr(t.at("f"), "user.k")?, b"v")?;
    }

    /// with O_EXCL it can never get a name: ENOENT
    fn exclusive_stays_unnamed(t) {
        let file = unnamed(t, O_RDWR | O_EXCL)?;
        refused(sys::link_with(file.proc_path(), t.at("f"), AT_SYMLINK_FOLLOW), ENOENT)?;
    }

    /// it must be opened for writing, in a directory
    fn wrong_arguments(t) {
        drop(unnamed(t, O_RDWR)?);
        refused(open(t.root(), O_TMPFILE | O_RDONLY, 0o600), EINVAL)?;
        refused_with(open(t.file("f", b"")?, O_TMPFILE | O_RDWR, 0o600), &[ENOTDIR])?;
        refused(open(t.at("missing"), O_TMPFILE | O_RDWR, 0o600), ENOENT)?;
    }

    /// the directory must be writable: EACCES
    fn needs_a_writable_directory(t) {
        drop(unnamed(t, O_RDWR)?);
        let d = t.dir("d", 0o755)?;
        refused(as_user(ALICE, || open(&d, O_TMPFILE | O_RDWR, 0o600))?, EACCES)?;
    }
}
