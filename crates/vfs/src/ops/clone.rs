//! The primitive: cloning what is at a path to another.
//!
//! Before a clone every kernel client is asked to write back what it holds, so that a byte that `write` accepted on a mount is in the
//! clone. Afterwards caches hear of the new name before the answer goes out.

use offshoot_engine::{Attributes, CloneOptions, Ino, Kind};

use crate::error::{Code, Error, Result};
use crate::path::{Reference, components};
use crate::permission::{self, Caller, EXECUTE, READ, WRITE};
use crate::vfs::Vfs;
use crate::watch::{Change, FlushRequest};

/// How a clone by path is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClonePath {
    /// Every change below the clone fails with `ReadOnly`, for root too.
    pub read_only: bool,
    /// Make the directories that the destination lacks.
    pub parents: bool,
    /// Replace what is at the destination, atomically.
    pub replace: bool,
}

/// What is cloned, and who waits for it.
struct Source<'a> {
    ino: Ino,
    path: &'a [u8],
    from_client: bool,
}

impl Vfs {
    /// Clones what is at `source` to `destination` in constant time. Somebody without privilege must own the source, may read (and
    /// search) it, and may write at the destination: a clone keeps owners, so anything else would make files in other people's names.
    ///
    /// # Errors
    /// `NoEntry`, `Exists` (without `replace`), `NotPermitted`, `Access`, `ReadOnly`, `NoSpace`; `Invalid` for the root as destination or where
    /// the source lies in what would be replaced; `Io` also where a mount could not write back what it holds.
    pub async fn clone_path(
        &self,
        caller: &Caller,
        source: &[u8],
        destination: &[u8],
        options: ClonePath,
    ) -> Result<Attributes> {
        let source_reference = self.resolve_for(caller, source).await?;
        let from = Source { ino: source_reference.ino(), path: source, from_client: false };
        let (_, attributes) = self.clone_to(caller, from, destination, options).await?;
        self.settle_clients(false).await;
        Ok(attributes)
    }

    /// The clone that setting [`crate::CLONE_ATTRIBUTE`] asks for. The client that set it hears of the new name like all others. It holds a lock
    /// on the source until it has its answer, so a clone right into its own source does not wait until the client has heard, and others
    /// wait only a short time: who removes, replaces or links the source meanwhile holds the directory and waits for the source.
    pub(crate) async fn clone_by_attribute(&self, caller: &Caller, ino: Ino, value: &[u8]) -> Result<()> {
        let destination = value.strip_suffix(b"\0").unwrap_or(value);
        let source = self.pool().path(ino).await?;
        let sessionless = self.without_session();
        let from = Source { ino, path: &source, from_client: true };
        let (parent, _) = sessionless.clone_to(caller, from, destination, ClonePath::default()).await?;
        if parent != ino {
            self.settle_clients(true).await;
        }
        Ok(())
    }

    /// Gives the directory that the clone is in, and the clone.
    async fn clone_to(
        &self,
        caller: &Caller,
        source: Source<'_>,
        destination: &[u8],
        options: ClonePath,
    ) -> Result<(Ino, Attributes)> {
        let Source { ino: source, path: source_path, from_client } = source;
        let ClonePath { read_only, parents, replace } = options;
        if let (true, [ancestors @ .., _]) = (parents, components(destination)?.as_slice()) {
            let parent = [b"/".as_slice(), &ancestors.join(&b'/')].concat();
            self.create_directories(caller, &parent).await?;
        }
        let (parent, name) = self.resolve_parent_for(caller, destination).await?;
        self.check_clone(caller, source, &parent, &name, replace).await?;
        self.flush_clients(FlushRequest { source: source_path, from_client }).await?;
        let options = CloneOptions { read_only, replace, source_path: source_path.to_vec() };
        let cloned = self.pool().clone_inode(source, parent.ino(), &name, options).await.map_err(Error::from);
        let cloned = cloned.map_err(|error| match error.code() {
            Code::Exists => {
                let destination = String::from_utf8_lossy(destination);
                Error::new(Code::Exists, format!("{destination} exists already"))
            }
            _ => error,
        })?;
        let cloned = Reference::adopt(self.pool(), cloned);
        self.changed(Change::Entry { parent: parent.ino(), name: &name });
        Ok((parent.ino(), cloned.attributes().clone()))
    }

    async fn check_clone(
        &self,
        caller: &Caller,
        source: Ino,
        parent: &Reference,
        name: &[u8],
        replace: bool,
    ) -> Result<()> {
        if caller.privileged {
            return Ok(());
        }
        let source = self.pool().attributes(source).await?;
        permission::check_owner(caller, &source, "clone it, since a clone keeps all owners")?;
        let wanted = if source.kind == Kind::Directory { READ | EXECUTE } else { READ };
        if source.kind != Kind::Symlink {
            self.check(caller, &source, wanted).await?;
        }
        self.check(caller, parent.attributes(), WRITE | EXECUTE).await?;
        if replace && let Ok(target) = self.entry(parent.ino(), name).await {
            permission::check_sticky(caller, parent.attributes(), &target)?;
            permission::check_owner(caller, &target, "replace it")?;
        }
        Ok(())
    }
}
