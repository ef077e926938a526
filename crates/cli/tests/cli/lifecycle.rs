//! Starting, stopping, dying and coming back.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::fixture::{Place, Process, Ran, Server, offshoot, said, start, wait_until};

#[test]
fn up_makes_a_pool_serves_and_mounts_it_and_ends_cleanly() {
    let server = Server::up();
    server.write("data/file", "content");
    let told = wait_until("it says what to try", || {
        Some(said(&server.place)).filter(|told| told.contains("Ctrl-C"))
    });
    assert!(told.contains("new, NOT ENCRYPTED"), "{told}");
    assert_eq!(
        told.lines().filter(|line| line.starts_with("  ")).count(),
        3,
        "three commands to try: {told}"
    );

    let place = server.stop();
    assert!(!place.join("pool").exists(), "the mount point that it made is gone");
    assert!(!place.join("offshoot-data/control.sock").exists());

    let server = Server::up_in(place);
    assert_eq!(server.read("data/file"), "content");
    assert!(said(&server.place).contains("opened"));
}

#[test]
fn the_data_of_a_pool_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::up();
    for name in ["pool", "log"] {
        let mode =
            std::fs::metadata(server.place.join("offshoot-data").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}: {mode:o}");
    }
}

#[test]
fn a_pool_in_use_is_refused_with_the_process_that_has_it() {
    let server = Server::up();
    let pid = server.process.0.id().to_string();
    server.run(["up", "--mount", "other"]).failed(11, &["in use", &pid, "control.sock"]);
    assert!(!server.place.join("other").exists());
    server.run(["status"]).done();
}

/// A killed server did not end, and every program on its mount hung for ever: the thread that told the kernel of a clone waited
/// for the lock of the directory, which a program held that waited for the server to answer its fsync.
#[test]
fn a_server_ends_when_it_is_killed_while_it_tells_the_kernel_of_changes() {
    let mut place = Place::new();
    // Which thread waits when the kill comes is chance; more often than not it is that one.
    for round in 0..4 {
        let server = Server::up_in(place);
        let dir = server.pool().join(format!("dir-{round}"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::create_dir_all(server.pool().join("source")).unwrap();
        let Server { mut process, place: used } = server;
        std::thread::scope(|scope| {
            for program in 0..8 {
                let dir = &dir;
                scope.spawn(move || {
                    // The kernel now knows that there is no such name, so it is told when there is.
                    for number in 0.. {
                        let made = std::fs::write(dir.join(format!("file-{program}-{}", number % 50)), "x")
                            .and_then(|()| std::fs::File::open(dir)?.sync_all());
                        let _ = dir.join(format!("clone-{number}")).metadata();
                        if made.is_err() {
                            return;
                        }
                    }
                });
            }
            let clones = scope.spawn(|| {
                for number in 0.. {
                    let clone = format!("/dir-{round}/clone-{number}");
                    let mut command = offshoot();
                    command.current_dir(used.path()).args(["clone", "--no-sync", "/source", &clone]);
                    if Ran::of(&mut command).code != 0 {
                        return;
                    }
                }
            });
            std::thread::sleep(std::time::Duration::from_millis(700 + 50 * round));
            process.signal(Signal::KILL);
            process.ended();
            clones.join().unwrap();
        });
        place = used;
    }
    drop(Server::up_in(place));
}

#[test]
fn after_a_kill_the_mount_is_cleared_and_what_was_synced_is_there() {
    let server = Server::up();
    server.write("data/file", "synced");
    server.run(["clone", "/data", "/copy"]).done();
    let Server { mut process, place } = server;
    process.signal(Signal::KILL);
    process.ended();

    let dead = Ran::of(offshoot().current_dir(place.path()).args(["ls", "pool/data"]));
    dead.failed(10, &["whose server is gone", "offshoot up"]);
    let server = Server::up_in(place);
    let told = wait_until("it tells", || Some(said(&server.place)).filter(|told| told.contains("Ctrl-C")));
    assert!(told.contains("had died; its mount was cleared"), "{told}");
    assert_eq!(server.read("copy/file"), "synced");
}

#[test]
fn a_dead_mount_can_be_taken_away_without_a_server() {
    let Server { mut process, place } = Server::up();
    process.signal(Signal::KILL);
    process.ended();
    let ran = Ran::of(offshoot().current_dir(place.path()).args(["umount", "pool"])).done();
    assert!(ran.err.contains("Cleared the dead mount"), "{ran:?}");
    assert_eq!(std::fs::read_dir(place.join("pool")).unwrap().count(), 0);
}

#[test]
fn a_directory_with_other_things_in_it_is_no_pool() {
    let place = Place::new();
    std::fs::create_dir(place.join("home")).unwrap();
    std::fs::write(place.join("home/letter.txt"), "dear").unwrap();
    let ran = Ran::of(offshoot().current_dir(place.path()).args(["up", "--data", "home"]));
    ran.failed(10, &["is no pool", "letter.txt", "empty directory"]);
    assert_eq!(std::fs::read_dir(place.join("home")).unwrap().count(), 1);
}

#[test]
fn a_mount_point_that_is_not_empty_is_refused_and_nothing_is_left_running() {
    let place = Place::new();
    std::fs::create_dir(place.join("pool")).unwrap();
    std::fs::write(place.join("pool/mine"), "mine").unwrap();
    let ran = Ran::of(offshoot().current_dir(place.path()).arg("up"));
    ran.failed(1, &["cannot mount at", "not empty"]);
    assert!(!place.join("offshoot-data").exists(), "no pool was made");
    std::fs::write(place.join("file"), "").unwrap();
    for mount in ["file", "file/below"] {
        let ran = Ran::of(offshoot().current_dir(place.path()).args(["up", "--mount", mount]));
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(!place.join("offshoot-data").exists(), "no pool was made for {mount}");
    }
    assert_eq!(std::fs::read(place.join("pool/mine")).unwrap(), b"mine");
    let server = start(&place, &["up", "--no-mount"]);
    wait_until("it serves", || place.join("offshoot-data/control.sock").exists().then_some(()));
    drop(server);
}

#[test]
fn without_a_server_commands_say_where_they_looked() {
    let place = Place::new();
    let ran = Ran::of(offshoot().current_dir(place.path()).args(["clone", "/a", "/b"]));
    ran.failed(10, &["offshoot-data/control.sock", "/run/offshoot/control.sock", "offshoot up"]);
    let ran =
        Ran::of(offshoot().current_dir(place.path()).args(["--server", "unix:/nowhere/x.sock", "status"]));
    ran.failed(10, &["/nowhere/x.sock"]);
    let ran = Ran::of(offshoot().current_dir(place.path()).args(["--server", "nonsense", "status"]));
    ran.failed(2, &["unix:/path"]);
}

#[test]
fn a_server_without_a_mount_answers_all_the_same() {
    let place = Place::new();
    let mut server = start(&place, &["up", "--no-mount"]);
    wait_until("it serves", || said(&place).contains("Ctrl-C").then_some(()));
    let ran = Ran::of(offshoot().current_dir(place.path()).args(["snapshot", "/", "first"])).done();
    assert!(ran.err.contains("Snapshot first of /"), "{ran:?}");
    server.signal(Signal::TERM);
    assert_eq!(server.ended(), 0);
}

#[test]
fn run_serves_what_a_file_names_and_tells_the_service_manager() {
    let place = Place::new();
    std::fs::create_dir(place.join("mnt")).unwrap();
    let text = format!(
        "[storage]\nurl = \"file://{0}/data\"\n[control]\nsocket = \"{0}/run/x.sock\"\n[servers.fuse]\nmount_point = \"{0}/mnt\"\n",
        place.path().display()
    );
    std::fs::write(place.join("offshoot.toml"), text).unwrap();
    let manager = UnixDatagram::bind(place.join("notify")).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let child = offshoot()
        .current_dir(place.path())
        .args(["run", "-c", "offshoot.toml"])
        .env("NOTIFY_SOCKET", place.join("notify"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Process(child);
    let mut buffer = [0; 64];
    let length = manager.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"READY=1");

    std::fs::write(place.join("mnt/file"), "x").unwrap();
    let ran = Ran::of(offshoot().current_dir(place.path()).args(["-c", "offshoot.toml", "ls", "/"])).done();
    assert_eq!(ran.out, "file\n");
    server.signal(Signal::TERM);
    assert_eq!(server.ended(), 0);
    let length = manager.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"STOPPING=1");
    assert!(std::fs::read_dir(place.join("mnt")).unwrap().next().is_none());

    std::fs::remove_dir_all(place.join("data")).unwrap();
    let ran =
        Ran::of(offshoot().current_dir(place.path()).args(["run", "-c", "offshoot.toml", "--no-create"]));
    ran.failed(10, &["no pool in"]);
}

#[test]
fn a_pool_in_memory_is_gone_with_its_server() {
    let place = Place::new();
    let text =
        format!("[storage]\nurl = \"memory:\"\n[control]\nsocket = \"{}/x.sock\"\n", place.path().display());
    std::fs::write(place.join("offshoot.toml"), text).unwrap();
    let mut server = start(&place, &["run", "-c", "offshoot.toml"]);
    wait_until("it serves", || said(&place).contains("Serving memory:").then_some(()));
    Ran::of(offshoot().current_dir(place.path()).args(["-c", "offshoot.toml", "snapshot", "/", "s"])).done();
    server.signal(Signal::TERM);
    assert_eq!(server.ended(), 0);
    let names: Vec<_> =
        std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the settings and what the server said: {names:?}");
}

#[test]
fn more_mounts_come_and_go_and_a_busy_one_names_its_users() {
    let server = Server::up();
    server.write("file", "x");
    std::fs::create_dir(server.place.join("second")).unwrap();
    let ran = server.run(["mount", "second", "--read-only"]).done();
    assert!(ran.err.contains("Mounted at"), "{ran:?}");
    assert_eq!(std::fs::read(server.place.join("second/file")).unwrap(), b"x");
    assert!(std::fs::write(server.place.join("second/file"), "y").is_err());
    let status = server.run(["status", "--json"]).done().json();
    assert_eq!(status["mounts"].as_array().unwrap().len(), 2);
    assert_eq!(status["mounts"][1]["read_only"], true);

    server.run(["mount", "second"]).failed(1, &["cannot mount at", "mounted already"]);
    server.run(["mount", "missing"]).failed(1, &["does not exist"]);
    let inside = Command::new("sleep").arg("60").current_dir(server.place.join("second")).spawn().unwrap();
    let inside = Process(inside);
    let pid = format!("process {}", inside.0.id());
    server.run(["umount", "second"]).failed(1, &["in use", "sleep", &pid, "working directory", "--lazy"]);
    server.run(["umount", "--lazy", "second"]).done();
    assert!(std::fs::read_dir(server.place.join("second")).unwrap().next().is_none());
    drop(inside);
    server.run(["umount", "second"]).failed(1, &["holds no mount"]);
    assert_eq!(server.read("file"), "x");
}

#[test]
fn a_demo_leaves_nothing_behind() {
    let server = Server::up();
    let ran = server.run(["demo", "--auto", "--size", "2", "--json"]).done();
    let numbers = ran.json();
    assert_eq!((&numbers["same"], &numbers["bytes"]), (&true.into(), &2_000_000.into()));
    assert!(ran.err.contains(&server.pool().display().to_string()), "it plays in the mount: {ran:?}");
    assert_eq!(server.run(["ls", "/"]).done().out, "snapshots\n");
    assert_eq!(server.run(["ls", "/snapshots"]).done().out, "");

    let alone = Place::new();
    let ran = Ran::of(
        offshoot()
            .current_dir(alone.path())
            .env("TMPDIR", alone.path())
            .args(["demo", "--auto", "--size", "1"]),
    );
    let ran = ran.done();
    assert!(ran.err.contains("temporary") && ran.err.contains("every byte is the same"), "{ran:?}");
    assert_eq!(std::fs::read_dir(alone.path()).unwrap().count(), 0);
}

#[test]
fn a_doctor_tells_about_this_machine() {
    let place = Place::new();
    let ran = Ran::of(offshoot().current_dir(place.path()).args(["doctor", "--json"]));
    let report = ran.json();
    let what: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    for wanted in ["mounts", "kernel", "fusermount3", "other users", "memory", "space", "fsync"] {
        assert!(what.contains(&wanted), "{wanted} is missing in {what:?}");
    }
    assert_eq!(report["fit"].as_bool().unwrap(), ran.code == 0);
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "it leaves nothing");
    let ran = Ran::of(offshoot().args(["doctor", "--data", "/proc/self"]));
    ran.failed(1, &["something that is needed is not there"]);
}

#[test]
fn without_dev_fuse_the_server_works_and_says_what_to_do() {
    let place = Place::new();
    // In a mount namespace of its own, with a /dev that has no fuse in it.
    let script = "mkdir dev && mount -t tmpfs none dev && cp -a /dev/null /dev/urandom dev/ && mount --move dev /dev \
                  && exec \"$0\" up";
    let out = std::fs::File::create(place.join("server.out")).unwrap();
    let child = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_offshoot")])
        .current_dir(place.path())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    let mut server = Process(child);
    let told = wait_until("it serves", || Some(said(&place)).filter(|told| told.contains("Ctrl-C")));
    assert!(
        told.contains("Mount   not possible: there is no /dev/fuse") && told.contains("modprobe fuse"),
        "{told}"
    );
    let run = |arguments: &[&str]| Ran::of(offshoot().current_dir(place.path()).args(arguments));
    run(&["snapshot", "/", "s"]).done();
    std::fs::create_dir(place.join("here")).unwrap();
    run(&["mount", "here"]).failed(1, &["cannot mount at", "/dev/fuse does not exist"]);
    server.signal(Signal::INT);
    assert_eq!(server.ended(), 0);
}

#[test]
fn another_device_at_dev_fuse_is_found_out() {
    let place = Place::new();
    let script = "mkdir dev && mount -t tmpfs none dev && cp -a /dev/null /dev/urandom dev/ && mknod dev/fuse c 1 3 \
                  && mount --move dev /dev && exec \"$0\" up";
    let out = std::fs::File::create(place.join("server.out")).unwrap();
    let child = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_offshoot")])
        .current_dir(place.path())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    let mut server = Process(child);
    let told = wait_until("it serves", || Some(said(&place)).filter(|told| told.contains("Ctrl-C")));
    assert!(told.contains("Mount   not possible: /dev/fuse is something else"), "{told}");
    std::fs::create_dir(place.join("here")).unwrap();
    let run = |arguments: &[&str]| Ran::of(offshoot().current_dir(place.path()).args(arguments));
    run(&["mount", "here"]).failed(1, &["cannot mount at", "something else", "doctor"]);
    let pid = server.0.id().to_string();
    let doctor = ["--mount", "--target", &pid, env!("CARGO_BIN_EXE_offshoot"), "doctor"];
    let ran = Ran::of(other("nsenter").args(doctor).current_dir(place.path()));
    assert!(ran.out.contains("BAD") && ran.out.contains("mknod -m 666 /dev/fuse c 10 229"), "{ran:?}");
    server.signal(Signal::INT);
    assert_eq!(server.ended(), 0);
}

#[test]
fn a_start_that_cannot_succeed_makes_no_pool() {
    let place = Place::new();
    std::fs::write(place.join("token"), "a-token-of-more-than-24-characters").unwrap();
    std::fs::write(place.join("file"), "").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let try_with = |rest: &str| {
        let base = place.path().display();
        let text =
            format!("[storage]\nurl = \"file://{base}/data\"\n{}", rest.replace("BASE", &base.to_string()));
        std::fs::write(place.join("x.toml"), text).unwrap();
        let ran = Ran::of(offshoot().current_dir(place.path()).args(["run", "-c", "x.toml"]));
        assert!(!place.join("data").exists() && !place.join("run").exists(), "something was made: {ran:?}");
        ran
    };
    let control = "[control]\nsocket = \"BASE/run/x.sock\"\n";
    let addresses = |port: u16, token: &str| {
        format!("{control}addresses = [\"127.0.0.1:{port}\"]\ntoken_file = \"BASE/{token}\"\n")
    };
    try_with(&addresses(0, "nope")).failed(2, &["the token file", "nope"]);
    try_with(&addresses(port, "token")).failed(1, &["cannot listen at 127.0.0.1"]);
    try_with("[control]\nsocket = \"BASE/file/x.sock\"\n").failed(1, &["control socket", "file"]);
    let fuse = "[servers.fuse]\nmount_point = ";
    try_with(&format!("{control}{fuse}\"BASE/missing\"\n")).failed(1, &["cannot mount at", "does not exist"]);
    try_with(&format!("{control}{fuse}\"BASE/file\"\n")).failed(1, &["cannot mount at", "not a directory"]);
    try_with(&format!("{control}{fuse}\"BASE\"\n")).failed(1, &["cannot mount at", "not empty"]);
}

#[test]
fn an_end_by_ctrl_c_is_the_end_of_a_live_view() {
    let server = Server::up();
    let exit_of = |arguments: &[&str]| {
        let mut command = offshoot();
        command.current_dir(server.place.path()).args(arguments).stdout(Stdio::piped());
        let mut top = Process(command.spawn().unwrap());
        let mut first = [0];
        std::io::Read::read_exact(top.0.stdout.as_mut().unwrap(), &mut first).unwrap();
        top.signal(Signal::INT);
        top.ended()
    };
    assert_eq!(exit_of(&["top"]), 0);
    assert_eq!(exit_of(&["top", "--count", "1000"]), 130);
}

#[test]
fn a_closed_terminal_stops_the_server_cleanly() {
    let Server { mut process, place } = Server::up();
    process.signal(Signal::HUP);
    assert_eq!(process.ended(), 0);
    assert!(!place.join("pool").exists());
}

#[test]
fn an_interrupted_command_says_so_by_its_exit_code() {
    let place = Place::new();
    // A server that never answers.
    let listener = std::os::unix::net::UnixListener::bind(place.join("x.sock")).unwrap();
    let mut waiting = start(&place, &["--server", "unix:./x.sock", "status"]);
    let (mut connection, _) = listener.accept().unwrap();
    std::io::Read::read(&mut connection, &mut [0; 16]).unwrap();
    waiting.signal(Signal::INT);
    assert_eq!(waiting.ended(), 130);
}

#[test]
fn an_ordinary_user_has_a_server_and_a_mount_of_their_own() {
    assert!(rustix::process::geteuid().is_root(), "this test acts as another user, which needs root");
    let place = Place::new();
    std::fs::set_permissions(place.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    // The program itself may lie where this user cannot go.
    std::fs::copy(env!("CARGO_BIN_EXE_offshoot"), place.join("offshoot")).unwrap();
    std::fs::write(
        place.join("as-user"),
        "./offshoot up > server.out 2>&1 & server=$!\n\
         until mountpoint -q pool; do kill -0 $server || exit 7; sleep 0.05; done\n\
         set -e\n\
         mkdir pool/data && echo mine > pool/data/file\n\
         ./offshoot clone pool/data pool/copy && ./offshoot snapshot /data s && ./offshoot gc\n\
         cat pool/copy/file && stat -c %U pool pool/copy pool/snapshots\n\
         kill -INT $server && wait $server\n\
         ! mountpoint -q pool\n",
    )
    .unwrap();
    // With a /dev/fuse that is open to all, as it is on machines that people use.
    let script = "mkdir dev && mount -t tmpfs none dev && cp -a /dev/null /dev/urandom dev/ \
                  && mknod -m 666 dev/fuse c 10 229 && mount --move dev /dev \
                  && exec setpriv --reuid=nobody --regid=nogroup --clear-groups sh as-user";
    let ran = Ran::of(other("unshare").args(["--mount", "sh", "-c", script]).current_dir(place.path()));
    let ran = ran.done();
    assert!(ran.out.ends_with("mine\nnobody\nnobody\nnobody\n"), "{ran:?} {}", said(&place));
}

/// Another program, with nothing on its standard input.
fn other(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("OFFSHOOT_SERVER").stdin(Stdio::null());
    command
}

#[test]
fn a_full_pool_says_what_was_tried_and_what_to_do() {
    let place = Place::new();
    // Less than the reserve: it is full from the start.
    let text = format!(
        "[storage]\nurl = \"memory:\"\ncapacity_gb = 0.05\n[control]\nsocket = \"{}/x.sock\"\n",
        place.path().display()
    );
    std::fs::write(place.join("offshoot.toml"), text).unwrap();
    let _server = start(&place, &["run", "-c", "offshoot.toml"]);
    wait_until("it serves", || said(&place).contains("Serving memory:").then_some(()));
    let run = |arguments: &[&str]| {
        Ran::of(offshoot().current_dir(place.path()).args(["-c", "offshoot.toml"]).args(arguments))
    };
    let advice = "remove what is not needed, make room";
    run(&["snapshot", "/", "s"])
        .failed(1, &["cannot take the snapshot \"s\" of /: the pool is full\n", advice]);
    run(&["snapshot", "/"]).failed(1, &["cannot take a snapshot of /: the pool is full\n", advice]);
    run(&["clone", "/", "/copy"]).failed(1, &["cannot clone / to /copy: the pool is full\n", advice]);
}
