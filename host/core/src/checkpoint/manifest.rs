//! The manifest: the object whose existence is the checkpoint. It names everything that the checkpoint needs.

use crate::codec::frame::{self, FrameKind};
use crate::codec::record::{self, Record};
use crate::codec::snapshot::SnapshotScope;
use crate::codec::{CodecError, checksum};
use crate::description::Slot;
use crate::ids::{Digest, Epoch, Generation, Instance, Life};
use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use serde::Serialize;
use std::collections::BTreeSet;

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

/// Parked input of every instance of every operator, in the order of the manifest.
type ParkedByInstance = Vec<Vec<Vec<ParkedRef>>>;

impl Record for Manifest {
    const KIND: FrameKind = FrameKind::Manifest;

    /// Parked input stands after everything else. Where there is none, hosts that do not know it read the manifest as well.
    fn rest(&self) -> Result<(u16, Vec<u8>), CodecError> {
        if !self.has_parked() {
            return Ok((frame::VERSION, Vec::new()));
        }
        let of = |operator: &OperatorState| operator.instances.iter().map(|instance| instance.parked.clone()).collect();
        let parked: ParkedByInstance = self.operators.iter().map(of).collect();
        Ok((frame::VERSION_PARKED, record::bare(&parked)?))
    }

    fn take_rest(&mut self, version: u16, rest: &[u8]) -> Result<(), CodecError> {
        let misfit = |what: &str| Err(CodecError::Content(format!("parked input of {what} that the manifest does not have")));
        if version < frame::VERSION_PARKED {
            return if rest.is_empty() { Ok(()) } else { Err(CodecError::Content(format!("{} bytes are left over", rest.len()))) };
        }
        let parked: ParkedByInstance = record::payload(rest)?;
        if parked.len() != self.operators.len() {
            return misfit("operators");
        }
        for (operator, parked) in self.operators.iter_mut().zip(parked) {
            if parked.len() != operator.instances.len() {
                return misfit("instances");
            }
            for (instance, parked) in operator.instances.iter_mut().zip(parked) {
                if let Some(moved) = parked.iter().map(|object| object.hops.len()).find(|hops| *hops > HOPS_MAX) {
                    return Err(CodecError::Limit { what: "moves of parked input", claimed: moved as u64, max: HOPS_MAX as u64 });
                }
                instance.parked = parked;
            }
        }
        Ok(())
    }
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Input that waits, the oldest first. Encoded apart from the rest.
    pub parked: Vec<ParkedRef>,
}

impl Encode for InstanceState {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        let Self { chain, watermark, rows, rejected, quarantine, parked: _ } = self;
        chain.encode(encoder)?;
        (watermark, rows, rejected).encode(encoder)?;
        quarantine.encode(encoder)
    }
}

impl<Context> Decode<Context> for InstanceState {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let chain = Decode::decode(decoder)?;
        let (watermark, rows, rejected) = Decode::decode(decoder)?;
        Ok(Self { chain, watermark, rows, rejected, quarantine: Decode::decode(decoder)?, parked: Vec::new() })
    }
}

bincode::impl_borrow_decode!(InstanceState);

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

impl ObjectRef {
    /// The object with these bytes and so many entries.
    #[must_use]
    pub fn new(path: String, scope: SnapshotScope, bytes: &[u8], entries: u64) -> Self {
        Self { path, scope, bytes: bytes.len() as u64, checksum: checksum(bytes), entries }
    }
}

/// How often parked input may move before it is worked off.
pub const HOPS_MAX: usize = 64;

/// An object with parked input, and what of it still waits.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ParkedRef {
    /// The object. Its `entries` are all it had when it was written.
    pub object: ObjectRef,
    /// Moves to other instances since it was written, the oldest first.
    pub hops: Vec<Hop>,
    /// Entries that are done, of those that are left after the moves.
    pub done: u64,
    /// Rows that wait.
    pub rows: u64,
    /// Their size, as [`Batch::size_bytes`](crate::batch::Batch::size_bytes) has it.
    pub bytes: u64,
    /// When the oldest of it was parked: milliseconds since 1970-01-01T00:00:00Z, by the host's clock. For people only.
    pub since_ms: i64,
}

/// A move of parked input to another number of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Hop {
    /// Entries that were done before.
    pub done: u64,
    /// The instance that had it.
    pub from: u32,
    /// The instance that takes its share.
    pub to: u32,
    /// How many instances there are now.
    pub of: u32,
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

/// A request to give up the parked input of an operator, left in the store for the host that runs the job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Unpark {
    /// The operator's name in the topology.
    pub operator: String,
    /// Rows go to quarantine, from which they can be sent again; else they are dropped.
    pub to_quarantine: bool,
    /// Random number of the command that asks.
    pub writer: u64,
    /// When: milliseconds since 1970-01-01T00:00:00Z, by the clock of the command that asks.
    pub asked_ms: i64,
}

impl Record for Unpark {
    const KIND: FrameKind = FrameKind::Unpark;
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

    /// Every stored object that the checkpoint needs for taking up again, and its quarantine. Parked input that several instances share is told
    /// once.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        let instances = self.operators.iter().flat_map(|o| &o.instances);
        let chains = instances.clone().flat_map(|i| i.chain.iter().chain(&i.quarantine));
        let mut seen = BTreeSet::new();
        let parked = instances.flat_map(|i| &i.parked).map(|parked| &parked.object).filter(move |object| seen.insert(&object.path));
        chains.chain(self.sources.iter().flat_map(|s| &s.quarantine)).chain(parked)
    }

    /// Some input waits for an operator that is paused or slow.
    #[must_use]
    pub fn has_parked(&self) -> bool {
        self.operators.iter().flat_map(|o| &o.instances).any(|instance| !instance.parked.is_empty())
    }
}

#[cfg(test)]
impl Manifest {
    /// A manifest of the first generation without any state, for tests of what follows from epochs and parents.
    pub(super) fn bare(epoch: u64, parent: Option<u64>) -> Self {
        Self { job: "j".into(), epoch: Epoch(epoch), generation: Generation(1), parent: parent.map(Epoch), workers: 1, ..Self::default() }
    }
}
