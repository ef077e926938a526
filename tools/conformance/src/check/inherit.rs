//! Set-group-id directories: what new entries inherit.

use libc::{S_IFIFO, S_IFREG};

use crate::expect::{equal, refused};
use crate::place::{ALICE, CAROL, Place, STAFF, as_user, create};
use crate::sys::{self, Result, chown, lstat, mkdir, stat};

/// A directory of the staff's group that hands its group on.
fn shared(place: &Place) -> Result<std::path::PathBuf> {
    let path = place.dir("shared", 0o777)?;
    chown(&path, 0, STAFF)?;
    sys::chmod(&path, 0o2777)?;
    Ok(path)
}

checks! { "inherit";
    /// without the set-group-id bit new entries have the maker's group
    fn makers_group_otherwise(t) {
        let d = t.dir("d", 0o777)?;
        chown(&d, 0, STAFF)?;
        as_user(ALICE, || create(d.join("f"), 0o644))??;
        as_user(ALICE, || mkdir(d.join("e"), 0o755))??;
        equal(stat(d.join("f"))?.gid(), ALICE.gid)?;
        equal(stat(d.join("e"))?.gid(), ALICE.gid)?;
    }

    /// files, fifos, sockets and symbolic links get the directory's group
    fn entries_get_the_group(t) {
        let d = shared(t)?;
        as_user(ALICE, || -> Result<()> {
            create(d.join("f"), 0o644)?;
            sys::mknod(d.join("n"), S_IFREG | 0o644, 0)?;
            sys::mknod(d.join("p"), S_IFIFO | 0o644, 0)?;
            sys::symlink("x", d.join("l"))
        })??;
        for name in ["f", "n", "p", "l"] {
            let made = lstat(d.join(name))?;
            equal((made.uid(), made.gid()), (ALICE.uid, STAFF))?;
        }
    }

    /// new directories get the group and the bit as well
    fn directories_get_the_bit(t) {
        let d = shared(t)?;
        as_user(ALICE, || mkdir(d.join("e"), 0o755))??;
        let made = stat(d.join("e"))?;
        equal((made.gid(), made.mode()), (STAFF, 0o2755))?;
        as_user(ALICE, || mkdir(d.join("e/e"), 0o700))??;
        let made = stat(d.join("e/e"))?;
        equal((made.gid(), made.mode()), (STAFF, 0o2700))?;
    }

    /// a file with the set-group-id bit and execute permission is made with it by a member of the group only
    fn bit_on_files_is_for_members(t) {
        let d = shared(t)?;
        as_user(ALICE, || create(d.join("stranger"), 0o2775))??;
        as_user(CAROL, || create(d.join("member"), 0o2775))??;
        equal(stat(d.join("stranger"))?.mode(), 0o775)?;
        equal(stat(d.join("member"))?.mode(), 0o2775)?;
    }

    /// hard links and renames bring their own group along
    fn moving_in_keeps_the_group(t) {
        let d = shared(t)?;
        let f = t.file_of(ALICE, "f", 0o644)?;
        sys::link(&f, d.join("linked"))?;
        sys::rename(&f, d.join("moved"))?;
        equal(stat(d.join("linked"))?.gid(), ALICE.gid)?;
        equal(stat(d.join("moved"))?.gid(), ALICE.gid)?;
    }

    /// the group that a file inherits gives its members access
    fn inherited_group_gives_access(t) {
        let d = shared(t)?;
        as_user(ALICE, || create(d.join("f"), 0o640))??;
        as_user(CAROL, || crate::place::open_ro(d.join("f")))??;
        refused(as_user(CAROL, || crate::place::open_rw(d.join("f")))?, libc::EACCES)?;
    }
}
