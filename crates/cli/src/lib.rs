//! `offshoot`: clone data instantly. The one program: server, command line and everything between.
//!
//! A library for the sake of the fuzzer alone: nothing else may use it.
//!
//! Reads the command line and hands over to a file of `command/`. A server is put together in `daemon.rs`; all other commands
//! talk to a running one through its API.

mod command;
mod connection;
mod daemon;
mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod local_copy;
mod location;
mod output;
mod settings;
mod stores;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use command::Command;
use connection::ServerOptions;
use output::Output;

/// Clone data instantly: files, trees and disks
///
/// A path such as /data/x is in the pool. A path below a mount of the pool, such as ./pool/data/x, means the same.
/// local:/tmp/x is a path of this machine outside the pool.
#[derive(Parser)]
#[command(name = "offshoot", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Start with `offshoot up`, or see it at work with `offshoot demo`.")]
#[command(after_long_help = "Start with `offshoot up`, or see it at work with `offshoot demo`.\n\n\
    Exit codes: 0 done, 1 failed, 2 usage, 10 no such pool, 11 pool is in use, 12 wrong password, 130 interrupted.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// Options of every command.
#[derive(clap::Args)]
struct Common {
    #[command(flatten)]
    server: ServerOptions,
    /// Show JSON for programs
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    /// Show nothing but data and errors
    #[arg(short, long, global = true, help_heading = "Output", conflicts_with = "verbose")]
    quiet: bool,
    /// Tell more of what happens; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    verbose: u8,
}

/// What every command gets.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) output: Output,
    pub(crate) server: ServerOptions,
}

/// Does what the command line says; the exit code tells how it went.
pub fn main() -> std::process::ExitCode {
    if daemon::watchdog::watch_if_asked() {
        return std::process::ExitCode::SUCCESS;
    }
    let Arguments { command, common } = Arguments::parse();
    let context = Context { output: Output::new(common.json, common.quiet), server: common.server };
    start_log(common.verbose);
    match command.run(&context) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(failure) => {
            context.output.failure(&failure);
            std::process::ExitCode::from(failure.exit as u8)
        }
    }
}

/// Sends what happens to stderr: warnings, with `-v` more; `OFFSHOOT_LOG` sets filters such as `offshoot_engine=debug`.
fn start_log(verbose: u8) {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("OFFSHOOT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let color = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(color).init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
