//! Which instance downstream gets which rows of a frame.
//!
//! By key: each row goes to the owner of its key group. Round robin: whole batches in turn. Broadcast and watermarks: one frame of many
//! copies becomes one frame for each instance. Rows and watermarks of one sender reach each receiver in the order in which they were sent.

use super::frame::{Frame, Load};
use reprise_core::batch::Batch;
use reprise_core::keying;
use timely::communication::Push;
use timely::container::Accountable;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pushers::exchange::Distributor;
use timely::progress::Stamp;

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

/// Splits frames among instances. See the module.
#[derive(Debug)]
pub struct Divider {
    spread: Spread,
    owners: [u32; keying::KEY_GROUPS as usize],
    waiting: Vec<Batch>,
    turn: usize,
}

impl Divider {
    /// A divider for `peers` instances.
    #[must_use]
    pub fn new(spread: Spread, peers: usize) -> Self {
        Self { spread, owners: keying::owners(peers as u32), waiting: vec![Batch::new(); peers], turn: 0 }
    }

    fn by_key<T: Clone, P: Push<Message<T, Frame>>>(&mut self, batch: &Batch, stamp: &Stamp<T>, pushers: &mut [P]) {
        for row in batch.rows() {
            let to = self.owners[keying::group(row.key).0 as usize] as usize;
            let waiting = &mut self.waiting[to];
            if waiting.push(row).is_err() {
                // The column is full at 4 GiB: far beyond what is kept together, so an empty one always has room.
                send(waiting, stamp, &mut pushers[to]);
                waiting.push(row).expect("a row that was in a batch fits into an empty batch");
            }
            if waiting.len() >= ROWS_TOGETHER || waiting.size_bytes() >= BYTES_TOGETHER {
                send(waiting, stamp, &mut pushers[to]);
            }
        }
    }
}

fn send<T: Clone, P: Push<Message<T, Frame>>>(waiting: &mut Batch, stamp: &Stamp<T>, pusher: &mut P) {
    if !waiting.is_empty() {
        let next = Batch::with_capacity(waiting.len(), waiting.keys().len(), waiting.values().len());
        let mut frame = Frame::rows(std::mem::replace(waiting, next));
        Message::push_at(&mut frame, stamp.clone(), pusher);
    }
}

impl Distributor<Frame> for Divider {
    fn partition<T: Clone, P: Push<Message<T, Frame>>>(&mut self, frame: &mut Frame, stamp: &Stamp<T>, pushers: &mut [P]) {
        let count = frame.record_count();
        match std::mem::take(frame) {
            Frame { copies: 1, load: Load::Rows(batch) } if self.spread == Spread::Key => self.by_key(&batch, stamp, pushers),
            Frame { copies: 1, load } => {
                let to = self.turn % pushers.len();
                self.turn = to + 1;
                Message::push_at(&mut Frame { copies: 1, load }, stamp.clone(), &mut pushers[to]);
            }
            Frame { copies, load } => {
                assert_eq!(copies as usize, pushers.len(), "a frame of {count} records has one copy for each instance");
                self.flush(stamp, pushers);
                for pusher in pushers {
                    Message::push_at(&mut Frame { copies: 1, load: load.clone() }, stamp.clone(), pusher);
                }
            }
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Frame>>>(&mut self, stamp: &Stamp<T>, pushers: &mut [P]) {
        for (waiting, pusher) in self.waiting.iter_mut().zip(pushers) {
            send(waiting, stamp, pusher);
        }
    }

    fn relax(&mut self) {
        self.waiting.iter_mut().for_each(|waiting| *waiting = Batch::new());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::batch::Row;

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

    fn divide(spread: Spread, peers: usize, frames: Vec<Frame>) -> Vec<Vec<Frame>> {
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
        let seen = divide(Spread::Key, 3, vec![Frame::rows(batch(0..10_000))]);
        for (instance, frames) in seen.iter().enumerate() {
            let Load::Rows(rows) = &frames[0].load else { panic!("rows were sent") };
            assert!(rows.rows().all(|row| keying::owner(keying::group(row.key), 3) == instance as u32));
        }
    }

    #[test]
    fn a_watermark_follows_the_rows_before_it_to_every_instance() {
        let seen = divide(Spread::Key, 2, vec![Frame::rows(batch(0..100)), Frame::watermark(1, 5, 2), Frame::rows(batch(0..100))]);
        for frames in seen {
            assert!(matches!(frames[0].load, Load::Rows(_)));
            assert_eq!(frames[1], Frame::watermark(1, 5, 1));
            assert!(matches!(frames[2].load, Load::Rows(_)));
        }
    }

    #[test]
    fn a_broadcast_reaches_everyone_and_round_robin_one_after_another() {
        let all = divide(Spread::All, 3, vec![Frame { copies: 3, load: Load::Rows(batch(0..2)) }]);
        assert!(all.iter().all(|frames| frames == &[Frame::rows(batch(0..2))]));
        let turns = divide(Spread::RoundRobin, 2, vec![Frame::rows(batch(0..1)), Frame::rows(batch(1..2))]);
        assert_eq!(turns, [vec![Frame::rows(batch(0..1))], vec![Frame::rows(batch(1..2))]]);
    }
}
