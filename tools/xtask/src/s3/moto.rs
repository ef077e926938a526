//! A small S3 server: moto. It looks first and writes then, so puts with a condition have to come one at a time. Kept in a virtual
//! environment in the cache of the user.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::Account;
use crate::place::Place;
use crate::program::{self, Running};
use crate::workspace;

const VERSION: &str = "5.2.5";
const INSTALL_LIMIT: Duration = Duration::from_secs(15 * 60);
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running server; it ends when dropped.
pub(crate) struct Moto {
    address: SocketAddr,
    _running: Running,
}

impl Moto {
    /// Installs it if it is not there, and starts it on the loopback interface.
    pub(crate) fn start(place: &Place) -> Result<Self> {
        let program = install()?;
        // Whoever else asks for a port gets another one; the time between is short.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = std::fs::File::create(place.join("moto.log"))?;
        let mut running = program::start(
            Command::new(program)
                .args(["-H", "127.0.0.1", "-p", &port.to_string()])
                .current_dir(place.path())
                .stdout(log.try_clone()?)
                .stderr(log),
        )?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_for(address, &mut running)?;
        Ok(Self { address, _running: running })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// It takes any.
    pub(crate) fn account() -> Account {
        Account { key: "test".into(), secret: "test-secret".into() }
    }
}

/// Waits until somebody answers.
pub(super) fn wait_for(address: SocketAddr, running: &mut Running) -> Result<()> {
    let deadline = Instant::now() + START_LIMIT;
    while TcpStream::connect(address).is_err() {
        if let Some(status) = running.try_wait()? {
            bail!("the S3 server ended with {status}");
        }
        ensure!(Instant::now() < deadline, "the S3 server does not listen at {address}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn install() -> Result<PathBuf> {
    let home = workspace::cache_dir()?.join("tools").join(format!("moto-{VERSION}"));
    let program = home.join("bin/moto_server");
    if !program.is_file() {
        println!("installing moto {VERSION}");
        program::output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home), INSTALL_LIMIT)?;
        let what = format!("moto[server]=={VERSION}");
        let mut pip = Command::new(home.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &what]);
        program::output(&mut pip, INSTALL_LIMIT)?;
    }
    ensure!(program.is_file(), "the installation made no {}", program.display());
    Ok(program)
}
