//! `fsync` and its relatives.

use libc::{EBADF, EINVAL, EROFS, O_PATH, O_RDWR};

use crate::expect::{Failure, equal, equal_bytes, refused, refused_with};
use crate::place::{create, open_ro, open_rw, pattern, read_all, write_all};
use crate::sys::{self, open};

checks! { "sync";
    /// files can be synced, also through a descriptor for reading
    fn files(t) {
        let path = t.file("f", b"text")?;
        let file = open_rw(&path)?;
        file.write(b"TE")?;
        file.fdatasync()?;
        file.write(b"X")?;
        open_ro(&path)?.fsync()?;
        open_ro(&path)?.fdatasync()?;
        file.drop_cache()?;
        equal_bytes(&read_all(&path)?, b"TEXt")?;
    }

    /// directories can be synced
    fn directories(t) {
        let d = t.dir("d", 0o755)?;
        t.file("d/f", b"")?;
        open_ro(&d)?.fsync()?;
        sys::rename(d.join("f"), d.join("g"))?;
        open_ro(&d)?.fdatasync()?;
        sys::unlink(d.join("g"))?;
        open_ro(&d)?.fsync()?;
    }

    /// syncfs works through any file
    fn whole_file_system(t) {
        let path = t.file("f", &pattern(1, 100_000))?;
        open_ro(&path)?.syncfs()?;
        open_ro(t.root())?.syncfs()?;
        equal_bytes(&read_all(&path)?, &pattern(1, 100_000))?;
    }

    /// what cannot be synced says so: a fifo EINVAL, an O_PATH descriptor EBADF
    fn wrong_descriptors(t) {
        sys::mkfifo(t.at("p"), 0o600)?;
        refused_with(open(t.at("p"), O_RDWR, 0)?.fsync(), &[EINVAL, EROFS])?;
        refused(open(t.file("f", b"")?, O_PATH, 0)?.fsync(), EBADF)?;
    }

    /// sync_file_range takes ranges, also behind the end
    fn range(t) {
        let file = create(t.at("f"), 0o644)?;
        write_all(&file, &pattern(2, 100_000))?;
        let wait = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        file.sync_file_range(0, 50_000, wait)?;
        file.sync_file_range(0, 0, wait)?;
        file.sync_file_range(1 << 30, 10, wait)?;
        refused(file.sync_file_range(-1, 10, wait), EINVAL)?;
    }

    /// synced data is there when it is read from the disk
    fn data_is_there_after_the_cache_is_dropped(t) {
        let data = pattern(3, 5 << 20);
        let file = create(t.at("f"), 0o644)?;
        write_all(&file, &data)?;
        file.fsync()?;
        file.drop_cache()?;
        equal_bytes(&file.pread(data.len(), 0)?, &data)?;
    }

    /// four threads that write and sync files of their own all succeed
    fn concurrent(t) {
        let outcomes: Vec<Result<(), Failure>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4u64)
                .map(|thread| {
                    scope.spawn(move || {
                        let file = create(t.at(&format!("f{thread}")), 0o644)?;
                        for round in 0..20 {
                            file.pwrite(&pattern(thread + 1, 3_000), round * 3_000)?;
                            file.fdatasync()?;
                        }
                        equal(file.stat()?.size(), 60_000)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|_| Err(Failure::Failed("a thread panicked".to_owned()))))
                .collect()
        });
        outcomes.into_iter().collect::<Result<(), Failure>>()?;
    }

    /// the usual way to replace a file safely: write, sync, rename, sync the directory
    fn safe_replacement(t) {
        t.file("f", b"old")?;
        for round in 0..10 {
            let text = format!("round {round}");
            let new = create(t.at("f.new"), 0o644)?;
            new.write(text.as_bytes())?;
            new.fsync()?;
            drop(new);
            sys::rename(t.at("f.new"), t.at("f"))?;
            open_ro(t.root())?.fsync()?;
            equal_bytes(&read_all(t.at("f"))?, text.as_bytes())?;
        }
    }
}
