//! What `stat` says.

use std::collections::BTreeSet;

use libc::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK};

use crate::expect::{equal, holds, skip};
use crate::place::{create, open_rw, pattern, write_all};
use crate::sys::{self, birth_time, lstat, stat};

checks! { "stat";
    /// each type of file says what it is
    fn types(t) {
        t.file("f", b"")?;
        t.dir("d", 0o755)?;
        sys::symlink("x", t.at("l"))?;
        sys::mkfifo(t.at("p"), 0o600)?;
        sys::mknod(t.at("c"), S_IFCHR | 0o600, libc::makedev(1, 3))?;
        sys::mknod(t.at("b"), S_IFBLK | 0o600, libc::makedev(7, 0))?;
        sys::mknod(t.at("s"), S_IFSOCK | 0o600, 0)?;
        let kinds = [
            ("f", S_IFREG),
            ("d", S_IFDIR),
            ("l", S_IFLNK),
            ("p", S_IFIFO),
            ("c", S_IFCHR),
            ("b", S_IFBLK),
            ("s", S_IFSOCK),
        ];
        for (name, kind) in kinds {
            equal(lstat(t.at(name))?.kind(), kind)?;
        }
    }

    /// all files of one directory have its device number, and inode numbers of their own
    fn identity(t) {
        let device = stat(t.root())?.dev();
        let mut numbers = BTreeSet::from([stat(t.root())?.ino()]);
        for i in 0..200 {
            let made = stat(t.file(&format!("f{i}"), b"")?)?;
            equal(made.dev(), device)?;
            holds(numbers.insert(made.ino()), "every inode number is new")?;
        }
        holds(!numbers.contains(&0), "no inode number is 0")?;
    }

    /// stat, fstat and lstat of one file agree
    fn calls_agree(t) {
        let path = t.file("f", b"text")?;
        let (a, b, c) = (stat(&path)?, open_rw(&path)?.stat()?, lstat(&path)?);
        for other in [b, c] {
            equal(
                (a.ino(), a.mode(), a.nlink(), a.size()),
                (other.ino(), other.mode(), other.nlink(), other.size()),
            )?;
            equal((a.mtime(), a.ctime(), a.blocks()), (other.mtime(), other.ctime(), other.blocks()))?;
        }
    }

    /// the size follows each write at once
    fn size_follows_writes(t) {
        let file = create(t.at("f"), 0o644)?;
        for i in 1..=50u64 {
            write_all(&file, &[1; 777])?;
            equal(stat(t.at("f"))?.size(), i * 777)?;
        }
    }

    /// an inode number stays through changes, renames and reopening
    fn inode_number_stays(t) {
        let path = t.file("f", b"text")?;
        let number = stat(&path)?.ino();
        sys::chmod(&path, 0o600)?;
        open_rw(&path)?.truncate(0)?;
        t.dir("d", 0o755)?;
        sys::rename(&path, t.at("d/g"))?;
        open_rw(t.at("d/g"))?.fsync()?;
        equal(stat(t.at("d/g"))?.ino(), number)?;
    }

    /// blocks count what is stored, in units of 512 bytes
    fn blocks(t) {
        let file = create(t.at("f"), 0o644)?;
        equal(file.stat()?.blocks(), 0)?;
        write_all(&file, &pattern(1, 1 << 20))?;
        file.fsync()?;
        let blocks = file.stat()?.blocks();
        holds((2_048..2_304).contains(&blocks), &format!("1 MiB takes about 2,048 blocks, not {blocks}"))?;
    }

    /// the preferred size of transfers is a sensible power of two
    fn block_size(t) {
        let size = stat(t.file("f", b"")?)?.block_size();
        holds(
            (512..=16 << 20).contains(&size) && size & (size - 1) == 0,
            &format!("{size} is a power of two"),
        )?;
    }

    /// times have a grain of less than 10 ms
    fn fine_times(t) {
        let mut distinct = BTreeSet::new();
        for i in 0..8 {
            distinct.insert(stat(t.file(&format!("f{i}"), b"")?)?.mtime());
            crate::place::tick();
        }
        equal(distinct.len(), 8)?;
    }

    /// the time of birth stays when the file changes, if there is one
    fn birth(t) {
        let path = t.file("f", b"text")?;
        let Some(born) = birth_time(&path)? else { return skip("the file system keeps no time of birth") };
        let made = stat(&path)?;
        holds((born.0 - made.mtime().0).abs() <= 1, "it was born when it was made")?;
        crate::place::tick();
        open_rw(&path)?.write(b"x")?;
        sys::chmod(&path, 0o600)?;
        sys::utimens(&path, (1, 0), (2, 0), 0)?;
        sys::rename(&path, t.at("g"))?;
        equal(birth_time(t.at("g"))?, Some(born))?;
    }

    /// device numbers are for device nodes
    fn no_device_number_elsewhere(t) {
        equal(stat(t.file("f", b"")?)?.rdev(), 0)?;
        equal(stat(t.dir("d", 0o755)?)?.rdev(), 0)?;
    }
}
