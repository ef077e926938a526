//! Extended attributes: who may touch which namespace, access control lists, and the two virtual names.
//!
//! `user.offshoot.clone` can only be set: its value is a destination in the pool, and setting it clones the inode there.
//! `user.offshoot.info` can only be read. Neither is listed, so that copying all attributes copies neither. The rest of `user.offshoot.` is
//! reserved.

use bytes::Bytes;
use offshoot_engine::{Attributes, Ino, Kind, SetAttributes, Unchanged, XattrMode};

use crate::acl::{self, Acl};
use crate::error::{Code, Error, Result};
use crate::ops::attributes::decided_by;
use crate::permission::{self, Caller, READ, SET_GID, WRITE};
use crate::vfs::Vfs;
use crate::watch::Change;

/// Setting it clones; the value is the destination, a path in the pool.
pub const CLONE_ATTRIBUTE: &[u8] = b"user.offshoot.clone";
/// Reading it gives the document of `info`.
pub const INFO_ATTRIBUTE: &[u8] = b"user.offshoot.info";

const RESERVED: &[u8] = b"user.offshoot.";
const TRUSTED: &[u8] = b"trusted.";
const NAME_BYTES_MAX: usize = 255;
const VALUE_BYTES_MAX: usize = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    User,
    Trusted,
    Security,
    AccessList,
    DefaultList,
}

fn namespace(name: &[u8]) -> Result<Namespace> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Error::new(Code::Range, "the name of an attribute has 1 to 255 bytes"));
    }
    let found = match name {
        acl::ACCESS => Some(Namespace::AccessList),
        acl::DEFAULT => Some(Namespace::DefaultList),
        _ => [
            (&b"user."[..], Namespace::User),
            (TRUSTED, Namespace::Trusted),
            (b"security.", Namespace::Security),
        ]
        .iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map(|(prefix, namespace)| (name.len() > prefix.len()).then_some(*namespace))
        .map_or(Ok(None), |found| {
            found
                .map(Some)
                .ok_or_else(|| Error::new(Code::Invalid, "a namespace alone is no name of an attribute"))
        })?,
    };
    found.ok_or_else(|| {
        let name = String::from_utf8_lossy(name);
        Error::new(Code::NotSupported, format!("attributes such as {name} are not kept here"))
    })
}

impl Vfs {
    /// The value of an extended attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `Access`, `NotSupported`, `Range`.
    pub async fn xattr(&self, caller: &Caller, ino: Ino, name: &[u8]) -> Result<Bytes> {
        let namespace = namespace(name)?;
        if name == INFO_ATTRIBUTE {
            let info = self.pool().info(ino).await?;
            let path = self.pool().path(ino).await?;
            return Ok(super::info::info_document(&path, &info).to_string().into());
        }
        match namespace {
            Namespace::User if !caller.privileged => {
                let attributes = self.pool().attributes(ino).await?;
                self.check(caller, &attributes, READ).await?;
            }
            Namespace::Trusted if !caller.privileged => {
                return Err(Error::new(Code::NoAttribute, "trusted attributes are for root"));
            }
            _ => {}
        }
        Ok(self.pool().xattr(ino, name).await?)
    }

    /// The names of all extended attributes that the caller may know of.
    ///
    /// # Errors
    /// `Stale`.
    pub async fn xattrs(&self, caller: &Caller, ino: Ino) -> Result<Vec<Vec<u8>>> {
        let mut names = self.pool().xattrs(ino).await?;
        if !caller.is_superuser() {
            names.retain(|name| !name.starts_with(TRUSTED));
        }
        Ok(names)
    }

    /// Sets an extended attribute. An access control list changes the mode with it, and goes where bits alone say the same.
    /// [`CLONE_ATTRIBUTE`] clones, as [`Vfs::clone_path`].
    ///
    /// # Errors
    /// `Exists`, `NoAttribute`, `NotPermitted`, `Access`, `AttributeTooLarge`, `NoSpace`, `Range`, `ReadOnly`, `NotSupported`, `Invalid`.
    pub async fn set_xattr(
        &self,
        caller: &Caller,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        how: XattrMode,
    ) -> Result<()> {
        if name == CLONE_ATTRIBUTE {
            return self.clone_by_attribute(caller, ino, value).await;
        }
        let namespace = namespace(name)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(Error::new(Code::AttributeTooLarge, "the value of an attribute is over 64 KiB"));
        }
        let mut attributes = self.changeable(caller, ino, name, namespace).await?;
        match namespace {
            Namespace::AccessList => {
                while !self.set_access_list(caller, &attributes, value, how).await? {
                    attributes = self.changeable(caller, ino, name, namespace).await?;
                }
            }
            Namespace::DefaultList => self.set_default_list(&attributes, value, how).await?,
            _ => self.pool().set_xattr(ino, name, value, how, None).await?,
        }
        self.changed(Change::Attributes { ino });
        Ok(())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// `NoAttribute`, `NotPermitted`, `Access`, `ReadOnly`, `NotSupported`.
    pub async fn remove_xattr(&self, caller: &Caller, ino: Ino, name: &[u8]) -> Result<()> {
        let namespace = namespace(name)?;
        self.changeable(caller, ino, name, namespace).await?;
        match self.pool().remove_xattr(ino, name).await.map_err(Error::from) {
            // Removing a list that bits alone say, or that was never there, leaves what was asked for.
            Err(error)
                if error.code() == Code::NoAttribute
                    && matches!(namespace, Namespace::AccessList | Namespace::DefaultList) => {}
            removed => removed?,
        }
        self.changed(Change::Attributes { ino });
        Ok(())
    }

    /// The inode, if the caller may change attributes of this namespace on it.
    async fn changeable(
        &self,
        caller: &Caller,
        ino: Ino,
        name: &[u8],
        namespace: Namespace,
    ) -> Result<Attributes> {
        let denied = |why: &'static str| Err(Error::new(Code::NotPermitted, why));
        let attributes = self.pool().attributes(ino).await?;
        if name.starts_with(RESERVED) {
            return denied("attributes that start with user.offshoot. are reserved");
        }
        if attributes.read_only {
            return Err(Error::new(Code::ReadOnly, "inside a read-only clone"));
        }
        match namespace {
            Namespace::User => {
                if !matches!(attributes.kind, Kind::File | Kind::Directory) {
                    return denied("only files and directories have user attributes");
                }
                if attributes.kind == Kind::Directory {
                    permission::check_sticky(caller, &attributes, &attributes)?;
                }
                self.check(caller, &attributes, WRITE).await?;
            }
            Namespace::Trusted | Namespace::Security if !caller.privileged => {
                return denied("only root may change trusted and security attributes");
            }
            Namespace::Trusted | Namespace::Security => {}
            Namespace::AccessList | Namespace::DefaultList => {
                permission::check_owner(caller, &attributes, "change the access control list")?;
                if attributes.kind == Kind::Symlink {
                    return Err(Error::new(Code::NotSupported, "a symbolic link has no access control list"));
                }
            }
        }
        Ok(attributes)
    }

    /// Sets the list of an inode that was just looked at; false if it was changed since.
    async fn set_access_list(
        &self,
        caller: &Caller,
        attributes: &Attributes,
        value: &[u8],
        how: XattrMode,
    ) -> Result<bool> {
        let ino = attributes.ino;
        let Some(list) = Acl::decode(value)? else {
            self.remove_list(ino, acl::ACCESS).await?;
            return Ok(true);
        };
        let mut mode = (attributes.mode & !0o777) | list.mode();
        if !caller.is_superuser() && !caller.is_member(attributes.gid) {
            mode &= !SET_GID;
        }
        if list.is_equivalent_to_mode() {
            self.remove_list(ino, acl::ACCESS).await?;
            let set = SetAttributes { mode: Some(mode), ..SetAttributes::default() };
            let unchanged = decided_by(attributes, None);
            Ok(self.pool().set_attributes_if(ino, set, unchanged).await?.is_some())
        } else {
            // Whatever list there was is replaced whole.
            let unchanged = Unchanged { xattr: None, ..decided_by(attributes, None) };
            let value = list.encode();
            let attribute = (acl::ACCESS, value.as_slice());
            Ok(self.pool().set_xattr_if(ino, attribute, how, Some(mode), unchanged).await?)
        }
    }

    async fn set_default_list(&self, attributes: &Attributes, value: &[u8], how: XattrMode) -> Result<()> {
        let list = Acl::decode(value)?;
        if attributes.kind != Kind::Directory {
            return match list {
                None => Ok(()),
                Some(_) => {
                    Err(Error::new(Code::Access, "only a directory has a default access control list"))
                }
            };
        }
        match list {
            None => self.remove_list(attributes.ino, acl::DEFAULT).await,
            Some(list) => {
                let value = list.encode();
                Ok(self.pool().set_xattr(attributes.ino, acl::DEFAULT, &value, how, None).await?)
            }
        }
    }

    async fn remove_list(&self, ino: Ino, name: &[u8]) -> Result<()> {
        match self.pool().remove_xattr(ino, name).await.map_err(Error::from) {
            Err(error) if error.code() == Code::NoAttribute => Ok(()),
            removed => removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_namespace() {
        assert_eq!(namespace(b"user.a").unwrap(), Namespace::User);
        assert_eq!(namespace(b"trusted.a").unwrap(), Namespace::Trusted);
        assert_eq!(namespace(b"security.selinux").unwrap(), Namespace::Security);
        assert_eq!(namespace(acl::ACCESS).unwrap(), Namespace::AccessList);
        assert_eq!(namespace(acl::DEFAULT).unwrap(), Namespace::DefaultList);
    }

    #[test]
    fn other_names_are_refused() {
        for name in [&b"a"[..], b"system.nfs4_acl", b"btrfs.compression"] {
            assert_eq!(namespace(name).unwrap_err().code(), Code::NotSupported, "{name:?}");
        }
        assert_eq!(namespace(b"user.").unwrap_err().code(), Code::Invalid);
        assert_eq!(namespace(b"").unwrap_err().code(), Code::Range);
        assert_eq!(namespace(&[b"user.".as_slice(), &[b'x'; 251]].concat()).unwrap_err().code(), Code::Range);
    }
}
