//! `offshoot restore`: something out of a snapshot, as a clone in the pool or as a copy outside.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use clap::Args;
use offshoot_control::path::text;
use offshoot_control::wire::{PathText, RestoreRequest};
use offshoot_control::{Kind, PoolPath, time};
use offshoot_engine::ErrorKind;
use serde_json::json;

use super::du::contents;
use super::outlook::{Outlook, Plan};
use super::snapshot::plain_name;
use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::local_copy::{Copied, Existing, LocalCopy, measure};
use crate::location::{InPool, Location};
use crate::output::{counted, size};

/// Restore something out of a snapshot
///
/// In the pool this is a clone: in constant time, and isolated from the snapshot. To local:PATH it copies.
#[derive(Args)]
pub(crate) struct Restore {
    /// Name of the snapshot
    #[arg(long, value_name = "NAME")]
    snapshot: OsString,
    /// What to restore: its path when the snapshot was taken, or a path relative to the snapshot; all of it if absent
    #[arg(long, value_name = "PATH")]
    source: Option<OsString>,
    /// Where to: a path in the pool, or local:PATH
    #[arg(long, value_name = "PATH")]
    destination: OsString,
    /// Make missing directories above the destination
    #[arg(long)]
    parents: bool,
    /// Replace what is at the destination, atomically
    #[arg(long)]
    replace: bool,
    /// Only tell what would be restored and what would be replaced
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sync: super::clone::Sync,
}

impl Restore {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match Location::read(&self.destination)? {
            Location::Pool(destination) => self.clone_back(context, &destination),
            Location::Local(destination) => self.copy_out(context, &destination),
        }
    }

    /// The source as the server reads it, and the mount it may have been found below.
    fn source(&self) -> Outcome<(Option<PathText>, Option<InPool>)> {
        let Some(source) = &self.source else { return Ok((None, None)) };
        let bytes = source.as_bytes();
        if bytes.starts_with(b"/") || bytes.starts_with(b"./") || bytes.starts_with(b"../") {
            let found = InPool::read(source)?;
            return Ok((Some((&found.path).into()), Some(found)));
        }
        if bytes.starts_with(b"local:") {
            return Err(Failure::usage(format!(
                "{} is outside the pool, and a snapshot is inside",
                text(bytes)
            )));
        }
        Ok((Some(bytes.to_vec().into()), None))
    }

    fn clone_back(self, context: &Context, destination: &InPool) -> Outcome {
        let (source, found) = self.source()?;
        let request = RestoreRequest {
            snapshot: plain_name(&self.snapshot).into(),
            source,
            destination: (&destination.path).into(),
            parents: self.parents,
            replace: self.replace,
            sync: self.sync.wanted(),
        };
        let started = Instant::now();
        let paths: Vec<_> = found.iter().chain([destination]).collect();
        let advise = |failure: Failure| {
            let exists = failure.is(Kind::Engine(ErrorKind::Exists)) && !destination.path.is_root();
            let no_parent = failure.message.contains("the directory ") && !self.parents;
            let missing = failure.is(Kind::Engine(ErrorKind::NotFound)) && no_parent;
            failure.or_advise(|| {
                if exists {
                    Some("name another destination, or replace this one with --replace".into())
                } else {
                    missing.then(|| "make it, or give --parents".into())
                }
            })
        };
        if self.dry_run {
            let plan = Plan { parents: self.parents, replace: self.replace, verb: "restore" };
            let done = context.server.run(&paths, async |client| {
                let from = self.place(&client, request.snapshot.as_bytes(), request.source.as_ref()).await?;
                plan.outlook(&client, &from, &destination.path).await
            });
            return context.output.value(&done.map_err(advise)?, Outlook::describe);
        }
        let done = context.server.run(&paths, async |client| Ok(client.restore(&request).await?));
        let made = done.map_err(advise)?;
        let took = time::duration(started.elapsed());
        context
            .output
            .done(&made, |made| format!("Restored {} from {} in {took}", made.destination, made.source))
    }

    fn copy_out(self, context: &Context, destination: &Path) -> Outcome {
        let (source, found) = self.source()?;
        let paths: Vec<_> = found.iter().collect();
        let name = plain_name(&self.snapshot);
        if self.dry_run {
            return self.copy_outlook(context, destination, &paths, source.as_ref());
        }
        let started = Instant::now();
        let copied = context.server.run(&paths, async |client| {
            let from = self.place(&client, &name, source.as_ref()).await?;
            let copy = LocalCopy {
                client: &client,
                output: context.output,
                parents: self.parents,
                replace: self.replace,
                sync: self.sync.wanted(),
            };
            copy.run(&from, destination).await
        })?;
        let took = started.elapsed();
        let answer = json!({
            "destination": destination.display().to_string(),
            "files": copied.files,
            "directories": copied.directories,
            "copied_bytes": copied.bytes,
        });
        context.output.done(&answer, |_| describe(&copied, destination, took))
    }

    /// Tells what a copy would do.
    fn copy_outlook(
        &self,
        context: &Context,
        destination: &Path,
        paths: &[&InPool],
        source: Option<&PathText>,
    ) -> Outcome {
        let name = plain_name(&self.snapshot);
        let (from, info, replaces) = context.server.run(paths, async |client| {
            let from = self.place(&client, &name, source).await?;
            let info = client.info(&from, false).await?;
            let copy = LocalCopy {
                client: &client,
                output: context.output,
                parents: self.parents,
                replace: self.replace,
                sync: self.sync.wanted(),
            };
            let replaces = copy.examine(destination)?;
            Ok((from, info, replaces))
        })?;
        let old = replaces
            .then(|| measure(destination))
            .transpose()
            .map_err(|error| Failure::new(format!("cannot look at {}: {error}", destination.display())))?;
        let answer = json!({
            "dry_run": true,
            "source": PathText::from(&from),
            "destination": destination.display().to_string(),
            "files": info.files,
            "directories": info.directories,
            "logical_bytes": info.logical_bytes,
            "replaced": old.map(|old| json!({
                "files": old.files, "directories": old.directories, "logical_bytes": old.bytes,
            })),
        });
        let shown = destination.display();
        context.output.value(&answer, |_| {
            let holds = contents(info.files, info.directories);
            let mut text = format!("Would copy {from} ({holds}, {}) to {shown}\n", size(info.logical_bytes));
            if let Some(Existing { files, directories, bytes }) = old {
                let holds = contents(files, directories);
                text.push_str(&format!("Would replace {shown} ({holds}, {})\n", size(bytes)));
            }
            text
        })
    }

    /// The path in the pool of what is to be copied.
    async fn place(
        &self,
        client: &offshoot_control::Client,
        name: &[u8],
        source: Option<&PathText>,
    ) -> Outcome<PoolPath> {
        let shown = text(name);
        let all = client.snapshots(None).await?.snapshots;
        let snapshot =
            all.into_iter().find(|snapshot| snapshot.name.as_bytes() == name).ok_or_else(|| {
                Failure::new(format!("cannot restore: there is no snapshot {shown:?}"))
                    .advise("`offshoot snapshot list` shows all")
            })?;
        let refuse = |error: offshoot_control::path::PathError| Failure::usage(error.to_string());
        let root = snapshot.path.to_pool_path().map_err(refuse)?;
        let Some(source) = source else { return Ok(root) };
        if !source.as_bytes().starts_with(b"/") {
            let found = root.join(source.as_bytes()).map_err(refuse)?;
            let inside = found.below(&root).is_some();
            return inside
                .then_some(found)
                .ok_or_else(|| Failure::usage(format!("{source} leaves the snapshot")));
        }
        let source = source.to_pool_path().map_err(refuse)?;
        if source.below(&root).is_some() {
            return Ok(source);
        }
        let origin = snapshot.source.as_ref().and_then(|origin| origin.to_pool_path().ok());
        match origin.as_ref().and_then(|origin| source.below(origin)) {
            Some(below) => root.join(below).map_err(refuse),
            None => {
                let of = origin.map_or_else(|| "an unknown path".to_owned(), |origin| origin.to_string());
                Err(Failure::new(format!(
                    "{source} is not in the snapshot {shown:?}, which was taken of {of}"
                ))
                .advise(format!(
                    "give a path below {of}, or one relative to the snapshot, without a leading /"
                )))
            }
        }
    }
}

fn describe(copied: &Copied, destination: &Path, took: std::time::Duration) -> String {
    format!(
        "Copied {} and {}, {}, to {} in {}",
        counted(copied.files, "file"),
        counted(copied.directories, "directory"),
        size(copied.bytes),
        destination.display(),
        time::duration(took)
    )
}
