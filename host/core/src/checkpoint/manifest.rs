//! The manifest: the object whose existence is the checkpoint. It names everything that the checkpoint needs.

use crate::codec::frame::FrameKind;
use crate::codec::record::Record;
use crate::codec::snapshot::SnapshotScope;
use crate::description::Slot;
use crate::ids::{Digest, Epoch, Generation, Instance, Life};
use bincode::{Decode, Encode};
use serde::Serialize;

/// The manifest of a checkpoint: what it completes, where its sources stand, and which objects it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Manifest {
    /// The job.
    pub job: String,
    /// The epoch that this checkpoint completes.
    pub epoch: Epoch,
    /// The run that wrote it.
    pub generation: Generation,
    /// Random number of the writer, so that a retry whose answer was lost can know its own object again.
    pub writer: u64,
    /// The checkpoint that came before it in this line of history.
    pub parent: Option<Epoch>,
    /// When it was written: milliseconds since 1970-01-01T00:00:00Z, by the writer's clock. For people only.
    pub written_ms: i64,
    /// Digest of the topology, without the settings that do not touch state.
    pub topology: Digest,
    /// Workers of the run: instances that each source and sink had.
    pub workers: u32,
    /// The input had ended and everything was worked off: there is nothing to take up.
    pub finished: bool,
    /// Written at the start of a run, with the state of its parent: it takes the place that a host which was thought dead would write to.
    pub taken_over: bool,
    /// The operators, in the order of the topology file.
    pub operators: Vec<OperatorState>,
    /// The sources, in the order of the topology file.
    pub sources: Vec<SourceState>,
    /// The sinks, in the order of the topology file.
    pub sinks: Vec<SinkState>,
}

impl Record for Manifest {
    const KIND: FrameKind = FrameKind::Manifest;
}

/// State of one operator.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct OperatorState {
    /// Its name in the topology.
    pub name: String,
    /// Digest of its component.
    pub component: Digest,
    /// Its slots, as the component described them.
    pub slots: Vec<Slot>,
    /// Its instances, by index.
    pub instances: Vec<InstanceState>,
}

/// State of one instance of an operator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct InstanceState {
    /// A full snapshot and the deltas after it, in order. Empty: no state yet.
    pub chain: Vec<ObjectRef>,
    /// The watermark it had been told.
    pub watermark: i64,
    /// Rows it had worked on.
    pub rows: u64,
    /// Rows it had refused.
    pub rejected: u64,
    /// Quarantine objects of this epoch.
    pub quarantine: Vec<ObjectRef>,
}

/// An object that the checkpoint needs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct ObjectRef {
    /// Its name below the job's folder.
    pub path: String,
    /// Whole or changed cells; `Full` for quarantine objects.
    pub scope: SnapshotScope,
    /// Its length in bytes.
    pub bytes: u64,
    /// XXH3-64 of all of its bytes.
    pub checksum: u64,
    /// Cells or rows in it.
    pub entries: u64,
}

/// Position of one source.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SourceState {
    /// Its name in the topology.
    pub name: String,
    /// Where each split stands.
    pub splits: Vec<SplitPosition>,
    /// Rows read so far.
    pub rows: u64,
    /// Rows that could not be read as the format wants them.
    pub rejected: u64,
    /// Quarantine objects of this epoch.
    pub quarantine: Vec<ObjectRef>,
}

/// Where a source stands in one split.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize)]
pub struct SplitPosition {
    /// Identity of the split within its source.
    pub split: String,
    /// The position, JSON text of the connector's own making.
    pub position: String,
    /// The instance that reads it. With the same number of workers it stays there, so that no instance gets rows of a split after it was
    /// told a watermark on the word of others.
    pub instance: Instance,
}

impl SplitPosition {
    /// A source says with an empty position that a split has ended: it is left out of the manifest.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.position.is_empty()
    }
}

/// Output of one sink.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct SinkState {
    /// Its name in the topology.
    pub name: String,
    /// Staged output that was not yet known to be published when the manifest was written.
    pub staged: Vec<StagedRef>,
    /// Rows written so far.
    pub rows: u64,
}

/// Output of one sink instance in one epoch, staged.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct StagedRef {
    /// The epoch.
    pub epoch: Epoch,
    /// What the sink calls it.
    pub token: String,
    /// Rows in it.
    pub rows: u64,
    /// Bytes in it.
    pub bytes: u64,
}

/// The claim of a generation: one a run.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// The generation claimed.
    pub generation: Generation,
    /// Random number of the claimant.
    pub writer: u64,
    /// Process and machine, for people.
    pub host: String,
    /// When: milliseconds since 1970-01-01T00:00:00Z, by the claimant's clock.
    pub claimed_ms: i64,
}

impl Record for Claim {
    const KIND: FrameKind = FrameKind::Claim;
}

/// The life of a job in its store. Made once, before the first run touches any output; a sink that holds output for the job knows it by this.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Identity {
    /// The job.
    pub job: String,
    /// Its life.
    pub life: Life,
    /// When it was made: milliseconds since 1970-01-01T00:00:00Z, by the clock of the host that made it. For people only.
    pub made_ms: i64,
}

impl Record for Identity {
    const KIND: FrameKind = FrameKind::Identity;
}

/// A request for a savepoint, left in the store for the host that runs the job.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Request {
    /// Name of the savepoint.
    pub name: String,
    /// Stop the job with it.
    pub stop: bool,
    /// Random number of the command that asks.
    pub writer: u64,
    /// When: milliseconds since 1970-01-01T00:00:00Z, by the clock of the command that asks.
    pub asked_ms: i64,
}

impl Record for Request {
    const KIND: FrameKind = FrameKind::Request;
}

/// A request to end the pause of an operator, left in the store for the host that runs the job. Where there is no pause, the answer is the
/// same record under another name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Resume {
    /// The operator's name in the topology.
    pub operator: String,
    /// Random number of the command that asks.
    pub writer: u64,
    /// When: milliseconds since 1970-01-01T00:00:00Z, by the clock of the command that asks.
    pub asked_ms: i64,
}

impl Record for Resume {
    const KIND: FrameKind = FrameKind::Resume;
}

/// Rows that one instance refused in one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Quarantine {
    /// Source or operator.
    pub node: String,
    /// Index of the instance.
    pub instance: Instance,
    /// The epoch.
    pub epoch: Epoch,
    /// The rows.
    pub rows: Vec<QuarantinedRow>,
}

impl Record for Quarantine {
    const KIND: FrameKind = FrameKind::Quarantine;
}

/// A row that was refused, with all that is needed to send it again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct QuarantinedRow {
    /// Index of the operator's input; 0 for sources.
    pub input: u32,
    /// Where it came from, for people: a split and an offset for sources, empty for operators.
    pub origin: String,
    /// Event time.
    pub time: i64,
    /// Key.
    pub key: Vec<u8>,
    /// Value; for sources the row as read.
    pub value: Vec<u8>,
    /// Why it was refused.
    pub reason: String,
}

impl Manifest {
    /// The newest epoch whose rows are in the state: a manifest that took over has those of its parent. `None`: no row is.
    #[must_use]
    pub fn covered(&self) -> Option<Epoch> {
        if self.taken_over { self.parent } else { Some(self.epoch) }
    }

    /// The same state, taken over by another run: its first manifest, before it touches anything that the old run may still use. Its parent
    /// is the checkpoint whose state it has: manifests that only took over do not stand between the two.
    #[must_use]
    pub fn take_over(&self, epoch: Epoch, generation: Generation, writer: u64) -> Self {
        let mut taken = Self { epoch, generation, writer, parent: self.covered(), taken_over: true, ..self.clone() };
        taken.operators.iter_mut().flat_map(|o| &mut o.instances).for_each(|i| i.quarantine.clear());
        taken.sources.iter_mut().for_each(|s| s.quarantine.clear());
        taken
    }

    /// The same, where it is finished and rows are sent again all the same: operators will be told the end of the input once more.
    #[must_use]
    pub fn reopened(mut self) -> Self {
        self.finished = false;
        for instance in self.operators.iter_mut().flat_map(|o| &mut o.instances) {
            instance.watermark = instance.watermark.min(i64::MAX - 1);
        }
        self
    }

    /// Every stored object that the checkpoint needs for taking up again, and its quarantine.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        let instances = self.operators.iter().flat_map(|o| &o.instances);
        let chains = instances.clone().flat_map(|i| i.chain.iter().chain(&i.quarantine));
        chains.chain(self.sources.iter().flat_map(|s| &s.quarantine))
    }
}

#[cfg(test)]
impl Manifest {
    /// A manifest of the first generation without any state, for tests of what follows from epochs and parents.
    pub(super) fn bare(epoch: u64, parent: Option<u64>) -> Self {
        Self { job: "j".into(), epoch: Epoch(epoch), generation: Generation(1), parent: parent.map(Epoch), workers: 1, ..Self::default() }
    }
}
