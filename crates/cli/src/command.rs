//! The commands, one file each.

mod check;
mod clone;
mod completion;
mod demo;
mod diff;
mod doctor;
mod du;
mod fork;
mod gc;
mod info;
mod init;
mod job;
mod ls;
mod man;
mod mount;
mod outlook;
mod pool;
mod pool_copy;
mod restore;
mod rm;
mod run;
mod snapshot;
mod status;
mod top;
mod umount;
mod up;

use clap::Subcommand;

use crate::Context;
use crate::failure::Outcome;

#[derive(Subcommand)]
pub(crate) enum Command {
    Up(up::Up),
    Init(init::Init),
    Run(run::Run),
    Mount(mount::MountCommand),
    Umount(umount::Umount),
    Clone(clone::CloneCommand),
    Fork(fork::ForkCommand),
    Snapshot(snapshot::SnapshotCommand),
    Restore(restore::Restore),
    Diff(diff::Diff),
    Du(du::Du),
    Ls(ls::Ls),
    Rm(rm::Rm),
    Info(info::InfoCommand),
    Pool(pool::PoolCommand),
    Status(status::Status),
    Top(top::Top),
    Gc(gc::Gc),
    Check(check::Check),
    Scrub(check::Scrub),
    Doctor(doctor::Doctor),
    Demo(demo::Demo),
    Completion(completion::Completion),
    Man(man::Man),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        match self {
            Self::Up(command) => command.run(context),
            Self::Init(command) => command.run(context),
            Self::Run(command) => command.run(context),
            Self::Mount(command) => command.run(context),
            Self::Umount(command) => command.run(context),
            Self::Clone(command) => command.run(context),
            Self::Fork(command) => command.run(context),
            Self::Snapshot(command) => command.run(context),
            Self::Restore(command) => command.run(context),
            Self::Diff(command) => command.run(context),
            Self::Du(command) => command.run(context),
            Self::Ls(command) => command.run(context),
            Self::Rm(command) => command.run(context),
            Self::Info(command) => command.run(context),
            Self::Pool(command) => command.run(context),
            Self::Status(command) => command.run(context),
            Self::Top(command) => command.run(context),
            Self::Gc(command) => command.run(context),
            Self::Check(command) => command.run(context),
            Self::Scrub(command) => command.run(context),
            Self::Doctor(command) => command.run(context),
            Self::Demo(command) => command.run(context),
            Self::Completion(command) => command.run(context),
            Self::Man(command) => command.run(context),
        }
    }
}
