//! The command line: the rim that parses arguments, prints, and turns errors into exit codes.

mod arguments;
mod check;
mod checkpoint;
mod exit;
mod figures;
mod inspect;
mod log;
mod outlet;
mod parked;
mod progress;
mod quarantine;
mod replay;
mod resume;
mod run;
mod savepoint;
mod site;
mod state;
mod system;
mod text;
mod verify;
mod warden;

use crate::panics;
use arguments::{CheckArguments, InspectArguments, ResumeArguments, RunArguments, SavepointArguments};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Runs stream operators compiled to WebAssembly, keeps their state in checkpoints, and takes up again.
#[derive(Debug, Parser)]
#[command(name = "reprise", version, after_help = exit::HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the job of a topology file, from its last checkpoint where there is one.
    #[command(
        after_help = "Examples:\n  reprise run topology.toml\n  reprise run topology.toml --workers 4 --log json 2> progress.jsonl\n\n\
        Ctrl-C, SIGTERM and SIGHUP end the job with a last checkpoint; the next `run` goes on from there. A second one, more than\n\
        a second later, ends it at once, which is as safe as any crash; so does `checkpoint.stop-timeout` (30 s). Rows of the sink `stdout` go to standard output, everything else to standard error."
    )]
    Run(RunArguments),
    /// Make a savepoint of a job: a checkpoint that is kept until you drop it.
    #[command(
        after_help = "Examples:\n  reprise savepoint topology.toml before-upgrade\n  reprise savepoint topology.toml before-upgrade --stop\n  \
        reprise run topology.toml --from before-upgrade\n  reprise savepoint topology.toml before-upgrade --drop\n\n\
        The host that runs the job makes it; the request goes through the store, so it may run elsewhere. Paths in a savepoint are\n\
        relative: a copy of the job's folder or prefix is as good as the original."
    )]
    Savepoint(SavepointArguments),
    /// End the pause of an operator that failed too often: its next call decides whether it goes on or pauses twice as long.
    #[command(after_help = "Examples:\n  reprise resume topology.toml count\n  reprise resume topology.toml --all\n\n\
        The host that runs the job does it; the request goes through the store, so it may run elsewhere.")]
    Resume(ResumeArguments),
    /// Look at the input that waits for operators that are paused or slow, and give it up: list, drop, move-to-quarantine.
    #[command(subcommand)]
    Parked(parked::ParkedCommand),
    /// Check a topology file and its components, and print the plan.
    #[command(after_help = "Examples:\n  reprise check topology.toml\n  reprise check topology.toml --json")]
    Check(CheckArguments),
    /// Show what a component is: its imports and what each of them gets, its exports, inputs, outputs and state.
    #[command(after_help = "Examples:\n  reprise inspect count.wasm\n  reprise inspect count.wasm --json\n  \
        reprise inspect count.wasm --topology topology.toml --operator count")]
    Inspect(InspectArguments),
    /// Put a component through the conformance suite: restores, replays and cuts at random places must change nothing.
    #[command(
        after_help = "Examples:\n  reprise verify count.wasm\n  reprise verify count.wasm --input orders.csv --key customer --time at --time-unit rfc3339\n  \
        reprise verify count.wasm --config '{\"emit\":\"updates\"}' --rounds 200 --seed 7 --json\n\n\
        Exit codes: 0 every check passed or says nothing about it; 3 a check failed; 2 the command line, the input or the component is wrong."
    )]
    Verify(verify::VerifyArguments),
    /// Look at the checkpoints and savepoints of a job: list, show, diff, verify. Nothing is changed, and the job may run meanwhile.
    #[command(subcommand)]
    Checkpoint(checkpoint::CheckpointCommand),
    /// Look at rows that were refused or that operators failed at, and decide about them: list, show, replay, drop. The job may run meanwhile.
    #[command(subcommand)]
    Quarantine(quarantine::QuarantineCommand),
    /// Make the failed call of a capsule fail again, here.
    #[command(after_help = "Examples:\n  reprise replay state/word-count/capsules/count/000000000042-000001-0000-0.capsule\n  \
        reprise replay poison.capsule --component mended.wasm\n\n\
        Ends with 0 where the same call fails in the same way at the same place, and with 9 where it does not.")]
    Replay(replay::ReplayArguments),
    /// Look at the state in a checkpoint. Nothing is changed, and no component is needed.
    #[command(subcommand)]
    State(state::StateCommand),
}

/// Parses the arguments of the process and does as they say. A panic of any library on the way ends as an error.
#[must_use]
pub fn main() -> ExitCode {
    system::raise_open_files();
    panics::install(outlet::tell);
    let arguments = Arguments::parse();
    let code = std::panic::catch_unwind(|| obey(arguments)).unwrap_or_else(|_| exit::fail_after_panic());
    outlet::flush();
    // Why is told already. A script must not take half an answer for a whole one.
    if code == ExitCode::SUCCESS && text::is_incomplete() { ExitCode::FAILURE } else { code }
}

fn obey(arguments: Arguments) -> ExitCode {
    if !matches!(arguments.command, Command::Run(_)) {
        // What a command finds is its answer; the log has only what makes it slow, or what it does without.
        log::show(false, "off,reprise::wasm=info");
    }
    match arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Savepoint(arguments) => savepoint::savepoint(arguments),
        Command::Resume(arguments) => resume::resume(arguments),
        Command::Parked(command) => parked::parked(command),
        Command::Check(arguments) => check::check(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Verify(arguments) => verify::verify(&arguments),
        Command::Checkpoint(command) => checkpoint::checkpoint(command),
        Command::Quarantine(command) => quarantine::quarantine(command),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::State(command) => state::state(command),
    }
}
