//! A server in a directory of its own, and the program run against it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, not yet run.
pub(crate) fn offshoot() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_offshoot"));
    for name in ["OFFSHOOT_SERVER", "OFFSHOOT_TOKEN_FILE", "OFFSHOOT_LOG", "NOTIFY_SOCKET"] {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(command: &mut Command) -> Self {
        Self::from(command.output().unwrap())
    }

    /// It did what it was asked.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It failed with this exit code, and each of the words is in what it said.
    #[track_caller]
    pub(crate) fn failed(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is missing in {self:?}");
        }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let value: Value =
            serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(value["version"], 1, "{value}");
        value
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A child that is ended with the test, whatever happens.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> i32 {
        let status = wait_until("the process ends", || self.0.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(10)
                && self.0.try_wait().is_ok_and(|ended| ended.is_none())
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "it did not come about that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A temporary directory in which a mount may be left over.
pub(crate) struct Place {
    directory: Option<tempfile::TempDir>,
    path: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("offshoot-test-").tempdir().unwrap();
        let path = std::fs::canonicalize(directory.path()).unwrap();
        Self { directory: Some(directory), path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The deepest first, and lazily: a test that failed may have left anything.
        let mut mounts: Vec<_> = offshoot_host::mount::mounts()
            .unwrap_or_default()
            .into_iter()
            .map(|mount| mount.mount_point)
            .filter(|point| point.starts_with(&self.path))
            .collect();
        mounts.sort();
        for mount in mounts.iter().rev() {
            let _ = offshoot_host::mount::clear_dead(mount);
        }
        drop(self.directory.take());
    }
}

/// `offshoot up` in a directory of its own.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) place: Place,
}

impl Server {
    /// Starts with a mount.
    pub(crate) fn up() -> Self {
        Self::up_in(Place::new())
    }

    /// Starts again where one has been.
    #[track_caller]
    pub(crate) fn up_in(place: Place) -> Self {
        let server = Self { process: start(&place, &["up"]), place };
        server.wait_for_mount();
        server
    }

    /// Waits until the mount is there and answers.
    #[track_caller]
    pub(crate) fn wait_for_mount(&self) {
        let pool = self.pool();
        wait_until("the pool is mounted", || {
            let mount = offshoot_host::mount::mount_at(&pool).ok().flatten()?;
            (mount.is_offshoot() && !mount.is_dead()).then_some(())
        });
        // The mount comes last, so the server answers too.
        self.run(["status"]).done();
    }

    /// The mount.
    pub(crate) fn pool(&self) -> PathBuf {
        self.place.join("pool")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.place.join("offshoot-data/control.sock")
    }

    /// Runs the program in the directory of the server, where it finds it by itself.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(offshoot().current_dir(self.place.path()).args(arguments))
    }

    /// Writes a file through the mount, with the directories above it.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.pool().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.pool().join(path)).unwrap()
    }

    /// Stops as Ctrl-C does.
    #[track_caller]
    pub(crate) fn stop(mut self) -> Place {
        self.process.signal(Signal::INT);
        assert_eq!(self.process.ended(), 0);
        self.place
    }
}

/// Starts the program in `place` and leaves it running; what it says goes to a file.
pub(crate) fn start(place: &Place, arguments: &[&str]) -> Process {
    let out = std::fs::File::create(place.join("server.out")).unwrap();
    let child = offshoot()
        .current_dir(place.path())
        .args(arguments)
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap();
    Process(child)
}

/// What a started program has said so far.
pub(crate) fn said(place: &Place) -> String {
    std::fs::read_to_string(place.join("server.out")).unwrap()
}
