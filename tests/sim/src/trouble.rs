//! What befalls operators under one seed, and how a host copes with it: the settings of `on-failure` and of recovery in place.

use crate::random::Random;
use reprise_core::failure::window::Window;
use reprise_core::operator::BacklogLimits;
use reprise_core::topology::{self, Capsules, OnFailure, Open, Operator, Then};
use std::time::Duration;

/// The trouble that operators of one seed have, and the settings with which they meet it.
// Wide: each field is a setting of its own.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// Of 1000 records, so many are poison.
    pub poison: u64,
    /// Cells beyond which an instance fails at any row, until somebody gives it more memory.
    pub cells_max: Option<usize>,
    /// Of 1000 calls with rows, so many fail by chance.
    pub traps: u64,
    /// The same for watermarks, snapshots, restores, and calls that are made again.
    pub other_traps: u64,
    /// Rows that an operator takes at a time, at most.
    pub unit_rows: u64,
    /// How often a call is made again before anything else.
    pub retries: u32,
    /// Wait before the second of these, in milliseconds; it doubles.
    pub backoff_ms: u64,
    /// What follows.
    pub then: Then,
    /// An open breaker ends the run.
    pub stops_when_open: bool,
    /// When the breaker opens.
    pub breaker: Window,
    /// Within so many milliseconds an instance should come back.
    pub recover_within_ms: u64,
    /// Bytes of calls that a host holds for an instance.
    pub log_bytes_max: u64,
    /// Bytes of its state.
    pub copy_bytes_max: u64,
    /// Chunks of an image beyond which they are folded.
    pub fold_after: usize,
    /// Each instance has a standby.
    pub standby: bool,
    /// Snapshots that may wait for one.
    pub standby_behind_max: usize,
    /// How long an epoch may wait before what waits is parked.
    pub align_max: Duration,
    /// The measures of what is parked.
    pub backlog: BacklogLimits,
}

impl Trouble {
    /// The trouble of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x4EA1_0000_0000_0003);
        let r = &mut random;
        let has_poison = r.chance(550);
        let then = r.pick(&[Then::Quarantine, Then::Pause, Then::Stop]).copied();
        let breaker = Window {
            faults_max: r.between(0, 8) as u32,
            rejections_max: u32::MAX,
            window: Duration::from_millis(r.between(100, 3_000)),
            pause: Duration::from_millis(r.between(10, 300)),
        };
        Self {
            poison: if has_poison { r.between(10, 120) } else { 0 },
            traps: if r.chance(700) { r.between(1, 80) } else { 0 },
            other_traps: if r.chance(600) { r.between(1, 100) } else { 0 },
            unit_rows: r.between(1, 10),
            retries: r.between(0, 3) as u32,
            backoff_ms: r.between(0, 40),
            // Poison that stays where it is would come again in each run.
            then: then.filter(|_| !has_poison).unwrap_or(Then::Quarantine),
            stops_when_open: !has_poison && r.chance(200),
            breaker,
            recover_within_ms: r.between(10, 150),
            log_bytes_max: r.between(300, 9_000),
            copy_bytes_max: if !has_poison && r.chance(150) { r.between(600, 3_000) } else { u64::MAX },
            fold_after: r.between(2, 10) as usize,
            standby: r.chance(450),
            standby_behind_max: r.between(1, 3) as usize,
            cells_max: r.chance(300).then(|| r.between(2, 12) as usize),
            align_max: Duration::from_millis(r.pick(&[0, 20, 100, 1_000, 60_000]).copied().unwrap_or_default()),
            backlog: BacklogLimits { segment_bytes: r.between(40, 1_000), memory_bytes: r.between(0, 300) },
        }
    }

    /// The settings of the operator.
    ///
    /// # Panics
    /// The topology of the simulation is not one.
    #[must_use]
    pub fn settings(&self) -> Operator {
        let parsed = topology::parse(TOPOLOGY, &|_| None).expect("the topology is one");
        let operator = parsed.operators.into_iter().next().expect("it has an operator");
        let backoff_min = Duration::from_millis(self.backoff_ms);
        Operator {
            recover_within: Duration::from_millis(self.recover_within_ms),
            standby: self.standby,
            replay_log_bytes_max: self.log_bytes_max,
            snapshot_copy_bytes_max: self.copy_bytes_max,
            on_failure: OnFailure {
                retries: self.retries,
                backoff_min,
                backoff_max: backoff_min * 8,
                then: self.then,
                faults_max: self.breaker.faults_max,
                rejections_max: self.breaker.rejections_max,
                window: self.breaker.window,
                pause: self.breaker.pause,
                open: if self.stops_when_open { Open::Stop } else { Open::Pause },
                capsules: Capsules::Never,
                ..operator.on_failure
            },
            ..operator
        }
    }
}

/// A topology, for what the trouble does not set.
const TOPOLOGY: &str = r#"
name = "simulated"
[checkpoint]
store = "memory:"
[[source]]
name = "records"
file = { path = "in", format = "lines" }
[[operator]]
name = "count"
component = "count.wasm"
input = "records"
[[sink]]
name = "out"
input = "count"
stdout = {}
"#;
