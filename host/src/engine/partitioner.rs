//! The partitioner: which instance downstream gets which rows.
//!
//! By key: each row goes to the owner of its key group. Round robin: whole batches in turn. Broadcast and watermarks: one element of many
//! copies becomes one for each worker. Rows and watermarks of one sender reach each receiver in the order in which they were sent.
//!
//! ```text
//!  one instance a worker:  ──[Partitioner]──> instance
//!  several:                ──[Partitioner]──> [demux] ──> instance        elements say to which instance of the worker they go
//!                                                └──────> instance
//! ```
//! Where there is one worker, the demux asks the partitioner itself.

use super::stream_element::{Payload, StreamElement};
use super::timestamp::Timestamp;
use reprise_core::batch::Batch;
use reprise_core::keying;
use reprise_core::operator::{BYTES_TOGETHER, ROWS_TOGETHER};
use timely::communication::Push;
use timely::container::NoopBuilder;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::progress::Stamp;
use timely::progress::operate::FrontierInterest;

/// How rows are spread. Rows of an edge that stays on its worker never get here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// To the owner of the row's key group.
    Key,
    /// Batch by batch in turn.
    RoundRobin,
    /// Every row to every instance; the element comes with as many copies.
    All,
}

/// Rows that are sent as they are, in bytes; more are cut into parts of [`BYTES_TOGETHER`], so that those who get them can take them bit by bit.
const BYTES_UNCUT: usize = 4 * BYTES_TOGETHER;

/// Hands rows on in parts.
pub(super) fn for_each_part(rows: Batch, hand_on: &mut impl FnMut(Batch)) {
    let (count, bytes) = (rows.len(), rows.size_bytes());
    if bytes <= BYTES_UNCUT {
        return hand_on(rows);
    }
    let each = (count * BYTES_TOGETHER / bytes).max(1);
    (0..count).step_by(each).for_each(|from| hand_on(rows.slice(from..(from + each).min(count))));
}

/// Rows by the instance that owns their key, until there are enough of them. `out` takes the instance and its rows.
#[derive(Debug)]
struct PartitionBuffers {
    owners: [u32; keying::KEY_GROUPS as usize],
    waiting: Vec<Batch>,
}

impl PartitionBuffers {
    fn new(instances: usize) -> Self {
        Self { owners: keying::owners(instances as u32), waiting: vec![Batch::new(); instances] }
    }

    fn add(&mut self, batch: &Batch, out: &mut impl FnMut(usize, Batch)) {
        for row in batch.rows() {
            let to = self.owners[keying::group(row.key).0 as usize] as usize;
            let waiting = &mut self.waiting[to];
            if waiting.push(row).is_err() {
                // The column is full at 4 GiB: far beyond what is kept together, so an empty one always has room.
                give(waiting, to, out);
                waiting.push(row).expect("a row that was in a batch fits into an empty batch");
            }
            if waiting.len() >= ROWS_TOGETHER || waiting.size_bytes() >= BYTES_TOGETHER {
                give(waiting, to, out);
            }
        }
    }

    /// Hands out what waits, and keeps no memory.
    fn flush(&mut self, out: &mut impl FnMut(usize, Batch)) {
        for (to, waiting) in self.waiting.iter_mut().enumerate() {
            let rows = std::mem::take(waiting);
            if !rows.is_empty() {
                out(to, rows);
            }
        }
    }
}

/// Hands out a full buffer; the next one will be as large.
fn give(waiting: &mut Batch, to: usize, out: &mut impl FnMut(usize, Batch)) {
    let next = Batch::with_capacity(waiting.len(), waiting.keys().len(), waiting.values().len());
    out(to, std::mem::replace(waiting, next));
}

fn push<T: Clone, P: Push<Message<T, StreamElement>>>(mut element: StreamElement, stamp: &Stamp<T>, pusher: &mut P) {
    Message::push_at(&mut element, stamp.clone(), pusher);
}

/// Splits stream elements among the instances of an operator or a sink: the one mechanism that partitions rows.
#[derive(Debug)]
pub struct Partitioner {
    spread: Spread,
    buffers: PartitionBuffers,
    /// Instances on each worker.
    each: usize,
    turn: usize,
}

impl Partitioner {
    /// A partitioner for `instances`, of which each of the workers has as many.
    #[must_use]
    pub fn new(spread: Spread, instances: u32, workers: usize) -> Self {
        let each = (instances as usize / workers.max(1)).max(1);
        Self { spread, buffers: PartitionBuffers::new(instances as usize), each, turn: 0 }
    }

    /// Splits an element. `out` takes a worker, and what it gets: rows say for which instance they are.
    fn split(&mut self, element: StreamElement, workers: usize, out: &mut impl FnMut(usize, StreamElement)) {
        match (&element.payload, self.spread) {
            (Payload::Rows(rows), Spread::Key) => {
                let each = self.each;
                self.buffers.add(rows, &mut |to, rows| out(to / each, rows_for(to, rows)));
            }
            (Payload::Rows(_), Spread::RoundRobin) => {
                let to = self.turn;
                self.turn = (to + 1) % (workers * self.each);
                out(to / self.each, StreamElement { to: to as u32, ..element });
            }
            (Payload::Rows(_), Spread::All) | (Payload::Watermark { .. } | Payload::Damaged, _) => {
                self.give_out(out);
                assert_eq!(element.copies as usize, workers, "an element of many copies has one for each worker");
                (0..workers).for_each(|worker| out(worker, StreamElement { copies: 1, ..element.clone() }));
            }
        }
    }

    /// Hands out what is in the buffers.
    fn give_out(&mut self, out: &mut impl FnMut(usize, StreamElement)) {
        let each = self.each;
        self.buffers.flush(&mut |to, rows| out(to / each, rows_for(to, rows)));
    }
}

/// Rows for one instance.
fn rows_for(to: usize, rows: Batch) -> StreamElement {
    StreamElement { to: to as u32, ..StreamElement::rows(rows) }
}

impl Distributor<StreamElement> for Partitioner {
    fn partition<T: Clone, P: Push<Message<T, StreamElement>>>(
        &mut self,
        element: &mut StreamElement,
        stamp: &Stamp<T>,
        pushers: &mut [P],
    ) {
        self.split(std::mem::take(element), pushers.len(), &mut |to, element| push(element, stamp, &mut pushers[to]));
    }

    fn flush<T: Clone, P: Push<Message<T, StreamElement>>>(&mut self, stamp: &Stamp<T>, pushers: &mut [P]) {
        self.give_out(&mut |to, element| push(element, stamp, &mut pushers[to]));
    }

    fn relax(&mut self) {}
}

/// Splits a stream among `instances`, of which each worker has several: the result is a stream for each of those on this worker. Each worker
/// must have as many, since Timely wants the same dataflow on all.
pub(super) fn partition<'scope>(
    scope: Scope<'scope, Timestamp>,
    stream: Stream<'scope, Timestamp, StreamElement>,
    spread: Spread,
    instances: u32,
) -> Vec<Stream<'scope, Timestamp, StreamElement>> {
    let (index, workers) = (scope.worker().index() as u32, scope.worker().peers() as u32);
    let local = keying::of_worker(index, instances, workers);
    let mut builder = OperatorBuilder::new("demux".to_owned(), scope);
    let mut input = builder.new_input(stream, DistributorPact(move |workers| Partitioner::new(spread, instances, workers)));
    builder.set_notify_for(0, FrontierInterest::Never);
    let (mut outputs, mut streams) = (Vec::new(), Vec::new());
    for _ in local.clone() {
        let (output, stream) = builder.new_output::<StreamElement>();
        outputs.push(OutputBuilder::<_, NoopBuilder<StreamElement>>::from(output));
        streams.push(stream);
    }
    // Timely calls no distributor where there is one worker.
    let mut alone = (workers == 1).then(|| Partitioner::new(spread, instances, 1));
    builder.build(move |_| {
        move |_| {
            let mut outputs: Vec<_> = outputs.iter_mut().map(OutputBuilder::activate).collect();
            input.for_each(|capability, element| {
                let mut hand_on = |mut element: StreamElement| match &element.payload {
                    Payload::Rows(_) if spread != Spread::All => {
                        let place = element.to.checked_sub(local.start).map(|place| place as usize);
                        let place = place.filter(|place| *place < outputs.len());
                        if place.is_none() {
                            // Rows for an instance of another worker are a fault of this module, and must not go unnoticed.
                            element.payload = Payload::Damaged;
                        }
                        outputs[place.unwrap_or(0)].session_with_builder(&capability).give_container(&mut element);
                    }
                    _ => {
                        let Some((last, others)) = outputs.split_last_mut() else { return };
                        for output in others {
                            output.session_with_builder(&capability).give_container(&mut element.clone());
                        }
                        last.session_with_builder(&capability).give_container(&mut element);
                    }
                };
                let element = std::mem::take(element);
                match &mut alone {
                    None => hand_on(element),
                    Some(partitioner) => {
                        partitioner.split(element, 1, &mut |_, element| hand_on(element));
                        partitioner.give_out(&mut |_, element| hand_on(element));
                    }
                }
            });
        }
    });
    streams
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::batch::Row;
    use std::sync::{Arc, Mutex};
    use timely::container::Accountable;
    use timely::dataflow::channels::pact::Pipeline;
    use timely::dataflow::operators::generic::operator::{Operator as _, source};

    #[derive(Default)]
    struct Seen(Vec<StreamElement>);

    impl Push<Message<u64, StreamElement>> for Seen {
        fn push(&mut self, message: &mut Option<Message<u64, StreamElement>>) {
            self.0.extend(message.take().map(|m| m.data));
        }
    }

    fn batch(keys: std::ops::Range<u32>) -> Batch {
        let mut batch = Batch::new();
        for key in keys {
            batch.push(Row { time: 0, key: &key.to_le_bytes(), value: b"v" }).unwrap();
        }
        batch
    }

    fn partitioned(spread: Spread, peers: usize, elements: Vec<StreamElement>) -> Vec<Vec<StreamElement>> {
        let mut partitioner = Partitioner::new(spread, peers as u32, peers);
        let mut pushers: Vec<Seen> = (0..peers).map(|_| Seen::default()).collect();
        let stamp = Stamp::from_elem(0u64);
        let sent: i64 = elements.iter().map(Accountable::record_count).sum();
        for mut element in elements {
            partitioner.partition(&mut element, &stamp, &mut pushers);
        }
        partitioner.flush(&stamp, &mut pushers);
        let seen: Vec<Vec<StreamElement>> = pushers.into_iter().map(|p| p.0).collect();
        assert_eq!(seen.iter().flatten().map(Accountable::record_count).sum::<i64>(), sent, "the count is preserved");
        seen
    }

    #[test]
    fn rows_go_to_the_owner_of_their_key() {
        let seen = partitioned(Spread::Key, 3, vec![StreamElement::rows(batch(0..10_000))]);
        for (instance, elements) in seen.iter().enumerate() {
            let Payload::Rows(rows) = &elements[0].payload else { panic!("rows were sent") };
            assert!(rows.rows().all(|row| keying::owner(keying::group(row.key), 3) == instance as u32));
        }
    }

    #[test]
    fn a_watermark_follows_the_rows_before_it_to_every_instance() {
        let seen = partitioned(
            Spread::Key,
            2,
            vec![StreamElement::rows(batch(0..100)), StreamElement::watermark(1, 5, 2), StreamElement::rows(batch(0..100))],
        );
        for elements in seen {
            assert!(matches!(elements[0].payload, Payload::Rows(_)));
            assert_eq!(elements[1], StreamElement::watermark(1, 5, 1));
            assert!(matches!(elements[2].payload, Payload::Rows(_)));
        }
    }

    #[test]
    fn a_broadcast_reaches_everyone_and_round_robin_one_after_another() {
        let all = partitioned(Spread::All, 3, vec![StreamElement { copies: 3, ..StreamElement::rows(batch(0..2)) }]);
        assert!(all.iter().all(|elements| elements == &[StreamElement::rows(batch(0..2))]));
        let turns = partitioned(Spread::RoundRobin, 2, vec![StreamElement::rows(batch(0..1)), StreamElement::rows(batch(1..2))]);
        assert_eq!(turns, [vec![rows_for(0, batch(0..1))], vec![rows_for(1, batch(1..2))]]);
    }

    /// What each of the `instances` gets where worker 0 sends these elements, a time each.
    fn deal_out(spread: Spread, instances: u32, workers: usize, elements: Vec<StreamElement>) -> Vec<Vec<StreamElement>> {
        let seen: Arc<Mutex<Vec<Vec<StreamElement>>>> = Arc::new(Mutex::new(vec![Vec::new(); instances as usize]));
        let shared = Arc::clone(&seen);
        let run = timely::execute(timely::Config::process(workers), move |worker| {
            let index = worker.index() as u32;
            let elements = if index == 0 { elements.clone() } else { Vec::new() };
            worker.dataflow::<Timestamp, _, _>(|scope| {
                let stream = source::<_, NoopBuilder<StreamElement>, _, _>(scope, "elements", move |capability, _| {
                    let mut left = Some((capability, elements));
                    move |output| {
                        let Some((mut capability, elements)) = left.take() else { return };
                        for (time, mut element) in (0..).zip(elements) {
                            capability.downgrade(&(time / 2));
                            output.session_with_builder(&capability).give_container(&mut element);
                        }
                    }
                });
                let local = keying::of_worker(index, instances, workers as u32);
                for (instance, stream) in local.zip(partition(scope, stream, spread, instances)) {
                    let seen = Arc::clone(&shared);
                    stream.sink(Pipeline, "seen", move |(input, _)| {
                        input.for_each(|_, element| seen.lock().unwrap()[instance as usize].push(std::mem::take(element)));
                    });
                }
            });
        });
        run.unwrap().join().into_iter().for_each(|worker| worker.unwrap());
        Arc::into_inner(seen).unwrap().into_inner().unwrap()
    }

    #[test]
    fn a_worker_with_several_instances_deals_rows_out_by_key() {
        for (instances, workers) in [(4, 1), (6, 2), (9, 3)] {
            let mark = || StreamElement::watermark(1, 5, workers as u32);
            let elements = vec![
                StreamElement::rows(batch(0..3000)),
                StreamElement::rows(batch(3000..9000)),
                mark(),
                StreamElement::rows(batch(0..1000)),
            ];
            let seen = deal_out(Spread::Key, instances, workers, elements);
            let (mut before, mut after) = (0, 0);
            for (instance, elements) in (0..).zip(seen) {
                let marks: Vec<usize> =
                    (0..elements.len()).filter(|&at| matches!(elements[at].payload, Payload::Watermark { .. })).collect();
                let &[marked] = &marks[..] else { panic!("each instance gets the watermark once: {marks:?}") };
                assert_eq!(elements[marked], StreamElement::watermark(1, 5, 1));
                for (at, element) in elements.iter().enumerate().filter(|(at, _)| *at != marked) {
                    let Payload::Rows(rows) = &element.payload else { panic!("rows were sent, not {element:?}") };
                    assert!(rows.rows().all(|row| keying::owner(keying::group(row.key), instances) == instance));
                    *(if at < marked { &mut before } else { &mut after }) += rows.len();
                }
            }
            assert_eq!((before, after), (9000, 1000), "{instances} instances on {workers} workers");
        }
    }

    #[test]
    fn a_worker_with_several_instances_deals_batches_out_in_turn_and_to_all() {
        let elements = || (0..8).map(|at| StreamElement::rows(batch(at..at + 1))).collect::<Vec<StreamElement>>();
        let turns = deal_out(Spread::RoundRobin, 4, 2, elements());
        let keys = |elements: &[StreamElement]| {
            let rows = elements.iter().map(|element| match &element.payload {
                Payload::Rows(rows) => rows.keys().to_vec(),
                other => panic!("rows were sent, not {other:?}"),
            });
            rows.collect::<Vec<_>>()
        };
        for (instance, elements) in (0u32..).zip(&turns) {
            assert_eq!(keys(elements), [instance.to_le_bytes().to_vec(), (instance + 4).to_le_bytes().to_vec()]);
        }
        let all = deal_out(Spread::All, 4, 2, elements().into_iter().map(|element| StreamElement { copies: 2, ..element }).collect());
        assert!(all.iter().all(|got| keys(got) == keys(&elements())));
    }
}
