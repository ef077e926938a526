//! A pool in a bucket of a real S3 server: through the real binary, mounted, killed, opened again, taken over, forked and copied, and
//! with a proxy between that makes trouble. What was acknowledged is there afterwards.

mod ceph;
#[cfg(feature = "bench")]
mod distance;
mod failover;
mod moto;
mod proxy;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::place::Place;
use crate::server::{SETTINGS, Server};
use crate::suite::{self, Setting, kill};
use crate::{install, program, workspace};
pub(crate) use ceph::Ceph;
#[cfg(feature = "bench")]
pub(crate) use distance::Distance;
use moto::Moto;
use proxy::Proxy;

/// What the short form needs.
pub(crate) const PACKAGES: &[&str] = &["python3-venv", "curl", "sqlite3", "fio"];
/// One request in so many has trouble.
const TROUBLE_ONE_IN: u64 = 12;
/// Kills in the short form.
const KILLS: u64 = 3;
const LIMIT: Duration = Duration::from_secs(120);
/// The bucket that tests and benchmarks use.
pub(crate) const BUCKET: &str = "pools";
/// The region that it is said to be in.
pub(crate) const REGION: &str = "us-east-1";

/// What `s3` is told.
#[derive(Args)]
pub(crate) struct S3Arguments {
    /// How long it shall go on, at least
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// Which server
    #[arg(long, value_enum, default_value_t = Kind::Moto)]
    server: Kind,
    /// Test this program instead of an optimised build
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Choose everything random by this number
    #[arg(long)]
    seed: Option<u64>,
}

/// A server that can be had on one machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Small, from the registry of Python
    Moto,
    /// Ceph's gateway, from Debian
    Ceph,
}

/// Who may use the server.
pub(crate) struct Account {
    pub(crate) key: String,
    pub(crate) secret: String,
}

/// A running server.
enum Store {
    Moto { _server: Moto },
    Ceph { _server: Ceph },
}

/// A server with a bucket, and the proxy before it.
struct Stand<'a> {
    setting: &'a Setting,
    place: &'a Place,
    account: Account,
    proxy: Proxy,
    _store: Store,
}

/// `cargo xtask s3`.
pub(crate) fn command(arguments: &S3Arguments) -> Result<ExitCode> {
    install::check_fuse()?;
    install::packages(PACKAGES)?;
    install::packages(&["fuse3"])?;
    let seed = arguments.seed.unwrap_or_else(suite::fresh_seed);
    println!("seed {seed}");
    let binary = arguments.binary.clone().map_or_else(workspace::build_offshoot, Ok)?;
    let duration = Duration::from_secs(arguments.minutes * 60);
    println!("{}", run(&Setting { binary, seed, duration, local: false }, arguments.server)?);
    Ok(ExitCode::SUCCESS)
}

/// The form for every run of the tests.
pub(crate) fn short(setting: &Setting) -> Result<String> {
    run(setting, Kind::Moto)
}

fn run(setting: &Setting, kind: Kind) -> Result<String> {
    ensure!(!setting.local, "it serves a pool, and the local disk is none");
    let place = Place::new("s3")?;
    let (store, account, address) = match kind {
        Kind::Moto => {
            let moto = Moto::start(&place)?;
            let address = moto.address();
            (Store::Moto { _server: moto }, Moto::account(), address)
        }
        Kind::Ceph => {
            install::packages(Ceph::PACKAGES)?;
            let ceph = Ceph::start(&place)?;
            let address = ceph.address();
            (Store::Ceph { _server: ceph }, Ceph::account(), address)
        }
    };
    make_bucket(address, &account)?;
    let proxy = Proxy::start(address, setting.seed, kind == Kind::Ceph)?;
    let stand = Stand { setting, place: &place, account, proxy, _store: store };
    let end = Instant::now() + setting.duration;
    stand.doctor().context("what the doctor finds")?;
    stand.whole_life().context("from the first start to a second writer")?;
    let failover = stand
        .failover()
        .with_context(|| format!("with the log in the bucket: {}", stand.proxy.describe()))?;
    let left = end.saturating_duration_since(Instant::now());
    let killed = stand.killed(left).with_context(|| format!("with trouble: {}", stand.proxy.describe()))?;
    let (requests, troubles) = stand.proxy.counts();
    Ok(format!(
        "{kind:?}: doctor, life and fencing as they should be; log in the bucket: {failover}; {killed}; {requests} requests, {troubles} with trouble: {}",
        stand.proxy.describe()
    ))
}

/// Makes [`BUCKET`] on a server.
pub(crate) fn make_bucket(address: SocketAddr, account: &Account) -> Result<()> {
    let Account { key, secret } = account;
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--request", "PUT"]);
    curl.args(["--aws-sigv4", &format!("aws:amz:{REGION}:s3"), "--user", &format!("{key}:{secret}")]);
    // Curl of Debian 12 signs this header if it is told, and Ceph wants it signed.
    curl.args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
    program::output(curl.arg(format!("http://{address}/{BUCKET}")), LIMIT).map(drop)
}

/// Writes the settings file of a server in `home` whose pool is in [`BUCKET`] below `prefix`; `storage` are more lines of that section.
pub(crate) fn write_settings(
    home: &Path,
    prefix: &str,
    endpoint: &str,
    account: &Account,
    storage: &str,
) -> Result<()> {
    let (shown, Account { key, secret }) = (home.display(), account);
    let text = format!(
        "[storage]\nurl = \"s3://{BUCKET}/{prefix}\"\nstate_dir = \"{shown}/data\"\n{storage}\n\
         [aws]\nendpoint = \"{endpoint}\"\nregion = \"{REGION}\"\naccess_key_id = \"{key}\"\n\
         secret_access_key = \"{secret}\"\n\
         [control]\nsocket = \"{shown}/data/control.sock\"\n\
         [servers.fuse]\nmount_point = \"{shown}/pool\"\n"
    );
    std::fs::create_dir_all(home.join("pool"))?;
    Ok(std::fs::write(home.join(SETTINGS), text)?)
}

impl Stand<'_> {
    /// A directory in the place whose settings file serves the bucket below `prefix`, with a log of its own.
    fn home(&self, name: &str, prefix: &str) -> Result<PathBuf> {
        let home = self.place.join(name);
        std::fs::create_dir_all(&home)?;
        self.write_settings(&home, prefix)?;
        Ok(home)
    }

    fn write_settings(&self, home: &Path, prefix: &str) -> Result<()> {
        write_settings(home, prefix, &self.proxy.url(), &self.account, "request_timeout = \"2s\"")
    }

    /// A command of the program with the settings of `home`.
    fn offshoot(&self, home: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.setting.binary);
        command.current_dir(home).args(["-c", SETTINGS]).args(arguments);
        command
    }

    /// The bucket is found fit; one that ignores conditions is not, and no pool is made in it; wrong credentials are told.
    fn doctor(&self) -> Result<()> {
        let home = self.home("doctor", "doctor")?;
        let said = program::output(&mut self.offshoot(&home, &["doctor"]), LIMIT)?;
        for word in ["racing puts", "requests", "listings"] {
            ensure!(said.contains(word), "the doctor does not tell of {word}:\n{said}");
        }
        self.proxy.unconditional(true);
        let refused = [["doctor", "-q"], ["run", "-q"]]
            .map(|arguments| program::finish(&mut self.offshoot(&home, &arguments), LIMIT));
        self.proxy.unconditional(false);
        for finished in refused {
            let finished = finished?;
            let all = format!("{}{}", finished.stdout, finished.stderr);
            ensure!(finished.status.code() == Some(1), "an unfit bucket was accepted:\n{all}");
            ensure!(all.contains("ignores If-None-Match"), "an unfit bucket is not told as one:\n{all}");
        }
        let text = std::fs::read_to_string(home.join(SETTINGS))?;
        let wrong = text.replace(&format!("s3://{BUCKET}/"), "s3://no-such-bucket/");
        std::fs::write(home.join(SETTINGS), wrong)?;
        let finished = program::finish(&mut self.offshoot(&home, &["run"]), LIMIT)?;
        ensure!(finished.stderr.contains("there is no bucket no-such-bucket"), "{}", finished.stderr);
        let Account { secret, .. } = &self.account;
        ensure!(!finished.stderr.contains(secret), "a secret is told:\n{}", finished.stderr);
        Ok(())
    }

    /// Create, write, clone, close, open, kill, open; then a second server takes over, and the first one finds out.
    fn whole_life(&self) -> Result<()> {
        let home = self.home("first", "life")?;
        let server = Server::start(&self.setting.binary, &home)?;
        let big: Vec<u8> =
            (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        write_durably(&server.mount().join("big"), &big)?;
        std::fs::create_dir(server.mount().join("d"))?;
        write_durably(&server.mount().join("d/small"), b"before")?;
        server.clone_path("/d", "/copy")?;
        write_durably(&server.mount().join("d/small"), b"after")?;
        let status = server.offshoot(&["status"])?;
        ensure!(status.contains(&format!("s3://{BUCKET}/life")), "status does not tell the url:\n{status}");
        let json = server.offshoot(&["status", "--json"])?;
        ensure!(json.contains("\"bucket_puts\""), "status does not count requests:\n{json}");
        server.offshoot(&["scrub"])?;
        server.stop()?;
        let server = Server::start(&self.setting.binary, &home)?;
        write_durably(&server.mount().join("d/late"), b"synced, in no checkpoint")?;
        server.kill_now()?;
        let dead = server.bury()?;
        let server = Server::start(&self.setting.binary, &home)?;
        dead.replaced();
        self.verify(server.mount(), &big)?;
        server.offshoot(&["check"])?;
        server.offshoot(&["scrub"])?;
        self.taken_over(server, &home, &big)
    }

    fn verify(&self, mount: &Path, big: &[u8]) -> Result<()> {
        ensure!(std::fs::read(mount.join("big"))? == big, "a large file is not what was written");
        for (name, content) in
            [("d/small", "after"), ("copy/small", "before"), ("d/late", "synced, in no checkpoint")]
        {
            let found = std::fs::read_to_string(mount.join(name))?;
            ensure!(found == content, "{name} has {found:?}");
        }
        Ok(())
    }

    /// A server with a copy of the log opens the pool while the first one lives.
    fn taken_over(&self, mut first: Server, home: &Path, big: &[u8]) -> Result<()> {
        let other = self.home("second", "life")?;
        std::fs::create_dir_all(other.join("data"))?;
        // Without the log the pool is not opened: what it holds would be lost.
        let finished = program::finish(&mut self.offshoot(&other, &["run"]), LIMIT)?;
        ensure!(!finished.status.success(), "a pool was opened without its log");
        ensure!(finished.stderr.contains("log"), "{}", finished.stderr);
        std::fs::remove_dir_all(other.join("data"))?;
        std::fs::create_dir_all(other.join("data"))?;
        for name in ["url", "log"] {
            let mut copy = Command::new("cp");
            program::output(copy.arg("-a").arg(home.join("data").join(name)).arg(other.join("data")), LIMIT)?;
        }
        let second = Server::start(&self.setting.binary, &other)?;
        self.verify(second.mount(), big)?;
        write_durably(&second.mount().join("d/of the second"), b"x")?;
        // The next checkpoint of the first one meets the manifest of the second.
        drop(std::fs::write(first.mount().join("d/of the first"), b"x"));
        drop(program::finish(&mut first.command(&["gc"]), LIMIT)?);
        let deadline = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = first.ended()? {
                break status;
            }
            ensure!(Instant::now() < deadline, "the first writer goes on:\n{}", first.said());
            std::thread::sleep(Duration::from_millis(100));
        };
        ensure!(status.code() == Some(11), "the first writer ended with {status}:\n{}", first.said());
        drop(first);
        self.verify(second.mount(), big)?;
        second.offshoot(&["scrub"])?;
        second.stop()
    }

    /// The kills of the suite `kill`, with trouble on the way to the bucket.
    fn killed(&self, left: Duration) -> Result<String> {
        self.write_settings(self.place.path(), "killed")?;
        self.proxy.trouble_one_in(TROUBLE_ONE_IN);
        let setting = Setting { duration: left, ..self.setting.clone() };
        kill::on(&setting, KILLS, self.place)
    }
}

fn write_durably(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    file.write_all(content)?;
    file.sync_all()?;
    // Its name too.
    std::fs::File::open(path.parent().context("a file has a directory")?)?.sync_all()?;
    Ok(())
}
