//! `mkdir` and `rmdir`.

use libc::{
    EACCES, EBUSY, EEXIST, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY, O_CREAT, O_RDWR, S_IFDIR,
};

use crate::expect::{equal, fail, holds, refused, refused_with};
use crate::place::{ALICE, as_user, in_thread, open_ro, tick};
use crate::sys::{self, Directory, lstat, mkdir, open_at, rmdir, stat};

checks! { "directory";
    /// mkdir makes an empty directory owned by the caller
    fn makes_an_empty_directory(t) {
        as_user(ALICE, || mkdir(t.at("d"), 0o750))??;
        let d = stat(t.at("d"))?;
        equal((d.kind(), d.mode(), d.uid(), d.gid()), (S_IFDIR, 0o750, ALICE.uid, ALICE.gid))?;
        equal(Directory::open(t.at("d"))?.rest()?.len(), 0)?;
    }

    /// the umask is taken off the mode; the sticky bit is kept
    fn modes(t) {
        in_thread(|| {
            sys::own_file_context()?;
            sys::umask(0o077);
            mkdir(t.at("d"), 0o1777)
        })?;
        equal(stat(t.at("d"))?.mode(), 0o1700)?;
    }

    /// the name must be free, whatever holds it: EEXIST
    fn existing_name(t) {
        t.file("f", b"")?;
        t.dir("d", 0o755)?;
        sys::symlink("nowhere", t.at("l"))?;
        for name in ["f", "d", "l", "d/", "."] {
            refused(mkdir(t.at(name), 0o755), EEXIST)?;
        }
    }

    /// parents are not made: ENOENT, and a file is none: ENOTDIR
    fn missing_parent(t) {
        t.file("f", b"")?;
        refused(mkdir(t.at("a/b"), 0o755), ENOENT)?;
        refused(mkdir(t.at("f/b"), 0o755), ENOTDIR)?;
    }

    /// a slash at the end of a new directory's name is fine
    fn trailing_slash(t) {
        mkdir(t.at("d/"), 0o755)?;
        rmdir(t.at("d/"))?;
        refused(lstat(t.at("d")), ENOENT)?;
    }

    /// the link count is 2 and one more for each directory inside, or always 1
    fn link_count(t) {
        let d = t.dir("d", 0o755)?;
        let empty = stat(&d)?.nlink();
        t.dir("d/a", 0o755)?;
        t.dir("d/b", 0o755)?;
        t.file("d/f", b"")?;
        let full = stat(&d)?.nlink();
        rmdir(t.at("d/a"))?;
        let less = stat(&d)?.nlink();
        holds(matches!((empty, full, less), (2, 4, 3) | (1, 1, 1)), "the counts are 2, 4, 3 or always 1")?;
    }

    /// the parent's times move
    fn marks_the_parent(t) {
        let before = stat(t.root())?;
        tick();
        t.dir("d", 0o755)?;
        let made = stat(t.root())?;
        holds(made.mtime() > before.mtime() && made.ctime() > before.ctime(), "mkdir moves both times")?;
        tick();
        rmdir(t.at("d"))?;
        let removed = stat(t.root())?;
        holds(removed.mtime() > made.mtime() && removed.ctime() > made.ctime(), "rmdir moves both times")?;
    }

    /// what is not empty is not removed: ENOTEMPTY or EEXIST
    fn not_empty(t) {
        t.dir("d", 0o755)?;
        t.file("d/.hidden", b"")?;
        refused_with(rmdir(t.at("d")), &[ENOTEMPTY, EEXIST])?;
        sys::unlink(t.at("d/.hidden"))?;
        rmdir(t.at("d"))?;
    }

    /// rmdir is for directories: ENOTDIR; what is not there is ENOENT
    fn not_a_directory(t) {
        t.file("f", b"")?;
        t.dir("d", 0o755)?;
        sys::symlink("d", t.at("l"))?;
        refused(rmdir(t.at("f")), ENOTDIR)?;
        refused(rmdir(t.at("l")), ENOTDIR)?;
        refused(rmdir(t.at("x")), ENOENT)?;
    }

    /// `.` is EINVAL, `..` is not empty
    fn dots(t) {
        t.dir("d", 0o755)?;
        refused(rmdir(t.at("d/.")), EINVAL)?;
        refused_with(rmdir(t.at("d/..")), &[ENOTEMPTY, EEXIST, EBUSY])?;
    }

    /// nothing can be made in a directory that was removed while open: ENOENT
    fn removed_while_open(t) {
        let directory = open_ro(t.dir("d", 0o755)?)?;
        rmdir(t.at("d"))?;
        refused(open_at(&directory, "f", O_CREAT | O_RDWR, 0o644), ENOENT)?;
        equal(directory.stat()?.nlink(), 0)?;
        let mut listing = Directory::open(directory.proc_path())?;
        equal(listing.rest()?.len(), 0)?;
    }

    /// a thread whose working directory is removed finds nothing there
    fn removed_while_current(t) {
        t.dir("d", 0o755)?;
        in_thread(|| {
            sys::own_file_context()?;
            sys::chdir(t.at("d"))?;
            rmdir(t.at("d"))?;
            Ok(refused(mkdir("inner", 0o755), ENOENT))
        })??;
    }

    /// names of 255 bytes work, 256 are ENAMETOOLONG
    fn long_names(t) {
        let longest = "n".repeat(255);
        t.dir(&longest, 0o755)?;
        rmdir(t.at(&longest))?;
        refused(mkdir(t.at(&"n".repeat(256)), 0o755), ENAMETOOLONG)?;
    }

    /// a directory 200 levels deep can be made, reached and removed
    fn deep(t) {
        let mut path = t.root().to_owned();
        for level in 0..200 {
            path.push(format!("level{level}"));
            mkdir(&path, 0o755)?;
        }
        sys::open(path.join("f"), O_CREAT | O_RDWR, 0o644)?;
        equal(stat(path.join("../../."))?.kind(), S_IFDIR)?;
        if let Err(error) = std::fs::remove_dir_all(t.at("level0")) {
            fail(&format!("removing it: {error}"))?;
        }
    }

    /// a name can change between file and directory
    fn name_changes_type(t) {
        for _ in 0..10 {
            t.dir("n", 0o755)?;
            equal(stat(t.at("n"))?.kind(), S_IFDIR)?;
            rmdir(t.at("n"))?;
            t.file("n", b"x")?;
            equal(stat(t.at("n"))?.size(), 1)?;
            sys::unlink(t.at("n"))?;
        }
    }

    /// the parent must be writable: EACCES
    fn needs_a_writable_parent(t) {
        t.dir("d", 0o755)?;
        t.dir("d/e", 0o777)?;
        refused(as_user(ALICE, || mkdir(t.at("d/x"), 0o755))?, EACCES)?;
        refused(as_user(ALICE, || rmdir(t.at("d/e")))?, EACCES)?;
    }

    /// `..` of a moved directory is its new parent
    fn parent_follows_a_move(t) {
        t.dir("a", 0o755)?;
        t.dir("b", 0o755)?;
        t.dir("a/d", 0o755)?;
        sys::rename(t.at("a/d"), t.at("b/d"))?;
        equal(stat(t.at("b/d/.."))?.ino(), stat(t.at("b"))?.ino())?;
        let listed = Directory::open(t.at("b/d"))?.next_named(b"..")?;
        equal(listed, stat(t.at("b"))?.ino())?;
    }
}
