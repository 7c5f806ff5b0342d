//! Carries out an opening: claims the job, finds and verifies the checkpoint, takes over. Then it puts the outbox and the quarantine in order,
//! and sets state and sources back to the checkpoint, which may be one of other instances.

use crate::client::{Client, Created};
use crate::clockwork::HostId;
use crate::committer::encoded;
use crate::input::Cells;
use crate::mutation::Mutation;
use crate::outbox::SinkFault;
use crate::plan::{Fault, Point};
use crate::shape::Shape;
use crate::snapshot::{self, JOB, OPERATOR, Restored, SINK, SOURCE};
use crate::store::Bytes;
use crate::world::Sim;
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::chain::ChainLimits;
use reprise_core::checkpoint::coordinator::{self, Layout, OperatorLayout};
use reprise_core::checkpoint::manifest::{Claim, Manifest, OperatorState, ParkedRef, SplitPosition, StagedRef};
use reprise_core::checkpoint::objects::{read_manifest, read_parked, read_snapshot};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::recovery::{
    JobRecovery, RecoverFrom, RecoveredJob, RecoveryAnswer, RecoveryRefusal, RecoveryRequest, RecoveryStep,
};
use reprise_core::checkpoint::restore::{DealtState, ParkedDeal, deal_state};
use reprise_core::codec::record;
use reprise_core::ids::{Digest, Epoch, Generation, Instance};
use std::collections::BTreeMap;

/// What a process is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// The newest checkpoint.
    Newest,
    /// That of an epoch.
    Epoch(Epoch),
    /// A savepoint.
    Savepoint(String),
}

/// A job that may run.
pub struct Taken {
    /// What the opening found.
    pub up: RecoveredJob,
    /// Random number of this run.
    pub writer: u64,
    /// The cells of each instance.
    pub states: Vec<Restored>,
}

/// Why a job was not taken up.
#[derive(Debug)]
pub enum NotTaken {
    /// The opening says so.
    Refused(RecoveryRefusal),
    /// The savepoint cannot be used.
    Savepoint(String),
    /// A sink gave up.
    Sink(Generation, SinkFault),
}

/// The layout of the job, with its sources at these positions.
#[must_use]
pub fn layout(sim: &Sim, shape: Shape, generation: Generation, writer: u64, positions: &[u32]) -> Layout {
    let (workers, instances) = (shape.workers, shape.instances());
    let split = |(split, position): (usize, &u32)| SplitPosition {
        split: split.to_string(),
        position: position.to_string(),
        instance: Instance(shape.reader(split)),
    };
    Layout {
        job: JOB.into(),
        generation,
        writer,
        topology: Digest([0; 32]),
        workers,
        operators: vec![OperatorLayout { name: OPERATOR.into(), component: Digest([1; 32]), slots: snapshot::slots(), instances }],
        sources: vec![(SOURCE.into(), positions.iter().enumerate().map(split).collect())],
        sinks: vec![SINK.into()],
        chain: ChainLimits { length_max: sim.plan.chain_length_max, bytes_max: 2_000 },
    }
}

/// Where a checkpoint stands in each split.
#[must_use]
pub fn positions(sim: &Sim, base: Option<&Manifest>) -> Vec<u32> {
    let mut positions = vec![0; sim.input.splits()];
    for split in base.into_iter().flat_map(|base| &base.sources).flat_map(|source| &source.splits) {
        if let (Ok(name), Ok(position)) = (split.split.parse::<usize>(), split.position.parse()) {
            positions[name] = position;
        }
    }
    positions
}

/// The objects of a checkpoint, by path.
#[derive(Default)]
struct ReadObjects {
    /// The chunks of snapshots.
    chunks: BTreeMap<String, Vec<Chunk>>,
    /// The bytes of parked input.
    parked: BTreeMap<String, Bytes>,
}

struct TakingUp<'a> {
    sim: &'a Sim,
    host: HostId,
    client: Client,
    writer: u64,
    before: Option<Generation>,
    generation: Generation,
    /// What was read of the checkpoint that was read last.
    read: ReadObjects,
    manifests: BTreeMap<Epoch, Result<Manifest, String>>,
    created: bool,
}

/// Takes the job up. `before`: the generation of the run that this host restarts.
pub async fn take_up(sim: &Sim, host: HostId, shape: Shape, begin: &Begin, before: Option<Generation>) -> Result<Taken, NotTaken> {
    let alike = sim.is_broken(Mutation::ClaimsAlike);
    let writer = if alike { 0 } else { sim.random.borrow_mut().number() };
    let mut taking = TakingUp {
        sim,
        host,
        client: Client::new(sim, host),
        writer,
        before,
        generation: Generation(0),
        read: ReadObjects::default(),
        manifests: BTreeMap::new(),
        created: false,
    };
    let from = taking.from(begin).await.map_err(NotTaken::Savepoint)?;
    let beginning = coordinator::beginning(layout(sim, shape, Generation(0), writer, &[]), Epoch(0));
    let told = before.filter(|_| !sim.is_broken(Mutation::RestartClaimsNewest));
    let (mut opening, mut turn) = JobRecovery::new(from, beginning, told, Epoch(u64::MAX));
    let up = loop {
        match turn {
            RecoveryStep::Ask(ask) => turn = opening.step(taking.answer(ask).await),
            RecoveryStep::Refused(refusal) => return Err(NotTaken::Refused(refusal)),
            RecoveryStep::RecoveredJob(up) => break *up,
        }
    };
    for (epoch, reason) in &up.passed_over {
        sim.tell(host, format_args!("passes over checkpoint {epoch}: {reason}"));
        sim.count(Fault::PassedOver);
    }
    sim.check_taken_up(host, &up);
    let generation = up.generation;
    taking.put_in_order(&up).await.map_err(|fault| NotTaken::Sink(generation, fault))?;
    sim.check_begun(&up);
    let states = match up.base.as_ref().and_then(|base| Some((base, base.operators.first()?))) {
        Some((base, operator)) => {
            let states = deal(sim, shape, base.workers != shape.workers, operator, taking.read.chunks);
            park(sim, shape, operator, &taking.read.parked, states)
        }
        None => (0..shape.instances())
            .map(|_| Restored { cells: Cells::new(), continues: false, watermark: i64::MIN, parked: vec![] })
            .collect(),
    };
    Ok(Taken { up, writer, states })
}

/// What each instance of the operator begins with. `is_moved`: with other workers than before.
fn deal(sim: &Sim, shape: Shape, is_moved: bool, operator: &OperatorState, mut chunks: BTreeMap<String, Vec<Chunk>>) -> Vec<Restored> {
    let (has_state, is_spread) = (!chunks.is_empty(), operator.instances.len() != shape.instances() as usize);
    let read = |path: &str| chunks.remove(path).unwrap_or_default();
    let dealt = deal_state(operator, &snapshot::slots(), shape.instances(), read).expect("no slot is kept by instance");
    let mut cells: Vec<Cells> = dealt.iter().map(|state| snapshot::cells(&state.chunks)).collect();
    match (is_spread, is_moved) {
        (true, _) if has_state => sim.count(Fault::OtherInstances),
        (false, true) if has_state => sim.count(Fault::OtherWorkers),
        _ => {}
    }
    if !is_spread && is_moved && sim.is_broken(Mutation::ChainOfNeighbour) {
        cells.rotate_left(1);
    }
    let goes_on = is_spread && sim.is_broken(Mutation::ChainsGoOn);
    let own = |(state, cells): (DealtState, Cells)| Restored {
        cells,
        continues: state.continues || goes_on,
        watermark: state.watermark,
        parked: vec![],
    };
    dealt.into_iter().zip(cells).map(own).collect()
}

/// Gives each instance what of the parked input is its own.
fn park(sim: &Sim, shape: Shape, operator: &OperatorState, objects: &BTreeMap<String, Bytes>, mut states: Vec<Restored>) -> Vec<Restored> {
    let waiting = |of: &ParkedRef| snapshot::waiting(objects.get(&of.object.path).map(|bytes| &bytes[..]), of);
    let mut deal = ParkedDeal::new(operator, shape.instances()).expect("a simulation has no time for so many moves");
    let objects = deal.objects();
    if deal.moves() && !objects.is_empty() {
        sim.count(Fault::ParkedMoved);
    }
    // What is damaged is lost, where nobody has looked.
    let mut lost = objects;
    lost.retain(|object| deal.look(&object.path, |_, of| waiting(of)).is_err());
    for (restored, parked) in states.iter_mut().zip(deal.dealt()) {
        restored.parked = parked.into_iter().filter(|of| !lost.contains(&of.object)).collect();
    }
    states
}

impl TakingUp<'_> {
    async fn from(&mut self, begin: &Begin) -> Result<RecoverFrom, String> {
        let name = match begin {
            Begin::Newest => return Ok(RecoverFrom::Newest),
            Begin::Epoch(epoch) => return Ok(RecoverFrom::Epoch(*epoch)),
            Begin::Savepoint(name) => name,
        };
        let path = paths::savepoint(name).ok_or("not a name")?;
        let bytes = self.client.get(&path).await.ok_or("there is none of that name")?;
        let manifest = read_manifest(&bytes, &path, JOB, None).map_err(|error| error.to_string()).flatten()?;
        self.read = self.read(&manifest).await?;
        Ok(RecoverFrom::savepoint(manifest, &self.client.list(paths::SNAPSHOTS).await))
    }

    /// Reads and verifies everything that a checkpoint needs.
    async fn read(&self, manifest: &Manifest) -> Result<ReadObjects, String> {
        let is_unseen = self.sim.is_broken(Mutation::CheckpointNotVerified);
        let mut read = ReadObjects::default();
        for operator in &manifest.operators {
            for (instance, state) in (0..).zip(&operator.instances) {
                for object in &state.chain {
                    let bytes = self.client.get(&object.path).await;
                    let chunks = read_snapshot(bytes.as_deref(), object, JOB, (operator, instance));
                    read.chunks.insert(object.path.clone(), if is_unseen { chunks.unwrap_or_default() } else { chunks? });
                }
                for of in &state.parked {
                    let bytes = self.client.get(&of.object.path).await;
                    match read_parked(bytes.as_deref(), &of.object, JOB, OPERATOR) {
                        Err(_) if is_unseen => {}
                        found => drop(found?),
                    }
                    read.parked.extend(bytes.map(|bytes| (of.object.path.clone(), bytes)));
                }
            }
        }
        Ok(read)
    }

    async fn answer(&mut self, ask: RecoveryRequest) -> RecoveryAnswer {
        let sim = self.sim;
        match ask {
            RecoveryRequest::Claims if self.created && sim.is_broken(Mutation::OpeningDoesNotLookAgain) => {
                RecoveryAnswer::Claims(self.generation)
            }
            RecoveryRequest::Claims => RecoveryAnswer::Claims(self.client.newest_claim().await),
            RecoveryRequest::Claim(generation) => {
                let (claimed_ms, host) =
                    if self.writer == 0 { (0, String::new()) } else { (sim.now() as i64, format!("host {}", self.host)) };
                let claim = Claim { generation, writer: self.writer, host, claimed_ms };
                let bytes = record::encode(&claim).expect("a claim is small");
                sim.point(self.host, Point::BeforeClaim).await;
                let ours = self.client.create(&paths::claim(generation), bytes.into()).await == Created::New;
                if ours {
                    sim.check_claimed(self.host, generation, self.before);
                    self.generation = generation;
                }
                RecoveryAnswer::Claim(ours)
            }
            RecoveryRequest::Manifests => RecoveryAnswer::Manifests(self.manifests().await),
            RecoveryRequest::Snapshots => RecoveryAnswer::Snapshots(self.client.list(paths::SNAPSHOTS).await),
            RecoveryRequest::Verify(epoch) => {
                let Some(Ok(manifest)) = self.manifests.get(&epoch) else { return RecoveryAnswer::Verify(Err("not found".into())) };
                let read = self.read(manifest).await;
                RecoveryAnswer::Verify(read.map(|read| self.read = read))
            }
            RecoveryRequest::Create(mut manifest) => {
                manifest.written_ms = sim.now() as i64;
                sim.point(self.host, Point::BeforeTakeOver).await;
                if sim.is_broken(Mutation::TakeOverNotWritten) {
                    return RecoveryAnswer::Create(true);
                }
                let created = self.client.create(&paths::manifest(manifest.epoch), encoded(&manifest)).await == Created::New;
                sim.point(self.host, Point::AfterTakeOver).await;
                self.created = created;
                RecoveryAnswer::Create(created)
            }
        }
    }

    async fn manifests(&mut self) -> BTreeMap<Epoch, Result<Manifest, String>> {
        self.manifests.clear();
        for epoch in self.client.list(paths::CHECKPOINTS).await.iter().filter_map(|path| paths::manifest_epoch(path)) {
            let path = paths::manifest(epoch);
            let read = match self.client.get(&path).await {
                Some(bytes) => read_manifest(&bytes, &path, JOB, Some(epoch)).map_err(|error| error.to_string()).flatten(),
                None => Err("it is missing".to_owned()),
            };
            self.manifests.insert(epoch, read);
        }
        self.manifests.clone()
    }

    /// The sinks, then the quarantine: refused rows of epochs that do not count are deleted, since they will be refused again.
    async fn put_in_order(&self, up: &RecoveredJob) -> Result<(), SinkFault> {
        let sim = self.sim;
        let covered = up.base.as_ref().and_then(Manifest::covered);
        sim.point(self.host, Point::BeforeSinks).await;
        let staged: Vec<StagedRef> = up.base.iter().flat_map(|base| &base.sinks).flat_map(|sink| sink.staged.clone()).collect();
        sim.recover(self.host, up.generation, covered, up.first_own, &staged).await?;
        sim.point(self.host, Point::BeforeQuarantine).await;
        let before = if sim.is_broken(Mutation::QuarantineClearedWhole) { Generation(u64::MAX) } else { up.generation };
        for path in self.client.list(paths::QUARANTINE).await {
            if up.has_given_up(&path, before) {
                self.client.delete(&path).await;
            }
        }
        Ok(())
    }
}
