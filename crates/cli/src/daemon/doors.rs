//! What a server needs besides its pool: tokens, addresses, a socket, a mount point. All of it is looked at before a pool is made,
//! so that a mistake in the settings leaves nothing behind.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use offshoot_control::rest::Token;
use offshoot_host::FuseDevice;
use offshoot_serve::fuse::examine_mount_point;
use rustix::fs::Access;
use tokio::runtime::Runtime;

use crate::failure::{Failure, Outcome};
use crate::settings::Settings;

/// Addresses that are listened on, with the tokens that open them.
pub(super) struct Doors(Vec<(TcpListener, Token)>);

impl Doors {
    /// Looks at everything and takes the addresses.
    pub(super) fn open(settings: &Settings, mount_point: Option<&Path>) -> Outcome<Self> {
        let mut doors = Vec::new();
        for address in &settings.control.addresses {
            let token = read_token(settings)?;
            doors.push((listen(address)?, token));
        }
        if let Some(socket) = &settings.control.socket {
            let directory = socket.parent().unwrap_or(Path::new("/"));
            usable(directory, "the directory of the control socket")?;
        }
        if let Some(directory) = settings.storage.place.directory() {
            usable(directory, "the pool's directory")?;
        }
        if let Some(point) = mount_point {
            let device = offshoot_host::fuse_device();
            if matches!(device, FuseDevice::Missing | FuseDevice::Other) {
                let words = format!("cannot mount at {}: this machine has no /dev/fuse", point.display());
                return Err(Failure::new(words).advise("`offshoot doctor` says what to do about it"));
            }
            examine_mount_point(point).map_err(|error| {
                let why = offshoot_control::problem::with_causes(&error);
                Failure::new(format!("cannot mount at {}: {why}", point.display()))
            })?;
        }
        Ok(Self(doors))
    }

    /// Hands the addresses over to a runtime.
    pub(super) fn into_listeners(self, runtime: &Runtime) -> Outcome<Vec<(tokio::net::TcpListener, Token)>> {
        let _inside = runtime.enter();
        let hand_over = |(listener, token): (TcpListener, Token)| {
            let listener = listener
                .set_nonblocking(true)
                .and_then(|()| tokio::net::TcpListener::from_std(listener))
                .map_err(|error| Failure::new(format!("the control API cannot listen: {error}")))?;
            Ok((listener, token))
        };
        self.0.into_iter().map(hand_over).collect()
    }
}

fn read_token(settings: &Settings) -> Outcome<Token> {
    let file = settings
        .control
        .token_file
        .as_ref()
        .ok_or_else(|| Failure::usage("an address of the control API needs `control.token_file`"))?;
    let refused = |reason: String| Failure::usage(format!("the token file {}: {reason}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    Token::new(&text).map_err(refused)
}

fn listen(address: &SocketAddr) -> Outcome<TcpListener> {
    let listener = TcpListener::bind(address)
        .map_err(|error| Failure::new(format!("the control API cannot listen at {address}: {error}")))?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "the control API is open to the network in plain HTTP; end TLS in front of it");
    }
    Ok(listener)
}

/// Fails if nothing can be made in the directory `path`. It may be missing, and directories on the way too.
fn usable(path: &Path, what: &str) -> Outcome {
    let refused = |why: String| {
        let shown = path.display();
        Failure::new(format!("{what} {shown} cannot be made or written to: {why}"))
            .advise("name another place")
    };
    let absolute = std::path::absolute(path).map_err(|error| refused(error.to_string()))?;
    let mut existing: &Path = &absolute;
    let found = loop {
        match std::fs::metadata(existing) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            found => break found.map_err(|error| refused(error.to_string()))?,
        }
        existing = existing.parent().unwrap_or(Path::new("/"));
    };
    if !found.is_dir() {
        return Err(refused(format!("{} is no directory", existing.display())));
    }
    rustix::fs::access(existing, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| refused(format!("{}: {error}", existing.display())))
}

/// Where `up` is going to mount, if that is there already; a directory that is missing is made later.
pub(crate) fn mount_point_to_make(point: &Path) -> Outcome<Option<PathBuf>> {
    if offshoot_host::mount::is_dead(point) || point.exists() {
        return Ok(Some(point.to_owned()));
    }
    usable(point, "the mount point")?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_is_told_and_nothing_is_made() {
        let directory = tempfile::tempdir().unwrap();
        usable(directory.path(), "x").unwrap();
        usable(&directory.path().join("a/b/c"), "x").unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        for bad in ["file", "file/b"] {
            let failure = usable(&directory.path().join(bad), "the pool's directory").unwrap_err();
            assert!(failure.message.contains("the pool's directory"), "{failure}");
        }
        assert_eq!(mount_point_to_make(&directory.path().join("new")).unwrap(), None);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_mount_point_that_does_not_fit_is_refused_with_the_addresses_untouched() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        let settings = Settings::embedded(&directory.path().join("data"));
        let failure = Doors::open(&settings, Some(directory.path())).err().unwrap();
        assert!(failure.message.contains("cannot mount at") && failure.message.contains("not empty"));
        assert!(!directory.path().join("data").exists());
    }
}
