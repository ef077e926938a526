//! `offshoot clone`: the primitive.

use std::ffi::OsString;
use std::time::Instant;

use clap::Args;
use offshoot_control::wire::CloneRequest;
use offshoot_control::{Kind, time};
use offshoot_engine::ErrorKind;

use super::outlook::{Outlook, Plan};
use crate::Context;
use crate::failure::{Failure, Outcome};
use crate::location::InPool;

/// Clone a file or a directory with everything below it, in constant time
///
/// Both sides can be changed and do not see each other's changes. No data is copied.
#[derive(Args)]
pub(crate) struct CloneCommand {
    /// What to clone
    #[arg(value_name = "SOURCE", required_unless_present = "source_option")]
    source: Option<OsString>,
    /// Where the clone is to be
    #[arg(value_name = "DESTINATION", required_unless_present = "destination_option")]
    destination: Option<OsString>,
    /// What to clone
    #[arg(
        long = "source",
        id = "source_option",
        value_name = "PATH",
        conflicts_with = "source",
        requires = "destination_option"
    )]
    source_option: Option<OsString>,
    /// Where the clone is to be
    #[arg(
        long = "destination",
        id = "destination_option",
        value_name = "PATH",
        conflicts_with = "destination",
        requires = "source_option"
    )]
    destination_option: Option<OsString>,
    /// Make a clone that refuses every change
    #[arg(long)]
    read_only: bool,
    /// Make missing directories above the destination
    #[arg(long)]
    parents: bool,
    /// Replace what is at the destination, atomically
    #[arg(long)]
    replace: bool,
    /// Only tell what would be cloned and what would be replaced
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sync: Sync,
}

/// When a command is done.
#[derive(Args)]
pub(super) struct Sync {
    /// Answer when it survives a power cut (the default)
    #[arg(long, overrides_with = "no_sync")]
    sync: bool,
    /// Answer as soon as it is visible
    #[arg(long, overrides_with = "sync")]
    no_sync: bool,
}

impl Sync {
    pub(super) fn wanted(&self) -> bool {
        self.sync || !self.no_sync
    }
}

impl CloneCommand {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let missing = || Failure::usage("`offshoot clone` needs a source and a destination");
        let source = InPool::read(&self.source.or(self.source_option).ok_or_else(missing)?)?;
        let destination = InPool::read(&self.destination.or(self.destination_option).ok_or_else(missing)?)?;
        if self.dry_run {
            let plan = Plan { parents: self.parents, replace: self.replace, verb: "clone" };
            let done = context.server.run(&[&source, &destination], async |client| {
                plan.outlook(&client, &source.path, &destination.path).await
            });
            let outlook = done.map_err(|failure| advise(failure, &source, &destination, self.parents))?;
            return context.output.value(&outlook, Outlook::describe);
        }
        let request = CloneRequest {
            source: (&source.path).into(),
            destination: (&destination.path).into(),
            read_only: self.read_only,
            parents: self.parents,
            replace: self.replace,
            sync: self.sync.wanted(),
        };
        let started = Instant::now();
        let paths = [&source, &destination];
        let done = context.server.run(&paths, async |client| Ok(client.clone_tree(&request).await?));
        let made = done.map_err(|failure| advise(failure, &source, &destination, self.parents))?;
        let took = time::duration(started.elapsed());
        context.output.done(&made, |made| format!("Cloned {} to {} in {took}", made.source, made.destination))
    }
}

/// What to do about a clone that failed.
pub(super) fn advise(failure: Failure, source: &InPool, destination: &InPool, parents: bool) -> Failure {
    let exists = failure.is(Kind::Engine(ErrorKind::Exists)) && !destination.path.is_root();
    let missing = failure.is(Kind::Engine(ErrorKind::NotFound));
    let no_parent = missing && failure.message.contains("the directory ") && !parents;
    failure.or_advise(|| {
        if exists {
            return Some("name another destination, or replace this one with --replace".into());
        }
        if !missing {
            return None;
        }
        let local = source.meant_locally(false);
        local.or_else(|| no_parent.then(|| "make it, or give --parents".into()))
    })
}
