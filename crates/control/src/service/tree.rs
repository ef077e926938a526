//! Changes of the tree by path: clone and remove.

use offshoot_engine::ErrorKind;
use offshoot_vfs::ClonePath;

use super::{Identity, Service};
use crate::path::PoolPath;
use crate::problem::{Kind, Problem};
use crate::wire::{self, PathText};

/// How a clone is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    pub(super) read_only: bool,
    pub(super) parents: bool,
    pub(super) replace: bool,
    pub(super) sync: bool,
}

impl Service {
    /// Clones a file or a directory with all below it.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `Permission`, `ReadOnly` and the other kinds of the engine's clone.
    pub async fn clone_tree(
        &self,
        caller: &Identity,
        request: wire::CloneRequest,
    ) -> Result<wire::Cloned, Problem> {
        let source = read_path(&request.source)?;
        let destination = read_path(&request.destination)?;
        let wire::CloneRequest { read_only, parents, replace, sync, .. } = request;
        let how = How { read_only, parents, replace, sync };
        let tried = format!("clone {source} to {destination}");
        self.clone_to(caller, &source, &destination, how, &tried).await
    }

    /// Makes a clone; `tried` is what a failure says that was tried.
    pub(super) async fn clone_to(
        &self,
        caller: &Identity,
        source: &PoolPath,
        destination: &PoolPath,
        how: How,
        tried: &str,
    ) -> Result<wire::Cloned, Problem> {
        if destination.is_root() {
            let words = "the root of the pool exists and cannot be replaced; name the clone, as in /copy";
            return Err(Problem::new(Kind::Engine(ErrorKind::Exists), words).while_trying(tried));
        }
        let options = ClonePath { read_only: how.read_only, parents: how.parents, replace: how.replace };
        let made =
            self.vfs.clone_path(&caller.caller(), source.as_bytes(), destination.as_bytes(), options).await;
        let attributes = match made {
            Ok(attributes) => attributes,
            Err(error) => {
                return Err(self.explain(error.into(), source, destination).await.while_trying(tried));
            }
        };
        self.sync_if(how.sync).await.map_err(|problem| problem.while_trying(tried))?;
        tracing::info!(%source, %destination, read_only = how.read_only, uid = caller.uid, "cloned");
        Ok(wire::Cloned {
            source: source.into(),
            destination: destination.into(),
            attributes: (&attributes).into(),
        })
    }

    /// Says which of the two paths a failed clone stumbled over.
    async fn explain(&self, problem: Problem, source: &PoolPath, destination: &PoolPath) -> Problem {
        let missing = async |path: &PoolPath| self.vfs.resolve(path.as_bytes()).await.is_err();
        let detail = match problem.kind {
            Kind::Engine(ErrorKind::Exists) => format!("{destination} exists already"),
            Kind::Engine(ErrorKind::NotFound) if missing(source).await => format!("{source} does not exist"),
            Kind::Engine(ErrorKind::NotFound) => match destination.split() {
                Some((parent, _)) => format!("the directory {parent} does not exist"),
                None => problem.detail,
            },
            _ => problem.detail,
        };
        Problem { detail, ..problem }
    }

    /// Removes a file or, with `recursive`, a directory with all below it in constant time.
    ///
    /// # Errors
    /// `NotFound`, `NotEmpty`, `Permission`, `ReadOnly`.
    pub async fn remove(
        &self,
        caller: &Identity,
        path: &PoolPath,
        recursive: bool,
        sync: bool,
    ) -> Result<wire::Removed, Problem> {
        let tried = format!("remove {path}");
        if path.is_root() {
            let words = "the root of the pool cannot be removed";
            return Err(Problem::new(Kind::Engine(ErrorKind::Invalid), words).while_trying(tried));
        }
        let removed = self.vfs.remove_path(&caller.caller(), path.as_bytes(), recursive).await;
        removed.map_err(|error| {
            let problem = Problem::from(error);
            match problem.kind {
                Kind::Engine(ErrorKind::NotFound) => {
                    Problem { detail: format!("{path} does not exist"), ..problem }
                }
                _ => problem,
            }
            .while_trying(&tried)
        })?;
        self.sync_if(sync).await.map_err(|problem| problem.while_trying(&tried))?;
        tracing::info!(%path, recursive, uid = caller.uid, "removed");
        Ok(wire::Removed { paths: vec![path.into()] })
    }
}

/// The path in a request.
pub(super) fn read_path(path: &PathText) -> Result<PoolPath, Problem> {
    path.to_pool_path().map_err(|error| Problem::new(Kind::BadRequest, error.to_string()))
}
