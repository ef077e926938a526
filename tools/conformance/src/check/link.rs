//! Hard links.

use libc::{AT_SYMLINK_FOLLOW, EACCES, EEXIST, ENOENT, ENOTDIR, EPERM, S_IFLNK, S_IFREG};

use crate::expect::{equal, equal_bytes, holds, refused};
use crate::place::{ALICE, as_user, open_rw, read_all, tick};
use crate::sys;

checks! { "link";
    /// both names are one inode with two links
    fn shares_the_inode(t) {
        let f = t.file("f", b"x")?;
        sys::link(&f, t.at("g"))?;
        let (first, second) = (sys::stat(&f)?, sys::stat(t.at("g"))?);
        equal(first.ino(), second.ino())?;
        equal((first.nlink(), second.nlink()), (2, 2))?;
    }

    /// data and attributes changed through one name show through the other
    fn changes_show_through_all_names(t) {
        let f = t.file("f", b"old")?;
        sys::link(&f, t.at("g"))?;
        open_rw(t.at("g"))?.write(b"newer")?;
        sys::chmod(&f, 0o600)?;
        equal_bytes(&read_all(&f)?, b"newer")?;
        let stat = sys::stat(t.at("g"))?;
        equal((stat.size(), stat.mode()), (5, 0o600))?;
    }

    /// names in different directories work the same
    fn across_directories(t) {
        t.dir("a", 0o755)?;
        t.dir("b", 0o755)?;
        let f = t.file("a/f", b"x")?;
        sys::link(&f, t.at("b/g"))?;
        sys::unlink(&f)?;
        sys::rmdir(t.at("a"))?;
        equal_bytes(&read_all(t.at("b/g"))?, b"x")?;
        equal(sys::stat(t.at("b/g"))?.nlink(), 1)?;
    }

    /// the new name must be free: EEXIST
    fn existing_name(t) {
        let f = t.file("f", b"x")?;
        t.file("g", b"y")?;
        t.dir("d", 0o755)?;
        sys::symlink("nowhere", t.at("l"))?;
        for name in ["f", "g", "d", "l"] {
            refused(sys::link(&f, t.at(name)), EEXIST)?;
        }
        equal_bytes(&read_all(t.at("g"))?, b"y")?;
    }

    /// directories have one name only: EPERM
    fn directory(t) {
        let d = t.dir("d", 0o755)?;
        refused(sys::link(&d, t.at("e")), EPERM)?;
    }

    /// what is not there cannot be linked: ENOENT, and a file is no directory: ENOTDIR
    fn missing_and_wrong_paths(t) {
        let f = t.file("f", b"")?;
        refused(sys::link(t.at("x"), t.at("y")), ENOENT)?;
        refused(sys::link(&f, t.at("d/y")), ENOENT)?;
        refused(sys::link(t.at("f/x"), t.at("y")), ENOTDIR)?;
        refused(sys::link(&f, t.at("f/y")), ENOTDIR)?;
    }

    /// a symbolic link can have two names itself
    fn symlink_itself(t) {
        t.file("f", b"")?;
        sys::symlink("f", t.at("l"))?;
        sys::link(t.at("l"), t.at("m"))?;
        let stat = sys::lstat(t.at("m"))?;
        equal((stat.kind(), stat.nlink()), (S_IFLNK, 2))?;
        equal(stat.ino(), sys::lstat(t.at("l"))?.ino())?;
    }

    /// AT_SYMLINK_FOLLOW links the target of a symbolic link
    fn following_a_symlink(t) {
        let f = t.file("f", b"")?;
        sys::symlink("f", t.at("l"))?;
        sys::link_with(t.at("l"), t.at("m"), AT_SYMLINK_FOLLOW)?;
        let stat = sys::lstat(t.at("m"))?;
        equal((stat.kind(), stat.ino()), (S_IFREG, sys::stat(&f)?.ino()))?;
    }

    /// fifos, sockets and device nodes can have two names
    fn special_files(t) {
        sys::mkfifo(t.at("p"), 0o644)?;
        sys::mknod(t.at("c"), libc::S_IFCHR | 0o600, libc::makedev(1, 3))?;
        for name in ["p", "c"] {
            sys::link(t.at(name), t.at(&format!("{name}2")))?;
            equal(sys::stat(t.at(name))?.nlink(), 2)?;
        }
    }

    /// linking moves the file's change time and the directory's times, not the file's modification time
    fn times(t) {
        let f = t.file("f", b"")?;
        let d = t.dir("d", 0o755)?;
        let (file, directory) = (sys::stat(&f)?, sys::stat(&d)?);
        tick();
        sys::link(&f, t.at("d/g"))?;
        let (file_after, directory_after) = (sys::stat(&f)?, sys::stat(&d)?);
        holds(file_after.ctime() > file.ctime(), "the file's change time moves")?;
        equal(file_after.mtime(), file.mtime())?;
        holds(directory_after.mtime() > directory.mtime(), "the directory's modification time moves")?;
        holds(directory_after.ctime() > directory.ctime(), "the directory's change time moves")?;
    }

    /// a thousand names of one file, removed in another order
    fn a_thousand_names(t) {
        let f = t.file("f", b"x")?;
        for i in 0..999 {
            sys::link(&f, t.at(&format!("l{i}")))?;
        }
        equal(sys::stat(&f)?.nlink(), 1_000)?;
        sys::unlink(&f)?;
        for i in (1..999).rev() {
            sys::unlink(t.at(&format!("l{i}")))?;
        }
        equal(sys::stat(t.at("l0"))?.nlink(), 1)?;
        equal_bytes(&read_all(t.at("l0"))?, b"x")?;
    }

    /// an open file whose last name is gone cannot be linked again through its descriptor: ENOENT
    fn nameless_file_stays_nameless(t) {
        let path = t.file("f", b"")?;
        let file = open_rw(&path)?;
        sys::unlink(&path)?;
        refused(sys::link_with(file.proc_path(), t.at("g"), AT_SYMLINK_FOLLOW), ENOENT)?;
    }

    /// a file opened by descriptor can get a further name while it has one
    fn by_descriptor(t) {
        let path = t.file("f", b"x")?;
        let file = open_rw(&path)?;
        sys::link_with(file.proc_path(), t.at("g"), AT_SYMLINK_FOLLOW)?;
        equal(file.stat()?.nlink(), 2)?;
        equal_bytes(&read_all(t.at("g"))?, b"x")?;
    }

    /// the directory of the new name must be writable: EACCES
    fn needs_a_writable_directory(t) {
        let f = t.file_of(ALICE, "f", 0o644)?;
        t.dir("d", 0o755)?;
        refused(as_user(ALICE, || sys::link(&f, t.at("d/g")))?, EACCES)?;
        as_user(ALICE, || sys::link(&f, t.at("g")))??;
    }
}
