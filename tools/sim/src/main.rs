//! Runs seeds of simulated worlds, and says which of them failed and how to run them again.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use offshoot_engine::simulation::mutant::{self, Mutant};
use sim::run::{Failure, Plan, Report, run};

/// Whole pools in a simulated world, against a model.
#[derive(Parser)]
struct Arguments {
    /// Run this seed alone and print what was done in it
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed of many
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// How many seeds; without end if only minutes are given
    #[arg(long)]
    seeds: Option<u64>,
    /// Stop after this many minutes
    #[arg(long)]
    minutes: Option<f64>,
    /// Machines that follow each other in a world
    #[arg(long, default_value_t = Plan::default().machines)]
    machines: u64,
    /// Operations of each client on each machine, on average
    #[arg(long, default_value_t = Plan::default().operations)]
    operations: u64,
    /// Run the seeds first that failed once
    #[arg(long)]
    old_failures: bool,
    /// Run each seed once for each of its steps, and die there
    #[arg(long, conflicts_with = "seed")]
    every_step: bool,
    /// Die in this step of the world and nowhere else
    #[arg(long, value_name = "STEP")]
    die_at_step: Option<u64>,
    /// Go on after failures
    #[arg(long)]
    keep_going: bool,
    /// Switch a seeded bug on
    #[arg(long)]
    mutant: Option<String>,
    /// Print the seeded bugs and stop
    #[arg(long)]
    mutants: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.mutants {
        for mutant in Mutant::ALL {
            println!("{}\t{}", mutant.name(), mutant.words().trim());
        }
        return ExitCode::SUCCESS;
    }
    if let Some(name) = &arguments.mutant {
        let Some(mutant) = Mutant::ALL.iter().find(|mutant| mutant.name() == name) else {
            eprintln!("there is no seeded bug {name}; --mutants lists them");
            return ExitCode::from(2);
        };
        mutant::switch_on(*mutant);
    }
    let plan = Plan {
        machines: arguments.machines,
        operations: arguments.operations,
        is_verbose: arguments.seed.is_some(),
        die_at_step: arguments.die_at_step,
    };
    if let Some(seed) = arguments.seed {
        return match attempt(seed, &plan) {
            Ok(report) => {
                println!("{report:#?}");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                failure.trace.iter().for_each(|line| println!("{line}"));
                println!("seed {seed} FAILED: {}", failure.what);
                ExitCode::FAILURE
            }
        };
    }
    if arguments.every_step {
        return every_step(&arguments, &plan);
    }
    let start = Instant::now();
    let until = arguments.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let count = arguments.seeds.unwrap_or(if until.is_some() { u64::MAX } else { 100 });
    let (mut total, mut done, mut failed) = (Report::default(), 0, 0);
    let old = if arguments.old_failures { old_failures() } else { Vec::new() };
    let fresh = (0..count).map(|n| arguments.first.wrapping_add(n));
    for seed in old.into_iter().chain(fresh) {
        if until.is_some_and(|until| start.elapsed() > until) {
            break;
        }
        done += 1;
        match attempt(seed, &plan) {
            Ok(report) => total = add(total, report),
            Err(failure) => {
                failed += 1;
                println!("seed {seed} FAILED: {}", failure.what);
                println!(
                    "  again: cargo xtask sim --machines {} --operations {} --seed {seed}",
                    plan.machines, plan.operations
                );
                if !arguments.keep_going {
                    break;
                }
            }
        }
    }
    println!("{}", words(&total, done, failed, start.elapsed()));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs seeds once for each of their steps.
fn every_step(arguments: &Arguments, plan: &Plan) -> ExitCode {
    let start = Instant::now();
    let until = arguments.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let is_over = || until.is_some_and(|until| start.elapsed() > until);
    let count = arguments.seeds.unwrap_or(if until.is_some() { u64::MAX } else { 1 });
    let (mut total, mut whole, mut done, mut failed) = (Report::default(), 0_u64, 0_u64, 0_u64);
    let tell = |seed: u64, step: u64, failure: &Failure| {
        println!("seed {seed} FAILED: dying at step {step}: {}", failure.what);
        println!(
            "  again: cargo xtask sim --machines {} --operations {} --seed {seed} --die-at-step {step}",
            plan.machines, plan.operations
        );
    };
    'seeds: for seed in (0..count).map(|n| arguments.first.wrapping_add(n)) {
        // Nobody dies in the first run, which counts the steps.
        let mut last = u64::MAX;
        let mut step = u64::MAX;
        loop {
            if is_over() {
                break 'seeds;
            }
            match attempt(seed, &Plan { die_at_step: Some(step), ..plan.clone() }) {
                Ok(report) => {
                    if step == u64::MAX {
                        last = report.steps;
                    }
                    total = add(total, report);
                }
                Err(failure) => {
                    failed += 1;
                    tell(seed, step, &failure);
                    if !arguments.keep_going {
                        break 'seeds;
                    }
                    if step == u64::MAX {
                        break;
                    }
                }
            }
            done += 1;
            step = if step == u64::MAX { 1 } else { step + 1 };
            if step > last {
                whole += 1;
                break;
            }
        }
    }
    println!("every step of {whole} seeds: {}", words(&total, done, failed, start.elapsed()));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Seeds that failed once.
fn old_failures() -> Vec<u64> {
    let lines = include_str!("../failures.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split('\t').next()?.parse().ok()).collect()
}

/// Runs a seed; a panic is a failure too.
fn attempt(seed: u64, plan: &Plan) -> Result<Report, Failure> {
    catch_unwind(AssertUnwindSafe(|| run(seed, plan))).unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|words| (*words).to_owned()))
            .unwrap_or_default();
        Err(Failure { what: format!("panic: {words}"), trace: Vec::new() })
    })
}

fn add(mut total: Report, one: Report) -> Report {
    let Report {
        steps,
        operations,
        crashes,
        at_failpoints,
        zombies,
        calls,
        faults,
        late,
        lies,
        compared,
        virtual_millis,
    } = one;
    total.steps += steps;
    total.operations += operations;
    total.crashes += crashes;
    total.zombies += zombies;
    total.calls += calls;
    total.faults += faults;
    total.late += late;
    total.lies += lies;
    total.compared += compared;
    total.virtual_millis += virtual_millis;
    for (name, times) in at_failpoints {
        *total.at_failpoints.entry(name).or_default() += times;
    }
    total
}

fn words(total: &Report, worlds: u64, failed: u64, took: Duration) -> String {
    let failpoints: u64 = total.at_failpoints.values().sum();
    let named: &BTreeMap<&str, u64> = &total.at_failpoints;
    format!(
        "{worlds} worlds, {failed} failed, in {:.0} s ({:.1} h of virtual time): {} operations, {} steps, {} deaths \
         ({failpoints} of them at {} failpoints), {} writers came back, {} calls with {} faults, {} late arrivals and {} lies; \
         {} pools compared whole",
        took.as_secs_f64(),
        total.virtual_millis as f64 / 3_600_000.0,
        total.operations,
        total.steps,
        total.crashes,
        named.len(),
        total.zombies,
        total.calls,
        total.faults,
        total.late,
        total.lies,
        total.compared
    )
}
