//! Rows in quarantine: what each is called, which of them count, and what was decided about them since.
//!
//! An object in quarantine never changes. What is decided about its rows is told by further objects, each created once:
//!
//! | record | object | says |
//! |---|---|---|
//! | [`Dropped`] | beside the object | these rows are of no interest any more |
//! | [`Replay`] | in `replays/` | send these rows again |
//! | [`Replayed`] | in `replayed/` | these rows were sent again, and this checkpoint has their effects |
//!
//! A run that finds a [`Replay`] has one more source for each input that rows go back to ([`replay_source`]). Its splits are the requests, and its
//! position in one is the number of rows that are done: so the manifests tell which rows were sent again, and the next run writes that down as
//! [`Replayed`] before its manifests forget it.
//!
//! ```text
//! refused ──> in quarantine ──Replay──> asked for ──a completed checkpoint has it──> replayed ──Replayed──> replayed
//!                   └──Dropped──────────────┴──> dropped
//! ```

use super::faulted::{FaultedRow, FaultedRows};
use super::manifest::{Manifest, Quarantine, QuarantinedRow};
use super::{lineage, paths};
use crate::codec::CodecError;
use crate::codec::frame::{self, FrameKind};
use crate::codec::record::{self, Record};
use crate::ids::{Epoch, Generation, Instance};
use bincode::{Decode, Encode};
use std::collections::BTreeMap;
use std::fmt;

/// What begins the name of a source that sends rows again. No node of a topology can have such a name.
const REPLAY_SOURCE: &str = "quarantine:";

/// The name, in manifests, of the source that sends rows again to one input of an operator; where rows go to certain instances, to those at
/// this place among the instances of their workers.
#[must_use]
pub fn replay_source(operator: &str, input: u32, place: Option<u32>) -> String {
    let place = place.map(|place| format!(":{place}")).unwrap_or_default();
    format!("{REPLAY_SOURCE}{operator}:{input}{place}")
}

/// True for names that [`replay_source`] makes.
#[must_use]
pub fn is_replay_source(name: &str) -> bool {
    name.starts_with(REPLAY_SOURCE)
}

/// The name of a quarantine object, in its parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// The epoch in which the rows were refused. First, so that names sort by age.
    pub epoch: Epoch,
    /// The run that refused them.
    pub generation: Generation,
    /// The operator or source.
    pub node: String,
    /// Index of the instance.
    pub instance: Instance,
    /// Counts the objects of one instance in one epoch.
    pub part: u32,
}

impl ObjectName {
    /// The object's path below the job's folder.
    #[must_use]
    pub fn path(&self) -> String {
        paths::quarantine(&self.node, self.instance, self.epoch, self.generation, self.part as usize)
    }

    /// The parts of a path, or `None` for a foreign name.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        let (node, name) = path.strip_prefix(paths::QUARANTINE)?.strip_prefix('/')?.split_once('/')?;
        Self::new(node, name).filter(|parts| parts.path() == path)
    }

    fn new(node: &str, numbers: &str) -> Option<Self> {
        let mut numbers =
            numbers.split('-').map(|digits| digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit())));
        let mut next = || numbers.next().flatten();
        let (epoch, generation) = (Epoch(next()?), Generation(next()?));
        let (instance, part) = (Instance(u32::try_from(next()?).ok()?), u32::try_from(next()?).ok()?);
        let is_all = numbers.next().is_none() && !node.is_empty() && !node.contains('/');
        is_all.then(|| Self { epoch, generation, node: node.to_owned(), instance, part })
    }

    /// Its last part, in which its numbers are padded.
    fn file(&self) -> String {
        let Self { epoch, generation, instance, part, .. } = self;
        format!("{:012}-{:06}-{:04}-{part}", epoch.0, generation.0, instance.0)
    }

    /// Where the `number`-th note goes that rows of it are dropped.
    #[must_use]
    pub fn dropped(&self, number: u32) -> String {
        format!("{}.dropped-{number}", self.path())
    }

    /// The object and the number in a path that [`Self::dropped`] made.
    #[must_use]
    pub fn of_dropped(path: &str) -> Option<(Self, u32)> {
        let (object, number) = path.rsplit_once(".dropped-")?;
        let found = (Self::of_path(object)?, number.parse().ok()?);
        (found.0.dropped(found.1) == path).then_some(found)
    }

    /// Where the `number`-th request goes to send rows of it again.
    #[must_use]
    pub fn replay(&self, number: u32) -> String {
        format!("{}/{}/{}.{number}", paths::REPLAYS, self.node, self.file())
    }

    /// The object and the number in a path that [`Self::replay`] made.
    #[must_use]
    pub fn of_replay(path: &str) -> Option<(Self, u32)> {
        let (node, name) = path.strip_prefix(paths::REPLAYS)?.strip_prefix('/')?.split_once('/')?;
        let (numbers, number) = name.split_once('.')?;
        let found = (Self::new(node, numbers)?, number.parse().ok()?);
        (found.0.replay(found.1) == path).then_some(found)
    }
}

/// What a row in quarantine is called: `NODE/EPOCH-GENERATION-INSTANCE-PART/ROW`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId {
    /// The object it is in.
    pub object: ObjectName,
    /// Its place there, from 0.
    pub row: u32,
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectName { epoch, generation, node, instance, part } = &self.object;
        write!(f, "{node}/{epoch}-{generation}-{instance}-{part}/{}", self.row)
    }
}

impl std::str::FromStr for RowId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (object, row) = text.rsplit_once('/')?;
            let (node, numbers) = object.rsplit_once('/')?;
            Some(Self { object: ObjectName::new(node, numbers)?, row: row.parse().ok()? })
        };
        read().ok_or_else(|| format!("`{}` is no row in quarantine: NODE/EPOCH-RUN-INSTANCE-PART/ROW is wanted", text.escape_debug()))
    }
}

/// Rows of one quarantine object.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RowsOf {
    /// Path of the object.
    pub object: String,
    /// Places of the rows in it.
    pub rows: Vec<u32>,
}

/// Rows that a user has dropped.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Dropped {
    /// Which.
    pub rows: RowsOf,
    /// Random number of the command that dropped them.
    pub writer: u64,
    /// When: milliseconds since 1970-01-01T00:00:00Z, by the clock of that command.
    pub dropped_ms: i64,
}

impl Record for Dropped {
    const KIND: FrameKind = FrameKind::Dropped;
}

/// A request to send rows again, all of them to one input.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Replay {
    /// Which.
    pub rows: RowsOf,
    /// Index of the operator's input.
    pub input: u32,
    /// Random number of the command that asks.
    pub writer: u64,
    /// When: milliseconds since 1970-01-01T00:00:00Z, by the clock of the command that asks.
    pub asked_ms: i64,
}

impl Record for Replay {
    const KIND: FrameKind = FrameKind::Replay;
}

impl Replay {
    /// The split that stands for the request with this path, in the positions of its source. Another request of the same name, made when this
    /// one was gone, is another split.
    #[must_use]
    pub fn split(&self, path: &str) -> String {
        format!("{path}@{:016x}", self.writer)
    }
}

/// Rows that were sent again in epochs up to that in the name of the object.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Replayed {
    /// Which.
    pub objects: Vec<RowsOf>,
}

impl Record for Replayed {
    const KIND: FrameKind = FrameKind::Replayed;
}

/// An object in quarantine, of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuarantineObject {
    /// Rows that were refused.
    Refused(Quarantine),
    /// Rows on which an operator failed.
    Faulted(FaultedRows),
}

impl QuarantineObject {
    /// Reads an object, of whichever kind it is.
    ///
    /// # Errors
    /// As [`record::decode`]; faulted rows beyond their limits.
    pub fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        if frame::read(bytes)?.0.kind != FrameKind::Fault as u16 {
            return record::decode(bytes).map(Self::Refused);
        }
        let faulted: FaultedRows = record::decode(bytes)?;
        faulted.check().map_err(CodecError::Content)?;
        Ok(Self::Faulted(faulted))
    }

    /// The operator or source.
    #[must_use]
    pub fn node(&self) -> &str {
        match self {
            Self::Refused(held) => &held.node,
            Self::Faulted(held) => &held.node,
        }
    }

    /// Whether the object says of itself what its name says.
    #[must_use]
    pub fn is_named(&self, name: &ObjectName) -> bool {
        let (instance, epoch) = match self {
            Self::Refused(held) => (held.instance, held.epoch),
            Self::Faulted(held) => (held.instance, held.epoch),
        };
        self.node() == name.node && instance == name.instance && epoch == name.epoch
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Refused(held) => held.rows.len(),
            Self::Faulted(held) => held.rows.len(),
        }
    }

    /// True where there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row at a place.
    #[must_use]
    pub fn row(&self, place: u32) -> Option<&QuarantinedRow> {
        match self {
            Self::Refused(held) => held.rows.get(place as usize),
            Self::Faulted(held) => held.rows.get(place as usize).map(|faulted| &faulted.row),
        }
    }

    /// What is known of the fault at a row; `None` where it was refused.
    #[must_use]
    pub fn fault(&self, place: u32) -> Option<&FaultedRow> {
        match self {
            Self::Refused(_) => None,
            Self::Faulted(held) => held.rows.get(place as usize),
        }
    }
}

/// Which epochs count: the history of one checkpoint, as far as the manifests that are left tell it.
#[derive(Debug)]
pub struct History<'a> {
    manifests: BTreeMap<Epoch, Option<&'a Manifest>>,
    line: Vec<Epoch>,
    newest: Epoch,
    covered: Option<Epoch>,
}

impl<'a> History<'a> {
    /// The history that ends with `newest`. `listed`: epochs of all manifests there are; `readable`: those that can be read.
    #[must_use]
    pub fn new(newest: &'a Manifest, listed: &[Epoch], readable: &'a [Manifest]) -> Self {
        let mut manifests: BTreeMap<Epoch, Option<&Manifest>> = listed.iter().map(|epoch| (*epoch, None)).collect();
        manifests.extend(readable.iter().map(|manifest| (manifest.epoch, Some(manifest))));
        manifests.insert(newest.epoch, Some(newest));
        let lineage = lineage::lineage(&manifests, newest.epoch);
        Self { line: lineage, newest: newest.epoch, covered: newest.covered(), manifests }
    }

    /// Rows of this epoch are in the state of the newest checkpoint.
    #[must_use]
    pub fn has(&self, epoch: Epoch) -> bool {
        self.covered.is_some_and(|covered| epoch <= covered) && !lineage::has_given_up(&self.manifests, self.newest, epoch)
    }

    /// The rows in this object count: their epoch does, and its manifest, where it is left, names the object.
    #[must_use]
    pub fn has_object(&self, name: &ObjectName) -> bool {
        let manifest = self.manifests.get(&name.epoch).copied().flatten().filter(|_| self.line.contains(&name.epoch));
        self.has(name.epoch) && manifest.is_none_or(|manifest| manifest.objects().any(|object| object.path == name.path()))
    }

    /// The oldest epoch that a walk back from the newest checkpoint may end at; `None`: the beginning of the job.
    #[must_use]
    pub fn oldest(&self) -> Option<Epoch> {
        self.manifests.values().map(|manifest| manifest.and_then(Manifest::covered)).min().flatten()
    }
}

#[cfg(test)]
mod tests;
