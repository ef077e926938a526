//! `cargo xtask`: tests, measures and checks Offshoot.
//!
//! One file per task; what tasks share is in `program` (other programs), `cleanup` (what must go again), `mounts`,
//! `place` (temporary directories), `server` (the real binary on a pool) and `install` (packages and tools).

#[cfg(feature = "bench")]
mod bench;
mod cleanup;
mod corrupt;
mod fuzz;
mod golden;
mod install;
mod load;
mod mounts;
mod place;
mod power;
mod program;
mod promise;
mod races;
mod reliability;
mod report;
mod s3;
mod schedules;
mod server;
mod sim;
mod soak;
mod suite;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

/// Tasks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tests need and pass all of them
    Test(test::TestArguments),
    /// Run the long forms of fsx, histories, fio, stress and kill
    Soak(soak::SoakArguments),
    /// Damage every byte and object of small pools, and see that nothing wrong is shown and all can be repaired
    Corrupt(corrupt::CorruptArguments),
    /// Feed every decoder with changed inputs
    Fuzz(fuzz::FuzzArguments),
    /// Make the golden pools of the current stored format anew
    Golden,
    /// Cut the power of a disk below a pool, again and again, and see that nothing acknowledged is lost
    Power(power::PowerArguments),
    /// Kill the server, again and again, and see that nothing acknowledged is lost
    Kill(suite::kill::KillArguments),
    /// Run a pool in a bucket of a real S3 server, through a proxy that makes trouble
    S3(s3::S3Arguments),
    /// Run everything that docs/reliability.md tells of, in its long form
    Reliability(reliability::ReliabilityArguments),
    /// Run whole pools in simulated worlds, against a model
    Sim(sim::SimArguments),
    /// Prove that the simulation catches bugs, and write docs/mutants.md
    Mutants(sim::MutantsArguments),
    /// Run threads on a pool under ThreadSanitizer
    Races(races::RacesArguments),
    /// Run a few threads on a pool under a scheduler that chooses who goes next
    Schedules(schedules::SchedulesArguments),
    /// Check the house rules that no other tool knows
    Tidy,
    /// Put a server with little memory under load, print tables and write docs/load.md
    Load(load::LoadArguments),
    /// Measure, print a table and write docs/benchmarks.md
    Bench(BenchArguments),
}

/// What `bench` is told.
#[derive(Args)]
struct BenchArguments {
    /// Only these groups of rows; nothing is written to docs
    #[arg(value_name = "GROUP")]
    only: Vec<String>,
    /// Smaller sizes for a first look; nothing is written to docs
    #[arg(long)]
    quick: bool,
    /// Print the groups and stop
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    cleanup::on_signals()?;
    match arguments.task {
        Task::Test(arguments) => test::run(&arguments),
        Task::Soak(arguments) => soak::run(&arguments),
        Task::Corrupt(arguments) => corrupt::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
        Task::Golden => golden::run(),
        Task::Power(arguments) => power::run(&arguments),
        Task::Kill(arguments) => suite::kill::command(&arguments),
        Task::S3(arguments) => s3::command(&arguments),
        Task::Reliability(arguments) => reliability::run(&arguments),
        Task::Sim(arguments) => sim::run(&arguments),
        Task::Mutants(arguments) => sim::mutants(&arguments),
        Task::Races(arguments) => races::run(&arguments),
        Task::Schedules(arguments) => schedules::run(&arguments),
        Task::Tidy => tidy::run(),
        Task::Load(arguments) => load::run(&arguments),
        Task::Bench(arguments) => bench(&arguments),
    }
}

#[cfg(feature = "bench")]
fn bench(arguments: &BenchArguments) -> Result<ExitCode> {
    bench::run(&bench::Plan { only: arguments.only.clone(), quick: arguments.quick, list: arguments.list })
}

/// Measuring wants an optimised build with the engine in it: this builds one and hands over.
#[cfg(not(feature = "bench"))]
fn bench(arguments: &BenchArguments) -> Result<ExitCode> {
    let mut command = workspace::cargo();
    command.args(["run", "--quiet", "--release", "--package", "xtask", "--features", "bench", "--", "bench"]);
    command.args(&arguments.only);
    if arguments.quick {
        command.arg("--quick");
    }
    if arguments.list {
        command.arg("--list");
    }
    let status = program::start(&mut command)?.wait(std::time::Duration::from_secs(24 * 3600))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
