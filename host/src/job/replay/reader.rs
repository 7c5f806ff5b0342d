//! Reads the rows of requests from the quarantine, on the reading thread of a source like any other.
//!
//! It tells no watermark before its end, so that the operator is told none meanwhile, and the end of the input only after these rows.

use super::ledger::ReplayPosition;
use crate::connect::{BatchLimits, ConnectError, InputStatus, SourceBatch, SourceReader, SourceSplit};
use crate::store::{Store, StoreError};
use reprise_core::batch::{Batch, Row};
use reprise_core::checkpoint::quarantine::{ObjectName, QuarantineObject};
use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Wait before a store that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// A request, as far as it is not done.
#[derive(Debug, Clone)]
pub(super) struct ReplaySplit {
    /// The split that stands for it.
    pub split: String,
    /// Where its rows are.
    pub object: ObjectName,
    /// The input that they go to.
    pub input: u32,
    /// All of its rows.
    pub rows: Vec<u32>,
    /// How many of them are done.
    pub done: usize,
    /// Places of those that wait; the others are passed over.
    pub waiting: BTreeSet<usize>,
}

impl ReplaySplit {
    fn position(&self) -> SourceSplit {
        position(&self.split, self.done)
    }
}

/// The position in a split where so many rows are done.
pub(super) fn position(split: &str, done: usize) -> SourceSplit {
    let position = ReplayPosition { done: u32::try_from(done).unwrap_or(u32::MAX) };
    // A struct of one number can be written as JSON.
    SourceSplit { split: split.to_owned(), position: serde_json::to_string(&position).unwrap_or_default() }
}

/// The reader of one instance of a source that sends rows of the quarantine again.
pub(super) struct ReplayReader {
    pieces: VecDeque<ReplaySplit>,
    /// The object of the first piece, once it was read.
    held: Option<QuarantineObject>,
    store: Store,
    runtime: Handle,
    limits: BatchLimits,
    /// How long the store may not answer.
    outage_max: Duration,
    /// Since when it does not.
    outage: Option<Instant>,
}

impl ReplayReader {
    pub fn new(pieces: Vec<ReplaySplit>, store: Store, runtime: Handle, limits: BatchLimits, outage_max: Duration) -> Self {
        Self { pieces: pieces.into(), held: None, store, runtime, limits, outage_max, outage: None }
    }

    /// Reads the object of the first piece. `None`: it is of no use, which the log says.
    fn open(&self, piece: &ReplaySplit) -> Result<Option<QuarantineObject>, StoreError> {
        let (path, store) = (piece.object.path(), self.store.clone());
        let (tell, told) = mpsc::sync_channel(1);
        let wanted = path.clone();
        self.runtime.spawn(async move {
            // A send fails only where the reading thread is gone.
            let _ = tell.send(store.get(&wanted).await);
        });
        // A runtime that ends takes the run with it.
        let Ok(read) = told.recv() else { return Ok(None) };
        let of_no_use = |reason: String| tracing::warn!(path, reason, "rows in quarantine cannot be sent again; they stay there");
        match read?.map(|bytes| QuarantineObject::read(&bytes)) {
            Some(Ok(held)) if held.is_named(&piece.object) => return Ok(Some(held)),
            Some(Ok(_)) => of_no_use("it says of itself that it is another object".into()),
            Some(Err(error)) => of_no_use(error.to_string()),
            None => of_no_use("it is gone".into()),
        }
        Ok(None)
    }
}

impl SourceReader for ReplayReader {
    fn next(&mut self) -> Result<InputStatus, ConnectError> {
        let Some(piece) = self.pieces.front() else { return Ok(InputStatus::End) };
        if self.held.is_none() {
            match self.open(piece) {
                Ok(Some(held)) => (self.held, self.outage) = (Some(held), None),
                Ok(None) => {
                    self.pieces.pop_front();
                    return Ok(InputStatus::Idle(Duration::ZERO));
                }
                Err(error) if error.is_passing() && self.outage.get_or_insert_with(Instant::now).elapsed() < self.outage_max => {
                    return Ok(InputStatus::Idle(PAUSE));
                }
                Err(error) => return Err(ConnectError::storage("read rows in quarantine")(error)),
            }
        }
        let (Some(piece), Some(held)) = (self.pieces.front_mut(), &self.held) else { return Ok(InputStatus::End) };
        let mut rows = Batch::new();
        while piece.done < piece.rows.len() && rows.len() < self.limits.rows_max.max(1) && rows.size_bytes() < self.limits.bytes_max.max(1)
        {
            let row = held.row(piece.rows[piece.done]).filter(|row| piece.waiting.contains(&piece.done) && row.input == piece.input);
            // A batch that is full at 4 GiB is larger than its limit.
            if let Some(row) = row
                && rows.push(Row { time: row.time, key: &row.key, value: &row.value }).is_err()
            {
                break;
            }
            piece.done += 1;
        }
        let positions = vec![piece.position()];
        if piece.done == piece.rows.len() {
            self.pieces.pop_front();
            self.held = None;
        }
        Ok(InputStatus::Rows(SourceBatch { rows, rejected: Vec::new(), positions, watermark: i64::MIN }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Store, StoreLimits};
    use bytes::Bytes;
    use reprise_core::checkpoint::manifest::{Quarantine, QuarantinedRow};
    use reprise_core::codec::record;
    use reprise_core::ids::{Epoch, Generation, Instance};

    fn name(epoch: u64) -> ObjectName {
        ObjectName { epoch: Epoch(epoch), generation: Generation(1), node: "o".into(), instance: Instance(0), part: 0 }
    }

    /// A store with ten rows of epoch 1, whose values are their places, in turn of the inputs 0 and 1.
    async fn store(job: &str) -> Store {
        let store = Store::open("memory:replay-reader", std::path::Path::new("."), job, StoreLimits::default()).await.unwrap();
        let row = |place: u32| {
            let (origin, reason) = (String::new(), "no".into());
            QuarantinedRow { input: place % 2, origin, time: i64::from(place), key: vec![], value: vec![place as u8], reason }
        };
        let held = Quarantine { node: "o".into(), instance: Instance(0), epoch: Epoch(1), rows: (0..10).map(row).collect() };
        store.create(&name(1).path(), Bytes::from(record::encode(&held).unwrap())).await.unwrap();
        store
    }

    fn piece(epoch: u64, rows: &[u32], done: usize, waiting: &[usize]) -> ReplaySplit {
        let (split, waiting) = (format!("split {epoch}"), waiting.iter().copied().collect());
        ReplaySplit { split, object: name(epoch), input: 0, rows: rows.to_vec(), done, waiting }
    }

    /// All that a reader gives: values, and the position after them.
    fn read(job: &str, pieces: Vec<ReplaySplit>) -> Vec<(Vec<u8>, String)> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let store = runtime.block_on(store(job));
        let limits = BatchLimits { rows_max: 2, bytes_max: 1 << 20 };
        let mut reader = ReplayReader::new(pieces, store, runtime.handle().clone(), limits, Duration::ZERO);
        let mut given = Vec::new();
        loop {
            match reader.next().unwrap() {
                InputStatus::Rows(batch) => {
                    assert_eq!((batch.watermark, batch.rejected.len(), batch.positions.len()), (i64::MIN, 0, 1));
                    given.push((batch.rows.values().to_vec(), batch.positions[0].position.clone()));
                }
                InputStatus::Idle(_) => {}
                InputStatus::End => return given,
            }
        }
    }

    fn at(done: usize) -> String {
        position("", done).position
    }

    #[test]
    fn rows_that_wait_are_given_from_the_position_on() {
        let given = read("all", vec![piece(1, &[0, 2, 4, 6, 8], 1, &[1, 2, 4])]);
        assert_eq!(given, [(vec![2, 4], at(3)), (vec![8], at(5))]);
        assert_eq!(read("none", vec![piece(1, &[0, 2, 4], 0, &[])]), [(vec![], at(3))], "the position tells that nothing waits");
    }

    #[test]
    fn rows_of_another_input_or_of_no_place_are_passed_over() {
        assert_eq!(read("others", vec![piece(1, &[1, 0, 99], 0, &[0, 1, 2])]), [(vec![0], at(3))]);
    }

    #[test]
    fn an_object_that_is_gone_keeps_its_position_and_holds_nobody() {
        let given = read("gone", vec![piece(7, &[0], 0, &[0]), piece(1, &[2], 0, &[0])]);
        assert_eq!(given, [(vec![2], at(1))]);
    }
}
