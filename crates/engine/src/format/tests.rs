//! The promise of the format, in bytes.

use std::fmt::Write as _;
use std::path::Path;

use super::{VERSION, VERSION_MIN, check_version, samples};
use crate::ErrorKind;

/// Everything that is stored as text: a line for each sample.
fn encodings() -> String {
    let mut text = String::new();
    for (name, bytes) in samples::all() {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{name}: {hex}").unwrap();
    }
    text
}

/// What is encoded today is what was encoded when the format got its version. If this fails, the change of the code has changed
/// the format: see the rules at the end of `docs/format.md`. `OFFSHOOT_GOLDEN=1` writes the file of an unreleased version anew.
#[test]
fn what_is_stored_is_what_the_version_promises() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/v{VERSION}/encodings.txt"));
    let now = encodings();
    if std::env::var_os("OFFSHOOT_GOLDEN").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let promised = std::fs::read_to_string(&path).unwrap_or_default();
    for (now, promised) in now.lines().zip(promised.lines()) {
        assert_eq!(
            now, promised,
            "the format has changed and its version {VERSION} has not: see docs/format.md"
        );
    }
    assert_eq!(
        now.lines().count(),
        promised.lines().count(),
        "a kind of record came or went; see docs/format.md"
    );
}

/// The samples are worth something only if they have every tag, tree and form.
#[test]
fn the_samples_have_everything() {
    let all = samples::all();
    let tags: std::collections::BTreeSet<u8> =
        all.iter().filter(|(name, _)| name.starts_with("record")).map(|(_, bytes)| bytes[0]).collect();
    assert_eq!(tags, [1, 2].into_iter().chain(16..=35).collect());
    let trees: std::collections::BTreeSet<[u8; 2]> = all
        .iter()
        .filter(|(name, _)| name.starts_with("node"))
        .map(|(_, bytes)| [bytes[0], bytes[1]])
        .collect();
    assert_eq!(trees.len(), 12, "six trees, leaves and branches");
}

#[test]
fn versions_from_the_oldest_to_the_newest_are_read() {
    for version in VERSION_MIN..=VERSION {
        assert!(check_version(version, VERSION, "it").is_ok());
        assert!(check_version(version, VERSION + 1, "it").is_ok(), "an upgrade reads what is older");
    }
    let newer = check_version(VERSION + 1, VERSION, "manifests/1").unwrap_err();
    assert_eq!(newer.kind(), ErrorKind::NewerFormat);
    assert!(newer.to_string().contains("manifests/1") && newer.to_string().contains("Nothing was changed"));
    assert_eq!(check_version(VERSION_MIN - 1, VERSION, "it").unwrap_err().kind(), ErrorKind::Corrupt);
}
