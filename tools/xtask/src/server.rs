//! The real binary, serving a pool of its own: `offshoot up --data PLACE/data --mount PLACE/pool`, or with a settings file in
//! the place, which says the same places, `offshoot run -c PLACE/offshoot.toml`.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::cleanup::{Guard, Undo};
use crate::mounts;
use crate::program::{self, Running};

/// A settings file in a place: that is served then.
pub(crate) const SETTINGS: &str = "offshoot.toml";
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(120);
const COMMAND_LIMIT: Duration = Duration::from_secs(300);

/// A running server with its mount; killed and unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    binary: PathBuf,
    data: PathBuf,
    mount: PathBuf,
    log: PathBuf,
    // The process goes before the mount: a mount without a server cannot be busy for long.
    running: Running,
    mounted: Guard,
}

impl Server {
    /// Starts it in `place`, on the pool that is there or a new one, and waits until it is mounted.
    pub(crate) fn start(binary: &Path, place: &Path) -> Result<Self> {
        Self::start_on(binary, place, &place.join("data"))
    }

    /// The same with the data directory somewhere else.
    pub(crate) fn start_on(binary: &Path, place: &Path, data: &Path) -> Result<Self> {
        Self::spawn(Command::new(binary), binary, place, data)?.mounted()
    }

    /// As [`Server::start`], in the control group at `group`.
    pub(crate) fn start_in(group: &Path, binary: &Path, place: &Path) -> Result<Self> {
        // The shell joins the group and becomes the server, so that nothing of the server is ever outside.
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(group.join("cgroup.procs")).arg(binary);
        Self::spawn(shell, binary, place, &place.join("data"))?.mounted()
    }

    /// Waits until it is mounted.
    fn mounted(mut self) -> Result<Self> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = self.ended()? {
                bail!("the server ended with {status} before it mounted:\n{}", self.said());
            }
            if is_served(&self.mount) {
                return Ok(self);
            }
            if Instant::now() > deadline {
                bail!("`offshoot up` did not mount within {} s:\n{}", START_LIMIT.as_secs(), self.said());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Starts `command`, which is the binary or becomes it, and does not wait.
    fn spawn(mut command: Command, binary: &Path, place: &Path, data: &Path) -> Result<Self> {
        let (mount, log) = (place.join("pool"), place.join("server.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let mounted = Guard::new(Undo::Mount(mount.clone()));
        let settings = place.join(SETTINGS);
        match settings.exists() {
            true => command.arg("run").arg("-c").arg(&settings),
            false => command.arg("up").arg("--data").arg(data).arg("--mount").arg(&mount),
        };
        let running = program::start(command.current_dir(place).stdout(out.try_clone()?).stderr(out))?;
        Ok(Self { binary: binary.to_owned(), data: data.to_owned(), mount, log, running, mounted })
    }

    /// Where the pool is mounted.
    pub(crate) fn mount(&self) -> &Path {
        &self.mount
    }

    /// A client command that talks to this server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.env("OFFSHOOT_SERVER", self.data.join("control.sock")).args(arguments);
        command
    }

    /// Runs a client command that must succeed and returns what it printed.
    pub(crate) fn offshoot(&self, arguments: &[&str]) -> Result<String> {
        program::output(&mut self.command(arguments), COMMAND_LIMIT)
    }

    /// Clones a path of the pool.
    pub(crate) fn clone_path(&self, source: &str, destination: &str) -> Result<()> {
        self.offshoot(&["clone", source, destination]).map(drop)
    }

    /// Resident memory of the server in bytes, and the most it ever was.
    pub(crate) fn resident_bytes(&self) -> Result<(u64, u64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.running.id()))?;
        let field = |name: &str| -> Result<u64> {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .context("the kernel tells no memory use")?;
            Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// Checks every structure of the pool, stops the server with SIGTERM and sees that it ends with 0 and leaves no mount.
    pub(crate) fn stop(mut self) -> Result<()> {
        if let Some(status) = self.running.try_wait()? {
            bail!("the server has ended with {status}:\n{}", said(&self.log));
        }
        self.offshoot(&["check"]).context("the pool is not sound")?;
        self.running.signal(Signal::TERM)?;
        let status = self.running.wait(STOP_LIMIT).with_context(|| said(&self.log))?;
        ensure!(status.success(), "after SIGTERM the server ended with {status}:\n{}", said(&self.log));
        ensure!(
            !mounts::is_mounted(&self.mount),
            "the server has ended and left its mount behind:\n{}",
            said(&self.log)
        );
        Ok(())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.running.try_wait()
    }

    /// The last it said.
    pub(crate) fn said(&self) -> String {
        said(&self.log)
    }

    /// Asks it to stop and does not wait.
    pub(crate) fn terminate(&self) -> Result<()> {
        self.running.signal(Signal::TERM)
    }

    /// Starts it and kills it after a while, mounted or not.
    pub(crate) fn start_and_kill(binary: &Path, place: &Path, after: Duration) -> Result<DeadMount> {
        let mut server = Self::spawn(Command::new(binary), binary, place, &place.join("data"))?;
        std::thread::sleep(after);
        if let Some(status) = server.ended()? {
            bail!("`offshoot up` ended with {status}:\n{}", server.said());
        }
        server.kill_now()?;
        server.bury()
    }

    /// Lets it stand still, as a machine that hangs.
    pub(crate) fn pause(&self) -> Result<()> {
        self.running.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> Result<()> {
        self.running.signal(Signal::CONT)
    }

    /// Kills the server on the spot.
    pub(crate) fn kill_now(&self) -> Result<()> {
        self.running.signal(Signal::KILL)
    }

    /// Waits until the killed server is gone. Its dead mount stays until the next server takes its place or the guard drops.
    pub(crate) fn bury(mut self) -> Result<DeadMount> {
        self.running.wait(STOP_LIMIT)?;
        Ok(DeadMount(self.mounted))
    }
}

/// The mount that a killed server left; goes when dropped.
#[derive(Debug)]
pub(crate) struct DeadMount(Guard);

impl DeadMount {
    /// A new server has taken the mount point over, and what becomes of it is that server's business.
    pub(crate) fn replaced(self) {
        self.0.dismiss();
    }
}

/// Whether our mount is there and answers: the same one before and after the question, because a new server takes away the
/// mount that a killed one left, and what is below it answers then.
fn is_served(point: &Path) -> bool {
    let asked = mounts::at(point).filter(|mount| mount.kind == "fuse.offshoot");
    asked.is_some() && answers(point) && mounts::at(point) == asked
}

/// Whether somebody is behind the mount: a dead one is still listed, and the kernel answers for it what it has cached. A name that
/// nobody has asked for before can only be denied by a server.
fn answers(point: &Path) -> bool {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let name = format!(".asked-{}-{}", std::process::id(), ASKED.fetch_add(1, Ordering::Relaxed));
    std::fs::symlink_metadata(point.join(name)).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn said(log: &Path) -> String {
    program::tail(&std::fs::read_to_string(log).unwrap_or_default())
}
