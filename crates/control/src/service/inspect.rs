//! Questions about paths: entries, facts, space, and the content that a restore to a local directory needs.

use bytes::Bytes;
use offshoot_engine::{Ino, Kind as FileKind, SeekTarget};
use offshoot_vfs::Reference;
use offshoot_vfs::permission::{EXECUTE, READ};
use tokio::sync::mpsc;

use super::access::Known;
use super::{Identity, Service, spawn_local};
use crate::path::PoolPath;
use crate::problem::{Kind, Problem};
use crate::wire::{self, JobKind, JobResult};

/// Bytes of a file in one piece of an answer.
const PIECE_BYTES: usize = 1 << 20;
/// Extents in one answer.
const EXTENTS_MAX: usize = 4096;
/// Steps that a lineage is followed.
const LINEAGE_MAX: usize = 64;

impl Service {
    /// What is known of a path; with `usage` also its space in the store.
    ///
    /// # Errors
    /// `NotFound`, `Permission`.
    pub async fn info(
        &self,
        caller: &Identity,
        path: &PoolPath,
        usage: bool,
    ) -> Result<wire::InfoBody, Problem> {
        let tried = format!("look at {path}");
        let found = self.resolve(caller, path, 0).await.map_err(|problem| problem.while_trying(&tried))?;
        let info = self.pool().info(found.ino()).await?;
        let mut body = wire::InfoBody::new(path.into(), &info);
        let mut next = body.origin.clone();
        while let Some(origin) = next.take()
            && body.lineage.len() < LINEAGE_MAX
        {
            next = self.origin_of(caller, &origin).await;
            body.lineage.extend(next.clone());
        }
        if usage {
            body.usage = Some(self.usage(caller, path).await?.usage);
        }
        Ok(body)
    }

    /// Where the source of a clone came from, if it still is where it was.
    async fn origin_of(&self, caller: &Identity, origin: &wire::OriginBody) -> Option<wire::OriginBody> {
        let path = origin.path.to_pool_path().ok()?;
        let found = self.resolve(caller, &path, 0).await.ok()?;
        let info = self.pool().info(found.ino()).await.ok()?;
        // Numbers are used again: what was made after the clone is not its source.
        let is_source = found.ino().0 == origin.ino && info.attributes.btime <= origin.time.0;
        let before = info.origin.filter(|_| is_source)?;
        Some(wire::OriginBody::from(&before))
    }

    /// Space of a tree, which is a job while it lasts. For those who may read the tree's root; only totals are told.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Busy`, `Cancelled`.
    pub async fn usage(&self, caller: &Identity, path: &PoolPath) -> Result<wire::PathUsage, Problem> {
        let mut handle = self.start_usage(caller, path).await?;
        let cancel = self.jobs().cancel_on_drop(handle.id);
        let job = handle.ended().await;
        drop(cancel);
        match (job.result, job.problem) {
            (Some(JobResult::Usage(usage)), _) => Ok(usage),
            (_, Some(problem)) => Err(Problem::from(problem).while_trying(format!("measure {path}"))),
            _ => {
                Err(Problem::new(Kind::Internal, format!("a job of kind {:?} has no result", JobKind::Usage)))
            }
        }
    }

    /// A page of a directory after the cookie `after`; of anything else, and with `itself`, the one entry of the path.
    ///
    /// # Errors
    /// `NotFound`, `Permission`.
    pub async fn entries(
        &self,
        caller: &Identity,
        path: &PoolPath,
        after: u64,
        limit: usize,
        itself: bool,
    ) -> Result<wire::EntryList, Problem> {
        let tried = format!("list {path}");
        let found = self.resolve(caller, path, 0).await.map_err(|problem| problem.while_trying(&tried))?;
        let attributes = self.pool().attributes(found.ino()).await?;
        if itself || attributes.kind != FileKind::Directory {
            let name = path.split().map_or(b"/".to_vec(), |(_, name)| name.to_vec());
            let target = self.target(&attributes).await?;
            let entry = wire::Entry { name: name.into(), target, attributes: (&attributes).into() };
            return Ok(wire::EntryList { path: path.into(), entries: vec![entry], next: None });
        }
        self.require(caller, found.ino(), READ | EXECUTE)
            .await
            .map_err(|problem| problem.while_trying(&tried))?;
        let page = self.pool().read_dir(found.ino(), after, limit, true).await?;
        let page: Vec<_> =
            page.into_iter().map(|item| (Known::new(self.pool(), item.attributes.ino), item)).collect();
        let next = page.last().filter(|_| page.len() == limit).map(|(_, item)| item.cookie);
        let mut entries = Vec::with_capacity(page.len());
        for (_known, item) in page {
            let target = self.target(&item.attributes).await?;
            entries.push(wire::Entry {
                name: item.name.into(),
                target,
                attributes: (&item.attributes).into(),
            });
        }
        Ok(wire::EntryList { path: path.into(), entries, next })
    }

    async fn target(
        &self,
        attributes: &offshoot_engine::Attributes,
    ) -> Result<Option<wire::PathText>, Problem> {
        if attributes.kind != FileKind::Symlink {
            return Ok(None);
        }
        Ok(Some(self.pool().read_link(attributes.ino).await?.to_vec().into()))
    }

    /// Ranges of a file that hold data, from offset `after` on.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Invalid` for what is no file.
    pub async fn extents(
        &self,
        caller: &Identity,
        path: &PoolPath,
        after: u64,
    ) -> Result<wire::ExtentList, Problem> {
        let found = self.file(caller, path).await?;
        let size_bytes = self.pool().attributes(found.ino()).await?.size;
        let mut list = wire::ExtentList { size_bytes, extents: Vec::new(), next: None };
        let mut offset = after;
        while let Some(start) = self.pool().seek(found.ino(), offset, SeekTarget::Data).await? {
            let end = self.pool().seek(found.ino(), start, SeekTarget::Hole).await?.unwrap_or(size_bytes);
            if list.extents.len() == EXTENTS_MAX {
                list.next = Some(start);
                break;
            }
            list.extents.push(wire::Extent { offset_bytes: start, length_bytes: end - start });
            offset = end;
        }
        Ok(list)
    }

    /// Extended attributes, for those who may read the file.
    ///
    /// # Errors
    /// `NotFound`, `Permission`.
    pub async fn xattrs(&self, caller: &Identity, path: &PoolPath) -> Result<wire::XattrList, Problem> {
        let tried = format!("read the attributes of {path}");
        let found = self.resolve(caller, path, READ).await.map_err(|problem| problem.while_trying(tried))?;
        let mut list = wire::XattrList { xattrs: Vec::new() };
        for name in self.pool().xattrs(found.ino()).await? {
            // As through a mount: these are for the superuser.
            if name.starts_with(b"trusted.") && !caller.administrator {
                continue;
            }
            let value = self.pool().xattr(found.ino(), &name).await?.to_vec();
            list.xattrs.push(wire::Xattr { name: name.into(), value: value.into() });
        }
        Ok(list)
    }

    /// Bytes of a file, piece by piece. The file is held open until the last piece or until the receiver is dropped.
    ///
    /// # Errors
    /// `NotFound`, `Permission`, `Invalid` for what is no file.
    pub async fn content(
        &self,
        caller: &Identity,
        path: &PoolPath,
        offset: u64,
        length: u64,
    ) -> Result<mpsc::Receiver<Result<Bytes, Problem>>, Problem> {
        let found = self.file(caller, path).await?;
        let ino = found.ino();
        let pool = Clone::clone(self.pool());
        pool.hold(ino)?;
        let (sender, receiver) = mpsc::channel(2);
        let path = path.clone();
        spawn_local(move || async move {
            let _found = found;
            let end = offset.saturating_add(length);
            let mut position = offset;
            while position < end {
                let wanted = PIECE_BYTES.min(usize::try_from(end - position).unwrap_or(PIECE_BYTES));
                let mut piece = Vec::new();
                let read = pool.read(ino, position, wanted, &mut piece).await;
                let ended = piece.len() < wanted;
                position += piece.len() as u64;
                let failed = read.is_err();
                let piece = read.map(|()| Bytes::from(piece)).map_err(|error| {
                    let problem = Problem::from(error).while_trying(format!("read {path} at {position}"));
                    tracing::warn!("{problem}");
                    problem
                });
                if sender.send(piece).await.is_err() || failed || ended {
                    break;
                }
            }
            if let Err(error) = pool.release(ino).await {
                tracing::debug!(%error, "a file could not be let go of");
            }
        });
        Ok(receiver)
    }

    /// A regular file that the caller may read.
    async fn file(&self, caller: &Identity, path: &PoolPath) -> Result<Reference, Problem> {
        let tried = format!("read {path}");
        let found = self.resolve(caller, path, READ).await.map_err(|problem| problem.while_trying(&tried))?;
        let kind = self.pool().attributes(found.ino()).await?.kind;
        if kind != FileKind::File {
            let words = format!("{path} is no regular file");
            let kind = Kind::Engine(offshoot_engine::ErrorKind::Invalid);
            return Err(Problem::new(kind, words).while_trying(tried));
        }
        Ok(found)
    }

    /// What `ino` is known as, for messages.
    pub(super) async fn path_of(&self, ino: Ino) -> String {
        let path = self.pool().path(ino).await;
        path.map_or_else(|_| format!("inode {}", ino.0), |path| crate::path::text(&path))
    }
}
