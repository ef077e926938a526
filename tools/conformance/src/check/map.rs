//! `mmap`, and how it agrees with `read` and `write`.

use libc::{EACCES, EINVAL, ENODEV, MAP_PRIVATE, MAP_SHARED, O_WRONLY, PROT_READ, PROT_WRITE};

use crate::expect::{Failure, equal, equal_bytes, holds, or_skip, refused};
use crate::memory::Mapping;
use crate::place::{create, open_ro, open_rw, pattern, read_all, write_all};
use crate::process::{Ended, die_by_faults, in_child};
use crate::sys::{self, File, open, stat};

const BOTH: i32 = PROT_READ | PROT_WRITE;

/// A shared, writable mapping; a mount may have none.
fn shared(file: &File, length: usize) -> Result<Mapping, Failure> {
    or_skip(
        Mapping::new(file, length, BOTH, MAP_SHARED, 0),
        &[ENODEV, EINVAL],
        "files cannot be mapped for shared writing",
    )
}

checks! { "map";
    /// a private mapping shows the file
    fn private_shows_the_file(t) {
        let data = pattern(1, 100_000);
        let file = open_ro(t.file("f", &data)?)?;
        let map = Mapping::new(&file, data.len(), PROT_READ, MAP_PRIVATE, 0)?;
        equal_bytes(&map.get(0, data.len()), &data)?;
    }

    /// what is changed in a private mapping stays there
    fn private_changes_stay_private(t) {
        let path = t.file("f", b"text")?;
        let file = open_ro(&path)?;
        let mut map = Mapping::new(&file, 4, BOTH, MAP_PRIVATE, 0)?;
        map.set(0, b"TE");
        equal_bytes(&map.get(0, 4), b"TExt")?;
        equal_bytes(&read_all(&path)?, b"text")?;
    }

    /// a write shows in a mapping at once
    fn write_shows_in_the_mapping(t) {
        let file = open_rw(t.file("f", &pattern(2, 50_000))?)?;
        let map = shared(&file, 50_000)?;
        equal_bytes(&map.get(10_000, 5), &pattern(2, 50_000)[10_000..10_005])?;
        file.pwrite(b"fresh", 10_000)?;
        equal_bytes(&map.get(10_000, 5), b"fresh")?;
    }

    /// a change in a mapping is read at once, without msync
    fn mapping_shows_in_read(t) {
        let file = open_rw(t.file("f", &pattern(3, 50_000))?)?;
        let mut map = shared(&file, 50_000)?;
        map.set(4_094, b"across");
        equal_bytes(&file.pread(6, 4_094)?, b"across")?;
        equal_bytes(&open_ro(t.at("f"))?.pread(6, 4_094)?, b"across")?;
    }

    /// two mappings of two openings are the same memory
    fn two_mappings(t) {
        let path = t.file("f", &[0; 8_192])?;
        let (first, second) = (open_rw(&path)?, open_rw(&path)?);
        let (mut one, mut two) = (shared(&first, 8_192)?, shared(&second, 8_192)?);
        one.set(5_000, b"one");
        equal_bytes(&two.get(5_000, 3), b"one")?;
        two.set(5_001, b"N");
        equal_bytes(&one.get(5_000, 3), b"oNe")?;
    }

    /// after msync the bytes come back from the disk
    fn sync_reaches_the_disk(t) {
        let file = open_rw(t.file("f", &[0; 200_000])?)?;
        let mut map = shared(&file, 200_000)?;
        let data = pattern(4, 150_000);
        map.set(12_345, &data);
        map.sync()?;
        drop(map);
        file.drop_cache()?;
        drop(file);
        equal_bytes(&read_all(t.at("f"))?[12_345..162_345], &data)?;
    }

    /// fsync writes mapped changes, too
    fn fsync_reaches_the_disk(t) {
        let file = open_rw(t.file("f", &[0; 20_000])?)?;
        let mut map = shared(&file, 20_000)?;
        map.set(9_000, b"mapped");
        file.fsync()?;
        drop(map);
        file.drop_cache()?;
        equal_bytes(&file.pread(6, 9_000)?, b"mapped")?;
    }

    /// a mapping stays when its descriptor is closed and its file unlinked
    fn outlives_descriptor_and_name(t) {
        let path = t.file("f", b"text")?;
        let file = open_rw(&path)?;
        let mut map = shared(&file, 4)?;
        drop(file);
        sys::unlink(&path)?;
        map.set(0, b"T");
        equal_bytes(&map.get(0, 4), b"Text")?;
    }

    /// changes survive when mapping and descriptor are simply dropped
    fn changes_survive_unmapping(t) {
        let path = t.file("f", &[0; 100_000])?;
        let file = open_rw(&path)?;
        let mut map = shared(&file, 100_000)?;
        map.set(0, &pattern(5, 100_000));
        drop(map);
        drop(file);
        equal_bytes(&read_all(&path)?, &pattern(5, 100_000))?;
    }

    /// the rest of the last page is zeros, and what is put there never gets into the file
    fn rest_of_the_last_page(t) {
        let path = t.file("f", b"text")?;
        let file = open_rw(&path)?;
        let mut map = shared(&file, 4_096)?;
        equal_bytes(&map.get(4, 4_092), &[0; 4_092])?;
        map.set(4, b"beyond");
        map.sync()?;
        equal(stat(&path)?.size(), 4)?;
        equal_bytes(&read_all(&path)?, b"text")?;
    }

    /// a mapping of a hole reads zeros and can be filled
    fn of_a_hole(t) {
        let file = create(t.at("f"), 0o644)?;
        file.truncate(1 << 20)?;
        let mut map = shared(&file, 1 << 20)?;
        equal_bytes(&map.get(500_000, 1_000), &[0; 1_000])?;
        map.set(700_000, b"filled");
        map.sync()?;
        drop(map);
        file.drop_cache()?;
        equal_bytes(&file.pread(8, 699_999)?, b"\0filled\0")?;
    }

    /// when the file grows, the pages that were behind its end become usable
    fn growing_file(t) {
        let file = create(t.at("f"), 0o644)?;
        file.write(b"start")?;
        let mut map = shared(&file, 16_384)?;
        file.truncate(16_384)?;
        map.set(10_000, b"late");
        equal_bytes(&file.pread(4, 10_000)?, b"late")?;
        file.pwrite(b"later", 12_000)?;
        equal_bytes(&map.get(12_000, 5), b"later")?;
    }

    /// when the file is cut, a mapping shows zeros behind the cut of the last page
    fn cut_file(t) {
        let file = open_rw(t.file("f", &[7; 8_192])?)?;
        let map = shared(&file, 8_192)?;
        equal_bytes(&map.get(8_000, 2), &[7; 2])?;
        file.truncate(100)?;
        equal_bytes(&map.get(99, 3), &[7, 0, 0])?;
    }

    /// touching a page behind the end is SIGBUS
    fn behind_the_end(t) {
        let file = open_rw(t.file("f", b"text")?)?;
        let map = shared(&file, 8_192)?;
        let ended = in_child(|| {
            die_by_faults();
            i32::from(map.get(5_000, 1)[0])
        })?;
        equal(ended, Ended::Killed(libc::SIGBUS))?;
    }

    /// a part of a file can be mapped at a page's border only: EINVAL elsewhere
    fn offsets(t) {
        let data = pattern(6, 20_000);
        let file = open_ro(t.file("f", &data)?)?;
        let map = Mapping::new(&file, 4_096, PROT_READ, MAP_SHARED, 8_192)?;
        equal_bytes(&map.get(0, 4_096), &data[8_192..12_288])?;
        refused(Mapping::new(&file, 4_096, PROT_READ, MAP_SHARED, 100), EINVAL)?;
    }

    /// a shared writable mapping needs a descriptor for both: EACCES
    fn needs_rights(t) {
        let path = t.file("f", b"text")?;
        let reader = open_ro(&path)?;
        refused(Mapping::new(&reader, 4, BOTH, MAP_SHARED, 0), EACCES)?;
        let writer = open(&path, O_WRONLY, 0)?;
        refused(Mapping::new(&writer, 4, PROT_READ, MAP_SHARED, 0), EACCES)?;
    }

    /// a directory cannot be mapped: ENODEV
    fn directory(t) {
        let d = open_ro(t.dir("d", 0o755)?)?;
        refused(Mapping::new(&d, 4_096, PROT_READ, MAP_PRIVATE, 0), ENODEV)?;
    }

    /// a change in a mapping moves the modification time by the next msync at the latest
    fn moves_the_modification_time(t) {
        let path = t.file("f", &[0; 4_096])?;
        let file = open_rw(&path)?;
        let mut map = shared(&file, 4_096)?;
        let before = stat(&path)?.mtime();
        crate::place::tick();
        map.set(0, b"x");
        map.sync()?;
        holds(stat(&path)?.mtime() > before, "the modification time moves")?;
    }

    /// writes and mapped changes in turn all arrive
    fn in_turn_with_writes(t) {
        let file = create(t.at("f"), 0o644)?;
        let mut model = pattern(7, 300_000);
        write_all(&file, &model)?;
        let mut map = shared(&file, model.len())?;
        for round in 0..60usize {
            let (at, length) = (round * 4_321 % 290_000, 100 + round * 151);
            let length = length.min(model.len() - at);
            let data = pattern(round as u64 + 1, length);
            if round % 2 == 0 {
                map.set(at, &data);
            } else {
                crate::place::write_all_at(&file, &data, at as i64)?;
            }
            model[at..at + length].copy_from_slice(&data);
            if round % 20 == 19 {
                file.fsync()?;
            }
            equal_bytes(&file.pread(length, at as i64)?, &data)?;
            equal_bytes(&map.get(at, length), &data)?;
        }
        drop(map);
        file.fsync()?;
        file.drop_cache()?;
        equal_bytes(&read_all(t.at("f"))?, &model)?;
    }
}
