//! Snapshots: read-only clones in `/snapshots`, and what is cloned back out of them.
//!
//! There is no list of snapshots beside the directory itself: what is a read-only clone there is a snapshot, with the
//! engine's record of its origin as its path and time. So `mv`, `cp` and `rm` work on them.

use offshoot_engine::report::Info;
use offshoot_engine::{ErrorKind, SetAttributes};

use super::access::Known;
use super::tree::{How, read_path};
use super::{Identity, SNAPSHOTS, Service};
use crate::path::{PoolPath, text};
use crate::problem::{Kind, Problem};
use crate::wire::{self, PathText};
use crate::{retention, time};

/// Mode of the directory of snapshots when this server makes it. A snapshot shows everything below the directory it was taken of
/// without the directories above, whose permissions may have hidden it; so the directory is closed to others until
/// its owner opens it.
const DIRECTORY_MODE: u32 = 0o750;
/// Default names that are tried within one second.
const DEFAULT_NAMES_MAX: u32 = 100;
/// Entries read at a time.
const PAGE: usize = 1000;
/// Longest part of a default name that comes from the path, in bytes.
const NAME_STEM_BYTES_MAX: usize = 200;

impl Service {
    /// Makes a snapshot.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `Permission`, and the kinds of a clone.
    pub async fn snapshot(
        &self,
        caller: &Identity,
        request: wire::SnapshotRequest,
    ) -> Result<wire::Snapshot, Problem> {
        let source = read_path(&request.path)?;
        let tried = match &request.name {
            Some(name) => format!("take the snapshot {:?} of {source}", name.to_string()),
            None => format!("take a snapshot of {source}"),
        };
        self.ensure_directory(caller).await.map_err(|problem| problem.while_trying(&tried))?;
        let how = How { read_only: true, parents: false, replace: false, sync: request.sync };
        let name = match request.name {
            Some(name) => {
                let name = check_name(name.0)?;
                self.clone_to(caller, &source, &place(&name)?, how, &tried).await?;
                name
            }
            None => self.snapshot_by_default_name(caller, &source, how, &tried).await?,
        };
        let destination = place(&name)?;
        let looked = format!("look at the snapshot {:?}, which was taken", text(&name));
        let found = self.resolve(caller, &destination, 0).await;
        let found = found.map_err(|problem| problem.while_trying(&looked))?;
        let info = self.pool().info(found.ino()).await;
        let info = info.map_err(|error| Problem::from(error).while_trying(&looked))?;
        Ok(describe(name, &info))
    }

    /// Takes a snapshot under the first default name that is free; there may be several within a second.
    async fn snapshot_by_default_name(
        &self,
        caller: &Identity,
        source: &PoolPath,
        how: How,
        tried: &str,
    ) -> Result<Vec<u8>, Problem> {
        let first = default_name(source, &time::for_file_name(self.now()));
        let mut name = first.clone();
        for number in 2..=DEFAULT_NAMES_MAX {
            match self.clone_to(caller, source, &place(&name)?, how, tried).await {
                Err(problem) if problem.kind == Kind::Engine(ErrorKind::Exists) => {
                    name = [&first[..], format!("-{number}").as_bytes()].concat();
                }
                Err(problem) => return Err(problem),
                Ok(_) => return Ok(name),
            }
        }
        self.clone_to(caller, source, &place(&name)?, how, tried).await.map(|_| name)
    }

    /// All snapshots, or those of one path, oldest first.
    ///
    /// # Errors
    /// `Permission`.
    pub async fn snapshots(
        &self,
        caller: &Identity,
        path: Option<&PoolPath>,
    ) -> Result<wire::SnapshotList, Problem> {
        let root = PoolPath::parse(SNAPSHOTS.as_bytes()).map_err(|error| internal(&error))?;
        let directory = match self.resolve(caller, &root, offshoot_vfs::permission::READ).await {
            Ok(directory) => directory,
            Err(problem) if problem.kind == Kind::Engine(ErrorKind::NotFound) => {
                return Ok(wire::SnapshotList { snapshots: Vec::new() });
            }
            Err(problem) => return Err(problem.while_trying("list snapshots")),
        };
        let mut snapshots = Vec::new();
        let mut cookie = 0;
        loop {
            let page = self.pool().read_dir(directory.ino(), cookie, PAGE, true).await?;
            let page: Vec<_> =
                page.into_iter().map(|item| (Known::new(self.pool(), item.attributes.ino), item)).collect();
            let Some((_, last)) = page.last() else { break };
            cookie = last.cookie;
            for (known, item) in &page {
                if !item.attributes.read_only {
                    continue;
                }
                match self.pool().info(known.ino()).await {
                    Ok(info) => snapshots.push(describe(item.name.clone(), &info)),
                    // Deleted in between.
                    Err(error) if matches!(error.kind(), ErrorKind::Stale | ErrorKind::NotFound) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if let Some(path) = path {
            let wanted = PathText::from(path);
            snapshots.retain(|snapshot| snapshot.source.as_ref() == Some(&wanted));
        }
        snapshots.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Ok(wire::SnapshotList { snapshots })
    }

    /// Deletes snapshots. All names are looked at before the first is deleted.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` for what is no snapshot, `Permission`.
    pub async fn delete_snapshots(
        &self,
        caller: &Identity,
        names: &[Vec<u8>],
        sync: bool,
    ) -> Result<wire::Removed, Problem> {
        let mut places = Vec::new();
        for name in names {
            let place = place(&check_name(name.clone())?)?;
            let tried = format!("delete the snapshot {:?}", text(name));
            let found = self.resolve(caller, &place, 0).await;
            let found = found.map_err(|problem| no_snapshot(problem, name).while_trying(&tried))?;
            let attributes = self.pool().attributes(found.ino()).await?;
            if !attributes.read_only {
                let words = format!("{place} is no snapshot, for it can be changed; `rm` removes it");
                return Err(Problem::new(Kind::Engine(ErrorKind::Invalid), words).while_trying(tried));
            }
            if !places.contains(&place) {
                places.push(place);
            }
        }
        for place in &places {
            self.remove(caller, place, true, false).await?;
        }
        self.sync_if(sync).await.map_err(|problem| problem.while_trying("delete snapshots"))?;
        Ok(wire::Removed { paths: places.iter().map(PathText::from).collect() })
    }

    /// Deletes the snapshots of a path that no rule keeps.
    ///
    /// # Errors
    /// `BadRequest` without a rule, `Permission`.
    pub async fn prune(
        &self,
        caller: &Identity,
        request: wire::PruneRequest,
    ) -> Result<wire::Pruned, Problem> {
        let path = read_path(&request.path)?;
        if request.keep.is_empty() {
            let words = "no rule says what to keep, and that would delete every snapshot; give at least one";
            return Err(
                Problem::new(Kind::BadRequest, words).while_trying(format!("prune snapshots of {path}"))
            );
        }
        let mut snapshots = self.snapshots(caller, Some(&path)).await?.snapshots;
        snapshots.reverse();
        let times: Vec<_> = snapshots.iter().map(|snapshot| snapshot.created.0).collect();
        let reasons = retention::reasons(&times, request.keep);
        let mut pruned = wire::Pruned { kept: Vec::new(), deleted: Vec::new(), dry_run: request.dry_run };
        for (snapshot, reasons) in snapshots.into_iter().zip(reasons) {
            if reasons.is_empty() {
                pruned.deleted.push(snapshot);
            } else {
                let reasons = reasons.into_iter().map(str::to_owned).collect();
                pruned.kept.push(wire::Kept { snapshot, reasons });
            }
        }
        if !request.dry_run && !pruned.deleted.is_empty() {
            let names: Vec<_> = pruned.deleted.iter().map(|snapshot| snapshot.name.0.clone()).collect();
            self.delete_snapshots(caller, &names, true).await?;
        }
        Ok(pruned)
    }

    /// Clones something out of a snapshot to a place that can be changed.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `Permission`, and the kinds of a clone.
    pub async fn restore(
        &self,
        caller: &Identity,
        request: wire::RestoreRequest,
    ) -> Result<wire::Cloned, Problem> {
        let name = check_name(request.snapshot.0)?;
        let destination = read_path(&request.destination)?;
        let tried = format!("restore from the snapshot {:?}", text(&name));
        let root = place(&name)?;
        let found = self.resolve(caller, &root, 0).await;
        let found = found.map_err(|problem| no_snapshot(problem, &name).while_trying(&tried))?;
        let source = match &request.source {
            None => root,
            Some(source) => {
                let info = self.pool().info(found.ino()).await?;
                let origin = info.origin.map(|origin| origin.path);
                source_in(&root, origin.as_deref(), source.as_bytes()).map_err(|p| p.while_trying(&tried))?
            }
        };
        let how =
            How { read_only: false, parents: request.parents, replace: request.replace, sync: request.sync };
        let tried = format!("restore {source} to {destination}");
        self.clone_to(caller, &source, &destination, how, &tried).await
    }

    /// Makes the directory of snapshots if there is none.
    async fn ensure_directory(&self, caller: &Identity) -> Result<(), Problem> {
        if self.vfs.resolve(SNAPSHOTS.as_bytes()).await.is_ok() {
            return Ok(());
        }
        if !caller.administrator {
            let words =
                format!("{SNAPSHOTS} does not exist, and only root or the server's own user may make it");
            return Err(Problem::new(Kind::Permission, words));
        }
        let owner = offshoot_vfs::Caller {
            uid: self.settings.owner,
            gid: self.settings.owner_group,
            groups: Vec::new(),
            privileged: true,
        };
        self.vfs.create_directories(&owner, SNAPSHOTS.as_bytes()).await?;
        let made = self.vfs.resolve(SNAPSHOTS.as_bytes()).await?;
        let set = SetAttributes { mode: Some(DIRECTORY_MODE), ..SetAttributes::default() };
        self.pool().set_attributes(made.ino(), set).await?;
        Ok(())
    }
}

/// The name and facts of a snapshot.
fn describe(name: Vec<u8>, info: &Info) -> wire::Snapshot {
    let path = [SNAPSHOTS.as_bytes(), b"/", &name].concat();
    wire::Snapshot {
        name: name.into(),
        path: path.into(),
        source: info.origin.as_ref().map(|origin| origin.path.clone().into()),
        created: info.origin.as_ref().map_or(info.attributes.btime, |origin| origin.time).into(),
        kind: info.attributes.kind.into(),
        files: info.files,
        directories: info.directories,
        logical_bytes: info.logical_bytes,
    }
}

/// A name that can stand in a directory.
fn check_name(name: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let bad = name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0);
    if bad || name.len() > 255 {
        let words =
            format!("{:?} is no name of a snapshot: 1 to 255 bytes without / and zero bytes", text(&name));
        return Err(Problem::new(Kind::BadRequest, words));
    }
    Ok(name)
}

/// The path of a snapshot.
fn place(name: &[u8]) -> Result<PoolPath, Problem> {
    PoolPath::parse(&[SNAPSHOTS.as_bytes(), b"/", name].concat()).map_err(|error| internal(&error))
}

fn internal(error: &dyn std::error::Error) -> Problem {
    Problem::new(Kind::Internal, error.to_string())
}

fn no_snapshot(problem: Problem, name: &[u8]) -> Problem {
    if problem.kind == Kind::Engine(ErrorKind::NotFound) {
        let words = format!("there is no snapshot {:?}; `offshoot snapshot list` shows all", text(name));
        return Problem::new(problem.kind, words);
    }
    problem
}

/// `/srv/data` at 2026-01-02T03:04:05Z is `srv-data-20260102T030405Z`.
fn default_name(path: &PoolPath, time: &str) -> Vec<u8> {
    let mut stem = path.components().collect::<Vec<_>>().join(&b'-');
    if stem.is_empty() {
        stem = b"root".to_vec();
    }
    if stem.len() > NAME_STEM_BYTES_MAX {
        // The end of a path tells more than its start; a character is not cut in two.
        let mut start = stem.len() - NAME_STEM_BYTES_MAX;
        while start < stem.len() && stem[start] & 0xc0 == 0x80 {
            start += 1;
        }
        stem.drain(..start);
    }
    [&stem[..], b"-", time.as_bytes()].concat()
}

/// Where in a snapshot `source` is: an absolute path as it was when the snapshot of `origin` was taken, or a path relative to its root.
fn source_in(root: &PoolPath, origin: Option<&[u8]>, source: &[u8]) -> Result<PoolPath, Problem> {
    let refuse = |words: String| Problem::new(Kind::BadRequest, words);
    let relative = if source.starts_with(b"/") {
        let source = PoolPath::parse(source).map_err(|error| refuse(error.to_string()))?;
        if source.below(root).is_some() {
            return Ok(source);
        }
        let origin = origin.and_then(|origin| PoolPath::parse(origin).ok());
        let origin = origin.ok_or_else(|| {
            refuse(format!(
                "it is not known what {root} was taken of; give a path relative to it, without a leading /"
            ))
        })?;
        let below = source.below(&origin).map(<[u8]>::to_vec);
        below.ok_or_else(|| {
            refuse(format!("{source} is not in it: it was taken of {origin}; paths in it start with that"))
        })?
    } else {
        source.to_vec()
    };
    let found = root.join(&relative).map_err(|error| refuse(error.to_string()))?;
    if found.below(root).is_none() {
        return Err(refuse(format!("{:?} leaves the snapshot", text(source))));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(words: &str) -> PoolPath {
        PoolPath::parse(words.as_bytes()).unwrap()
    }

    #[test]
    fn a_default_name_tells_path_and_time() {
        let name = |words: &str| String::from_utf8(default_name(&path(words), "T")).unwrap();
        assert_eq!(name("/srv/data"), "srv-data-T");
        assert_eq!(name("/"), "root-T");
        assert_eq!(name(&format!("/{}/end", "\u{e9}".repeat(127))).len(), 200 + 2);
        assert_eq!(name(&format!("/{}/ends", "\u{e9}".repeat(127))).len(), 199 + 2);
        assert!(name(&format!("/{}/end", "\u{e9}".repeat(127))).ends_with("-end-T"));
    }

    #[test]
    fn names_are_one_component() {
        for bad in ["", ".", "..", "a/b", "a\0"] {
            assert_eq!(check_name(bad.into()).unwrap_err().kind, Kind::BadRequest, "{bad:?}");
        }
        assert!(check_name(vec![b'n'; 256]).is_err());
        assert!(check_name(b"...".to_vec()).is_ok());
    }

    #[test]
    fn the_source_of_a_restore_is_found_in_the_snapshot() {
        let root = path("/snapshots/s");
        let found = |source: &str| {
            source_in(&root, Some(b"/srv/data"), source.as_bytes())
                .map(|path| path.to_string())
                .map_err(|p| p.detail)
        };
        assert_eq!(found("/srv/data/x/y"), Ok("/snapshots/s/x/y".into()));
        assert_eq!(found("/srv/data"), Ok("/snapshots/s".into()));
        assert_eq!(found("x"), Ok("/snapshots/s/x".into()));
        assert_eq!(found("."), Ok("/snapshots/s".into()));
        assert_eq!(found("/snapshots/s/x"), Ok("/snapshots/s/x".into()));
        assert!(found("/srv/database").unwrap_err().contains("taken of /srv/data"));
        assert!(found("../other").unwrap_err().contains("leaves the snapshot"));
        assert!(source_in(&root, None, b"/x").unwrap_err().detail.contains("relative"));
        let of_root = source_in(&root, Some(b"/"), b"/x").unwrap();
        assert_eq!(of_root, path("/snapshots/s/x"));
    }
}
