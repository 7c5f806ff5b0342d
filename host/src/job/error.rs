//! Errors of a job: why it did not run or did not go on, by what its user has to do.

use crate::connect::ConnectError;
use crate::engine::Failure;
use crate::store::StoreError;
use crate::wasm::LoadError;
use reprise_core::ids::{Epoch, Generation};
use std::path::PathBuf;

/// What kind of thing went wrong. Exit codes follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The topology or a component in it is wrong. Change it.
    Topology,
    /// An operator failed again and again. Its state is intact; mend it and run again.
    Guest,
    /// A limit was reached. Raise it or lower the load.
    Limit,
    /// The store does not answer or refuses. Run again when it does.
    Storage,
    /// Another host runs this job now.
    Fenced,
    /// What is stored cannot be used.
    Corrupt,
    /// A source or sink cannot go on.
    Connect,
    /// A fault of the host. Report it.
    Internal,
}

/// Why a job did not run or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The topology cannot be read.
    #[error("cannot read the topology `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The refusal.
        #[source]
        source: std::io::Error,
    },
    /// The topology has mistakes; the text lists them all.
    #[error("{0}")]
    Topology(String),
    /// The Wasm runtime cannot start.
    #[error("the Wasm runtime cannot start")]
    Runtime(#[source] LoadError),
    /// An operator refused its configuration or its state. It would do so again, so nothing is retried.
    #[error(
        "{failure}\n  help: the job did not start and its state is untouched; change the operator's `config`, or give it a component that takes this state"
    )]
    Refused {
        /// What it said.
        failure: Box<Failure>,
    },
    /// An operator failed and the retries are used up.
    #[error("{failure}\n  help: the job stopped after {failures} failures in a row; its state is that of checkpoint {}, and `reprise run` takes it up again", checkpoint(*.completed))]
    Gave {
        /// The last failure.
        failure: Box<Failure>,
        /// Failures in a row.
        failures: u32,
        /// The newest checkpoint.
        completed: Option<Epoch>,
    },
    /// A source, a sink or the engine failed.
    #[error(transparent)]
    Engine(Box<Failure>),
    /// A source or sink cannot start.
    #[error("{kind} `{name}` cannot start")]
    Connect {
        /// "source" or "sink".
        kind: &'static str,
        /// Its name in the topology.
        name: String,
        /// What happened.
        #[source]
        error: ConnectError,
    },
    /// Storage failed.
    #[error("cannot {doing}")]
    Store {
        /// What was tried.
        doing: &'static str,
        /// What happened.
        #[source]
        error: StoreError,
    },
    /// Another host has claimed the job since.
    #[error(
        "another host has claimed this job: generation {theirs} is newer than ours, {ours}\n  help: nothing more was published by this host; stop one of the two"
    )]
    Fenced {
        /// Our generation.
        ours: Generation,
        /// The newest one.
        theirs: Generation,
    },
    /// Another host wrote the checkpoint that we were about to write.
    #[error(
        "another host runs this job: checkpoint {epoch} already exists and is not ours\n  help: nothing more was published by this host; stop one of the two"
    )]
    Overtaken {
        /// The epoch of the manifest.
        epoch: Epoch,
    },
    /// A newer host wrote a checkpoint.
    #[error("checkpoint `{path}`: {error}")]
    Newer {
        /// The manifest.
        path: String,
        /// What it says.
        error: reprise_core::codec::CodecError,
    },
    /// No checkpoint can be used.
    #[error(
        "no checkpoint of this job can be used:{reasons}\n  help: restore the objects from a copy; to begin anew and lose the state, use another `checkpoint.store` or another `name`"
    )]
    NoCheckpoint {
        /// A line for each checkpoint.
        reasons: String,
    },
    /// The identity of the job in its store cannot be used.
    #[error(
        "the identity of the job, `{path}`, cannot be used: {what}\n  help: restore it from a copy; without it the output of the job counts as that of another store: remove it, and run with `--adopt`"
    )]
    Identity {
        /// The object.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// The checkpoint does not fit the topology.
    #[error("checkpoint {epoch} does not fit the topology: {what}\n  help: {help}")]
    Misfit {
        /// The checkpoint.
        epoch: Epoch,
        /// What does not fit.
        what: String,
        /// What to do.
        help: String,
    },
    /// A savepoint cannot be made or removed.
    #[error("savepoint `{name}` {what}\n  help: {help}")]
    Savepoint {
        /// Its name.
        name: String,
        /// What is wrong.
        what: String,
        /// What to do.
        help: String,
    },
    /// What was asked about an operator cannot be done.
    #[error("operator `{operator}` {what}\n  help: {help}")]
    Operator {
        /// Its name.
        operator: String,
        /// What is wrong.
        what: String,
        /// What to do.
        help: String,
    },
    /// The run was given up while this was under way: something else is the cause.
    #[error("the run was given up")]
    Abandoned,
    /// A fault of the host.
    #[error("internal: {0}")]
    Internal(String),
}

/// The error of a call of the store. `doing`: what was tried.
pub(super) fn failed(doing: &'static str) -> impl Fn(StoreError) -> Error {
    move |error| Error::Store { doing, error }
}

fn checkpoint(epoch: Option<Epoch>) -> String {
    epoch.map_or("none (the beginning)".into(), |epoch| epoch.to_string())
}

impl Error {
    /// The kind of the error.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read { .. } | Self::Topology(_) | Self::Misfit { .. } | Self::Savepoint { .. } | Self::Operator { .. } => Kind::Topology,
            Self::Gave { .. } | Self::Refused { .. } => Kind::Guest,
            Self::Engine(failure) => match failure.as_ref() {
                Failure::Guest { .. } | Failure::Diverged { .. } => Kind::Guest,
                Failure::Connect { .. } => Kind::Connect,
                Failure::Limit(_) => Kind::Limit,
                Failure::Parked { .. } => Kind::Storage,
                Failure::Internal(_) => Kind::Internal,
            },
            // There is too little address space.
            Self::Runtime(_) => Kind::Limit,
            Self::Connect { .. } => Kind::Connect,
            Self::Store { .. } => Kind::Storage,
            Self::Fenced { .. } | Self::Overtaken { .. } => Kind::Fenced,
            Self::NoCheckpoint { .. } | Self::Newer { .. } | Self::Identity { .. } => Kind::Corrupt,
            Self::Abandoned | Self::Internal(_) => Kind::Internal,
        }
    }
}
