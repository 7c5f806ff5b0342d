//! The world of one run: what all tasks share, and what may happen to hosts.

use crate::clockwork::{self, HostId, NETWORK, Turns, WHOLE};
use crate::host::{self, Exit};
use crate::input::Input;
use crate::mutation::Mutation;
use crate::oracle::Oracle;
use crate::outbox::Outbox;
use crate::plan::{Counts, Drill, Fault, Plan, Point};
use crate::random::Random;
use crate::run::Run;
use crate::shape::Shape;
use crate::store::Objects;
use crate::supervisor;
use crate::take_up::Begin;
use crate::trace::Trace;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Deref;
use std::rc::Rc;

/// Polls of tasks after which a job should have come to its end; the longest of 10,000 seeds takes a third of them.
const STEPS_MAX: u64 = 100_000;

/// Of 1000 passages of a point that is drilled, so many are struck.
const DRILL_STRIKES: u64 = 400;

/// What a host is.
#[derive(Default)]
pub struct Host {
    /// It runs, or stands still.
    pub alive: bool,
    /// Its present run, once it has begun.
    pub run: Option<Rc<Run>>,
}

/// The world of one seed.
// Wide: every task of the simulation shares it.
pub struct World {
    /// The settings.
    pub plan: Plan,
    /// The records.
    pub input: Input,
    pub(crate) turns: RefCell<Turns>,
    pub(crate) random: RefCell<Random>,
    pub(crate) trace: RefCell<Trace>,
    pub(crate) store: RefCell<Objects>,
    pub(crate) outbox: RefCell<Outbox>,
    pub(crate) oracle: RefCell<Oracle>,
    pub(crate) hosts: RefCell<Vec<Host>>,
    pub(crate) exits: RefCell<VecDeque<(HostId, Exit)>>,
    /// What processes are started with.
    shape: Cell<Shape>,
    counts: RefCell<Counts>,
    calm: Cell<bool>,
    /// Operators were given as much memory as they need.
    raised: Cell<bool>,
    over: Cell<bool>,
    /// Strikes of the drill so far.
    drilled: Cell<usize>,
    failure: RefCell<Option<String>>,
}

/// The world, shared by its tasks.
#[derive(Clone)]
pub struct Sim(Rc<World>);

impl Deref for Sim {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

/// How a run of the simulation ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was broken on purpose.
    pub mutation: Option<Mutation>,
    /// Hash of everything that happened.
    pub hash: u64,
    /// What is wrong; `None` where nothing is.
    pub failure: Option<String>,
    /// What struck, how often.
    pub counts: Counts,
    /// The last lines of the trace.
    pub lines: Vec<String>,
    /// Polls of tasks.
    pub steps: u64,
}

/// Runs one simulation. `lines_max`: lines of the trace to keep.
#[must_use]
pub fn simulate(plan: Plan, lines_max: usize) -> Outcome {
    let (seed, mutation) = (plan.seed, plan.mutation);
    let input = Input::new(seed, &plan);
    let sim = Sim(Rc::new(World {
        input,
        turns: RefCell::default(),
        random: RefCell::new(Random::new(seed)),
        trace: RefCell::new(Trace::new(lines_max)),
        store: RefCell::default(),
        outbox: RefCell::default(),
        oracle: RefCell::default(),
        hosts: RefCell::new((0..plan.hosts).map(|_| Host::default()).collect()),
        exits: RefCell::default(),
        shape: Cell::new(plan.shape),
        counts: RefCell::default(),
        calm: Cell::new(plan.faults == 0),
        raised: Cell::new(false),
        over: Cell::new(false),
        drilled: Cell::new(0),
        failure: RefCell::default(),
        plan,
    }));
    supervisor::start(&sim);
    clockwork::run(&sim, STEPS_MAX);
    if !sim.has_failed() {
        sim.check_end();
    }
    // Runs hold the world, and the world its hosts.
    sim.hosts.borrow_mut().clear();
    let trace = std::mem::replace(&mut *sim.trace.borrow_mut(), Trace::new(0));
    Outcome {
        seed,
        mutation,
        hash: trace.hash(),
        failure: sim.failure.take(),
        counts: sim.counts.take(),
        lines: trace.into_lines(),
        steps: sim.steps(),
    }
}

impl Sim {
    /// True where this is what is broken.
    #[must_use]
    pub fn is_broken(&self, mutation: Mutation) -> bool {
        self.plan.mutation == Some(mutation)
    }

    /// No more faults.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.calm.get()
    }

    /// The job has come to its end: nobody starts it again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.get()
    }

    /// Ends the world's own tasks.
    pub fn be_over(&self) {
        self.note("the job is over");
        self.over.set(true);
    }

    /// The drill has struck.
    #[must_use]
    pub fn has_drilled(&self) -> bool {
        self.drilled.get() > 0
    }

    /// The drill has struck as often as it may.
    #[must_use]
    pub fn is_drilled(&self) -> bool {
        self.drilled.get() >= self.plan.drill.strikes_max()
    }

    /// Ends the time of faults.
    pub fn calm_down(&self) {
        self.note("the faults are over");
        self.calm.set(true);
    }

    /// Notes an event.
    pub fn note(&self, event: impl std::fmt::Display) {
        let line = format!("{:>7} {event}", self.now());
        self.trace.borrow_mut().note(line);
    }

    /// Notes an event of a host.
    pub fn tell(&self, host: HostId, event: impl std::fmt::Display) {
        self.note(format_args!("host {host}: {event}"));
    }

    /// Counts a fault.
    pub fn count(&self, fault: Fault) {
        *self.counts.borrow_mut().entry(fault).or_insert(0) += 1;
    }

    /// Something is wrong: the run ends.
    pub fn fail(&self, what: impl Into<String>) {
        let what = what.into();
        self.note(format_args!("WRONG: {what}"));
        self.failure.borrow_mut().get_or_insert(what);
    }

    /// Something was wrong.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failure.borrow().is_some()
    }

    /// True in `per_mille` of 1000 cases.
    #[must_use]
    pub fn chance(&self, per_mille: u64) -> bool {
        self.random.borrow_mut().chance(per_mille)
    }

    /// A call with rows fails by chance.
    #[must_use]
    pub fn strikes_call(&self) -> bool {
        !self.is_calm() && self.chance(self.plan.trouble.traps)
    }

    /// An instance with so many cells has outgrown what it may use.
    #[must_use]
    pub fn is_outgrown(&self, cells: usize) -> bool {
        !self.raised.get() && self.plan.trouble.cells_max.is_some_and(|most| cells > most)
    }

    /// Somebody gives operators more memory.
    pub fn raise(&self) {
        self.raised.set(true);
    }

    /// Another call fails by chance.
    #[must_use]
    pub fn strikes_other_call(&self) -> bool {
        !self.is_calm() && self.chance(self.plan.trouble.other_traps)
    }

    /// A number from `low` to `high`.
    #[must_use]
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.random.borrow_mut().between(low, high)
    }

    /// Starts the process of a host.
    pub fn start(&self, host: HostId, begin: Begin) {
        if self.chance(self.plan.reshape) {
            self.shape.set(self.shape.get().another(&mut self.random.borrow_mut()));
        }
        let shape = self.shape.get();
        self.tell(host, format_args!("starts with {begin:?} on {} workers, with {} instances", shape.workers, shape.instances()));
        let mut hosts = self.hosts.borrow_mut();
        if hosts.iter().any(|other| other.alive) {
            self.count(Fault::Race);
        }
        hosts[host] = Host { alive: true, run: None };
        drop(hosts);
        self.spawn(host, WHOLE, host::process(self.clone(), host, shape, begin));
    }

    /// The process of a host has come to its end.
    pub fn exited(&self, host: HostId, exit: Exit) {
        self.tell(host, format_args!("ends: {exit:?}"));
        self.hosts.borrow_mut()[host] = Host::default();
        self.kill_host(host);
        self.exits.borrow_mut().push_back((host, exit));
    }

    /// A host loses its memory.
    pub fn crash(&self, host: HostId) {
        self.tell(host, "crashes");
        self.count(Fault::Crash);
        self.hosts.borrow_mut()[host] = Host::default();
        self.kill_host(host);
        self.exits.borrow_mut().push_back((host, Exit::Crashed));
    }

    /// A host stands still for so many milliseconds.
    pub fn freeze(&self, host: HostId, ms: u64) {
        if self.is_frozen(host) {
            return;
        }
        self.tell(host, format_args!("freezes for {ms} ms"));
        self.count(Fault::Freeze);
        self.still(host);
        let sim = self.clone();
        self.spawn(NETWORK, WHOLE, async move {
            sim.sleep(ms).await;
            if sim.is_frozen(host) {
                sim.tell(host, "thaws");
                sim.thaw(host);
            }
        });
    }

    /// A point of the protocol at which a fault is worth more than elsewhere. Others may go first here at any rate.
    pub async fn point(&self, host: HostId, point: Point) {
        let struck = self.drilled.get();
        let is_drilled =
            self.plan.drill.strikes_at(point, struck) && (self.plan.drill != Drill::Rename || self.oracle.borrow().has_savepoint());
        let strikes = if is_drilled { DRILL_STRIKES } else { self.plan.at_points };
        if !self.is_calm() && self.chance(strikes) {
            self.tell(host, format_args!("is struck at {point:?}"));
            self.drilled.set(struck + usize::from(is_drilled));
            if is_drilled && self.chance(900) {
                let ms = match (self.plan.drill, struck) {
                    // It is to wake up in the midst of the next run.
                    (Drill::Sinks, _) => self.between(300, 2_000),
                    // The next one often outlasts the first one.
                    (_, 0) => self.between(1_000, 6_000),
                    _ => self.between(2_000, 10_000),
                };
                self.freeze(host, ms);
            } else if self.chance(300) {
                self.crash(host);
            } else {
                let ms = self.between(100, if self.chance(500) { 6_000 } else { 800 });
                self.freeze(host, ms);
            }
        }
        self.sleep(0).await;
    }
}
