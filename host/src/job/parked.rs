//! Parked input of a job: which objects hold it, written by the recorder and read back when its turn comes; and what each instance begins with.

use super::blocking::blocking;
use super::error::{Error, failed};
use super::store_retry::{PAUSE, RetryingStore};
use crate::engine::{ParkedReader, ParkedRequest};
use crate::store::Store;
use reprise_core::checkpoint::coordinator::{Node, Participant};
use reprise_core::checkpoint::manifest::{HOPS_MAX, Manifest, ObjectRef, ParkedRef};
use reprise_core::checkpoint::objects::read_parked;
use reprise_core::checkpoint::parked;
use reprise_core::checkpoint::restore::ParkedDeal;
use reprise_core::codec::parked::{ParkedEdge, ParkedHead, ParkedItem};
use reprise_core::keying;
use reprise_core::operator::{Segment, SegmentObjects, SegmentState};
use reprise_core::topology::{Exchange, Plan};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The parked input of a run.
pub(super) struct ParkedInput {
    job: String,
    plan: Plan,
    workers: u32,
    segments: Mutex<SegmentObjects>,
}

impl ParkedInput {
    /// For a run of this plan on so many workers.
    pub fn new(plan: Plan, workers: u32) -> Self {
        Self { job: plan.topology.name.clone(), plan, workers, segments: Mutex::default() }
    }

    fn segments(&self) -> MutexGuard<'_, SegmentObjects> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operator(&self, at: Participant) -> Option<(usize, &str)> {
        let Node::Operator(place) = at.node else { return None };
        Some((place, &self.plan.topology.operators.get(place)?.name))
    }

    /// The edges to an instance, in their order there.
    fn edges(&self, at: Participant) -> Vec<(ParkedEdge, Exchange)> {
        let Some((place, _)) = self.operator(at) else { return Vec::new() };
        let instances = self.plan.topology.operators.get(place).map_or(1, |operator| operator.instances(self.workers));
        let each = keying::of_worker(0, instances, self.workers).len().max(1) as u32;
        self.plan.edges_to(at.node, at.instance % each).map(|edge| (self.plan.parked_edge(edge), edge.exchange)).collect()
    }

    /// What the head of an object tells of the edges to an instance.
    pub fn named_edges(&self, at: Participant) -> Vec<ParkedEdge> {
        self.edges(at).into_iter().map(|(edge, _)| edge).collect()
    }

    /// Takes note of an object that was stored.
    pub fn note(&self, at: Participant, number: u64, object: ObjectRef) {
        self.segments().note(at, number, object);
    }

    /// What a manifest says of the segments that a report names. Others of the instance are forgotten.
    pub fn refs(&self, at: Participant, states: &[SegmentState]) -> Result<Vec<ParkedRef>, Error> {
        let refs = self.segments().refs(at, states);
        refs.map_err(|number| Error::Internal(format!("segment {number} of parked input was not stored")))
    }

    /// Where the edges of an object lead in this plan: index and exchange of each.
    ///
    /// # Errors
    /// An input that the operator does not have; its name.
    fn ways(&self, at: Participant, head: &ParkedHead) -> Result<Vec<(u32, Exchange)>, String> {
        let edges = self.edges(at);
        let way = |old: &ParkedEdge| {
            let same = edges.iter().position(|(edge, _)| edge == old);
            // Another node may be read now: what waits is for the input all the same.
            let at = same.or_else(|| edges.iter().position(|(edge, _)| edge.input == old.input)).ok_or_else(|| old.input.clone())?;
            Ok((at as u32, edges[at].1))
        };
        head.edges.iter().map(way).collect()
    }

    /// What of an object waits for an instance, on the edges of this plan.
    fn waiting(&self, at: Participant, of: &ParkedRef, (head, items): (ParkedHead, Vec<ParkedItem>)) -> Result<Vec<ParkedItem>, String> {
        let ways = self.ways(at, &head)?;
        let way = |edge: u32| ways.get(edge as usize).copied().unwrap_or((0, Exchange::Key));
        let waiting = parked::waiting(items, &of.hops, of.done, |edge| way(edge).1);
        let moved = waiting.into_iter().map(|item| match item {
            ParkedItem::Rows { edge, rows } => ParkedItem::Rows { edge: way(edge).0, rows },
            item => item,
        });
        Ok(moved.collect())
    }

    /// What each instance of each operator begins with, of a checkpoint whose objects were verified. With another number of instances each object
    /// is read once, to know what of it is whose.
    ///
    /// # Errors
    /// Rows for an input that an operator does not have any more; a failure of the store.
    pub async fn restore(&self, store: &Store, base: &Manifest) -> Result<BTreeMap<Participant, Vec<SegmentState>>, Error> {
        let mut states = BTreeMap::new();
        for (place, operator) in self.plan.topology.operators.iter().enumerate() {
            let Some(old) = base.operators.iter().find(|old| old.name == operator.name) else { continue };
            if old.instances.iter().all(|instance| instance.parked.is_empty()) {
                continue;
            }
            let mut deal = ParkedDeal::new(old, operator.instances(self.workers)).ok_or_else(|| Error::Misfit {
                epoch: base.epoch,
                what: format!("the parked input of operator `{}` has moved to other numbers of instances {HOPS_MAX} times", old.name),
                help: format!("let it have {} instances, by `--workers` and `parallelism`, until that is worked off", old.instances.len()),
            })?;
            for object in deal.objects() {
                let gone = |reason: String| Error::NoCheckpoint { reasons: format!("\n  checkpoint {}: {reason}", base.epoch) };
                let bytes = store.get(&object.path).await.map_err(failed("read parked input"))?;
                let found = read_parked(bytes.as_deref(), &object, &self.job, &old.name).map_err(gone)?;
                let waiting =
                    |instance, of: &ParkedRef| self.waiting(Participant { node: Node::Operator(place), instance }, of, found.clone());
                deal.look(&object.path, waiting).map_err(|input| Error::Misfit {
                    epoch: base.epoch,
                    what: format!("rows are parked for the input `{input}` of operator `{}`, which it no longer has", old.name),
                    help: "give the component an input of that name; or run the job as it was, and `reprise parked` drops them or moves them to quarantine".into(),
                })?;
            }
            for (instance, parked) in (0..).zip(deal.dealt()) {
                let at = Participant { node: Node::Operator(place), instance };
                states.insert(at, self.segments().begin(at, parked));
            }
        }
        Ok(states)
    }

    /// What reads segments back, beside the workers. `runtime`: where.
    pub fn reader(self: &Arc<Self>, store: &RetryingStore, runtime: tokio::runtime::Handle) -> ParkedReader {
        let (own, store) = (Arc::clone(self), store.clone());
        Arc::new(move |request: ParkedRequest| {
            let (own, store) = (Arc::clone(&own), store.clone());
            runtime.spawn(async move {
                let ParkedRequest { at, number, done, answer } = request;
                answer(own.read(&store, at, number, done).await.map_err(|error| error.to_string()));
            });
        })
    }

    async fn read(self: Arc<Self>, store: &RetryingStore, at: Participant, number: u64, done: u64) -> Result<Segment, Error> {
        let of = loop {
            let found = self.segments().find(at, number, done);
            match found {
                Some(of) => break of,
                // It is on its way to the store.
                None if !store.is_over() => tokio::time::sleep(PAUSE).await,
                None => return Err(Error::Abandoned),
            }
        };
        let path = of.object.path.clone();
        let bytes = store.until_deadline("read parked input", || store.store.get(&path)).await?;
        let read = move || {
            let name = self.operator(at).map(|(_, name)| name.to_owned()).unwrap_or_default();
            let found = read_parked(bytes.as_deref(), &of.object, &self.job, &name)?;
            self.waiting(at, &of, found).map(Arc::new)
        };
        blocking(read).await?.map_err(Error::Internal)
    }
}
