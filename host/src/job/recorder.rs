//! Makes durable what instances report, and passes it on: one task for each participant, so that its reports stay in order while those of
//! others overtake them.

use super::blocking::blocking;
use super::capsule::{Origin, SharedBytes};
use super::error::Error;
use super::parked::ParkedInput;
use super::store_retry::RetryingStore;
use crate::engine::{EpochContent, EpochReport, GuestDump, ReportLost, Reporter};
use crate::store::Creation;
use bytes::Bytes;
use reprise_core::cells::merge_neighbours;
use reprise_core::checkpoint::coordinator::{Content, Node, Participant, Report};
use reprise_core::checkpoint::faulted::{FaultedRow, FaultedRows, ROWS_MAX};
use reprise_core::checkpoint::fold::fold_changes;
use reprise_core::checkpoint::manifest::{ObjectRef, Quarantine, QuarantinedRow};
use reprise_core::checkpoint::objects::{write_parked, write_snapshot};
use reprise_core::checkpoint::paths;
use reprise_core::codec::record::{self, Record};
use reprise_core::codec::{CodecError, parked, snapshot};
use reprise_core::ids::{Epoch, Generation, Instance};
use reprise_core::operator::{FailedRow, Segment, VersionedChunk};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::task::JoinHandle;

/// Bytes of refused rows in one quarantine object; one row alone may have more.
const QUARANTINE_BYTES: usize = 16 << 20;
/// Reports that may wait for the committer.
const REPORTS_WAITING: usize = 1024;

/// Where objects go, and under which names.
pub(super) struct Recorder {
    pub store: RetryingStore,
    pub job: String,
    pub generation: Generation,
    /// Names of the sources, in the order of the topology file.
    pub sources: Vec<String>,
    /// Names of the operators, likewise.
    pub operators: Vec<String>,
    /// What the capsules of each operator have in common.
    pub origins: Vec<Arc<Origin>>,
    /// Likewise: set once the component is stored that its capsules name and do not hold.
    pub components: Vec<OnceCell<()>>,
    /// What is parked.
    pub parked: Arc<ParkedInput>,
}

/// What comes of a recorder.
pub(super) struct Recorded {
    /// What the committer is told.
    pub reports: mpsc::Receiver<Result<Report, Error>>,
    /// The tasks.
    pub lanes: Lanes,
}

/// The tasks of a recorder.
pub(super) struct Lanes {
    is_over: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Lanes {
    /// Lets no further report be recorded, and waits for what is being stored: each call of the store has its time. An attempt that follows
    /// deletes what no manifest names, and must not be overtaken by it.
    pub async fn settle(self) {
        self.is_over.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::warn!(%error, "a task that stored reports failed");
            }
        }
    }
}

/// Starts a task for each participant. `waiting`: reports of one participant that may wait for storage; more is a fault of the host, since
/// sources do not begin more epochs than that.
pub(super) fn start(recorder: Recorder, participants: Vec<Participant>, waiting: usize) -> (Reporter, Recorded) {
    let (told, recorded) = mpsc::channel(REPORTS_WAITING);
    let recorder = Arc::new(recorder);
    let (is_over, over) = watch::channel(false);
    let (mut lanes, mut tasks) = (BTreeMap::new(), Vec::new());
    for participant in participants {
        let (lane, mut reports) = mpsc::channel::<EpochReport>(waiting);
        lanes.insert(participant, lane);
        let (recorder, told, mut over) = (Arc::clone(&recorder), told.clone(), over.clone());
        tasks.push(tokio::spawn(async move {
            loop {
                let report = tokio::select! {
                    biased;
                    () = ended(&mut over) => return,
                    report = reports.recv() => report,
                };
                let Some(report) = report else { return };
                let Some(recorded) = recorder.record(report).await.transpose() else { continue };
                let failed = recorded.is_err();
                if told.send(recorded).await.is_err() || failed {
                    return;
                }
            }
        }));
    }
    let reporter: Reporter = Arc::new(move |report: EpochReport| {
        let lane = lanes.get(&report.from).ok_or(ReportLost)?;
        lane.try_send(report).map_err(|_| ReportLost)
    });
    (reporter, Recorded { reports: recorded, lanes: Lanes { is_over, tasks } })
}

/// Waits until no report is to be recorded any more.
async fn ended(over: &mut watch::Receiver<bool>) {
    // An error means that the lanes are gone.
    let _ = over.wait_for(|over| *over).await;
}

impl Recorder {
    /// Makes a report durable. `None` where there is nothing to pass on.
    async fn record(&self, report: EpochReport) -> Result<Option<Report>, Error> {
        let EpochReport { from, epoch, closed, content } = report;
        let content = match content {
            EpochContent::Source { splits, rows, rejected, ended } => {
                let count = rejected.len() as u64;
                let quarantine = self.refused(from, epoch, rejected).await?;
                Content::Source { splits, rows, rejected: count, quarantine, ended }
            }
            EpochContent::Operator { snapshot, watermark, rows, rejected, faulted, dumps, parked } => {
                let count = (rejected.len() + faulted.len()) as u64;
                let mut quarantine = self.refused(from, epoch, rejected).await?;
                let faulted = self.capsules(from, epoch, faulted, dumps).await?;
                self.faulted(from, epoch, faulted, &mut quarantine).await?;
                let snapshot = match snapshot {
                    Some((scope, chunks)) => Some(self.snapshot(from, epoch, scope, chunks).await?),
                    None => None,
                };
                let parked = self.parked.refs(from, &parked)?;
                Content::Operator { snapshot, watermark, rows, rejected: count, quarantine, parked }
            }
            EpochContent::Parked { number, items, under_way } => {
                self.segment(from, epoch, number, items).await?;
                drop(under_way);
                return Ok(None);
            }
            EpochContent::Sink { staged, rows } => Content::Sink { staged, rows },
        };
        Ok(Some(Report { from, epoch, closed, content }))
    }

    /// Stores a segment of parked input.
    async fn segment(&self, from: Participant, epoch: Epoch, number: u64, items: Segment) -> Result<(), Error> {
        let (operator, instance) = (self.name(from.node).to_owned(), Instance(from.instance));
        let edges = self.parked.named_edges(from);
        let head = parked::ParkedHead { job: self.job.clone(), operator, instance, epoch, generation: self.generation, edges };
        let encoded = blocking(move || write_parked(&head, number, &items)).await?;
        let object = self.put("parked input", encoded).await?;
        self.parked.note(from, number, object);
        Ok(())
    }

    fn name(&self, node: Node) -> &str {
        let name = match node {
            Node::Source(place) => self.sources.get(place),
            Node::Operator(place) => self.operators.get(place),
            Node::Sink(_) => None,
        };
        name.map_or("unknown", String::as_str)
    }

    async fn snapshot(
        &self,
        from: Participant,
        epoch: Epoch,
        scope: snapshot::SnapshotScope,
        chunks: Vec<Arc<VersionedChunk>>,
    ) -> Result<ObjectRef, Error> {
        let (operator, instance) = (self.name(from.node).to_owned(), Instance(from.instance));
        let head = snapshot::SnapshotHead { job: self.job.clone(), operator, instance, epoch, generation: self.generation, scope };
        let encode = move || {
            let stored = match scope {
                // The engine may hold them, too: then they are copied, here where no worker waits.
                snapshot::SnapshotScope::Full => {
                    merge_neighbours(chunks.into_iter().map(|held| Arc::unwrap_or_clone(held).chunk).collect())
                }
                // A cell that has changed several times in the epoch is stored once.
                snapshot::SnapshotScope::Delta => fold_changes(&chunks.iter().map(|held| &held.chunk).collect::<Vec<_>>())?,
            };
            write_snapshot(&head, &stored)
        };
        let encoded = blocking(encode).await?;
        self.put("a snapshot", encoded).await
    }

    /// Stores rows that were refused.
    async fn refused(&self, from: Participant, epoch: Epoch, rows: Vec<QuarantinedRow>) -> Result<Vec<ObjectRef>, Error> {
        let (node, instance) = (self.name(from.node), Instance(from.instance));
        let size = |row: &QuarantinedRow| row.value.len() + row.key.len() + row.reason.len() + row.origin.len();
        let record = |rows| Quarantine { node: node.to_owned(), instance, epoch, rows };
        let mut objects = Vec::new();
        self.quarantine(from, epoch, cut(rows, usize::MAX, size), record, &mut objects).await?;
        Ok(objects)
    }

    /// Stores parts of rows as further objects of the epoch's quarantine.
    async fn quarantine<T, R: Record + Send + 'static>(
        &self,
        from: Participant,
        epoch: Epoch,
        parts: Vec<Vec<T>>,
        record: impl Fn(Vec<T>) -> R,
        objects: &mut Vec<ObjectRef>,
    ) -> Result<(), Error> {
        for rows in parts {
            let path = paths::quarantine(self.name(from.node), Instance(from.instance), epoch, self.generation, objects.len());
            let (entries, record) = (rows.len() as u64, record(rows));
            let encode = move || {
                let bytes = record::encode(&record)?;
                Ok((ObjectRef::new(path, snapshot::SnapshotScope::Full, &bytes, entries), bytes))
            };
            let encoded = blocking(encode).await?;
            objects.push(self.put("a quarantine object", encoded).await?);
        }
        Ok(())
    }

    /// Stores the capsules of an epoch. Gives the rows with the names of theirs.
    async fn capsules(
        &self,
        from: Participant,
        epoch: Epoch,
        faulted: Vec<FailedRow<GuestDump>>,
        dumps: Vec<GuestDump>,
    ) -> Result<Vec<FaultedRow>, Error> {
        let Node::Operator(place) = from.node else { return Ok(Vec::new()) };
        let mut number = 0;
        for dump in dumps {
            self.capsule(from, place, epoch, &mut number, dump).await?;
        }
        let mut rows = Vec::with_capacity(faulted.len());
        for FailedRow { mut row, dump } in faulted {
            if let Some(dump) = dump {
                row.capsule = self.capsule(from, place, epoch, &mut number, dump).await?;
            }
            rows.push(row);
        }
        Ok(rows)
    }

    /// Stores one capsule; `None` where it is larger than it may be.
    async fn capsule(
        &self,
        from: Participant,
        place: usize,
        epoch: Epoch,
        number: &mut usize,
        dump: GuestDump,
    ) -> Result<Option<String>, Error> {
        let Some(origin) = self.origins.get(place).cloned() else { return Ok(None) };
        let instance = Instance(from.instance);
        let path = paths::capsule(&origin.operator, instance, epoch, self.generation, *number);
        let Some(bytes) = blocking(move || origin.encode(&dump, instance, epoch)).await? else { return Ok(None) };
        *number += 1;
        self.component(place).await?;
        self.store.put(&path, bytes).await?;
        Ok(Some(path))
    }

    /// Stores the component of an operator that is too large to be in capsules, once: before the first capsule that names it.
    async fn component(&self, place: usize) -> Result<(), Error> {
        let (Some(origin), Some(stored)) = (self.origins.get(place), self.components.get(place)) else { return Ok(()) };
        let Some((path, bytes)) = origin.beside() else { return Ok(()) };
        let store = async || {
            let bytes = || Bytes::from_owner(SharedBytes(Arc::clone(&bytes)));
            // It may be there already: its name tells its bytes.
            self.store.until_deadline("store a component", || self.store.store.create_as(&path, bytes(), Creation::WHOLE)).await.map(drop)
        };
        stored.get_or_try_init(store).await.map(drop)
    }

    /// Stores rows on which calls failed, as further objects of the epoch's quarantine.
    async fn faulted(&self, from: Participant, epoch: Epoch, faulted: Vec<FaultedRow>, objects: &mut Vec<ObjectRef>) -> Result<(), Error> {
        let (node, instance) = (self.name(from.node), Instance(from.instance));
        let Node::Operator(place) = from.node else { return Ok(()) };
        let Some((component, line)) = self.origins.get(place).map(|origin| (origin.digest, origin.line)) else { return Ok(()) };
        let record = |rows| FaultedRows { node: node.to_owned(), instance, epoch, component, line, rows };
        self.quarantine(from, epoch, cut(faulted, ROWS_MAX, size), record, objects).await
    }

    /// Stores an object. `what`: for the error where it could not be made.
    async fn put(&self, what: &str, encoded: Result<(ObjectRef, Vec<u8>), CodecError>) -> Result<ObjectRef, Error> {
        let (object, bytes) = encoded.map_err(|error| Error::Internal(format!("{what}: {error}")))?;
        self.store.put(&object.path, bytes).await?;
        Ok(object)
    }
}

/// Cuts rows into parts of at most so many rows and [`QUARANTINE_BYTES`].
fn cut<T>(rows: Vec<T>, rows_max: usize, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let (mut parts, mut bytes): (Vec<Vec<T>>, usize) = (Vec::new(), 0);
    for row in rows {
        let more = size(&row);
        match parts.last_mut().filter(|part| part.len() < rows_max && bytes + more <= QUARANTINE_BYTES) {
            Some(part) => {
                part.push(row);
                bytes += more;
            }
            None => {
                parts.push(vec![row]);
                bytes = more;
            }
        }
    }
    parts
}

/// About what a row takes in an object.
fn size(row: &FaultedRow) -> usize {
    let texts = row.backtrace.iter().chain(&row.log_tail).map(String::len).sum::<usize>();
    row.row.value.len() + row.row.key.len() + row.row.reason.len() + texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Control;
    use crate::store::{CallKind, Intercept, Interference, StorageCall, Store, StoreLimits};
    use reprise_core::topology;
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    /// Refused rows but the first wait at a gate on their way to the store.
    #[derive(Debug, Default)]
    struct Gate {
        is_open: Mutex<bool>,
        opened: Condvar,
        /// Rows that have come.
        came: AtomicUsize,
    }

    impl Intercept for Gate {
        fn before(&self, call: &StorageCall) -> Interference {
            let is_row = call.kind == CallKind::PutIfAbsent && call.path.starts_with("quarantine/");
            if is_row && self.came.fetch_add(1, Ordering::AcqRel) > 0 {
                let shut = self.is_open.lock().unwrap();
                drop(self.opened.wait_while(shut, |is_open| !*is_open).unwrap());
            }
            Interference::Pass
        }
    }

    fn report(from: Participant, epoch: u64) -> EpochReport {
        let row = QuarantinedRow { input: 0, origin: String::new(), time: 0, key: vec![], value: vec![1], reason: "no".into() };
        let content = EpochContent::Source { splits: Vec::new(), rows: 0, rejected: vec![row], ended: false };
        EpochReport { from, epoch: Epoch(epoch), closed: false, content }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_settles_the_lanes_finds_nothing_on_its_way_to_the_store() {
        let gate = Arc::new(Gate::default());
        let intercept = Some(Arc::clone(&gate) as Arc<dyn Intercept>);
        let store = Store::open_with("memory:", Path::new("."), "j", StoreLimits::default(), intercept).await.unwrap();
        let control = Arc::new(Control::new(Epoch(1), 1, 1, (1, 0), Vec::new()));
        let retrying = RetryingStore::new(store.clone(), Duration::ZERO, control, Arc::new(|_| ()));
        let (job, sources) = ("j".to_owned(), vec!["lines".to_owned()]);
        let generation = Generation(1);
        let text = r#"
            name = "j"
            checkpoint = { store = "memory:" }
            source = [{ name = "lines", file = { path = "in.txt", format = "lines" } }]
            sink = [{ name = "out", input = "lines", stdout = { format = "lines" } }]
        "#;
        let plan = topology::plan(topology::parse(text, &|_| None).unwrap(), Vec::new()).unwrap();
        let parked = Arc::new(ParkedInput::new(plan, 1));
        let (operators, origins, components) = (Vec::new(), Vec::new(), Vec::new());
        let recorder = Recorder { store: retrying, job, generation, sources, operators, origins, components, parked };
        let from = Participant { node: Node::Source(0), instance: 0 };
        let (reporter, Recorded { reports, lanes }) = start(recorder, vec![from], 4);
        for epoch in 1..=3 {
            reporter(report(from, epoch)).unwrap();
        }
        // The second is on its way, and the third is not begun any more: the reporter is still there, as where a thread hangs.
        while gate.came.load(Ordering::Acquire) < 2 {
            tokio::task::yield_now().await;
        }
        let mut settling = Box::pin(lanes.settle());
        assert!(futures::poll!(&mut settling).is_pending(), "the second is on its way");
        *gate.is_open.lock().unwrap() = true;
        gate.opened.notify_all();
        settling.await;
        // The tasks have ended: nothing comes after that.
        assert_eq!((gate.came.load(Ordering::Acquire), store.list("quarantine/").await.unwrap().len()), (2, 2));
        drop(reports);
        drop(reporter);
    }
}
