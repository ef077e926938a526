//! `offshoot mount`: a mount of the running server.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use offshoot_control::wire::MountRequest;

use crate::Context;
use crate::failure::{Failure, Outcome};

/// Mount the pool of the running server at a directory
#[derive(Args)]
pub(crate) struct MountCommand {
    /// An existing directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Refuse changes through this mount
    #[arg(long)]
    read_only: bool,
    /// Let other users in; needs root or user_allow_other in /etc/fuse.conf
    #[arg(long)]
    allow_other: bool,
}

impl MountCommand {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let directory =
            std::path::absolute(&self.directory).map_err(|error| Failure::new(error.to_string()))?;
        let request = MountRequest {
            mount_point: directory.as_os_str().as_bytes().to_vec().into(),
            read_only: self.read_only,
            allow_other: self.allow_other.then_some(true),
        };
        let made = context.server.run(&[], async |client| Ok(client.mount(&request).await?))?;
        if made.cleared_dead {
            context.output.note("The server before this one had died; its mount was cleared.");
        }
        context.output.done(&made, |made| format!("Mounted at {}", made.mount_point))
    }
}
