//! Why a run ends before its time, in words for people.

use super::guest::GuestDump;
use crate::connect::ConnectError;
use crate::panics::THREADS_HELP;
use crate::wasm::GuestError;
use reprise_core::ids::Epoch;
use reprise_core::plain::plain;

/// The crash dumps of a failure that ends a run: no report of an epoch takes them along.
#[derive(Debug)]
pub enum CrashDumps {
    /// Failed calls of the epoch that are to be written down, that of the failure among them where it is one.
    Unwritten(Vec<GuestDump>),
    /// The name of its capsule below the job's folder.
    Capsule(String),
}

impl Default for CrashDumps {
    fn default() -> Self {
        Self::Unwritten(Vec::new())
    }
}

/// Why a run ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// An operator failed. What it did in this epoch does not stand.
    #[error("operator `{operator}` instance {instance} {error}\n  at epoch {epoch}, {context}{}{}", trail(error), kept(dumps))]
    Guest {
        /// Its name in the topology.
        operator: String,
        /// Its place in the topology file.
        index: usize,
        /// Which instance.
        instance: u32,
        /// In which epoch.
        epoch: Epoch,
        /// What it was working on.
        context: String,
        /// What happened.
        error: Box<GuestError>,
        /// Failures after which it was given up; `None` where taking the whole job up again may help.
        gave_up: Option<u32>,
        /// What is to be written down of it, or was.
        dumps: CrashDumps,
    },
    /// An operator returned something else when a call was repeated. What it did in this epoch does not stand.
    #[error(
        "operator `{operator}` instance {instance} is not deterministic: a call that was repeated returned something else\n  at epoch {epoch}, {context}\n  help: it may keep state that it does not declare; `reprise verify` looks for it"
    )]
    Diverged {
        /// Its name in the topology.
        operator: String,
        /// Its place in the topology file.
        index: usize,
        /// Which instance.
        instance: u32,
        /// In which epoch.
        epoch: Epoch,
        /// Which call, and in what its repetition differs.
        context: String,
    },
    /// A source or sink failed.
    #[error("{kind} `{name}` instance {instance}")]
    Connect {
        /// "source" or "sink".
        kind: &'static str,
        /// Its name in the topology.
        name: String,
        /// Which instance.
        instance: u32,
        /// What happened.
        #[source]
        error: ConnectError,
    },
    /// Input that was parked cannot be read.
    #[error(
        "the parked input of operator `{operator}` instance {instance} cannot be read: {reason}\n  help: `reprise run` takes the job up from its newest checkpoint that is whole; `reprise checkpoint verify` says which those are"
    )]
    Parked {
        /// Its name in the topology.
        operator: String,
        /// Which instance.
        instance: u32,
        /// Why.
        reason: String,
    },
    /// A limit of the engine was reached.
    #[error("{0}")]
    Limit(String),
    /// A fault of the host.
    #[error("internal: {0}")]
    Internal(String),
}

impl Failure {
    /// The system gives no thread for something.
    #[must_use]
    pub fn no_thread(what: &str, why: &dyn std::fmt::Display) -> Self {
        Self::Limit(format!("{what} cannot be started: {why}\n  help: {THREADS_HELP}"))
    }
}

/// Frames of a guest's backtrace, and lines of its log, that a report shows.
const TRAIL_LINES: usize = 8;

/// Where in the guest it happened, and what the guest said before, a line each.
fn trail(error: &GuestError) -> String {
    let frames = error.backtrace.iter().take(TRAIL_LINES).map(|frame| format!("\n  in {}", plain(frame)));
    let skipped = error.log_tail.len().saturating_sub(TRAIL_LINES);
    let log = error.log_tail.iter().skip(skipped).map(|line| format!("\n  log: {}", plain(line)));
    frames.chain(log).collect()
}

/// The name of the capsule.
fn kept(dumps: &CrashDumps) -> String {
    if let CrashDumps::Capsule(path) = dumps { format!("\n  capsule: {path}") } else { String::new() }
}
