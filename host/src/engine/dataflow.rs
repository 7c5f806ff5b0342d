//! Builds one worker's share of the dataflow from the plan.

use super::control::Failure;
use super::distribute::{Divider, Spread};
use super::frame::Frame;
use super::inbox::Inbox;
use super::moment::Moment;
use super::operator::{OperatorInstance, Send, Turn};
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
use timely::dataflow::operators::{InputCapability, Probe, probe};
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;

/// Hands every frame that has arrived on one edge to the closure.
type Pull = Box<dyn FnMut(&mut dyn FnMut(&InputCapability<Moment>, &mut Frame))>;
type Streams<'scope> = BTreeMap<(Node, u32), Stream<'scope, Moment, Frame>>;

/// The state that a dataflow is built with.
pub(super) struct Parts {
    /// This worker's instances of the operators, in the order of the topology file.
    pub operators: Vec<Option<OperatorInstance>>,
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
                let instance = parts.operators.get_mut(index).and_then(Option::take).ok_or_else(|| missing("an operator"))?;
                operator(scope, blueprint, (node, index), inputs(), instance, &mut streams, probe)?;
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

/// Connects one edge to a node under construction.
fn connect<'scope>(
    builder: &mut OperatorBuilder<'scope, Moment>,
    scope: &Scope<'scope, Moment>,
    edge: &Edge,
    streams: &Streams<'scope>,
) -> Result<Pull, Failure> {
    let stream = streams.get(&(edge.from, edge.port)).cloned();
    let stream =
        stream.ok_or_else(|| Failure::Internal(format!("the plan reads output {} of {:?} before it exists", edge.port, edge.from)))?;
    let spread = |spread| DistributorPact(move |peers| Divider::new(spread, peers));
    Ok(match edge.exchange {
        Exchange::Stay => pull(builder.new_input(stream, Pipeline)),
        Exchange::Key => pull(builder.new_input(stream, spread(Spread::Key))),
        Exchange::RoundRobin => pull(builder.new_input(stream, spread(Spread::RoundRobin))),
        Exchange::All => pull(builder.new_input(widen(stream, scope.peers() as u32), spread(Spread::All))),
    })
}

fn pull<P>(mut handle: timely::dataflow::operators::generic::InputHandleCore<Moment, Frame, P>) -> Pull
where
    P: timely::communication::Pull<timely::dataflow::channels::Message<Moment, Frame>> + 'static,
{
    Box::new(move |take| handle.for_each(|capability, frame| take(&capability, frame)))
}

/// Sets the copies of each frame to the number of instances, for a broadcast.
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
    mut instance: OperatorInstance,
    streams: &mut Streams<'scope>,
    probe: &probe::Handle<Moment>,
) -> Result<(), Failure> {
    let shape = &blueprint.operators[index];
    let mut builder = OperatorBuilder::new(shape.settings.name.clone(), scope);
    let mut pulls = Vec::new();
    for edge in inputs {
        pulls.push(connect(&mut builder, &scope, edge, streams)?);
    }
    let mut outputs = Vec::new();
    for port in 0..shape.description.outputs.len() {
        let (output, stream) = builder.new_output::<Frame>();
        outputs.push(OutputBuilder::<_, NoopBuilder<Frame>>::from(output));
        streams.insert((node, port as u32), stream);
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
    Ok(())
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
    let mut pulls = Vec::new();
    for edge in inputs {
        pulls.push(connect(&mut builder, &scope, edge, streams)?);
    }
    // Nothing is ever sent on this output: its capabilities show the probe how far the sink is.
    let (_output, stream) = builder.new_output::<Frame>();
    stream.probe_with(probe);
    let worker = scope.worker();
    let wake = worker.sync_activator_for(builder.operator_info().address.to_vec());
    let (control, reporter) = (Arc::clone(&blueprint.control), Arc::clone(&blueprint.reporter));
    let mut instance = SinkInstance::open(seat, worker.index() as u32, blueprint.first_epoch, control, reporter, wake)?;
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
