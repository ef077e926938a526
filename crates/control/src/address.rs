//! Where a server is: a Unix socket of this machine, or a TCP address.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{Mode, OFlags};
use tokio::net::{UnixListener, UnixStream};

/// The longest path that the kernel takes for a socket, less the final zero.
const SOCKET_PATH_MAX: usize = 107;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in a directory of this machine.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl FromStr for Address {
    type Err = String;

    /// Reads `unix:/path`, a path with a slash in it, `http://host:port` or `host:port`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(PathBuf::from(path.strip_prefix("//").unwrap_or(path))));
        }
        if text.starts_with("https://") {
            return Err("the control API speaks plain http; put a proxy that ends TLS in front of it".into());
        }
        let bare = text.strip_prefix("http://");
        let rest = bare.unwrap_or(text).trim_end_matches('/');
        if bare.is_none() && rest.contains('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        let port =
            rest.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) if !rest.contains('/') => Ok(Self::Tcp(rest.to_owned())),
            _ => Err(format!("{text:?} is no address of a server: give unix:/path or http://host:port")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => write!(f, "http://{address}"),
        }
    }
}

/// A name for a socket that the kernel takes however long its directory's path is. Valid as long as it lives.
struct ShortPath {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl ShortPath {
    fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= SOCKET_PATH_MAX {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let directory =
            rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _directory: Some(directory) })
    }
}

/// Connects to a socket.
///
/// # Errors
/// Those of `connect(2)`.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = ShortPath::of(path)?;
    UnixStream::connect(&short.path).await
}

/// Listens on a socket that every user of this machine may connect to (what they may do is decided by who they are). A socket
/// that nobody listens on any more is replaced.
///
/// # Errors
/// `AddrInUse` if someone listens; those of `bind(2)`.
pub async fn listen(path: &Path) -> io::Result<UnixListener> {
    if std::fs::symlink_metadata(path)
        .is_ok_and(|found| std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()))
    {
        if connect(path).await.is_ok() {
            return Err(io::Error::from(io::ErrorKind::AddrInUse));
        }
        std::fs::remove_file(path)?;
    }
    let short = ShortPath::of(path)?;
    let listener = UnixListener::bind(&short.path)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let unix = |path: &str| Ok(Address::Unix(PathBuf::from(path)));
        let tcp = |address: &str| Ok(Address::Tcp(address.into()));
        assert_eq!("unix:/run/x.sock".parse(), unix("/run/x.sock"));
        assert_eq!("unix:///run/x.sock".parse(), unix("/run/x.sock"));
        assert_eq!("./data/control.sock".parse(), unix("./data/control.sock"));
        assert_eq!("http://10.0.0.1:7660/".parse(), tcp("10.0.0.1:7660"));
        assert_eq!("[::1]:7660".parse(), tcp("[::1]:7660"));
        for bad in ["", "host", "http://host", "https://host:1", ":80", "host:port"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_socket_may_lie_deep_and_a_dead_one_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(150));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("control.sock");
        let listener = listen(&path).await.unwrap();
        connect(&path).await.unwrap();
        assert_eq!(listen(&path).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(connect(&path).await.is_err());
        listen(&path).await.unwrap();
    }
}
