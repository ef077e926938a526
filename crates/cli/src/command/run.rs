//! `offshoot run`: serves what a settings file names.

use clap::Args;
use offshoot_engine::OpenMode;

use super::up::AcceptLoss;
use crate::Context;
use crate::daemon::{Daemon, notify};
use crate::failure::{Failure, Outcome};
use crate::settings::Settings;

/// Serve what a settings file names, in the foreground
///
/// SIGTERM and Ctrl-C stop cleanly. Tells systemd when it is ready (Type=notify).
#[derive(Args)]
pub(crate) struct Run {
    /// Fail if there is no pool yet, instead of making one
    #[arg(long)]
    no_create: bool,
    #[command(flatten)]
    loss: AcceptLoss,
}

impl Run {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        let config = context.server.config.as_ref().ok_or_else(|| {
            Failure::usage("`offshoot run` needs a settings file: offshoot run -c FILE")
                .advise("`offshoot init` writes one; `offshoot up` needs none")
        })?;
        let settings = Settings::load(config)?;
        let mode = if self.no_create { OpenMode::Existing } else { OpenMode::CreateIfMissing };
        let daemon =
            Daemon::start(&settings, mode, settings.fuse.mount_point.as_deref(), self.loss.accept_loss)?;
        let output = &context.output;
        if let Some(loss) = daemon.accepted_loss() {
            output.note(&format!("Opened with loss: {loss}."));
        }
        if daemon.created() {
            let is_encrypted = settings.storage.secret.is_some();
            let how = if is_encrypted { "encrypted" } else { "NOT ENCRYPTED" };
            output.note(&format!("Made a new pool at {}. It is {how}.", settings.storage.place.url()));
            if is_encrypted {
                output.note(
                    "Without the password or key nobody can read it again: keep a copy of that elsewhere.",
                );
            }
        }
        if let Some(mount_point) = &settings.fuse.mount_point {
            match daemon.mount(mount_point) {
                Ok(made) if made.cleared_dead => {
                    output.note(&format!(
                        "The server before this one had died; its mount at {} was cleared.",
                        made.mount_point
                    ));
                }
                Ok(_) => {}
                Err(failure) => {
                    daemon.stop(output)?;
                    return Err(failure);
                }
            }
        }
        output.note(&format!("Serving {} at {}", settings.storage.place.url(), daemon.socket().display()));
        notify::ready();
        let ended = daemon.wait();
        notify::stopping();
        let stopped = daemon.stop(output);
        ended.and(stopped)
    }
}
