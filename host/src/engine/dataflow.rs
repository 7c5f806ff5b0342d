//! Builds one worker's share of the dataflow from the plan.

use super::arrival::{Frontiers, Pull, take_in};
use super::assignment::WorkerAssignment;
use super::environment::WasmEnvironment;
use super::failure::Failure;
use super::partitioner::{Partitioner, Spread, for_each_part, partition};
use super::sink::{SinkAssignment, SinkInstance};
use super::source;
use super::spec::{DataflowSpec, OperatorSpec};
use super::stream_element::StreamElement;
use super::timestamp::{Timestamp, timestamp};
use reprise_core::batch::Batch;
use reprise_core::operator::{OperatorInstance, Outlet, Turn};
use reprise_core::topology::{Edge, Exchange, Node};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator as _;
use timely::dataflow::operators::generic::{OutputBuilder, OutputBuilderSession};
use timely::dataflow::operators::{Capability, Concatenate, Probe, probe};
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;

type Streams<'scope> = BTreeMap<(Node, u32), Stream<'scope, Timestamp, StreamElement>>;

/// An instance of an operator.
pub(super) type WasmOperator = OperatorInstance<WasmEnvironment>;

/// Longest rest of a worker without work, or of an instance that asked for a pause. A worker is woken earlier by what gives it work.
pub(super) const REST_MAX: Duration = Duration::from_millis(50);

/// The instances that a dataflow is built of.
pub(super) struct Instances {
    /// This worker's instances of each operator, in the order of the topology file.
    pub operators: Vec<Vec<WasmOperator>>,
    /// This worker's sources and sinks.
    pub assignment: WorkerAssignment,
}

/// Builds everything; returns activators of the sources.
pub(super) fn build<'scope>(
    scope: Scope<'scope, Timestamp>,
    spec: &DataflowSpec,
    mut instances: Instances,
    probe: &probe::Handle<Timestamp>,
) -> Result<Vec<Activator>, Failure> {
    let mut streams = Streams::new();
    let mut activators = Vec::new();
    let missing = |what: &str| Failure::Internal(format!("{what} of the plan has no instance on this worker"));
    for &node in &spec.plan.order {
        let inputs = || spec.plan.edges.iter().filter(move |edge| edge.to == node);
        match node {
            Node::Source(index) => {
                let at = instances.assignment.sources.iter().position(|source| source.index == index).ok_or_else(|| missing("a source"))?;
                let assigned = instances.assignment.sources.swap_remove(at);
                let limits = spec.source_limits;
                let (control, reporter) = (&spec.control, &spec.reporter);
                let (stream, activator) = source::build(scope, assigned, spec.first_epoch, limits, control, reporter, probe)?;
                streams.insert((node, 0), stream);
                activators.push(activator);
            }
            Node::Operator(index) => {
                let own = instances.operators.get_mut(index).map(std::mem::take).unwrap_or_default();
                if own.is_empty() {
                    return Err(missing("an operator"));
                }
                operator(scope, spec, (node, index), inputs(), own, &mut streams, probe)?;
            }
            Node::Sink(index) => {
                let at = instances.assignment.sinks.iter().position(|sink| sink.index == index).ok_or_else(|| missing("a sink"))?;
                let assigned = instances.assignment.sinks.swap_remove(at);
                sink(scope, spec, assigned, inputs(), &streams, probe)?;
            }
        }
    }
    Ok(activators)
}

/// What one instance gets of one edge.
struct Feed<'scope> {
    stream: Stream<'scope, Timestamp, StreamElement>,
    /// How it is still to be partitioned.
    spread: Option<Spread>,
}

/// What the instances of this worker get of an edge, with their places. `instances`: those of all workers.
fn feeds<'scope>(
    scope: Scope<'scope, Timestamp>,
    edge: &Edge,
    instances: u32,
    streams: &Streams<'scope>,
) -> Result<Vec<(usize, Feed<'scope>)>, Failure> {
    let peers = scope.peers() as u32;
    let stream = streams.get(&(edge.from, edge.port)).cloned();
    let stream =
        stream.ok_or_else(|| Failure::Internal(format!("the plan reads output {} of {:?} before it exists", edge.port, edge.from)))?;
    let (stream, spread) = match edge.exchange {
        Exchange::Stay => (stream, None),
        Exchange::Key => (stream, Some(Spread::Key)),
        Exchange::RoundRobin => (stream, Some(Spread::RoundRobin)),
        Exchange::All => (widen(stream, peers), Some(Spread::All)),
    };
    match (spread, edge.place) {
        (_, None) if instances <= peers => Ok(vec![(0, Feed { stream, spread })]),
        (Some(spread), None) => {
            let streams = partition(scope, stream, spread, instances);
            Ok(streams.into_iter().map(|stream| Feed { stream, spread: None }).enumerate().collect())
        }
        (None, Some(place)) => Ok(vec![(place as usize, Feed { stream, spread })]),
        _ => Err(Failure::Internal(format!("{edge:?} does not say for which of the {instances} instances its rows are"))),
    }
}

/// Connects a feed to a node under construction.
fn connect<'scope>(builder: &mut OperatorBuilder<'scope, Timestamp>, feed: Feed<'scope>) -> Pull {
    match feed.spread {
        None => pull(builder.new_input(feed.stream, Pipeline)),
        Some(spread) => {
            pull(builder.new_input(feed.stream, DistributorPact(move |workers| Partitioner::new(spread, workers as u32, workers))))
        }
    }
}

fn pull<P>(mut handle: timely::dataflow::operators::generic::InputHandleCore<Timestamp, StreamElement, P>) -> Pull
where
    P: timely::communication::Pull<timely::dataflow::channels::Message<Timestamp, StreamElement>> + 'static,
{
    Box::new(move |take| handle.for_each(|capability, element| take(&capability, element)))
}

/// Sets the copies of each element to the number of workers, for a broadcast.
fn widen(stream: Stream<'_, Timestamp, StreamElement>, peers: u32) -> Stream<'_, Timestamp, StreamElement> {
    stream.unary::<NoopBuilder<StreamElement>, _, _, _>(Pipeline, "widen", move |_, _| {
        move |input, output| {
            input.for_each(|capability, element| {
                element.copies = peers;
                output.session_with_builder(&capability).give_container(element);
            });
        }
    })
}

fn operator<'scope, 'a>(
    scope: Scope<'scope, Timestamp>,
    spec: &DataflowSpec,
    (node, index): (Node, usize),
    inputs: impl Iterator<Item = &'a Edge>,
    instances: Vec<WasmOperator>,
    streams: &mut Streams<'scope>,
    probe: &probe::Handle<Timestamp>,
) -> Result<(), Failure> {
    let shape = &spec.operators[index];
    let mut fed: Vec<Vec<Feed<'scope>>> = instances.iter().map(|_| Vec::new()).collect();
    for edge in inputs {
        for (place, feed) in feeds(scope, edge, shape.settings.instances(scope.peers() as u32), streams)? {
            let fed =
                fed.get_mut(place).ok_or_else(|| Failure::Internal(format!("{node:?} has no instance at place {place} of a worker")))?;
            fed.push(feed);
        }
    }
    let mut ports: Vec<Vec<Stream<'scope, Timestamp, StreamElement>>> = shape.description.outputs.iter().map(|_| Vec::new()).collect();
    for (instance, feeds) in instances.into_iter().zip(fed) {
        let outputs = place(scope, spec, shape, feeds, instance, probe);
        ports.iter_mut().zip(outputs).for_each(|(port, output)| port.push(output));
    }
    for (port, mut outputs) in (0..).zip(ports) {
        let stream = if outputs.len() == 1 { outputs.pop() } else { Some(scope.concatenate(outputs)) };
        streams.extend(stream.map(|stream| ((node, port), stream)));
    }
    Ok(())
}

/// Puts one instance of an operator into the dataflow. The streams of its outputs.
fn place<'scope>(
    scope: Scope<'scope, Timestamp>,
    spec: &DataflowSpec,
    operator: &OperatorSpec,
    feeds: Vec<Feed<'scope>>,
    mut instance: WasmOperator,
    probe: &probe::Handle<Timestamp>,
) -> Vec<Stream<'scope, Timestamp, StreamElement>> {
    let mut builder = OperatorBuilder::new(operator.settings.name.clone(), scope);
    let mut pulls: Vec<Pull> = feeds.into_iter().map(|feed| connect(&mut builder, feed)).collect();
    let (mut outputs, mut streams) = (Vec::new(), Vec::new());
    for _ in &operator.description.outputs {
        let (output, stream) = builder.new_output::<StreamElement>();
        outputs.push(OutputBuilder::<_, NoopBuilder<StreamElement>>::from(output));
        streams.push(stream);
    }
    // An operator without outputs is seen by the probe through an output on which nothing is ever sent.
    let _hidden = outputs.is_empty().then(|| {
        let (output, stream) = builder.new_output::<StreamElement>();
        stream.probe_with(probe);
        output
    });
    let activator = scope.worker().activator_for(builder.operator_info().address);
    let wake = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
    let (name, sender, workers) = (operator.settings.name.clone(), instance.environment().at.instance, scope.peers() as u32);
    // An error means that the worker is gone: nothing has to be woken.
    let _ = instance.environment().wake.set(Arc::new(move || _ = wake.activate()));
    let (control, first) = (Arc::clone(&spec.control), timestamp(spec.first_epoch, 0));
    builder.build_reschedule(move |capabilities| {
        if instance.has_parked() {
            instance.give_right(capabilities.iter().map(|capability| capability.delayed(&first)).collect());
        }
        move |frontiers| {
            let taken = take_in(&mut pulls, outputs.len().max(1), &name, &mut |epoch, delivery| instance.put(epoch, delivery));
            let mut sessions = Outputs { sessions: outputs.iter_mut().map(OutputBuilder::activate).collect(), sender, workers };
            let turn = taken.and_then(|()| {
                let turn = instance.turn(&Frontiers(frontiers), &mut sessions);
                turn.map_err(|failure| instance.environment().failure(instance.epoch(), failure))
            });
            match turn {
                Ok(Turn::Again) => activator.activate(),
                Ok(Turn::Later(pause)) => activator.activate_after(pause.min(REST_MAX)),
                Ok(Turn::Rest) => {}
                Err(failure) => control.fail(failure),
            }
            !instance.is_closed()
        }
    });
    streams
}

/// The outputs of an instance in a turn.
struct Outputs<'a> {
    sessions: Vec<OutputBuilderSession<'a, Timestamp, NoopBuilder<StreamElement>>>,
    /// The instance.
    sender: u32,
    workers: u32,
}

impl Outputs<'_> {
    fn send(&mut self, right: &[Capability<Timestamp>], port: usize, element: &mut StreamElement) {
        if let (Some(session), Some(capability)) = (self.sessions.get_mut(port), right.get(port)) {
            session.session_with_builder(capability).give_container(element);
        }
    }
}

impl Outlet<Vec<Capability<Timestamp>>> for Outputs<'_> {
    fn rows(&mut self, right: &Vec<Capability<Timestamp>>, port: u32, rows: Batch) {
        for_each_part(rows, &mut |part| self.send(right, port as usize, &mut StreamElement::rows(part)));
    }

    fn watermark(&mut self, right: &Vec<Capability<Timestamp>>, watermark: i64) {
        for port in 0..self.sessions.len() {
            self.send(right, port, &mut StreamElement::watermark(self.sender, watermark, self.workers));
        }
    }
}

fn sink<'scope, 'a>(
    scope: Scope<'scope, Timestamp>,
    spec: &DataflowSpec,
    assigned: SinkAssignment,
    inputs: impl Iterator<Item = &'a Edge>,
    streams: &Streams<'scope>,
    probe: &probe::Handle<Timestamp>,
) -> Result<(), Failure> {
    let mut builder = OperatorBuilder::new(assigned.name.clone(), scope);
    let (mut pulls, mut edges) = (Vec::new(), Vec::new());
    for edge in inputs {
        edges.push(edge.from);
        let feeds = feeds(scope, edge, scope.peers() as u32, streams)?;
        pulls.extend(feeds.into_iter().map(|(_, feed)| connect(&mut builder, feed)));
    }
    // Nothing is ever sent on this output: its capabilities show the probe how far the sink is.
    let (_output, stream) = builder.new_output::<StreamElement>();
    stream.probe_with(probe);
    let worker = scope.worker();
    let wake = worker.sync_activator_for(builder.operator_info().address.to_vec());
    let (control, reporter) = (Arc::clone(&spec.control), Arc::clone(&spec.reporter));
    let in_flight = Arc::clone(&spec.in_flight);
    let (index, first) = (worker.index() as u32, spec.first_epoch);
    let mut instance = SinkInstance::open(assigned, index, first, control, reporter, (edges, in_flight), wake)?;
    let (control, name) = (Arc::clone(&spec.control), instance.name().to_owned());
    builder.build_reschedule(move |_| {
        move |frontiers| {
            let taken = take_in(&mut pulls, 1, &name, &mut |epoch, delivery| instance.put(epoch, delivery));
            if let Err(failure) = taken.and_then(|()| instance.work(&Frontiers(frontiers))) {
                control.fail(failure);
            }
            !instance.closed()
        }
    });
    Ok(())
}
