//! The engine: sources, operators and sinks as a Timely dataflow on N worker threads.
//!
//! Only this module names `timely`. It knows nothing of storage: what instances have to say at the end of an epoch goes out as an
//! [`EpochReport`]; what they begin with comes in as [`Restored`]. A run ends when its input does, when it is asked to
//! stop, or at the first failure. What an instance of an operator does, turn by turn, is [`reprise_core::operator`]; here is what it stands on.
//!
//! | file | what |
//! |---|---|
//! | `spec`, `assignment` | what all workers share; what one of them runs |
//! | `dataflow` | one worker's share, built from the plan |
//! | `source`, `sink` | one instance of each |
//! | `environment` | one instance of an operator: what its driver needs of the engine |
//! | `guest`, `instance_factory`, `standby` | Wasm instances: called, made, kept beside another one |
//! | `timestamp`, `stream_element` | timestamps: (epoch, step); what travels on an edge |
//! | `partitioner` | which instance gets which rows |
//! | `arrival` | what has arrived, handed to an instance |
//! | `in_flight` | bytes between operators: backpressure |
//! | `parked` | what waits for an operator that is paused or slow |
//! | `circuit_breaker`, `durations`, `event` | what instances share when calls fail; what they tell of it |
//! | `reproduction` | a crash dump made to fail again |
//! | `control`, `counters`, `failure`, `report` | what threads share; what they tell the job |
//! | `wait_group`, `wake`, `abort_on_panic` | the threads beside the workers |

mod abort_on_panic;
mod arrival;
mod assignment;
mod circuit_breaker;
mod control;
mod counters;
mod dataflow;
mod durations;
mod environment;
mod event;
mod failure;
mod guest;
mod in_flight;
mod instance_factory;
mod parked;
mod partitioner;
mod report;
mod reproduction;
mod sink;
mod source;
mod spec;
mod standby;
mod stream_element;
mod timestamp;
mod wait_group;
mod wake;

pub use assignment::WorkerAssignment;
pub use circuit_breaker::SharedCircuitBreaker;
pub use control::Control;
pub use counters::NodeCounters;
pub use durations::Durations;
pub use event::{OperatorEvent, OperatorEvents};
pub use failure::{CrashDumps, Failure};
pub use guest::{GuestCall, GuestDump};
pub use in_flight::InFlight;
pub use parked::{OperatorParked, ParkedReader, ParkedRequest, SEGMENTS_UNDER_WAY_MAX, SegmentUnderWay};
pub use report::{EpochContent, EpochReport, ReportLost, Reporter};
pub use reproduction::{Reproduced, reproduce};
pub use sink::SinkAssignment;
pub use source::{SourceAssignment, SourceLimits};
pub use spec::{DataflowSpec, OperatorSpec};
pub use stream_element::{Payload, StreamElement};
pub use timestamp::EPOCH_MAX;

use crate::wasm::{Call, InstanceIdentity};
use abort_on_panic::AbortOnPanic;
use dataflow::{Instances, REST_MAX, WasmOperator};
use environment::{WasmEnvironment, failure};
use in_flight::copies;
use instance_factory::WasmFactory;
use parked::{ParkingContext, SegmentTraffic};
use reprise_core::checkpoint::coordinator::{self, Participant};
use reprise_core::ids::Epoch;
use reprise_core::keying::of_worker;
use reprise_core::operator::{EdgeEnd, OperatorInstance, Restored};
use reprise_core::topology::{Edge, Exchange, Node};
use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;
use timely::dataflow::operators::probe;
use timely::worker::Worker;
use timestamp::Timestamp;

/// Most workers of one host.
pub const WORKERS_MAX: usize = 256;

/// Runs the dataflow to its end. One assignment a worker. Blocks; call it from a thread that may.
///
/// # Errors
/// The first failure of an operator, source or sink, or a fault of the host. A run that was aborted through
/// [`Control::abort`] without a failure ends without an error.
pub fn run(spec: DataflowSpec, assignments: Vec<WorkerAssignment>) -> Result<(), Failure> {
    let workers = assignments.len();
    if workers == 0 || workers > WORKERS_MAX {
        return Err(Failure::Limit(format!("{workers} workers were asked for; 1 to {WORKERS_MAX} are possible")));
    }
    let config = if workers == 1 { timely::Config::thread() } else { timely::Config::process(workers) };
    let control = Arc::clone(&spec.control);
    let assignments = Mutex::new(assignments.into_iter().map(Some).collect::<Vec<_>>());
    let shared = Arc::clone(&control);
    let workers = timely::execute(config, move |worker| {
        let _abort = AbortOnPanic(&shared, "a worker");
        let assignment = assignments.lock().unwrap_or_else(PoisonError::into_inner).get_mut(worker.index()).and_then(Option::take);
        if let Err(failure) = work(worker, &spec, assignment.unwrap_or_default()) {
            shared.fail(failure);
        }
    });
    let workers = workers.map_err(|error| {
        // Those that were started give up by themselves, since the others never answer; all else that waits must not.
        control.abort();
        Failure::no_thread("the threads of all workers", &error)
    })?;
    for result in workers.join() {
        if let Err(panic) = result {
            control.fail(Failure::Internal(format!("a worker gave up: {panic}")));
        }
    }
    let failure = control.take_failure();
    // The next run needs the room that their instances take. None follows a fault of the host, which may leave instances without an owner.
    if !matches!(failure, Some(Failure::Internal(_))) {
        control.threads.dismiss();
        let threads = control.threads.wait_disconnected(wait_group::DISCONNECT_WAIT_MAX);
        // After a good end all that they had to do is done.
        if threads > 0 && (failure.is_some() || control.aborted()) {
            tracing::warn!(threads, "threads that read or write have not ended; nothing that they do counts any more");
        }
    }
    failure.map_or(Ok(()), Err)
}

fn work(worker: &mut Worker, spec: &DataflowSpec, mut assignment: WorkerAssignment) -> Result<(), Failure> {
    let control = &spec.control;
    control.register();
    let operators = open(worker, spec, std::mem::take(&mut assignment.restored))?;
    let probe = probe::Handle::new();
    let instances = Instances { operators, assignment };
    let activators = worker.dataflow(|scope| dataflow::build(scope, spec, instances, &probe))?;
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
    frontier: Option<Timestamp>,
    nudges: u64,
    completed: Epoch,
    stopping: bool,
    all_ended: bool,
    full: bool,
    holds: u64,
}

impl Seen {
    fn look(probe: &probe::Handle<Timestamp>, control: &Control) -> Self {
        Self {
            frontier: probe.with_frontier(|frontier| frontier.first().copied()),
            nudges: control.nudges(),
            completed: control.completed(),
            stopping: control.stopping(),
            all_ended: control.all_ended(),
            full: control.is_full(),
            holds: control.holds(),
        }
    }
}

/// Opens this worker's instances of each operator and restores their state.
fn open(worker: &Worker, spec: &DataflowSpec, restored: Vec<Vec<Restored>>) -> Result<Vec<Vec<WasmOperator>>, Failure> {
    let (at, workers) = (worker.index() as u32, worker.peers() as u32);
    let count = |node| match node {
        Node::Operator(index) => spec.operators.get(index).map_or(workers, |operator| operator.settings.instances(workers)),
        Node::Source(_) | Node::Sink(_) => workers,
    };
    let senders = |edge: &Edge| match edge.exchange {
        Exchange::Stay => of_worker(at, count(edge.from), workers),
        Exchange::Key | Exchange::RoundRobin | Exchange::All => 0..count(edge.from),
    };
    let mut restored = restored.into_iter();
    let operators = spec.operators.iter().enumerate().map(|(index, operator)| {
        let node = Node::Operator(index);
        let copies = copies(&spec.plan, node, operator.description.outputs.len(), count);
        let mut restored = restored.next().unwrap_or_default().into_iter();
        let opened = of_worker(at, count(node), workers).zip(0..).map(|(instance, place)| {
            let edges = || spec.plan.edges_to(node, place);
            let identity = InstanceIdentity { job: operator.job.clone(), operator: operator.settings.name.clone(), instance, seed: 0 };
            let environment = WasmEnvironment {
                factory: WasmFactory {
                    spec: Arc::clone(operator),
                    identity,
                    parallelism: count(node),
                    open: Call { number: spec.first_epoch.0 << 32, now_ms: spec.clock.now_ms(), instant_ns: 0 },
                    control: Arc::clone(&spec.control),
                    has_standby: Arc::default(),
                },
                at: Participant { node: coordinator::Node::Operator(index), instance },
                place: index,
                control: Arc::clone(&spec.control),
                reporter: Arc::clone(&spec.reporter),
                clock: spec.clock.clone(),
                edges: edges().map(|edge| edge.from).collect(),
                in_flight: Arc::clone(&spec.in_flight),
                copies: copies.clone(),
                limits: spec.source_limits,
                parking: ParkingContext {
                    align_max: spec.align_max,
                    upstream: spec.plan.sources_of(node),
                    reader: Arc::clone(&spec.parked_reader),
                    traffic: SegmentTraffic::default(),
                    unparks: Cell::new(spec.control.operators_parked[index].unparks()),
                },
                wake: OnceLock::new(),
                origin: Instant::now(),
            };
            let end = |edge: &Edge| EdgeEnd { input: edge.input, senders: senders(edge), parked: spec.plan.parked_edge(edge) };
            let ends = edges().map(end).collect();
            let state = restored.next().unwrap_or(Restored { watermark: i64::MIN, ..Restored::default() });
            let state_bytes: i64 = state.chunks.iter().map(|held| held.chunk.size_bytes() as i64).sum();
            let opened = OperatorInstance::open(environment, ends, spec.first_epoch, state);
            let opened = opened.map_err(|error| failure(operator.settings.name.clone(), index, instance, spec.first_epoch, error))?;
            spec.control.operators[index].state_bytes.fetch_add(state_bytes, Ordering::Relaxed);
            Ok(opened)
        });
        opened.collect::<Result<Vec<_>, _>>()
    });
    operators.collect()
}
