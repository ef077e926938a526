//! From a path to an inode, with the permissions of whoever asks.

use offshoot_engine::{ErrorKind, Ino, Pool};
use offshoot_vfs::permission::EXECUTE;

use super::{Identity, Service};
use crate::path::PoolPath;
use crate::problem::{Kind, Problem};

/// An inode that stays known to the pool until this is dropped.
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
        // The root is always known and counts nothing.
        if self.ino != Ino::ROOT {
            self.pool.forget(self.ino, 1);
        }
    }
}

impl Service {
    /// Finds a path. The caller needs to be able to search every directory on the way, and `wanted` at the end. Symbolic links
    /// are not followed.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `Permission`; the message names the part of the path that is at fault.
    pub(super) async fn resolve(
        &self,
        caller: &Identity,
        path: &PoolPath,
        wanted: offshoot_vfs::acl::Bits,
    ) -> Result<Known, Problem> {
        let mut at = Known::new(self.pool(), Ino::ROOT);
        let mut walked = PoolPath::root();
        for name in path.components() {
            self.require(caller, at.ino(), EXECUTE).await.map_err(|problem| name_it(problem, &walked))?;
            let found = self.pool().lookup(at.ino(), name).await;
            walked = walked.join(name).map_err(|error| Problem::new(Kind::BadRequest, error.to_string()))?;
            let found = found.map_err(|error| name_it(error.into(), &walked))?;
            at = Known::new(self.pool(), found.ino);
        }
        if wanted != 0 {
            self.require(caller, at.ino(), wanted).await.map_err(|problem| name_it(problem, &walked))?;
        }
        Ok(at)
    }

    /// Succeeds if the caller has all of the permission bits `wanted` on an inode.
    ///
    /// # Errors
    /// `Permission`.
    pub(super) async fn require(&self, caller: &Identity, ino: Ino, wanted: offshoot_vfs::acl::Bits) -> Result<(), Problem> {
        if caller.administrator {
            return Ok(());
        }
        self.vfs.check_access(&caller.caller(), ino, wanted).await.map_err(Problem::from)
    }
}

/// Puts the path into the message.
fn name_it(problem: Problem, path: &PoolPath) -> Problem {
    let detail = match problem.kind {
        Kind::Engine(ErrorKind::NotFound) => format!("{path} does not exist"),
        Kind::Engine(ErrorKind::NotDirectory) => match path.split() {
            Some((parent, _)) => format!("{parent} is no directory"),
            None => problem.detail,
        },
        Kind::Permission => format!("permission denied at {path}"),
        _ => format!("{path}: {}", problem.detail),
    };
    Problem { detail, ..problem }
}
