//! The rows in quarantine: which count, the state of each, and all that is known of one.

use super::READS_AT_ONCE;
use super::catalog::{names, read};
use super::error::SurveyError;
use super::which::Which;
use crate::job::error::failed;
use crate::job::replay::QuarantineLedger;
use crate::store::Store;
use futures::{StreamExt, TryStreamExt};
use reprise_core::checkpoint::faulted::FaultedRow;
use reprise_core::checkpoint::manifest::{Manifest, QuarantinedRow};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::quarantine::{History, ObjectName, QuarantineObject, RowId};
use reprise_core::ids::{Digest, Epoch};
use std::collections::{BTreeMap, BTreeSet};

/// The state of a row in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    /// It is in quarantine.
    Held,
    /// It is, and a run is asked to send it again.
    Asked,
    /// It was sent again, and a completed checkpoint has its effects.
    Replayed,
    /// It was dropped.
    Dropped,
}

impl RowState {
    /// The state, for people and scripts.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Asked => "asked",
            Self::Replayed => "replayed",
            Self::Dropped => "dropped",
        }
    }

    /// It is on the list.
    #[must_use]
    pub fn is_listed(self) -> bool {
        matches!(self, Self::Held | Self::Asked)
    }
}

/// Where the rows of a quarantine come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowOrigin {
    /// An operator, to whose input they can be sent again.
    Operator,
    /// A source: they are what it could not read.
    Source,
    /// A node that the job no longer has.
    Gone,
}

/// The quarantine of a job, as the newest checkpoint has it.
#[derive(Debug)]
pub struct QuarantineView {
    objects: Vec<ObjectName>,
    replayed: BTreeMap<String, BTreeSet<u32>>,
    /// Rows asked for; `true` where the newest checkpoint has sent them again.
    asked: BTreeMap<(String, u32), bool>,
    dropped: BTreeMap<String, BTreeSet<u32>>,
    /// Numbers of the notes that rows of an object are dropped.
    pub(in crate::job) drops: BTreeMap<String, u32>,
    origins: BTreeMap<String, RowOrigin>,
    written: BTreeMap<Epoch, (i64, BTreeMap<String, Digest>)>,
}

impl QuarantineView {
    /// Looks at a job.
    ///
    /// # Errors
    /// [`SurveyError::NoJob`]; [`SurveyError::Damaged`] where no manifest can be read; failures of the store.
    pub async fn open(store: &Store, job: &str) -> Result<Self, SurveyError> {
        let listed = names(store, job).await?.epochs;
        let (newest, readable) = manifests(store, job, &listed).await?;
        let mut view = Self {
            objects: Vec::new(),
            replayed: BTreeMap::new(),
            asked: BTreeMap::new(),
            dropped: BTreeMap::new(),
            drops: BTreeMap::new(),
            origins: BTreeMap::new(),
            written: BTreeMap::new(),
        };
        let Some(newest) = newest else { return Ok(view) };
        let history = History::new(&newest, &listed, &readable);
        let stored = store.list(paths::QUARANTINE).await.map_err(failed("list the quarantine"))?;
        view.objects = stored.iter().filter_map(|entry| ObjectName::of_path(&entry.path)).filter(|name| history.has_object(name)).collect();
        view.objects.sort();
        for (object, number) in stored.iter().filter_map(|entry| ObjectName::of_dropped(&entry.path)) {
            let next = view.drops.entry(object.path()).or_default();
            *next = (*next).max(number.saturating_add(1));
        }
        let mut ledger = QuarantineLedger::read(store, &newest, &history).await?;
        ledger.read_dropped(store, stored.iter().map(|entry| entry.path.as_str())).await?;
        view.asked = ledger.asked();
        view.replayed = ledger.replayed.into_iter().map(|(object, rows)| (object, rows.into_keys().collect())).collect();
        view.dropped = ledger.dropped;
        view.origins = newest.sources.iter().map(|source| (source.name.clone(), RowOrigin::Source)).collect();
        view.origins.extend(newest.operators.iter().map(|operator| (operator.name.clone(), RowOrigin::Operator)));
        let components = |m: &Manifest| m.operators.iter().map(|o| (o.name.clone(), o.component)).collect();
        view.written = readable.iter().filter(|m| !m.taken_over).map(|m| (m.epoch, (m.written_ms, components(m)))).collect();
        Ok(view)
    }

    /// The objects that count, oldest first.
    #[must_use]
    pub fn objects(&self) -> &[ObjectName] {
        &self.objects
    }

    /// The state of a row.
    #[must_use]
    pub fn state(&self, object: &ObjectName, row: u32) -> RowState {
        let path = object.path();
        let has = |of: &BTreeMap<String, BTreeSet<u32>>| of.get(&path).is_some_and(|rows| rows.contains(&row));
        match self.asked.get(&(path.clone(), row)) {
            _ if has(&self.replayed) => RowState::Replayed,
            Some(true) => RowState::Replayed,
            _ if has(&self.dropped) => RowState::Dropped,
            Some(false) => RowState::Asked,
            None => RowState::Held,
        }
    }

    /// Where rows of this node come from.
    #[must_use]
    pub fn origin(&self, node: &str) -> RowOrigin {
        self.origins.get(node).copied().unwrap_or(RowOrigin::Gone)
    }

    /// Reads an object. An error that is text tells why it cannot be used.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn read(&self, store: &Store, object: &ObjectName) -> Result<Result<QuarantineObject, String>, SurveyError> {
        let path = object.path();
        let read = store.get(&path).await.map_err(failed("read the quarantine"))?;
        let Some(bytes) = read else { return Ok(Err(format!("`{path}` is missing"))) };
        let held = QuarantineObject::read(&bytes).map_err(|error| format!("`{path}`: {error}"));
        Ok(held.and_then(|held| if held.is_named(object) { Ok(held) } else { Err(format!("`{path}` is another object")) }))
    }

    /// When the checkpoint was written that named the object, and the component of its operator; `None` where that checkpoint is gone.
    #[must_use]
    pub fn refused(&self, object: &ObjectName) -> Option<(i64, Option<Digest>)> {
        let (written_ms, components) = self.written.get(&object.epoch)?;
        Some((*written_ms, components.get(&object.node).copied()))
    }

    fn kept(&self, object: &ObjectName, held: &QuarantineObject, row: u32) -> Option<RowEntry> {
        let refused = self.refused(object);
        let (component, line) = match held {
            QuarantineObject::Refused(_) => (refused.and_then(|(_, component)| component), None),
            QuarantineObject::Faulted(faulted) => (Some(faulted.component), Some(faulted.line).filter(|line| *line > 0)),
        };
        Some(RowEntry {
            id: RowId { object: object.clone(), row },
            row: held.row(row)?.clone(),
            fault: held.fault(row).cloned(),
            state: self.state(object, row),
            component,
            line,
            written_ms: refused.map(|(written_ms, _)| written_ms),
        })
    }
}

/// The newest manifest that can be read, and all that can.
async fn manifests(store: &Store, job: &str, listed: &[Epoch]) -> Result<(Option<Manifest>, Vec<Manifest>), SurveyError> {
    let reads = futures::stream::iter(listed.iter().rev().take(super::MANIFESTS_MAX))
        .map(async |epoch: &Epoch| Ok::<_, SurveyError>((*epoch, read(store, job, &Which::Epoch(*epoch)).await?)));
    let mut readable = Vec::new();
    let mut bad = None;
    for (epoch, manifest) in reads.buffered(READS_AT_ONCE).try_collect::<Vec<_>>().await? {
        match manifest {
            Some(Ok(manifest)) => readable.push(manifest),
            Some(Err(reason)) => drop(bad.get_or_insert((epoch, reason))),
            None => {}
        }
    }
    match (readable.first().cloned(), bad) {
        (None, Some((epoch, reason))) => Err(SurveyError::Damaged { checkpoint: Which::Epoch(epoch).to_string(), reason }),
        (newest, _) => Ok((newest, readable)),
    }
}

/// A row in quarantine, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowEntry {
    /// What it is called.
    pub id: RowId,
    /// The row.
    pub row: QuarantinedRow,
    /// How the operator failed at it; `None` where it refused it.
    pub fault: Option<FaultedRow>,
    /// Its state.
    pub state: RowState,
    /// The component that refused it or failed at it, where that is known.
    pub component: Option<Digest>,
    /// Line of the operator in the topology file, where that is known.
    pub line: Option<u32>,
    /// When the checkpoint was written that has it in quarantine, where that is known: milliseconds since 1970-01-01T00:00:00Z.
    pub written_ms: Option<i64>,
}

impl RowEntry {
    /// `refused`, or the kind of the fault.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.fault.as_ref().map_or("refused", |fault| &fault.kind)
    }
}

/// Which rows to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowFilter {
    /// Those of this node alone.
    pub node: Option<String>,
    /// Those alone whose reasons have this text in them.
    pub reason: Option<String>,
}

/// Rows on the list.
#[derive(Debug, Default)]
pub struct RowList {
    /// The rows, oldest first.
    pub rows: Vec<RowEntry>,
    /// There are more.
    pub more: bool,
    /// Objects that cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
}

/// The oldest rows in quarantine, at most so many.
///
/// # Errors
/// As [`QuarantineView::open`].
pub async fn rows(store: &Store, job: &str, filter: &RowFilter, limit: usize) -> Result<RowList, SurveyError> {
    let view = QuarantineView::open(store, job).await?;
    let mut listed = RowList::default();
    for object in view.objects().iter().filter(|object| filter.node.as_ref().is_none_or(|node| *node == object.node)) {
        let held = match view.read(store, object).await? {
            Ok(held) => held,
            Err(reason) => {
                listed.unreadable.push((object.path(), reason));
                continue;
            }
        };
        for row in 0..u32::try_from(held.len()).unwrap_or(u32::MAX) {
            let fits = |kept: &RowEntry| {
                kept.state.is_listed() && filter.reason.as_ref().is_none_or(|text| kept.row.reason.contains(text.as_str()))
            };
            let Some(kept) = view.kept(object, &held, row).filter(fits) else { continue };
            if listed.rows.len() == limit {
                listed.more = true;
                return Ok(listed);
            }
            listed.rows.push(kept);
        }
    }
    Ok(listed)
}

/// One row, whatever became of it.
///
/// # Errors
/// As [`QuarantineView::open`]; [`SurveyError::NotThere`] for a row that is not in quarantine, [`SurveyError::Damaged`] where its object is.
pub async fn row(store: &Store, job: &str, id: &RowId) -> Result<RowEntry, SurveyError> {
    let view = QuarantineView::open(store, job).await?;
    let held = match view.objects().contains(&id.object) {
        true => {
            view.read(store, &id.object).await?.map_err(|reason| SurveyError::Damaged { checkpoint: "the quarantine".into(), reason })?
        }
        false => return Err(no_row(id)),
    };
    view.kept(&id.object, &held, id.row).ok_or_else(|| no_row(id))
}

pub(in crate::job) fn no_row(id: &RowId) -> SurveyError {
    let there = "`reprise quarantine list` shows which rows there are".to_owned();
    SurveyError::NotThere { checkpoint: "the quarantine".into(), what: format!("row `{id}`"), there }
}
