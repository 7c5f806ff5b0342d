//! What one seed makes of the world: sizes, limits, and how often which fault strikes. And what struck in the end.

use crate::mutation::Mutation;
use crate::random::Random;
use crate::shape::{Shape, WORKERS_MAX};
use crate::trouble::Trouble;
use std::collections::BTreeMap;

/// A point of the protocol at which a host that freezes or dies leaves something half done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Before it creates a claim.
    BeforeClaim,
    /// Before it creates the manifest with which it takes over.
    BeforeTakeOver,
    /// After it.
    AfterTakeOver,
    /// Before it puts the outbox in order.
    BeforeSinks,
    /// Before it removes what is staged.
    BeforeRemoval,
    /// Before it takes visible output back.
    BeforeTakeBack,
    /// Before it deletes refused rows.
    BeforeQuarantine,
    /// Before it creates the manifest of an epoch.
    BeforeManifest,
    /// After it.
    AfterManifest,
    /// Before staged output becomes visible.
    Rename,
    /// After it.
    Renamed,
    /// Before it keeps a savepoint.
    BeforeSavepoint,
    /// Before it deletes the objects that nothing reaches.
    MidSweep,
}

/// Faults do not come where they hurt most by chance alone: most seeds drill one part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drill {
    /// None.
    Nothing,
    /// All hosts claim the job at once, and answers are lost.
    Claims,
    /// Hosts freeze while they take over.
    TakeOver,
    /// Hosts freeze while they put output and quarantine in order.
    Sinks,
    /// Hosts freeze around a manifest.
    Manifest,
    /// Hosts freeze before a rename, and others go back to a savepoint meanwhile.
    Rename,
    /// Hosts freeze before they keep a savepoint.
    Savepoint,
    /// Hosts freeze in the middle of a sweep.
    Sweep,
    /// Hosts die or freeze right after a rename, and readers take away what they see.
    Readers,
    /// Objects are damaged while chains are compacted.
    Damage,
    /// Again and again somebody goes back, also to what was given up.
    Back,
}

/// Strikes of a drill in one run.
const DRILL_STRIKES_MAX: usize = 3;
/// All drills.
const DRILLS: [Drill; 11] = [
    Drill::Nothing,
    Drill::Claims,
    Drill::TakeOver,
    Drill::Sinks,
    Drill::Manifest,
    Drill::Rename,
    Drill::Savepoint,
    Drill::Sweep,
    Drill::Readers,
    Drill::Damage,
    Drill::Back,
];

impl Drill {
    fn points(self) -> &'static [Point] {
        match self {
            Self::Nothing | Self::Claims | Self::Damage | Self::Back => &[],
            Self::TakeOver => &[Point::BeforeTakeOver, Point::AfterTakeOver],
            Self::Sinks => &[Point::BeforeSinks, Point::BeforeRemoval, Point::BeforeTakeBack, Point::BeforeQuarantine],
            Self::Manifest => &[Point::BeforeManifest, Point::AfterManifest],
            Self::Rename => &[Point::Rename, Point::BeforeRemoval],
            Self::Readers => &[Point::Renamed],
            Self::Savepoint => &[Point::BeforeSavepoint],
            Self::Sweep => &[Point::MidSweep],
        }
    }

    /// Strikes of the drill in one run.
    #[must_use]
    pub fn strikes_max(self) -> usize {
        match self {
            Self::Nothing | Self::Claims | Self::Damage | Self::Back => 0,
            Self::Rename => self.points().len(),
            _ => DRILL_STRIKES_MAX,
        }
    }

    /// A host may be struck at this point, after so many strikes. There are few, so that others get on with the job.
    #[must_use]
    pub fn strikes_at(self, point: Point, struck: usize) -> bool {
        match self {
            // One after the other: who goes back meanwhile is struck too.
            Self::Rename => self.points().get(struck) == Some(&point),
            _ => struck < DRILL_STRIKES_MAX && self.points().contains(&point),
        }
    }
}

/// The settings of one run of the simulation.
// Wide: a plan is the list of all that a seed decides.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// What is broken on purpose.
    pub mutation: Option<Mutation>,
    /// Which part of the protocol is drilled.
    pub drill: Drill,
    /// Hosts that may run the job.
    pub hosts: usize,
    /// Workers and instances of the first process.
    pub shape: Shape,
    /// Of 1000 starts, so many change these.
    pub reshape: u64,
    /// Splits of the source.
    pub splits: u64,
    /// Records of a split, at most.
    pub records_max: u64,
    /// Different keys.
    pub keys: u64,
    /// Checkpoints to keep.
    pub keep: usize,
    /// Deltas of a chain; 0: every snapshot is full.
    pub chain_length_max: u32,
    /// Epochs that a source may be ahead of the newest completed one.
    pub epochs_in_flight_max: u64,
    /// A list comes in pages of so many names, each at its own moment.
    pub page: usize,
    /// Output is published beside the next manifest, not before it.
    pub publish_aside: bool,
    /// Somebody takes visible files away.
    pub reader: bool,
    /// Objects are damaged.
    pub damage: bool,
    /// Savepoints are asked for.
    pub savepoints: bool,
    /// How often a run begins with an older checkpoint or a savepoint.
    pub rewinds: u64,
    /// Faults of hosts and of the store as a whole, until it stays calm.
    pub faults: u64,
    /// Of 1000 requests, so many fail before they take effect.
    pub fail_before: u64,
    /// ... take effect, and the answer is lost.
    pub lost_answer: u64,
    /// ... count as failed, and take effect later.
    pub late: u64,
    /// ... are slow.
    pub slow: u64,
    /// Of 1000 passages of a critical point of the protocol, so many freeze or crash the host.
    pub at_points: u64,
    /// Of 1000 looks of the supervisor, so many start a host although another one runs.
    pub race: u64,
    /// ... ask for a savepoint.
    pub ask: u64,
    /// Of 1000 starts, so many go back to something older, while there are `rewinds` left.
    pub rewind: u64,
    /// What befalls operators.
    pub trouble: Trouble,
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        let mut random = Random::new(seed ^ 0x5EED_0F91_A900_0000);
        let r = &mut random;
        let mut shapes = Random::new(seed ^ 0x51A9_E000_0000_0004);
        let damage = r.chance(250);
        let rewinds = if r.chance(250) { r.between(1, 2) } else { 0 };
        let stormy = |r: &mut Random, most: u64| if r.chance(600) { r.below(most + 1) } else { 0 };
        let plan = Self {
            seed,
            mutation,
            drill: r.pick(&DRILLS).copied().unwrap_or(Drill::Nothing),
            hosts: r.between(2, 3) as usize,
            shape: Shape::new(r.between(1, WORKERS_MAX) as u32, &mut shapes),
            reshape: if shapes.chance(500) { shapes.between(100, 600) } else { 0 },
            splits: r.between(2, 5),
            records_max: r.between(12, 40),
            keys: r.between(2, 8),
            keep: r.between(1, 3) as usize,
            chain_length_max: r.between(0, 4) as u32,
            epochs_in_flight_max: r.between(1, 3),
            page: if r.chance(500) { r.between(1, 4) as usize } else { 1000 },
            publish_aside: r.chance(400),
            reader: !damage && rewinds == 0 && r.chance(500),
            damage,
            savepoints: rewinds > 0 || r.chance(500),
            rewinds,
            faults: r.between(4, 16),
            fail_before: stormy(r, 60),
            lost_answer: stormy(r, 60),
            late: stormy(r, 60),
            slow: stormy(r, 60),
            at_points: stormy(r, 60),
            race: stormy(r, 80),
            ask: 0,
            rewind: 200,
            trouble: Trouble::new(seed),
        };
        plan.drilled(r)
    }

    /// Makes what is drilled likely: little is retained, so that numbers are used again soon, and there is time for it.
    fn drilled(self, r: &mut Random) -> Self {
        let plan = Self {
            faults: r.between(5, 10),
            keep: r.between(1, 2) as usize,
            race: self.race / 4,
            splits: r.between(3, 5),
            records_max: r.between(30, 60),
            ..self.clone()
        };
        match self.drill {
            Drill::Nothing => Self { ask: if self.savepoints { 10 } else { 0 }, ..self },
            Drill::Claims => Self { lost_answer: r.between(100, 300), late: r.between(0, 100), ..plan },
            Drill::TakeOver | Drill::Manifest => plan,
            // Output waits for a while, so that there is some when a host wakes up that is to clean up.
            Drill::Sinks => Self { publish_aside: true, ..plan },
            Drill::Rename => Self {
                rewinds: 2,
                rewind: 1000,
                reader: false,
                savepoints: true,
                ask: 200,
                faults: r.between(1, 4),
                at_points: 0,
                race: 0,
                ..plan
            },
            // Every snapshot is full, so that objects are soon reached by the savepoint alone; and checkpoints go on while it is on its way.
            Drill::Savepoint => Self { savepoints: true, ask: 300, keep: 1, chain_length_max: 0, publish_aside: r.chance(800), ..plan },
            Drill::Readers => Self { reader: true, damage: false, rewinds: 0, ..plan },
            Drill::Damage => Self { damage: true, reader: false, keep: 3, chain_length_max: r.between(1, 3) as u32, ..plan },
            Drill::Back => Self { rewinds: 4, rewind: 700, reader: false, keep: 3, ..plan },
            Drill::Sweep => Self { savepoints: true, ask: 50, ..plan },
        }
    }

    /// The same world without any fault.
    #[must_use]
    pub fn calm(seed: u64) -> Self {
        let quiet =
            Self { faults: 0, drill: Drill::Nothing, damage: false, rewinds: 0, at_points: 0, race: 0, ask: 0, ..Self::new(seed, None) };
        Self {
            fail_before: 0,
            lost_answer: 0,
            late: 0,
            slow: 0,
            reshape: 0,
            trouble: Trouble { poison: 0, cells_max: None, ..quiet.trouble },
            ..quiet
        }
    }
}

/// A kind of fault, or of what else should happen in some run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A host lost its memory.
    Crash,
    /// A host stood still for a while.
    Freeze,
    /// A call with rows failed.
    Trap,
    /// A watermark failed.
    TrapAtWatermark,
    /// Reading a snapshot failed.
    TrapAtSnapshot,
    /// A successor failed when it was restored.
    TrapAtRestore,
    /// A successor failed when it made calls again.
    TrapAtReplay,
    /// An instance came back.
    Revived,
    /// A failed call was made again in a piece.
    Narrowed,
    /// An instance had outgrown what it may use, so that a call with rows failed.
    Outgrown,
    /// A fault on a row had passed.
    NobodyBlamed,
    /// No row was to blame for a failure.
    InstanceBlamed,
    /// A row went to quarantine because calls failed on it.
    Poison,
    /// A standby took over.
    StandbyTakesOver,
    /// It was ready, so nothing was waited for.
    StandbyReady,
    /// A standby was too far behind, or gone.
    StandbyBehind,
    /// A standby failed.
    StandbyFails,
    /// A snapshot was taken between two checkpoints.
    LocalSnapshot,
    /// The host's copy of a state was folded.
    ImageFolded,
    /// The host's copy of a state was too large to be kept.
    ImageTooLarge,
    /// The operator paused.
    BreakerOpens,
    /// A pause was ended before its time.
    BreakerResumed,
    /// A call after a pause succeeded.
    BreakerCloses,
    /// Input was parked.
    Parked,
    /// Parked input was read back.
    ParkedRead,
    /// A run began with parked input for another number of instances.
    ParkedMoved,
    /// An operator could not come back alone: the run ended.
    RunFails,
    /// A host was asked to stop.
    Stop,
    /// A request failed.
    FailedRequest,
    /// A request took effect, and its answer was lost.
    LostAnswer,
    /// A request took effect after its sender had given it up.
    LateArrival,
    /// A create took effect after its sender had died.
    Posthumous,
    /// A request took long.
    SlowRequest,
    /// The store was away.
    Outage,
    /// A host claimed the job from one that still ran.
    Race,
    /// A host was told that it is fenced.
    Fenced,
    /// The place of a manifest was taken.
    Overtaken,
    /// A manifest was created at a number that had been used before.
    ReusedNumber,
    /// An object was damaged or lost.
    Damage,
    /// A checkpoint was passed over.
    PassedOver,
    /// A job was refused, since no checkpoint was left.
    Refused,
    /// A chain was compacted.
    Compaction,
    /// A full snapshot was asked for.
    AskedFull,
    /// A savepoint was kept.
    Savepoint,
    /// A run began with a savepoint.
    RewindToSavepoint,
    /// A run began with an older checkpoint.
    RewindToEpoch,
    /// A run began on other workers, with as many instances of the operator.
    OtherWorkers,
    /// A run began with another number of instances of the operator.
    OtherInstances,
    /// Visible output was taken back.
    TakenBack,
    /// A sweep deleted an object.
    Swept,
    /// A reader took a visible file away.
    TakenAway,
}

/// All kinds.
pub const FAULTS: [Fault; 51] = [
    Fault::Crash,
    Fault::Freeze,
    Fault::Trap,
    Fault::TrapAtWatermark,
    Fault::TrapAtSnapshot,
    Fault::TrapAtRestore,
    Fault::TrapAtReplay,
    Fault::Revived,
    Fault::Narrowed,
    Fault::Outgrown,
    Fault::NobodyBlamed,
    Fault::InstanceBlamed,
    Fault::Poison,
    Fault::StandbyTakesOver,
    Fault::StandbyReady,
    Fault::StandbyBehind,
    Fault::StandbyFails,
    Fault::LocalSnapshot,
    Fault::ImageFolded,
    Fault::ImageTooLarge,
    Fault::BreakerOpens,
    Fault::BreakerResumed,
    Fault::BreakerCloses,
    Fault::Parked,
    Fault::ParkedRead,
    Fault::ParkedMoved,
    Fault::RunFails,
    Fault::Stop,
    Fault::FailedRequest,
    Fault::LostAnswer,
    Fault::LateArrival,
    Fault::Posthumous,
    Fault::SlowRequest,
    Fault::Outage,
    Fault::Race,
    Fault::Fenced,
    Fault::Overtaken,
    Fault::ReusedNumber,
    Fault::Damage,
    Fault::PassedOver,
    Fault::Refused,
    Fault::Compaction,
    Fault::AskedFull,
    Fault::Savepoint,
    Fault::RewindToSavepoint,
    Fault::RewindToEpoch,
    Fault::OtherWorkers,
    Fault::OtherInstances,
    Fault::TakenBack,
    Fault::Swept,
    Fault::TakenAway,
];

/// How often each kind struck.
pub type Counts = BTreeMap<Fault, u64>;
