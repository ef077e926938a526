//! `offshoot snapshot`: read-only clones in `/snapshots`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::time::Instant;

use clap::{Args, Subcommand};
use offshoot_control::wire::{Keep, PathText, PruneRequest, Pruned, Snapshot, SnapshotList, SnapshotRequest};
use offshoot_control::{Kind, time};
use offshoot_engine::ErrorKind;

use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::location::InPool;
use crate::output::{Table, counted, size};

/// Take, list, delete and prune snapshots
///
/// A snapshot is a read-only clone in /snapshots. It is a plain directory (or file): ls, cp, find and mv work on it, and rmdir,
/// `offshoot rm -r` and `offshoot snapshot delete` remove it as a whole. `rm -r` cannot, for it would empty it first, and
/// nothing in it can be changed. A path that is called list, delete or prune is given as /list.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct SnapshotCommand {
    #[command(subcommand)]
    action: Option<Action>,
    /// What to take a snapshot of
    #[arg(required = true)]
    path: Option<OsString>,
    /// Name of the snapshot; without one, path and time
    name: Option<OsString>,
    #[command(flatten)]
    sync: super::clone::Sync,
}

#[derive(Subcommand)]
enum Action {
    /// List snapshots, oldest first
    List {
        /// Only those of this path
        path: Option<OsString>,
    },
    /// Delete snapshots
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<OsString>,
        /// Only tell what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
    Prune(Prune),
}

/// Delete the snapshots of a path that no rule keeps
///
/// A rule keeps the newest snapshot of each of the last N hours, days, weeks, months or years that have any.
#[derive(Args)]
struct Prune {
    /// What the snapshots were taken of
    path: OsString,
    /// Keep the newest N
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_last: u64,
    /// Keep one of each of the last N hours
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_hourly: u64,
    /// Keep one of each of the last N days
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_daily: u64,
    /// Keep one of each of the last N weeks
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_weekly: u64,
    /// Keep one of each of the last N months
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_monthly: u64,
    /// Keep one of each of the last N years
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    keep_yearly: u64,
    /// Only tell what would be deleted
    #[arg(long)]
    dry_run: bool,
}

impl SnapshotCommand {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match self.action {
            None => {
                let path = self.path.ok_or_else(|| Failure::usage("`offshoot snapshot` needs a path"))?;
                take(context, &path, self.name, self.sync.wanted())
            }
            Some(Action::List { path }) => list(context, path.as_deref()),
            Some(Action::Delete { names, dry_run }) => delete(context, names, dry_run),
            Some(Action::Prune(prune)) => prune.run(context),
        }
    }
}

fn take(context: &Context, path: &OsStr, name: Option<OsString>, sync: bool) -> Outcome {
    let path = InPool::read(path)?;
    let request = SnapshotRequest {
        path: (&path.path).into(),
        name: name.map(|name| PathText::from(name.into_vec())),
        sync,
    };
    let started = Instant::now();
    let done = context.server.run(&[&path], async |client| Ok(client.snapshot(&request).await?));
    let made = done.map_err(|failure| {
        let exists = failure.is(Kind::Engine(ErrorKind::Exists));
        let missing = failure.is(Kind::Engine(ErrorKind::NotFound));
        failure.or_advise(|| {
            if exists {
                Some(
                    "give the snapshot another name, or delete the old one with `offshoot snapshot delete`"
                        .into(),
                )
            } else if missing {
                path.meant_locally(false)
            } else {
                None
            }
        })
    })?;
    let took = time::duration(started.elapsed());
    context.output.done(&made, |made| {
        let holds = format!("{}, {}", counted(made.files, "file"), size(made.logical_bytes));
        format!("Snapshot {} of {} ({holds}) in {took}", made.name, path.path)
    })
}

fn list(context: &Context, path: Option<&OsStr>) -> Outcome {
    let path = path.map(InPool::read).transpose()?;
    let paths: Vec<_> = path.iter().collect();
    let found = context
        .server
        .run(&paths, async |client| Ok(client.snapshots(path.as_ref().map(|path| &path.path)).await?))?;
    if found.snapshots.is_empty() && !context.output.json {
        context.output.note("There are no snapshots. `offshoot snapshot PATH` takes one.");
        return Ok(());
    }
    context.output.value(&found, |list: &SnapshotList| table(&list.snapshots))
}

fn table(snapshots: &[Snapshot]) -> String {
    let mut table = Table::new(&["NAME", "OF", "TAKEN (UTC)", ">FILES", ">SIZE"]);
    for snapshot in snapshots {
        table.row([
            snapshot.name.to_string(),
            snapshot.source.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string),
            time::for_table(snapshot.created.0),
            snapshot.files.to_string(),
            size(snapshot.logical_bytes),
        ]);
    }
    table.text()
}

fn delete(context: &Context, names: Vec<OsString>, dry_run: bool) -> Outcome {
    let names: Vec<Vec<u8>> = names.iter().map(|name| plain_name(name)).collect();
    let removed = context.server.run(&[], async |client| {
        if !dry_run {
            return Ok(client.delete_snapshots(&names).await?);
        }
        let all = client.snapshots(None).await?.snapshots;
        let mut paths = Vec::new();
        for name in &names {
            let found = all.iter().find(|snapshot| snapshot.name.as_bytes() == name);
            let shown = offshoot_control::path::text(name);
            let found = found.ok_or_else(|| {
                Failure::new(format!("there is no snapshot {shown:?}"))
                    .advise("`offshoot snapshot list` shows all")
            })?;
            paths.push(found.path.clone());
        }
        Ok(offshoot_control::wire::Removed { paths })
    })?;
    let lines =
        |verb: &str| -> String { removed.paths.iter().map(|path| format!("{verb} {path}\n")).collect() };
    if dry_run {
        return context.output.value(&removed, |_| lines("Would delete"));
    }
    context.output.done(&removed, |_| lines("Deleted").trim_end().to_owned())
}

/// `/snapshots/NAME` means the same as `NAME`.
pub(super) fn plain_name(name: &OsStr) -> Vec<u8> {
    let bytes = name.as_bytes();
    bytes.strip_prefix(b"/snapshots/").unwrap_or(bytes).to_vec()
}

impl Prune {
    fn run(self, context: &Context) -> Outcome {
        let path = InPool::read(&self.path)?;
        let keep = Keep {
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
        };
        if keep.is_empty() {
            return Err(Failure::usage("no rule says what to keep, and that would delete every snapshot")
                .advise("give at least one, such as --keep-daily 7"));
        }
        let request = PruneRequest { path: (&path.path).into(), keep, dry_run: self.dry_run };
        let pruned = context.server.run(&[&path], async |client| Ok(client.prune(&request).await?))?;
        context.output.value(&pruned, describe)
    }
}

fn describe(pruned: &Pruned) -> String {
    let mut table = Table::new(&["", "NAME", "TAKEN (UTC)", "KEPT BY"]);
    let mut rows: Vec<_> = pruned
        .kept
        .iter()
        .map(|kept| (&kept.snapshot, "keep", kept.reasons.join(", ")))
        .chain(pruned.deleted.iter().map(|snapshot| (snapshot, "delete", String::new())))
        .collect();
    rows.sort_by_key(|(snapshot, ..)| std::cmp::Reverse(snapshot.created));
    for (snapshot, verb, reasons) in rows {
        table.row([verb.into(), snapshot.name.to_string(), time::for_table(snapshot.created.0), reasons]);
    }
    let (deleted, kept) = (pruned.deleted.len() as u64, pruned.kept.len());
    let deleted = counted(deleted, "snapshot");
    let end = if pruned.dry_run {
        format!("Would delete {deleted}, keep {kept}\n")
    } else {
        format!("Deleted {deleted}, kept {kept}\n")
    };
    if pruned.kept.is_empty() && pruned.deleted.is_empty() { end } else { table.text() + &end }
}
