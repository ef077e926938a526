//! Where the log of a pool is, and what becomes of it when that is changed.

use rustix::process::Signal;
use serde_json::json;

use crate::fixture::{Place, Process, Ran, offshoot, said, start, wait_until};

fn up(place: &Place, durability: &str) -> Process {
    let server = start(place, &["up", "--no-mount", "--durability", durability]);
    wait_until("it serves", || said(place).contains("Ctrl-C").then_some(()));
    server
}

fn refused(place: &Place, durability: &str, words: &[&str]) {
    let ran =
        Ran::of(offshoot().current_dir(place.path()).args(["up", "--no-mount", "--durability", durability]));
    ran.failed(1, words);
}

fn run(place: &Place, arguments: &[&str]) -> Ran {
    Ran::of(offshoot().current_dir(place.path()).args(arguments))
}

fn stop(mut server: Process) {
    server.signal(Signal::TERM);
    assert_eq!(server.ended(), 0);
}

fn kill(mut server: Process) {
    server.signal(Signal::KILL);
    server.ended();
}

fn names(place: &Place) -> Vec<String> {
    let list = run(place, &["snapshot", "list", "--json"]).done().json();
    list["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_log_in_the_store_is_told_and_comes_back_after_a_kill() {
    let place = Place::new();
    let server = up(&place, "store");
    run(&place, &["snapshot", "/", "first"]).done();
    let status = run(&place, &["status"]).done().out;
    assert!(status.contains("everything is durable in the store"), "{status}");
    let json = run(&place, &["status", "--json"]).done().json();
    assert_eq!(json["pool"]["durability"], json!("store"));
    assert_eq!(
        (&json["pool"]["unsynced_operations"], &json["pool"]["unsynced_age_ms"]),
        (&json!(0), &json!(0))
    );
    assert!(place.join("offshoot-data/pool/log").is_dir());
    assert!(!place.join("offshoot-data/log").exists(), "no log beside the objects");
    kill(server);
    let server = up(&place, "store");
    assert_eq!(names(&place), ["first"]);
    run(&place, &["check"]).done();
    stop(server);
}

#[test]
fn durability_changes_with_a_clean_stop_only() {
    let place = Place::new();
    for (now, other, words) in [
        ("local", "store", ["on a disk of the machine", "stop that server cleanly"]),
        ("store", "local", ["among the objects", "stop that server cleanly"]),
    ] {
        let server = up(&place, now);
        run(&place, &["snapshot", "/", now]).done();
        kill(server);
        refused(&place, other, &words);
        // Nothing was changed by that.
        let server = up(&place, now);
        assert!(names(&place).contains(&now.to_owned()));
        stop(server);
        let server = up(&place, other);
        assert!(names(&place).contains(&now.to_owned()));
        stop(server);
    }
    assert_eq!(names_after_all(&place), ["local", "store"]);
}

fn names_after_all(place: &Place) -> Vec<String> {
    let server = up(place, "local");
    let mut names = names(place);
    names.sort();
    stop(server);
    names
}

#[test]
fn what_makes_no_sense_is_refused() {
    let place = Place::new();
    run(&place, &["up", "--durability", "bucket"]).failed(2, &["local", "store"]);
    std::fs::write(place.join("x.toml"), "[storage]\nurl = \"memory:\"\ndurability = \"store\"").unwrap();
    run(&place, &["run", "-c", "x.toml"]).failed(2, &["x.toml", "in memory"]);
}
