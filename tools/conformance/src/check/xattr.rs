//! Extended attributes.

use libc::{
    E2BIG, EACCES, EEXIST, EINVAL, ENODATA, ENOSPC, EOPNOTSUPP, EPERM, ERANGE, XATTR_CREATE, XATTR_REPLACE,
};

use crate::expect::{Failure, equal, equal_bytes, holds, or_skip, refused, refused_with};
use crate::place::{ALICE, BOB, Place, as_user, open_rw, pattern};
use crate::sys::{self, getxattr, getxattr_up_to, listxattr, removexattr, setxattr};

/// A file to attach attributes to, where the mount has them.
fn file(place: &Place) -> Result<std::path::PathBuf, Failure> {
    let path = place.file("f", b"text")?;
    or_skip(setxattr(&path, "user.probe", b"", 0), &[EOPNOTSUPP], "the mount has no extended attributes")?;
    removexattr(&path, "user.probe")?;
    Ok(path)
}

/// The names in the user's namespace; a security module may add others.
fn user_names(path: &std::path::Path) -> sys::Result<Vec<String>> {
    Ok(listxattr(path)?.into_iter().filter(|name| name.starts_with("user.")).collect())
}

checks! { "xattr";
    /// a value is kept, replaced, listed and removed
    fn life_of_an_attribute(t) {
        let f = file(t)?;
        setxattr(&f, "user.k", b"first", 0)?;
        equal_bytes(&getxattr(&f, "user.k")?, b"first")?;
        setxattr(&f, "user.k", b"2nd", 0)?;
        equal_bytes(&getxattr(&f, "user.k")?, b"2nd")?;
        equal(user_names(&f)?, vec!["user.k".to_owned()])?;
        removexattr(&f, "user.k")?;
        refused(getxattr(&f, "user.k"), ENODATA)?;
        equal(user_names(&f)?, Vec::new())?;
    }

    /// XATTR_CREATE refuses an existing name: EEXIST
    fn create_flag(t) {
        let f = file(t)?;
        setxattr(&f, "user.k", b"v", XATTR_CREATE)?;
        refused(setxattr(&f, "user.k", b"w", XATTR_CREATE), EEXIST)?;
        equal_bytes(&getxattr(&f, "user.k")?, b"v")?;
    }

    /// XATTR_REPLACE refuses a name that is not there: ENODATA
    fn replace_flag(t) {
        let f = file(t)?;
        refused(setxattr(&f, "user.k", b"v", XATTR_REPLACE), ENODATA)?;
        setxattr(&f, "user.k", b"v", 0)?;
        setxattr(&f, "user.k", b"w", XATTR_REPLACE)?;
        equal_bytes(&getxattr(&f, "user.k")?, b"w")?;
    }

    /// other flags are EINVAL
    fn unknown_flag(t) {
        let f = file(t)?;
        refused(setxattr(&f, "user.k", b"v", 16), EINVAL)?;
    }

    /// an attribute that is not there is ENODATA
    fn missing(t) {
        let f = file(t)?;
        refused(getxattr(&f, "user.k"), ENODATA)?;
        refused(removexattr(&f, "user.k"), ENODATA)?;
        refused(getxattr(t.at("x"), "user.k"), libc::ENOENT)?;
    }

    /// an empty value is a value
    fn empty_value(t) {
        let f = file(t)?;
        setxattr(&f, "user.k", b"", 0)?;
        equal(getxattr(&f, "user.k")?.len(), 0)?;
        equal(user_names(&f)?.len(), 1)?;
    }

    /// values hold any byte
    fn binary_value(t) {
        let f = file(t)?;
        let value: Vec<u8> = (0..=255).collect();
        setxattr(&f, "user.k", &value, 0)?;
        equal_bytes(&getxattr(&f, "user.k")?, &value)?;
    }

    /// size 0 asks for the length, a short buffer is ERANGE
    fn buffers(t) {
        let f = file(t)?;
        setxattr(&f, "user.k", b"0123456789", 0)?;
        equal(getxattr_up_to(&f, "user.k", 0)?.1, 10)?;
        refused(getxattr_up_to(&f, "user.k", 9), ERANGE)?;
        equal(getxattr_up_to(&f, "user.k", 10)?.1, 10)?;
        refused(sys::listxattr_up_to(&f, 3), ERANGE)?;
    }

    /// values of up to 3,000 bytes always find room
    fn sizes(t) {
        let f = file(t)?;
        for size in [1, 100, 255, 256, 1_000, 2_000, 3_000] {
            let value = pattern(size as u64, size);
            setxattr(&f, "user.k", &value, 0)?;
            equal_bytes(&getxattr(&f, "user.k")?, &value)?;
        }
        setxattr(&f, "user.k", b"short", 0)?;
        equal_bytes(&getxattr(&f, "user.k")?, b"short")?;
    }

    /// a value of 64 KiB is kept
    fn largest_value(t) {
        let f = file(t)?;
        let value = pattern(1, 65_536);
        or_skip(setxattr(&f, "user.k", &value, 0), &[ENOSPC, E2BIG], "values of 64 KiB are too large here")?;
        equal_bytes(&getxattr(&f, "user.k")?, &value)?;
    }

    /// a value of more than 64 KiB is E2BIG
    fn too_large_value(t) {
        let f = file(t)?;
        refused(setxattr(&f, "user.k", &pattern(1, 65_537), 0), E2BIG)?;
        refused(getxattr(&f, "user.k"), ENODATA)?;
    }

    /// a name may have 255 bytes with its namespace, 256 are ERANGE
    fn length_of_names(t) {
        let f = file(t)?;
        let longest = format!("user.{}", "n".repeat(250));
        setxattr(&f, &longest, b"v", 0)?;
        equal_bytes(&getxattr(&f, &longest)?, b"v")?;
        equal(user_names(&f)?, vec![longest])?;
        refused(setxattr(&f, &format!("user.{}", "n".repeat(251)), b"v", 0), ERANGE)?;
    }

    /// a namespace alone is no name: EINVAL; an empty name is ERANGE or EINVAL
    fn empty_names(t) {
        let f = file(t)?;
        refused(setxattr(&f, "user.", b"v", 0), EINVAL)?;
        refused_with(setxattr(&f, "", b"v", 0), &[ERANGE, EINVAL])?;
    }

    /// a namespace nobody knows is EOPNOTSUPP
    fn unknown_namespace(t) {
        let f = file(t)?;
        refused(setxattr(&f, "nobody.k", b"v", 0), EOPNOTSUPP)?;
        refused(setxattr(&f, "plain", b"v", 0), EOPNOTSUPP)?;
        refused_with(getxattr(&f, "nobody.k"), &[EOPNOTSUPP, ENODATA])?;
    }

    /// fifty attributes live side by side
    fn many(t) {
        let f = file(t)?;
        for i in 0..50 {
            setxattr(&f, &format!("user.k{i:02}"), format!("value {i}").as_bytes(), 0)?;
        }
        equal(user_names(&f)?.len(), 50)?;
        for i in (0..50).step_by(2) {
            removexattr(&f, &format!("user.k{i:02}"))?;
        }
        equal(user_names(&f)?.len(), 25)?;
        for i in (1..50).step_by(2) {
            equal_bytes(&getxattr(&f, &format!("user.k{i:02}"))?, format!("value {i}").as_bytes())?;
        }
    }

    /// directories have them, too
    fn on_directories(t) {
        file(t)?;
        let d = t.dir("d", 0o755)?;
        setxattr(&d, "user.k", b"v", 0)?;
        equal_bytes(&getxattr(&d, "user.k")?, b"v")?;
        t.file("d/f", b"")?;
        equal(user_names(&d.join("f"))?.len(), 0)?;
    }

    /// user attributes are for files and directories only: EPERM elsewhere
    fn not_on_special_files(t) {
        file(t)?;
        sys::symlink("f", t.at("l"))?;
        sys::mkfifo(t.at("p"), 0o600)?;
        sys::mknod(t.at("s"), libc::S_IFSOCK | 0o600, 0)?;
        refused(sys::lsetxattr(t.at("l"), "user.k", b"v", 0), EPERM)?;
        refused(setxattr(t.at("p"), "user.k", b"v", 0), EPERM)?;
        refused(setxattr(t.at("s"), "user.k", b"v", 0), EPERM)?;
    }

    /// a call by path follows symbolic links
    fn follows_symlinks(t) {
        let f = file(t)?;
        sys::symlink("f", t.at("l"))?;
        setxattr(t.at("l"), "user.k", b"v", 0)?;
        equal_bytes(&getxattr(&f, "user.k")?, b"v")?;
    }

    /// a symbolic link itself can have trusted attributes
    fn trusted_on_a_symlink(t) {
        file(t)?;
        sys::symlink("f", t.at("l"))?;
        or_skip(
            sys::lsetxattr(t.at("l"), "trusted.k", b"v", 0),
            &[EOPNOTSUPP, EPERM],
            "trusted attributes are refused",
        )?;
        equal_bytes(&sys::lgetxattr(t.at("l"), "trusted.k")?, b"v")?;
    }

    /// a descriptor and a path see the same attributes
    fn by_descriptor(t) {
        let path = file(t)?;
        let f = open_rw(&path)?;
        f.setxattr("user.k", b"v", 0)?;
        equal_bytes(&getxattr(&path, "user.k")?, b"v")?;
        setxattr(&path, "user.k", b"w", 0)?;
        equal_bytes(&f.getxattr("user.k")?, b"w")?;
    }

    /// setting needs write permission, reading read permission: EACCES
    fn user_namespace_follows_the_mode(t) {
        let f = file(t)?;
        setxattr(&f, "user.k", b"v", 0)?;
        sys::chown(&f, ALICE.uid, ALICE.gid)?;
        sys::chmod(&f, 0o640)?;
        refused(as_user(BOB, || getxattr(&f, "user.k"))?, EACCES)?;
        refused(as_user(BOB, || setxattr(&f, "user.k", b"w", 0))?, EACCES)?;
        sys::chmod(&f, 0o644)?;
        as_user(BOB, || getxattr(&f, "user.k"))??;
        refused(as_user(BOB, || removexattr(&f, "user.k"))?, EACCES)?;
        as_user(ALICE, || setxattr(&f, "user.k", b"w", 0))??;
    }

    /// on a sticky directory user attributes are for its owner: EPERM
    fn sticky_directory(t) {
        file(t)?;
        let d = t.dir_of(ALICE, "d", 0o1777)?;
        refused(as_user(BOB, || setxattr(&d, "user.k", b"v", 0))?, EPERM)?;
        as_user(ALICE, || setxattr(&d, "user.k", b"v", 0))??;
    }

    /// trusted attributes are for root; others are told there are none
    fn trusted_namespace(t) {
        let f = file(t)?;
        or_skip(setxattr(&f, "trusted.k", b"v", 0), &[EOPNOTSUPP, EPERM], "trusted attributes are refused")?;
        equal_bytes(&getxattr(&f, "trusted.k")?, b"v")?;
        sys::chmod(&f, 0o666)?;
        refused_with(as_user(ALICE, || getxattr(&f, "trusted.k"))?, &[ENODATA, EPERM])?;
        refused(as_user(ALICE, || setxattr(&f, "trusted.k", b"w", 0))?, EPERM)?;
        let names = as_user(ALICE, || listxattr(&f))??;
        holds(!names.iter().any(|name| name.starts_with("trusted.")), "others do not see the name")?;
    }

    /// root may set security attributes, others may not: EPERM
    fn security_namespace(t) {
        let f = file(t)?;
        or_skip(setxattr(&f, "security.k", b"v", 0), &[EOPNOTSUPP], "security attributes are refused")?;
        equal_bytes(&getxattr(&f, "security.k")?, b"v")?;
        sys::chmod(&f, 0o666)?;
        refused(as_user(ALICE, || setxattr(&f, "security.k", b"w", 0))?, EPERM)?;
    }

    /// a write takes file capabilities away
    fn write_removes_capabilities(t) {
        let f = file(t)?;
        // Revision 2, no flags; CAP_CHOWN permitted, nothing inheritable.
        let mut value = 0x0200_0000u32.to_le_bytes().to_vec();
        for word in [1u32, 0, 0, 0] {
            value.extend_from_slice(&word.to_le_bytes());
        }
        or_skip(
            setxattr(&f, "security.capability", &value, 0),
            &[EOPNOTSUPP],
            "file capabilities are refused",
        )?;
        equal_bytes(&getxattr(&f, "security.capability")?, &value)?;
        sys::chmod(&f, 0o777)?;
        as_user(ALICE, || open_rw(&f)?.write(b"x"))??;
        refused(getxattr(&f, "security.capability"), ENODATA)?;
    }

    /// attributes stay with the file through rename, hard link and sync
    fn stay_with_the_file(t) {
        let f = file(t)?;
        setxattr(&f, "user.k", b"v", 0)?;
        sys::link(&f, t.at("g"))?;
        sys::rename(&f, t.at("h"))?;
        let open = open_rw(t.at("h"))?;
        open.fsync()?;
        open.drop_cache()?;
        equal_bytes(&getxattr(t.at("g"), "user.k")?, b"v")?;
        equal_bytes(&getxattr(t.at("h"), "user.k")?, b"v")?;
    }

    /// a new file of the same name has none
    fn go_with_the_file(t) {
        let f = file(t)?;
        setxattr(&f, "user.k", b"v", 0)?;
        sys::unlink(&f)?;
        t.file("f", b"")?;
        refused(getxattr(&f, "user.k"), ENODATA)?;
    }

    /// attributes change no content, content changes no attributes
    fn independent_of_content(t) {
        let f = file(t)?;
        setxattr(&f, "user.k", b"v", 0)?;
        sys::truncate(&f, 0)?;
        open_rw(&f)?.write(b"new content")?;
        equal_bytes(&getxattr(&f, "user.k")?, b"v")?;
        removexattr(&f, "user.k")?;
        equal_bytes(&crate::place::read_all(&f)?, b"new content")?;
    }
}
