//! Reads the rows of requests from the quarantine, on the reading thread of a source like any other.
//!
//! It tells no watermark before its end, so that the operator is told none meanwhile, and the end of the input only after these rows.

use super::book::Position;
use crate::connect::{BatchLimits, ConnectError, SourceBatch, SourceReader, SplitPosition, Step};
use crate::store::{Store, StoreError};
use reprise_core::batch::{Batch, Row};
use reprise_core::checkpoint::quarantine::{Held, ObjectName};
use std::collections::{BTreeSet, VecDeque};
use std::sync::mpsc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Wait before a store that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// A request, as far as it is not done.
#[derive(Debug, Clone)]
pub(super) struct Piece {
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

impl Piece {
    fn position(&self) -> SplitPosition {
        position(&self.split, self.done)
    }
}

/// The position in a split where so many rows are done.
pub(super) fn position(split: &str, done: usize) -> SplitPosition {
    let position = Position { done: u32::try_from(done).unwrap_or(u32::MAX) };
    // A struct of one number can be written as JSON.
    SplitPosition { split: split.to_owned(), position: serde_json::to_string(&position).unwrap_or_default() }
}

/// See the module.
pub(super) struct Reader {
    pieces: VecDeque<Piece>,
    /// The object of the first piece, once it was read.
    held: Option<Held>,
    store: Store,
    runtime: Handle,
    limits: BatchLimits,
}

impl Reader {
    pub fn new(pieces: Vec<Piece>, store: Store, runtime: Handle, limits: BatchLimits) -> Self {
        Self { pieces: pieces.into(), held: None, store, runtime, limits }
    }

    /// Reads the object of the first piece. `None`: it is of no use, which the log says.
    fn open(&self, piece: &Piece) -> Result<Option<Held>, StoreError> {
        let (path, store) = (piece.object.path(), self.store.clone());
        let (tell, told) = mpsc::sync_channel(1);
        let wanted = path.clone();
        self.runtime.spawn(async move {
            // Nobody listens any more only where the reading thread is gone.
            let _ = tell.send(store.get(&wanted).await);
        });
        // A runtime that ends takes the run with it.
        let Ok(read) = told.recv() else { return Ok(None) };
        let of_no_use = |reason: String| tracing::warn!(path, reason, "rows in quarantine cannot be sent again; they stay there");
        match read?.map(|bytes| Held::read(&bytes)) {
            Some(Ok(held)) if held.is_named(&piece.object) => return Ok(Some(held)),
            Some(Ok(_)) => of_no_use("it says of itself that it is another object".into()),
            Some(Err(error)) => of_no_use(error.to_string()),
            None => of_no_use("it is gone".into()),
        }
        Ok(None)
    }
}

impl SourceReader for Reader {
    fn next(&mut self) -> Result<Step, ConnectError> {
        let Some(piece) = self.pieces.front() else { return Ok(Step::End) };
        if self.held.is_none() {
            match self.open(piece) {
                Ok(Some(held)) => self.held = Some(held),
                Ok(None) => {
                    self.pieces.pop_front();
                    return Ok(Step::Idle(Duration::ZERO));
                }
                // How long an outage may last is for those to decide who store checkpoints.
                Err(error) if error.is_passing() => return Ok(Step::Idle(PAUSE)),
                Err(error) => return Err(ConnectError::storage("read rows in quarantine")(error)),
            }
        }
        let (Some(piece), Some(held)) = (self.pieces.front_mut(), &self.held) else { return Ok(Step::End) };
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
        Ok(Step::Rows(SourceBatch { rows, rejected: Vec::new(), positions, watermark: i64::MIN }))
    }
}
