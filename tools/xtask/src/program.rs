//! Starting other programs: each in a process group of its own, without standard input, with a time limit, and gone
//! with everything it started when this process ends.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

use crate::cleanup::{self, Guard, Undo};

/// How much of a failed program's output an error shows, in lines.
const SHOWN_LINES: usize = 40;

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it complained about.
    pub(crate) stderr: String,
}

/// A program that runs; its process group is killed when this drops.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    line: String,
    guard: Option<Guard>,
}

/// A program was ended because it took too long.
#[derive(Debug)]
pub(crate) struct OverLimit {
    line: String,
    limit: Duration,
}

impl std::fmt::Display for OverLimit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "`{}` did not end within {} s", self.line, self.limit.as_secs())
    }
}

impl std::error::Error for OverLimit {}

/// Starts a program; its output goes where `command` says.
pub(crate) fn start(command: &mut Command) -> Result<Running> {
    start_with(command, Stdio::null())
}

fn start_with(command: &mut Command, input: Stdio) -> Result<Running> {
    let line = line(command);
    let child =
        command.stdin(input).process_group(0).spawn().with_context(|| format!("cannot start `{line}`"))?;
    let guard = Guard::new(Undo::Group(Pid::from_child(&child)));
    Ok(Running { child, line, guard: Some(guard) })
}

/// Starts a program to talk with, and returns what it reads from and what it answers to.
pub(crate) fn converse(command: &mut Command) -> Result<(Running, ChildStdin, ChildStdout)> {
    let mut running = start_with(command.stdout(Stdio::piped()).stderr(Stdio::null()), Stdio::piped())?;
    let input = running.child.stdin.take().context("there is no way to talk to it")?;
    let output = running.child.stdout.take().context("there is no way to hear it")?;
    Ok((running, input, output))
}

/// Runs a program and returns how it ended and what it printed, whatever its status. [`OverLimit`] if it does not end in time.
pub(crate) fn finish(command: &mut Command, limit: Duration) -> Result<Finished> {
    let mut running = start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let stdout = collect(running.child.stdout.take());
    let stderr = collect(running.child.stderr.take());
    let ended = running.wait(limit);
    if ended.is_err() {
        running.kill_group();
    }
    let (stdout, stderr) = (joined(stdout), joined(stderr));
    let status = ended.with_context(|| tail(&format!("{stdout}{stderr}")))?;
    Ok(Finished { status, stdout, stderr })
}

/// Runs a program that must succeed and returns its standard output.
pub(crate) fn output(command: &mut Command, limit: Duration) -> Result<String> {
    let finished = finish(command, limit)?;
    if !finished.status.success() {
        let said = tail(&format!("{}{}", finished.stdout, finished.stderr));
        bail!("`{}` ended with {}:\n{said}", line(command), finished.status);
    }
    Ok(finished.stdout)
}

/// Runs a program that must succeed and lets it print where this process does.
pub(crate) fn show(command: &mut Command, limit: Duration) -> Result<()> {
    let status = start(command)?.wait(limit)?;
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

/// The last lines of a text.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

impl Running {
    /// Waits for the end; at the limit the whole group is killed and [`OverLimit`] returned.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_micros(200);
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                self.kill_group();
                self.child.wait()?;
                return Err(OverLimit { line: self.line.clone(), limit }.into());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// The status, if it has ended.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if cleanup::stopping() {
            bail!("interrupted");
        }
        Ok(self.child.try_wait()?)
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the program alone.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        rustix::process::kill_process(Pid::from_child(&self.child), signal)
            .with_context(|| format!("cannot signal `{}`", self.line))
    }

    fn kill_group(&mut self) {
        self.guard = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
        // Reaps it; the status was not asked for.
        drop(self.child.wait());
    }
}

/// A command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

fn collect(stream: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is still worth showing.
            drop(stream.read_to_end(&mut bytes));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn joined(thread: JoinHandle<String>) -> String {
    thread.join().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn output_returns_what_was_printed() {
        assert_eq!(output(Command::new("echo").arg("hello"), LIMIT).expect("echo works"), "hello\n");
    }

    #[test]
    fn failure_shows_the_command_its_status_and_what_it_said() {
        let error =
            output(Command::new("sh").args(["-c", "echo why >&2; exit 3"]), LIMIT).expect_err("status 3");
        let text = error.to_string();
        assert!(text.contains("sh -c") && text.contains('3') && text.contains("why"), "{text}");
    }

    #[test]
    fn what_cannot_be_started_did_not_take_too_long() {
        let error =
            finish(&mut Command::new("/there/is/no such program"), LIMIT).expect_err("it is not there");
        assert!(!error.is::<OverLimit>(), "{error:#}");
    }

    #[test]
    fn limit_kills_the_whole_group() {
        let start = Instant::now();
        let ended =
            finish(Command::new("sh").args(["-c", "sleep 60 & sleep 60"]), Duration::from_millis(200));
        assert!(ended.is_err_and(|error| error.is::<OverLimit>()));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
