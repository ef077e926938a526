//! Symbolic links.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libc::{
    EEXIST, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, O_CREAT, O_RDONLY, O_RDWR, S_IFDIR, S_IFLNK,
    S_IFREG,
};

use crate::expect::{equal, equal_bytes, refused};
use crate::place::{ALICE, as_user, in_thread, read_all};
use crate::sys::{self, lstat, readlink, stat, symlink};

checks! { "symlink";
    /// a link keeps its target byte for byte, and its size is the target's length
    fn keeps_its_target(t) {
        for target in ["x", "some/../where", "/absolute/path", "  blanks ", "trailing/"] {
            symlink(target, t.at("l"))?;
            equal(readlink(t.at("l"))?.as_bytes(), target.as_bytes())?;
            let link = lstat(t.at("l"))?;
            equal((link.kind(), link.size()), (S_IFLNK, target.len() as u64))?;
            sys::unlink(t.at("l"))?;
        }
    }

    /// targets of every length up to 4,095 bytes are kept
    fn lengths_of_targets(t) {
        for length in [1, 58, 59, 60, 61, 255, 256, 1_000, 2_048, 4_000, 4_095] {
            let target = "t".repeat(length);
            symlink(&target, t.at("l"))?;
            equal(readlink(t.at("l"))?.len(), length)?;
            sys::unlink(t.at("l"))?;
        }
    }

    /// a target of 4,096 bytes is ENAMETOOLONG, an empty one ENOENT
    fn impossible_targets(t) {
        refused(symlink("t".repeat(4_096), t.at("l")), ENAMETOOLONG)?;
        refused(symlink("", t.at("l")), ENOENT)?;
    }

    /// a target may hold any byte but NUL
    fn odd_bytes(t) {
        let target: Vec<u8> = (1..=255).collect();
        symlink(OsStr::from_bytes(&target), t.at("l"))?;
        equal_bytes(readlink(t.at("l"))?.as_bytes(), &target)?;
    }

    /// a link's mode reads as 0777 whatever the umask is
    fn mode(t) {
        in_thread(|| {
            sys::own_file_context()?;
            sys::umask(0o077);
            symlink("x", t.at("l"))
        })?;
        equal(lstat(t.at("l"))?.mode(), 0o777)?;
    }

    /// it belongs to who made it
    fn owner(t) {
        as_user(ALICE, || symlink("x", t.at("l")))??;
        let link = lstat(t.at("l"))?;
        equal((link.uid(), link.gid()), (ALICE.uid, ALICE.gid))?;
    }

    /// the name must be free: EEXIST
    fn existing_name(t) {
        t.file("f", b"")?;
        symlink("x", t.at("l"))?;
        refused(symlink("x", t.at("f")), EEXIST)?;
        refused(symlink("x", t.at("l")), EEXIST)?;
    }

    /// stat follows, lstat does not
    fn stat_follows(t) {
        let f = t.file("f", b"four")?;
        symlink("f", t.at("l"))?;
        equal(stat(t.at("l"))?.ino(), stat(&f)?.ino())?;
        equal(lstat(t.at("l"))?.kind(), S_IFLNK)?;
    }

    /// a relative target starts at the link's own directory
    fn relative_to_its_directory(t) {
        t.dir("d", 0o755)?;
        t.file("f", b"outer")?;
        t.file("d/f", b"inner")?;
        symlink("f", t.at("d/near"))?;
        symlink("../f", t.at("d/far"))?;
        equal_bytes(&read_all(t.at("d/near"))?, b"inner")?;
        equal_bytes(&read_all(t.at("d/far"))?, b"outer")?;
        sys::rename(t.at("d/near"), t.at("near"))?;
        equal_bytes(&read_all(t.at("near"))?, b"outer")?;
    }

    /// a link to a directory works in the middle of a path
    fn in_the_middle_of_a_path(t) {
        t.dir("d", 0o755)?;
        symlink("d", t.at("l"))?;
        t.file("l/f", b"x")?;
        equal(lstat(t.at("d/f"))?.kind(), S_IFREG)?;
        equal(lstat(t.at("l/"))?.kind(), S_IFDIR)?;
        refused(sys::rmdir(t.at("l")), ENOTDIR)?;
    }

    /// a link to nothing is ENOENT when followed
    fn dangling(t) {
        symlink("nowhere", t.at("l"))?;
        refused(stat(t.at("l")), ENOENT)?;
        refused(sys::open(t.at("l"), O_RDONLY, 0), ENOENT)?;
        equal(readlink(t.at("l"))?.as_bytes(), b"nowhere")?;
    }

    /// links that lead to each other are ELOOP
    fn loops(t) {
        symlink("b", t.at("a"))?;
        symlink("a", t.at("b"))?;
        symlink("self", t.at("self"))?;
        for name in ["a", "self", "a/x"] {
            refused(stat(t.at(name)), ELOOP)?;
            refused(sys::open(t.at(name), O_CREAT | O_RDWR, 0o644), ELOOP)?;
        }
    }

    /// forty links in a row are followed, forty-one are ELOOP
    fn chain_of_forty(t) {
        t.file("0", b"end")?;
        for i in 1..=41 {
            symlink((i - 1).to_string(), t.at(&i.to_string()))?;
        }
        equal_bytes(&read_all(t.at("40"))?, b"end")?;
        refused(stat(t.at("41")), ELOOP)?;
    }

    /// readlink on anything else is EINVAL
    fn readlink_of_other_things(t) {
        refused(readlink(t.file("f", b"")?), EINVAL)?;
        refused(readlink(t.dir("d", 0o755)?), EINVAL)?;
        refused(readlink(t.at("missing")), ENOENT)?;
    }

    /// a short buffer gets the first bytes
    fn readlink_into_a_short_buffer(t) {
        symlink("0123456789", t.at("l"))?;
        equal(sys::readlink_up_to(t.at("l"), 4)?.as_bytes(), b"0123")?;
    }

    /// owner and times of the link itself can be set, its target's stay
    fn own_attributes(t) {
        let f = t.file("f", b"")?;
        let before = stat(&f)?;
        symlink("f", t.at("l"))?;
        sys::lchown(t.at("l"), 7, 8)?;
        sys::utimens(t.at("l"), (11, 12), (13, 14), libc::AT_SYMLINK_NOFOLLOW)?;
        let link = lstat(t.at("l"))?;
        equal((link.uid(), link.gid(), link.mtime()), (7, 8, (13, 14)))?;
        let after = stat(&f)?;
        equal((after.uid(), after.mtime()), (before.uid(), before.mtime()))?;
    }
}
