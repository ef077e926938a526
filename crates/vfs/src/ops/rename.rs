//! Moving names: rename with its three treatments of what is in the way.

use offshoot_engine::{Attributes, Ino, Kind, RenameMode};

use crate::error::{Code, Result};
use crate::path::check_name;
use crate::permission::{self, Caller, EXECUTE, WRITE};
use crate::vfs::Vfs;
use crate::watch::Change;

impl Vfs {
    /// Moves a name, atomically.
    ///
    /// # Errors
    /// `NoEntry`, `Exists`, `NotEmpty`, `IsDirectory`, `NotDirectory`, `Invalid` (into itself), `CrossClone`, `Access`, `NotPermitted` (sticky
    /// directory), `ReadOnly`.
    pub async fn rename(
        &self,
        caller: &Caller,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<()> {
        check_name(name)?;
        check_name(new_name)?;
        let mut replaced = None;
        if !caller.privileged || self.is_watched_by_others() {
            let from = self.directory(caller, parent, WRITE | EXECUTE).await?;
            let to = self.directory(caller, new_parent, WRITE | EXECUTE).await?;
            let moved = self.entry(parent, name).await?;
            self.check_move(caller, &from, &to, &moved).await?;
            match self.entry(new_parent, new_name).await {
                Ok(target) => {
                    if mode == RenameMode::Exchange {
                        self.check_move(caller, &to, &from, &target).await?;
                    } else {
                        permission::check_sticky(caller, &to, &target)?;
                    }
                    replaced = Some(target.ino);
                }
                Err(error) if error.code() == Code::NoEntry => {}
                Err(error) => return Err(error),
            }
        }
        self.pool().rename(parent, name, new_parent, new_name, mode).await?;
        self.changed(Change::Entry { parent, name });
        self.changed(Change::Entry { parent: new_parent, name: new_name });
        if let Some(ino) = replaced {
            self.changed(Change::Attributes { ino });
        }
        Ok(())
    }

    /// Moves what is at `from` to `to`. What is cached elsewhere knows of it when this returns.
    ///
    /// # Errors
    /// As [`Vfs::rename`] and [`Vfs::resolve_parent`].
    pub async fn rename_path(&self, caller: &Caller, from: &[u8], to: &[u8], mode: RenameMode) -> Result<()> {
        let (parent, name) = self.resolve_parent_for(caller, from).await?;
        let (new_parent, new_name) = self.resolve_parent_for(caller, to).await?;
        self.rename(caller, parent.ino(), &name, new_parent.ino(), &new_name, mode).await?;
        self.settle_clients(false).await;
        Ok(())
    }

    /// Whether an entry may leave `from` for `to`. A directory that changes its parent is itself written to.
    async fn check_move(
        &self,
        caller: &Caller,
        from: &Attributes,
        to: &Attributes,
        moved: &Attributes,
    ) -> Result<()> {
        permission::check_sticky(caller, from, moved)?;
        if moved.kind == Kind::Directory && from.ino != to.ino {
            self.check(caller, moved, WRITE).await?;
        }
        Ok(())
    }
}
