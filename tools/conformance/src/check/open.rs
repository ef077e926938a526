//! `open` and its flags.

use libc::{
    EACCES, EBADF, EEXIST, EISDIR, ELOOP, ENOENT, ENOTDIR, EPERM, O_CREAT, O_DIRECTORY, O_EXCL, O_NOATIME,
    O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, S_IFREG, SEEK_CUR,
};

use crate::expect::{equal, equal_bytes, holds, refused, refused_with};
use crate::place::{ALICE, BOB, as_user, create, in_thread, open_ro, open_rw, read_all};
use crate::sys::{self, open};

checks! { "open";
    /// O_CREAT makes an empty regular file with one name, owned by the caller
    fn creates_an_empty_regular_file(t) {
        let path = t.at("f");
        as_user(ALICE, || create(&path, 0o640))??;
        let stat = sys::stat(&path)?;
        equal(stat.kind(), S_IFREG)?;
        equal(stat.mode(), 0o640)?;
        equal((stat.uid(), stat.gid()), (ALICE.uid, ALICE.gid))?;
        equal((stat.size(), stat.nlink()), (0, 1))?;
    }

    /// the process's umask is taken off the mode of a new file
    fn umask_is_taken_off(t) {
        let path = t.at("f");
        in_thread(|| {
            sys::own_file_context()?;
            sys::umask(0o027);
            create(&path, 0o777)
        })?;
        equal(sys::stat(&path)?.mode(), 0o750)?;
    }

    /// set-id and sticky bits can be given to a new file
    fn set_id_bits_at_creation(t) {
        drop(create(t.at("f"), 0o7755)?);
        equal(sys::stat(t.at("f"))?.mode(), 0o7755)?;
    }

    /// O_CREAT|O_EXCL on any existing name is EEXIST
    fn exclusive_refuses_what_exists(t) {
        t.file("f", b"x")?;
        t.dir("d", 0o755)?;
        sys::symlink(t.at("f"), t.at("l"))?;
        for name in ["f", "d", "l"] {
            refused(open(t.at(name), O_CREAT | O_EXCL | O_RDWR, 0o644), EEXIST)?;
        }
        equal_bytes(&read_all(t.at("f"))?, b"x")?;
    }

    /// O_CREAT|O_EXCL does not follow a dangling symbolic link: EEXIST
    fn exclusive_refuses_a_dangling_symlink(t) {
        sys::symlink("nowhere", t.at("l"))?;
        refused(open(t.at("l"), O_CREAT | O_EXCL | O_RDWR, 0o644), EEXIST)?;
        refused(sys::lstat(t.at("nowhere")), ENOENT)?;
    }

    /// O_CREAT through a dangling symbolic link makes the link's target
    fn creates_through_a_dangling_symlink(t) {
        sys::symlink("target", t.at("l"))?;
        drop(open(t.at("l"), O_CREAT | O_RDWR, 0o644)?);
        equal(sys::lstat(t.at("target"))?.kind(), S_IFREG)?;
    }

    /// O_CREAT on an existing file changes neither mode nor content
    fn creating_again_changes_nothing(t) {
        t.file("f", b"old")?;
        drop(open(t.at("f"), O_CREAT | O_RDWR, 0o777)?);
        equal(sys::stat(t.at("f"))?.mode(), 0o644)?;
        equal_bytes(&read_all(t.at("f"))?, b"old")?;
    }

    /// a name that is not there is ENOENT
    fn missing_name(t) {
        refused(open(t.at("f"), O_RDONLY, 0), ENOENT)?;
        refused(open(t.at("d/f"), O_RDONLY, 0), ENOENT)?;
        refused(open(t.at("d/f"), O_CREAT | O_RDWR, 0o644), ENOENT)?;
        refused(open("", O_RDONLY, 0), ENOENT)?;
    }

    /// a file in the middle of a path is ENOTDIR
    fn file_as_directory(t) {
        t.file("f", b"")?;
        refused(open(t.at("f/x"), O_RDONLY, 0), ENOTDIR)?;
        refused(open(t.at("f/x"), O_CREAT | O_RDWR, 0o644), ENOTDIR)?;
        refused(open(t.at("f/"), O_RDONLY, 0), ENOTDIR)?;
        refused(open(t.at("f/."), O_RDONLY, 0), ENOTDIR)?;
    }

    /// a directory cannot be opened for writing: EISDIR
    fn directory_for_writing(t) {
        let d = t.dir("d", 0o755)?;
        refused(open(&d, O_WRONLY, 0), EISDIR)?;
        refused(open(&d, O_RDWR, 0), EISDIR)?;
        refused(open(&d, O_RDONLY | O_CREAT, 0o644), EISDIR)?;
        refused(open(&d, O_RDONLY | O_TRUNC, 0), EISDIR)?;
    }

    /// an open directory cannot be read as a file: EISDIR
    fn reading_a_directory(t) {
        let d = open_ro(t.dir("d", 0o755)?)?;
        refused(d.read(10), EISDIR)?;
    }

    /// a new name with a slash at its end is EISDIR
    fn creating_with_trailing_slash(t) {
        refused(open(t.at("new/"), O_CREAT | O_RDWR, 0o644), EISDIR)?;
        refused(sys::lstat(t.at("new")), ENOENT)?;
    }

    /// O_DIRECTORY on anything else is ENOTDIR
    fn directory_flag_on_a_file(t) {
        t.file("f", b"")?;
        refused(open(t.at("f"), O_RDONLY | O_DIRECTORY, 0), ENOTDIR)?;
        open(t.dir("d", 0o755)?, O_RDONLY | O_DIRECTORY, 0)?;
    }

    /// O_NOFOLLOW on a symbolic link is ELOOP, on a link in the middle of the path it is not
    fn nofollow(t) {
        t.dir("d", 0o755)?;
        t.file("d/f", b"")?;
        sys::symlink("f", t.at("d/l"))?;
        sys::symlink("d", t.at("ld"))?;
        refused(open(t.at("d/l"), O_RDONLY | O_NOFOLLOW, 0), ELOOP)?;
        open(t.at("ld/f"), O_RDONLY | O_NOFOLLOW, 0)?;
    }

    /// O_TRUNC empties a file and keeps its number, mode and owner
    fn truncates(t) {
        let path = t.file_of(ALICE, "f", 0o640)?;
        let before = sys::stat(&path)?;
        drop(open(&path, O_WRONLY | O_TRUNC, 0)?);
        let after = sys::stat(&path)?;
        equal(after.size(), 0)?;
        equal((after.ino(), after.mode(), after.uid()), (before.ino(), before.mode(), before.uid()))?;
        equal_bytes(&read_all(&path)?, b"")?;
    }

    /// a file that is truncated by one opener is empty for the others at once
    fn truncation_is_seen_by_other_openers(t) {
        let path = t.file("f", b"0123456789")?;
        let reader = open_ro(&path)?;
        equal_bytes(&reader.pread(4, 0)?, b"0123")?;
        drop(open(&path, O_WRONLY | O_TRUNC, 0)?);
        equal(reader.stat()?.size(), 0)?;
        equal_bytes(&reader.pread(4, 0)?, b"")?;
    }

    /// a descriptor does only what it was opened for: EBADF
    fn descriptors_keep_to_their_access_mode(t) {
        let path = t.file("f", b"text")?;
        refused(open_ro(&path)?.write(b"x"), EBADF)?;
        refused(open(&path, O_WRONLY, 0)?.read(1), EBADF)?;
        refused_with(open_ro(&path)?.truncate(0), &[libc::EINVAL, EBADF])?;
    }

    /// the mode of a new file does not bind the descriptor that made it
    fn writable_though_created_with_mode_zero(t) {
        let path = t.at("f");
        as_user(ALICE, || -> crate::expect::Outcome {
            let file = create(&path, 0)?;
            equal(file.write(b"abc")?, 3)?;
            equal_bytes(&file.pread(3, 0)?, b"abc")?;
            refused(open(&path, O_RDONLY, 0), EACCES)
        })??;
    }

    /// an open descriptor keeps its rights when the mode changes
    fn rights_are_checked_at_open_only(t) {
        let path = t.file_of(ALICE, "f", 0o600)?;
        as_user(ALICE, || -> crate::expect::Outcome {
            let file = open_rw(&path)?;
            sys::chmod(&path, 0)?;
            file.write(b"TEXT")?;
            equal_bytes(&file.pread(4, 0)?, b"TEXT")
        })??;
    }

    /// an O_PATH descriptor can be asked about but not read
    fn path_descriptor(t) {
        let file = open(t.file("f", b"text")?, O_PATH, 0)?;
        equal(file.stat()?.size(), 4)?;
        refused(file.read(1), EBADF)?;
        equal_bytes(&read_all(file.proc_path())?, b"text")?;
    }

    /// two openings have a position each, a duplicate shares one
    fn positions(t) {
        let path = t.file("f", b"0123456789")?;
        let (first, second) = (open_ro(&path)?, open_ro(&path)?);
        let shared = first.duplicate()?;
        first.read(3)?;
        equal_bytes(&second.read(2)?, b"01")?;
        equal_bytes(&shared.read(2)?, b"34")?;
        equal(first.seek(0, SEEK_CUR)?, 5)?;
    }

    /// `.` and `..` lead to the directory itself and to its parent
    fn dot_and_dot_dot(t) {
        t.dir("d", 0o755)?;
        t.file("f", b"x")?;
        equal(sys::stat(t.at("d/."))?.ino(), sys::stat(t.at("d"))?.ino())?;
        equal(sys::stat(t.at("d/.."))?.ino(), sys::stat(t.root())?.ino())?;
        equal_bytes(&read_all(t.at("d/../f"))?, b"x")?;
    }

    /// openat works relative to a directory that was renamed since
    fn relative_to_a_renamed_directory(t) {
        let directory = open_ro(t.dir("d", 0o755)?)?;
        t.file("d/f", b"x")?;
        sys::rename(t.at("d"), t.at("e"))?;
        equal_bytes(&sys::open_at(&directory, "f", O_RDONLY, 0)?.read(9)?, b"x")?;
        drop(sys::open_at(&directory, "g", O_CREAT | O_RDWR, 0o644)?);
        sys::lstat(t.at("e/g"))?;
    }

    /// a path through the descriptor leads to the file after it was renamed
    fn reopening_by_descriptor_after_rename(t) {
        let file = open_ro(t.file("f", b"text")?)?;
        sys::rename(t.at("f"), t.at("g"))?;
        equal_bytes(&read_all(file.proc_path())?, b"text")?;
        holds(
            std::fs::read_link(file.proc_path()).is_ok_and(|p| p.ends_with("g")),
            "the path shows the new name",
        )?;
    }

    /// O_NOATIME is for the owner: EPERM for others
    fn noatime_is_for_the_owner(t) {
        let path = t.file_of(ALICE, "f", 0o644)?;
        refused(as_user(BOB, || open(&path, O_RDONLY | O_NOATIME, 0))?, EPERM)?;
        as_user(ALICE, || open(&path, O_RDONLY | O_NOATIME, 0))??;
    }

    /// eight threads that create one name with O_EXCL: exactly one wins
    fn exclusive_creation_has_one_winner(t) {
        for round in 0..20 {
            let path = t.at(&format!("f{round}"));
            let wins = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| create(&path, 0o644).is_ok())).collect();
                threads.into_iter().filter_map(|t| t.join().ok()).filter(|won| *won).count()
            });
            equal(wins, 1)?;
        }
    }
}
