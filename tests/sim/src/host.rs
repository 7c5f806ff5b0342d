//! The process of a host: it takes the job up, runs it, and takes it up again inside the process when an operator has failed for good.

use crate::client::Client;
use crate::clockwork::HostId;
use crate::committer::{self, RunEnd};
use crate::flow::{self, Flow};
use crate::mutation::Mutation;
use crate::outbox::SinkFault;
use crate::plan::Fault;
use crate::run::Run;
use crate::shape::Shape;
use crate::sweep::savepoints;
use crate::take_up::{self, Begin, NotTaken, Taken, layout, positions};
use crate::world::Sim;
use reprise_core::checkpoint::committer::Committer;
use reprise_core::checkpoint::fenced_committer::CommitterError;
use reprise_core::checkpoint::recovery::RecoveryRefusal;
use reprise_core::checkpoint::retention::Retention;
use reprise_core::ids::Generation;

/// How a process ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// The job is finished, by this run or an earlier one.
    Finished,
    /// It was asked to stop.
    Stopped,
    /// Another host has the job.
    Fenced,
    /// No checkpoint can be used.
    NoCheckpoint,
    /// The savepoint cannot be used, or others were faster too often.
    Refused,
    /// A sink gave up.
    Sink,
    /// An object of its own is not what it wrote.
    Damaged,
    /// It lost its memory.
    Crashed,
}

/// The process of a host, from its start to its end.
pub async fn process(sim: Sim, host: HostId, shape: Shape, begin: Begin) {
    let exit = work(&sim, host, shape, begin).await;
    sim.pause(0, 5).await;
    sim.exited(host, exit);
}

/// A sink gave up beside the driver of the committer: the process ends.
pub fn sink_failed(sim: &Sim, host: HostId, generation: Generation, fault: SinkFault) {
    check_sink(sim, host, generation, &fault);
    sim.exited(host, Exit::Sink);
}

/// Something is at a path that nobody else may write. The process ends.
pub fn object_exists(sim: &Sim, host: HostId, path: &str) {
    if !sim.store.borrow().damaged.contains(path) {
        sim.fail(format!("{path} exists already, though its name is this run's alone"));
    }
    sim.exited(host, Exit::Damaged);
}

/// A sink may give up only where another host has taken the job, and its output, away.
fn check_sink(sim: &Sim, host: HostId, generation: Generation, fault: &SinkFault) {
    sim.tell(host, format_args!("its sink gives up: {fault:?}"));
    if sim.oracle.borrow().newest_claim() == generation {
        sim.fail(format!("host {host} has the job, and its output cannot be published: {fault:?}"));
    }
}

async fn work(sim: &Sim, host: HostId, shape: Shape, mut begin: Begin) -> Exit {
    let mut before: Option<Generation> = None;
    let mut reached: Option<Vec<u32>> = None;
    loop {
        let taken = match take_up::take_up(sim, host, shape, &begin, before).await {
            Ok(taken) => taken,
            Err(NotTaken::Refused(RecoveryRefusal::Fenced { .. })) => {
                sim.count(Fault::Fenced);
                return Exit::Fenced;
            }
            Err(NotTaken::Refused(RecoveryRefusal::NoCheckpoint(reasons))) => {
                sim.tell(host, format_args!("finds no checkpoint: {reasons:?}"));
                return if begin == Begin::Newest { Exit::NoCheckpoint } else { Exit::Refused };
            }
            Err(NotTaken::Refused(RecoveryRefusal::Lost | RecoveryRefusal::Exhausted)) => return Exit::Refused,
            Err(NotTaken::Refused(RecoveryRefusal::Broken(broken))) => {
                sim.fail(broken.to_string());
                return Exit::Refused;
            }
            Err(NotTaken::Savepoint(reason)) => {
                sim.tell(host, format_args!("cannot use the savepoint: {reason}"));
                return Exit::Refused;
            }
            Err(NotTaken::Sink(generation, fault)) => {
                check_sink(sim, host, generation, &fault);
                return Exit::Sink;
            }
        };
        // The run goes on from here, however it ends.
        match std::mem::replace(&mut begin, Begin::Newest) {
            Begin::Newest => {}
            Begin::Epoch(_) => sim.count(Fault::RewindToEpoch),
            Begin::Savepoint(_) => sim.count(Fault::RewindToSavepoint),
        }
        let generation = taken.up.generation;
        let Some(end) = run(sim, host, shape, taken, &mut reached).await else { return Exit::Finished };
        match end {
            RunEnd::Done(true) => return Exit::Finished,
            RunEnd::Done(false) => return Exit::Stopped,
            RunEnd::Ended(CommitterError::Fenced { .. }) => {
                sim.count(Fault::Fenced);
                return Exit::Fenced;
            }
            RunEnd::Ended(CommitterError::Overtaken { .. }) => return Exit::Fenced,
            RunEnd::Ended(error @ (CommitterError::Violation(_) | CommitterError::Broken(_))) => {
                sim.fail(error.to_string());
                return Exit::Refused;
            }
            RunEnd::Sink(fault) => {
                check_sink(sim, host, generation, &fault);
                return Exit::Sink;
            }
            RunEnd::Failed => before = Some(generation),
        }
        sim.pause(10, 200).await;
    }
}

/// Runs what was taken up; `None` where there is nothing left to run.
async fn run(sim: &Sim, host: HostId, shape: Shape, taken: Taken, reached: &mut Option<Vec<u32>>) -> Option<RunEnd> {
    let Taken { up, writer, states } = taken;
    let base = up.taken.clone()?;
    let first = base.epoch.next();
    let mut at = positions(sim, Some(&base));
    if let Some(reached) = reached.take().filter(|_| sim.is_broken(Mutation::SourcesNotSetBack)) {
        at = reached;
    }
    let layout = layout(sim, shape, up.generation, writer, &at);
    let retention = Retention::of_run(&up, &savepoints(&Client::new(sim, host)).await);
    let run = Run::begin(sim, host, shape, &layout, Flow::new(shape, first, at));
    sim.hosts.borrow_mut()[host].run = Some(std::rc::Rc::clone(&run));
    let mut committer = Committer::new(layout, &base, retention, sim.plan.keep);
    if let Some(Mutation::Committer(mutation)) = sim.plan.mutation {
        committer.plant(mutation);
    }
    flow::start(sim, &run, first, states);
    let end = committer::commit(sim, &run, committer).await;
    *reached = Some(run.flow.borrow().positions.clone());
    sim.hosts.borrow_mut()[host].run = None;
    sim.kill_scope(run.engine);
    Some(end)
}
