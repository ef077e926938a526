//! A real object store on one machine: Ceph's monitor, one storage daemon in memory, and its S3 gateway.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Account;
use super::moto::wait_for;
use crate::place::Place;
use crate::program::{self, Running};

const LIMIT: Duration = Duration::from_secs(120);
/// What the storage daemon holds.
const STORE_BYTES: u64 = 4 << 30;

/// A running store; its daemons end when it drops.
pub(crate) struct Ceph {
    address: SocketAddr,
    settings: PathBuf,
    _daemons: Vec<Running>,
}

impl Ceph {
    /// The packages it comes in.
    pub(crate) const PACKAGES: &[&str] = &["radosgw", "ceph-mon", "ceph-osd"];

    /// Starts one in `place`.
    pub(crate) fn start(place: &Place) -> Result<Self> {
        let dir = place.join("ceph");
        for name in ["", "mon", "osd", "run", "log"] {
            std::fs::create_dir_all(dir.join(name))?;
        }
        let [monitor, gateway] = ports()?;
        let cluster = uuid()?;
        let settings = dir.join("ceph.conf");
        std::fs::write(&settings, text(&dir, &cluster, monitor, gateway))?;
        let mut store =
            Self { address: SocketAddr::from(([127, 0, 0, 1], gateway)), settings, _daemons: Vec::new() };
        let map = dir.join("monmap");
        let of_monitor = format!("[v2:127.0.0.1:{monitor}]");
        let mut make = Command::new("monmaptool");
        make.args(["--create", "--addv", "a", &of_monitor, "--fsid", &cluster]).arg(&map);
        program::output(&mut make, LIMIT)?;
        program::output(store.of("ceph-mon").args(["--mkfs", "-i", "a", "--monmap"]).arg(&map), LIMIT)?;
        store.daemon("ceph-mon", &["-i", "a"])?;
        let disk = uuid()?;
        program::output(store.of("ceph").args(["osd", "new", &disk]), LIMIT)?;
        program::output(
            store.of("ceph").args(["osd", "crush", "add", "osd.0", "1.0", "root=default", "host=here"]),
            LIMIT,
        )?;
        program::output(store.of("ceph-osd").args(["-i", "0", "--mkfs", "--osd-uuid", &disk]), LIMIT)?;
        store.daemon("ceph-osd", &["-i", "0"])?;
        store.wait_for_disk()?;
        store.daemon("radosgw", &["-n", "client.rgw"])?;
        let address = store.address;
        wait_for(address, store._daemons.last_mut().context("the gateway was started")?)?;
        let Account { key, secret } = Self::account();
        let mut user = store.of("radosgw-admin");
        user.args(["-n", "client.rgw", "user", "create", "--uid=test", "--display-name=test"]);
        user.arg(format!("--access-key={key}")).arg(format!("--secret-key={secret}"));
        program::output(&mut user, LIMIT)?;
        Ok(store)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn account() -> Account {
        Account { key: "test".into(), secret: "test-secret".into() }
    }

    fn of(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.settings).env("CEPH_CONF", &self.settings);
        command
    }

    /// Starts a daemon that stays in the foreground, so that it is known by its process.
    fn daemon(&mut self, program: &str, arguments: &[&str]) -> Result<()> {
        let log = std::fs::File::create(self.settings.with_file_name(format!("{program}.said")))?;
        let mut command = self.of(program);
        command.args(arguments).arg("-f").stdout(log.try_clone()?).stderr(log);
        self._daemons.push(program::start(&mut command)?);
        Ok(())
    }

    fn wait_for_disk(&self) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let state = program::output(self.of("ceph").args(["osd", "stat"]), LIMIT)?;
            if state.contains("1 up") {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "Ceph's storage daemon does not come up: {state}");
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

fn ports() -> Result<[u16; 2]> {
    let listeners = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
    Ok([listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()])
}

fn uuid() -> Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned())
}

fn text(dir: &Path, cluster: &str, monitor: u16, gateway: u16) -> String {
    let dir = dir.display();
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "[global]\n\
         fsid = {cluster}\n\
         mon host = [v2:127.0.0.1:{monitor}]\n\
         mon initial members = a\n\
         public addr = 127.0.0.1\n\
         auth cluster required = none\n\
         auth service required = none\n\
         auth client required = none\n\
         osd pool default size = 1\n\
         osd pool default min size = 1\n\
         osd pool default pg num = 1\n\
         osd pool default pg autoscale mode = off\n\
         mon allow pool size one = true\n\
         mon max pg per osd = 1000\n\
         osd crush chooseleaf type = 0\n\
         run dir = {dir}/run\n\
         admin socket = {dir}/run/$name.$pid.asok\n\
         log file = {dir}/log/$name.log\n\
         pid file = {dir}/run/$name.pid\n\
         mon data = {dir}/mon\n\
         [osd]\n\
         osd data = {dir}/osd\n\
         osd objectstore = memstore\n\
         memstore device bytes = {STORE_BYTES}\n\
         [client.rgw]\n\
         rgw frontends = beast endpoint=127.0.0.1:{gateway}\n\
         ms mon client mode = crc\n\
         ms client mode = crc\n\
         rgw enable usage log = false\n\
         rgw enable apis = s3\n"
    );
    text
}
