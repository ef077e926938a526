//! `chmod`, and when set-id bits go away.

use libc::{ENOENT, ENOTDIR, EPERM, O_PATH};

use crate::expect::{equal, holds, refused};
use crate::place::{ALICE, BOB, CAROL, STAFF, User, as_user, open_rw, tick};
use crate::sys::{self, chmod, open, stat};

const SET_IDS: u32 = 0o6000;

checks! { "mode";
    /// all twelve bits can be set and read back, on files and directories
    fn all_bits(t) {
        t.file("f", b"")?;
        t.dir("d", 0o755)?;
        for mode in [0, 0o1, 0o20, 0o400, 0o644, 0o777, 0o1777, 0o2755, 0o4755, 0o7777] {
            for name in ["f", "d"] {
                chmod(t.at(name), mode)?;
                equal(stat(t.at(name))?.mode(), mode)?;
            }
        }
        chmod(t.at("d"), 0o755)?;
    }

    /// fifos and sockets have modes too
    fn special_files(t) {
        sys::mkfifo(t.at("p"), 0o600)?;
        sys::mknod(t.at("s"), libc::S_IFSOCK | 0o600, 0)?;
        for name in ["p", "s"] {
            chmod(t.at(name), 0o642)?;
            equal(stat(t.at(name))?.mode(), 0o642)?;
        }
    }

    /// through a symbolic link the target changes
    fn follows_symlinks(t) {
        t.file("f", b"")?;
        sys::symlink("f", t.at("l"))?;
        chmod(t.at("l"), 0o600)?;
        equal(stat(t.at("f"))?.mode(), 0o600)?;
        equal(sys::lstat(t.at("l"))?.mode(), 0o777)?;
    }

    /// fchmod on an open file
    fn by_descriptor(t) {
        let file = open_rw(t.file("f", b"")?)?;
        file.chmod(0o604)?;
        equal(stat(t.at("f"))?.mode(), 0o604)?;
        refused(open(t.at("f"), O_PATH, 0)?.chmod(0o600), libc::EBADF)?;
    }

    /// what is not there is ENOENT, a file in the path ENOTDIR
    fn missing_and_wrong_paths(t) {
        t.file("f", b"")?;
        refused(chmod(t.at("x"), 0o600), ENOENT)?;
        refused(chmod(t.at("f/x"), 0o600), ENOTDIR)?;
    }

    /// it moves the change time and no other
    fn times(t) {
        let before = stat(t.file("f", b"")?)?;
        tick();
        chmod(t.at("f"), 0o600)?;
        let after = stat(t.at("f"))?;
        holds(after.ctime() > before.ctime(), "the change time moves")?;
        equal((after.mtime(), after.atime()), (before.mtime(), before.atime()))?;
    }

    /// it is for the owner: EPERM, even for who may write
    fn is_for_the_owner(t) {
        let path = t.file_of(ALICE, "f", 0o666)?;
        refused(as_user(BOB, || chmod(&path, 0o777))?, EPERM)?;
        equal(stat(&path)?.mode(), 0o666)?;
        as_user(ALICE, || chmod(&path, 0o600))??;
    }

    /// an owner outside the file's group loses the set-group-id bit without an error
    fn set_group_id_outside_the_group(t) {
        let path = t.file_of(ALICE, "f", 0o755)?;
        sys::chown(&path, ALICE.uid, STAFF)?;
        as_user(ALICE, || chmod(&path, 0o2755))??;
        equal(stat(&path)?.mode(), 0o755)?;
    }

    /// an owner who has the file's group as a supplementary one keeps the set-group-id bit
    fn set_group_id_by_supplementary_group(t) {
        let path = t.file_of(CAROL, "f", 0o755)?;
        sys::chown(&path, CAROL.uid, STAFF)?;
        as_user(CAROL, || chmod(&path, 0o2755))??;
        equal(stat(&path)?.mode(), 0o2755)?;
    }

    /// an owner without privilege may set set-user-id and sticky bits
    fn set_user_id_by_the_owner(t) {
        let path = t.file_of(ALICE, "f", 0o755)?;
        as_user(ALICE, || chmod(&path, 0o4755))??;
        equal(stat(&path)?.mode(), 0o4755)?;
        let path = t.dir_of(ALICE, "d", 0o755)?;
        as_user(ALICE, || chmod(&path, 0o1777))??;
        equal(stat(&path)?.mode(), 0o1777)?;
    }

    /// a write by somebody without privilege takes the set-id bits away
    fn write_clears_set_ids(t) {
        let path = t.file_of(ALICE, "f", SET_IDS | 0o777)?;
        as_user(BOB, || open_rw(&path)?.write(b"x"))??;
        equal(stat(&path)?.mode(), 0o777)?;
    }

    /// that holds for the owner, too
    fn write_by_the_owner_clears_set_ids(t) {
        let path = t.file_of(ALICE, "f", SET_IDS | 0o755)?;
        as_user(ALICE, || open_rw(&path)?.write(b"x"))??;
        equal(stat(&path)?.mode(), 0o755)?;
    }

    /// a write by root keeps them
    fn write_by_root_keeps_set_ids(t) {
        let path = t.file_of(ALICE, "f", SET_IDS | 0o755)?;
        open_rw(&path)?.write(b"x")?;
        equal(stat(&path)?.mode(), 0o6755)?;
    }

    /// truncation by somebody without privilege takes the set-id bits away
    fn truncate_clears_set_ids(t) {
        let path = t.file_of(ALICE, "f", SET_IDS | 0o777)?;
        as_user(BOB, || sys::truncate(&path, 0))??;
        equal(stat(&path)?.mode(), 0o777)?;
    }

    /// without the group's execute bit the set-group-id bit is no privilege: chown takes the set-user-id bit only
    fn set_group_id_without_execute(t) {
        let path = t.file("f", b"")?;
        chmod(&path, 0o6644)?;
        sys::chown(&path, ALICE.uid, ALICE.gid)?;
        let mode = stat(&path)?.mode();
        holds(matches!(mode, 0o2644 | 0o644), "the set-user-id bit is gone")?;
    }

    /// chown takes the set-id bits of an executable file, also when root does it
    fn chown_clears_set_ids(t) {
        let path = t.file("f", b"")?;
        chmod(&path, 0o6755)?;
        sys::chown(&path, ALICE.uid, ALICE.gid)?;
        equal(stat(&path)?.mode(), 0o755)?;
    }

    /// chown of a directory keeps its set-id bits
    fn chown_keeps_set_ids_of_directories(t) {
        let path = t.dir("d", 0o755)?;
        chmod(&path, 0o6755)?;
        sys::chown(&path, ALICE.uid, ALICE.gid)?;
        equal(stat(&path)?.mode(), 0o6755)?;
    }

    /// a user without main group there makes files without the set-group-id bit in foreign groups
    fn creation_with_foreign_group(t) {
        let d = t.dir("d", 0o777)?;
        sys::chown(&d, 0, STAFF)?;
        chmod(&d, 0o2777)?;
        let stranger = User { uid: BOB.uid, gid: BOB.gid, groups: &[] };
        as_user(stranger, || crate::place::create(d.join("f"), 0o2775))??;
        let made = stat(d.join("f"))?;
        equal((made.gid(), made.mode()), (STAFF, 0o775))?;
    }
}
