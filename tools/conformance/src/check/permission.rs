//! Who may do what: owner, group, others, supplementary groups, sticky directories, root.

use libc::{EACCES, EPERM, F_OK, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, R_OK, W_OK, X_OK};

use crate::expect::{equal, equal_bytes, refused, refused_with};
use crate::place::{ALICE, BOB, CAROL, STAFF, User, as_user, create, in_thread, open_ro, open_rw, read_all};
use crate::sys::{self, Directory, access, open, stat};

const TEAMMATE: User = User { uid: 61004, gid: ALICE.gid, groups: &[] };

/// Whether (reading, writing) `path` is allowed to `user`.
fn rights(user: User, path: &std::path::Path) -> Result<(bool, bool), crate::expect::Failure> {
    as_user(user, || (open(path, O_RDONLY, 0).is_ok(), open(path, O_WRONLY, 0).is_ok()))
}

checks! { "permission";
    /// each class of users has its own bits
    fn classes(t) {
        let path = t.file_of(ALICE, "f", 0o644)?;
        for (mode, owner, group, other) in [
            (0o600, (true, true), (false, false), (false, false)),
            (0o640, (true, true), (true, false), (false, false)),
            (0o626, (true, true), (false, true), (true, true)),
            (0o444, (true, false), (true, false), (true, false)),
            (0o222, (false, true), (false, true), (false, true)),
            (0o000, (false, false), (false, false), (false, false)),
        ] {
            sys::chmod(&path, mode)?;
            equal(rights(ALICE, &path)?, owner)?;
            equal(rights(TEAMMATE, &path)?, group)?;
            equal(rights(BOB, &path)?, other)?;
        }
    }

    /// only the first class that fits counts: an owner without bits is not helped by the others'
    fn first_class_decides(t) {
        let path = t.file_of(ALICE, "f", 0o077)?;
        equal(rights(ALICE, &path)?, (false, false))?;
        equal(rights(BOB, &path)?, (true, true))?;
        sys::chmod(&path, 0o707)?;
        equal(rights(TEAMMATE, &path)?, (false, false))?;
    }

    /// a supplementary group counts as the group
    fn supplementary_groups(t) {
        let path = t.file("f", b"text")?;
        sys::chown(&path, ALICE.uid, STAFF)?;
        sys::chmod(&path, 0o660)?;
        equal(rights(CAROL, &path)?, (true, true))?;
        equal(rights(BOB, &path)?, (false, false))?;
        sys::chmod(&path, 0o606)?;
        equal(rights(CAROL, &path)?, (false, false))?;
    }

    /// the last of many supplementary groups counts as well
    fn many_supplementary_groups(t) {
        static GROUPS: [u32; 40] = {
            let mut groups = [0; 40];
            let mut i = 0;
            while i < 40 {
                groups[i] = 70_000 + i as u32;
                i += 1;
            }
            groups
        };
        let path = t.file("f", b"text")?;
        sys::chown(&path, ALICE.uid, 70_039)?;
        sys::chmod(&path, 0o640)?;
        let many = User { uid: BOB.uid, gid: BOB.gid, groups: &GROUPS };
        let fewer = User { uid: BOB.uid, gid: BOB.gid, groups: &GROUPS[..39] };
        equal(rights(many, &path)?, (true, false))?;
        equal(rights(fewer, &path)?, (false, false))?;
    }

    /// root reads and writes whatever the mode says
    fn root_may_all(t) {
        let path = t.file_of(ALICE, "f", 0)?;
        open_rw(&path)?.write(b"TEXT")?;
        equal_bytes(&read_all(&path)?, b"TEXT")?;
        let d = t.dir_of(ALICE, "d", 0)?;
        create(d.join("f"), 0o600)?;
        equal(Directory::open(&d)?.rest()?.len(), 1)?;
    }

    /// a directory without the search bit hides what is in it: EACCES
    fn search(t) {
        t.dir("d", 0o755)?;
        t.file("d/f", b"x")?;
        t.dir("d/e", 0o777)?;
        sys::chmod(t.at("d"), 0o744)?;
        refused(as_user(ALICE, || stat(t.at("d/f")).map(drop))?, EACCES)?;
        refused(as_user(ALICE, || open_ro(t.at("d/f")))?, EACCES)?;
        refused(as_user(ALICE, || create(t.at("d/e/f"), 0o644))?, EACCES)?;
        refused(as_user(ALICE, || stat(t.at("d/missing")).map(drop))?, EACCES)?;
    }

    /// search without read: names can be used, not listed
    fn search_without_read(t) {
        t.dir("d", 0o755)?;
        t.file("d/f", b"x")?;
        sys::chmod(t.at("d"), 0o711)?;
        equal_bytes(&as_user(ALICE, || read_all(t.at("d/f")))??, b"x")?;
        refused(as_user(ALICE, || Directory::open(t.at("d")).map(drop))?, EACCES)?;
    }

    /// read without search: names can be listed, not used
    fn read_without_search(t) {
        t.dir("d", 0o755)?;
        t.file("d/f", b"x")?;
        sys::chmod(t.at("d"), 0o744)?;
        let listed = as_user(ALICE, || Directory::open(t.at("d")).and_then(|mut d| d.rest()))??;
        equal(listed.len(), 1)?;
        refused(as_user(ALICE, || open_ro(t.at("d/f")))?, EACCES)?;
    }

    /// making and removing names needs write and search on the directory
    fn changing_a_directory(t) {
        t.dir("d", 0o777)?;
        t.file("d/f", b"x")?;
        for mode in [0o755, 0o766] {
            sys::chmod(t.at("d"), mode)?;
            refused(as_user(ALICE, || create(t.at("d/g"), 0o644))?, EACCES)?;
            refused(as_user(ALICE, || sys::unlink(t.at("d/f")))?, EACCES)?;
            refused(as_user(ALICE, || sys::symlink("x", t.at("d/l")))?, EACCES)?;
            refused(as_user(ALICE, || sys::mkfifo(t.at("d/p"), 0o600))?, EACCES)?;
        }
        sys::chmod(t.at("d"), 0o733)?;
        as_user(ALICE, || create(t.at("d/g"), 0o644))??;
        as_user(ALICE, || sys::unlink(t.at("d/f")))??;
    }

    /// O_TRUNC needs write permission, whatever else is asked for
    fn truncation_by_open(t) {
        let path = t.file_of(ALICE, "f", 0o644)?;
        refused(as_user(BOB, || open(&path, O_RDONLY | O_TRUNC, 0))?, EACCES)?;
        refused(as_user(BOB, || open(&path, O_RDWR | O_TRUNC, 0))?, EACCES)?;
        equal(stat(&path)?.size(), 4)?;
    }

    /// truncate needs write permission on the file, not on the directory
    fn truncation_by_path(t) {
        t.dir("d", 0o755)?;
        let path = t.file_of(ALICE, "d/f", 0o644)?;
        refused(as_user(BOB, || sys::truncate(&path, 0))?, EACCES)?;
        as_user(ALICE, || sys::truncate(&path, 0))??;
        equal(stat(&path)?.size(), 0)?;
    }

    /// in a sticky directory only the owners of file or directory may remove: EPERM or EACCES
    fn sticky_directory(t) {
        t.dir("s", 0o1777)?;
        t.file_of(ALICE, "s/f", 0o666)?;
        t.dir_of(ALICE, "s/d", 0o777)?;
        refused_with(as_user(BOB, || sys::unlink(t.at("s/f")))?, &[EPERM, EACCES])?;
        refused_with(as_user(BOB, || sys::rmdir(t.at("s/d")))?, &[EPERM, EACCES])?;
        as_user(ALICE, || sys::unlink(t.at("s/f")))??;
        sys::chown(t.at("s"), BOB.uid, BOB.gid)?;
        as_user(BOB, || sys::rmdir(t.at("s/d")))??;
    }

    /// root removes from any sticky directory
    fn sticky_directory_and_root(t) {
        t.dir_of(BOB, "s", 0o1777)?;
        sys::unlink(t.file_of(ALICE, "s/f", 0o600)?)?;
    }

    /// access says what open would do
    fn access_call(t) {
        let path = t.file_of(ALICE, "f", 0o640)?;
        as_user(ALICE, || access(&path, R_OK | W_OK))??;
        refused(as_user(ALICE, || access(&path, X_OK))?, EACCES)?;
        as_user(TEAMMATE, || access(&path, R_OK))??;
        refused(as_user(TEAMMATE, || access(&path, W_OK))?, EACCES)?;
        as_user(BOB, || access(&path, F_OK))??;
        refused(as_user(BOB, || access(&path, R_OK))?, EACCES)?;
    }

    /// root may execute a file only if somebody may
    fn access_for_execution(t) {
        let path = t.file("f", b"")?;
        access(&path, R_OK | W_OK)?;
        refused(access(&path, X_OK), EACCES)?;
        sys::chmod(&path, 0o001)?;
        access(&path, X_OK)?;
    }

    /// access asks for the real user, open and faccessat with AT_EACCESS for the effective one
    fn real_and_effective_user(t) {
        let path = t.file_of(ALICE, "f", 0o600)?;
        in_thread(|| {
            sys::become_effective_user(BOB.uid, BOB.gid)?;
            // The real user is root still.
            Ok((access(&path, R_OK), sys::effective_access(&path, R_OK), open_ro(&path).map(drop)))
        })
        .and_then(|(real, effective, opened)| {
            real?;
            refused(effective, EACCES)?;
            refused(opened, EACCES)
        })?;
    }

    /// a file is executed by who may execute it
    fn execution(t) {
        if sys::statvfs(t.root())?.f_flag & libc::ST_NOEXEC != 0 {
            return crate::expect::skip("the mount allows no execution");
        }
        std::fs::copy("/bin/true", t.at("true"))
            .or_else(|_| std::fs::copy("/usr/bin/true", t.at("true")))
            .map(drop)
            .or_else(|error| crate::expect::fail(&format!("copying a program: {error}")))?;
        let run = |user: User| {
            as_user(user, || {
                std::process::Command::new(t.at("true"))
                    .status()
                    .map(|s| s.success())
                    .map_err(|e| e.raw_os_error())
            })
        };
        sys::chown(t.at("true"), ALICE.uid, ALICE.gid)?;
        sys::chmod(t.at("true"), 0o744)?;
        equal(run(ALICE)?, Ok(true))?;
        equal(run(BOB)?, Err(Some(EACCES)))?;
        sys::chmod(t.at("true"), 0o711)?;
        equal(run(BOB)?, Ok(true))?;
    }

    /// a foreign file gets a second name, or the kernel's protection says EPERM
    fn hard_linking_foreign_files(t) {
        // protected_hardlinks may forbid this; then the answer is EPERM.
        let path = t.file_of(BOB, "f", 0o600)?;
        match as_user(ALICE, || sys::link(&path, t.at("g")))? {
            Ok(()) => equal(stat(&path)?.nlink(), 2)?,
            Err(error) => equal(error.errno, EPERM)?,
        }
    }
}
