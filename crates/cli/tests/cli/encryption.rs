//! Encrypted pools on the command line: made, refused, and opened by other secrets.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use crate::fixture::{Place, Process, Ran, offshoot, said, start, wait_until};

fn settings(place: &Place, secret: &str) {
    let text = format!(
        "[storage]\nurl = \"file://{0}/data\"\n{secret}\n[control]\nsocket = \"{0}/x.sock\"\n",
        place.path().display()
    );
    std::fs::write(place.join("offshoot.toml"), text).unwrap();
}

fn password_file(place: &Place, password: &str) {
    std::fs::write(place.join("password"), format!("{password}\n")).unwrap();
    settings(place, &format!("encryption_password_file = \"{}/password\"", place.path().display()));
}

fn run(place: &Place, arguments: &[&str]) -> Ran {
    Ran::of(offshoot().current_dir(place.path()).args(["-c", "offshoot.toml"]).args(arguments))
}

fn serve(place: &Place) -> Process {
    let server = start(place, &["run", "-c", "offshoot.toml"]);
    wait_until("it serves", || said(place).contains("Serving file:").then_some(()));
    server
}

fn stop(mut server: Process) {
    server.signal(Signal::TERM);
    assert_eq!(server.ended(), 0);
}

fn holds(directory: &Path, word: &[u8]) -> bool {
    std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return holds(&path, word);
        }
        // The socket cannot be read.
        std::fs::read(&path).is_ok_and(|bytes| bytes.windows(word.len()).any(|window| window == word))
    })
}

#[test]
fn an_encrypted_pool_opens_with_its_password_alone_and_the_password_can_be_changed() {
    let place = Place::new();
    password_file(&place, "first secret");
    let server = serve(&place);
    assert!(said(&place).contains("It is encrypted") && said(&place).contains("nobody can read it again"));
    assert!(run(&place, &["status"]).done().out.contains(", encrypted)"));
    run(&place, &["snapshot", "/", "name-that-is-secret"]).done();
    let list = run(&place, &["pool", "key", "list", "--json"]).done().json();
    assert_eq!((&list["encrypted"], &list["slots"][0]["kind"]), (&json!(true), &json!("password")));

    // Through the server; the new password comes on the standard input.
    let mut child = offshoot()
        .current_dir(place.path())
        .args(["-c", "offshoot.toml", "pool", "password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"second secret\n").unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap()).done();
    assert!(ran.err.contains("the next start needs it"), "{ran:?}");
    stop(server);

    let words = ["does not open it", "Nothing was changed"];
    run(&place, &["run"]).failed(12, &words);
    run(&place, &["pool", "key", "list"]).failed(12, &words);
    settings(&place, "");
    run(&place, &["run"]).failed(12, &["is encrypted", "storage.encryption_password"]);

    // Where no server runs, the pool is opened for it.
    password_file(&place, "second secret");
    std::fs::write(place.join("key"), "ab".repeat(32)).unwrap();
    let ran = run(&place, &["pool", "key", "add", "--new-key-file", "key"]).done();
    assert!(ran.out.contains("password") && ran.out.contains("key"), "{ran:?}");
    run(&place, &["pool", "key", "rotate"]).failed(1, &["drop the others"]);
    settings(&place, &format!("encryption_key_file = \"{}/key\"", place.path().display()));
    let server = serve(&place);
    assert!(run(&place, &["ls", "/snapshots"]).done().out.contains("name-that-is-secret"));
    let list = run(&place, &["pool", "key", "rotate", "--drop-others", "--json"]).done().json();
    assert_eq!((&list["pool_keys"], list["slots"].as_array().unwrap().len()), (&json!(2), 1));
    run(&place, &["pool", "key", "remove", "99"]).failed(1, &["no key slot 99"]);
    assert!(run(&place, &["scrub"]).done().out.contains("Sound"));
    stop(server);
    password_file(&place, "second secret");
    run(&place, &["run"]).failed(12, &words);
    for word in ["name-that-is-secret", "second secret", "first secret"] {
        assert!(!holds(&place.join("data"), word.as_bytes()), "{word}");
        assert!(!said(&place).contains(word), "{word}");
    }
}

#[test]
fn a_password_for_a_pool_without_encryption_is_refused() {
    let place = Place::new();
    settings(&place, "");
    let server = serve(&place);
    assert!(said(&place).contains("NOT ENCRYPTED"));
    assert!(run(&place, &["status"]).done().out.contains("NOT ENCRYPTED"));
    assert!(run(&place, &["pool", "key", "list"]).done().out.contains("NOT encrypted"));
    std::fs::write(place.join("new"), "secret\n").unwrap();
    run(&place, &["pool", "key", "add", "--new-password-file", "new"]).failed(1, &["make a new pool"]);
    stop(server);
    password_file(&place, "secret");
    run(&place, &["run"]).failed(1, &["the pool is not encrypted", "take it out of the settings"]);
}

#[test]
fn a_secret_that_cannot_be_read_makes_no_pool() {
    let place = Place::new();
    settings(&place, "encryption_key_file = \"/nowhere/key\"");
    run(&place, &["run"]).failed(2, &["/nowhere/key"]);
    std::fs::write(place.join("key"), "too short").unwrap();
    settings(&place, &format!("encryption_key_file = \"{}/key\"", place.path().display()));
    run(&place, &["run"]).failed(2, &["32 random bytes"]);
    assert!(!place.join("data").exists());
}
