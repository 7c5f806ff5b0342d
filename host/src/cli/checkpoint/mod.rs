//! `reprise checkpoint`: lists, shows, compares and verifies what a store holds of a job.

mod diff;
mod list;
mod show;
mod verify;

use super::site::{self, Where};
use reprise_core::topology;
use std::process::ExitCode;

const LIST: &str = "reprise checkpoint list (FILE | --store URL --job NAME) [OPTIONS]";
const SHOW: &str = "reprise checkpoint show (FILE | --store URL --job NAME) CHECKPOINT [OPTIONS]";
const DIFF: &str = "reprise checkpoint diff (FILE | --store URL --job NAME) CHECKPOINT CHECKPOINT [OPTIONS]";
const VERIFY: &str = "reprise checkpoint verify (FILE | --store URL --job NAME) [CHECKPOINT | all] [OPTIONS]";
/// The help on what stands for a checkpoint on the command line.
pub(super) const CHECKPOINT: &str = "CHECKPOINT is an epoch, the name of a savepoint, or `latest`: the newest checkpoint that can be read.\n\
    `savepoint:NAME` is the savepoint where an epoch has the same digits.";

#[derive(Debug, clap::Subcommand)]
pub(super) enum CheckpointCommand {
    /// List checkpoints and savepoints, newest first.
    #[command(
        override_usage = LIST,
        after_help = "Examples:\n  reprise checkpoint list topology.toml\n  reprise checkpoint list --store s3://bucket/prefix --job orders --json"
    )]
    List {
        /// FILE: a topology file. Its components are not loaded and may be missing.
        #[arg(value_name = "FILE")]
        words: Vec<String>,
        #[command(flatten)]
        place: Where,
        /// Checkpoints to show at most; also savepoints.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show everything that a checkpoint says: positions, operators, snapshots, watermarks, parked input, staged output, refused rows.
    #[command(
        override_usage = SHOW,
        after_help = format!("{CHECKPOINT}\n\nExamples:\n  reprise checkpoint show topology.toml latest\n  reprise checkpoint show topology.toml before-upgrade --json")
    )]
    Show {
        /// FILE: a topology file. CHECKPOINT: see below.
        #[arg(value_name = "FILE CHECKPOINT")]
        words: Vec<String>,
        #[command(flatten)]
        place: Where,
    },
    /// Show what changed from one checkpoint to another: positions, rows, parked input, operators, slots and cells.
    #[command(
        override_usage = DIFF,
        after_help = format!("{CHECKPOINT}\n\nExamples:\n  reprise checkpoint diff topology.toml 40 41\n  reprise checkpoint diff topology.toml before-upgrade latest --cells 20")
    )]
    Diff {
        /// FILE: a topology file. CHECKPOINT: see below.
        #[arg(value_name = "FILE CHECKPOINT CHECKPOINT")]
        words: Vec<String>,
        #[command(flatten)]
        place: Where,
        /// Differing cells of each slot to show at most, in the order of their keys.
        #[arg(long, value_name = "N", default_value_t = 0)]
        cells: u32,
        #[command(flatten)]
        memory: Memory,
    },
    /// Read every object that checkpoints need and say which are not what was written. Ends with 6 where any is not.
    #[command(
        override_usage = VERIFY,
        after_help = format!("{CHECKPOINT}\nWithout it, and with `all`, every checkpoint and savepoint is verified.\n\nExamples:\n  reprise checkpoint verify topology.toml\n  reprise checkpoint verify topology.toml latest --json")
    )]
    Verify {
        /// FILE: a topology file. CHECKPOINT: see below.
        #[arg(value_name = "FILE CHECKPOINT")]
        words: Vec<String>,
        #[command(flatten)]
        place: Where,
    },
}

/// How much state may be in memory.
#[derive(Debug, clap::Args)]
pub(super) struct Memory {
    /// State that may be in memory at a time.
    #[arg(long = "memory", value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    pub bytes_max: u64,
}

fn parse_size(text: &str) -> Result<u64, String> {
    topology::size(text).map_err(|error| error.to_string())
}

pub(super) fn checkpoint(command: CheckpointCommand) -> ExitCode {
    match command {
        CheckpointCommand::List { words, place, limit } => site::end(list::list(&words, &place, limit as usize), LIST, place.json),
        CheckpointCommand::Show { words, place } => site::end(show::show(&words, &place), SHOW, place.json),
        CheckpointCommand::Diff { words, place, cells, memory } => {
            site::end(diff::diff(&words, &place, cells as usize, memory.bytes_max), DIFF, place.json)
        }
        CheckpointCommand::Verify { words, place } => site::end(verify::verify(&words, &place), VERIFY, place.json),
    }
}
