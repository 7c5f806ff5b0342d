//! The batch that a reader is filling.
//!
//! Rows are appended to columns directly. Rows of plain lines have neither key nor time, so those two columns are filled at the end, at once.

use crate::connect::{BatchLimits, Rejected, source::BATCH_BYTES_MAX};
use reprise_core::batch::{Batch, Columns};

/// Bytes that a row costs besides its key and value, as [`Batch::size_bytes`] counts.
const ROW_OVERHEAD_BYTES: usize = 16;

/// Rows under way. One is kept for the life of a reader and emptied by [`Gather::take`].
pub struct Gather {
    columns: Columns,
    rejected: Vec<Rejected>,
    rejected_bytes: usize,
    limits: BatchLimits,
    row_bytes_max: usize,
    split: String,
    time_max: Option<i64>,
    /// Later event times are refused.
    horizon_ms: i64,
    last_rows: usize,
    last_value_bytes: usize,
}

impl Gather {
    /// An empty one. Bounds beyond what columns can hold are lowered.
    pub fn new(limits: BatchLimits, row_bytes_max: usize) -> Self {
        let limits = BatchLimits { rows_max: limits.rows_max.max(1), bytes_max: limits.bytes_max.clamp(1, BATCH_BYTES_MAX) };
        Self {
            columns: Columns::default(),
            rejected: Vec::new(),
            rejected_bytes: 0,
            limits,
            row_bytes_max,
            split: String::new(),
            time_max: None,
            horizon_ms: i64::MAX,
            last_rows: 0,
            last_value_bytes: 0,
        }
    }

    /// Rows that follow are of this split; forgets the largest time.
    pub fn begin_split(&mut self, split: &str) {
        self.split.clear();
        self.split.push_str(split);
        self.time_max = None;
    }

    /// From now on event times later than this are refused.
    pub fn set_horizon(&mut self, horizon_ms: i64) {
        self.horizon_ms = horizon_ms;
    }

    /// Refuses a time that is too far ahead of the clock.
    ///
    /// # Errors
    /// The reason.
    #[inline]
    pub fn check_time(&self, time: Option<i64>) -> Result<(), String> {
        match time {
            Some(time) if time > self.horizon_ms => Err(too_far_ahead(time)),
            _ => Ok(()),
        }
    }

    /// The largest event time of the split since [`Gather::begin_split`].
    pub fn time_max(&self) -> Option<i64> {
        self.time_max
    }

    /// True where there are neither rows nor rejected rows.
    pub fn is_empty(&self) -> bool {
        self.columns.value_ends.is_empty() && self.rejected.is_empty()
    }

    /// True where the batch has reached one of its bounds.
    #[inline]
    pub fn is_full(&self) -> bool {
        let rows = self.columns.value_ends.len() + self.rejected.len();
        rows >= self.limits.rows_max
            || self.columns.values.len() + self.columns.keys.len() + rows * ROW_OVERHEAD_BYTES + self.rejected_bytes
                >= self.limits.bytes_max
    }

    /// Appends a row without key and time. All rows of a source are plain, or none is.
    #[inline]
    pub fn push_plain(&mut self, value: &[u8]) {
        self.columns.values.extend_from_slice(value);
        // Fits: a batch is full at 1 GiB, and no row has more than 256 MiB.
        self.columns.value_ends.push(self.columns.values.len() as u32);
    }

    /// Appends a row. A value that the columns cannot hold is rejected.
    #[inline]
    pub fn push(&mut self, offset: u64, key: &[u8], value: &[u8], time: Option<i64>) {
        let columns = &mut self.columns;
        let (Ok(key_end), Ok(value_end)) =
            (u32::try_from(columns.keys.len() + key.len()), u32::try_from(columns.values.len() + value.len()))
        else {
            return self.reject(offset, value, format!("the row has {} bytes of JSON, more than a batch can hold", value.len()));
        };
        columns.keys.extend_from_slice(key);
        columns.key_ends.push(key_end);
        columns.values.extend_from_slice(value);
        columns.value_ends.push(value_end);
        columns.times.push(time.unwrap_or(0));
        if time > self.time_max {
            self.time_max = time;
        }
    }

    /// Notes a row that cannot be read; keeps the first `row_bytes_max` of its bytes.
    #[cold]
    pub fn reject(&mut self, offset: u64, bytes: &[u8], reason: String) {
        let bytes = bytes[..bytes.len().min(self.row_bytes_max)].to_vec();
        self.rejected_bytes += bytes.len() + reason.len();
        self.rejected.push(Rejected { split: self.split.clone(), offset, bytes, reason });
    }

    /// Notes a row that is too long; `head` is its beginning.
    #[cold]
    pub fn reject_long(&mut self, offset: u64, head: &[u8], hint: &str) {
        let max = self.row_bytes_max;
        self.reject(offset, head, format!("the row is longer than `row-max` ({max} bytes){hint}"));
    }

    /// Gives the rows away and starts anew, with room for as many.
    pub fn take(&mut self) -> (Batch, Vec<Rejected>) {
        let mut columns = std::mem::take(&mut self.columns);
        let rows = columns.value_ends.len();
        columns.times.resize(rows, 0);
        columns.key_ends.resize(rows, columns.keys.len() as u32);
        (self.last_rows, self.last_value_bytes) = (rows, columns.values.len());
        self.rejected_bytes = 0;
        let rows = Batch::from_columns(columns).expect("columns are only appended to, row by row");
        (rows, std::mem::take(&mut self.rejected))
    }

    /// Makes room for as much as the last batch had, where nothing has been gathered yet.
    pub fn reserve(&mut self) {
        if self.columns.value_ends.capacity() == 0 {
            self.columns.value_ends.reserve(self.last_rows);
            self.columns.values.reserve(self.last_value_bytes);
        }
    }
}

#[cold]
fn too_far_ahead(time: i64) -> String {
    let date = chrono::DateTime::from_timestamp_millis(time);
    let date = date.map_or_else(|| format!("{time} ms"), |date| date.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    format!("the event time {date} is further ahead of the clock than `time-ahead-max` of the source allows")
}
