//! The command line: the rim that parses arguments, prints, and turns errors into exit codes.

mod check;
mod checkpoint;
mod exit;
mod inspect;
mod log;
mod outlet;
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

use crate::job::Start;
use crate::panics;
use clap::{Parser, Subcommand, ValueEnum};
use reprise_core::ids::Epoch;
use std::path::PathBuf;
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
    Checkpoint(checkpoint::Command),
    /// Look at rows that were refused or that operators failed at, and decide about them: list, show, replay, drop. The job may run meanwhile.
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Make the failed call of a capsule fail again, here.
    #[command(after_help = "Examples:\n  reprise replay state/word-count/capsules/count/000000000042-000001-0000-0.capsule\n  \
        reprise replay poison.capsule --component mended.wasm\n\n\
        Ends with 0 where the same call fails in the same way at the same place, and with 9 where it does not.")]
    Replay(replay::ReplayArguments),
    /// Look at the state in a checkpoint. Nothing is changed, and no component is needed.
    #[command(subcommand)]
    State(state::Command),
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// The topology file.
    file: PathBuf,
    /// Worker threads; each runs one instance of everything, and as many of an operator as its `parallelism` asks for. Default: the number of processors, at most 8.
    #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: Option<u32>,
    /// Begin with this checkpoint instead of the newest one: an epoch, or the name of a savepoint. Output of later epochs is taken back and
    /// produced again; a restart with the same option goes back once more.
    #[arg(long, value_name = "NAME|EPOCH", value_parser = start)]
    from: Option<Start>,
    /// Take over the places of sinks that hold output which the store does not know. Visible output after the checkpoint that is taken up (without
    /// one, all of it) is moved to `.reprise/SINK/taken-back`; what is before it stays, and counts as output of this job.
    #[arg(long)]
    adopt: bool,
    /// How to tell what goes on.
    #[arg(long, value_enum, default_value_t = Log::Auto)]
    log: Log,
    #[command(flatten)]
    cache: Cache,
}

#[derive(Debug, clap::Args)]
struct SavepointArguments {
    /// The topology file.
    file: PathBuf,
    /// Name of the savepoint: up to 64 of the characters a-z, A-Z, 0-9, `-`, `_` and `.`.
    name: String,
    /// Stop the job: the savepoint is its last checkpoint.
    #[arg(long, conflicts_with_all = ["offline", "drop"])]
    stop: bool,
    /// No host runs the job: make the savepoint here, of the newest checkpoint. A host that runs the job after all is stopped.
    #[arg(long, conflicts_with = "drop")]
    offline: bool,
    /// Remove the savepoint.
    #[arg(long)]
    drop: bool,
    /// How long to wait for the host that runs the job, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: Cache,
}

#[derive(Debug, clap::Args)]
struct ResumeArguments {
    /// The topology file.
    file: PathBuf,
    /// The operator. That it is not paused is an error.
    #[arg(required_unless_present = "all")]
    operator: Option<String>,
    /// All operators that are paused.
    #[arg(long, conflicts_with = "operator")]
    all: bool,
    /// How long to wait for the host that runs the job, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct CheckArguments {
    /// The topology file.
    file: PathBuf,
    /// Worker threads to show the plan for.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    workers: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: Cache,
}

#[derive(Debug, clap::Args)]
struct InspectArguments {
    /// A component, or a core module that carries component metadata.
    component: PathBuf,
    /// Show what this topology file grants it.
    #[arg(long, value_name = "FILE", requires = "operator")]
    topology: Option<PathBuf>,
    /// The operator of the topology that it would be.
    #[arg(long, value_name = "NAME", requires = "topology")]
    operator: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: Cache,
}

#[derive(Debug, clap::Args)]
struct Cache {
    /// Folder for compiled components. Default: `reprise` in the user's cache folder. Whoever may write there may run code as this user.
    #[arg(long, env = "REPRISE_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
}

impl Cache {
    fn dir(&self) -> Option<PathBuf> {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let default = || Some(var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")))?.join("reprise"));
        self.cache.clone().or_else(default)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Log {
    /// A live line on a terminal, plain lines elsewhere.
    Auto,
    /// Plain lines.
    Text,
    /// One JSON object a line, at least one a second.
    Json,
}

/// A number is an epoch; anything else is the name of a savepoint.
fn start(text: &str) -> Result<Start, String> {
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return text.parse().map(|epoch| Start::Epoch(Epoch(epoch))).map_err(|error| error.to_string());
    }
    Ok(Start::Savepoint(text.to_owned()))
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
        Command::Check(arguments) => check::check(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Verify(arguments) => verify::verify(&arguments),
        Command::Checkpoint(command) => checkpoint::checkpoint(command),
        Command::Quarantine(command) => quarantine::quarantine(command),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::State(command) => state::state(command),
    }
}
