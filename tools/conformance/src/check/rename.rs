//! `rename` and `renameat2`.

use libc::{
    EACCES, EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENOSYS, ENOTDIR, ENOTEMPTY, EPERM, RENAME_EXCHANGE,
    RENAME_NOREPLACE, S_IFDIR, S_IFLNK, S_IFREG,
};

use crate::expect::{Failure, equal, equal_bytes, holds, or_skip, refused, refused_with};
use crate::place::{ALICE, BOB, as_user, open_ro, open_rw, read_all, tick};
use crate::sys::{self, Directory, lstat, rename, rename_with, stat};

fn with_flags(
    from: impl AsRef<std::path::Path>,
    to: impl AsRef<std::path::Path>,
    flags: u32,
) -> Result<(), Failure> {
    or_skip(rename_with(from, to, flags), &[EINVAL, ENOSYS], "renameat2 has no such flag here")
}

checks! { "rename";
    /// a file keeps number, content and attributes under its new name; the old name is gone
    fn moves_a_file(t) {
        let before = stat(t.file("f", b"text")?)?;
        rename(t.at("f"), t.at("g"))?;
        refused(lstat(t.at("f")), ENOENT)?;
        let after = stat(t.at("g"))?;
        equal((after.ino(), after.mode(), after.nlink()), (before.ino(), before.mode(), 1))?;
        equal(after.mtime(), before.mtime())?;
        equal_bytes(&read_all(t.at("g"))?, b"text")?;
    }

    /// a file moves between directories
    fn moves_between_directories(t) {
        t.dir("a", 0o755)?;
        t.dir("b", 0o755)?;
        t.file("a/f", b"text")?;
        rename(t.at("a/f"), t.at("b/g"))?;
        equal(Directory::open(t.at("a"))?.rest()?.len(), 0)?;
        equal_bytes(&read_all(t.at("b/g"))?, b"text")?;
    }

    /// a full directory moves with all that is in it
    fn moves_a_full_directory(t) {
        t.dir("a", 0o755)?;
        t.dir("a/b", 0o755)?;
        t.file("a/b/f", b"text")?;
        t.dir("z", 0o755)?;
        let before = stat(t.at("a"))?.ino();
        rename(t.at("a"), t.at("z/y"))?;
        equal(stat(t.at("z/y"))?.ino(), before)?;
        equal_bytes(&read_all(t.at("z/y/b/f"))?, b"text")?;
        refused(lstat(t.at("a")), ENOENT)?;
    }

    /// an existing file is replaced; who has it open keeps the old content
    fn replaces_a_file(t) {
        t.file("f", b"new")?;
        let old = open_ro(t.file("g", b"old")?)?;
        rename(t.at("f"), t.at("g"))?;
        equal_bytes(&read_all(t.at("g"))?, b"new")?;
        equal_bytes(&old.read(9)?, b"old")?;
        equal(old.stat()?.nlink(), 0)?;
        refused(lstat(t.at("f")), ENOENT)?;
    }

    /// of a replaced file with two names the other name stays
    fn replaced_file_keeps_its_other_name(t) {
        t.file("f", b"new")?;
        t.file("g", b"old")?;
        sys::link(t.at("g"), t.at("h"))?;
        rename(t.at("f"), t.at("g"))?;
        equal_bytes(&read_all(t.at("h"))?, b"old")?;
        equal(stat(t.at("h"))?.nlink(), 1)?;
    }

    /// an empty directory is replaced by a directory
    fn replaces_an_empty_directory(t) {
        t.dir("a", 0o755)?;
        t.file("a/f", b"x")?;
        t.dir("b", 0o755)?;
        rename(t.at("a"), t.at("b"))?;
        equal_bytes(&read_all(t.at("b/f"))?, b"x")?;
    }

    /// a directory that is not empty is not replaced: ENOTEMPTY or EEXIST
    fn full_directory_stays(t) {
        t.dir("a", 0o755)?;
        t.dir("b", 0o755)?;
        t.file("b/f", b"x")?;
        refused_with(rename(t.at("a"), t.at("b")), &[ENOTEMPTY, EEXIST])?;
        equal_bytes(&read_all(t.at("b/f"))?, b"x")?;
        lstat(t.at("a"))?;
    }

    /// a directory does not replace a file: ENOTDIR; a file does not replace a directory: EISDIR
    fn types_must_match(t) {
        t.dir("d", 0o755)?;
        t.file("f", b"x")?;
        sys::symlink("d", t.at("l"))?;
        refused(rename(t.at("d"), t.at("f")), ENOTDIR)?;
        refused(rename(t.at("d"), t.at("l")), ENOTDIR)?;
        refused(rename(t.at("f"), t.at("d")), EISDIR)?;
        refused(rename(t.at("l"), t.at("d")), EISDIR)?;
    }

    /// two names of one file: nothing happens and both stay
    fn two_names_of_one_file(t) {
        t.file("f", b"x")?;
        sys::link(t.at("f"), t.at("g"))?;
        rename(t.at("f"), t.at("g"))?;
        equal(stat(t.at("f"))?.ino(), stat(t.at("g"))?.ino())?;
        equal(stat(t.at("f"))?.nlink(), 2)?;
    }

    /// a name can be renamed to itself
    fn to_itself(t) {
        t.file("f", b"x")?;
        t.dir("d", 0o755)?;
        rename(t.at("f"), t.at("f"))?;
        rename(t.at("d"), t.at("d"))?;
        equal_bytes(&read_all(t.at("f"))?, b"x")?;
    }

    /// a directory cannot move into itself or below itself: EINVAL
    fn directory_into_itself(t) {
        t.dir("a", 0o755)?;
        t.dir("a/b", 0o755)?;
        t.dir("a/b/c", 0o755)?;
        refused(rename(t.at("a"), t.at("a/x")), EINVAL)?;
        refused(rename(t.at("a"), t.at("a/b/c/x")), EINVAL)?;
        refused(rename(t.at("a"), t.at("a/b")), EINVAL)?;
        lstat(t.at("a/b/c"))?;
    }

    /// a directory does not replace one that it lies in: ENOTEMPTY or EEXIST
    fn directory_over_its_ancestor(t) {
        t.dir("a", 0o755)?;
        t.dir("a/b", 0o755)?;
        t.dir("a/b/c", 0o755)?;
        refused_with(rename(t.at("a/b"), t.at("a")), &[ENOTEMPTY, EEXIST])?;
        refused_with(rename(t.at("a/b/c"), t.at("a")), &[ENOTEMPTY, EEXIST])?;
    }

    /// `.` and `..` cannot be renamed: EBUSY or EINVAL
    fn dots(t) {
        t.dir("d", 0o755)?;
        refused_with(rename(t.at("d/."), t.at("e")), &[EBUSY, EINVAL])?;
        refused_with(rename(t.at("d/.."), t.at("e")), &[EBUSY, EINVAL])?;
        refused_with(rename(t.at("d"), t.at("d/..")), &[EBUSY, EINVAL, EEXIST, ENOTEMPTY])?;
    }

    /// what is not there is ENOENT, a file in the path ENOTDIR
    fn missing_and_wrong_paths(t) {
        t.file("f", b"x")?;
        refused(rename(t.at("x"), t.at("y")), ENOENT)?;
        refused(rename(t.at("f"), t.at("d/y")), ENOENT)?;
        refused(rename(t.at("f"), t.at("f/y")), ENOTDIR)?;
        refused(rename(t.at("f"), t.at("g/")), ENOTDIR)?;
    }

    /// a symbolic link is moved itself, and replaced itself
    fn symlinks_are_not_followed(t) {
        t.file("f", b"target")?;
        t.file("n", b"new")?;
        sys::symlink("f", t.at("l"))?;
        rename(t.at("l"), t.at("m"))?;
        equal(lstat(t.at("m"))?.kind(), S_IFLNK)?;
        rename(t.at("n"), t.at("m"))?;
        equal(lstat(t.at("m"))?.kind(), S_IFREG)?;
        equal_bytes(&read_all(t.at("f"))?, b"target")?;
    }

    /// link counts of both parents follow a moved directory, or are always 1
    fn link_counts_of_parents(t) {
        t.dir("a", 0o755)?;
        t.dir("b", 0o755)?;
        t.dir("a/d", 0o755)?;
        rename(t.at("a/d"), t.at("b/d"))?;
        let counts = (stat(t.at("a"))?.nlink(), stat(t.at("b"))?.nlink());
        holds(matches!(counts, (2, 3) | (1, 1)), "the counts are 2 and 3, or always 1")?;
    }

    /// times of both parents move, as does the file's change time
    fn times(t) {
        t.dir("a", 0o755)?;
        t.dir("b", 0o755)?;
        t.file("a/f", b"")?;
        let (file, from, to) = (stat(t.at("a/f"))?, stat(t.at("a"))?, stat(t.at("b"))?);
        tick();
        rename(t.at("a/f"), t.at("b/f"))?;
        holds(stat(t.at("a"))?.mtime() > from.mtime(), "the old parent's modification time moves")?;
        holds(stat(t.at("b"))?.mtime() > to.mtime(), "the new parent's modification time moves")?;
        let after = stat(t.at("b/f"))?;
        holds(after.ctime() > file.ctime(), "the file's change time moves")?;
        equal(after.mtime(), file.mtime())?;
    }

    /// a file that is open stays usable after it was moved
    fn open_file(t) {
        let file = open_rw(t.file("f", b"old")?)?;
        rename(t.at("f"), t.at("g"))?;
        file.pwrite(b"new", 0)?;
        equal_bytes(&read_all(t.at("g"))?, b"new")?;
    }

    /// special files move as files do
    fn special_files(t) {
        sys::mkfifo(t.at("p"), 0o600)?;
        sys::mknod(t.at("c"), libc::S_IFCHR | 0o600, libc::makedev(1, 3))?;
        rename(t.at("p"), t.at("c"))?;
        equal(lstat(t.at("c"))?.kind(), libc::S_IFIFO)?;
        refused(lstat(t.at("p")), ENOENT)?;
    }

    /// NOREPLACE moves to a free name only: EEXIST
    fn noreplace(t) {
        t.file("f", b"f")?;
        t.file("g", b"g")?;
        t.dir("d", 0o755)?;
        with_flags(t.at("f"), t.at("h"), RENAME_NOREPLACE)?;
        refused(rename_with(t.at("h"), t.at("g"), RENAME_NOREPLACE), EEXIST)?;
        refused(rename_with(t.at("h"), t.at("d"), RENAME_NOREPLACE), EEXIST)?;
        refused(rename_with(t.at("h"), t.at("h"), RENAME_NOREPLACE), EEXIST)?;
        equal_bytes(&read_all(t.at("g"))?, b"g")?;
    }

    /// EXCHANGE swaps two files
    fn exchange_files(t) {
        t.file("f", b"f")?;
        t.file("g", b"g")?;
        with_flags(t.at("f"), t.at("g"), RENAME_EXCHANGE)?;
        equal_bytes(&read_all(t.at("f"))?, b"g")?;
        equal_bytes(&read_all(t.at("g"))?, b"f")?;
    }

    /// EXCHANGE swaps a file with a full directory of another parent
    fn exchange_file_and_directory(t) {
        t.file("f", b"f")?;
        t.dir("a", 0o755)?;
        t.dir("a/d", 0o755)?;
        t.file("a/d/inner", b"i")?;
        with_flags(t.at("f"), t.at("a/d"), RENAME_EXCHANGE)?;
        equal(lstat(t.at("f"))?.kind(), S_IFDIR)?;
        equal_bytes(&read_all(t.at("f/inner"))?, b"i")?;
        equal_bytes(&read_all(t.at("a/d"))?, b"f")?;
        equal(stat(t.at("f/.."))?.ino(), stat(t.root())?.ino())?;
        let count = stat(t.at("a"))?.nlink();
        holds(matches!(count, 1 | 2), "the old parent has one directory less")?;
    }

    /// EXCHANGE needs both names: ENOENT, and keeps trees free of loops: EINVAL
    fn exchange_errors(t) {
        t.file("f", b"f")?;
        t.file("g", b"g")?;
        with_flags(t.at("f"), t.at("g"), RENAME_EXCHANGE)?;
        t.dir("a", 0o755)?;
        t.dir("a/b", 0o755)?;
        refused(rename_with(t.at("f"), t.at("x"), RENAME_EXCHANGE), ENOENT)?;
        refused(rename_with(t.at("x"), t.at("f"), RENAME_EXCHANGE), ENOENT)?;
        refused_with(rename_with(t.at("a"), t.at("a/b"), RENAME_EXCHANGE), &[EINVAL, ENOTEMPTY])?;
        refused_with(rename_with(t.at("a/b"), t.at("a"), RENAME_EXCHANGE), &[EINVAL, ENOTEMPTY])?;
    }

    /// NOREPLACE and EXCHANGE together make no sense: EINVAL
    fn flags_that_contradict(t) {
        t.file("f", b"f")?;
        t.file("g", b"g")?;
        refused(rename_with(t.at("f"), t.at("g"), RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL)?;
        refused(rename_with(t.at("f"), t.at("g"), 1 << 20), EINVAL)?;
    }

    /// both parents must be writable: EACCES
    fn needs_writable_parents(t) {
        t.dir("closed", 0o755)?;
        t.file_of(ALICE, "closed/f", 0o644)?;
        t.file_of(ALICE, "g", 0o644)?;
        refused(as_user(ALICE, || rename(t.at("closed/f"), t.at("f")))?, EACCES)?;
        refused(as_user(ALICE, || rename(t.at("g"), t.at("closed/g")))?, EACCES)?;
        refused(as_user(ALICE, || rename(t.at("closed/f"), t.at("closed/g")))?, EACCES)?;
    }

    /// a directory that gets another parent must be writable itself: EACCES
    fn moved_directory_must_be_writable(t) {
        t.dir("to", 0o777)?;
        t.dir_of(BOB, "d", 0o755)?;
        refused(as_user(ALICE, || rename(t.at("d"), t.at("to/d")))?, EACCES)?;
        as_user(ALICE, || rename(t.at("d"), t.at("e")))??;
    }

    /// in a sticky directory only the owners of file or directory may rename or replace: EPERM or EACCES
    fn sticky_directory(t) {
        t.dir("s", 0o1777)?;
        t.file_of(ALICE, "s/alice", 0o666)?;
        t.file_of(BOB, "s/bob", 0o666)?;
        refused_with(as_user(BOB, || rename(t.at("s/alice"), t.at("s/x")))?, &[EPERM, EACCES])?;
        refused_with(as_user(BOB, || rename(t.at("s/bob"), t.at("s/alice")))?, &[EPERM, EACCES])?;
        as_user(ALICE, || rename(t.at("s/alice"), t.at("s/x")))??;
        sys::chown(t.at("s"), BOB.uid, BOB.gid)?;
        as_user(BOB, || rename(t.at("s/x"), t.at("s/y")))??;
    }

    /// a name is there at every moment while files are renamed onto it
    fn replacing_is_atomic(t) {
        t.file("target", b"0000")?;
        let torn = std::thread::scope(|scope| -> Result<usize, Failure> {
            let writer = scope.spawn(|| -> Result<(), Failure> {
                for round in 0..500u32 {
                    let text = format!("{round:04}");
                    t.file("new", text.as_bytes())?;
                    rename(t.at("new"), t.at("target"))?;
                }
                Ok(())
            });
            let mut wrong = 0;
            while !writer.is_finished() {
                wrong += usize::from(!read_all(t.at("target")).is_ok_and(|text| text.len() == 4));
            }
            writer.join().unwrap_or_else(|_| Err(Failure::Failed("the writer panicked".to_owned())))?;
            Ok(wrong)
        })?;
        equal(torn, 0)?;
    }

    /// threads that move directories into each other's way end, and lose none
    fn crossing_moves(t) {
        for name in ["a", "b", "a/x", "b/y"] {
            t.dir(name, 0o755)?;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..300 {
                    let _ = rename(t.at("a/x"), t.at("b/y/x"));
                    let _ = rename(t.at("b/y/x"), t.at("a/x"));
                }
            });
            scope.spawn(|| {
                for _ in 0..300 {
                    let _ = rename(t.at("b/y"), t.at("a/x/y"));
                    let _ = rename(t.at("a/x/y"), t.at("b/y"));
                }
            });
        });
        let found = ["a/x", "b/y/x"].iter().filter(|name| lstat(t.at(name)).is_ok()).count();
        equal(found, 1)?;
        let found = ["b/y", "a/x/y"].iter().filter(|name| lstat(t.at(name)).is_ok()).count();
        equal(found, 1)?;
    }
}
