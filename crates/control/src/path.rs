//! [`PoolPath`]: an absolute path in a pool, in one spelling.
//!
//! A path is bytes, as everywhere on Linux. `.` and empty components are dropped, `..` goes up by the words of the path
//! (symbolic links in a pool are never followed here) and may not leave the pool.

use std::fmt;

/// An absolute path without `.`, `..`, empty components and a trailing slash; the root is `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolPath(Vec<u8>);

/// Why bytes are no path in a pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not start with a slash.
    #[error("{0:?} is not a path in the pool: those start with /")]
    Relative(String),
    /// It has more `..` than components before them.
    #[error("{0:?} leaves the pool")]
    Leaves(String),
    /// A component is longer than 255 bytes.
    #[error("a name in {0:?} is longer than 255 bytes")]
    NameTooLong(String),
    /// It contains a zero byte.
    #[error("{0:?} contains a zero byte")]
    Zero(String),
}

impl PoolPath {
    /// The root directory.
    pub fn root() -> Self {
        Self(b"/".to_vec())
    }

    /// Reads an absolute path.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if !bytes.starts_with(b"/") {
            return Err(PathError::Relative(text(bytes)));
        }
        Self::root().join(&bytes[1..]).map_err(|error| match error {
            PathError::Leaves(_) => PathError::Leaves(text(bytes)),
            other => other,
        })
    }

    /// This path with a relative one below it. The result stays below the root, not below this path.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn join(&self, relative: &[u8]) -> Result<Self, PathError> {
        if relative.contains(&0) {
            return Err(PathError::Zero(text(relative)));
        }
        let mut parts: Vec<&[u8]> = self.components().collect();
        for part in relative.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop().ok_or_else(|| PathError::Leaves(text(relative)))?;
                }
                name if name.len() > 255 => return Err(PathError::NameTooLong(text(relative))),
                name => parts.push(name),
            }
        }
        let mut bytes = Vec::new();
        for part in parts {
            bytes.push(b'/');
            bytes.extend_from_slice(part);
        }
        Ok(if bytes.is_empty() { Self::root() } else { Self(bytes) })
    }

    /// The bytes, starting with `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The names on the way from the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// True for `/`.
    pub fn is_root(&self) -> bool {
        self.0 == b"/"
    }

    /// The directory above and the last name; `None` for the root.
    pub fn split(&self) -> Option<(Self, &[u8])> {
        let slash = self.0.iter().rposition(|byte| *byte == b'/')?;
        let (parent, name) = (&self.0[..slash], &self.0[slash + 1..]);
        if name.is_empty() {
            return None;
        }
        Some((if parent.is_empty() { Self::root() } else { Self(parent.to_vec()) }, name))
    }

    /// The part of this path below `base`, without a leading slash; empty if they are the same, `None` if it lies elsewhere.
    pub fn below(&self, base: &Self) -> Option<&[u8]> {
        if base.is_root() {
            return Some(&self.0[1..]);
        }
        let rest = self.0.strip_prefix(base.0.as_slice())?;
        match rest.first() {
            None => Some(rest),
            Some(b'/') => Some(&rest[1..]),
            Some(_) => None,
        }
    }
}

impl fmt::Display for PoolPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(&self.0))
    }
}

impl fmt::Debug for PoolPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes of a name for a person: control characters and bytes that are no UTF-8 become visible behind a backslash, a backslash
/// itself is doubled, all else stays. So two names that differ look different.
pub fn text(bytes: &[u8]) -> String {
    let mut result = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' || character.is_control() {
                result.extend(character.escape_default());
            } else {
                result.push(character);
            }
        }
        for byte in chunk.invalid() {
            result.push_str(&format!("\\x{byte:02x}"));
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(words: &str) -> PoolPath {
        PoolPath::parse(words.as_bytes()).unwrap()
    }

    #[test]
    fn there_is_one_spelling() {
        assert_eq!(path("//a/./b//c/"), path("/a/b/c"));
        assert_eq!(path("/a/../b"), path("/b"));
        assert_eq!(path("/.").to_string(), "/");
        assert_eq!(path("/a").join(b"b/../../c").unwrap(), path("/c"));
    }

    #[test]
    fn what_leaves_the_pool_is_refused() {
        assert_eq!(PoolPath::parse(b"/a/../../b"), Err(PathError::Leaves("/a/../../b".into())));
        assert_eq!(PoolPath::parse(b"a"), Err(PathError::Relative("a".into())));
        assert_eq!(PoolPath::parse(b""), Err(PathError::Relative(String::new())));
        assert!(matches!(PoolPath::parse(b"/a\0b"), Err(PathError::Zero(_))));
        assert!(matches!(
            PoolPath::parse(&[&b"/"[..], &[b'n'; 256]].concat()),
            Err(PathError::NameTooLong(_))
        ));
        assert!(PoolPath::parse(&[&b"/"[..], &[b'n'; 255]].concat()).is_ok());
    }

    #[test]
    fn a_path_splits_and_compares_by_whole_names() {
        assert_eq!(path("/a/b").split(), Some((path("/a"), &b"b"[..])));
        assert_eq!(path("/a").split(), Some((PoolPath::root(), &b"a"[..])));
        assert_eq!(PoolPath::root().split(), None);
        assert_eq!(path("/a/b").below(&path("/a")), Some(&b"b"[..]));
        assert_eq!(path("/ab").below(&path("/a")), None);
        assert_eq!(path("/a").below(&path("/a")), Some(&b""[..]));
        assert_eq!(path("/a").below(&PoolPath::root()), Some(&b"a"[..]));
    }

    #[test]
    fn strange_bytes_become_visible() {
        assert_eq!(text(b"a\xff\nb\xc3\xa9"), "a\\xff\\nb\u{e9}");
        assert_eq!(text(b"a\\nb"), "a\\\\nb", "two names that differ look different");
    }
}
