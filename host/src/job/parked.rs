//! Parked input of a job: which objects hold it, written by the recorder and read back when its turn comes; and what each instance begins with.

use super::blocking::blocking;
use super::error::Error;
use super::objects::verify_parked;
use super::recovery::failed;
use super::store_retry::{PAUSE, RetryingStore};
use crate::engine::{ParkedReader, ParkedRequest};
use crate::store::Store;
use reprise_core::checkpoint::coordinator::{Node, Participant};
use reprise_core::checkpoint::layout::parked_for;
use reprise_core::checkpoint::manifest::{HOPS_MAX, ParkedRef};
use reprise_core::checkpoint::manifest::{Manifest, ObjectRef, OperatorState};
use reprise_core::checkpoint::parked;
use reprise_core::codec::parked::{ParkedEdge, ParkedHead, ParkedItem};
use reprise_core::ids::Epoch;
use reprise_core::keying;
use reprise_core::operator::{Segment, SegmentState};
use reprise_core::topology::{Exchange, Plan};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The segments of all instances of a run.
type Segments = BTreeMap<(Participant, u64), ParkedRef>;

/// The parked input of a run.
pub(super) struct ParkedInput {
    job: String,
    plan: Plan,
    workers: u32,
    segments: Mutex<Segments>,
}

impl ParkedInput {
    /// For a run of this plan on so many workers.
    pub fn new(plan: Plan, workers: u32) -> Self {
        Self { job: plan.topology.name.clone(), plan, workers, segments: Mutex::default() }
    }

    fn segments<T>(&self, act: impl FnOnce(&mut Segments) -> T) -> T {
        act(&mut self.segments.lock().unwrap_or_else(PoisonError::into_inner))
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
        let stored = ParkedRef { object, hops: Vec::new(), done: 0, rows: 0, bytes: 0, since_ms: 0 };
        self.segments(|segments| segments.insert((at, number), stored));
    }

    /// What a report says of the segments of an instance. Those that it does not name any more are forgotten.
    pub fn refs(&self, at: Participant, states: &[SegmentState]) -> Result<Vec<ParkedRef>, Error> {
        let own = |state: &SegmentState| {
            let SegmentState { number, done, rows, bytes, since_ms } = *state;
            let stored = self.segments(|segments| segments.get(&(at, number)).cloned());
            let stored = stored.ok_or_else(|| Error::Internal(format!("segment {number} of parked input was not stored")))?;
            Ok(ParkedRef { done, rows, bytes, since_ms, ..stored })
        };
        let refs: Vec<ParkedRef> = states.iter().map(own).collect::<Result<_, Error>>()?;
        let is_named = |number: u64| states.iter().any(|state| state.number == number);
        self.segments(|segments| segments.retain(|(of, number), _| *of != at || is_named(*number)));
        Ok(refs)
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
            let instances = operator.instances(self.workers);
            let mut parked = parked_for(old, instances);
            if parked.iter().flatten().any(|of| of.hops.len() > HOPS_MAX) {
                return Err(Error::Misfit {
                    epoch: base.epoch,
                    what: format!("the parked input of operator `{}` has moved to other numbers of instances {HOPS_MAX} times", old.name),
                    help: format!(
                        "let it have {} instances, by `--workers` and `parallelism`, until that is worked off",
                        old.instances.len()
                    ),
                });
            }
            let moves = old.instances.len() != instances as usize;
            self.count(store, (old, base.epoch), place, &mut parked, moves).await?;
            for (instance, parked) in (0..).zip(parked) {
                let at = Participant { node: Node::Operator(place), instance };
                let state = |(number, parked): (u64, &ParkedRef)| {
                    let ParkedRef { done, rows, bytes, since_ms, .. } = *parked;
                    SegmentState { number, done, rows, bytes, since_ms }
                };
                states.insert(at, (0..).zip(&parked).map(state).collect());
                self.segments(|segments| segments.extend((0..).zip(parked).map(|(number, parked)| ((at, number), parked))));
            }
        }
        Ok(states)
    }

    /// Looks into each object, for how much of it is whose where it `moves`. What nothing waits of is left out.
    async fn count(
        &self,
        store: &Store,
        (old, epoch): (&OperatorState, Epoch),
        place: usize,
        parked: &mut [Vec<ParkedRef>],
        moves: bool,
    ) -> Result<(), Error> {
        let objects: BTreeMap<String, ObjectRef> =
            parked.iter().flatten().map(|parked| (parked.object.path.clone(), parked.object.clone())).collect();
        for (path, object) in objects {
            let bytes = store.get(&path).await.map_err(failed("read parked input"))?;
            let gone = |reason: String| Error::NoCheckpoint { reasons: format!("\n  checkpoint {epoch}: {reason}") };
            let (head, items) = verify_parked(bytes.as_deref(), &self.job, &old.name, &object).map_err(gone)?;
            for (instance, parked) in (0..).zip(parked.iter_mut()) {
                let at = Participant { node: Node::Operator(place), instance };
                for of in parked.iter_mut().filter(|of| of.object.path == path) {
                    let waiting = self.waiting(at, of, (head.clone(), items.clone())).map_err(|input| Error::Misfit {
                        epoch,
                        what: format!("rows are parked for the input `{input}` of operator `{}`, which it no longer has", old.name),
                        help: "give the component an input of that name; or run the job as it was, and `reprise parked` drops them or moves them to quarantine".into(),
                    })?;
                    if moves {
                        (of.rows, of.bytes) = waiting.iter().fold((0, 0), |(rows, bytes), item| match item {
                            ParkedItem::Rows { rows: more, .. } => (rows + more.len() as u64, bytes + more.size_bytes() as u64),
                            ParkedItem::Watermark(_) => (rows, bytes),
                        });
                    }
                }
            }
        }
        if moves {
            parked.iter_mut().for_each(|parked| parked.retain(|of| of.rows > 0));
        }
        Ok(())
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
        let mut of = loop {
            match self.segments(|segments| segments.get(&(at, number)).cloned()) {
                Some(of) => break of,
                // It is on its way to the store.
                None if !store.is_over() => tokio::time::sleep(PAUSE).await,
                None => return Err(Error::Abandoned),
            }
        };
        of.done = done;
        let path = of.object.path.clone();
        let bytes = store.until_deadline("read parked input", || store.store.get(&path)).await?;
        let read = move || {
            let name = self.operator(at).map(|(_, name)| name.to_owned()).unwrap_or_default();
            let found = verify_parked(bytes.as_deref(), &self.job, &name, &of.object)?;
            self.waiting(at, &of, found).map(Arc::new)
        };
        blocking(read).await?.map_err(Error::Internal)
    }
}
