//! Child processes, for what a thread cannot show: record locks belong to processes, and some calls end one by a signal.
//!
//! This file is `unsafe` because it forks. It is sound because the child runs one closure, which makes system calls and at most
//! allocates (the C library keeps its allocator usable after a fork), and then leaves without unwinding into the parent's frames.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use libc::{c_int, c_long};

use crate::sys::{Error, Result};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It gave this number.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
}

/// A child that is running; waited for when dropped.
pub(crate) struct Child {
    pid: libc::pid_t,
    waited: bool,
}

fn failed(call: &'static str) -> Error {
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    Error { call, on: String::new(), errno }
}

/// Starts a child that does `work` and ends with the number it gives (0 to 255).
pub(crate) fn start(work: impl FnOnce() -> i32) -> Result<Child> {
    match unsafe { libc::fork() } {
        -1 => Err(failed("fork")),
        0 => {
            let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(255);
            unsafe { libc::_exit(code) }
        }
        pid => Ok(Child { pid, waited: false }),
    }
}

/// Runs `work` in a child and gives how that ended.
pub(crate) fn in_child(work: impl FnOnce() -> i32) -> Result<Ended> {
    start(work)?.wait()
}

/// The number that stands for a result in a child: 0, or the error number.
pub(crate) fn code<T>(result: Result<T>) -> i32 {
    result.map_or_else(|error| error.errno, |_| 0)
}

impl Child {
    /// Its process id.
    pub(crate) fn id(&self) -> i32 {
        self.pid
    }

    /// Ends it by `SIGKILL`.
    pub(crate) fn kill(&self) {
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> Result<Ended> {
        self.waited = true;
        let mut status: c_int = 0;
        while unsafe { libc::waitpid(self.pid, &raw mut status, 0) } < 0 {
            let error = failed("waitpid");
            if error.errno != libc::EINTR {
                return Err(error);
            }
        }
        Ok(if libc::WIFSIGNALED(status) {
            Ended::Killed(libc::WTERMSIG(status))
        } else {
            Ended::Exited(libc::WEXITSTATUS(status))
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.waited {
            self.kill();
            unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
        }
    }
}

extern "C" fn nothing(_signal: c_int) {}

/// Lets a signal interrupt whatever this process waits for after `ms` milliseconds. Call it in a child only.
pub(crate) fn interrupt_after(ms: c_long) {
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(c_int) as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        let mut timer: libc::itimerval = std::mem::zeroed();
        timer.it_value.tv_usec = ms * 1_000;
        libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut());
    }
}

/// Gives signals that faults raise their deadly default again. Call it in a child only.
pub(crate) fn die_by_faults() {
    unsafe {
        libc::signal(libc::SIGBUS, libc::SIG_DFL);
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
    }
}

/// Limits the size of files that this process writes, and lets too large writes fail instead of ending it. Call it in a child only.
pub(crate) fn limit_file_size(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit);
    }
}
