//! Carries out an opening: claims the job, finds and verifies the checkpoint, takes over. Then it puts the outbox and the quarantine in order,
//! and sets state and sources back to the checkpoint, which may be one of other instances.

use crate::client::{Client, Created};
use crate::clockwork::HostId;
use crate::committer::encoded;
use crate::input::Cells;
use crate::mutation::Mutation;
use crate::outbox::SinkFault;
use crate::plan::{Fault, Point};
use crate::shape::{self, Shape};
use crate::snapshot::{self, JOB, OPERATOR, Restored, SINK, SOURCE};
use crate::store::Bytes;
use crate::world::Sim;
use reprise_core::checkpoint::chain::ChainLimits;
use reprise_core::checkpoint::coordinator::{self, Layout, OperatorLayout};
use reprise_core::checkpoint::manifest::{Claim, InstanceState, Manifest, SplitPosition, StagedRef};
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::recovery::{
    JobRecovery, RecoverFrom, RecoveredJob, RecoveryAnswer, RecoveryRefusal, RecoveryRequest, RecoveryStep,
};
use reprise_core::checkpoint::{invariants, layout};
use reprise_core::codec::parked::ParkedItem;
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

struct TakingUp<'a> {
    sim: &'a Sim,
    host: HostId,
    client: Client,
    writer: u64,
    before: Option<Generation>,
    generation: Generation,
    /// The cells of each instance, by the epoch of the checkpoint that was read last.
    states: Vec<Cells>,
    /// The objects with parked input of that checkpoint.
    parked: BTreeMap<String, Bytes>,
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
        states: Vec::new(),
        parked: BTreeMap::new(),
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
    let states = taking.states;
    let states = match &up.base {
        Some(base) => park(sim, shape, base, &taking.parked, deal(sim, shape, base, states)),
        None => (0..shape.instances())
            .map(|_| Restored { cells: Cells::new(), continues: false, watermark: i64::MIN, parked: vec![] })
            .collect(),
    };
    Ok(Taken { up, writer, states })
}

/// What each instance of the operator begins with, as `host/src/job/take_up.rs` has it. `states`: the cells of those of the checkpoint.
fn deal(sim: &Sim, shape: Shape, base: &Manifest, mut states: Vec<Cells>) -> Vec<Restored> {
    let old: Vec<&InstanceState> = base.operators.iter().flat_map(|operator| &operator.instances).collect();
    let (has_state, is_moved) = (states.iter().any(|cells| !cells.is_empty()), base.workers != shape.workers);
    if old.len() == shape.instances() as usize {
        if has_state && is_moved {
            sim.count(Fault::OtherWorkers);
        }
        if is_moved && sim.is_broken(Mutation::ChainOfNeighbour) {
            states.rotate_left(1);
        }
        let own = |(cells, old): (Cells, &InstanceState)| Restored {
            cells,
            continues: !old.chain.is_empty(),
            watermark: old.watermark,
            parked: vec![],
        };
        return states.into_iter().zip(old).map(own).collect();
    }
    if has_state {
        sim.count(Fault::OtherInstances);
    }
    let watermark = old.iter().map(|instance| instance.watermark).min().unwrap_or(i64::MIN);
    let continues = sim.is_broken(Mutation::ChainsGoOn);
    let mut dealt: Vec<Restored> =
        (0..shape.instances()).map(|_| Restored { cells: Cells::new(), continues, watermark, parked: vec![] }).collect();
    for (name, value) in states.into_iter().flatten() {
        let owner = shape::owner(&name.1, shape.instances()) as usize;
        dealt[owner].cells.insert(name, value);
    }
    dealt
}

/// Gives each instance what of the parked input is its own.
fn park(sim: &Sim, shape: Shape, base: &Manifest, objects: &BTreeMap<String, Bytes>, mut states: Vec<Restored>) -> Vec<Restored> {
    let Some(operator) = base.operators.first().filter(|_| base.has_parked()) else { return states };
    let moves = operator.instances.len() != shape.instances() as usize;
    if moves {
        sim.count(Fault::ParkedMoved);
    }
    for (restored, parked) in states.iter_mut().zip(layout::parked_for(operator, shape.instances())) {
        let own = parked.into_iter().filter_map(|mut of| {
            let waiting = snapshot::waiting(objects.get(&of.object.path).map(|bytes| &bytes[..]), &of).ok()?;
            if moves {
                of.rows = waiting.iter().map(ParkedItem::entries).sum();
            }
            (!waiting.is_empty()).then_some(of)
        });
        restored.parked = own.collect();
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
        let manifest = record::decode::<Manifest>(&bytes).map_err(|error| error.to_string())?;
        invariants::check_read(&manifest, JOB, manifest.epoch)?;
        (self.states, self.parked) = self.read(&manifest).await?;
        Ok(RecoverFrom::Savepoint(Box::new(manifest)))
    }

    /// Reads and verifies everything that a checkpoint needs.
    async fn read(&self, manifest: &Manifest) -> Result<(Vec<Cells>, BTreeMap<String, Bytes>), String> {
        let (mut states, mut parked) = (Vec::new(), BTreeMap::new());
        for (instance, state) in (0..).zip(manifest.operators.iter().flat_map(|operator| &operator.instances)) {
            let mut objects = BTreeMap::new();
            for object in &state.chain {
                if let Some(bytes) = self.client.get(&object.path).await {
                    objects.insert(object.path.clone(), bytes);
                }
            }
            for of in &state.parked {
                let bytes = self.client.get(&of.object.path).await;
                match snapshot::waiting(bytes.as_deref(), of) {
                    Err(_) if self.sim.is_broken(Mutation::CheckpointNotVerified) => {}
                    found => drop(found?),
                }
                parked.extend(bytes.map(|bytes| (of.object.path.clone(), bytes)));
            }
            let cells = snapshot::cells_of(state, instance, |path| objects.get(path).cloned());
            match cells {
                Err(_) if self.sim.is_broken(Mutation::CheckpointNotVerified) => states.push(Cells::new()),
                cells => states.push(cells?),
            }
        }
        Ok((states, parked))
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
                RecoveryAnswer::Verify(read.map(|(states, parked)| (self.states, self.parked) = (states, parked)))
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
            let read = match self.client.get(&paths::manifest(epoch)).await {
                Some(bytes) => record::decode::<Manifest>(&bytes).map_err(|error| error.to_string()),
                None => Err("it is missing".to_owned()),
            };
            let checked = read.and_then(|manifest| invariants::check_read(&manifest, JOB, epoch).map(|()| manifest));
            self.manifests.insert(epoch, checked);
        }
        self.manifests.clone()
    }

    /// The sinks, then the quarantine: refused rows of epochs that do not count are deleted, since they will be refused again.
    async fn put_in_order(&self, up: &RecoveredJob) -> Result<(), SinkFault> {
        let sim = self.sim;
        let covered = up.base.as_ref().and_then(Manifest::covered);
        let own = match (&up.taken, &up.base) {
            (Some(taken), _) => taken.epoch,
            (None, base) => base.as_ref().map_or(Epoch(1), |base| base.epoch.next()),
        };
        sim.point(self.host, Point::BeforeSinks).await;
        let staged: Vec<StagedRef> = up.base.iter().flat_map(|base| &base.sinks).flat_map(|sink| sink.staged.clone()).collect();
        sim.recover(self.host, up.generation, covered, own, &staged).await?;
        sim.point(self.host, Point::BeforeQuarantine).await;
        let all = sim.is_broken(Mutation::QuarantineClearedWhole);
        for path in self.client.list(paths::QUARANTINE).await {
            let dead = |(epoch, by): (Epoch, Generation)| covered.is_none_or(|covered| epoch > covered) && (all || by < up.generation);
            if paths::quarantine_origin(&path).is_some_and(dead) {
                self.client.delete(&path).await;
            }
        }
        Ok(())
    }
}
