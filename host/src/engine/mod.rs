//! The engine: sources, operators and sinks as a Timely dataflow on N worker threads.
//!
//! Only this module names `timely`. It knows nothing of storage: what instances have to say at the end of an epoch goes out as an
//! [`EpochReport`]; what they begin with comes in as [`Restored`]. A run ends when its input does, when it is asked to
//! stop, or at the first failure.
//!
//! | file | what |
//! |---|---|
//! | `moment` | timestamps: (epoch, step) |
//! | `frame` | what travels on an edge |
//! | `distribute` | which instance gets which rows |
//! | `account` | how much is under way between operators |
//! | `inbox` | what has arrived, epoch by epoch |
//! | `source`, `operator`, `sink` | one instance of each |
//! | `snapshots` | when an operator's state is read, and where it goes |
//! | `heal`, `revive` | what becomes of an operator's instance that fails; its successor |
//! | `trial` | whether a row is to blame for a failure, or the instance |
//! | `image`, `replay` | what a successor is made of: the last snapshot, the calls since |
//! | `rest` | the rows of a unit of work that are not done yet |
//! | `returned` | digests of what a call returned, to compare its repetition with |
//! | `capsule` | a failed call with what led to it |
//! | `guard`, `event` | what instances share when things go wrong; what they tell of it |
//! | `dataflow` | one worker's share, built from the plan |
//! | `control`, `report` | what threads share; what they tell the job |
//! | `crew` | the threads beside the workers, counted |

mod account;
mod capsule;
mod control;
mod crew;
mod dataflow;
mod distribute;
mod event;
mod frame;
mod guard;
mod heal;
mod image;
mod inbox;
mod moment;
mod operator;
mod replay;
mod report;
mod rest;
mod returned;
mod revive;
mod sink;
mod snapshots;
mod source;
mod trial;

pub use account::Accounts;
pub use capsule::{Attempt, Case, Evidence, Failing, reproduce};
use control::Alarm;
pub use control::{Control, Failure, NodeCounters};
pub use event::{Event, Events};
pub use frame::{Frame, Load};
pub use guard::{Durations, Guard};
pub use image::Versioned;
pub use moment::EPOCH_MAX;
use moment::Moment;
pub use operator::{OperatorBlueprint, Restored};
pub use replay::{Entry, Input};
pub use report::{EpochContent, EpochReport, Faulted, ReportLost, Reporter};
pub use returned::Returned;
pub use sink::SinkSeat;
pub use source::{SourceLimits, SourceSeat};

use crate::clock::Clock;
use account::{Outlet, copies};
use dataflow::Parts;
use operator::{OperatorInstance, Place};
use reprise_core::ids::Epoch;
use reprise_core::keying::of_worker;
use reprise_core::topology::{Edge, Exchange, Node, Plan};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use timely::dataflow::operators::probe;
use timely::worker::Worker;

/// Longest rest of a worker without work. It is woken earlier by whatever gives it work.
const REST_MAX: Duration = Duration::from_millis(50);
/// Most workers of one host.
pub const WORKERS_MAX: usize = 256;

/// What all workers of a run share.
pub struct Blueprint {
    /// The dataflow.
    pub plan: Plan,
    /// The first epoch of this run.
    pub first_epoch: Epoch,
    /// The operators, in the order of the topology file.
    pub operators: Vec<Arc<OperatorBlueprint>>,
    /// Limits of the sources.
    pub source_limits: SourceLimits,
    /// What is under way between operators.
    pub accounts: Arc<Accounts>,
    /// Switches and counters.
    pub control: Arc<Control>,
    /// Takes the reports.
    pub reporter: Reporter,
    /// Processing time.
    pub clock: Clock,
}

/// What one worker brings along.
#[derive(Default)]
pub struct Seat {
    /// Its source instances.
    pub sources: Vec<SourceSeat>,
    /// Its sink instances.
    pub sinks: Vec<SinkSeat>,
    /// State of its instances of each operator, in the order of the topology file.
    pub restored: Vec<Vec<Restored>>,
}

/// Runs the dataflow to its end. One seat a worker. Blocks; call it from a thread that may.
///
/// # Errors
/// The first failure of an operator, source or sink, or a fault of the host. A run that was aborted through
/// [`Control::abort`] without a failure ends without an error.
pub fn run(blueprint: Blueprint, seats: Vec<Seat>) -> Result<(), Failure> {
    let workers = seats.len();
    if workers == 0 || workers > WORKERS_MAX {
        return Err(Failure::Limit(format!("{workers} workers were asked for; 1 to {WORKERS_MAX} are possible")));
    }
    let config = if workers == 1 { timely::Config::thread() } else { timely::Config::process(workers) };
    let control = Arc::clone(&blueprint.control);
    let seats = Mutex::new(seats.into_iter().map(Some).collect::<Vec<_>>());
    let shared = Arc::clone(&control);
    let guards = timely::execute(config, move |worker| {
        let _alarm = Alarm(&shared, "a worker");
        let seat = seats.lock().unwrap_or_else(PoisonError::into_inner).get_mut(worker.index()).and_then(Option::take);
        if let Err(failure) = work(worker, &blueprint, seat.unwrap_or_default()) {
            shared.fail(failure);
        }
    });
    let guards = guards.map_err(|error| {
        // Those that were started give up by themselves, since the others never answer; whoever else waits must not.
        control.abort();
        Failure::no_thread("the threads of all workers", &error)
    })?;
    for result in guards.join() {
        if let Err(panic) = result {
            control.fail(Failure::Internal(format!("a worker gave up: {panic}")));
        }
    }
    let failure = control.take_failure();
    // The next run needs the room that their instances take. None follows a fault of the host, which may leave instances to nobody.
    if !matches!(failure, Some(Failure::Internal(_))) {
        control.crew.dismiss();
        let threads = control.crew.rest(crew::REST_WAIT_MAX);
        // After a good end all that they had to do is done.
        if threads > 0 && (failure.is_some() || control.aborted()) {
            tracing::warn!(threads, "threads that read or write have not ended; nothing that they do counts any more");
        }
    }
    failure.map_or(Ok(()), Err)
}

fn work(worker: &mut Worker, blueprint: &Blueprint, mut seat: Seat) -> Result<(), Failure> {
    let control = &blueprint.control;
    control.register();
    let operators = open(worker, blueprint, std::mem::take(&mut seat.restored))?;
    let probe = probe::Handle::new();
    let parts = Parts { operators, seat };
    let activators = worker.dataflow(|scope| dataflow::build(scope, blueprint, parts, &probe))?;
    let mut seen = Seen::default();
    while worker.has_dataflows() && !control.aborted() {
        worker.step_or_park(Some(REST_MAX));
        // Sources wait for things that do not activate them: room in the dataflow, each other, and the word to stop.
        let now = Seen::look(&probe, control);
        if now != seen {
            seen = now;
            activators.iter().for_each(timely::scheduling::Activator::activate);
        }
    }
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
    Ok(())
}

/// What sources wait for: where any of it has changed, they are activated.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    frontier: Option<Moment>,
    nudges: u64,
    completed: Epoch,
    stopping: bool,
    all_ended: bool,
    full: bool,
}

impl Seen {
    fn look(probe: &probe::Handle<Moment>, control: &Control) -> Self {
        Self {
            frontier: probe.with_frontier(|frontier| frontier.first().copied()),
            nudges: control.nudges(),
            completed: control.completed(),
            stopping: control.stopping(),
            all_ended: control.all_ended(),
            full: control.is_full(),
        }
    }
}

/// Opens this worker's instances of each operator and restores their state.
fn open(worker: &Worker, blueprint: &Blueprint, restored: Vec<Vec<Restored>>) -> Result<Vec<Vec<OperatorInstance>>, Failure> {
    let (at, workers) = (worker.index() as u32, worker.peers() as u32);
    let count = |node| match node {
        Node::Operator(index) => blueprint.operators.get(index).map_or(workers, |shape| shape.settings.instances(workers)),
        Node::Source(_) | Node::Sink(_) => workers,
    };
    let senders = |edge: &Edge| match edge.exchange {
        Exchange::Stay => of_worker(at, count(edge.from), workers).len(),
        Exchange::Key | Exchange::RoundRobin | Exchange::All => count(edge.from) as usize,
    };
    let mut restored = restored.into_iter();
    let operators = blueprint.operators.iter().enumerate().map(|(index, shape)| {
        let edges = |place| {
            let to_it = move |edge: &&Edge| edge.to == Node::Operator(index) && edge.place.is_none_or(|of| of == place);
            blueprint.plan.edges.iter().filter(to_it).map(|edge| (*edge, senders(edge))).collect()
        };
        let copies = copies(&blueprint.plan, Node::Operator(index), shape.description.outputs.len(), count);
        let outlet = Outlet::new(Arc::clone(&blueprint.accounts), copies);
        let mut restored = restored.next().unwrap_or_default().into_iter();
        let instances = count(Node::Operator(index));
        let opened = of_worker(at, instances, workers).zip(0..).map(|(instance, place)| {
            let place = Place { index, instance, instances, workers, edges: edges(place), outlet: outlet.clone() };
            let state = restored.next().unwrap_or(Restored { watermark: i64::MIN, ..Restored::default() });
            let (control, reporter) = (Arc::clone(&blueprint.control), Arc::clone(&blueprint.reporter));
            OperatorInstance::open(Arc::clone(shape), place, blueprint.first_epoch, state, control, reporter, blueprint.clock.clone())
        });
        opened.collect()
    });
    operators.collect()
}
