//! A pool whose log is in the bucket: another machine goes on where one was lost or hangs, and the pool is forked and copied while a
//! server has it. A machine is a directory: nothing of one is in the other.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{BUCKET, LIMIT, Stand, TROUBLE_ONE_IN, write_durably};
use crate::program;
use crate::server::{SETTINGS, Server};

/// Files that are synced one by one before a machine is lost.
const FILES: usize = 40;
/// A pool whose server has done nothing for so long has settled.
const SETTLED_AFTER: Duration = Duration::from_secs(75);
/// How long an idle pool is watched in the long form.
const IDLE: Duration = Duration::from_secs(180);
/// The long form is at least as long.
const LONG: Duration = Duration::from_secs(300);

/// How long another machine took until it had the pool mounted.
#[derive(Default)]
struct Takeovers(Vec<Duration>);

impl Takeovers {
    fn start(&mut self, stand: &Stand<'_>, home: &Path) -> Result<Server> {
        let started = Instant::now();
        let server = Server::start(&stand.setting.binary, home)?;
        self.0.push(started.elapsed());
        Ok(server)
    }

    fn describe(&self) -> String {
        let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
        format!(
            "{} takeovers in {:.2} to {:.2} s",
            self.0.len(),
            seconds(self.0.iter().min()),
            seconds(self.0.iter().max())
        )
    }
}

impl Stand<'_> {
    /// Machines are lost, hang and come back; then forks and copies.
    pub(super) fn failover(&self) -> Result<String> {
        let (a, b) = (self.machine("machine-a", "failover")?, self.machine("machine-b", "failover")?);
        let mut takeovers = Takeovers::default();
        self.lost(&a, &b, &mut takeovers).context("a machine is lost")?;
        self.hanging(&a, &b, &mut takeovers).context("a machine hangs and comes back")?;
        let mut said = takeovers.describe();
        self.proxy.trouble_one_in(TROUBLE_ONE_IN);
        let mut troubled = Takeovers::default();
        let ended = self.lost(&b, &a, &mut troubled).and_then(|()| self.hanging(&b, &a, &mut troubled));
        self.proxy.trouble_one_in(0);
        ended.context("the same with trouble on the way")?;
        said.push_str(&format!(", with trouble {}", troubled.describe()));
        self.forked_and_copied(&a).context("forks and copies")?;
        if self.setting.duration >= LONG {
            said.push_str(&self.idle(&a).context("an idle pool")?);
        }
        Ok(said)
    }

    /// A home whose pool has its log in the bucket, and no directory for its state yet.
    fn machine(&self, name: &str, prefix: &str) -> Result<std::path::PathBuf> {
        let home = self.home(name, prefix)?;
        let path = home.join(SETTINGS);
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(path, text.replace("[storage]\n", "[storage]\ndurability = \"store\"\n"))?;
        Ok(home)
    }

    /// The server of `first` is killed, and `second` has all that was synced.
    fn lost(&self, first: &Path, second: &Path, takeovers: &mut Takeovers) -> Result<()> {
        let server = Server::start(&self.setting.binary, first)?;
        let machine = first.file_name().unwrap_or_default().display();
        let directory = format!("synced-{machine}-{}", takeovers.0.len());
        std::fs::create_dir(server.mount().join(&directory))?;
        let large: Vec<u8> =
            (0..500_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        write_durably(&server.mount().join(&directory).join("large"), &large)?;
        for number in 0..FILES {
            write_durably(
                &server.mount().join(&directory).join(number.to_string()),
                number.to_string().as_bytes(),
            )?;
        }
        let status = server.offshoot(&["status"])?;
        ensure!(status.contains("in the store"), "where the log is is not told:\n{status}");
        server.kill_now()?;
        let dead = server.bury()?;
        let server = takeovers.start(self, second)?;
        ensure!(
            std::fs::read(server.mount().join(&directory).join("large"))? == large,
            "a large file differs"
        );
        for number in 0..FILES {
            let found = std::fs::read_to_string(server.mount().join(&directory).join(number.to_string()))?;
            ensure!(found == number.to_string(), "file {number} has {found:?}");
        }
        server.offshoot(&["scrub"])?;
        drop(dead);
        server.stop()
    }

    /// The server of `first` stands still, `second` takes over, and the first one finds out when it goes on.
    fn hanging(&self, first: &Path, second: &Path, takeovers: &mut Takeovers) -> Result<()> {
        let mut hanging = Server::start(&self.setting.binary, first)?;
        write_durably(&hanging.mount().join("before"), b"by the first")?;
        hanging.pause()?;
        let taken = takeovers.start(self, second);
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                // Or nobody could end it.
                hanging.resume()?;
                return Err(error);
            }
        };
        let name = format!("by the second {}", takeovers.0.len());
        let written = write_durably(&taken.mount().join(&name), b"x");
        hanging.resume()?;
        written?;
        // Whatever it still answers, it makes nothing durable.
        let late = write_durably(&hanging.mount().join("late"), b"by the first");
        ensure!(late.is_err(), "a sync of a writer that was replaced was answered");
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = hanging.ended()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "the replaced writer goes on:\n{}", hanging.said());
            std::thread::sleep(Duration::from_millis(100));
        };
        ensure!(status.code() == Some(11), "the replaced writer ended with {status}:\n{}", hanging.said());
        ensure!(hanging.said().contains("taken over"), "it does not say why:\n{}", hanging.said());
        drop(hanging);
        ensure!(std::fs::read(taken.mount().join("before"))? == b"by the first", "what was synced is lost");
        ensure!(!taken.mount().join("late").exists(), "what was refused is there");
        ensure!(taken.mount().join(&name).exists(), "the second has lost something");
        taken.offshoot(&["scrub"])?;
        taken.stop()
    }

    /// Forks and copies of the pool, which a server has: in the bucket, and out of it to this machine and back.
    fn forked_and_copied(&self, home: &Path) -> Result<()> {
        let parent = Server::start(&self.setting.binary, home)?;
        write_durably(&parent.mount().join("shared"), b"shared")?;
        let (from, fork, copy) =
            (format!("s3://{BUCKET}/failover"), format!("s3://{BUCKET}/fork"), format!("s3://{BUCKET}/copy"));
        let here = self.place.join("copied").display().to_string();
        let run = |arguments: &[&str]| program::output(&mut self.offshoot(home, arguments), LIMIT);
        run(&["fork", &from, &fork])?;
        run(&["pool", "copy", &from, &here])?;
        run(&["pool", "copy", &here, &copy])?;
        write_durably(&parent.mount().join("shared"), b"changed in the parent")?;
        std::fs::remove_dir_all(parent.mount().join("synced-machine-a-0"))?;
        parent.offshoot(&["gc"])?;
        for (name, prefix) in [("of-the-fork", "fork"), ("of-the-copy", "copy")] {
            let server = Server::start(&self.setting.binary, &self.machine(name, prefix)?)?;
            ensure!(std::fs::read(server.mount().join("shared"))? == b"shared", "{name} has something else");
            ensure!(
                std::fs::read_dir(server.mount().join("synced-machine-a-0"))?.count() == FILES + 1,
                "{name} lacks files"
            );
            write_durably(&server.mount().join("own"), b"x")?;
            server.offshoot(&["scrub"])?;
            server.stop()?;
        }
        let listed = run(&["fork", "list", &from])?;
        ensure!(listed.contains(&fork) && !listed.contains(&copy), "the forks are not listed:\n{listed}");
        run(&["fork", "release", &fork])?;
        ensure!(run(&["fork", "list", &from])?.contains("No forks"), "a fork was not let go");
        parent.offshoot(&["gc"])?;
        parent.stop()
    }

    /// Requests of a server that nobody asks anything.
    fn idle(&self, home: &Path) -> Result<String> {
        let server = Server::start(&self.setting.binary, home)?;
        write_durably(&server.mount().join("last"), b"x")?;
        std::thread::sleep(SETTLED_AFTER);
        let (before, _) = self.proxy.counts();
        std::thread::sleep(IDLE);
        let requests = self.proxy.counts().0 - before;
        server.stop()?;
        ensure!(requests <= IDLE.as_secs() / 60, "an idle pool made {requests} requests in {IDLE:?}");
        Ok(format!(", {requests} requests in {} s of an idle pool", IDLE.as_secs()))
    }
}
