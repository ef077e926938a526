//! Which object names are legal: one rule for every store, so that a name that works in one works in all.

use crate::{Error, ErrorKind, Result};

/// Longest name, in bytes; S3 takes 1,024 for the key with the pool's own prefix.
const NAME_BYTES_MAX: usize = 512;
/// Longest component, in bytes: what a directory entry takes.
const COMPONENT_BYTES_MAX: usize = 255;

/// Refuses what is not a relative path of ASCII letters, digits, `-`, `.` and `/`, or has a component `.` or `..`.
pub(crate) fn check(name: &str) -> Result<()> {
    if is_legal(name) { Ok(()) } else { Err(refusal("object name", name)) }
}

/// The same for the beginning of a name, which may be empty or end anywhere.
pub(crate) fn check_prefix(prefix: &str) -> Result<()> {
    let (directory, last) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let directory_is_legal = if prefix.contains('/') { is_legal(directory) } else { true };
    if directory_is_legal && last.len() <= COMPONENT_BYTES_MAX && last.bytes().all(is_legal_byte) {
        Ok(())
    } else {
        Err(refusal("prefix of object names", prefix))
    }
}

/// True for a name that [`check`] accepts.
pub(crate) fn is_legal(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && name.split('/').all(is_legal_component)
}

fn is_legal_component(component: &str) -> bool {
    !matches!(component, "" | "." | "..")
        && component.len() <= COMPONENT_BYTES_MAX
        && component.bytes().all(is_legal_byte)
}

fn is_legal_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')
}

fn refusal(what: &str, name: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!(
            "{name:?} is no {what}: use a relative path of ASCII letters, digits, '-' and '.', without '.' and '..' \
             as components, of at most {NAME_BYTES_MAX} bytes"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_store_are_refused() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../b",
            "../a",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "a b",
            "a~b",
            "ü",
            "a\0b",
            "a\\b",
        ] {
            assert_eq!(check(bad).map_err(|e| e.kind()), Err(ErrorKind::Invalid), "{bad:?}");
        }
        assert!(check(&"a".repeat(256)).is_err());
        assert!(check(&"a/".repeat(256)).is_err());
        for good in ["a", "segments/00/00ff", "a.b-c", "..a", "A0/.b/c"] {
            assert!(check(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_prefix_may_end_anywhere() {
        for good in ["", "a", "a/", "a/b", "a/.", "."] {
            assert!(check_prefix(good).is_ok(), "{good:?}");
        }
        for bad in ["/", "/a", "../", "a/../b", "a//", "~put"] {
            assert!(check_prefix(bad).is_err(), "{bad:?}");
        }
    }
}
