//! Runs the simulation: `reprise-sim COUNT`, or `reprise-sim --seed SEED [--mutation NAME]`. `cargo xtask sim` calls it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use reprise_sim::mutation::{ALL, Mutation};
use reprise_sim::plan::Plan;
use reprise_sim::seeds;
use reprise_sim::world::simulate;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Instant;

/// Seeds that are run where no number is given.
const SEEDS_DEFAULT: u64 = 1_000;
/// Failures that are shown in full.
const FAILURES_SHOWN: usize = 3;
/// Seeds between two lines of progress.
const PROGRESS_EVERY: u64 = 50;

#[derive(Default)]
struct Arguments {
    count: Option<u64>,
    base: u64,
    seed: Option<u64>,
    mutation: Option<Mutation>,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            let names: Vec<&str> = ALL.iter().map(|(_, name)| *name).collect();
            eprintln!(
                "error: {wrong}\n  usage: [COUNT] [--base SEED] [--mutation NAME] | --seed SEED [--mutation NAME]\n  mutations: {}",
                names.join(", ")
            );
            return ExitCode::FAILURE;
        }
    };
    let passed = match arguments.seed {
        Some(seed) => one(seed, arguments.mutation),
        None => many(&arguments),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    while let Some(word) = words.next() {
        let number = |text: Option<String>| {
            let text = text.ok_or_else(|| format!("`{word}` needs a number"))?;
            text.replace('_', "").parse::<u64>().map_err(|_| format!("`{text}` is not a number"))
        };
        match word.as_str() {
            "--seed" => arguments.seed = Some(number(words.next())?),
            "--base" => arguments.base = number(words.next())?,
            "--mutation" => {
                let name = words.next().unwrap_or_default();
                arguments.mutation = Some(Mutation::parse(&name).ok_or_else(|| format!("there is no mutation `{name}`"))?);
            }
            _ => arguments.count = Some(number(Some(word.clone()))?),
        }
    }
    Ok(arguments)
}

/// Runs one seed, and prints its trace.
fn one(seed: u64, mutation: Option<Mutation>) -> bool {
    let plan = Plan::new(seed, mutation);
    println!("{plan:#?}");
    let outcome = simulate(plan, usize::MAX);
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("seed {seed}: {}", outcome.failure.as_deref().unwrap_or("passed"));
    println!("  {} steps, trace hash {:016x}", outcome.steps, outcome.hash);
    outcome.failure.is_none()
}

/// Runs many seeds, and prints what struck.
fn many(arguments: &Arguments) -> bool {
    let count = arguments.count.unwrap_or(SEEDS_DEFAULT);
    let start = Instant::now();
    let live = std::io::stderr().is_terminal();
    let progress = |done: u64| {
        if live && (done.is_multiple_of(PROGRESS_EVERY) || done == count) {
            eprint!("\r{done} of {count} seeds");
        }
    };
    let summary = seeds::run(arguments.base..arguments.base + count, arguments.mutation, false, progress);
    if live {
        eprintln!();
    }
    for outcome in summary.failures.iter().take(FAILURES_SHOWN) {
        println!("{}", seeds::report(outcome));
    }
    for outcome in summary.failures.iter().skip(FAILURES_SHOWN) {
        println!("seed {}: {}", outcome.seed, outcome.failure.as_deref().unwrap_or_default());
    }
    print!("{}", summary.table());
    let (steps, most) = summary.steps;
    let seconds = start.elapsed().as_secs_f64();
    println!("{} seeds, {} failed, {steps} steps, at most {most} a seed, {seconds:.1} s", summary.seeds, summary.failures.len());
    summary.failures.is_empty()
}
