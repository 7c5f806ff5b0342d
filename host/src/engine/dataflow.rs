//! Builds one worker's share of the dataflow from the plan.

use super::control::Failure;
use super::distribute::{Divider, Spread, divide};
use super::frame::Frame;
use super::inbox::Inbox;
use super::moment::Moment;
use super::operator::{OperatorBlueprint, OperatorInstance, Send, Turn};
use super::sink::SinkInstance;
use super::source;
use super::{Blueprint, REST_MAX, Seat};
use reprise_core::topology::{Edge, Exchange, Node};
use std::collections::BTreeMap;
use std::sync::Arc;
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator as _;
use timely::dataflow::operators::{Concatenate, InputCapability, Probe, probe};
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;

/// Hands every frame that has arrived on one edge to the closure.
type Pull = Box<dyn FnMut(&mut dyn FnMut(&InputCapability<Moment>, &mut Frame))>;
type Streams<'scope> = BTreeMap<(Node, u32), Stream<'scope, Moment, Frame>>;

/// The state that a dataflow is built with.
pub(super) struct Parts {
    /// This worker's instances of each operator, in the order of the topology file.
    pub operators: Vec<Vec<OperatorInstance>>,
    /// This worker's sources and sinks.
    pub seat: Seat,
}

/// Builds everything; returns activators of the sources.
pub(super) fn build<'scope>(
    scope: Scope<'scope, Moment>,
    blueprint: &Blueprint,
    mut parts: Parts,
    probe: &probe::Handle<Moment>,
) -> Result<Vec<Activator>, Failure> {
    let mut streams = Streams::new();
    let mut activators = Vec::new();
    let missing = |what: &str| Failure::Internal(format!("{what} of the plan has no instance on this worker"));
    for &node in &blueprint.plan.order {
        let inputs = || blueprint.plan.edges.iter().filter(move |edge| edge.to == node);
        match node {
            Node::Source(index) => {
                let at = parts.seat.sources.iter().position(|seat| seat.index == index).ok_or_else(|| missing("a source"))?;
                let seat = parts.seat.sources.swap_remove(at);
                let limits = blueprint.source_limits;
                let (control, reporter) = (&blueprint.control, &blueprint.reporter);
                let (stream, activator) = source::build(scope, seat, blueprint.first_epoch, limits, control, reporter, probe)?;
                streams.insert((node, 0), stream);
                activators.push(activator);
            }
            Node::Operator(index) => {
                let instances = parts.operators.get_mut(index).map(std::mem::take).unwrap_or_default();
                if instances.is_empty() {
                    return Err(missing("an operator"));
                }
                operator(scope, blueprint, (node, index), inputs(), instances, &mut streams, probe)?;
            }
            Node::Sink(index) => {
                let at = parts.seat.sinks.iter().position(|seat| seat.index == index).ok_or_else(|| missing("a sink"))?;
                let seat = parts.seat.sinks.swap_remove(at);
                sink(scope, blueprint, seat, inputs(), &streams, probe)?;
            }
        }
    }
    Ok(activators)
}

/// What one instance gets of one edge.
struct Feed<'scope> {
    stream: Stream<'scope, Moment, Frame>,
    /// How it is still to be divided among workers.
    spread: Option<Spread>,
}

/// What the instances of this worker get of an edge, with their places. `instances`: those of all workers.
fn feeds<'scope>(
    scope: Scope<'scope, Moment>,
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
            let streams = divide(scope, stream, spread, instances);
            Ok(streams.into_iter().map(|stream| Feed { stream, spread: None }).enumerate().collect())
        }
        (None, Some(place)) => Ok(vec![(place as usize, Feed { stream, spread })]),
        _ => Err(Failure::Internal(format!("{edge:?} does not say for which of the {instances} instances its rows are"))),
    }
}

/// Connects a feed to a node under construction.
fn connect<'scope>(builder: &mut OperatorBuilder<'scope, Moment>, feed: Feed<'scope>) -> Pull {
    match feed.spread {
        None => pull(builder.new_input(feed.stream, Pipeline)),
        Some(spread) => pull(builder.new_input(feed.stream, DistributorPact(move |peers| Divider::new(spread, peers)))),
    }
}

fn pull<P>(mut handle: timely::dataflow::operators::generic::InputHandleCore<Moment, Frame, P>) -> Pull
where
    P: timely::communication::Pull<timely::dataflow::channels::Message<Moment, Frame>> + 'static,
{
    Box::new(move |take| handle.for_each(|capability, frame| take(&capability, frame)))
}

/// Sets the copies of each frame to the number of workers, for a broadcast.
fn widen(stream: Stream<'_, Moment, Frame>, peers: u32) -> Stream<'_, Moment, Frame> {
    stream.unary::<NoopBuilder<Frame>, _, _, _>(Pipeline, "widen", move |_, _| {
        move |input, output| {
            input.for_each(|capability, frame| {
                frame.copies = peers;
                output.session_with_builder(&capability).give_container(frame);
            });
        }
    })
}

fn take_in(inbox: &mut Inbox, pulls: &mut [Pull]) {
    for (edge, pull) in pulls.iter_mut().enumerate() {
        pull(&mut |capability, frame| inbox.put(edge, capability, frame));
    }
}

fn operator<'scope, 'a>(
    scope: Scope<'scope, Moment>,
    blueprint: &Blueprint,
    (node, index): (Node, usize),
    inputs: impl Iterator<Item = &'a Edge>,
    instances: Vec<OperatorInstance>,
    streams: &mut Streams<'scope>,
    probe: &probe::Handle<Moment>,
) -> Result<(), Failure> {
    let shape = &blueprint.operators[index];
    let mut fed: Vec<Vec<Feed<'scope>>> = instances.iter().map(|_| Vec::new()).collect();
    for edge in inputs {
        for (place, feed) in feeds(scope, edge, shape.settings.instances(scope.peers() as u32), streams)? {
            let fed =
                fed.get_mut(place).ok_or_else(|| Failure::Internal(format!("{node:?} has no instance at place {place} of a worker")))?;
            fed.push(feed);
        }
    }
    let mut ports: Vec<Vec<Stream<'scope, Moment, Frame>>> = shape.description.outputs.iter().map(|_| Vec::new()).collect();
    for (instance, feeds) in instances.into_iter().zip(fed) {
        let outputs = place(scope, blueprint, shape, feeds, instance, probe);
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
    scope: Scope<'scope, Moment>,
    blueprint: &Blueprint,
    shape: &OperatorBlueprint,
    feeds: Vec<Feed<'scope>>,
    mut instance: OperatorInstance,
    probe: &probe::Handle<Moment>,
) -> Vec<Stream<'scope, Moment, Frame>> {
    let mut builder = OperatorBuilder::new(shape.settings.name.clone(), scope);
    let mut pulls: Vec<Pull> = feeds.into_iter().map(|feed| connect(&mut builder, feed)).collect();
    let (mut outputs, mut streams) = (Vec::new(), Vec::new());
    for _ in &shape.description.outputs {
        let (output, stream) = builder.new_output::<Frame>();
        outputs.push(OutputBuilder::<_, NoopBuilder<Frame>>::from(output));
        streams.push(stream);
    }
    // An operator whose output nobody can read is seen by the probe through an output on which nothing is ever sent.
    let _hidden = outputs.is_empty().then(|| {
        let (output, stream) = builder.new_output::<Frame>();
        stream.probe_with(probe);
        output
    });
    let activator = scope.worker().activator_for(builder.operator_info().address);
    let wake = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
    // An error means that the worker is gone: nobody has to be woken.
    instance.wake_by(Arc::new(move || _ = wake.activate()));
    let control = Arc::clone(&blueprint.control);
    builder.build_reschedule(move |_| {
        move |frontiers| {
            take_in(&mut instance.inbox, &mut pulls);
            let mut sessions: Vec<_> = outputs.iter_mut().map(OutputBuilder::activate).collect();
            let send: &mut Send<'_> = &mut |capabilities, port, frame| {
                sessions[port].session_with_builder(&capabilities[port]).give_container(frame);
            };
            match instance.work(frontiers, send) {
                Ok(Turn::Again) => activator.activate(),
                Ok(Turn::Later(pause)) => activator.activate_after(pause.min(REST_MAX)),
                Ok(Turn::Rest) => {}
                Err(failure) => control.fail(failure),
            }
            !instance.closed()
        }
    });
    streams
}

fn sink<'scope, 'a>(
    scope: Scope<'scope, Moment>,
    blueprint: &Blueprint,
    seat: super::SinkSeat,
    inputs: impl Iterator<Item = &'a Edge>,
    streams: &Streams<'scope>,
    probe: &probe::Handle<Moment>,
) -> Result<(), Failure> {
    let mut builder = OperatorBuilder::new(seat.name.clone(), scope);
    let (mut pulls, mut edges) = (Vec::new(), Vec::new());
    for edge in inputs {
        edges.push(edge.from);
        let feeds = feeds(scope, edge, scope.peers() as u32, streams)?;
        pulls.extend(feeds.into_iter().map(|(_, feed)| connect(&mut builder, feed)));
    }
    // Nothing is ever sent on this output: its capabilities show the probe how far the sink is.
    let (_output, stream) = builder.new_output::<Frame>();
    stream.probe_with(probe);
    let worker = scope.worker();
    let wake = worker.sync_activator_for(builder.operator_info().address.to_vec());
    let (control, reporter) = (Arc::clone(&blueprint.control), Arc::clone(&blueprint.reporter));
    let accounts = Arc::clone(&blueprint.accounts);
    let mut instance = SinkInstance::open(seat, worker.index() as u32, blueprint.first_epoch, control, reporter, (edges, accounts), wake)?;
    let control = Arc::clone(&blueprint.control);
    builder.build_reschedule(move |_| {
        move |frontiers| {
            take_in(&mut instance.inbox, &mut pulls);
            if let Err(failure) = instance.work(frontiers) {
                control.fail(failure);
            }
            !instance.closed()
        }
    });
    Ok(())
}
