//! [`Handle`]: an open file with the access it was opened for.
//!
//! While a handle lives, the pool holds the file: its content stays when its last name goes. [`Vfs::close`] gives it back; a
//! handle that is merely dropped is given back too, as far as that is possible without waiting.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use offshoot_engine::{Attributes, Ino, Kind, Pool};

use crate::acl::Bits;
use crate::error::{Code, Error, Result};
use crate::permission::{self, Caller};
use crate::vfs::Vfs;

bitflags::bitflags! {
    /// What a file is opened for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u32 {
        /// Reading.
        const READ = 1;
        /// Writing.
        const WRITE = 2;
        /// Every write goes to the end; needs `WRITE`.
        const APPEND = 4;
        /// The file is emptied by opening it; needs `WRITE`.
        const TRUNCATE = 8;
        /// Every write is durable when it is answered.
        const SYNC = 16;
        /// Reading leaves the access time alone.
        const KEEP_ACCESS_TIME = 32;
    }
}

/// An open file or directory.
#[derive(Debug)]
pub struct Handle {
    hold: Hold,
    kind: Kind,
    access: Access,
    /// The access time has been looked at since the last write through this handle.
    pub(crate) access_noted: AtomicBool,
}

struct Hold {
    pool: Pool,
    ino: Ino,
    released: AtomicBool,
}

impl Handle {
    /// Takes over a hold that the pool has counted already.
    pub(crate) fn adopt(pool: &Pool, attributes: &Attributes, access: Access) -> Handle {
        let hold = Hold { pool: Clone::clone(pool), ino: attributes.ino, released: AtomicBool::new(false) };
        Handle { hold, kind: attributes.kind, access, access_noted: AtomicBool::new(false) }
    }

    /// The inode.
    pub fn ino(&self) -> Ino {
        self.hold.ino
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it was opened for.
    pub fn access(&self) -> Access {
        self.access
    }

    pub(crate) fn require(&self, access: Access) -> Result<()> {
        if self.access.contains(access) {
            Ok(())
        } else {
            Err(Error::new(Code::BadHandle, format!("the handle was opened for {:?} only", self.access)))
        }
    }
}

impl Hold {
    async fn release(&self) -> Result<()> {
        if self.released.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        Ok(self.pool.release(self.ino).await?)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // A file that is freed too late is found and freed when the pool is opened next.
        if let None | Some(Err(_)) = self.release().now_or_never() {
            tracing::debug!(ino = self.ino.0, "an open file was dropped and is freed later");
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hold").field(&self.ino).finish()
    }
}

impl Vfs {
    /// Opens a file or directory.
    ///
    /// # Errors
    /// `Access`; `IsDirectory` for writing to a directory; `Loop` for a symbolic link; `NotSupported` for what the caller's own kernel
    /// must open (fifos, sockets, devices); `ReadOnly`; `NotPermitted` to leave the access time of somebody else's file alone.
    pub async fn open(&self, caller: &Caller, ino: Ino, access: Access) -> Result<Handle> {
        let attributes = self.pool().attributes(ino).await?;
        let writes = access.intersects(Access::WRITE | Access::TRUNCATE | Access::APPEND);
        match attributes.kind {
            Kind::File => {}
            Kind::Directory if !writes => {}
            Kind::Directory => return Err(Error::new(Code::IsDirectory, "a directory cannot be written to")),
            Kind::Symlink => return Err(Error::new(Code::Loop, "a symbolic link cannot be opened")),
            Kind::Fifo | Kind::Socket | Kind::CharDevice | Kind::BlockDevice => {
                return Err(Error::new(Code::NotSupported, "only files and directories are opened here"));
            }
        }
        if writes && attributes.read_only {
            return Err(Error::new(Code::ReadOnly, "inside a read-only clone"));
        }
        self.check(caller, &attributes, wanted(access)).await?;
        if access.contains(Access::KEEP_ACCESS_TIME) {
            permission::check_owner(caller, &attributes, "leave the access time alone")?;
        }
        self.pool().hold(ino)?;
        let handle = Handle::adopt(self.pool(), &attributes, access);
        if access.contains(Access::TRUNCATE) {
            self.truncate(caller, &handle, 0).await?;
        }
        Ok(handle)
    }

    /// Closes a handle; a file without a name and without another handle is freed.
    ///
    /// # Errors
    /// `Io` when the pool has stopped; the handle is closed all the same.
    pub async fn close(&self, handle: &Handle) -> Result<()> {
        handle.hold.release().await
    }
}

fn wanted(access: Access) -> Bits {
    let mut bits = 0;
    if access.contains(Access::READ) {
        bits |= permission::READ;
    }
    if access.intersects(Access::WRITE | Access::TRUNCATE | Access::APPEND) {
        bits |= permission::WRITE;
    }
    bits
}
