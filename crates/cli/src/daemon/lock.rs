//! The lock of a pool's directory: one process at a time.
//!
//! The kernel holds the lock for us and lets go of it when the process ends, however it ends. One that was killed and is not
//! gone yet is waited for. The file's content is for people.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use offshoot_host::dying;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::connection::{SOCKET_NAME, source_of};
use crate::failure::{Failure, Outcome};

/// How long a process that was killed may take to be gone.
const DYING_MAX: Duration = Duration::from_secs(10);

/// A lock, held as long as this lives.
pub(super) struct PoolLock {
    _file: File,
}

impl PoolLock {
    /// Takes the lock `name` of `directory`.
    pub(super) fn take(directory: &Path, name: &str) -> Outcome<Self> {
        let path = directory.join(name);
        let failed = |error: std::io::Error| {
            Failure::new(format!(
                "the pool in {} cannot be locked: {}: {error}",
                directory.display(),
                path.display()
            ))
        };
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => wait_for_the_dying(directory, &mut file)?,
            Err(error) => return Err(failed(error.into())),
        }
        let written = file.set_len(0).and_then(|()| file.rewind());
        written.and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Takes the lock as soon as a holder that was killed is gone, and helps it to go; any other holder is an error.
fn wait_for_the_dying(directory: &Path, file: &mut File) -> Outcome {
    let mut pid = String::new();
    let _ = file.read_to_string(&mut pid);
    let start = Instant::now();
    while start.elapsed() < DYING_MAX && pid.trim().parse().is_ok_and(dying::is_dying) {
        let source = source_of(&std::fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned()));
        for connection in dying::connections(&source).map(|(ours, _)| ours).unwrap_or_default() {
            // It may have ended by itself, and what cannot be done now is tried again.
            let _ = dying::end_connection(connection);
        }
        std::thread::sleep(Duration::from_millis(20));
        if rustix::fs::flock(&*file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(());
        }
    }
    // It may have gone between two looks.
    rustix::fs::flock(&*file, FlockOperation::NonBlockingLockExclusive).map_err(|_| held(directory, &pid))
}

fn held(directory: &Path, pid: &str) -> Failure {
    let who = match pid.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    };
    let socket = directory.join(SOCKET_NAME);
    Failure::in_use(format!("the pool in {} is in use by {who}", directory.display()))
        .advise(format!("use that server: `offshoot --server {} status`; or stop it first", socket.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_lock_is_held_once_and_names_its_holder() {
        let directory = tempfile::tempdir().unwrap();
        let lock = PoolLock::take(directory.path(), "lock").unwrap();
        let failure = PoolLock::take(directory.path(), "lock").err().unwrap();
        assert_eq!(failure.exit, Exit::InUse);
        assert!(failure.message.contains(&std::process::id().to_string()), "{failure}");
        drop(lock);
        PoolLock::take(directory.path(), "lock").unwrap();
    }
}
