//! Rows on their way out, appended straight to the columns that the host will read.

use crate::rows::Batch;
use std::fmt::Display;
use std::io::Write;

/// Room kept for the next call after one that emitted: at most this many bytes a column, so that one large answer is not held for ever.
const RESERVE_BYTES_MAX: usize = 1 << 20;

/// Something whose bytes can stand in a column: `&str`, `&[u8]`, `[u8; N]`, and [`Text`] for what is displayed.
pub trait Bytes {
    /// Appends the bytes.
    fn append_to(&self, column: &mut Vec<u8>);
}

impl<T: Bytes + ?Sized> Bytes for &T {
    #[inline]
    fn append_to(&self, column: &mut Vec<u8>) {
        (**self).append_to(column);
    }
}

macro_rules! bytes {
    ($($type:ty),*) => { $(
        impl Bytes for $type {
            #[inline]
            fn append_to(&self, column: &mut Vec<u8>) {
                column.extend_from_slice(self.as_ref());
            }
        }
    )* };
}

bytes!([u8], str, Vec<u8>, String);

impl<const N: usize> Bytes for [u8; N] {
    #[inline]
    fn append_to(&self, column: &mut Vec<u8>) {
        column.extend_from_slice(self);
    }
}

/// The text of a value, written without an allocation: `out.emit(time, key, Text(total))`.
#[derive(Debug, Clone, Copy)]
pub struct Text<T>(pub T);

impl<T: Display> Bytes for Text<T> {
    #[inline]
    fn append_to(&self, column: &mut Vec<u8>) {
        write!(column, "{}", self.0).expect("writing to memory does not fail");
    }
}

/// A row that the operator refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Place in the batch.
    pub row: u32,
    /// What is wrong with it.
    pub reason: String,
}

/// What one call did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows for the outputs that got any, with the index of the output, in rising order.
    pub outputs: Vec<(u32, Batch)>,
    /// The refused rows, in rising order.
    pub rejected: Vec<Rejection>,
}

/// Takes what an operator emits and refuses during one call.
#[derive(Debug, Default)]
pub struct Output {
    ports: Vec<Batch>,
    rows: u32,
    rejected: Vec<Rejection>,
    fault: Option<String>,
}

impl Output {
    pub(crate) fn new(ports: usize) -> Self {
        Self { ports: vec![Batch::default(); ports], ..Self::default() }
    }

    /// Emits a row on the first output.
    #[inline]
    pub fn emit(&mut self, time: i64, key: impl Bytes, value: impl Bytes) {
        self.emit_to(0, time, key, value);
    }

    /// Emits a row on the output with this index. One that was not declared makes the call fail.
    #[inline]
    pub fn emit_to(&mut self, port: u32, time: i64, key: impl Bytes, value: impl Bytes) {
        let Some(batch) = self.ports.get_mut(port as usize) else {
            return self.no_port(port);
        };
        batch.times.push(time);
        key.append_to(&mut batch.keys);
        batch.key_ends.push(end(&batch.keys));
        value.append_to(&mut batch.values);
        batch.value_ends.push(end(&batch.values));
    }

    /// Refuses a row of the input, by its [`Record::row`](crate::Record::row): it goes to quarantine with the reason, while the other rows
    /// of the call stand. Refusing a row twice is refusing it once; refusing a row that does not exist makes the call fail.
    #[cold]
    pub fn reject(&mut self, row: u32, reason: impl Into<String>) {
        if row >= self.rows {
            self.fault.get_or_insert_with(|| format!("row {row} was refused, but the call has {} rows", self.rows));
            return;
        }
        if let Err(place) = self.rejected.binary_search_by_key(&row, |rejection| rejection.row) {
            self.rejected.insert(place, Rejection { row, reason: reason.into() });
        }
    }

    #[cold]
    fn no_port(&mut self, port: u32) {
        self.fault.get_or_insert_with(|| format!("a row was emitted on output {port}, but {} are declared", self.ports.len()));
    }

    /// Gets ready for a call with `rows` input rows.
    pub(crate) fn start(&mut self, rows: usize) {
        self.rows = u32::try_from(rows).unwrap_or(u32::MAX);
    }

    /// Gives away what the call did, and is empty again.
    pub(crate) fn finish(&mut self) -> Result<Outcome, String> {
        let rejected = std::mem::take(&mut self.rejected);
        let mut outputs = Vec::new();
        for (port, batch) in self.ports.iter_mut().enumerate() {
            if !batch.is_empty() {
                outputs.push((port as u32, std::mem::replace(batch, room_for(batch))));
            }
        }
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(Outcome { outputs, rejected }),
        }
    }
}

/// The end of the row just appended.
#[inline]
fn end(column: &[u8]) -> u32 {
    u32::try_from(column.len()).expect("a column of one call stays below 4 GiB")
}

/// An empty batch with room for as much as the last one held: the next call will likely emit as much.
fn room_for(last: &Batch) -> Batch {
    fn room<T>(last: &[T]) -> Vec<T> {
        let room = last.len() + last.len() / 8;
        Vec::with_capacity(room.min(RESERVE_BYTES_MAX / size_of::<T>()))
    }
    Batch {
        times: room(&last.times),
        key_ends: room(&last.key_ends),
        keys: room(&last.keys),
        value_ends: room(&last.value_ends),
        values: room(&last.values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_land_in_the_columns_of_their_output() {
        let mut out = Output::new(2);
        out.emit(1, "a", b"xy");
        out.emit_to(1, 2, b"b".as_slice(), Text(7));
        out.emit(3, "", String::new());
        let outcome = out.finish().unwrap();
        let first = Batch { times: vec![1, 3], key_ends: vec![1, 1], keys: b"a".to_vec(), value_ends: vec![2, 2], values: b"xy".to_vec() };
        let second = Batch { times: vec![2], key_ends: vec![1], keys: b"b".to_vec(), value_ends: vec![1], values: b"7".to_vec() };
        assert_eq!(outcome.outputs, vec![(0, first), (1, second)]);
        assert_eq!(out.finish().unwrap(), Outcome::default());
    }

    #[test]
    fn refused_rows_are_in_order_and_once() {
        let mut out = Output::new(0);
        out.start(3);
        out.reject(2, "b");
        out.reject(0, "a");
        out.reject(2, "again");
        let rejected = out.finish().unwrap().rejected;
        assert_eq!(rejected.iter().map(|r| (r.row, r.reason.as_str())).collect::<Vec<_>>(), [(0, "a"), (2, "b")]);
    }

    #[test]
    fn outputs_and_rows_that_do_not_exist_fail_the_call() {
        let mut out = Output::new(1);
        out.start(3);
        out.emit_to(7, 0, "", "");
        assert_eq!(out.finish(), Err("a row was emitted on output 7, but 1 are declared".to_owned()));
        out.start(3);
        out.reject(3, "no such row");
        assert_eq!(out.finish(), Err("row 3 was refused, but the call has 3 rows".to_owned()));
        assert_eq!(out.finish(), Ok(Outcome::default()));
    }
}
