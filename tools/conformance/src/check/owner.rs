//! `chown`.

use libc::{ENOENT, EPERM};

use crate::expect::{equal, holds, refused};
use crate::place::{ALICE, BOB, CAROL, STAFF, as_user, open_rw, tick};
use crate::sys::{self, KEEP, chown, stat};

fn ids(path: impl AsRef<std::path::Path>) -> sys::Result<(u32, u32)> {
    let stat = sys::lstat(path)?;
    Ok((stat.uid(), stat.gid()))
}

checks! { "owner";
    /// root gives files, directories and fifos to anybody
    fn root_gives_away(t) {
        t.file("f", b"")?;
        t.dir("d", 0o755)?;
        sys::mkfifo(t.at("p"), 0o600)?;
        for name in ["f", "d", "p"] {
            chown(t.at(name), ALICE.uid, BOB.gid)?;
            equal(ids(t.at(name))?, (ALICE.uid, BOB.gid))?;
        }
    }

    /// an id of -1 keeps what is there
    fn minus_one_keeps(t) {
        let path = t.file_of(ALICE, "f", 0o644)?;
        chown(&path, KEEP, BOB.gid)?;
        equal(ids(&path)?, (ALICE.uid, BOB.gid))?;
        chown(&path, BOB.uid, KEEP)?;
        equal(ids(&path)?, (BOB.uid, BOB.gid))?;
        chown(&path, KEEP, KEEP)?;
        equal(ids(&path)?, (BOB.uid, BOB.gid))?;
    }

    /// ids use all 32 bits
    fn large_ids(t) {
        let path = t.file("f", b"")?;
        for id in [65_535, 65_536, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe] {
            chown(&path, id, id)?;
            equal(ids(&path)?, (id, id))?;
        }
    }

    /// chown follows a symbolic link, lchown does not
    fn symlinks(t) {
        t.file("f", b"")?;
        sys::symlink("f", t.at("l"))?;
        chown(t.at("l"), 5, 6)?;
        equal(ids(t.at("f"))?, (5, 6))?;
        equal(ids(t.at("l"))?, (0, 0))?;
        sys::lchown(t.at("l"), 7, 8)?;
        equal(ids(t.at("f"))?, (5, 6))?;
        equal(ids(t.at("l"))?, (7, 8))?;
        sys::symlink("missing", t.at("m"))?;
        refused(chown(t.at("m"), 1, 1), ENOENT)?;
        sys::lchown(t.at("m"), 1, 1)?;
    }

    /// fchown on an open file
    fn by_descriptor(t) {
        let path = t.file("f", b"")?;
        open_rw(&path)?.chown(5, 6)?;
        equal(ids(&path)?, (5, 6))?;
    }

    /// an owner cannot give a file away: EPERM
    fn owner_cannot_give_away(t) {
        let path = t.file_of(ALICE, "f", 0o644)?;
        refused(as_user(ALICE, || chown(&path, BOB.uid, KEEP))?, EPERM)?;
        refused(as_user(BOB, || chown(&path, BOB.uid, KEEP))?, EPERM)?;
        equal(ids(&path)?, (ALICE.uid, ALICE.gid))?;
    }

    /// an owner may choose among their own groups only: EPERM
    fn owner_chooses_among_own_groups(t) {
        let path = t.file_of(CAROL, "f", 0o644)?;
        as_user(CAROL, || chown(&path, KEEP, STAFF))??;
        equal(ids(&path)?, (CAROL.uid, STAFF))?;
        as_user(CAROL, || chown(&path, CAROL.uid, CAROL.gid))??;
        refused(as_user(CAROL, || chown(&path, KEEP, ALICE.gid))?, EPERM)?;
        refused(as_user(CAROL, || chown(&path, KEEP, 0))?, EPERM)?;
    }

    /// somebody else cannot change the group: EPERM
    fn group_is_for_the_owner(t) {
        let path = t.file_of(ALICE, "f", 0o666)?;
        refused(as_user(CAROL, || chown(&path, KEEP, STAFF))?, EPERM)?;
    }

    /// an owner who changes the group loses the set-id bits of an executable file
    fn group_change_clears_set_ids(t) {
        let path = t.file_of(CAROL, "f", 0o6755)?;
        as_user(CAROL, || chown(&path, KEEP, STAFF))??;
        equal(stat(&path)?.mode(), 0o755)?;
    }

    /// it moves the change time and no other
    fn times(t) {
        let before = stat(t.file("f", b"")?)?;
        tick();
        chown(t.at("f"), 5, 6)?;
        let after = stat(t.at("f"))?;
        holds(after.ctime() > before.ctime(), "the change time moves")?;
        equal((after.mtime(), after.atime()), (before.mtime(), before.atime()))?;
    }
}
