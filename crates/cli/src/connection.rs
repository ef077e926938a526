//! Finding the server: `--server`, then `OFFSHOOT_SERVER`, then the settings file of `-c`, then the pool whose mount a path lies below,
//! then `./offshoot-data/control.sock`, then the system's socket.

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use offshoot_control::{Address, Client};

use crate::failure::{Failure, Outcome};
use crate::location::{InPool, common_source};
use crate::settings::Settings;

/// Name of the socket in a pool's directory.
pub(crate) const SOCKET_NAME: &str = "control.sock";
/// Where `up` has its pool unless told otherwise.
pub(crate) const DEFAULT_DATA: &str = "offshoot-data";
/// Where a system's server listens.
pub(crate) const SYSTEM_SOCKET: &str = "/run/offshoot/control.sock";
/// What stands before the directory in the source of a mount.
pub(crate) const SOURCE_PREFIX: &str = "offshoot:";

/// What the command line says about the server.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ServerOptions {
    /// Address of the server: unix:/path or http://host:port
    #[arg(long, global = true, value_name = "ADDRESS", env = "OFFSHOOT_SERVER", help_heading = "Server")]
    pub(crate) server: Option<String>,
    /// Settings file of the server
    #[arg(short = 'c', long, global = true, value_name = "FILE", help_heading = "Server")]
    pub(crate) config: Option<PathBuf>,
    /// File with the token of a server on TCP
    #[arg(long, global = true, value_name = "FILE", env = "OFFSHOOT_TOKEN_FILE", help_heading = "Server")]
    pub(crate) token_file: Option<PathBuf>,
}

impl ServerOptions {
    /// A client of the server that has the pool of `paths`.
    pub(crate) fn client(&self, paths: &[&InPool]) -> Outcome<Client> {
        let source = common_source(paths)?;
        let address = self.address(source.as_deref())?;
        let token = match &self.token_file {
            Some(file) => Some(std::fs::read_to_string(file).map_err(|error| {
                Failure::new(format!("the token file {} cannot be read: {error}", file.display()))
            })?),
            None => None,
        };
        tracing::info!(server = %address, "this server is asked");
        let client = Client::new(address, token.as_deref())?;
        if let Some(source) = source {
            client.expect_source(source.as_bytes());
        }
        Ok(client)
    }

    /// Runs `work` with a client until it ends or the user interrupts it.
    pub(crate) fn run<T, F, W>(&self, paths: &[&InPool], work: W) -> Outcome<T>
    where
        W: FnOnce(Client) -> F,
        F: Future<Output = Outcome<T>>,
    {
        let client = self.client(paths)?;
        interruptible(work(client))
    }

    fn address(&self, source: Option<&OsStr>) -> Outcome<Address> {
        if let Some(server) = &self.server {
            return server.parse().map_err(Failure::usage);
        }
        if let Some(config) = &self.config {
            return Ok(Address::Unix(Settings::load(config)?.socket()));
        }
        let candidates = candidates(source);
        match candidates.iter().find(|candidate| candidate.exists()) {
            Some(found) => Ok(Address::Unix(found.clone())),
            None => {
                let tried: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
                Err(Failure::no_pool(format!("no server was found: there is no {}", tried.join(" and no ")))
                    .advise("`offshoot up` starts one here; --server or OFFSHOOT_SERVER names another"))
            }
        }
    }
}

/// Where a socket may be, if nobody says.
fn candidates(source: Option<&OsStr>) -> Vec<PathBuf> {
    let of_mount = source.and_then(|source| source.as_bytes().strip_prefix(SOURCE_PREFIX.as_bytes()));
    let of_mount = of_mount.map(|directory| Path::new(OsStr::from_bytes(directory)).join(SOCKET_NAME));
    of_mount
        .into_iter()
        .chain([Path::new(".").join(DEFAULT_DATA).join(SOCKET_NAME), PathBuf::from(SYSTEM_SOCKET)])
        .collect()
}

/// The source that mounts of the pool in `directory` show.
pub(crate) fn source_of(directory: &Path) -> OsString {
    let mut source = OsString::from(SOURCE_PREFIX);
    source.push(directory);
    source
}

/// Runs a future on this thread until it ends or the user presses Ctrl-C; then it is dropped.
pub(crate) fn interruptible<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the runtime cannot start: {error}")))?;
    runtime.block_on(async {
        tokio::select! {
            outcome = work => outcome,
            _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_of_a_mount_comes_before_the_usual_places() {
        let found = candidates(Some(OsStr::new("offshoot:/srv/a")));
        assert_eq!(found[0], Path::new("/srv/a/control.sock"));
        assert_eq!(found[1..], candidates(None)[..]);
        assert_eq!(source_of(Path::new("/srv/a")), "offshoot:/srv/a");
    }
}
