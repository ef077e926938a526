//! POSIX access control lists: access, inheritance, the mask.
//!
//! Lists are set and read in the kernel's own form, the extended attributes `system.posix_acl_access` and `system.posix_acl_default`:
//! a version of 4 bytes, then 8 bytes for each entry (tag, permissions, id), all little-endian.

use std::path::Path;

use libc::{EACCES, EINVAL, ENODATA, EOPNOTSUPP, EPERM, O_RDONLY, O_WRONLY, S_IFDIR};

use crate::expect::{Failure, equal, equal_bytes, or_skip, refused, refused_with};
use crate::place::{ALICE, BOB, CAROL, STAFF, User, as_user, create, in_thread};
use crate::sys::{self, Result, chmod, getxattr, lstat, mkdir, open, removexattr, setxattr, stat};

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

#[derive(Clone, Copy)]
enum Who {
    Owner,
    User(u32),
    Group,
    NamedGroup(u32),
    Mask,
    Other,
}
use Who::{Group, Mask, NamedGroup, Other, Owner, User as Named};

fn encode(entries: &[(Who, u16)]) -> Vec<u8> {
    let mut out = 2u32.to_le_bytes().to_vec();
    for (who, permissions) in entries {
        let (tag, id) = match who {
            Owner => (0x01u16, u32::MAX),
            Named(id) => (0x02, *id),
            Group => (0x04, u32::MAX),
            NamedGroup(id) => (0x08, *id),
            Mask => (0x10, u32::MAX),
            Other => (0x20, u32::MAX),
        };
        out.extend_from_slice(&tag.to_le_bytes());
        out.extend_from_slice(&permissions.to_le_bytes());
        out.extend_from_slice(&id.to_le_bytes());
    }
    out
}

fn set(path: &Path, name: &str, entries: &[(Who, u16)]) -> std::result::Result<(), Failure> {
    or_skip(setxattr(path, name, &encode(entries), 0), &[EOPNOTSUPP], "the mount has no access control lists")
}

/// Whether (reading, writing) is allowed.
fn rights(user: User, path: &Path) -> std::result::Result<(bool, bool), Failure> {
    as_user(user, || (open(path, O_RDONLY, 0).is_ok(), open(path, O_WRONLY, 0).is_ok()))
}

const YES: (bool, bool) = (true, true);
const READ: (bool, bool) = (true, false);
const NO: (bool, bool) = (false, false);

checks! { "acl";
    /// a list reads back as it was set, and its mask shows as the group's bits
    fn reads_back(t) {
        let f = t.file_of(ALICE, "f", 0o640)?;
        let list =
            [(Owner, 6), (Named(BOB.uid), 6), (Group, 4), (NamedGroup(STAFF), 5), (Mask, 7), (Other, 0)];
        set(&f, ACCESS, &list)?;
        equal_bytes(&getxattr(&f, ACCESS)?, &encode(&list))?;
        equal(stat(&f)?.mode(), 0o670)?;
    }

    /// a named user has the rights of their entry
    fn named_user(t) {
        let f = t.file_of(ALICE, "f", 0o600)?;
        equal(rights(BOB, &f)?, NO)?;
        set(&f, ACCESS, &[(Owner, 6), (Named(BOB.uid), 4), (Group, 0), (Mask, 6), (Other, 0)])?;
        equal(rights(BOB, &f)?, READ)?;
        equal(rights(CAROL, &f)?, NO)?;
        equal(rights(ALICE, &f)?, YES)?;
    }

    /// an entry can take away from one user what all others have
    fn named_user_with_less_than_others(t) {
        let f = t.file_of(ALICE, "f", 0o666)?;
        set(&f, ACCESS, &[(Owner, 6), (Named(BOB.uid), 0), (Group, 6), (Mask, 6), (Other, 6)])?;
        equal(rights(BOB, &f)?, NO)?;
        equal(rights(CAROL, &f)?, YES)?;
    }

    /// a named group has the rights of its entry, also by a supplementary group
    fn named_group(t) {
        let f = t.file_of(ALICE, "f", 0o600)?;
        set(&f, ACCESS, &[(Owner, 6), (Group, 0), (NamedGroup(STAFF), 6), (Mask, 6), (Other, 0)])?;
        equal(rights(CAROL, &f)?, YES)?;
        equal(rights(BOB, &f)?, NO)?;
    }

    /// who is in several groups of the list may what any of them may
    fn any_group_is_enough(t) {
        static GROUPS: [u32; 2] = [STAFF, 61051];
        let f = t.file_of(ALICE, "f", 0o600)?;
        set(
            &f,
            ACCESS,
            &[(Owner, 6), (Group, 0), (NamedGroup(STAFF), 4), (NamedGroup(61051), 6), (Mask, 6), (Other, 0)],
        )?;
        equal(rights(User { groups: &GROUPS, ..BOB }, &f)?, YES)?;
        equal(rights(CAROL, &f)?, READ)?;
    }

    /// who is in a group of the list never falls through to the others' entry
    fn matched_group_ends_the_search(t) {
        let f = t.file_of(ALICE, "f", 0o666)?;
        set(&f, ACCESS, &[(Owner, 6), (Group, 6), (NamedGroup(STAFF), 0), (Mask, 6), (Other, 6)])?;
        equal(rights(CAROL, &f)?, NO)?;
        equal(rights(BOB, &f)?, YES)?;
    }

    /// the mask limits named users and all groups, not the owner and the others
    fn mask_limits(t) {
        let f = t.file_of(ALICE, "f", 0o600)?;
        let member = User { gid: ALICE.gid, ..BOB };
        set(&f, ACCESS, &[(Owner, 6), (Named(CAROL.uid), 6), (Group, 6), (Mask, 4), (Other, 6)])?;
        equal(rights(CAROL, &f)?, READ)?;
        equal(rights(member, &f)?, READ)?;
        equal(rights(ALICE, &f)?, YES)?;
        equal(rights(BOB, &f)?, YES)?;
        equal(stat(&f)?.mode(), 0o646)?;
    }

    /// chmod changes the mask and leaves the group's own entry
    fn chmod_sets_the_mask(t) {
        let f = t.file_of(ALICE, "f", 0o600)?;
        set(&f, ACCESS, &[(Owner, 6), (Named(BOB.uid), 6), (Group, 4), (Mask, 6), (Other, 0)])?;
        chmod(&f, 0o601)?;
        equal(rights(BOB, &f)?, NO)?;
        let after = encode(&[(Owner, 6), (Named(BOB.uid), 6), (Group, 4), (Mask, 0), (Other, 1)]);
        equal_bytes(&getxattr(&f, ACCESS)?, &after)?;
        chmod(&f, 0o660)?;
        equal(rights(BOB, &f)?, YES)?;
    }

    /// a list of three entries is a mode and nothing more
    fn minimal_list_is_a_mode(t) {
        let f = t.file_of(ALICE, "f", 0o600)?;
        set(&f, ACCESS, &[(Owner, 7), (Group, 5), (Other, 1)])?;
        equal(stat(&f)?.mode(), 0o751)?;
        refused(getxattr(&f, ACCESS), ENODATA)?;
    }

    /// a list set by an owner outside the file's group takes the set-group-id bit; a supplementary group is enough to keep it
    fn set_group_id(t) {
        let long = [(Owner, 7), (Named(BOB.uid), 5), (Group, 5), (Mask, 5), (Other, 5)];
        for list in [&long[..], &[(Owner, 7), (Group, 5), (Other, 5)]] {
            for (owner, kept) in [(ALICE, 0o755), (CAROL, 0o2755)] {
                let f = t.file_of(owner, "f", 0o644)?;
                sys::chown(&f, owner.uid, STAFF)?;
                chmod(&f, 0o2755)?;
                let done = as_user(owner, || setxattr(&f, ACCESS, &encode(list), 0))?;
                or_skip(done, &[EOPNOTSUPP], "the mount has no access control lists")?;
                equal(stat(&f)?.mode(), kept)?;
                sys::unlink(&f)?;
            }
        }
    }

    /// removing the list leaves the mode
    fn removal(t) {
        let f = t.file_of(ALICE, "f", 0o600)?;
        set(&f, ACCESS, &[(Owner, 6), (Named(BOB.uid), 6), (Group, 4), (Mask, 6), (Other, 0)])?;
        removexattr(&f, ACCESS)?;
        refused(getxattr(&f, ACCESS), ENODATA)?;
        equal(rights(BOB, &f)?, NO)?;
        equal(stat(&f)?.mode(), 0o660)?;
    }

    /// lists that make no sense are EINVAL
    fn invalid_lists(t) {
        let f = t.file_of(ALICE, "f", 0o600)?;
        set(&f, ACCESS, &[(Owner, 6), (Group, 0), (Other, 0)])?;
        for list in [
            encode(&[(Owner, 6), (Named(BOB.uid), 6), (Group, 4), (Other, 0)]),
            encode(&[(Owner, 6), (Group, 4)]),
            encode(&[(Owner, 6), (Owner, 6), (Group, 4), (Other, 0)]),
            encode(&[(Owner, 8), (Group, 4), (Other, 0)]),
            encode(&[(Owner, 6), (Group, 4), (Other, 0)])[..27].to_vec(),
        ] {
            refused(setxattr(&f, ACCESS, &list, 0), EINVAL)?;
        }
        refused_with(setxattr(&f, ACCESS, &[9, 0, 0, 0], 0), &[EOPNOTSUPP, EINVAL])?;
    }

    /// lists are for the owner: EPERM
    fn is_for_the_owner(t) {
        let f = t.file_of(ALICE, "f", 0o666)?;
        let list = encode(&[(Owner, 6), (Named(BOB.uid), 6), (Group, 4), (Mask, 6), (Other, 0)]);
        set(&f, ACCESS, &[(Owner, 6), (Group, 6), (Other, 6)])?;
        refused(as_user(BOB, || setxattr(&f, ACCESS, &list, 0))?, EPERM)?;
        as_user(ALICE, || setxattr(&f, ACCESS, &list, 0))??;
        refused(as_user(BOB, || removexattr(&f, ACCESS))?, EPERM)?;
    }

    /// a directory's list rules searching and making names
    fn on_a_directory(t) {
        let d = t.dir("d", 0o700)?;
        set(
            &d,
            ACCESS,
            &[(Owner, 7), (Named(BOB.uid), 7), (Group, 0), (NamedGroup(STAFF), 1), (Mask, 7), (Other, 0)],
        )?;
        as_user(BOB, || create(d.join("f"), 0o644))??;
        as_user(CAROL, || stat(d.join("f")))??;
        refused(as_user(CAROL, || create(d.join("g"), 0o644))?, EACCES)?;
        refused(as_user(ALICE, || stat(d.join("f")).map(drop))?, EACCES)?;
    }

    /// a default list is for directories: EACCES on files
    fn default_list_is_for_directories(t) {
        let f = t.file("f", b"")?;
        let d = t.dir("d", 0o755)?;
        let list = [(Owner, 7), (Group, 5), (Other, 0)];
        set(&d, DEFAULT, &list)?;
        equal(stat(&d)?.mode(), 0o755)?;
        equal_bytes(&getxattr(&d, DEFAULT)?, &encode(&list))?;
        refused(setxattr(&f, DEFAULT, &encode(&list), 0), EACCES)?;
        removexattr(&d, DEFAULT)?;
        refused(getxattr(&d, DEFAULT), ENODATA)?;
    }

    /// a new file gets its directory's default list, limited by the mode asked for
    fn files_inherit(t) {
        let d = t.dir("d", 0o777)?;
        set(&d, DEFAULT, &[(Owner, 7), (Named(BOB.uid), 7), (Group, 5), (Mask, 7), (Other, 4)])?;
        as_user(ALICE, || create(d.join("f"), 0o640))??;
        let inherited = encode(&[(Owner, 6), (Named(BOB.uid), 7), (Group, 5), (Mask, 4), (Other, 0)]);
        equal_bytes(&getxattr(d.join("f"), ACCESS)?, &inherited)?;
        equal(stat(d.join("f"))?.mode(), 0o640)?;
        equal(rights(BOB, &d.join("f"))?, READ)?;
    }

    /// where there is a default list the umask does not count
    fn default_list_overrides_the_umask(t) {
        let d = t.dir("d", 0o777)?;
        set(&d, DEFAULT, &[(Owner, 7), (Group, 7), (Other, 7)])?;
        in_thread(|| {
            sys::own_file_context()?;
            sys::umask(0o077);
            create(d.join("f"), 0o666)?;
            mkdir(d.join("e"), 0o777)
        })?;
        equal(stat(d.join("f"))?.mode(), 0o666)?;
        equal(stat(d.join("e"))?.mode(), 0o777)?;
    }

    /// a new directory gets the default list twice: for itself and to hand on
    fn directories_inherit(t) {
        let d = t.dir("d", 0o777)?;
        let list = encode(&[(Owner, 7), (Named(BOB.uid), 7), (Group, 5), (Mask, 7), (Other, 0)]);
        set(&d, DEFAULT, &[(Owner, 7), (Named(BOB.uid), 7), (Group, 5), (Mask, 7), (Other, 0)])?;
        mkdir(d.join("e"), 0o777)?;
        equal_bytes(&getxattr(d.join("e"), DEFAULT)?, &list)?;
        equal_bytes(&getxattr(d.join("e"), ACCESS)?, &list)?;
        let made = stat(d.join("e"))?;
        equal((made.kind(), made.mode()), (S_IFDIR, 0o770))?;
        mkdir(d.join("e/e"), 0o777)?;
        equal_bytes(&getxattr(d.join("e/e"), DEFAULT)?, &list)?;
    }

    /// fifos inherit, symbolic links do not
    fn special_files_inherit(t) {
        let d = t.dir("d", 0o777)?;
        set(&d, DEFAULT, &[(Owner, 6), (Named(BOB.uid), 6), (Group, 4), (Mask, 6), (Other, 0)])?;
        sys::mkfifo(d.join("p"), 0o666)?;
        sys::symlink("x", d.join("l"))?;
        equal(stat(d.join("p"))?.mode(), 0o660)?;
        getxattr(d.join("p"), ACCESS)?;
        equal(lstat(d.join("l"))?.mode(), 0o777)?;
    }

    /// files that were there before are not touched by a default list
    fn default_list_changes_no_old_file(t) {
        let d = t.dir("d", 0o777)?;
        t.file("d/f", b"")?;
        set(&d, DEFAULT, &[(Owner, 7), (Named(BOB.uid), 7), (Group, 7), (Mask, 7), (Other, 7)])?;
        equal(stat(d.join("f"))?.mode(), 0o644)?;
        refused(getxattr(d.join("f"), ACCESS), ENODATA)?;
    }

    /// a list of three hundred users works
    fn many_entries(t) {
        let f = t.file_of(ALICE, "f", 0o600)?;
        let mut list = vec![(Owner, 6)];
        list.extend((0..300).map(|i| (Named(70_000 + i), 4)));
        list.extend([(Group, 0), (Mask, 6), (Other, 0)]);
        set(&f, ACCESS, &[(Owner, 6), (Group, 0), (Other, 0)])?;
        let whole: Result<()> = setxattr(&f, ACCESS, &encode(&list), 0);
        or_skip(whole, &[libc::ENOSPC, libc::E2BIG], "so many entries find no room")?;
        equal(rights(User { uid: 70_299, ..BOB }, &f)?, READ)?;
        equal(rights(User { uid: 70_300, ..BOB }, &f)?, NO)?;
    }
}
