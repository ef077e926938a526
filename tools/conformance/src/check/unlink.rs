//! `unlink`, and files that live on without a name.

use libc::{EACCES, EISDIR, ENOENT, ENOTDIR, EPERM, O_RDONLY, O_RDWR};

use crate::expect::{equal, equal_bytes, holds, refused, refused_with};
use crate::place::{ALICE, as_user, create, open_ro, open_rw, pattern, read_all, tick, write_all_at};
use crate::sys::{self, Directory, open};

checks! { "unlink";
    /// the name is gone at once
    fn removes_a_name(t) {
        let path = t.file("f", b"x")?;
        sys::unlink(&path)?;
        refused(sys::lstat(&path), ENOENT)?;
        equal(Directory::open(t.root())?.rest()?.len(), 0)?;
    }

    /// a name that is not there is ENOENT
    fn missing_name(t) {
        refused(sys::unlink(t.at("f")), ENOENT)?;
        refused(sys::unlink(t.at("d/f")), ENOENT)?;
    }

    /// a directory is not unlinked: EISDIR (Linux) or EPERM (POSIX)
    fn directory(t) {
        refused_with(sys::unlink(t.dir("d", 0o755)?), &[EISDIR, EPERM])?;
        sys::lstat(t.at("d"))?;
    }

    /// a file with a slash at its end is ENOTDIR
    fn trailing_slash(t) {
        t.file("f", b"")?;
        refused(sys::unlink(t.at("f/")), ENOTDIR)?;
        refused(sys::unlink(t.at("f/x")), ENOTDIR)?;
        sys::lstat(t.at("f"))?;
    }

    /// a symbolic link goes, its target stays
    fn symlink_and_not_its_target(t) {
        t.file("f", b"x")?;
        sys::symlink("f", t.at("l"))?;
        sys::unlink(t.at("l"))?;
        refused(sys::lstat(t.at("l")), ENOENT)?;
        equal_bytes(&read_all(t.at("f"))?, b"x")?;
    }

    /// fifos, device nodes and dangling links are removed as files are
    fn special_files(t) {
        sys::mkfifo(t.at("p"), 0o644)?;
        sys::mknod(t.at("c"), libc::S_IFCHR | 0o600, libc::makedev(1, 3))?;
        sys::symlink("nowhere", t.at("l"))?;
        for name in ["p", "c", "l"] {
            sys::unlink(t.at(name))?;
            refused(sys::lstat(t.at(name)), ENOENT)?;
        }
    }

    /// a file that is open stays readable and writable after its last name is gone
    fn open_file_lives_on(t) {
        let path = t.file("f", b"old content")?;
        let file = open_rw(&path)?;
        sys::unlink(&path)?;
        equal_bytes(&file.pread(20, 0)?, b"old content")?;
        file.pwrite(b"NEW", 0)?;
        equal_bytes(&file.pread(20, 0)?, b"NEW content")?;
    }

    /// an open file without a name has no links, and can still be changed in every way
    fn open_file_without_name_can_be_changed(t) {
        let path = t.file("f", b"")?;
        let file = open_rw(&path)?;
        sys::unlink(&path)?;
        equal(file.stat()?.nlink(), 0)?;
        let data = pattern(7, 500_000);
        write_all_at(&file, &data, 1_000)?;
        equal(file.stat()?.size(), 501_000)?;
        equal_bytes(&file.pread(data.len(), 1_000)?, &data)?;
        file.chmod(0o600)?;
        file.chown(5, 6)?;
        file.utimens((100, 5), (200, 6))?;
        file.setxattr("user.k", b"v", 0)?;
        file.truncate(3)?;
        file.utimens((100, 5), (200, 6))?;
        let stat = file.stat()?;
        equal((stat.mode(), stat.uid(), stat.gid(), stat.size()), (0o600, 5, 6, 3))?;
        equal(stat.mtime(), (200, 6))?;
        equal_bytes(&file.getxattr("user.k")?, b"v")?;
        file.fsync()?;
    }

    /// a file without a name can be opened again through its descriptor
    fn open_file_without_name_can_be_reopened(t) {
        let path = t.file("f", b"text")?;
        let file = open_rw(&path)?;
        sys::unlink(&path)?;
        let again = open(file.proc_path(), O_RDONLY, 0)?;
        file.pwrite(b"T", 0)?;
        equal_bytes(&again.read(9)?, b"Text")?;
        equal(again.stat()?.ino(), file.stat()?.ino())?;
    }

    /// two openings of one file without a name see each other's writes, and one closing does not end it
    fn survives_until_the_last_close(t) {
        let path = t.file("f", b"aaaa")?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        sys::unlink(&path)?;
        first.pwrite(b"bb", 0)?;
        drop(first);
        equal_bytes(&second.pread(9, 0)?, b"bbaa")?;
    }

    /// the same name can be used for a new file while the old one is open
    fn name_can_be_used_again(t) {
        let path = t.file("f", b"old")?;
        let old = open_ro(&path)?;
        sys::unlink(&path)?;
        t.file("f", b"new")?;
        equal_bytes(&old.read(9)?, b"old")?;
        equal_bytes(&read_all(&path)?, b"new")?;
        holds(old.stat()?.ino() != sys::stat(&path)?.ino(), "a living inode's number is not used again")?;
    }

    /// five hundred open files lose their names and keep their content
    fn many_open_files_without_names(t) {
        let mut files = Vec::new();
        for i in 0..500u32 {
            let path = t.at(&i.to_string());
            let file = create(&path, 0o644)?;
            file.write(&i.to_le_bytes())?;
            sys::unlink(&path)?;
            files.push(file);
        }
        equal(Directory::open(t.root())?.rest()?.len(), 0)?;
        for (i, file) in (0u32..).zip(&files) {
            equal_bytes(&file.pread(8, 0)?, &i.to_le_bytes())?;
        }
    }

    /// one of two names goes: the other stays, with one link less and a new change time
    fn one_of_two_names(t) {
        let path = t.file("f", b"x")?;
        sys::link(&path, t.at("g"))?;
        let before = sys::stat(t.at("g"))?;
        tick();
        sys::unlink(&path)?;
        let after = sys::stat(t.at("g"))?;
        equal(after.nlink(), 1)?;
        holds(after.ctime() > before.ctime(), "the change time moves")?;
        equal(after.mtime(), before.mtime())?;
    }

    /// the directory's modification and change times move
    fn marks_the_directory(t) {
        t.file("f", b"")?;
        let before = sys::stat(t.root())?;
        tick();
        sys::unlink(t.at("f"))?;
        let after = sys::stat(t.root())?;
        holds(after.mtime() > before.mtime() && after.ctime() > before.ctime(), "both times move")?;
    }

    /// who cannot write the directory cannot unlink, even as the file's owner: EACCES
    fn needs_a_writable_directory(t) {
        t.dir("d", 0o755)?;
        let path = t.file_of(ALICE, "d/f", 0o666)?;
        refused(as_user(ALICE, || sys::unlink(&path))?, EACCES)?;
    }

    /// who can write the directory may unlink a file that they cannot even read
    fn needs_no_right_on_the_file(t) {
        let path = t.file("f", b"secret")?;
        sys::chmod(&path, 0)?;
        as_user(ALICE, || sys::unlink(&path))??;
    }

    /// what was written before unlinking is there after it, for a file whose data was never synced
    fn unsynced_data_survives_in_the_open_file(t) {
        let path = t.at("f");
        let file = open(&path, libc::O_CREAT | O_RDWR, 0o644)?;
        let data = pattern(3, 2 << 20);
        write_all_at(&file, &data, 0)?;
        sys::unlink(&path)?;
        file.fsync()?;
        file.drop_cache()?;
        equal_bytes(&file.pread(data.len(), 0)?, &data)?;
    }
}
