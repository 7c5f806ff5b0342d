//! At the start of an attempt: what is still to be sent again, and what the manifests to come need not remember any more.

use super::ledger::{self, QuarantineLedger, ReplayRequest};
use super::reader::{ReplayReader, ReplaySplit, position};
use crate::connect::{BatchLimits, SourceReader};
use crate::job::error::{Error, failed};
use crate::job::recovery::glance;
use crate::store::{Creation, Store, StoreError};
use bytes::Bytes;
use reprise_core::checkpoint::manifest::{Manifest, SplitPosition};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::quarantine::{History, ObjectName, Replayed, RowsOf, replay_source};
use reprise_core::checkpoint::recovery::RecoveredJob;
use reprise_core::codec::record;
use reprise_core::ids::{Epoch, Generation, Instance};
use reprise_core::topology::{Edge, Exchange, Node, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::runtime::Handle;

/// Requests that one attempt serves, since each manifest names them. When they are done, the next attempt serves others.
const REQUESTS_MAX: usize = 1_000;

/// New objects that are read in one look for requests; the others wait for the next one.
const LOOKS_MAX: usize = 256;

/// What an attempt sends again.
#[derive(Debug, Default)]
pub(in crate::job) struct Replays {
    targets: Vec<Target>,
    /// What the attempt is to look for.
    pub watcher: ReplayWatcher,
}

/// What tells an attempt to end for rows that only the next one sends.
#[derive(Debug, Default)]
pub(in crate::job) struct ReplayWatcher {
    /// What was there, with its length: requests, and things that are none.
    known: BTreeMap<String, u64>,
    /// Where some of them wait for the next attempt: the rows of those that this one serves, by split.
    before_the_rest: Option<BTreeMap<String, usize>>,
}

impl ReplayWatcher {
    /// There are requests that were not there when the attempt began. What is none is read once and no more.
    pub async fn sees_new(&mut self, store: &Store) -> Result<bool, Error> {
        let there = names(store).await.map_err(failed("list requests to send rows again"))?;
        self.known.retain(|path, bytes| there.get(path) == Some(bytes));
        let new = there.into_iter().filter(|(path, _)| !self.known.contains_key(path)).take(LOOKS_MAX);
        let new: BTreeMap<String, u64> = new.collect();
        if new.is_empty() {
            return Ok(false);
        }
        let requests = ledger::requests_of(store, new.keys().cloned().collect()).await?;
        self.known.extend(new);
        for request in &requests {
            self.known.remove(&request.path);
        }
        Ok(!requests.is_empty())
    }

    /// All that the attempt serves is done in this checkpoint, and there is more.
    pub fn is_time_for_the_rest(&self, manifest: &Manifest) -> bool {
        let Some(served) = &self.before_the_rest else { return false };
        let positions = ledger::positions(manifest);
        served.iter().all(|(split, rows)| positions.get(split).is_some_and(|done| *done as usize >= *rows))
    }
}

/// One input of an operator, and what is sent to it again.
#[derive(Debug)]
struct Target {
    operator: usize,
    input: u32,
    name: String,
    exchange: Exchange,
    /// See [`Edge::place`].
    place: Option<u32>,
    /// Instances of the operator on each worker.
    each: u32,
    pieces: Vec<ReplaySplit>,
}

impl Target {
    /// The worker that sends the rows of a piece: that of the instance which refused them, as far as there is one of that number.
    fn worker(&self, piece: &ReplaySplit, workers: u32) -> u32 {
        seat(piece.object.instance, self.each, workers).0
    }
}

/// The worker of an instance, and its place among the instances there; of the instance modulo their number where there are fewer now.
fn seat(instance: Instance, each: u32, workers: u32) -> (u32, u32) {
    let (each, workers) = (each.max(1), workers.max(1));
    let index = instance.0 % each.saturating_mul(workers);
    (index / each, index % each)
}

impl Replays {
    /// Names of the sources that send again.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.targets.iter().map(|target| target.name.clone())
    }

    /// How many sources that are.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Rows to send.
    pub fn rows(&self) -> u64 {
        self.targets.iter().flat_map(|target| &target.pieces).map(|piece| piece.waiting.len() as u64).sum()
    }

    /// The plan with the sources that send again, after those of the topology.
    pub fn extend(&self, mut plan: Plan) -> Plan {
        let first = plan.topology.sources.len();
        for (target, place) in self.targets.iter().zip(first..) {
            let (from, to) = (Node::Source(place), Node::Operator(target.operator));
            plan.order.insert(0, from);
            plan.edges.push(Edge { from, port: 0, to, input: target.input, exchange: target.exchange, place: target.place });
        }
        plan
    }

    /// Where each source begins, in the order of their splits.
    pub fn splits(&self, workers: u32) -> Vec<Vec<SplitPosition>> {
        let of = |target: &Target| {
            let split = |piece: &ReplaySplit| {
                let at = position(&piece.split, piece.done);
                SplitPosition { split: at.split, position: at.position, instance: Instance(target.worker(piece, workers)) }
            };
            let mut splits: Vec<SplitPosition> = target.pieces.iter().map(split).collect();
            splits.sort();
            splits
        };
        self.targets.iter().map(of).collect()
    }

    /// One reader for each source and instance. Rows that stay on their worker go to the instance that refused them.
    /// `outage_max`: how long the store may not answer.
    pub fn readers(&self, store: &Store, workers: u32, limits: BatchLimits, outage_max: Duration) -> Vec<Vec<Box<dyn SourceReader>>> {
        let of = |target: &Target, instance: u32| -> Box<dyn SourceReader> {
            let own = target.pieces.iter().filter(|piece| target.worker(piece, workers) == instance).cloned();
            Box::new(ReplayReader::new(own.collect(), store.clone(), Handle::current(), limits, outage_max))
        };
        self.targets.iter().map(|target| (0..workers).map(|instance| of(target, instance)).collect()).collect()
    }
}

/// The operator that a request goes to, if the plan has such an operator with such an input.
fn operator_of(plan: &Plan, request: &ReplayRequest) -> Option<usize> {
    let place = plan.topology.operators.iter().position(|operator| operator.name == request.object.node)?;
    ((request.replay.input as usize) < plan.descriptions.get(place)?.inputs.len()).then_some(place)
}

/// Paths and lengths of all that lies where requests do.
async fn names(store: &Store) -> Result<BTreeMap<String, u64>, StoreError> {
    let listed = store.list(paths::REPLAYS).await?;
    Ok(listed.into_iter().map(|entry| (entry.path, entry.size_bytes)).collect())
}

/// There are rows to send again, as far as the newest manifest tells: a job that has finished is to be taken up for them.
pub(in crate::job) async fn is_waited_for(store: &Store, plan: &Plan) -> Result<bool, Error> {
    if names(store).await.map_err(failed("list requests to send rows again"))?.is_empty() {
        return Ok(false);
    }
    let Some(newest) = glance(store, &plan.topology.name).await? else { return Ok(false) };
    let mut ledger = QuarantineLedger::read(store, &newest, &History::new(&newest, &[], &[])).await?;
    let gone = read_dropped(store, &mut ledger).await?;
    let is_served = |request: &ReplayRequest| operator_of(plan, request).is_some() && !gone.contains(&request.object);
    Ok(ledger.requests.iter().any(|request| is_served(request) && ledger.waiting(request).next().is_some()))
}

/// Reads which rows were dropped of the nodes that requests go to. Gives the objects of requests that are not there any more.
async fn read_dropped(store: &Store, ledger: &mut QuarantineLedger) -> Result<BTreeSet<ObjectName>, Error> {
    let nodes: BTreeSet<String> = ledger.requests.iter().map(|request| request.object.node.clone()).collect();
    let mut there = BTreeSet::new();
    for node in nodes {
        let listed = store.list(&format!("{}/{node}", paths::QUARANTINE)).await.map_err(failed("list the quarantine"))?;
        ledger.read_dropped(store, listed.iter().map(|entry| entry.path.as_str())).await?;
        there.extend(listed.iter().filter_map(|entry| ObjectName::of_path(&entry.path)));
    }
    let mut gone: BTreeSet<ObjectName> =
        ledger.requests.iter().map(|request| &request.object).filter(|o| !there.contains(o)).cloned().collect();
    // A list passes over what it cannot read.
    for object in std::mem::take(&mut gone) {
        if store.size(&object.path()).await.map_err(failed("look for rows in quarantine"))?.is_none() {
            gone.insert(object);
        }
    }
    Ok(gone)
}

/// Finds out what is to be sent again from the checkpoint that was taken up, and notes what that has sent.
pub(in crate::job) async fn recover(store: &Store, up: &RecoveredJob, plan: &Plan, workers: u32) -> Result<Replays, Error> {
    let Some(base) = &up.base else { return Ok(Replays::default()) };
    let history = History::new(base, &up.listed, &up.readable);
    let mut ledger = QuarantineLedger::read(store, base, &history).await?;
    for (path, _) in ledger.dead.iter().filter(|(_, generation)| *generation < up.generation) {
        // The rows are in the state no more.
        store.delete(path).await.map_err(failed("remove a note about the quarantine"))?;
    }
    if ledger.requests.is_empty() {
        return Ok(Replays::default());
    }
    let gone = read_dropped(store, &mut ledger).await?;
    if let Some(covered) = base.covered() {
        note(store, &mut ledger, covered, up.generation).await?;
    }
    let there = names(store).await.map_err(failed("list requests to send rows again"))?;
    let mut replays = Replays::default();
    let mut targets = BTreeMap::<(usize, u32, Option<u32>), Target>::new();
    let (mut served, mut is_all) = (BTreeMap::new(), true);
    for request in &ledger.requests {
        let waiting: BTreeSet<usize> = ledger.waiting(request).map(|(place, _)| place).collect();
        let is_gone = gone.contains(&request.object);
        if is_gone && !waiting.is_empty() {
            tracing::warn!(
                path = request.path,
                rows = waiting.len(),
                "rows were asked for that are in quarantine no more; the request is removed"
            );
        }
        if is_gone || !history.has_object(&request.object) || is_over(&ledger, request, history.oldest()) {
            store.delete(&request.path).await.map_err(failed("remove a request to send rows again"))?;
            continue;
        }
        // One that is gone meanwhile, or another one by now, is looked at again.
        replays.watcher.known.extend(there.get_key_value(&request.path).map(|(path, bytes)| (path.clone(), *bytes)));
        match operator_of(plan, request) {
            _ if waiting.is_empty() => {}
            Some(_) if served.len() == REQUESTS_MAX => is_all = false,
            Some(operator) => {
                served.insert(request.replay.split(&request.path), request.replay.rows.rows.len());
                add(&mut targets, (plan, workers), operator, request, waiting, ledger.done(request));
            }
            None => tracing::warn!(
                path = request.path,
                "rows in quarantine are asked for of an operator or input that the topology does not have"
            ),
        }
    }
    replays.targets = targets.into_values().collect();
    replays.watcher.before_the_rest = (!is_all).then_some(served);
    Ok(replays)
}

/// No walk back can undo what the request asked for.
fn is_over(ledger: &QuarantineLedger, request: &ReplayRequest, oldest: Option<Epoch>) -> bool {
    let rows = &request.replay.rows;
    let noted = |row: &u32| ledger.replayed.get(&rows.object).and_then(|noted| noted.get(row)).copied();
    rows.rows
        .iter()
        .all(|row| ledger.is_dropped(&rows.object, *row) || noted(row).is_some_and(|epoch| oldest.is_some_and(|oldest| epoch <= oldest)))
}

fn add(
    targets: &mut BTreeMap<(usize, u32, Option<u32>), Target>,
    (plan, workers): (&Plan, u32),
    operator: usize,
    request: &ReplayRequest,
    waiting: BTreeSet<usize>,
    done: usize,
) {
    let input = request.replay.input;
    let mut edges = plan.edges.iter().filter(|edge| edge.to == Node::Operator(operator) && edge.input == input);
    let exchange = if edges.any(|edge| edge.exchange == Exchange::Key) { Exchange::Key } else { Exchange::Stay };
    let each = plan.topology.operators.get(operator).map_or(1, |operator| operator.instances(workers) / workers.max(1));
    let place = (exchange == Exchange::Stay && each > 1).then(|| seat(request.object.instance, each, workers).1);
    let target = targets.entry((operator, input, place)).or_insert_with(|| {
        let name = replay_source(&request.object.node, input, place);
        Target { operator, input, name, exchange, place, each, pieces: Vec::new() }
    });
    let (split, object, rows) = (request.replay.split(&request.path), request.object.clone(), request.replay.rows.rows.clone());
    target.pieces.push(ReplaySplit { split, object, input, rows, done, waiting });
}

/// Notes which rows the checkpoint of this epoch has sent again: manifests to come name only the requests that are not done.
async fn note(store: &Store, ledger: &mut QuarantineLedger, covered: Epoch, generation: Generation) -> Result<(), Error> {
    let mut new = BTreeMap::<String, Vec<u32>>::new();
    for ((object, row), _) in ledger.asked().into_iter().filter(|(_, is_done)| *is_done) {
        if !ledger.is_noted(&object, row) {
            new.entry(object).or_default().push(row);
        }
    }
    if new.is_empty() {
        return Ok(());
    }
    for (object, rows) in &new {
        ledger.replayed.entry(object.clone()).or_default().extend(rows.iter().map(|row| (*row, covered)));
    }
    let objects = new.into_iter().map(|(object, rows)| RowsOf { object, rows }).collect();
    let bytes = record::encode(&Replayed { objects }).map_err(|error| Error::Internal(format!("a note about the quarantine: {error}")))?;
    // The name is this run's alone: where it exists already, a try whose answer was lost has made it.
    store
        .create_as(&paths::replayed(covered, generation), Bytes::from(bytes), Creation::WHOLE)
        .await
        .map_err(failed("note which rows were sent again"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_back_to_the_worker_and_the_place_of_the_instance_that_refused_them() {
        let seats = |each, workers| (0..6).map(|instance| seat(Instance(instance), each, workers)).collect::<Vec<_>>();
        assert_eq!(seats(1, 6), [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]);
        assert_eq!(seats(3, 2), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
        assert_eq!(seats(2, 2), [(0, 0), (0, 1), (1, 0), (1, 1), (0, 0), (0, 1)], "there are fewer now");
    }

    #[test]
    fn a_request_of_the_same_name_is_another_split() {
        let rows = RowsOf { object: "quarantine/o/1".into(), rows: vec![0] };
        let request = |writer| reprise_core::checkpoint::quarantine::Replay { rows: rows.clone(), input: 0, writer, asked_ms: 0 };
        assert_ne!(request(1).split("replays/o/1.0"), request(2).split("replays/o/1.0"));
        assert_eq!(position("s", 3).position, "{\"done\":3}");
        assert!(ledger::positions(&unrelated()).is_empty(), "other sources have positions of their own");
    }

    fn unrelated() -> reprise_core::checkpoint::manifest::Manifest {
        let layout = reprise_core::checkpoint::coordinator::Layout {
            job: "j".into(),
            generation: Generation(1),
            writer: 1,
            topology: reprise_core::ids::Digest([0; 32]),
            workers: 1,
            operators: vec![],
            sources: vec![("in".into(), vec![SplitPosition { split: "s".into(), position: "{\"done\":3}".into(), instance: Instance(0) }])],
            sinks: vec![],
            chain: reprise_core::checkpoint::chain::ChainLimits { length_max: 16, bytes_max: u64::MAX },
        };
        let mut manifest = reprise_core::checkpoint::coordinator::beginning(layout, Epoch(1));
        manifest.sources[0].splits = vec![SplitPosition { split: "s".into(), position: "{\"done\":3}".into(), instance: Instance(0) }];
        manifest
    }
}
