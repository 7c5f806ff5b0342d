//! The report of one participant of one epoch, and how the state of a job takes it in.

use super::layout::Participant;
use super::manifest::{Manifest, ObjectRef, ParkedRef, SplitPosition, StagedRef};
use crate::codec::snapshot::SnapshotScope;
use crate::ids::Epoch;
use crate::topology::Node;

/// What one participant has to say of one epoch. All of it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who.
    pub from: Participant,
    /// Of which epoch.
    pub epoch: Epoch,
    /// Nothing more will come.
    pub closed: bool,
    /// What.
    pub content: Content,
}

/// The content of a report. Numbers of rows are those of this epoch alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// From a source.
    Source {
        /// Splits that moved.
        splits: Vec<SplitPosition>,
        /// Rows read.
        rows: u64,
        /// Rows refused.
        rejected: u64,
        /// Where the refused rows are.
        quarantine: Vec<ObjectRef>,
        /// With `closed`: the input has ended, as against a request to stop.
        ended: bool,
    },
    /// From an operator.
    Operator {
        /// Its snapshot; `None` where no cell changed.
        snapshot: Option<ObjectRef>,
        /// The watermark it was told last.
        watermark: i64,
        /// Rows worked on.
        rows: u64,
        /// Rows refused.
        rejected: u64,
        /// Where the refused rows are.
        quarantine: Vec<ObjectRef>,
        /// All of its input that waits.
        parked: Vec<ParkedRef>,
    },
    /// From a sink.
    Sink {
        /// Its staged output; `None` where there is none.
        staged: Option<StagedRef>,
        /// Rows written.
        rows: u64,
    },
}

/// Puts one report into the state.
pub(super) fn apply(state: &mut Manifest, report: Report) {
    let index = report.from.instance as usize;
    match (report.from.node, report.content) {
        (Node::Source(place), Content::Source { splits, rows, rejected, quarantine, .. }) => {
            let Some(source) = state.sources.get_mut(place) else { return };
            for split in splits {
                match source.splits.binary_search_by(|known| known.split.cmp(&split.split)) {
                    Ok(at) if split.has_ended() => drop(source.splits.remove(at)),
                    Err(_) if split.has_ended() => {}
                    Ok(at) => source.splits[at] = split,
                    Err(at) => source.splits.insert(at, split),
                }
            }
            source.rows += rows;
            source.rejected += rejected;
            source.quarantine.extend(quarantine);
        }
        (Node::Operator(place), Content::Operator { snapshot, watermark, rows, rejected, quarantine, parked }) => {
            let Some(instance) = state.operators.get_mut(place).and_then(|o| o.instances.get_mut(index)) else { return };
            if let Some(object) = snapshot {
                if object.scope == SnapshotScope::Full {
                    instance.chain.clear();
                }
                instance.chain.push(object);
            }
            instance.watermark = watermark;
            instance.rows += rows;
            instance.rejected += rejected;
            instance.quarantine.extend(quarantine);
            instance.parked = parked;
        }
        (Node::Sink(place), Content::Sink { staged, rows }) => {
            let Some(sink) = state.sinks.get_mut(place) else { return };
            sink.rows += rows;
            sink.staged.extend(staged);
        }
        _ => {}
    }
}
