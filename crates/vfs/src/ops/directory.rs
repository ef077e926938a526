//! Finding and listing: lookup, readdir, readlink.

use bytes::Bytes;
use offshoot_engine::{Attributes, DirectoryItem, Ino};

use crate::error::Result;
use crate::permission::{Caller, EXECUTE, READ};
use crate::vfs::Vfs;

impl Vfs {
    /// Finds a name in a directory. The pool counts a reference, which the caller gives back with [`Vfs::forget`].
    ///
    /// # Errors
    /// `NoEntry`, `NotDirectory`, `Access`, `NameTooLong`, `Stale`.
    pub async fn lookup(&self, caller: &Caller, parent: Ino, name: &[u8]) -> Result<Attributes> {
        self.check_directory(caller, parent, EXECUTE).await?;
        Ok(self.pool().lookup(parent, name).await?)
    }

    /// Gives back references to a number.
    pub fn forget(&self, ino: Ino, count: u64) {
        if ino != Ino::ROOT {
            self.pool().forget(ino, count);
        }
    }

    /// The directory that contains a directory; the root's is itself.
    ///
    /// # Errors
    /// `Stale`.
    pub fn parent(&self, ino: Ino) -> Result<Ino> {
        Ok(self.pool().parent(ino)?)
    }

    /// Up to `limit` entries after `cookie`, without `.` and `..`; see [`offshoot_engine::Pool::read_dir`]. With `remember` a
    /// reference to each is counted.
    ///
    /// # Errors
    /// `NotDirectory`, `Access`, `Stale`.
    pub async fn read_dir(
        &self,
        caller: &Caller,
        directory: Ino,
        cookie: u64,
        limit: usize,
        remember: bool,
    ) -> Result<Vec<DirectoryItem>> {
        self.check_directory(caller, directory, READ).await?;
        let items = self.pool().read_dir(directory, cookie, limit, remember).await?;
        if cookie == 0 {
            self.note_access(directory).await;
        }
        Ok(items)
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `Invalid` if it is none, `Stale`.
    pub async fn read_link(&self, ino: Ino) -> Result<Bytes> {
        let target = self.pool().read_link(ino).await?;
        self.note_access(ino).await;
        Ok(target)
    }
}
