//! Snapshots and restores.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use crate::fixture::Server;

#[test]
fn a_snapshot_is_taken_listed_and_deleted() {
    let server = Server::up();
    server.write("data/a", "x");
    server.write("other/b", "x");
    let made = server.run(["snapshot", "/data", "--json"]).done().json();
    let name = made["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("data-2") && name.ends_with('Z'), "{name}");
    assert_eq!((&made["source"], &made["files"]), (&"/data".into(), &1.into()));
    let again = ["one", "two", "three"]
        .map(|_| server.run(["snapshot", "/data", "--json"]).done().json()["name"].clone());
    for name in again {
        assert_ne!(name, made["name"], "there may be several within a second");
        server.run(["snapshot", "delete", name.as_str().unwrap()]).done();
    }
    server.run(["snapshot", "pool/other", "mine"]).done();
    server
        .run(["snapshot", "/data", "mine"])
        .failed(1, &["cannot take the snapshot \"mine\" of /data", "exists already", "another name"]);
    server.run(["snapshot", "/data", "a/b"]).failed(1, &["no name of a snapshot"]);

    let list = server.run(["snapshot", "list", "--json"]).done().json();
    let names: Vec<_> =
        list["snapshots"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, [name.as_str(), "mine"], "oldest first");
    let ran = server.run(["snapshot", "list", "/other"]).done();
    assert!(ran.out.contains("mine") && !ran.out.contains(&name), "{ran:?}");

    server.run(["snapshot", "delete", "mine", "nothing"]).failed(1, &["nothing", "snapshot list"]);
    let ran = server.run(["snapshot", "delete", "--dry-run", "mine"]).done();
    assert!(ran.out.contains("Would delete /snapshots/mine"), "{ran:?}");
    assert_eq!(server.read("snapshots/mine/b"), "x");
    server.run(["snapshot", "delete", "mine", &format!("/snapshots/{name}")]).done();
    assert_eq!(std::fs::read_dir(server.pool().join("snapshots")).unwrap().count(), 0);
}

#[test]
fn a_snapshot_is_a_plain_directory() {
    let server = Server::up();
    server.write("data/a", "x");
    server.run(["snapshot", "/data", "one"]).done();
    let pool = server.pool();
    std::fs::rename(pool.join("snapshots/one"), pool.join("snapshots/renamed")).unwrap();
    let list = server.run(["snapshot", "list", "/data", "--json"]).done().json();
    assert_eq!(list["snapshots"][0]["name"], "renamed");
    assert!(std::fs::write(pool.join("snapshots/renamed/a"), "y").is_err());
    // A directory of one's own among them is no snapshot, and is not deleted as one.
    std::fs::create_dir(pool.join("snapshots/plain")).unwrap();
    server.run(["snapshot", "delete", "plain"]).failed(1, &["is no snapshot", "rm"]);
    let mode = std::fs::metadata(pool.join("snapshots")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o750);
}

#[test]
fn prune_keeps_what_the_rules_say_and_touches_nothing_else() {
    let server = Server::up();
    server.write("data/a", "x");
    server.write("other/a", "x");
    for name in ["s1", "s2", "s3"] {
        server.run(["snapshot", "/data", name]).done();
    }
    server.run(["snapshot", "/other", "o1"]).done();
    server.run(["snapshot", "prune", "/data"]).failed(2, &["every snapshot", "--keep-daily"]);
    let dry =
        server.run(["snapshot", "prune", "/data", "--keep-last", "2", "--dry-run", "--json"]).done().json();
    assert_eq!((&dry["dry_run"], &dry["deleted"][0]["name"]), (&true.into(), &"s1".into()));
    let ran = server.run(["snapshot", "prune", "/data", "--keep-daily", "1"]).done();
    assert!(ran.out.contains("Deleted 2 snapshots, kept 1"), "{ran:?}");
    let mut left: Vec<_> =
        std::fs::read_dir(server.pool().join("snapshots")).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["o1", "s3"]);
}

#[test]
fn a_restore_is_a_clone_that_can_be_changed() {
    let server = Server::up();
    server.write("data/a", "good");
    server.write("data/sub/b", "good");
    server.run(["snapshot", "/data", "s"]).done();
    std::fs::remove_dir_all(server.pool().join("data")).unwrap();
    server.run(["restore", "--snapshot", "s", "--destination", "/data"]).done();
    assert_eq!(server.read("data/sub/b"), "good");
    server.write("data/sub/b", "changed");
    assert_eq!(server.read("snapshots/s/sub/b"), "good");

    server
        .run(["restore", "--snapshot", "s", "--destination", "/data"])
        .failed(1, &["exists already", "--replace"]);
    server
        .run([
            "restore",
            "--snapshot",
            "s",
            "--source",
            "/data/sub",
            "--destination",
            "/data/sub",
            "--replace",
        ])
        .done();
    assert_eq!(server.read("data/sub/b"), "good");
    server
        .run(["restore", "--snapshot", "s", "--source", "sub/b", "--destination", "/x/b", "--parents"])
        .done();
    assert_eq!(server.read("x/b"), "good");
    server
        .run(["restore", "--snapshot", "s", "--source", "./pool/data/a", "--destination", "pool/again"])
        .done();
    assert_eq!(server.read("again"), "good");

    let restore =
        |source: &str| server.run(["restore", "--snapshot", "s", "--source", source, "--destination", "/y"]);
    restore("/elsewhere").failed(1, &["was taken of /data"]);
    restore("../other").failed(2, &[]);
    restore("sub/../../../data").failed(1, &["leaves the snapshot"]);
    restore("missing").failed(1, &["/snapshots/s/missing does not exist"]);
    server
        .run(["restore", "--snapshot", "no", "--destination", "/y"])
        .failed(1, &["no snapshot \"no\"", "snapshot list"]);
}

#[test]
fn a_restore_to_this_machine_is_a_faithful_copy() {
    let server = Server::up();
    server.write("data/sub/plain", "content");
    let data = server.pool().join("data");
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    let plain = std::fs::File::options().write(true).open(data.join("sub/plain")).unwrap();
    plain.set_modified(old).unwrap();
    std::fs::set_permissions(data.join("sub/plain"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::set_permissions(data.join("sub"), std::fs::Permissions::from_mode(0o2550)).unwrap();
    std::fs::hard_link(data.join("sub/plain"), data.join("second")).unwrap();
    std::os::unix::fs::symlink("sub/plain", data.join("link")).unwrap();
    let sparse = std::fs::File::create(data.join("sparse")).unwrap();
    sparse.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (1 << 30) - 3).unwrap();
    rustix::fs::setxattr(data.join("second"), "user.note", b"kept", rustix::fs::XattrFlags::empty()).unwrap();
    server.run(["snapshot", "/data", "s"]).done();

    let out = server.place.join("out");
    let to = format!("local:{}", out.display());
    let ran = server.run(["restore", "--snapshot", "s", "--destination", &to, "--json"]).done();
    assert_eq!(ran.json()["directories"], 2);
    let copy = std::fs::metadata(out.join("sub/plain")).unwrap();
    assert_eq!(std::fs::read_to_string(out.join("sub/plain")).unwrap(), "content");
    assert_eq!((copy.mode() & 0o7777, copy.modified().unwrap(), copy.nlink()), (0o640, old, 2));
    assert_eq!(copy.ino(), std::fs::metadata(out.join("second")).unwrap().ino());
    assert_eq!(std::fs::metadata(out.join("sub")).unwrap().mode() & 0o7777, 0o2550);
    assert_eq!(std::fs::read_link(out.join("link")).unwrap(), std::path::Path::new("sub/plain"));
    let sparse = std::fs::metadata(out.join("sparse")).unwrap();
    assert_eq!(sparse.len(), 1 << 30);
    assert!(sparse.blocks() * 512 < 1 << 24, "the hole is still one: {} blocks", sparse.blocks());
    let mut note = [0; 16];
    let length = rustix::fs::getxattr(out.join("second"), "user.note", &mut note[..]).unwrap();
    assert_eq!(&note[..length], b"kept");

    server
        .run(["restore", "--snapshot", "s", "--destination", &to])
        .failed(1, &["exists already", "--replace"]);
    let one =
        ["restore", "--snapshot", "s", "--source", "/data/sub/plain", "--destination", &to, "--replace"];
    server.run(one).done();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "content");
    let deep = format!("local:{}/x/y", server.place.path().display());
    server
        .run(["restore", "--snapshot", "s", "--destination", &deep])
        .failed(1, &["does not exist", "--parents"]);
    server.run(["restore", "--snapshot", "s", "--destination", &deep, "--parents"]).done();
    let hidden = std::fs::read_dir(server.place.path()).unwrap().map(|e| e.unwrap().file_name());
    assert_eq!(hidden.filter(|name| name.to_string_lossy().starts_with('.')).count(), 0);
}

#[test]
fn a_dry_run_of_a_restore_tells_what_would_be_replaced() {
    let server = Server::up();
    server.write("data/a", "good");
    server.run(["snapshot", "/data", "s"]).done();
    server.write("data/b", "bad");
    let restore = |to: &str, more: &[&str]| {
        let arguments = ["restore", "--dry-run", "--snapshot", "s", "--destination", to];
        server.run([&arguments, more].concat())
    };
    let ran = restore("/data", &["--replace"]).done();
    assert!(
        ran.out.contains("Would restore /snapshots/s to /data")
            && ran.out.contains("Would replace /data (2 files"),
        "{ran:?}"
    );
    restore("/data", &[]).failed(1, &["exists already", "--replace"]);
    assert_eq!(server.read("data/b"), "bad", "nothing was done");

    let out = server.place.join("out");
    std::fs::create_dir_all(out.join("sub")).unwrap();
    std::fs::write(out.join("sub/mine"), "12345").unwrap();
    let to = format!("local:{}", out.display());
    restore(&to, &[]).failed(1, &["exists already", "--replace"]);
    let ran = restore(&to, &["--replace"]).done();
    assert!(ran.out.contains("Would copy /snapshots/s (1 file, 1 directory, 4 B)"), "{ran:?}");
    assert!(ran.out.contains("(1 file, 2 directories, 5 B)"), "{ran:?}");
    let told = restore(&to, &["--replace", "--json"]).done().json();
    assert_eq!(told["replaced"]["files"], 1);
    assert_eq!(std::fs::read_to_string(out.join("sub/mine")).unwrap(), "12345");
}

/// Opens what lies `depth` directories of one name deep, beyond the longest path; makes them if asked.
fn descend(top: &std::path::Path, name: &str, depth: usize, make: bool) -> std::os::fd::OwnedFd {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = rustix::fs::open(top, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        if make {
            rustix::fs::mkdirat(&here, name, Mode::from_raw_mode(0o750)).unwrap();
        }
        here = rustix::fs::openat(&here, name, flags, Mode::empty()).unwrap();
    }
    here
}

/// It worked with whole paths, and failed with "File name too long"; and a copy must not need a descriptor for each directory either.
#[test]
fn a_restore_to_this_machine_may_be_deeper_than_any_path() {
    use rustix::fs::{AtFlags, Mode, OFlags};
    const DEPTH: usize = 250;
    let server = Server::up();
    let name = "n".repeat(30);
    server.write("data/first", "linked");
    let data = server.pool().join("data");
    let bottom = descend(&data, &name, DEPTH, true);
    let top = descend(&data, &name, 0, false);
    rustix::fs::linkat(&top, "first", &bottom, "second", AtFlags::empty()).unwrap();
    rustix::fs::symlinkat("first", &bottom, "link").unwrap();
    rustix::fs::fchmod(&bottom, Mode::from_raw_mode(0o550)).unwrap();
    let middle = descend(&data, &name, DEPTH / 2, false);
    let file =
        rustix::fs::openat(&middle, "file", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o640));
    rustix::io::write(file.unwrap(), b"middle").unwrap();
    server.run(["snapshot", "/data", "s"]).done();

    let to = format!("local:{}", server.place.join("out").display());
    let limited = |more: &[&str]| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "ulimit -n 110; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_offshoot")]);
        command.args(["restore", "--snapshot", "s", "--destination", &to]).args(more);
        crate::fixture::Ran::of(command.current_dir(server.place.path()).env("NO_COLOR", "1"))
    };
    let told = limited(&["--json"]).done().json();
    assert_eq!((&told["directories"], &told["files"]), (&(DEPTH + 1).into(), &4.into()));
    let out = server.place.join("out");
    let (top, bottom) = (descend(&out, &name, 0, false), descend(&out, &name, DEPTH, false));
    let of = |at: &std::os::fd::OwnedFd, name: &str| {
        rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW).unwrap()
    };
    assert_eq!((of(&bottom, "second").st_ino, of(&top, "first").st_nlink), (of(&top, "first").st_ino, 2));
    assert_eq!(rustix::fs::readlinkat(&bottom, "link", Vec::new()).unwrap().to_bytes(), b"first");
    assert_eq!(rustix::fs::fstat(&bottom).unwrap().st_mode & 0o7777, 0o550);
    assert_eq!(of(&descend(&out, &name, DEPTH / 2, false), "file").st_size, 6);
    // What is replaced is as deep, and goes.
    let ran = limited(&["--replace", "--dry-run"]).done();
    assert!(ran.out.contains(&format!("(4 files, {} directories", DEPTH + 1)), "{ran:?}");
    limited(&["--replace"]).done();
    let hidden = std::fs::read_dir(server.place.path()).unwrap().map(|e| e.unwrap().file_name());
    assert_eq!(hidden.filter(|name| name.to_string_lossy().starts_with('.')).count(), 0);
}
