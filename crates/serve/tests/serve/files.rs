//! What programs do with files through a mount.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, FallocateFlags, RenameFlags, XattrFlags};

use crate::world::World;

#[test]
fn a_tree_is_made_read_and_removed() {
    let world = World::new();
    fs::create_dir_all(world.path("a/b")).unwrap();
    fs::write(world.path("a/b/f"), b"content").unwrap();
    fs::hard_link(world.path("a/b/f"), world.path("a/g")).unwrap();
    symlink("b/f", world.path("a/l")).unwrap();
    assert_eq!(fs::read(world.path("a/l")).unwrap(), b"content");
    assert_eq!(fs::metadata(world.path("a/g")).unwrap().nlink(), 2);
    fs::rename(world.path("a/g"), world.path("h")).unwrap();
    assert_eq!(fs::read(world.path("h")).unwrap(), b"content");
    let busy = fs::remove_dir(world.path("a")).unwrap_err();
    assert_eq!(busy.kind(), io::ErrorKind::DirectoryNotEmpty);
    fs::remove_dir_all(world.path("a")).unwrap();
    assert_eq!(fs::read_dir(world.mount_point()).unwrap().count(), 1);
}

#[test]
fn a_large_directory_is_listed_whole_and_once() {
    let world = World::new();
    let names: BTreeSet<OsString> = (0..3000).map(|n| format!("entry-{n}").into()).collect();
    for name in &names {
        File::create(world.mount_point().join(name)).unwrap();
    }
    for _ in 0..2 {
        let mut listed: Vec<OsString> =
            fs::read_dir(world.mount_point()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        listed.sort();
        assert_eq!(listed.len(), names.len());
        assert!(listed.iter().eq(names.iter()));
    }
}

#[test]
fn entries_that_go_while_a_directory_is_read_hide_no_others() {
    let world = World::new();
    for n in 0..2000 {
        File::create(world.path(&format!("f{n}"))).unwrap();
    }
    let mut removed = 0;
    for entry in fs::read_dir(world.mount_point()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
        removed += 1;
    }
    assert_eq!(removed, 2000);
    assert_eq!(fs::read_dir(world.mount_point()).unwrap().count(), 0);
}

#[test]
fn a_removed_file_and_a_removed_directory_live_while_they_are_open() {
    let world = World::new();
    let mut file =
        OpenOptions::new().create(true).truncate(true).read(true).write(true).open(world.path("f")).unwrap();
    fs::remove_file(world.path("f")).unwrap();
    file.write_all(b"unseen").unwrap();
    file.rewind().unwrap();
    let mut content = String::new();
    file.read_to_string(&mut content).unwrap();
    assert_eq!((content.as_str(), file.metadata().unwrap().nlink()), ("unseen", 0));
    fs::create_dir(world.path("d")).unwrap();
    let directory = File::open(world.path("d")).unwrap();
    fs::remove_dir(world.path("d")).unwrap();
    assert!(directory.metadata().unwrap().is_dir());
    let made = rustix::fs::mkdirat(&directory, "x", rustix::fs::Mode::RWXU);
    assert_eq!(made, Err(rustix::io::Errno::NOENT));
}

#[test]
fn holes_are_made_found_and_refused_to_be_collapsed() {
    let world = World::new();
    let file =
        OpenOptions::new().create(true).truncate(true).read(true).write(true).open(world.path("f")).unwrap();
    file.write_all_at(&[7; 65536], 1 << 20).unwrap();
    let mut cursor = &file;
    let data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap();
    assert_eq!(data, 1 << 20);
    rustix::fs::fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 1 << 20, 65536)
        .unwrap();
    let none = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0));
    assert_eq!(none, Err(rustix::io::Errno::NXIO));
    let refused = rustix::fs::fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, 4096);
    assert_eq!(refused, Err(rustix::io::Errno::OPNOTSUPP));
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 2 << 20).unwrap();
    assert_eq!(cursor.seek(SeekFrom::End(0)).unwrap(), 2 << 20);
    let mut content = Vec::new();
    cursor.rewind().unwrap();
    cursor.read_to_end(&mut content).unwrap();
    assert!(content.iter().all(|byte| *byte == 0));
}

#[test]
fn a_copied_range_shares_what_it_copies() {
    let world = World::new();
    let content: Vec<u8> = (0..1 << 20).map(|n: u32| (n / 7) as u8).collect();
    fs::write(world.path("a"), &content).unwrap();
    let before = futures::executor::block_on(world.vfs.pool().status()).logical_bytes;
    fs::copy(world.path("a"), world.path("b")).unwrap();
    assert_eq!(fs::read(world.path("b")).unwrap(), content);
    let written = world.vfs.pool().metrics().written_bytes.get();
    assert_eq!(written, content.len() as u64, "the copy wrote no bytes of its own");
    assert!(futures::executor::block_on(world.vfs.pool().status()).logical_bytes >= before);
}

/// Linux from 6.18 on asks for all of it at once, others in pieces of less than 4 GiB.
#[test]
fn a_range_of_more_than_4_gib_is_copied_whole() {
    let world = World::new();
    let length = 5 << 30;
    let create = |name| {
        OpenOptions::new().create(true).truncate(true).read(true).write(true).open(world.path(name)).unwrap()
    };
    let (source, copy) = (create("a"), create("b"));
    source.write_all_at(b"end", length - 3).unwrap();
    let mut done = 0;
    while done < length {
        let (mut from, mut to) = (done, done);
        let left = (length - done) as usize;
        let copied =
            rustix::fs::copy_file_range(&source, Some(&mut from), &copy, Some(&mut to), left).unwrap();
        assert!(copied > 0);
        done += copied as u64;
    }
    assert_eq!(copy.metadata().unwrap().len(), length);
    let mut end = [0; 3];
    copy.read_exact_at(&mut end, length - 3).unwrap();
    assert_eq!(&end, b"end");
}

/// The kernel takes the largest request that it is offered, and the pool gets it in one piece.
#[test]
fn a_write_of_1_mib_is_one_operation() {
    let world = World::new();
    let content: Vec<u8> = (0..1 << 20).map(|n: u32| (n / 3) as u8).collect();
    let file = File::create(world.path("f")).unwrap();
    let mutations = || world.vfs.pool().metrics().mutations.get();
    let before = mutations();
    file.write_all_at(&content, 0).unwrap();
    assert_eq!(mutations(), before + 1);
    assert_eq!(fs::read(world.path("f")).unwrap(), content);
}

#[test]
fn renames_can_refuse_and_swap() {
    let world = World::new();
    fs::write(world.path("a"), b"A").unwrap();
    fs::write(world.path("b"), b"B").unwrap();
    let rename = |flags| rustix::fs::renameat_with(CWD, world.path("a"), CWD, world.path("b"), flags);
    assert_eq!(rename(RenameFlags::NOREPLACE), Err(rustix::io::Errno::EXIST));
    rename(RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read(world.path("a")).unwrap(), b"B");
    rename(RenameFlags::WHITEOUT).unwrap();
    assert_eq!(fs::read(world.path("b")).unwrap(), b"B");
    let whiteout = fs::symlink_metadata(world.path("a")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0 && whiteout.mode() & 0o7777 == 0);
}

/// Takes an overlay down, also when the test fails.
struct Overlay(PathBuf);

impl Drop for Overlay {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// As container runtimes lay one: an image below, what a container changes above. It was refused for want of whiteouts.
#[test]
fn an_overlay_has_its_upper_layer_on_a_mount() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root mounts an overlay");
        return;
    }
    let world = World::new();
    for directory in ["lower", "upper", "work"] {
        fs::create_dir(world.path(directory)).unwrap();
    }
    fs::write(world.path("lower/kept"), b"kept").unwrap();
    fs::write(world.path("lower/removed"), b"removed").unwrap();
    let point = tempfile::tempdir().unwrap();
    let data = format!(
        "lowerdir={},upperdir={},workdir={}",
        world.path("lower").display(),
        world.path("upper").display(),
        world.path("work").display()
    );
    let data = std::ffi::CString::new(data).unwrap();
    rustix::mount::mount(
        "overlay",
        point.path(),
        "overlay",
        rustix::mount::MountFlags::empty(),
        data.as_c_str(),
    )
    .unwrap();
    let overlay = Overlay(point.path().to_owned());
    fs::remove_file(point.path().join("removed")).unwrap();
    fs::write(point.path().join("kept"), b"changed").unwrap();
    fs::rename(point.path().join("kept"), point.path().join("moved")).unwrap();
    assert_eq!(fs::read(point.path().join("moved")).unwrap(), b"changed");
    let names: Vec<_> = fs::read_dir(point.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["moved"]);
    drop(overlay);
    assert_eq!(fs::read(world.path("upper/moved")).unwrap(), b"changed");
    assert!(fs::symlink_metadata(world.path("upper/removed")).unwrap().file_type().is_char_device());
    assert_eq!(fs::read(world.path("lower/kept")).unwrap(), b"kept");
}

#[test]
fn attributes_are_set_listed_and_removed() {
    let world = World::new();
    File::create(world.path("f")).unwrap();
    let path = world.path("f");
    rustix::fs::setxattr(&path, "user.colour", b"green", XattrFlags::CREATE).unwrap();
    let again = rustix::fs::setxattr(&path, "user.colour", b"red", XattrFlags::CREATE);
    assert_eq!(again, Err(rustix::io::Errno::EXIST));
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(&path, "user.colour", &mut value).unwrap();
    assert_eq!(&value[..length], b"green");
    let short = rustix::fs::getxattr(&path, "user.colour", &mut value[..2]);
    assert_eq!(short, Err(rustix::io::Errno::RANGE));
    let mut names = [0; 64];
    let length = rustix::fs::listxattr(&path, &mut names).unwrap();
    assert_eq!(&names[..length], b"user.colour\0");
    rustix::fs::removexattr(&path, "user.colour").unwrap();
    let gone = rustix::fs::getxattr(&path, "user.colour", &mut value);
    assert_eq!(gone, Err(rustix::io::Errno::NODATA));
}

#[test]
fn the_umask_and_a_chmod_are_seen_at_once() {
    let world = World::new();
    fs::write(world.path("f"), b"").unwrap();
    fs::set_permissions(world.path("f"), Permissions::from_mode(0o4711)).unwrap();
    assert_eq!(fs::metadata(world.path("f")).unwrap().mode() & 0o7777, 0o4711);
}

#[test]
fn a_name_of_more_than_255_bytes_is_too_long() {
    let world = World::new();
    File::create(world.path(&"x".repeat(255))).unwrap();
    let error = File::create(world.path(&"x".repeat(256))).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidFilename);
}

#[test]
fn appending_from_two_descriptors_loses_nothing() {
    let world = World::new();
    let open = || OpenOptions::new().create(true).append(true).open(world.path("log")).unwrap();
    let (mut first, mut second) = (open(), open());
    for n in 0..100 {
        writeln!(first, "first {n}").unwrap();
        writeln!(second, "second {n}").unwrap();
    }
    assert_eq!(fs::read_to_string(world.path("log")).unwrap().lines().count(), 200);
}

#[test]
fn many_threads_at_once_see_their_own_files() {
    let world = World::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let world = &world;
            scope.spawn(move || {
                for n in 0..100 {
                    let path = world.path(&format!("t{thread}-{n}"));
                    fs::write(&path, format!("{thread} {n}")).unwrap();
                    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{thread} {n}"));
                    if n % 2 == 0 {
                        fs::remove_file(&path).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(fs::read_dir(world.mount_point()).unwrap().count(), 400);
}

#[test]
fn a_sync_answers_and_time_goes_on() {
    let world = World::new();
    let before = SystemTime::now() - Duration::from_secs(5);
    let mut file = File::create(world.path("f")).unwrap();
    file.write_all(b"durable").unwrap();
    file.sync_all().unwrap();
    file.sync_data().unwrap();
    File::open(world.mount_point()).unwrap().sync_all().unwrap();
    rustix::fs::syncfs(&file).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    assert!(modified > before && modified > UNIX_EPOCH);
}

#[test]
fn space_is_shown() {
    let world = World::new();
    let space = rustix::fs::statvfs(world.mount_point()).unwrap();
    assert!(space.f_blocks > 0 && space.f_bavail <= space.f_blocks);
    assert_eq!(space.f_namemax, 255);
}
