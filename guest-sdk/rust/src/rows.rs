//! Rows on their way in: a borrowed view of the columns that the host hands over.
//!
//! The host sends only batches that obey the law of `wit/data.wit`; a batch that does not ends in a panic here, which is a trap.

/// Rows in columnar form, as `wit/data.wit` has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Event time of each row, in milliseconds since 1970-01-01T00:00:00Z.
    pub times: Vec<i64>,
    /// End of each row's key in `keys`.
    pub key_ends: Vec<u32>,
    /// The keys, one after another.
    pub keys: Vec<u8>,
    /// End of each row's value in `values`.
    pub value_ends: Vec<u32>,
    /// The values, one after another.
    pub values: Vec<u8>,
}

impl Batch {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// True where there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Bytes that the rows take: keys, values and 16 bytes a row for its time and ends.
    #[inline]
    pub(crate) fn size_bytes(&self) -> usize {
        self.keys.len() + self.values.len() + self.times.len() * 16
    }

    /// Takes the last row away and appends it to `to`.
    pub(crate) fn move_last_to(&mut self, to: &mut Self) {
        fn last(ends: &mut Vec<u32>, bytes: &mut Vec<u8>, to_ends: &mut Vec<u32>, to_bytes: &mut Vec<u8>) {
            ends.pop();
            let start = ends.last().map_or(0, |&end| end as usize);
            to_bytes.extend_from_slice(&bytes[start..]);
            to_ends.push(to_bytes.len() as u32);
            bytes.truncate(start);
        }
        if let Some(time) = self.times.pop() {
            to.times.push(time);
            last(&mut self.key_ends, &mut self.keys, &mut to.key_ends, &mut to.keys);
            last(&mut self.value_ends, &mut self.values, &mut to.value_ends, &mut to.values);
        }
    }

    /// The rows, as the rows of input `input`.
    #[must_use]
    pub fn rows(&self, input: u32) -> Rows<'_> {
        Rows { batch: self, input }
    }
}

/// One row, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Index of the input it came in on.
    pub input: u32,
    /// Place in the batch: what [`Output::reject`](crate::Output::reject) wants to know.
    pub row: u32,
    /// Event time, in milliseconds since 1970-01-01T00:00:00Z.
    pub time: i64,
    /// The key; empty where the row has none.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

/// The rows of one call.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    batch: &'a Batch,
    input: u32,
}

impl<'a> Rows<'a> {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// True where there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The columns themselves.
    #[must_use]
    pub fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// The rows in order.
    #[must_use]
    pub fn iter(&self) -> RowsIter<'a> {
        RowsIter { batch: self.batch, input: self.input, row: 0, key_start: 0, value_start: 0 }
    }
}

impl<'a> IntoIterator for Rows<'a> {
    type Item = Record<'a>;
    type IntoIter = RowsIter<'a>;

    fn into_iter(self) -> RowsIter<'a> {
        self.iter()
    }
}

/// Goes through the rows of a batch.
#[derive(Debug, Clone)]
pub struct RowsIter<'a> {
    batch: &'a Batch,
    input: u32,
    row: usize,
    key_start: usize,
    value_start: usize,
}

impl<'a> Iterator for RowsIter<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let time = *self.batch.times.get(self.row)?;
        let key_end = self.batch.key_ends[self.row] as usize;
        let value_end = self.batch.value_ends[self.row] as usize;
        let record = Record {
            input: self.input,
            row: self.row as u32,
            time,
            key: &self.batch.keys[self.key_start..key_end],
            value: &self.batch.values[self.value_start..value_end],
        };
        self.row += 1;
        self.key_start = key_end;
        self.value_start = value_end;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.times.len() - self.row;
        (left, Some(left))
    }
}

impl ExactSizeIterator for RowsIter<'_> {}
