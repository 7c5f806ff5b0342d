//! Which instance downstream gets which rows of a frame.
//!
//! By key: each row goes to the owner of its key group. Round robin: whole batches in turn. Broadcast and watermarks: one frame of many
//! copies becomes one frame for each worker. Rows and watermarks of one sender reach each receiver in the order in which they were sent.
//!
//! ```text
//!  one instance a worker:   ──[Divider]──> instance          rows are divided where the exchange is
//!  several:   ──[divide]──[Router]──> [deal]──> instance     rows are divided before it; frames say to whom they go
//!                                          └──> instance
//! ```

use super::Moment;
use super::frame::{Frame, Load};
use reprise_core::batch::Batch;
use reprise_core::keying;
use std::ops::Range;
use timely::communication::Push;
use timely::container::{Accountable, NoopBuilder};
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator as _;
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
    /// Every row to every instance; the frame comes with as many copies.
    All,
}

/// Rows for one receiver that are kept together until a batch is large enough, in rows.
pub(super) const ROWS_TOGETHER: usize = 4096;
/// The same, in bytes.
pub(super) const BYTES_TOGETHER: usize = 256 << 10;

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
struct Piles {
    owners: [u32; keying::KEY_GROUPS as usize],
    waiting: Vec<Batch>,
}

impl Piles {
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

/// Hands out a full pile; the next one will be as large.
fn give(waiting: &mut Batch, to: usize, out: &mut impl FnMut(usize, Batch)) {
    let next = Batch::with_capacity(waiting.len(), waiting.keys().len(), waiting.values().len());
    out(to, std::mem::replace(waiting, next));
}

fn push<T: Clone, P: Push<Message<T, Frame>>>(mut frame: Frame, stamp: &Stamp<T>, pusher: &mut P) {
    Message::push_at(&mut frame, stamp.clone(), pusher);
}

/// A frame of as many copies as there are workers: one for each.
fn spread_out<T: Clone, P: Push<Message<T, Frame>>>(frame: &Frame, stamp: &Stamp<T>, pushers: &mut [P]) {
    assert_eq!(frame.copies as usize, pushers.len(), "a frame of {} records has one copy for each worker", frame.record_count());
    for pusher in pushers {
        push(Frame { copies: 1, ..frame.clone() }, stamp, pusher);
    }
}

/// Splits frames among workers with one instance each. See the module.
#[derive(Debug)]
pub struct Divider {
    spread: Spread,
    piles: Piles,
    turn: usize,
}

impl Divider {
    /// A divider for `peers` instances.
    #[must_use]
    pub fn new(spread: Spread, peers: usize) -> Self {
        Self { spread, piles: Piles::new(peers), turn: 0 }
    }
}

impl Distributor<Frame> for Divider {
    fn partition<T: Clone, P: Push<Message<T, Frame>>>(&mut self, frame: &mut Frame, stamp: &Stamp<T>, pushers: &mut [P]) {
        match std::mem::take(frame) {
            Frame { copies: 1, load: Load::Rows(batch), .. } if self.spread == Spread::Key => {
                self.piles.add(&batch, &mut |to, rows| push(Frame::rows(rows), stamp, &mut pushers[to]));
            }
            frame if frame.copies == 1 => {
                let to = self.turn % pushers.len();
                self.turn = to + 1;
                push(frame, stamp, &mut pushers[to]);
            }
            frame => {
                self.flush(stamp, pushers);
                spread_out(&frame, stamp, pushers);
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Frame>>>(&mut self, stamp: &Stamp<T>, pushers: &mut [P]) {
        self.piles.flush(&mut |to, rows| push(Frame::rows(rows), stamp, &mut pushers[to]));
    }

    fn relax(&mut self) {}
}

/// Splits a stream among `instances`, of which each worker has several: the result is a stream for each of those on this worker. Each worker
/// must have as many, since Timely wants the same dataflow on all.
pub(super) fn divide<'scope>(
    scope: Scope<'scope, Moment>,
    stream: Stream<'scope, Moment, Frame>,
    spread: Spread,
    instances: u32,
) -> Vec<Stream<'scope, Moment, Frame>> {
    let (index, workers) = (scope.worker().index() as u32, scope.worker().peers() as u32);
    let divided = match spread {
        Spread::All => stream,
        Spread::Key | Spread::RoundRobin => address(stream, spread, instances),
    };
    let local = keying::of_worker(index, instances, workers);
    deal(scope, divided, Router { each: local.len().max(1) }, spread, local)
}

/// Says on each frame of rows which instance is to get it.
fn address(stream: Stream<'_, Moment, Frame>, spread: Spread, instances: u32) -> Stream<'_, Moment, Frame> {
    let (mut piles, mut turn) = (Piles::new(instances as usize), 0);
    stream.unary::<NoopBuilder<Frame>, _, _, _>(Pipeline, "divide", move |_, _| {
        move |input, output| {
            // What the piles hold goes out at this moment.
            let mut held: Option<Capability<Moment>> = None;
            let mut send = |at: &Capability<Moment>, frame: &mut Frame| output.session_with_builder(at).give_container(frame);
            let to_one = |to: usize, rows: Batch| Frame { to: to as u32, ..Frame::rows(rows) };
            input.for_each(|capability, frame| {
                let Some(now) = capability.retain_least(0) else { return };
                if let Some(before) = held.take_if(|before| before.time() != now.time()) {
                    piles.flush(&mut |to, rows| send(&before, &mut to_one(to, rows)));
                }
                match (&frame.load, spread) {
                    (Load::Rows(rows), Spread::Key) => piles.add(rows, &mut |to, rows| send(&now, &mut to_one(to, rows))),
                    (Load::Rows(_), _) => {
                        frame.to = turn;
                        turn = (turn + 1) % instances;
                        send(&now, frame);
                    }
                    (Load::Watermark { .. } | Load::Damaged, _) => {
                        piles.flush(&mut |to, rows| send(&now, &mut to_one(to, rows)));
                        send(&now, frame);
                    }
                }
                held = Some(now);
            });
            if let Some(last) = held {
                piles.flush(&mut |to, rows| send(&last, &mut to_one(to, rows)));
            }
        }
    })
}

/// Brings frames to the worker of the instance that they are for.
#[derive(Debug)]
struct Router {
    /// Instances of each worker.
    each: usize,
}

impl Distributor<Frame> for Router {
    fn partition<T: Clone, P: Push<Message<T, Frame>>>(&mut self, frame: &mut Frame, stamp: &Stamp<T>, pushers: &mut [P]) {
        match std::mem::take(frame) {
            frame if frame.copies == 1 => {
                let worker = frame.to as usize / self.each;
                push(frame, stamp, &mut pushers[worker]);
            }
            frame => spread_out(&frame, stamp, pushers),
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Frame>>>(&mut self, _: &Stamp<T>, _: &mut [P]) {}

    fn relax(&mut self) {}
}

/// Hands frames that have reached their worker to the instance that they are for. `local`: those that run here.
fn deal<'scope>(
    scope: Scope<'scope, Moment>,
    stream: Stream<'scope, Moment, Frame>,
    routes: Router,
    spread: Spread,
    local: Range<u32>,
) -> Vec<Stream<'scope, Moment, Frame>> {
    let mut builder = OperatorBuilder::new("deal".to_owned(), scope);
    let mut input = builder.new_input(stream, DistributorPact(move |_| routes));
    builder.set_notify_for(0, FrontierInterest::Never);
    let (mut outputs, mut streams) = (Vec::new(), Vec::new());
    for _ in local.clone() {
        let (output, stream) = builder.new_output::<Frame>();
        outputs.push(OutputBuilder::<_, NoopBuilder<Frame>>::from(output));
        streams.push(stream);
    }
    builder.build(move |_| {
        move |_| {
            let mut outputs: Vec<_> = outputs.iter_mut().map(OutputBuilder::activate).collect();
            input.for_each(|capability, frame| match &frame.load {
                Load::Rows(_) if spread != Spread::All => {
                    let place = frame.to.checked_sub(local.start).map(|place| place as usize).filter(|place| *place < outputs.len());
                    if place.is_none() {
                        // A frame for an instance of another worker is a fault of this module, and must not go unnoticed.
                        frame.load = Load::Damaged;
                    }
                    outputs[place.unwrap_or(0)].session_with_builder(&capability).give_container(frame);
                }
                _ => {
                    let Some((last, others)) = outputs.split_last_mut() else { return };
                    for output in others {
                        output.session_with_builder(&capability).give_container(&mut frame.clone());
                    }
                    last.session_with_builder(&capability).give_container(frame);
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
    use timely::dataflow::operators::generic::operator::source;

    #[derive(Default)]
    struct Seen(Vec<Frame>);

    impl Push<Message<u64, Frame>> for Seen {
        fn push(&mut self, message: &mut Option<Message<u64, Frame>>) {
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

    fn divided(spread: Spread, peers: usize, frames: Vec<Frame>) -> Vec<Vec<Frame>> {
        let mut divider = Divider::new(spread, peers);
        let mut pushers: Vec<Seen> = (0..peers).map(|_| Seen::default()).collect();
        let stamp = Stamp::from_elem(0u64);
        let sent: i64 = frames.iter().map(Accountable::record_count).sum();
        for mut frame in frames {
            divider.partition(&mut frame, &stamp, &mut pushers);
        }
        divider.flush(&stamp, &mut pushers);
        let seen: Vec<Vec<Frame>> = pushers.into_iter().map(|p| p.0).collect();
        assert_eq!(seen.iter().flatten().map(Accountable::record_count).sum::<i64>(), sent, "the count is preserved");
        seen
    }

    #[test]
    fn rows_go_to_the_owner_of_their_key() {
        let seen = divided(Spread::Key, 3, vec![Frame::rows(batch(0..10_000))]);
        for (instance, frames) in seen.iter().enumerate() {
            let Load::Rows(rows) = &frames[0].load else { panic!("rows were sent") };
            assert!(rows.rows().all(|row| keying::owner(keying::group(row.key), 3) == instance as u32));
        }
    }

    #[test]
    fn a_watermark_follows_the_rows_before_it_to_every_instance() {
        let seen = divided(Spread::Key, 2, vec![Frame::rows(batch(0..100)), Frame::watermark(1, 5, 2), Frame::rows(batch(0..100))]);
        for frames in seen {
            assert!(matches!(frames[0].load, Load::Rows(_)));
            assert_eq!(frames[1], Frame::watermark(1, 5, 1));
            assert!(matches!(frames[2].load, Load::Rows(_)));
        }
    }

    #[test]
    fn a_broadcast_reaches_everyone_and_round_robin_one_after_another() {
        let all = divided(Spread::All, 3, vec![Frame { copies: 3, ..Frame::rows(batch(0..2)) }]);
        assert!(all.iter().all(|frames| frames == &[Frame::rows(batch(0..2))]));
        let turns = divided(Spread::RoundRobin, 2, vec![Frame::rows(batch(0..1)), Frame::rows(batch(1..2))]);
        assert_eq!(turns, [vec![Frame::rows(batch(0..1))], vec![Frame::rows(batch(1..2))]]);
    }

    /// What each of the `instances` gets where worker 0 sends these frames, a moment each.
    fn deal_out(spread: Spread, instances: u32, workers: usize, frames: Vec<Frame>) -> Vec<Vec<Frame>> {
        let seen: Arc<Mutex<Vec<Vec<Frame>>>> = Arc::new(Mutex::new(vec![Vec::new(); instances as usize]));
        let shared = Arc::clone(&seen);
        let run = timely::execute(timely::Config::process(workers), move |worker| {
            let index = worker.index() as u32;
            let frames = if index == 0 { frames.clone() } else { Vec::new() };
            worker.dataflow::<Moment, _, _>(|scope| {
                let stream = source::<_, NoopBuilder<Frame>, _, _>(scope, "frames", move |capability, _| {
                    let mut left = Some((capability, frames));
                    move |output| {
                        let Some((mut capability, frames)) = left.take() else { return };
                        for (moment, mut frame) in (0..).zip(frames) {
                            capability.downgrade(&(moment / 2));
                            output.session_with_builder(&capability).give_container(&mut frame);
                        }
                    }
                });
                let local = keying::of_worker(index, instances, workers as u32);
                for (instance, stream) in local.zip(divide(scope, stream, spread, instances)) {
                    let seen = Arc::clone(&shared);
                    stream.sink(Pipeline, "seen", move |(input, _)| {
                        input.for_each(|_, frame| seen.lock().unwrap()[instance as usize].push(std::mem::take(frame)));
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
            let mark = || Frame::watermark(1, 5, workers as u32);
            let frames = vec![Frame::rows(batch(0..3000)), Frame::rows(batch(3000..9000)), mark(), Frame::rows(batch(0..1000))];
            let seen = deal_out(Spread::Key, instances, workers, frames);
            let (mut before, mut after) = (0, 0);
            for (instance, frames) in (0..).zip(seen) {
                let marks: Vec<usize> = (0..frames.len()).filter(|&at| matches!(frames[at].load, Load::Watermark { .. })).collect();
                let &[marked] = &marks[..] else { panic!("each instance gets the watermark once: {marks:?}") };
                assert_eq!(frames[marked], Frame::watermark(1, 5, 1));
                for (at, frame) in frames.iter().enumerate().filter(|(at, _)| *at != marked) {
                    let Load::Rows(rows) = &frame.load else { panic!("rows were sent, not {frame:?}") };
                    assert!(rows.rows().all(|row| keying::owner(keying::group(row.key), instances) == instance));
                    *(if at < marked { &mut before } else { &mut after }) += rows.len();
                }
            }
            assert_eq!((before, after), (9000, 1000), "{instances} instances on {workers} workers");
        }
    }

    #[test]
    fn a_worker_with_several_instances_deals_batches_out_in_turn_and_to_all() {
        let frames = || (0..8).map(|at| Frame::rows(batch(at..at + 1))).collect::<Vec<Frame>>();
        let turns = deal_out(Spread::RoundRobin, 4, 2, frames());
        let keys = |frames: &[Frame]| {
            let rows = frames.iter().map(|frame| match &frame.load {
                Load::Rows(rows) => rows.keys().to_vec(),
                other => panic!("rows were sent, not {other:?}"),
            });
            rows.collect::<Vec<_>>()
        };
        for (instance, frames) in (0u32..).zip(&turns) {
            assert_eq!(keys(frames), [instance.to_le_bytes().to_vec(), (instance + 4).to_le_bytes().to_vec()]);
        }
        let all = deal_out(Spread::All, 4, 2, frames().into_iter().map(|frame| Frame { copies: 2, ..frame }).collect());
        assert!(all.iter().all(|got| keys(got) == keys(&frames())));
    }
}
