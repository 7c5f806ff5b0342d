//! A compaction: which objects of a chain are read, how their cells become one full snapshot, and what that replaces. Its driver reads and stores.

use super::fold::fold_into;
use super::layout::Participant;
use super::manifest::{ObjectRef, OperatorState};
use super::objects::{finish_snapshot, read_snapshot};
use super::paths;
use crate::cells::Chunk;
use crate::codec::CodecError;
use crate::codec::snapshot::{SnapshotHead, SnapshotScope, Writer};
use crate::ids::{Epoch, Generation, Instance};

/// The compaction of a chain into a full snapshot that is named after an epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compaction {
    /// The job.
    pub job: String,
    /// The run that compacts.
    pub generation: Generation,
    /// Whose chain.
    pub at: Participant,
    /// The newest checkpoint that has this chain.
    pub epoch: Epoch,
    /// The operator, as that checkpoint has it; without its instances.
    pub operator: OperatorState,
    /// The chain, as that checkpoint has it: the objects to be read, in this order.
    pub chain: Vec<ObjectRef>,
}

/// A chain that was compacted: `object` has the cells of everything in it up to and with the object at the path `last`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactedChain {
    /// Whose chain.
    pub at: Participant,
    /// The last object that is replaced.
    pub last: String,
    /// What replaces it and all before it.
    pub object: ObjectRef,
}

impl Compaction {
    /// Where the full snapshot goes.
    #[must_use]
    pub fn path(&self) -> String {
        paths::snapshot(&self.operator.name, Instance(self.at.instance), self.epoch, self.generation, true)
    }

    /// The chunks of an object of the chain.
    ///
    /// # Errors
    /// What is wrong with it: the chain is damaged.
    pub fn read(&self, object: &ObjectRef, bytes: Option<&[u8]>) -> Result<Vec<Chunk>, String> {
        read_snapshot(bytes, object, &self.job, (&self.operator, self.at.instance))
    }

    /// Folds the chunks of all objects of the chain. Gives what the committer is to be told once these bytes are stored.
    ///
    /// # Errors
    /// A snapshot beyond the limits of the format.
    pub fn fold(&self, chunks: Vec<Chunk>) -> Result<(CompactedChain, Vec<u8>), CodecError> {
        let head = SnapshotHead {
            job: self.job.clone(),
            operator: self.operator.name.clone(),
            instance: Instance(self.at.instance),
            epoch: self.epoch,
            generation: self.generation,
            scope: SnapshotScope::Full,
        };
        let expected = self.chain.first().map_or(0, |full| full.bytes);
        let mut writer = Writer::with_room(&head, usize::try_from(expected).unwrap_or(0))?;
        fold_into(chunks, |chunk| writer.chunk(&chunk))?;
        let (object, bytes) = finish_snapshot(&head, writer)?;
        let last = self.chain.last().map(|link| link.path.clone()).unwrap_or_default();
        Ok((CompactedChain { at: self.at, last, object }, bytes))
    }
}
