//! Help, completion and manual pages of every command.

use crate::fixture::{Place, Ran, offshoot};

const COMMANDS: [&str; 24] = [
    "up",
    "init",
    "run",
    "mount",
    "umount",
    "clone",
    "fork",
    "snapshot",
    "restore",
    "diff",
    "du",
    "ls",
    "rm",
    "info",
    "pool",
    "status",
    "top",
    "gc",
    "check",
    "scrub",
    "doctor",
    "demo",
    "completion",
    "man",
];

fn run(arguments: &[&str]) -> Ran {
    Ran::of(offshoot().args(arguments))
}

#[test]
fn every_command_has_help() {
    let all = run(&["--help"]).done().out;
    for command in COMMANDS {
        assert!(
            all.lines().any(|line| line.trim_start().starts_with(command)),
            "{command} is missing in {all}"
        );
        let help = run(&[command, "--help"]).done().out;
        assert!(help.contains(&format!("Usage: offshoot {command}")), "{help}");
        let first = help.lines().next().unwrap();
        assert!(first.len() > 15 && !first.starts_with("Usage"), "{command} says what it does: {first}");
        assert!(help.contains("--json") && help.contains("--server"), "{help}");
    }
    for below in ["list", "release"] {
        assert!(run(&["fork", below, "--help"]).done().out.contains("Usage: offshoot fork"));
    }
    assert!(run(&["pool", "copy", "--help"]).done().out.contains("Usage: offshoot pool copy"));
    for below in ["list", "delete", "prune"] {
        assert!(run(&["snapshot", below, "--help"]).done().out.contains("Usage: offshoot snapshot"));
    }
    assert!(run(&["--version"]).done().out.starts_with("offshoot "));
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    run(&[]).failed(2, &["Usage"]);
    run(&["clnoe"]).failed(2, &["clone"]);
    run(&["clone", "--nonsense"]).failed(2, &["--nonsense"]);
    run(&["-q", "-v", "status"]).failed(2, &[]);
    run(&["snapshot"]).failed(2, &[]);
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let ran = run(&["--json", "--server", "unix:/nowhere.sock", "status"]);
    assert_eq!((ran.code, ran.out.as_str()), (10, ""));
    let error: serde_json::Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!((&error["version"], &error["error"]["kind"]), (&1.into(), &"no_pool".into()));
    assert!(error["error"]["advice"].is_string());
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let text = run(&["completion", shell]).done().out;
        for command in COMMANDS {
            assert!(text.contains(command), "{command} is missing for {shell}");
        }
    }
    let place = Place::new();
    let directory = place.join("man");
    Ran::of(offshoot().arg("man").arg(&directory)).done();
    for command in COMMANDS {
        let page = std::fs::read_to_string(directory.join(format!("offshoot-{command}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains(command), "{command}");
    }
    assert!(directory.join("offshoot.1").exists() && directory.join("offshoot-snapshot-prune.1").exists());
}
