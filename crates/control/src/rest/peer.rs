//! Who is at the other end of a Unix socket: user, group and supplementary groups, as the kernel knew them when it connected.
//!
//! The standard library and tokio tell user and group; the supplementary groups need `getsockopt(SO_PEERGROUPS)`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use tokio::net::UnixStream;

use crate::service::Identity;

/// The identity behind `stream`. Root and the user `owner`, who runs the server, are administrators.
///
/// # Errors
/// Those of `getsockopt(2)`.
pub(super) fn identity(stream: &UnixStream, owner: u32) -> io::Result<Identity> {
    let credentials = stream.peer_cred()?;
    let uid = credentials.uid();
    let groups = groups(stream)?;
    Ok(Identity { uid, gid: credentials.gid(), groups, administrator: uid == 0 || uid == owner })
}

fn groups(stream: &UnixStream) -> io::Result<Vec<u32>> {
    // Linux allows 65,536 groups; nearly all callers fit into the first try.
    let mut groups = vec![0u32; 64];
    loop {
        let mut length = size_of_val(groups.as_slice()) as libc::socklen_t;
        // SAFETY: the descriptor is open as long as `stream` lives; the kernel writes at most `length` bytes into the buffer
        // of that size, all values of which are valid `u32`, and puts the length it used or needs into `length`.
        let status = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let used = length as usize / size_of::<u32>();
        if status == 0 {
            groups.truncate(used);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || used <= groups.len() {
            return Err(error);
        }
        groups.resize(used, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_is_known_by_its_user_and_groups() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own = rustix::process::geteuid().as_raw();
        let mut expected: Vec<u32> =
            rustix::process::getgroups().unwrap().iter().map(|gid| gid.as_raw()).collect();
        let found = identity(&one, own).unwrap();
        let mut groups = found.groups.clone();
        groups.sort_unstable();
        expected.sort_unstable();
        assert_eq!((found.uid, groups, found.administrator), (own, expected, true));
        assert_eq!(identity(&one, own + 1).unwrap().administrator, own == 0);
    }
}
