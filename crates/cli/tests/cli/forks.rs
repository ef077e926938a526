//! Forks and copies of whole pools, while a server has the parent and afterwards.

use rustix::process::Signal;

use crate::fixture::{Place, Process, Ran, offshoot, start, wait_until};

struct Served {
    process: Process,
    data: String,
}

impl Served {
    /// Serves the pool in `data` with the log among its objects.
    fn up(place: &Place, data: &str, durability: &str) -> Served {
        let process = start(place, &["up", "--no-mount", "--data", data, "--durability", durability]);
        let served = Served { process, data: data.to_owned() };
        wait_until("it serves", || (served.ran(place, &["status"]).code == 0).then_some(()));
        served
    }

    fn ran(&self, place: &Place, arguments: &[&str]) -> Ran {
        let socket = format!("unix:{}/{}/control.sock", place.path().display(), self.data);
        run(place, &[&["--server", &socket], arguments].concat())
    }

    fn snapshot(&self, place: &Place, name: &str) {
        self.ran(place, &["snapshot", "/", name]).done();
    }

    fn names(&self, place: &Place) -> Vec<String> {
        let list = self.ran(place, &["snapshot", "list", "--json"]).done().json();
        let names = list["snapshots"].as_array().unwrap().iter();
        names.map(|found| found["name"].as_str().unwrap().to_owned()).collect()
    }

    fn id(&self, place: &Place) -> String {
        let status = self.ran(place, &["status", "--json"]).done().json();
        status["pool"]["id"].as_str().unwrap().to_owned()
    }

    fn stop(mut self) {
        self.process.signal(Signal::TERM);
        assert_eq!(self.process.ended(), 0);
    }
}

fn run(place: &Place, arguments: &[&str]) -> Ran {
    Ran::of(offshoot().current_dir(place.path()).args(arguments))
}

#[test]
fn a_pool_in_use_is_forked_and_each_side_goes_its_own_way() {
    let place = Place::new();
    let parent = Served::up(&place, "parent", "store");
    parent.snapshot(&place, "shared");
    let said = run(&place, &["fork", "parent", "child"]).done();
    assert!(said.err.contains("is fork") && said.err.contains("offshoot up --data"), "{said:?}");
    run(&place, &["fork", "parent", "child"]).failed(1, &["child", "take an empty place"]);

    let child = Served::up(&place, "child", "store");
    assert_eq!(child.names(&place), ["shared"]);
    assert_ne!(child.id(&place), parent.id(&place));
    parent.snapshot(&place, "of-the-parent");
    child.snapshot(&place, "of-the-child");
    parent.ran(&place, &["gc"]).done();
    child.ran(&place, &["gc"]).done();
    assert_eq!(child.names(&place), ["shared", "of-the-child"]);
    assert_eq!(parent.names(&place), ["shared", "of-the-parent"]);
    for side in [&parent, &child] {
        side.ran(&place, &["check"]).done();
        side.ran(&place, &["scrub"]).done();
    }
    // A fork of the fork, whose server may have any other kind of log once it was closed.
    run(&place, &["fork", "child", "grandchild"]).done();
    let grandchild = Served::up(&place, "grandchild", "store");
    assert_eq!(grandchild.names(&place), ["shared", "of-the-child"]);
    grandchild.stop();
    let grandchild = Served::up(&place, "grandchild", "local");
    grandchild.ran(&place, &["scrub"]).done();
    grandchild.stop();

    let list = run(&place, &["fork", "list", "parent", "--json"]).done().json();
    assert_eq!(list["forks"].as_array().unwrap().len(), 1);
    assert!(list["forks"][0]["location"].as_str().unwrap().ends_with("/child"), "{list}");
    let number = list["forks"][0]["number"].as_str().unwrap();
    assert!(run(&place, &["fork", "list", "parent"]).done().out.contains(number));
    child.stop();
    run(&place, &["fork", "release", "child", "--dry-run"]).done();
    run(&place, &["fork", "release", "parent", number]).done();
    run(&place, &["fork", "release", "parent", number]).failed(1, &["keeps nothing for a fork"]);
    assert_eq!(run(&place, &["fork", "list", "parent"]).done().out, "No forks\n");
    // It says so, instead of failing at the first read.
    run(&place, &["up", "--no-mount", "--data", "child", "--durability", "store"])
        .failed(10, &["is a fork of", "let go"]);
    parent.stop();
}

#[test]
fn a_pool_in_use_is_copied_whole() {
    let place = Place::new();
    let source = Served::up(&place, "source", "store");
    source.snapshot(&place, "copied");
    let copied = run(&place, &["pool", "copy", "source", "copy", "--json"]).done().json();
    assert!(copied["objects"].as_u64().unwrap() > 0 && copied["bytes"].as_u64().unwrap() > 0, "{copied}");
    run(&place, &["pool", "copy", "source", "copy"]).failed(1, &["take an empty place", "another prefix"]);
    source.snapshot(&place, "later");
    assert_eq!(run(&place, &["fork", "list", "source"]).done().out, "No forks\n");
    let copy = Served::up(&place, "copy", "store");
    assert_eq!(copy.names(&place), ["copied"]);
    assert_ne!(copy.id(&place), source.id(&place));
    copy.ran(&place, &["scrub"]).done();
    copy.stop();
    source.stop();
}

#[test]
fn of_a_pool_whose_log_is_on_a_disk_the_last_checkpoint_is_copied_and_forked() {
    let place = Place::new();
    let source = Served::up(&place, "source", "local");
    source.snapshot(&place, "first");
    source.ran(&place, &["gc"]).done();
    run(&place, &["fork", "source", "fork"]).done();
    run(&place, &["pool", "copy", "source", "copy"]).done();
    source.snapshot(&place, "second");
    for (name, durability) in [("fork", "store"), ("copy", "local")] {
        let made = Served::up(&place, name, durability);
        assert_eq!(made.names(&place), ["first"]);
        made.ran(&place, &["scrub"]).done();
        made.stop();
    }
    source.stop();
}

#[test]
fn what_cannot_be_forked_or_copied_is_told() {
    let place = Place::new();
    run(&place, &["fork", "nothing", "child"]).failed(10, &["there is no pool at file://"]);
    assert!(!place.join("child").exists());
    run(&place, &["pool", "copy", "nothing", "child"]).failed(10, &["there is no pool"]);
    run(&place, &["fork", "nothing"]).failed(2, &["NEW_URL"]);
    run(&place, &["fork", "ftp://x", "child"]).failed(2, &["s3://"]);
    run(&place, &["fork", "x", "x"]).failed(2, &["to where it is"]);
    run(&place, &["fork", "x", "s3://bucket/x"]).failed(2, &["on this machine", "pool copy"]);
    run(&place, &["fork", "release", "x", "xyz"]).failed(2, &["hexadecimal"]);
    run(&place, &["fork", "release", "x"]).failed(2, &["is no fork"]);
}
