//! PostgreSQL: a cluster on the mount runs pgbench, its data directory is cloned meanwhile, and a second server starts from the
//! clone as after a crash. Its tables and indexes are sound, and its sums agree.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use super::{Setting, on_server};
use crate::program::{self, Running};
use crate::{install, place::Place};

const LIMIT: Duration = Duration::from_secs(5 * 60);
const READY_LIMIT: Duration = Duration::from_secs(90);
/// pgbench's unit: 100,000 accounts.
const SCALE: u64 = 2;

/// One server, one clone under load, one server on the clone.
pub(crate) fn run(setting: &Setting) -> Result<String> {
    let programs = install::postgres_programs()?;
    on_server(setting, "postgres", |server, place| {
        let sockets = for_postgres(&place.join("sockets"))?;
        let data = for_postgres(&server.mount().join("data"))?;
        let account = |dir: &Path| Cluster {
            programs: programs.clone(),
            sockets: sockets.clone(),
            dir: dir.to_owned(),
        };
        let original = account(&data);
        original.tool("initdb", &["--no-sync", "-A", "trust", "-E", "UTF8", "-D"], Some(&data))?;
        let first = original.start(place, "first")?;
        first.pgbench(&["-i", "-q", "-s", &SCALE.to_string()])?;

        let seconds = setting.duration.as_secs().clamp(10, 600).to_string();
        let load = std::thread::scope(|scope| {
            let load = scope.spawn(|| first.pgbench(&["-c", "4", "-j", "2", "-T", &seconds]));
            // Into the middle of it.
            std::thread::sleep(Duration::from_secs(4));
            let cloned = server.clone_path("/data", "/clone");
            ensure!(!load.is_finished(), "pgbench was done before the clone was made");
            cloned?;
            load.join().map_err(|_| anyhow::anyhow!("the load panicked"))?
        })?;
        let copy = account(&server.mount().join("clone"));
        // What a second machine would not have: the first server's claim.
        std::fs::remove_file(copy.dir.join("postmaster.pid"))?;
        let second = copy.start(place, "second")?;
        second.verify().context("in the clone")?;
        second.stop()?;
        first.verify().context("in the original")?;
        first.stop()?;
        Ok(transactions(&load))
    })
}

fn transactions(report: &str) -> String {
    let line = report.lines().find(|line| line.starts_with("tps")).unwrap_or("no rate reported");
    format!("clone taken under load starts and is sound ({line})")
}

fn for_postgres(dir: &Path) -> Result<PathBuf> {
    std::fs::create_dir(dir)?;
    let id = |flag| -> Result<u32> {
        Ok(program::output(Command::new("id").args([flag, "postgres"]), LIMIT)?.trim().parse()?)
    };
    chown(dir, Some(id("-u")?), Some(id("-g")?))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
    Ok(dir.to_owned())
}

struct Cluster {
    programs: PathBuf,
    sockets: PathBuf,
    dir: PathBuf,
}

struct Database {
    programs: PathBuf,
    sockets: PathBuf,
    port: String,
    log: PathBuf,
    running: Running,
}

fn as_postgres(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    command
}

impl Cluster {
    fn tool(&self, name: &str, arguments: &[&str], last: Option<&Path>) -> Result<String> {
        program::output(as_postgres(&self.programs.join(name)).args(arguments).args(last), LIMIT)
    }

    fn start(self, place: &Place, name: &str) -> Result<Database> {
        // Taken and let go: nothing else asks for this port in the meantime on a test machine.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
        let log = place.join(&format!("postgres-{name}.log"));
        let out = std::fs::File::create(&log)?;
        let mut command = as_postgres(&self.programs.join("postgres"));
        command
            .arg("-D")
            .arg(&self.dir)
            .args(["-p", &port, "-c", "listen_addresses=", "-k"])
            .arg(&self.sockets);
        let running = program::start(command.stdout(out.try_clone()?).stderr(out))?;
        let mut database = Database { programs: self.programs, sockets: self.sockets, port, log, running };
        let deadline = Instant::now() + READY_LIMIT;
        while database.query("SELECT 1").is_err() {
            if database.running.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("the {name} server does not answer:\n{}", database.said());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(database)
    }
}

impl Database {
    fn client(&self, name: &str) -> Command {
        let mut command = as_postgres(&self.programs.join(name));
        command.arg("-h").arg(&self.sockets).args(["-p", &self.port]);
        command
    }

    fn query(&self, statement: &str) -> Result<String> {
        program::output(self.client("psql").args(["-X", "-A", "-t", "-c", statement, "postgres"]), LIMIT)
    }

    fn pgbench(&self, arguments: &[&str]) -> Result<String> {
        program::output(
            self.client("pgbench").args(arguments).arg("postgres"),
            LIMIT + Duration::from_secs(600),
        )
        .with_context(|| self.said())
    }

    /// Heaps and indexes are sound, no account is missing, and every transaction is whole: it adds one amount to four tables.
    fn verify(&self) -> Result<()> {
        self.query("CREATE EXTENSION IF NOT EXISTS amcheck")?;
        program::output(self.client("pg_amcheck").args(["--heapallindexed", "-d", "postgres"]), LIMIT)?;
        let answer = self.query(
            "SELECT (SELECT count(*) FROM pgbench_accounts), (SELECT sum(abalance) FROM pgbench_accounts), \
             (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers), \
             (SELECT coalesce(sum(delta), 0) FROM pgbench_history)",
        )?;
        let numbers = answer.trim().split('|').map(str::parse::<i64>).collect::<Result<Vec<_>, _>>()?;
        ensure!(numbers.first() == Some(&(100_000 * SCALE as i64)), "accounts are missing: {answer}");
        ensure!(numbers[2..].iter().all(|sum| *sum == numbers[1]), "the sums differ: {answer}");
        Ok(())
    }

    /// A fast shutdown, which ends with 0.
    fn stop(mut self) -> Result<()> {
        self.running.signal(Signal::INT)?;
        let status = self.running.wait(LIMIT)?;
        ensure!(status.success(), "PostgreSQL ended with {status}:\n{}", self.said());
        Ok(())
    }

    fn said(&self) -> String {
        program::tail(&std::fs::read_to_string(&self.log).unwrap_or_default())
    }
}
