//! Specifications: what all instances of an operator, and all workers of a run, share.

use super::circuit_breaker::SharedCircuitBreaker;
use super::control::Control;
use super::event::OperatorEvents;
use super::in_flight::InFlight;
use super::parked::ParkedReader;
use super::report::Reporter;
use super::source::SourceLimits;
use crate::clock::Clock;
use crate::wasm::{Component, Limits};
use reprise_core::description::Description;
use reprise_core::ids::Epoch;
use reprise_core::topology::{Operator, Plan};
use std::sync::Arc;
use std::time::Duration;

/// The specification of an operator, shared by its instances.
pub struct OperatorSpec {
    /// The job.
    pub job: String,
    /// Its settings in the topology.
    pub settings: Operator,
    /// Its component.
    pub component: Component,
    /// What the component says it is.
    pub description: Description,
    /// Limits of each instance.
    pub limits: Limits,
    /// Bytes that one call of `snapshot` should return at most.
    pub part_bytes_max: u32,
    /// Deltas that may follow a full snapshot.
    pub chain_length_max: u32,
    /// The circuit breaker of its instances.
    pub breaker: Arc<SharedCircuitBreaker>,
    /// Is told what happens to instances.
    pub events: OperatorEvents,
}

/// The specification of a dataflow, shared by the workers of a run.
pub struct DataflowSpec {
    /// The nodes and edges.
    pub plan: Plan,
    /// The first epoch of this run.
    pub first_epoch: Epoch,
    /// The operators, in the order of the topology file.
    pub operators: Vec<Arc<OperatorSpec>>,
    /// Limits of the sources.
    pub source_limits: SourceLimits,
    /// The bytes that are in flight between operators.
    pub in_flight: Arc<InFlight>,
    /// Switches and counters.
    pub control: Arc<Control>,
    /// Takes the reports.
    pub reporter: Reporter,
    /// Reads parked input.
    pub parked_reader: ParkedReader,
    /// How long an epoch may wait for an operator before what waits is parked.
    pub align_max: Duration,
    /// Processing time.
    pub clock: Clock,
}
