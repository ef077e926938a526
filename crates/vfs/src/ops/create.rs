//! Making inodes: files, directories, symbolic links, nodes, files without a name, and further names.

use bytes::Bytes;
use offshoot_engine::{Attributes, Ino, Kind, NewInode};

use crate::acl;
use crate::error::{Code, Error, Result};
use crate::handle::{Access, Handle};
use crate::path::{Reference, check_name, components};
use crate::permission::{self, Caller, EXECUTE, WRITE};
use crate::vfs::Vfs;
use crate::watch::Change;

/// Longest target of a symbolic link, in bytes.
const TARGET_BYTES_MAX: usize = 4095;

/// What to make.
#[derive(Clone, Debug)]
pub struct Create {
    /// The type.
    pub kind: Kind,
    /// Permission bits that were asked for, before the mask; ignored for symbolic links.
    pub mode: u32,
    /// Bits that are taken away unless the directory has a default access control list.
    pub umask: u32,
    /// Device number of a device node.
    pub rdev: u32,
    /// Target of a symbolic link.
    pub target: Bytes,
}

impl Create {
    /// A file, fifo or socket.
    pub fn new(kind: Kind, mode: u32, umask: u32) -> Create {
        Create { kind, mode, umask, rdev: 0, target: Bytes::new() }
    }

    /// A symbolic link.
    pub fn symlink(target: impl Into<Bytes>) -> Create {
        Create { kind: Kind::Symlink, mode: 0o777, umask: 0, rdev: 0, target: target.into() }
    }
}

impl Vfs {
    /// Makes an inode with a name and counts a reference to it.
    ///
    /// # Errors
    /// `Exists`, `Access`, `NotPermitted` (device nodes), `ReadOnly`, `NameTooLong`, `NoSpace`, `NoEntry` (the directory was removed or the
    /// target of a link is empty).
    pub async fn create(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        create: Create,
    ) -> Result<Attributes> {
        check_name(name)?;
        let new = self.new_inode(caller, parent, create).await?;
        let attributes = self.pool().create(parent, name, new).await?;
        self.changed(Change::Entry { parent, name });
        Ok(attributes)
    }

    /// Makes a file and opens it, whatever its mode says. A reference is counted besides the handle.
    ///
    /// # Errors
    /// As [`Vfs::create`].
    pub async fn create_open(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        create: Create,
        access: Access,
    ) -> Result<(Attributes, Handle)> {
        let attributes = self.create(caller, parent, name, create).await?;
        match self.pool().hold(attributes.ino) {
            Ok(()) => {
                let handle = Handle::adopt(self.pool(), &attributes, access);
                Ok((attributes, handle))
            }
            Err(error) => {
                self.forget(attributes.ino, 1);
                Err(error.into())
            }
        }
    }

    /// Makes and opens a file that has no name in `parent`'s clone (`O_TMPFILE`); it goes with its last handle unless it is
    /// linked before. A reference is counted besides the handle.
    ///
    /// # Errors
    /// As [`Vfs::create`].
    pub async fn create_unnamed(
        &self,
        caller: &Caller,
        parent: Ino,
        create: Create,
        access: Access,
    ) -> Result<(Attributes, Handle)> {
        let new = self.new_inode(caller, parent, create).await?;
        let attributes = self.pool().create_unnamed(parent, new).await?;
        let handle = Handle::adopt(self.pool(), &attributes, access);
        Ok((attributes, handle))
    }

    /// Gives a file one more name and counts a reference to it.
    ///
    /// # Errors
    /// `Exists`, `NotPermitted` (a directory), `CrossClone`, `Access`, `ReadOnly`, `TooManyLinks`.
    pub async fn link(&self, caller: &Caller, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attributes> {
        check_name(name)?;
        self.check_directory(caller, parent, WRITE | EXECUTE).await?;
        let linked = self.pool().link(ino, parent, name).await.map_err(Error::from);
        let attributes = match linked {
            Err(error) if error.code() == Code::IsDirectory => {
                return Err(Error::new(Code::NotPermitted, "a directory cannot have two names"));
            }
            linked => linked?,
        };
        self.changed(Change::Entry { parent, name });
        self.changed(Change::Attributes { ino });
        Ok(attributes)
    }

    /// Makes every directory of `path` that is missing.
    ///
    /// # Errors
    /// `NotDirectory` if something else is in the way; else as [`Vfs::create`].
    pub async fn create_directories(&self, caller: &Caller, path: &[u8]) -> Result<()> {
        let root = self.pool().attributes(Ino::ROOT).await?;
        let mut here = Reference::adopt(self.pool(), root);
        for name in components(path)? {
            let found = match self.lookup(caller, here.ino(), name).await {
                Err(error) if error.code() == Code::NoEntry => {
                    let made =
                        self.create(caller, here.ino(), name, Create::new(Kind::Directory, 0o755, 0)).await;
                    match made {
                        // Somebody else was faster.
                        Err(error) if error.code() == Code::Exists => {
                            self.lookup(caller, here.ino(), name).await?
                        }
                        made => made?,
                    }
                }
                found => found?,
            };
            here = Reference::adopt(self.pool(), found);
            if here.attributes().kind != Kind::Directory {
                let path = String::from_utf8_lossy(path);
                return Err(Error::new(Code::NotDirectory, format!("part of {path} is not a directory")));
            }
        }
        Ok(())
    }

    /// Owner, mode and access control lists of what is made in a directory.
    async fn new_inode(&self, caller: &Caller, parent: Ino, create: Create) -> Result<NewInode> {
        let Create { kind, mode, umask, rdev, target } = create;
        let directory = self.directory(caller, parent, WRITE | EXECUTE).await?;
        permission::check_device(caller, kind)?;
        let mode = mode & permission::MODE_BITS;
        let (gid, mode) = permission::inherited_group(caller, &directory, kind, mode);
        let mut new = NewInode { kind, mode, uid: caller.uid, gid, rdev, target, xattrs: Vec::new() };
        if kind == Kind::Symlink {
            if new.target.is_empty() {
                return Err(Error::new(Code::NoEntry, "the target of a symbolic link is empty"));
            }
            if new.target.len() > TARGET_BYTES_MAX {
                return Err(Error::new(
                    Code::NameTooLong,
                    "the target of a symbolic link is over 4,095 bytes",
                ));
            }
            new.mode = 0o777;
            return Ok(new);
        }
        match self.stored_list(&directory, acl::DEFAULT).await? {
            None => new.mode &= !(umask & 0o777),
            Some(default) => {
                let (mode, access) = default.inherit(new.mode);
                new.mode = mode;
                if let Some(access) = access {
                    new.xattrs.push((acl::ACCESS.to_vec(), access.encode()));
                }
                if kind == Kind::Directory {
                    new.xattrs.push((acl::DEFAULT.to_vec(), default.encode()));
                }
            }
        }
        Ok(new)
    }
}
