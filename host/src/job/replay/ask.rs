//! What people decide about rows in quarantine: send them again, or drop them. Only creates objects, each once, so that commands and hosts
//! cannot hurt each other, and a command that dies has done a part of its work.

use super::ledger::ReplayRequest;
use crate::job::Error;
use crate::job::error::failed;
use crate::job::survey::{QuarantineView, RowOrigin, RowState, SurveyError, no_row};
use crate::store::{Created, Creation, Store};
use bytes::Bytes;
use reprise_core::checkpoint::quarantine::{Dropped, ObjectName, QuarantineObject, Replay, RowId, RowsOf};
use reprise_core::codec::record::{self, Record};
use std::collections::{BTreeMap, BTreeSet};

/// Times that another command may be faster before a command gives up.
const TRIES_MAX: u32 = 64;

/// The rows that a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChosenRows {
    /// All on the list.
    All,
    /// All on the list that are of this node.
    Node(String),
    /// These.
    Rows(Vec<RowId>),
}

/// The numbers of rows that a command dropped, asked for, or passed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows that were dropped or asked for.
    pub rows: u64,
    /// Rows of which that had been done before, or which were sent again already.
    pub before: u64,
    /// Rows that only their source could read, and that were passed over.
    pub of_sources: u64,
    /// Rows of nodes that the job no longer has, and that were passed over.
    pub of_gone: u64,
    /// Objects that cannot be read, and that were passed over.
    pub unreadable: u64,
}

/// The requester of a decision about rows, or of something about an operator: a command, and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requester {
    /// A random number.
    pub writer: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub now_ms: i64,
}

/// Asks for rows to be sent again, by the run that is under way or by the next one.
///
/// # Errors
/// As [`QuarantineView::open`]; [`SurveyError::NotThere`] for rows that are not in quarantine, [`SurveyError::NotAgain`] for rows that a source refused, or of
/// a node that the job no longer has, where they were chosen by name.
pub async fn ask(store: &Store, job: &str, chosen: &ChosenRows, by: Requester) -> Result<RowCounts, SurveyError> {
    let view = QuarantineView::open(store, job).await?;
    let mut made = super::requests(store).await?;
    let mut asked = RowCounts::default();
    for (object, named) in choose(&view, chosen)? {
        let origin = view.origin(&object.node);
        if origin != RowOrigin::Operator && *chosen != ChosenRows::All {
            return Err(not_again(&object.node, origin));
        }
        let Some(held) = open(&view, store, &object, &named, &mut asked).await? else { continue };
        let (rows, before) = split(&view, &object, &held, named, |state| state == RowState::Held);
        asked.before += before;
        match origin {
            RowOrigin::Operator => asked.rows += request(store, &object, &held, (rows, by), &mut made).await?,
            RowOrigin::Source => asked.of_sources += rows.len() as u64,
            RowOrigin::Gone => asked.of_gone += rows.len() as u64,
        }
    }
    Ok(asked)
}

/// Drops rows: they are on no list any more. One that a run is just sending again may be worked on all the same.
///
/// # Errors
/// As [`QuarantineView::open`]; [`SurveyError::NotThere`] for rows that are not in quarantine.
pub async fn drop_rows(store: &Store, job: &str, chosen: &ChosenRows, by: Requester) -> Result<RowCounts, SurveyError> {
    let view = QuarantineView::open(store, job).await?;
    let mut asked = RowCounts::default();
    for (object, named) in choose(&view, chosen)? {
        let Some(held) = open(&view, store, &object, &named, &mut asked).await? else { continue };
        let (rows, before) = split(&view, &object, &held, named, RowState::is_listed);
        asked.before += before;
        if rows.is_empty() {
            continue;
        }
        asked.rows += rows.len() as u64;
        let path = object.path();
        let note = Dropped { rows: RowsOf { object: path.clone(), rows }, writer: by.writer, dropped_ms: by.now_ms };
        let first = view.drops.get(&path).copied().unwrap_or(0);
        let mut numbers = first..first.saturating_add(TRIES_MAX);
        while !create(store, &object.dropped(numbers.next().ok_or_else(too_busy)?), &note).await? {}
    }
    Ok(asked)
}

/// The rows of an object that are meant; `None`: all.
type Named = Option<BTreeSet<u32>>;

fn choose(view: &QuarantineView, chosen: &ChosenRows) -> Result<BTreeMap<ObjectName, Named>, SurveyError> {
    let all = |fits: &dyn Fn(&ObjectName) -> bool| view.objects().iter().filter(|object| fits(object)).map(|o| (o.clone(), None)).collect();
    match chosen {
        ChosenRows::All => Ok(all(&|_| true)),
        ChosenRows::Node(node) => Ok(all(&|object| object.node == *node)),
        ChosenRows::Rows(ids) => {
            let mut rows = BTreeMap::<ObjectName, Named>::new();
            for id in ids {
                if !view.objects().contains(&id.object) {
                    return Err(no_row(id));
                }
                rows.entry(id.object.clone()).or_default().get_or_insert_default().insert(id.row);
            }
            Ok(rows)
        }
    }
}

/// Reads an object. One that cannot be read is an error where its rows were named.
async fn open(
    view: &QuarantineView,
    store: &Store,
    object: &ObjectName,
    named: &Named,
    asked: &mut RowCounts,
) -> Result<Option<QuarantineObject>, SurveyError> {
    let damaged = |reason| SurveyError::Damaged { checkpoint: "the quarantine".into(), reason };
    let held = match (view.read(store, object).await?, named) {
        (Ok(held), _) => held,
        (Err(reason), Some(_)) => return Err(damaged(reason)),
        (Err(_), None) => {
            asked.unreadable += 1;
            return Ok(None);
        }
    };
    match named.iter().flatten().find(|row| held.row(**row).is_none()) {
        Some(&row) => Err(no_row(&RowId { object: object.clone(), row })),
        None => Ok(Some(held)),
    }
}

/// The rows that are in a state that fits, and how many are not. Without names, rows that are on no list any more do not count.
fn split(
    view: &QuarantineView,
    object: &ObjectName,
    held: &QuarantineObject,
    named: Named,
    fits: impl Fn(RowState) -> bool,
) -> (Vec<u32>, u64) {
    let is_named = named.is_some();
    let rows: Vec<u32> =
        named.map_or_else(|| (0..u32::try_from(held.len()).unwrap_or(u32::MAX)).collect(), |rows| rows.into_iter().collect());
    let (fit, rest): (Vec<u32>, Vec<u32>) = rows.into_iter().partition(|row| fits(view.state(object, *row)));
    let before = rest.iter().filter(|row| is_named || view.state(object, **row).is_listed()).count();
    (fit, before as u64)
}

/// Leaves requests for rows of one object: one for each input. Gives how many rows had not been asked for. `made`: the requests there are.
async fn request(
    store: &Store,
    object: &ObjectName,
    held: &QuarantineObject,
    (rows, by): (Vec<u32>, Requester),
    made: &mut Vec<ReplayRequest>,
) -> Result<u64, SurveyError> {
    let mut inputs = BTreeMap::<u32, BTreeSet<u32>>::new();
    for row in rows {
        if let Some(input) = held.row(row).map(|found| found.input) {
            inputs.entry(input).or_default().insert(row);
        }
    }
    let mut count = 0;
    for (input, mut rows) in inputs {
        let mut tries = 0..TRIES_MAX;
        // Below that something lies that may be no request at all.
        let mut least = 0;
        loop {
            tries.next().ok_or_else(too_busy)?;
            // A command that creates a request has seen all that were made before, so no row is asked for twice.
            let mut number = least;
            for request in made.iter().filter(|request| request.object == *object) {
                number = number.max(ObjectName::of_replay(&request.path).map_or(0, |(_, number)| number.saturating_add(1)));
                request.replay.rows.rows.iter().for_each(|row| _ = rows.remove(row));
            }
            if rows.is_empty() {
                break;
            }
            let wanted = RowsOf { object: object.path(), rows: rows.iter().copied().collect() };
            let replay = Replay { rows: wanted, input, writer: by.writer, asked_ms: by.now_ms };
            let path = object.replay(number);
            if create(store, &path, &replay).await? {
                count += rows.len() as u64;
                made.push(ReplayRequest { path, object: object.clone(), replay });
                break;
            }
            least = number.saturating_add(1);
            *made = super::requests(store).await?;
        }
    }
    Ok(count)
}

async fn create<R: Record>(store: &Store, path: &str, record: &R) -> Result<bool, SurveyError> {
    let bytes = record::encode(record).map_err(|error| Error::Internal(format!("a note about the quarantine: {error}")))?;
    let created = store.create_as(path, Bytes::from(bytes), Creation::WHOLE).await.map_err(failed("note what is decided"))?;
    Ok(created == Created::New)
}

fn too_busy() -> SurveyError {
    SurveyError::Job(Error::Internal("others decide about the same rows, time and again".into()))
}

fn not_again(node: &str, origin: RowOrigin) -> SurveyError {
    let (what, help) = match origin {
        RowOrigin::Source => (
            format!("rows that the source `{node}` refused cannot be sent again: they are what it could not read"),
            "mend the input: put the rows, as `reprise quarantine show --raw` prints them, into a new file in the form that the source reads, and drop them",
        ),
        _ => (
            format!("rows of `{node}` cannot be sent again: the newest checkpoint has no operator of that name"),
            "give the operator its old name back, or drop the rows",
        ),
    };
    SurveyError::NotAgain { what, help: help.into() }
}
