//! Limits of names and paths.

use libc::{ENAMETOOLONG, O_CREAT, O_RDWR};

use crate::expect::{equal, equal_bytes, holds, refused};
use crate::place::{create, in_thread, read_all};
use crate::sys::{self, lstat, mkdir, path_limit, stat};

checks! { "limits";
    /// a name of 255 bytes works in every call
    fn longest_name(t) {
        let (a, b) = ("a".repeat(255), "b".repeat(255));
        t.file(&a, b"text")?;
        sys::rename(t.at(&a), t.at(&b))?;
        sys::link(t.at(&b), t.at(&a))?;
        sys::unlink(t.at(&b))?;
        sys::symlink(&a, t.at(&b))?;
        equal_bytes(&read_all(t.at(&b))?, b"text")?;
        sys::unlink(t.at(&b))?;
        sys::mkfifo(t.at(&b), 0o600)?;
    }

    /// a name of 256 bytes is ENAMETOOLONG in every call
    fn too_long_name(t) {
        let long = t.at(&"n".repeat(256));
        let f = t.file("f", b"")?;
        refused(sys::open(&long, O_CREAT | O_RDWR, 0o644), ENAMETOOLONG)?;
        refused(lstat(&long).map(drop), ENAMETOOLONG)?;
        refused(mkdir(&long, 0o755), ENAMETOOLONG)?;
        refused(sys::rmdir(&long), ENAMETOOLONG)?;
        refused(sys::unlink(&long), ENAMETOOLONG)?;
        refused(sys::mkfifo(&long, 0o600), ENAMETOOLONG)?;
        refused(sys::symlink("x", &long), ENAMETOOLONG)?;
        refused(sys::link(&f, &long), ENAMETOOLONG)?;
        refused(sys::rename(&f, &long), ENAMETOOLONG)?;
        refused(sys::rename(&long, &f), ENAMETOOLONG)?;
        refused(sys::chmod(&long, 0o600), ENAMETOOLONG)?;
        refused(sys::truncate(&long, 0), ENAMETOOLONG)?;
    }

    /// names count in bytes, not in letters
    fn names_count_in_bytes(t) {
        t.file(&"\u{20ac}".repeat(85), b"")?;
        refused(create(t.at(&"\u{20ac}".repeat(86)), 0o644), ENAMETOOLONG)?;
    }

    /// a path of 4,095 bytes works, one of 4,096 is ENAMETOOLONG
    fn longest_path(t) {
        t.file("f", b"text")?;
        in_thread(|| {
            sys::own_file_context()?;
            sys::chdir(t.root())?;
            let longest = format!("{}f", "./".repeat(2_047));
            Ok((longest.len(), stat(&longest).map(|s| s.size()), stat(format!("{longest}f")).map(drop)))
        })
        .and_then(|(length, longest, longer)| {
            equal(length, 4_095)?;
            equal(longest?, 4)?;
            refused(longer, ENAMETOOLONG)
        })?;
    }

    /// files deeper than a path can say are reached step by step
    fn deeper_than_a_path(t) {
        let name = "directory-".repeat(20);
        in_thread(|| {
            sys::own_file_context()?;
            sys::chdir(t.root())?;
            for _ in 0..30 {
                mkdir(&name, 0o755)?;
                sys::chdir(&name)?;
            }
            create("f", 0o644)?.write(b"deep")?;
            let content = read_all("f")?;
            sys::unlink("f")?;
            for _ in 0..30 {
                sys::chdir("..")?;
                sys::rmdir(&name)?;
            }
            Ok(content)
        })
        .and_then(|content| equal_bytes(&content, b"deep"))?;
    }

    /// a file has room for as many names as pathconf says, or for three hundred of them
    fn links(t) {
        let limit = path_limit(t.root(), libc::_PC_LINK_MAX);
        holds(limit.is_none_or(|limit| limit >= 8), "there are at least the eight names of POSIX")?;
        let names = limit.unwrap_or(300).min(300);
        let f = t.file("f", b"")?;
        for i in 1..names {
            sys::link(&f, t.at(&format!("l{i}")))?;
        }
        equal(stat(&f)?.nlink().cast_signed(), names)?;
    }

    /// one file can be opened five hundred times
    fn openings(t) {
        let path = t.file("f", b"text")?;
        let files = (0..500).map(|_| crate::place::open_ro(&path)).collect::<sys::Result<Vec<_>>>()?;
        for file in files {
            equal_bytes(&file.read(4)?, b"text")?;
        }
    }
}
