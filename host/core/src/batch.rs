//! Rows as columns: the one shape in which rows travel, between sources, operators, workers and sinks.
//!
//! A [`Batch`] that exists is legal: its fields are private, and every constructor checks. It mirrors `record batch` of the WIT
//! contract (`wit/data.wit`).

use crate::columns::{self, ColumnError};

/// Rows in columnar form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    times: Vec<i64>,
    key_ends: Vec<u32>,
    keys: Vec<u8>,
    value_ends: Vec<u32>,
    values: Vec<u8>,
}

/// One row of a batch, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// Event time, milliseconds since 1970-01-01T00:00:00Z.
    pub time: i64,
    /// The key; empty where the row has none.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

/// The columns of a batch, for handing it on without a copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// Event time of each row.
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
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with room for so many rows, bytes of all keys, and bytes of all values.
    #[must_use]
    pub fn with_capacity(rows: usize, keys_bytes: usize, values_bytes: usize) -> Self {
        Self {
            times: Vec::with_capacity(rows),
            key_ends: Vec::with_capacity(rows),
            keys: Vec::with_capacity(keys_bytes),
            value_ends: Vec::with_capacity(rows),
            values: Vec::with_capacity(values_bytes),
        }
    }

    /// Takes columns that came from elsewhere.
    ///
    /// # Errors
    /// The first breach of the law of columns; the columns are dropped.
    pub fn from_columns(columns: Columns) -> Result<Self, ColumnError> {
        let Columns { times, key_ends, keys, value_ends, values } = columns;
        columns::check("keys", times.len(), &key_ends, &keys)?;
        columns::check("values", times.len(), &value_ends, &values)?;
        Ok(Self { times, key_ends, keys, value_ends, values })
    }

    /// Gives the columns away.
    #[must_use]
    pub fn into_columns(self) -> Columns {
        let Self { times, key_ends, keys, value_ends, values } = self;
        Columns { times, key_ends, keys, value_ends, values }
    }

    /// Appends one row.
    ///
    /// # Errors
    /// [`ColumnError::TooLong`] where keys or values would pass 4 GiB; the batch is unchanged then.
    #[inline]
    pub fn push(&mut self, row: Row<'_>) -> Result<(), ColumnError> {
        columns::push("keys", &mut self.key_ends, &mut self.keys, row.key)?;
        if let Err(error) = columns::push("values", &mut self.value_ends, &mut self.values, row.value) {
            self.key_ends.pop();
            self.keys.truncate(self.keys.len() - row.key.len());
            return Err(error);
        }
        self.times.push(row.time);
        Ok(())
    }

    /// Appends all rows of `other`.
    ///
    /// # Errors
    /// [`ColumnError::TooLong`]; the batch is unchanged then.
    pub fn append(&mut self, other: &Batch) -> Result<(), ColumnError> {
        let (keys, values) = (self.keys.len() + other.keys.len(), self.values.len() + other.values.len());
        for (column, bytes) in [("keys", keys), ("values", values)] {
            if u32::try_from(bytes).is_err() {
                return Err(ColumnError::TooLong { column, bytes });
            }
        }
        let (key_base, value_base) = (self.keys.len() as u32, self.values.len() as u32);
        self.key_ends.extend(other.key_ends.iter().map(|end| key_base + end));
        self.value_ends.extend(other.value_ends.iter().map(|end| value_base + end));
        self.keys.extend_from_slice(&other.keys);
        self.values.extend_from_slice(&other.values);
        self.times.extend_from_slice(&other.times);
        Ok(())
    }

    /// Number of rows.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// True where there are no rows.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Bytes that the rows take: keys, values and 16 bytes a row for times and ends.
    #[inline]
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.size_bytes_from(0)
    }

    /// The size of the rows from `row` on.
    #[must_use]
    pub fn size_bytes_from(&self, row: usize) -> usize {
        let before = |ends: &[u32]| if row == 0 { 0 } else { ends.get(row - 1).map_or(usize::MAX, |end| *end as usize) };
        let keys = self.keys.len().saturating_sub(before(&self.key_ends));
        let values = self.values.len().saturating_sub(before(&self.value_ends));
        keys + values + self.times.len().saturating_sub(row) * 16
    }

    /// Row `row`, or `None` past the end.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<Row<'_>> {
        (row < self.len()).then(|| self.row(row))
    }

    #[inline]
    fn row(&self, row: usize) -> Row<'_> {
        Row { time: self.times[row], key: self.key(row), value: columns::slice(&self.value_ends, &self.values, row) }
    }

    /// The key of row `row`.
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    #[must_use]
    pub fn key(&self, row: usize) -> &[u8] {
        columns::slice(&self.key_ends, &self.keys, row)
    }

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.len()).map(|row| self.row(row))
    }

    /// The times of all rows.
    #[must_use]
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// The ends of all keys.
    #[must_use]
    pub fn key_ends(&self) -> &[u32] {
        &self.key_ends
    }

    /// The bytes of all keys.
    #[must_use]
    pub fn keys(&self) -> &[u8] {
        &self.keys
    }

    /// The ends of all values.
    #[must_use]
    pub fn value_ends(&self) -> &[u32] {
        &self.value_ends
    }

    /// The bytes of all values.
    #[must_use]
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// A copy of some rows.
    ///
    /// # Panics
    /// Where the range does not lie within the rows.
    #[must_use]
    pub fn slice(&self, rows: std::ops::Range<usize>) -> Self {
        let of = |ends: &[u32], bytes: &[u8]| {
            let start = if rows.start == 0 { 0 } else { ends[rows.start - 1] };
            let end = if rows.end == 0 { 0 } else { ends[rows.end - 1] };
            let ends = ends[rows.clone()].iter().map(|end| end - start).collect();
            (ends, bytes[start as usize..end as usize].to_vec())
        };
        let (key_ends, keys) = of(&self.key_ends, &self.keys);
        let (value_ends, values) = of(&self.value_ends, &self.values);
        Self { times: self.times[rows].to_vec(), key_ends, keys, value_ends, values }
    }

    /// Removes all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.times.clear();
        self.key_ends.clear();
        self.keys.clear();
        self.value_ends.clear();
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows() -> impl Strategy<Value = Vec<(i64, Vec<u8>, Vec<u8>)>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..9);
        proptest::collection::vec((any::<i64>(), bytes(), bytes()), 0..20)
    }

    fn build(rows: &[(i64, Vec<u8>, Vec<u8>)]) -> Batch {
        let mut batch = Batch::new();
        for (time, key, value) in rows {
            batch.push(Row { time: *time, key, value }).unwrap();
        }
        batch
    }

    proptest! {
        #[test]
        fn a_slice_holds_the_rows_of_its_range(rows in rows(), at in any::<(prop::sample::Index, prop::sample::Index)>()) {
            let mut batch = Batch::new();
            for (time, key, value) in &rows {
                batch.push(Row { time: *time, key, value }).unwrap();
            }
            let (a, b) = (at.0.index(rows.len() + 1), at.1.index(rows.len() + 1));
            let range = a.min(b)..a.max(b);
            let slice = batch.slice(range.clone());
            prop_assert!(slice.rows().eq(batch.rows().skip(range.start).take(range.len())));
            prop_assert_eq!(batch.size_bytes_from(range.start), batch.slice(range.start..rows.len()).size_bytes());
            prop_assert_eq!(Batch::from_columns(slice.clone().into_columns()), Ok(slice));
        }
    }

    proptest! {
        #[test]
        fn rows_come_back_as_they_went_in(rows in rows()) {
            let batch = build(&rows);
            let back: Vec<_> = batch.rows().map(|r| (r.time, r.key.to_vec(), r.value.to_vec())).collect();
            prop_assert_eq!(&back, &rows);
            prop_assert_eq!(Batch::from_columns(batch.clone().into_columns()).unwrap(), batch);
        }

        #[test]
        fn append_equals_pushing_the_rows(a in rows(), b in rows()) {
            let mut left = build(&a);
            left.append(&build(&b)).unwrap();
            let all: Vec<_> = a.into_iter().chain(b).collect();
            prop_assert_eq!(left, build(&all));
        }
    }

    #[test]
    fn lying_columns_are_refused() {
        let good = build(&[(1, b"k".to_vec(), b"v".to_vec())]).into_columns();
        let mut short = good.clone();
        short.value_ends.clear();
        assert!(Batch::from_columns(short).is_err());
        let mut long = good.clone();
        long.keys.push(0);
        assert!(Batch::from_columns(long).is_err());
        let mut times = good;
        times.times.push(2);
        assert!(Batch::from_columns(times).is_err());
    }
}
