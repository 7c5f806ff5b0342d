//! Arguments of the commands that have no subcommands.

use crate::job::StartFrom;
use clap::ValueEnum;
use reprise_core::ids::Epoch;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct RunArguments {
    /// The topology file.
    pub file: PathBuf,
    /// Worker threads; each runs one instance of everything, and as many of an operator as its `parallelism` asks for. Default: the number of processors, at most 8.
    #[arg(long, short, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: Option<u32>,
    /// Begin with this checkpoint instead of the newest one: an epoch, or the name of a savepoint. Output of later epochs is taken back and
    /// produced again; a restart with the same option goes back once more.
    #[arg(long, value_name = "NAME|EPOCH", value_parser = start)]
    pub from: Option<StartFrom>,
    /// Take over the places of sinks that hold output which the store does not know. Visible output after the checkpoint that is taken up (without
    /// one, all of it) is moved to `.reprise/SINK/taken-back`; what is before it stays, and counts as output of this job.
    #[arg(long)]
    pub adopt: bool,
    /// How to tell what goes on.
    #[arg(long, value_enum, default_value_t = Log::Auto)]
    pub log: Log,
    #[command(flatten)]
    pub cache: CacheArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct SavepointArguments {
    /// The topology file.
    pub file: PathBuf,
    /// Name of the savepoint: up to 64 of the characters a-z, A-Z, 0-9, `-`, `_` and `.`.
    pub name: String,
    /// Stop the job: the savepoint is its last checkpoint.
    #[arg(long, conflicts_with_all = ["offline", "drop"])]
    pub stop: bool,
    /// No host runs the job: make the savepoint here, of the newest checkpoint. A host that runs the job after all is stopped.
    #[arg(long, conflicts_with = "drop")]
    pub offline: bool,
    /// Remove the savepoint.
    #[arg(long)]
    pub drop: bool,
    /// How long to wait for the host that runs the job, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub wait: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub cache: CacheArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct ResumeArguments {
    /// The topology file.
    pub file: PathBuf,
    /// The operator. That it is not paused is an error.
    #[arg(required_unless_present = "all")]
    pub operator: Option<String>,
    /// All operators that are paused.
    #[arg(long, conflicts_with = "operator")]
    pub all: bool,
    /// How long to wait for the host that runs the job, in seconds.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub wait: u64,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// The topology file.
    pub file: PathBuf,
    /// Worker threads to show the plan for.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: u32,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub cache: CacheArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct InspectArguments {
    /// A component, or a core module that carries component metadata.
    pub component: PathBuf,
    /// Show what this topology file grants it.
    #[arg(long, value_name = "FILE", requires = "operator")]
    pub topology: Option<PathBuf>,
    /// The operator of the topology that it would be.
    #[arg(long, value_name = "NAME", requires = "topology")]
    pub operator: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub cache: CacheArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct CacheArguments {
    /// Folder for compiled components. Default: `reprise` in the user's cache folder. Whoever may write there may run code as this user.
    #[arg(long, env = "REPRISE_CACHE", value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

impl CacheArguments {
    /// The folder, where there is one.
    pub fn dir(&self) -> Option<PathBuf> {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let default = || Some(var("XDG_CACHE_HOME").or_else(|| Some(var("HOME")?.join(".cache")))?.join("reprise"));
        self.cache.clone().or_else(default)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Log {
    /// A live line on a terminal, plain lines elsewhere.
    Auto,
    /// Plain lines.
    Text,
    /// One JSON object a line, at least one a second.
    Json,
}

/// A number is an epoch; anything else is the name of a savepoint.
fn start(text: &str) -> Result<StartFrom, String> {
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return text.parse().map(|epoch| StartFrom::Epoch(Epoch(epoch))).map_err(|error| error.to_string());
    }
    Ok(StartFrom::Savepoint(text.to_owned()))
}
