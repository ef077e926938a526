//! Paths inside the pool: absolute, bytes, `/`-separated. `.`, `..` and empty components are refused rather than interpreted, and
//! symbolic links are not followed: a path names exactly one place, whatever the tree holds.

use offshoot_engine::{Attributes, Ino, Kind, Pool};

use crate::error::{Code, Error, Result};
use crate::permission::{Caller, EXECUTE};
use crate::vfs::Vfs;

/// Longest name, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 255;

/// An inode that was found by its path; its number stays known until this is dropped.
pub struct Reference {
    pool: Pool,
    attributes: Attributes,
}

impl Reference {
    /// Takes over the reference that a call of the pool counted.
    pub(crate) fn adopt(pool: &Pool, attributes: Attributes) -> Reference {
        Reference { pool: Clone::clone(pool), attributes }
    }

    /// Its number.
    pub fn ino(&self) -> Ino {
        self.attributes.ino
    }

    /// Its attributes when it was found.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        if self.attributes.ino != Ino::ROOT {
            self.pool.forget(self.attributes.ino, 1);
        }
    }
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reference").field("attributes", &self.attributes).finish_non_exhaustive()
    }
}

/// Splits a path; the root has no component.
pub(crate) fn components(path: &[u8]) -> Result<Vec<&[u8]>> {
    let refused = |why: &str| {
        let path = String::from_utf8_lossy(path);
        Err(Error::new(Code::Invalid, format!("path {path:?} {why}")))
    };
    let Some(relative) = path.strip_prefix(b"/") else {
        return refused("does not start with '/'");
    };
    if relative.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&[u8]> = relative.split(|byte| *byte == b'/').collect();
    for name in &names {
        match *name {
            b"" => return refused("has an empty component"),
            b"." | b".." => return refused("has '.' or '..' in it; give the place itself"),
            name => check_name(name)?,
        }
    }
    Ok(names)
}

/// Whether a name may stand in a directory.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > NAME_BYTES_MAX {
        return Err(Error::new(Code::NameTooLong, "a name is longer than 255 bytes"));
    }
    match name {
        b"" => Err(Error::new(Code::NoEntry, "a name is empty")),
        b"." | b".." => Err(Error::new(Code::Invalid, "'.' and '..' cannot be named here")),
        _ if name.iter().any(|byte| matches!(byte, b'/' | 0)) => {
            Err(Error::new(Code::Invalid, "a name contains '/' or NUL"))
        }
        _ => Ok(()),
    }
}

impl Vfs {
    /// Finds the inode at `path`. No permission is asked for.
    ///
    /// # Errors
    /// `Invalid` for what is no path, `NoEntry` and `NotDirectory` with the path in the message, and those of the store.
    pub async fn resolve(&self, path: &[u8]) -> Result<Reference> {
        self.resolve_for(&Caller::root(), path).await
    }

    /// Finds the directory that contains, or would contain, `path`, and gives the last name.
    ///
    /// # Errors
    /// As [`Vfs::resolve`]; `Invalid` for the root, which has no name.
    pub async fn resolve_parent(&self, path: &[u8]) -> Result<(Reference, Vec<u8>)> {
        self.resolve_parent_for(&Caller::root(), path).await
    }

    /// As [`Vfs::resolve`], if the caller may search every directory on the way.
    ///
    /// # Errors
    /// As [`Vfs::resolve`], and `Access`.
    pub async fn resolve_for(&self, caller: &Caller, path: &[u8]) -> Result<Reference> {
        self.walk(caller, &components(path)?).await
    }

    /// As [`Vfs::resolve_parent`], if the caller may search every directory on the way.
    ///
    /// # Errors
    /// As [`Vfs::resolve_parent`], and `Access`.
    pub async fn resolve_parent_for(&self, caller: &Caller, path: &[u8]) -> Result<(Reference, Vec<u8>)> {
        let names = components(path)?;
        let Some((name, parents)) = names.split_last() else {
            return Err(Error::new(Code::Invalid, "the root of the pool cannot be named as an entry"));
        };
        let parent = self.walk(caller, parents).await?;
        if parent.attributes().kind != Kind::Directory {
            return Err(missing(Code::NotDirectory, parents));
        }
        Ok((parent, name.to_vec()))
    }

    async fn walk(&self, caller: &Caller, names: &[&[u8]]) -> Result<Reference> {
        let root = self.pool().attributes(Ino::ROOT).await?;
        let mut here = Reference::adopt(self.pool(), root);
        for (depth, name) in names.iter().enumerate() {
            if here.attributes().kind != Kind::Directory {
                return Err(missing(Code::NotDirectory, &names[..depth]));
            }
            self.check(caller, here.attributes(), EXECUTE).await?;
            let found = match self.pool().lookup(here.ino(), name).await.map_err(Error::from) {
                Ok(found) => found,
                Err(error) if matches!(error.code(), Code::NoEntry | Code::Stale) => {
                    return Err(missing(Code::NoEntry, &names[..=depth]));
                }
                Err(error) => return Err(error),
            };
            here = Reference::adopt(self.pool(), found);
        }
        Ok(here)
    }
}

fn missing(code: Code, names: &[&[u8]]) -> Error {
    let path: String = names.iter().flat_map(|name| ["/".into(), String::from_utf8_lossy(name)]).collect();
    let why = if code == Code::NotDirectory { "is not a directory" } else { "does not exist" };
    Error::new(code, format!("{path} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_is_split_at_its_slashes() {
        assert_eq!(components(b"/").unwrap(), Vec::<&[u8]>::new());
        assert_eq!(components(b"/a/b c/\xff").unwrap(), [&b"a"[..], b"b c", b"\xff"]);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in [&b""[..], b"a", b"a/b", b"//", b"/a//b", b"/a/", b"/./a", b"/a/..", b"/a\0b"] {
            assert_eq!(components(path).unwrap_err().code(), Code::Invalid, "{path:?}");
        }
        let long = [b"/".as_slice(), &[b'x'; 256]].concat();
        assert_eq!(components(&long).unwrap_err().code(), Code::NameTooLong);
        assert!(components(&long[..256]).is_ok());
    }

    #[test]
    fn a_missing_place_is_named_in_full() {
        let error = missing(Code::NoEntry, &[b"a", b"b"]);
        assert_eq!(error.to_string(), "/a/b does not exist");
    }

    proptest! {
        #[test]
        fn joining_the_components_gives_the_path(path in "/[a-z./]{0,20}") {
            if let Ok(names) = components(path.as_bytes()) {
                let joined = [b"/".as_slice(), &names.join(&b'/')].concat();
                prop_assert_eq!(joined, path.into_bytes());
            }
        }
    }
}
