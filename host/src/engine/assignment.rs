//! Assignments: the instances of each node that one worker runs, and what they begin with.

use super::sink::SinkAssignment;
use super::source::SourceAssignment;
use reprise_core::operator::Restored;

/// The assignment of one worker.
#[derive(Default)]
pub struct WorkerAssignment {
    /// Its source instances.
    pub sources: Vec<SourceAssignment>,
    /// Its sink instances.
    pub sinks: Vec<SinkAssignment>,
    /// State of its instances of each operator, in the order of the topology file.
    pub restored: Vec<Vec<Restored>>,
}
