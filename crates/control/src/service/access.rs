//! From a path to an inode, with the permissions of whoever asks.

use offshoot_engine::{Ino, Pool};
use offshoot_vfs::Reference;
use offshoot_vfs::acl::Bits;

use super::{Identity, Service};
use crate::path::PoolPath;
use crate::problem::{Kind, Problem};

/// An entry of a page of a directory that stays known to the pool until this is dropped.
pub(super) struct Known {
    pool: Pool,
    ino: Ino,
}

impl Known {
    /// Takes over one reference that the pool has counted.
    pub(super) fn new(pool: &Pool, ino: Ino) -> Self {
        Self { pool: Clone::clone(pool), ino }
    }

    /// Its number.
    pub(super) fn ino(&self) -> Ino {
        self.ino
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.pool.forget(self.ino, 1);
    }
}

impl Service {
    /// Finds a path. The caller needs to be able to search every directory on the way, and the bits `wanted` at the end. Symbolic
    /// links are not followed.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `Permission`.
    pub(super) async fn resolve(
        &self,
        caller: &Identity,
        path: &PoolPath,
        wanted: Bits,
    ) -> Result<Reference, Problem> {
        let found = self.vfs.resolve_for(&caller.caller(), path.as_bytes()).await;
        let found = found.map_err(|error| name_it(error.into(), path))?;
        if wanted != 0 {
            self.require(caller, found.ino(), wanted).await.map_err(|problem| name_it(problem, path))?;
        }
        Ok(found)
    }

    /// Succeeds if the caller has all of the permission bits `wanted` on an inode.
    ///
    /// # Errors
    /// `Permission`.
    pub(super) async fn require(&self, caller: &Identity, ino: Ino, wanted: Bits) -> Result<(), Problem> {
        if caller.administrator {
            return Ok(());
        }
        self.vfs.check_access(&caller.caller(), ino, wanted).await.map_err(Problem::from)
    }
}

/// Puts the path into a message that does not name it.
fn name_it(problem: Problem, path: &PoolPath) -> Problem {
    match problem.kind {
        Kind::Permission => Problem { detail: format!("permission denied at {path}"), ..problem },
        _ => problem,
    }
}
