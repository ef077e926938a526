//! A small process beside the server that ends the connections of its mounts if it is killed and cannot end by itself.
//!
//! Why that happens is told in [`offshoot_host::dying`]. The process is this program under another name. It reads a
//! pipe that the server holds open: when the pipe ends, all of the server is gone, and so is what it held. If the server is
//! dying and the pipe stays, something is stuck, and nobody else has the pool, because its lock is stuck as well.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use offshoot_host::dying;

/// The name that makes this program a watchdog.
const NAME: &str = "offshoot-watchdog";
/// How often it looks. A server that ends as it should takes less from kill to end.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a connection is remembered after its mount has gone.
const REMEMBERED: Duration = Duration::from_secs(30);

/// The process; it ends when this drops.
pub(super) struct Watchdog(Child);

impl Watchdog {
    /// Starts one for this process and the mounts of `source`. Without one the server works all the same, so that it cannot be
    /// started is told and no more.
    pub(super) fn start(source: &str) -> Option<Self> {
        let mut command = Command::new("/proc/self/exe");
        // A group of its own: a Ctrl-C in the terminal, or a kill of the server's group, is not for it.
        command.arg0(NAME).arg(std::process::id().to_string()).arg(source).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        match command.spawn() {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                tracing::warn!(%error, "no watchdog could be started: if the server is killed, its mounts may hang");
                None
            }
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It has nothing left to do but to end.
        let _ = self.0.wait();
    }
}

/// Watches, if this process was started as a watchdog, and returns whether it was.
pub(crate) fn watch_if_asked() -> bool {
    let mut arguments = std::env::args_os();
    if arguments.next().is_none_or(|name| name != NAME) {
        return false;
    }
    let process = arguments.next().and_then(|word: OsString| word.to_str()?.parse().ok());
    if let (Some(process), Some(source)) = (process, arguments.next()) {
        watch(process, &source);
    }
    true
}

/// Waits for the end of standard input, and helps `process` to its end if that does not come.
fn watch(process: u32, source: &OsStr) {
    let (ended, end) = channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    let mut seen = Seen::default();
    let mut was_dying = false;
    while end.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        if let Ok((ours, others)) = dying::connections(source) {
            seen.look(Instant::now(), &ours, &others);
        }
        let is_dying = dying::is_dying(process);
        if is_dying && was_dying {
            for connection in seen.0.keys() {
                // It may have ended by itself, and what cannot be done now is tried again.
                let _ = dying::end_connection(*connection);
            }
        }
        was_dying = is_dying;
    }
}

/// The connections of the server, and when a mount of each was there. A server that stops takes its mounts out of the table
/// before programs let go of them, so a connection is remembered for a while.
#[derive(Default)]
struct Seen(BTreeMap<u32, Instant>);

impl Seen {
    fn look(&mut self, now: Instant, ours: &[u32], others: &[u32]) {
        self.0.extend(ours.iter().map(|connection| (*connection, now)));
        // The number of a connection that has ended may be somebody else's now.
        self.0.retain(|connection, seen| !others.contains(connection) && now - *seen < REMEMBERED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_forgotten_after_a_while_and_at_once_if_it_is_another() {
        let mut seen = Seen::default();
        let start = Instant::now();
        seen.look(start, &[5, 6], &[9]);
        seen.look(start + REMEMBERED / 2, &[], &[6]);
        assert_eq!(seen.0.keys().collect::<Vec<_>>(), [&5]);
        seen.look(start + REMEMBERED, &[], &[]);
        assert!(seen.0.is_empty());
    }
}
