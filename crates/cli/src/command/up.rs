//! `offshoot up`: everything in one go.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use offshoot_bucket::BucketUrl;
use offshoot_control::Kind;
use offshoot_engine::OpenMode;
use offshoot_host::{FuseDevice, mount};
use serde_json::json;

use crate::Context;
use crate::connection::DEFAULT_DATA;
use crate::daemon::{Daemon, mount_point_to_make, notify};
use crate::failure::{Failure, Outcome};
use crate::settings::{Durability, Settings};

/// Make a pool if there is none, serve it and mount it
///
/// Needs no settings. The pool is in ./offshoot-data and is mounted at ./pool. Ctrl-C unmounts and stops cleanly; the
/// pool stays, and the next `offshoot up` has it again.
///
/// With --url the pool is in a bucket. Credentials, region and endpoint come from the environment: AWS_ACCESS_KEY_ID,
/// AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, and the same with GOOGLE_ and AZURE_. The log of what was synced
/// since the last checkpoint is in ./offshoot-data then, or with --durability store in the bucket too.
#[derive(Args)]
pub(crate) struct Up {
    /// A pool in a bucket: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX
    #[arg(long, value_name = "URL", value_parser = BucketUrl::from_str)]
    url: Option<BucketUrl>,
    /// Directory of the pool, or of the log of one in a bucket
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
    /// What a sync waits for: the local disk, or the store of the pool, so that another machine can go on
    #[arg(long, value_enum, default_value_t = Durability::Local)]
    durability: Durability,
    /// Where to mount it; made if it is missing
    #[arg(long, value_name = "DIR", default_value = "pool")]
    mount: PathBuf,
    /// Serve without a mount
    #[arg(long, conflicts_with = "mount")]
    no_mount: bool,
    #[command(flatten)]
    loss: AcceptLoss,
}

/// What `up` and `run` do with a pool that is damaged.
#[derive(Args)]
pub(super) struct AcceptLoss {
    /// Open a damaged pool in the newest state that can be read
    ///
    /// A pool whose log or newest manifest is damaged is refused, and the words of the refusal say what is lost. Copy the
    /// data directory first. With this flag the pool opens without what is lost, tells it, and keeps what is damaged:
    /// log files as log/kept-NUMBER, manifests in pool/damaged. A sound pool opens as ever.
    #[arg(long)]
    pub(super) accept_loss: bool,
}

/// What became of the mount.
enum Mounted {
    At { made_directory: bool, cleared_dead: bool },
    NotWanted,
    Impossible(String),
}

impl Up {
    pub(crate) fn run(self, context: &Context) -> Outcome {
        if context.server.config.is_some() {
            return Err(Failure::usage("`offshoot up` takes no settings file")
                .advise("`offshoot run -c FILE` serves what a settings file names"));
        }
        let data = std::path::absolute(&self.data).map_err(|error| Failure::new(error.to_string()))?;
        let mut settings = match &self.url {
            Some(url) => Settings::embedded_bucket(url.clone(), &data),
            None => Settings::embedded(&data),
        };
        settings.storage.durability = self.durability;
        let wants_mount = !self.no_mount && impossible().is_none();
        let point = wants_mount.then(|| mount_point_to_make(&self.mount)).transpose()?.flatten();
        let daemon =
            Daemon::start(&settings, OpenMode::CreateIfMissing, point.as_deref(), self.loss.accept_loss)?;
        if let Some(loss) = daemon.accepted_loss() {
            context.output.note(&format!("Opened with loss: {loss}."));
        }
        let mounted = match self.mount(&daemon) {
            Ok(mounted) => mounted,
            Err(failure) => {
                daemon.stop(&context.output)?;
                return Err(failure);
            }
        };
        self.tell(context, &daemon, &mounted)?;
        notify::ready();
        let ended = daemon.wait();
        context.output.note("\nStopping.");
        notify::stopping();
        let stopped = daemon.stop(&context.output);
        if matches!(mounted, Mounted::At { made_directory: true, .. }) {
            // Only if it is empty, that is, ours alone.
            let _ = std::fs::remove_dir(&self.mount);
        }
        ended.and(stopped)
    }

    fn mount(&self, daemon: &Daemon) -> Outcome<Mounted> {
        if self.no_mount {
            return Ok(Mounted::NotWanted);
        }
        if let Some(why) = impossible() {
            return Ok(Mounted::Impossible(why));
        }
        let mut made_directory = false;
        if !mount::is_dead(&self.mount) && !self.mount.exists() {
            std::fs::create_dir_all(&self.mount).map_err(|error| {
                Failure::new(format!("the mount point {} cannot be made: {error}", self.mount.display()))
                    .advise("name another place with --mount")
            })?;
            made_directory = true;
        }
        match daemon.mount(&self.mount) {
            Ok(made) => Ok(Mounted::At { made_directory, cleared_dead: made.cleared_dead }),
            Err(failure) => {
                if made_directory {
                    let _ = std::fs::remove_dir(&self.mount);
                }
                // This machine cannot; the server can do its work all the same.
                if failure.is(Kind::Unsupported) {
                    Ok(Mounted::Impossible(failure.message))
                } else {
                    Err(failure)
                }
            }
        }
    }

    fn tell(&self, context: &Context, daemon: &Daemon, mounted: &Mounted) -> Outcome {
        let at = matches!(mounted, Mounted::At { .. }).then(|| self.mount.display().to_string());
        let facts = json!({
            "data": self.data.display().to_string(),
            "url": self.url.as_ref().map(BucketUrl::to_string),
            "socket": daemon.socket().display().to_string(),
            "mount_point": at,
            "created": daemon.created(),
        });
        if context.output.json {
            return context.output.value(&facts, |_| String::new());
        }
        if context.output.quiet {
            return Ok(());
        }
        let mut text = String::new();
        let state = if daemon.created() { "new, NOT ENCRYPTED" } else { "opened" };
        match &self.url {
            Some(url) => {
                let log = match self.durability {
                    Durability::Local => dotted(&self.data),
                    Durability::Store => "in the bucket".into(),
                };
                text.push_str(&format!("Pool    {url} ({state})\nLog     {log}\n"));
            }
            None => text.push_str(&format!("Pool    {} ({state})\n", dotted(&self.data))),
        }
        match mounted {
            Mounted::At { cleared_dead, .. } => {
                if *cleared_dead {
                    text.push_str("        A server before this one had died; its mount was cleared.\n");
                }
                text.push_str(&format!("Mount   {}\n", dotted(&self.mount)));
            }
            Mounted::NotWanted => {}
            Mounted::Impossible(why) => text.push_str(&format!("Mount   not possible: {why}\n")),
        }
        text.push_str("\nTry, in another terminal:\n");
        let offshoot = program();
        let commands = match mounted {
            Mounted::At { .. } => {
                let pool = dotted(&self.mount);
                [
                    format!("cp -r /etc {pool}/etc"),
                    format!("{offshoot} clone {pool}/etc {pool}/copy"),
                    format!("{offshoot} snapshot {pool}/etc"),
                ]
            }
            _ => [
                format!("{offshoot} status"),
                format!("{offshoot} snapshot / first"),
                format!("{offshoot} ls /snapshots"),
            ],
        };
        for command in commands {
            text.push_str(&format!("  {command}\n"));
        }
        text.push_str("\nCtrl-C stops the server; the data stays.\n");
        context.output.data(&text)
    }
}

/// Why this machine cannot mount, with what to do about it.
pub(super) fn impossible() -> Option<String> {
    match mount::fuse_device() {
        FuseDevice::Ready => None,
        FuseDevice::Missing => Some(
            "there is no /dev/fuse. In a container, start it with --device /dev/fuse --cap-add SYS_ADMIN; on a \
             machine of your own, load the module with `modprobe fuse`. All commands work without a mount."
                .into(),
        ),
        FuseDevice::Forbidden => Some(
            "this user may not open /dev/fuse. Its usual mode is 0666: `chmod 666 /dev/fuse` as root. All commands \
             work without a mount."
                .into(),
        ),
        FuseDevice::Other => Some(
            "/dev/fuse is something else than the kernel's device, which is the character device 10:229. `offshoot doctor` says \
             how to mend that. All commands work without a mount."
                .into(),
        ),
    }
}

/// A relative path as people type it: `./pool`.
fn dotted(path: &Path) -> String {
    if path.is_absolute() || path.starts_with(".") || path.starts_with("..") {
        path.display().to_string()
    } else {
        format!("./{}", path.display())
    }
}

/// How this program is called from a shell here.
pub(super) fn program() -> String {
    let Ok(own) = std::env::current_exe() else { return "offshoot".into() };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|directory| directory.join("offshoot")).find(|file| file.is_file());
    let same = |file: PathBuf| std::fs::canonicalize(file).is_ok_and(|file| file == own);
    if found.is_some_and(same) {
        return "offshoot".into();
    }
    let here = std::env::current_dir().unwrap_or_default();
    match own.strip_prefix(&here) {
        Ok(relative) => format!("./{}", relative.display()),
        Err(_) => own.display().to_string(),
    }
}
