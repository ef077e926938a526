//! Clone and remove.

use std::os::unix::fs::MetadataExt;

use crate::fixture::{Ran, Server, offshoot};

#[test]
fn a_clone_and_its_original_do_not_see_each_others_changes() {
    let server = Server::up();
    server.write("data/a", "one");
    server.write("data/sub/b", "two");
    let ran = server.run(["clone", "/data", "/copy"]).done();
    assert!(ran.err.starts_with("Cloned /data to /copy in ") && ran.out.is_empty(), "{ran:?}");
    server.write("data/a", "changed");
    server.write("copy/sub/b", "changed too");
    assert_eq!((server.read("copy/a").as_str(), server.read("data/sub/b").as_str()), ("one", "two"));

    server.run(["clone", "--source", "/data/a", "--destination", "/file"]).done();
    assert_eq!(server.read("file"), "changed");
    assert_ne!(
        std::fs::metadata(server.pool().join("file")).unwrap().ino(),
        std::fs::metadata(server.pool().join("data/a")).unwrap().ino()
    );
}

#[test]
fn a_clone_holds_what_was_written_to_open_files_just_before() {
    use std::io::Write;
    let server = Server::up();
    server.write("data/keep", "");
    let mut file = std::fs::File::create(server.pool().join("data/open")).unwrap();
    for round in 0..20u32 {
        file.write_all(&[round as u8; 5000]).unwrap();
        let copy = format!("/copy-{round}");
        server.run(["clone", "--no-sync", "/data", &copy]).done();
        let length = std::fs::metadata(server.pool().join(&copy[1..]).join("open")).unwrap().len();
        assert_eq!(length, 5000 * (u64::from(round) + 1));
    }
}

#[test]
fn paths_below_a_mount_mean_the_same() {
    let server = Server::up();
    server.write("data/a", "x");
    server.run(["clone", "pool/data", "./pool/one"]).done();
    let absolute = server.pool().join("two");
    server.run(["clone".as_ref(), "/data".as_ref(), absolute.as_os_str()]).done();
    let inside = offshoot().current_dir(server.pool().join("data")).args(["clone", "a", "../three"]).output();
    Ran::from(inside.unwrap()).done();
    assert_eq!(
        (server.read("one/a"), server.read("two/a"), server.read("three")),
        ("x".into(), "x".into(), "x".into())
    );
    std::os::unix::fs::symlink(server.pool(), server.place.join("link")).unwrap();
    server.run(["clone", "link/data", "/four"]).done();
}

#[test]
fn a_destination_that_exists_is_only_replaced_if_asked() {
    let server = Server::up();
    server.write("data/a", "new");
    server.write("old/b", "old");
    server
        .run(["clone", "/data", "/old"])
        .failed(1, &["cannot clone /data to /old", "exists already", "--replace"]);
    assert_eq!(server.read("old/b"), "old");
    server.run(["clone", "/data", "/old", "--replace"]).done();
    assert_eq!(server.read("old/a"), "new");
    assert!(!server.pool().join("old/b").exists());
    server.run(["clone", "/data", "/"]).failed(1, &["root of the pool"]);
}

#[test]
fn parents_are_made_only_if_asked() {
    let server = Server::up();
    server.write("data/a", "x");
    server.run(["clone", "/data", "/x/y/z"]).failed(1, &["does not exist", "--parents"]);
    assert!(!server.pool().join("x").exists());
    server.run(["clone", "/data", "/x/y/z", "--parents"]).done();
    assert_eq!(server.read("x/y/z/a"), "x");
}

#[test]
fn a_missing_source_is_named() {
    let server = Server::up();
    server
        .run(["clone", "/nothing", "/copy"])
        .failed(1, &["cannot clone /nothing to /copy", "/nothing does not exist"]);
    server.run(["clone", "/proc/self", "/copy"]).failed(1, &["/proc/self exists on this machine"]);
}

#[test]
fn paths_that_cannot_be_meant_are_refused() {
    let server = Server::up();
    server.run(["clone", "/../etc", "/copy"]).failed(2, &["leaves the pool"]);
    server.run(["clone", "data", "/copy"]).failed(2, &["below no mount", "write /data"]);
    server.run(["clone", "local:/etc", "/copy"]).failed(2, &["outside the pool", "cp"]);
    let ran = server.run(["rm", "-r", "."]);
    assert!(!ran.err.contains("write /"), "the whole pool is not what was meant: {ran:?}");
    ran.failed(2, &["below no mount", "as in /data/x"]);
    server.run(["clone", "/a"]).failed(2, &[]);
    server.run(["clone", "/a", "/b", "--source", "/c"]).failed(2, &[]);
    let long = format!("/{}", "n".repeat(256));
    server.run(["clone", "/", &long]).failed(2, &["longer than 255"]);
}

#[test]
fn a_clone_can_lie_in_its_original_and_everything_can_be_cloned() {
    let server = Server::up();
    server.write("data/a", "x");
    server.run(["clone", "/data", "/data/inner"]).done();
    assert_eq!(server.read("data/inner/a"), "x");
    assert!(!server.pool().join("data/inner/inner").exists());
    server.run(["clone", "/", "/all"]).done();
    assert_eq!(server.read("all/data/inner/a"), "x");
}

#[test]
fn a_read_only_clone_refuses_every_change() {
    let server = Server::up();
    server.write("data/a", "x");
    server.run(["clone", "--read-only", "/data", "/fixed"]).done();
    let error = std::fs::write(server.pool().join("fixed/a"), "y").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    server.run(["clone", "/data", "/fixed/b"]).failed(1, &["read-only"]);
    server.run(["rm", "/fixed/a"]).failed(1, &["read-only"]);
    server.run(["rm", "-r", "/fixed"]).done();
    assert!(!server.pool().join("fixed").exists());
}

#[test]
fn rm_removes_what_it_is_told_and_asks_for_a_flag_for_trees() {
    let server = Server::up();
    server.write("data/a", "x");
    server.write("file", "x");
    server.run(["rm", "/data"]).failed(1, &["cannot remove /data", "-r"]);
    let ran = server.run(["rm", "-r", "--dry-run", "/data"]).done();
    assert!(ran.out.contains("Would remove /data (1 file, 1 directory"), "{ran:?}");
    server.run(["rm", "--dry-run", "/data"]).failed(1, &["-r"]);
    assert!(server.pool().join("data/a").exists());
    let removed = server.run(["rm", "-r", "--json", "/data", "/file"]).done().json();
    assert_eq!(removed["paths"], serde_json::json!(["/data", "/file"]));
    assert!(std::fs::read_dir(server.pool()).unwrap().next().is_none());
    server.run(["rm", "/file"]).failed(1, &["/file does not exist"]);
    server.run(["rm", "-f", "/file"]).done();
    server.run(["rm", "-r", "/"]).failed(1, &["root of the pool"]);
}

#[test]
fn rm_goes_on_where_one_path_fails_and_tells_of_both() {
    let server = Server::up();
    for name in ["a", "b", "c"] {
        server.write(name, "x");
    }
    let ran = server.run(["rm", "/a", "/nope", "/b", "/neither"]);
    assert!(ran.err.contains("Removed /a\nRemoved /b\n"), "{ran:?}");
    ran.failed(1, &["cannot remove /nope: /nope does not exist", "/neither does not exist"]);
    assert!(!server.pool().join("a").exists() && !server.pool().join("b").exists());
    let ran = server.run(["rm", "--json", "/nope", "/c"]);
    let report = ran.json();
    assert_eq!(report["paths"], serde_json::json!(["/c"]));
    assert_eq!(
        (&report["failed"][0]["path"], &report["failed"][0]["kind"]),
        (&"/nope".into(), &"not_found".into())
    );
    assert_eq!(ran.code, 1, "{ran:?}");
}

#[test]
fn quiet_commands_say_nothing_and_data_goes_to_stdout_alone() {
    let server = Server::up();
    server.write("data/a", "x");
    std::fs::create_dir(server.place.join("second")).unwrap();
    for command in [
        &["clone", "/data", "/copy"][..],
        &["snapshot", "/data", "s"],
        &["restore", "--snapshot", "s", "--destination", "/back"],
        &["mount", "second"],
        &["umount", "second"],
        &["gc"],
        &["snapshot", "delete", "s"],
        &["rm", "-r", "/back"],
    ] {
        let ran = server.run([&["-q"], command].concat()).done();
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""), "{command:?}");
    }
    let ran = server.run(["-q", "rm", "-r", "--dry-run", "/copy"]).done();
    assert!(ran.out.starts_with("Would remove /copy"), "{ran:?}");
    assert_eq!(server.run(["-q", "ls", "/"]).done().out, "copy\ndata\nsnapshots\n");
}

#[test]
fn verbose_commands_tell_whom_they_ask_and_what() {
    let server = Server::up();
    server.write("data/a", "x");
    let ran = server.run(["-v", "clone", "/data", "/one"]).done();
    assert!(ran.err.contains("control.sock") && !ran.err.contains("/api/v1/clone"), "{ran:?}");
    let ran = server.run(["-vv", "clone", "/data", "/two"]).done();
    assert!(ran.err.contains("POST /api/v1/clone") && ran.err.contains("200"), "{ran:?}");
}

#[test]
fn a_dry_run_of_a_replacement_tells_what_would_go() {
    let server = Server::up();
    server.write("data/a", "new");
    let noise: Vec<u8> = (0..50_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    server.write("old/b", noise);
    server.write("old/sub/c", "c");
    let ran = server.run(["clone", "--dry-run", "--replace", "/data", "/old"]).done();
    assert!(
        ran.out.contains("Would clone /data to /old\nWould replace /old (2 files, 2 directories"),
        "{ran:?}"
    );
    let told = server.run(["clone", "--dry-run", "--replace", "/data", "/old", "--json"]).done().json();
    assert_eq!((&told["dry_run"], &told["replaced"]["files"]), (&true.into(), &2.into()));
    assert!(told["replaced"]["usage"]["exclusive_bytes"].as_u64().unwrap() > 100_000, "{told}");
    assert!(server.pool().join("old/b").exists(), "nothing was done");
    let fresh = server.run(["clone", "--dry-run", "/data", "/fresh", "--json"]).done().json();
    assert!(fresh["replaced"].is_null() && !server.pool().join("fresh").exists());
    let dry = |arguments: &[&str]| server.run([&["clone", "--dry-run"], arguments].concat());
    dry(&["/data", "/old"]).failed(1, &["/old exists already", "--replace"]);
    dry(&["/data", "/x/y"]).failed(1, &["/x does not exist", "--parents"]);
    dry(&["/data", "/x/y", "--parents"]).done();
    dry(&["/no", "/y"]).failed(1, &["/no does not exist"]);
    dry(&["/old/sub", "/old", "--replace"]).failed(1, &["lies in what would be replaced"]);
    dry(&["/data", "/"]).failed(1, &["root of the pool"]);
}

#[test]
fn a_path_below_another_pools_mount_does_not_reach_the_wrong_server() {
    let (one, other) = (Server::up(), Server::up());
    one.write("data/a", "one");
    other.write("data/a", "other");
    let path = one.pool().join("data");
    let ran = Ran::of(offshoot().arg("--server").arg(other.socket()).arg("clone").arg(&path).arg("/copy"));
    ran.failed(10, &["lies below a mount of", "--server"]);
    let elsewhere = other.pool().join("copy");
    other.run(["clone".as_ref(), path.as_os_str(), elsewhere.as_os_str()]).failed(2, &["two pools", "cp -a"]);
    // Without --server the mount itself leads to its server, wherever this runs.
    other.run(["clone".as_ref(), path.as_os_str(), "/copy".as_ref()]).done();
    assert_eq!(one.read("copy/a"), "one");
    assert!(!other.pool().join("copy").exists());
}

#[test]
fn strange_names_are_names() {
    use std::os::unix::ffi::OsStrExt;
    let server = Server::up();
    let name = std::ffi::OsStr::from_bytes(b"\xff \n%2f");
    std::fs::write(server.pool().join(name), "x").unwrap();
    let path = server.pool().join(name);
    server.run(["clone".as_ref(), path.as_os_str(), "/copy".as_ref()]).done();
    assert_eq!(server.read("copy"), "x");
    let ran = server.run(["ls", "/"]).done();
    assert_eq!(ran.out, "copy\n\\xff \\n%2f\n");
    std::fs::write(server.pool().join("a\\n"), "x").unwrap();
    let ran = server.run(["ls", "/"]).done();
    assert_eq!(ran.out, "a\\\\n\ncopy\n\\xff \\n%2f\n", "a backslash is no newline");
    let listed = server.run(["ls", "/", "--json"]).done().json();
    assert_eq!(listed["entries"][2]["name"]["hex"], "ff200a253266");
}
