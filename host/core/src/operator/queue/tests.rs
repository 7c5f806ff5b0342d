//! Tests of the queue.

use super::*;
use crate::batch::Row;

#[test]
fn only_rows_of_the_current_epoch_are_seen_before_their_turn() {
    let mut arrivals = Arrivals::new(Epoch(7));
    let rows = |times: &[i64]| {
        let mut batch = Batch::new();
        times.iter().for_each(|time| batch.push(Row { time: *time, key: b"", value: b"" }).unwrap());
        Load::Rows(batch)
    };
    let watermark = Load::Watermark { sender: 0, watermark: 1 };
    for (epoch, edge, load) in [(7, 1, rows(&[1, 2])), (7, 0, watermark), (7, 0, rows(&[3])), (8, 1, rows(&[4]))] {
        arrivals.put(Epoch(epoch), Arrival { edge, right: (), load });
    }
    let seen = |arrivals: &Arrivals<()>| arrivals.waiting_rows().map(|(edge, rows)| (edge, rows.times().to_vec())).collect::<Vec<_>>();
    assert_eq!(seen(&arrivals), [(1, vec![1, 2]), (0, vec![3])]);
    arrivals.pop();
    assert_eq!(seen(&arrivals), [(0, vec![3])]);
    arrivals.next_epoch();
    assert_eq!(seen(&arrivals), [(1, vec![4])]);
}

struct Open;

impl Frontier for Open {
    fn is_past(&self, _: Epoch) -> bool {
        false
    }

    fn is_empty(&self) -> bool {
        false
    }

    fn least(&self) -> u64 {
        0
    }
}

fn queue(told: i64) -> Queue<u8> {
    let parked = ParkedEdge { from: "a".into(), port: 0, input: "rows".into() };
    Queue::new(vec![EdgeEnd { input: 0, senders: 0..1, parked }], Epoch(1), told, Backlog::default())
}

fn row(time: i64) -> Load {
    let mut batch = Batch::new();
    batch.push(Row { time, key: b"k", value: b"v" }).unwrap();
    Load::Rows(batch)
}

fn put(queue: &mut Queue<u8>, epoch: u64, right: u8, load: Load) {
    queue.put(Epoch(epoch), Arrival { edge: 0, right, load });
}

fn marked(watermark: i64) -> Load {
    Load::Watermark { sender: 0, watermark }
}

/// The times of rows, or a watermark and whether it is new.
type Handed = Result<Vec<i64>, (i64, bool)>;

/// The next unit: the right to send, the times of its rows, or its watermark and whether it is new.
fn next(queue: &mut Queue<u8>) -> Option<(u8, Handed)> {
    let Unit { work, right } = queue.next(&Open, |_, _| {}).unwrap()?;
    Some((
        right?,
        match work {
            Work::Rows { rows, .. } => Ok(rows.into_batch().times().to_vec()),
            Work::Watermark(risen) => {
                queue.note_said(risen.watermark, risen.then_idle);
                Err((risen.watermark, risen.is_new))
            }
            Work::EndOfEpoch { .. } => return None,
        },
    ))
}

#[test]
fn what_was_told_in_an_earlier_run_is_only_passed_on() {
    let mut queue = queue(50);
    put(&mut queue, 1, 0, marked(50));
    put(&mut queue, 1, 0, marked(51));
    assert_eq!((next(&mut queue), queue.watermark()), (Some((0, Err((50, false)))), 50));
    assert_eq!((next(&mut queue), queue.watermark()), (Some((0, Err((51, true)))), 51));
}

#[test]
fn what_is_parked_comes_before_what_arrives_and_is_sent_by_one_right() {
    let mut queue = queue(i64::MIN);
    put(&mut queue, 1, 1, row(10));
    put(&mut queue, 1, 2, marked(10));
    put(&mut queue, 1, 3, row(11));
    let begun = queue.next(&Open, |_, _| {}).unwrap().unwrap();
    queue.put_back(begun);
    queue.park_begun(0);
    queue.park_arrivals(0, |_| true, |_, _| {}).unwrap();
    assert_eq!((queue.parked().rows, queue.watermark()), (2, i64::MIN), "a watermark that waits was not told");
    queue.next_epoch();
    put(&mut queue, 2, 9, row(12));
    queue.park_arrivals(0, |_| true, |_, _| {}).unwrap();
    let expected = [Ok(vec![10]), Err((10, true)), Ok(vec![11, 12])];
    let rest: Vec<_> = std::iter::from_fn(|| next(&mut queue)).collect();
    let flat: Vec<_> = rest.iter().filter_map(|(_, work)| work.clone().ok()).flatten().collect();
    assert!(rest.iter().all(|(right, _)| *right == 1) && flat == [10, 11, 12] && rest[1].1 == expected[1], "{rest:?}");
    assert!(!queue.is_parking());
    put(&mut queue, 2, 8, row(13));
    assert_eq!(next(&mut queue), Some((8, Ok(vec![13]))));
}

#[test]
fn who_became_idle_or_awake_meanwhile_is_told_of_when_nothing_is_parked() {
    let mut queue = queue(i64::MIN);
    put(&mut queue, 1, 1, marked(IDLE));
    assert_eq!(next(&mut queue), Some((1, Err((IDLE, false)))));
    put(&mut queue, 1, 2, row(5));
    put(&mut queue, 1, 3, marked(5));
    put(&mut queue, 1, 4, marked(IDLE));
    queue.park_arrivals(0, |_| true, |_, _| {}).unwrap();
    let said: Vec<_> = std::iter::from_fn(|| next(&mut queue)).map(|(_, work)| work).collect();
    assert_eq!(said, [Err((AWAKE, false)), Ok(vec![5]), Err((5, true)), Err((IDLE, false))]);
}

#[test]
fn a_watermark_that_failed_and_was_parked_is_new_when_it_comes_again() {
    let mut queue = queue(3);
    put(&mut queue, 1, 1, marked(5));
    let Some(unit) = queue.next(&Open, |_, _| {}).unwrap() else { panic!() };
    queue.put_back(unit);
    queue.park_begun(0);
    assert_eq!(queue.watermark(), 3);
    assert_eq!(next(&mut queue), Some((1, Err((5, true)))));
}
