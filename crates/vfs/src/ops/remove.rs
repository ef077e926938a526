//! Taking names away: unlink, rmdir, and whole trees by path.

use offshoot_engine::{Ino, Kind};

use crate::error::{Code, Error, Result};
use crate::path::check_name;
use crate::permission::{self, Caller, EXECUTE, WRITE};
use crate::vfs::Vfs;
use crate::watch::Change;

impl Vfs {
    /// Removes a name of anything but a directory.
    ///
    /// # Errors
    /// `NoEntry`, `IsDirectory`, `Access`, `NotPermitted` (sticky directory), `ReadOnly`.
    pub async fn unlink(&self, caller: &Caller, parent: Ino, name: &[u8]) -> Result<()> {
        let ino = self.check_removal(caller, parent, name).await?;
        self.pool().unlink(parent, name).await?;
        self.changed(Change::Entry { parent, name });
        if let Some(ino) = ino {
            self.changed(Change::Attributes { ino });
        }
        Ok(())
    }

    /// Removes an empty directory, or a read-only clone with all below it.
    ///
    /// # Errors
    /// `NoEntry`, `NotDirectory`, `NotEmpty`, `Access`, `NotPermitted` (sticky directory), `ReadOnly`.
    pub async fn rmdir(&self, caller: &Caller, parent: Ino, name: &[u8]) -> Result<()> {
        self.check_removal(caller, parent, name).await?;
        self.pool().rmdir(parent, name).await?;
        self.changed(Change::Entry { parent, name });
        Ok(())
    }

    /// Removes what is at `path`; with `recursive` a directory goes with all below it, in constant time. Somebody without privilege
    /// may remove a directory that way only if it is its own, since nothing below is looked at. What is cached of it elsewhere is gone when
    /// this returns.
    ///
    /// # Errors
    /// As [`Vfs::unlink`] and [`Vfs::rmdir`]; `Busy` for the root of the pool.
    pub async fn remove_path(&self, caller: &Caller, path: &[u8], recursive: bool) -> Result<()> {
        if path == b"/" {
            return Err(Error::new(Code::Busy, "the root of the pool cannot be removed; name what is in it"));
        }
        let (parent, name) = self.resolve_parent_for(caller, path).await?;
        let parent = parent.ino();
        let entry = self.entry(parent, &name).await?;
        match (entry.kind, recursive) {
            (Kind::Directory, false) => self.rmdir(caller, parent, &name).await?,
            (Kind::Directory, true) => {
                self.check_removal(caller, parent, &name).await?;
                permission::check_owner(caller, &entry, "remove a directory with all below it")?;
                self.pool().remove_tree(parent, &name).await?;
                self.changed(Change::Entry { parent, name: &name });
            }
            _ => self.unlink(caller, parent, &name).await?,
        }
        self.settle_clients(false).await;
        Ok(())
    }

    /// Whether the caller may take a name away. Gives the inode if it had to be looked at.
    async fn check_removal(&self, caller: &Caller, parent: Ino, name: &[u8]) -> Result<Option<Ino>> {
        check_name(name)?;
        if caller.privileged && !self.is_watched_by_others() {
            return Ok(None);
        }
        let directory = self.directory(caller, parent, WRITE | EXECUTE).await?;
        let entry = self.entry(parent, name).await?;
        permission::check_sticky(caller, &directory, &entry)?;
        Ok(Some(entry.ino))
    }
}
