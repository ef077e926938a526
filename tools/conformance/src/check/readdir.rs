//! Listing directories.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libc::{DT_BLK, DT_CHR, DT_DIR, DT_FIFO, DT_LNK, DT_REG, DT_SOCK, DT_UNKNOWN, ENOENT, ENOTDIR};

use crate::expect::{equal, equal_bytes, holds, refused};
use crate::place::{Place, create, read_all};
use crate::sys::{self, Directory, Entry, lstat, stat};

fn names(entries: &[Entry]) -> BTreeSet<Vec<u8>> {
    entries.iter().map(|entry| entry.name.clone()).collect()
}

fn fill(place: &Place, count: usize) -> sys::Result<BTreeSet<Vec<u8>>> {
    place.dir("d", 0o755)?;
    (0..count)
        .map(|i| {
            let name = format!("entry-{i:06}");
            create(place.at(&format!("d/{name}")), 0o644)?;
            Ok(name.into_bytes())
        })
        .collect()
}

checks! { "readdir";
    /// every entry is listed once, with `.` and `..`
    fn lists_all(t) {
        let want = fill(t, 100)?;
        let mut directory = Directory::open(t.at("d"))?;
        let mut all = Vec::new();
        while let Some(entry) = directory.next()? {
            all.push(entry);
        }
        equal(all.len(), 102)?;
        let listed = names(&all);
        holds(
            listed.contains(b".".as_slice()) && listed.contains(b"..".as_slice()),
            "`.` and `..` are listed",
        )?;
        holds(want.is_subset(&listed), "every name is listed")?;
    }

    /// an empty directory has `.` and `..` only
    fn empty(t) {
        t.dir("d", 0o755)?;
        let mut directory = Directory::open(t.at("d"))?;
        equal(directory.rest()?.len(), 0)?;
        equal(Directory::open(t.at("d"))?.next_named(b".")?, stat(t.at("d"))?.ino())?;
        equal(Directory::open(t.at("d"))?.next_named(b"..")?, stat(t.root())?.ino())?;
    }

    /// entries say the type, or that it is unknown
    fn types(t) {
        t.file("file", b"")?;
        t.dir("dir", 0o755)?;
        sys::symlink("x", t.at("link"))?;
        sys::mkfifo(t.at("fifo"), 0o600)?;
        sys::mknod(t.at("char"), libc::S_IFCHR | 0o600, libc::makedev(1, 3))?;
        sys::mknod(t.at("block"), libc::S_IFBLK | 0o600, libc::makedev(7, 0))?;
        sys::mknod(t.at("sock"), libc::S_IFSOCK | 0o600, 0)?;
        let listed: BTreeMap<Vec<u8>, u8> =
            Directory::open(t.root())?.rest()?.into_iter().map(|entry| (entry.name, entry.kind)).collect();
        for (name, kind) in [
            ("file", DT_REG),
            ("dir", DT_DIR),
            ("link", DT_LNK),
            ("fifo", DT_FIFO),
            ("char", DT_CHR),
            ("block", DT_BLK),
            ("sock", DT_SOCK),
        ] {
            let got = listed.get(name.as_bytes()).copied().unwrap_or(255);
            holds(got == kind || got == DT_UNKNOWN, &format!("{name} has type {kind}, not {got}"))?;
        }
    }

    /// entries say the inode number that stat says
    fn inode_numbers(t) {
        fill(t, 50)?;
        for entry in Directory::open(t.at("d"))?.rest()? {
            let path = t.at("d").join(OsStr::from_bytes(&entry.name));
            equal(entry.ino, lstat(&path)?.ino())?;
        }
    }

    /// rewinding shows what was made since
    fn rewind(t) {
        fill(t, 10)?;
        let mut directory = Directory::open(t.at("d"))?;
        equal(directory.rest()?.len(), 10)?;
        t.file("d/new", b"")?;
        sys::unlink(t.at("d/entry-000003"))?;
        directory.rewind();
        let listed = names(&directory.rest()?);
        equal(listed.len(), 10)?;
        holds(listed.contains(b"new".as_slice()), "the new name is listed")?;
        holds(!listed.contains(b"entry-000003".as_slice()), "the removed name is not")?;
    }

    /// seekdir returns to any place that telldir gave
    fn tell_and_seek(t) {
        fill(t, 500)?;
        let mut directory = Directory::open(t.at("d"))?;
        let mut places = Vec::new();
        loop {
            let place = directory.tell();
            let Some(entry) = directory.next()? else { break };
            places.push((place, entry));
        }
        equal(places.len(), 502)?;
        for (place, entry) in places.iter().rev().step_by(7).chain(&places[..20]) {
            directory.seek(*place);
            equal(directory.next()?.map(|e| e.name), Some(entry.name.clone()))?;
        }
        directory.seek(places[400].0);
        let mut rest = 0;
        while directory.next()?.is_some() {
            rest += 1;
        }
        equal(rest, 102)?;
    }

    /// two streams of one directory are independent
    fn two_streams(t) {
        fill(t, 100)?;
        let (mut first, mut second) = (Directory::open(t.at("d"))?, Directory::open(t.at("d"))?);
        for _ in 0..30 {
            first.next()?;
        }
        equal(second.rest()?.len(), 100)?;
        let mut left = 0;
        while first.next()?.is_some() {
            left += 1;
        }
        equal(left, 72)?;
    }

    /// removing each entry as it is listed removes them all
    fn removing_while_listing(t) {
        fill(t, 3_000)?;
        let mut directory = Directory::open(t.at("d"))?;
        let mut seen = 0;
        while let Some(entry) = directory.next()? {
            if entry.name != b"." && entry.name != b".." {
                sys::unlink(t.at("d").join(OsStr::from_bytes(&entry.name)))?;
                seen += 1;
            }
        }
        equal(seen, 3_000)?;
        sys::rmdir(t.at("d"))?;
    }

    /// entries that stay are listed exactly once while others come and go
    fn stable_under_change(t) {
        let stay = fill(t, 2_000)?;
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut round = 0u32;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let (old, new) = (t.at(&format!("d/coming-{round}")), t.at(&format!("d/going-{round}")));
                    let _ = create(&old, 0o644);
                    let _ = sys::rename(&old, &new);
                    if round >= 50 {
                        let _ = sys::unlink(t.at(&format!("d/going-{}", round - 50)));
                    }
                    round += 1;
                }
            });
            let outcome = (|| -> crate::expect::Outcome {
                for _ in 0..10 {
                    let listed = Directory::open(t.at("d"))?.rest()?;
                    let lasting: Vec<_> = listed.iter().filter(|e| e.name.starts_with(b"entry-")).collect();
                    equal(lasting.len(), stay.len())?;
                    equal(names(&listed).is_superset(&stay), true)?;
                }
                Ok(())
            })();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            outcome
        })?;
    }

    /// a directory of 20,000 entries lists, finds, seeks in and removes them all
    fn twenty_thousand_entries(t) {
        let want = fill(t, 20_000)?;
        let mut directory = Directory::open(t.at("d"))?;
        let listed = directory.rest()?;
        equal(listed.len(), 20_000)?;
        equal(names(&listed) == want, true)?;
        directory.rewind();
        for _ in 0..15_000 {
            directory.next()?;
        }
        let place = directory.tell();
        let next = directory.next()?;
        directory.rewind();
        directory.seek(place);
        equal(directory.next()?, next)?;
        for i in (0..20_000).step_by(997) {
            stat(t.at(&format!("d/entry-{i:06}")))?;
        }
        refused(stat(t.at("d/entry-020000")), ENOENT)?;
        for i in 0..20_000 {
            if i % 4 != 0 {
                sys::unlink(t.at(&format!("d/entry-{i:06}")))?;
            }
        }
        equal(Directory::open(t.at("d"))?.rest()?.len(), 5_000)?;
    }

    /// names of 1 to 255 bytes are listed as they were made
    fn every_length(t) {
        let mut want = BTreeSet::new();
        for length in 1..=255 {
            let name = "n".repeat(length);
            t.file(&name, b"")?;
            want.insert(name.into_bytes());
        }
        equal(names(&Directory::open(t.root())?.rest()?) == want, true)?;
    }

    /// a name may hold any byte but the slash and NUL
    fn every_byte(t) {
        let mut want = BTreeSet::new();
        for byte in (1..=255u8).filter(|byte| *byte != b'/') {
            let name = [b'<', byte, b'>'];
            create(t.root().join(OsStr::from_bytes(&name)), 0o644)?;
            want.insert(name.to_vec());
        }
        equal(names(&Directory::open(t.root())?.rest()?) == want, true)?;
        for name in &want {
            lstat(t.root().join(OsStr::from_bytes(name)))?;
        }
    }

    /// names of single odd bytes, dots, blanks and line ends are names like others
    fn odd_names(t) {
        for name in ["...", "..x", " ", "\n", "\t", "-rf", "*", "~", "\\", "a b", "COM1", "x.", ".x"] {
            t.file(name, name.as_bytes())?;
        }
        equal(Directory::open(t.root())?.rest()?.len(), 13)?;
        for name in ["...", "..x", " ", "\n", "\\", "x."] {
            equal_bytes(&read_all(t.at(name))?, name.as_bytes())?;
        }
    }

    /// upper and lower case differ
    fn case(t) {
        t.file("name", b"lower")?;
        t.file("NAME", b"upper")?;
        equal_bytes(&read_all(t.at("name"))?, b"lower")?;
        refused(stat(t.at("Name")), ENOENT)?;
    }

    /// names are bytes: two spellings of one letter are two names
    fn no_normalisation(t) {
        t.file("\u{e9}", b"one letter")?;
        refused(stat(t.at("e\u{301}")), ENOENT)?;
        t.file("e\u{301}", b"letter and accent")?;
        equal(Directory::open(t.root())?.rest()?.len(), 2)?;
    }

    /// a file is no directory to list: ENOTDIR
    fn of_a_file(t) {
        t.file("f", b"")?;
        refused(Directory::open(t.at("f")).map(drop), ENOTDIR)?;
        refused(Directory::open(t.at("x")).map(drop), ENOENT)?;
    }

    /// a thousand directories in one
    fn many_directories(t) {
        t.dir("d", 0o755)?;
        for i in 0..1_000 {
            t.dir(&format!("d/{i}"), 0o755)?;
        }
        let listed = Directory::open(t.at("d"))?.rest()?;
        equal(listed.len(), 1_000)?;
        let distinct: BTreeSet<u64> = listed.iter().map(|entry| entry.ino).collect();
        equal(distinct.len(), 1_000)?;
        let links = stat(t.at("d"))?.nlink();
        holds(matches!(links, 1_002 | 1), "the link count is 1,002 or 1")?;
    }

    /// listing goes on after an entry at the current place is renamed
    fn renaming_while_listing(t) {
        let stay = fill(t, 1_000)?;
        let mut directory = Directory::open(t.at("d"))?;
        let mut seen = Vec::new();
        while let Some(entry) = directory.next()? {
            if entry.name.starts_with(b"entry-") {
                if seen.is_empty() {
                    sys::rename(t.at("d").join(OsStr::from_bytes(&entry.name)), t.at("outside"))?;
                }
                seen.push(entry.name);
            }
        }
        equal(seen.len(), 1_000)?;
        equal(seen.into_iter().collect::<BTreeSet<_>>() == stay, true)?;
    }
}
