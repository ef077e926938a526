//! Settings files as users meet them.

use crate::fixture::{Place, Ran, offshoot};

fn run_with(text: &str) -> Ran {
    let place = Place::new();
    std::fs::write(place.join("x.toml"), text).unwrap();
    Ran::of(offshoot().current_dir(place.path()).args(["run", "-c", "x.toml"]))
}

#[test]
fn what_is_wrong_with_settings_is_said_before_anything_starts() {
    run_with("[storage]\nulr = \"memory:\"")
        .failed(2, &["x.toml", "`storage.ulr`", "did you mean `storage.url`"]);
    run_with("[storage]\nurl = \"s3:///x\"").failed(2, &["s3:///x", "it has no bucket"]);
    run_with("[aws]\nregoin = \"x\"").failed(2, &["[aws] has no option `regoin`"]);
    run_with("[servers.nfs]\naddresses = [\"127.0.0.1:2049\"]").failed(2, &["NFS", "not available"]);
    run_with("[storage\n").failed(2, &["x.toml is no valid TOML"]);
    run_with("[storage]\nurl = \"file://${NO_SUCH_VARIABLE}\"").failed(2, &["NO_SUCH_VARIABLE", "not set"]);
    run_with("[control]\naddresses = [\"127.0.0.1:1\"]").failed(2, &["token_file"]);
    let missing = Ran::of(offshoot().args(["run", "-c", "/no/such/file.toml"]));
    missing.failed(2, &["/no/such/file.toml cannot be read"]);
    Ran::of(offshoot().arg("run")).failed(2, &["needs a settings file", "offshoot init"]);
    Ran::of(offshoot().args(["up", "-c", "x.toml"])).failed(2, &["takes no settings file"]);
}

#[test]
fn init_writes_a_file_once() {
    let place = Place::new();
    let init = |arguments: &[&str]| Ran::of(offshoot().current_dir(place.path()).arg("init").args(arguments));
    init(&[]).done();
    let written = std::fs::read_to_string(place.join("offshoot.toml")).unwrap();
    assert_eq!(init(&["-"]).done().out, written);
    std::fs::write(place.join("offshoot.toml"), "mine").unwrap();
    init(&[]).failed(1, &["exists already", "--force"]);
    assert_eq!(std::fs::read_to_string(place.join("offshoot.toml")).unwrap(), "mine");
    init(&["--force"]).done();
    assert_eq!(std::fs::read_to_string(place.join("offshoot.toml")).unwrap(), written);
    init(&["no/such/directory/x.toml"]).failed(1, &["cannot write no/such/directory/x.toml"]);
}
