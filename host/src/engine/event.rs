//! What an operator instance goes through, for people to know. Nothing is decided by it.

use reprise_core::ids::Epoch;
use std::sync::Arc;
use std::time::Duration;

/// Something that happened to an instance of an operator.
#[derive(Debug, Clone)]
pub enum OperatorEvent {
    /// A call failed; a new instance takes the place of the one that failed, and the call is made again. Each retry is told, and where there is
    /// none the first failure.
    Failed {
        /// The operator's name in the topology.
        operator: String,
        /// Which instance.
        instance: u32,
        /// What happened, for people: several lines.
        report: String,
        /// Which retry comes now; 0 where the rows of the call are tried in smaller calls instead.
        attempt: u32,
        /// Retries after which it is decided otherwise.
        retries: u32,
        /// Wait before it.
        wait: Duration,
    },
    /// A new instance has taken the place of one that failed.
    Recovered {
        /// The operator's name in the topology.
        operator: String,
        /// Which instance.
        instance: u32,
        /// From the failure to the new instance.
        took: Duration,
    },
    /// A row on which calls fail goes to quarantine, and the operator goes on.
    Quarantined {
        /// The operator's name in the topology.
        operator: String,
        /// Which instance.
        instance: u32,
        /// In which epoch.
        epoch: Epoch,
        /// What happened, for people: several lines.
        report: String,
    },
    /// The circuit breaker of the operator has opened; its rows wait.
    Paused {
        /// The operator's name in the topology.
        operator: String,
        /// For how long.
        pause: Duration,
        /// Why, for people.
        reason: String,
    },
    /// The pause was ended before its time, as a person asked: the next call decides.
    PauseEnded {
        /// The operator's name in the topology.
        operator: String,
    },
    /// The operator works again.
    Resumed {
        /// The operator's name in the topology.
        operator: String,
    },
    /// An instance has so much state that the host keeps no copy of it: it cannot come back alone.
    TooLarge {
        /// The operator's name in the topology.
        operator: String,
        /// Which instance.
        instance: u32,
        /// Bytes of its state.
        bytes: u64,
    },
    /// An instance has so much state that restoring it alone would take longer than `recover-within`. Told once for each operator.
    TooSlow {
        /// The operator's name in the topology.
        operator: String,
        /// Which instance.
        instance: u32,
        /// How many instances the operator has.
        instances: u32,
        /// How long it would take.
        takes: Duration,
        /// How long it may take.
        within: Duration,
    },
}

/// Takes events. Must not block for long.
pub type OperatorEvents = Arc<dyn Fn(OperatorEvent) + Send + Sync>;
