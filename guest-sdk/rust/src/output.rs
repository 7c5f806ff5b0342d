//! Rows on their way out, appended straight to the columns that the host will read.
//!
//! Columns that are full are set aside and new ones begun, so that however much a call emits, no column is copied to be cut into pieces, and
//! none grows beyond what the host takes at once.

use crate::rows::Batch;
use crate::short;
use std::any::TypeId;
use std::collections::VecDeque;
use std::fmt::Display;
use std::io::Write;

/// Room kept for the next call after one that emitted: at most this many bytes a column, so that one large answer is not held for ever.
const RESERVE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a piece of output, where the host does not want less.
pub(crate) const PIECE_BYTES_MAX: usize = 4 << 20;

/// Something whose bytes can stand in a column: `&str`, `&[u8]`, `[u8; N]`, [`Int`](crate::Int) for the digits of an integer, and [`Text`]
/// for anything that is displayed.
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
                short::append(column, self.as_ref());
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

/// The text of a value, written without an allocation: `out.emit(time, key, Text(mean))`.
///
/// What `std::fmt` does takes some 100 ns a value: for integers there is [`Int`](crate::Int), and for text of several pieces
/// [`Output::row`].
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
    /// The refused rows, in rising order.
    pub rejected: Vec<Rejection>,
    /// The rows emitted, or the first of them.
    pub emitted: Emitted,
}

/// A piece of what one call emitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emitted {
    /// Rows, each batch with the index of its output; those of one output in the order in which they were emitted.
    pub outputs: Vec<(u32, Batch)>,
    /// There are more.
    pub more: bool,
}

/// Takes what an operator emits and refuses during one call.
#[derive(Debug)]
pub struct Output {
    /// For each output the batch that takes its rows.
    ports: Vec<Batch>,
    /// Batches that take no more, in the order in which they are handed out.
    ready: VecDeque<(u32, Batch)>,
    piece_bytes_max: usize,
    rows: u32,
    rejected: Vec<Rejection>,
    fault: Option<String>,
    /// The operator whose rows its runner goes through, where it has no `process` of its own; and whether it has left them to it.
    leaves: Option<TypeId>,
    has_left: bool,
}

impl Output {
    pub(crate) fn new(ports: usize) -> Self {
        Self {
            ports: vec![Batch::default(); ports],
            ready: VecDeque::new(),
            piece_bytes_max: PIECE_BYTES_MAX,
            rows: 0,
            rejected: Vec::new(),
            fault: None,
            leaves: None,
            has_left: false,
        }
    }

    /// Hands out pieces of at most so many bytes, save rows that are larger by themselves.
    pub(crate) fn limit(&mut self, piece_bytes_max: usize) {
        self.piece_bytes_max = piece_bytes_max;
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
        key.append_to(&mut batch.keys);
        value.append_to(&mut batch.values);
        self.end_row(port, time);
    }

    /// Writes the key of a row, and gives the values of its output away, behind which its value is written.
    #[inline]
    pub(crate) fn take_values(&mut self, port: u32, key: impl Bytes) -> Vec<u8> {
        match self.ports.get_mut(port as usize) {
            Some(batch) => {
                key.append_to(&mut batch.keys);
                std::mem::take(&mut batch.values)
            }
            None => {
                self.no_port(port);
                Vec::new()
            }
        }
    }

    /// Puts back the values of an output, which a row took to write its own behind them.
    #[inline]
    pub(crate) fn put_row(&mut self, port: u32, time: i64, values: &mut Vec<u8>) {
        if let Some(batch) = self.ports.get_mut(port as usize) {
            batch.values = std::mem::take(values);
            self.end_row(port, time);
        }
    }

    /// Ends the row whose key and value stand in the columns of an output that there is.
    #[inline]
    fn end_row(&mut self, port: u32, time: i64) {
        let batch = &mut self.ports[port as usize];
        batch.times.push(time);
        batch.key_ends.push(end(&batch.keys));
        batch.value_ends.push(end(&batch.values));
        if batch.size_bytes() > self.piece_bytes_max {
            self.cut(port as usize);
        }
    }

    /// The runner of this operator goes through the rows of the next call, unless the operator does it itself.
    pub(crate) fn leave_rows_of<O: 'static>(&mut self) {
        (self.leaves, self.has_left) = (Some(TypeId::of::<O>()), false);
    }

    /// Whether the rows are left to the runner: not those of an operator that another one calls.
    pub(crate) fn leaves_rows_of<O: 'static>(&mut self) -> bool {
        self.has_left = self.leaves == Some(TypeId::of::<O>());
        self.has_left
    }

    /// Whether the last call of an operator left its rows, which the runner goes through then.
    pub(crate) fn has_left_rows(&mut self) -> bool {
        self.leaves = None;
        std::mem::take(&mut self.has_left)
    }

    /// Sets the batch of an output aside, but for the last row, with which it became too large.
    #[cold]
    fn cut(&mut self, port: usize) {
        let batch = &mut self.ports[port];
        if batch.len() > 1 {
            let mut next = room_for(batch, self.piece_bytes_max);
            batch.move_last_to(&mut next);
            self.ready.push_back((port as u32, std::mem::replace(batch, next)));
        }
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
    pub(crate) fn start(&mut self, rows: usize) -> Result<(), String> {
        if !self.ready.is_empty() {
            return Err("a call came before all output of the last one was taken".to_owned());
        }
        self.rows = u32::try_from(rows).unwrap_or(u32::MAX);
        Ok(())
    }

    /// Ends a call that went so, and gives away what it did: all of its rejections, and the first piece of its output.
    pub(crate) fn finish(&mut self, done: Result<(), String>) -> Result<Outcome, String> {
        for (port, batch) in self.ports.iter_mut().enumerate() {
            if !batch.is_empty() {
                let next = room_for(batch, RESERVE_BYTES_MAX);
                self.ready.push_back((port as u32, std::mem::replace(batch, next)));
            }
        }
        let rejected = std::mem::take(&mut self.rejected);
        let fault = self.fault.take().map_or(Ok(()), Err);
        if let Err(error) = done.and(fault) {
            self.ready.clear();
            return Err(error);
        }
        let reasons: usize = rejected.iter().map(|rejection| rejection.reason.len()).sum();
        Ok(Outcome { rejected, emitted: self.piece(reasons) })
    }

    /// Gives away the next piece of the output of the last call.
    pub(crate) fn resume(&mut self) -> Emitted {
        self.piece(0)
    }

    /// As many batches as fit into a piece in which `used` bytes are taken. A batch that is too large for any piece is a single row, and gets
    /// one to itself.
    fn piece(&mut self, used: usize) -> Emitted {
        let mut outputs = Vec::new();
        let mut bytes = used;
        while let Some((_, batch)) = self.ready.front() {
            bytes += batch.size_bytes();
            if bytes > self.piece_bytes_max && (used > 0 || !outputs.is_empty()) {
                break;
            }
            outputs.extend(self.ready.pop_front());
        }
        Emitted { outputs, more: !self.ready.is_empty() }
    }
}

/// The end of the row just appended.
#[inline]
fn end(column: &[u8]) -> u32 {
    u32::try_from(column.len()).expect("a column of one call stays below 4 GiB")
}

/// An empty batch with room for as much as the last one held, which likely comes next, but for at most so many bytes a column.
fn room_for(last: &Batch, bytes_max: usize) -> Batch {
    fn room<T>(last: &[T], bytes_max: usize) -> Vec<T> {
        let room = last.len() + last.len() / 8;
        Vec::with_capacity(room.min(bytes_max / size_of::<T>()))
    }
    Batch {
        times: room(&last.times, bytes_max),
        key_ends: room(&last.key_ends, bytes_max),
        keys: room(&last.keys, bytes_max),
        value_ends: room(&last.value_ends, bytes_max),
        values: room(&last.values, bytes_max),
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
        let outcome = out.finish(Ok(())).unwrap();
        let first = Batch { times: vec![1, 3], key_ends: vec![1, 1], keys: b"a".to_vec(), value_ends: vec![2, 2], values: b"xy".to_vec() };
        let second = Batch { times: vec![2], key_ends: vec![1], keys: b"b".to_vec(), value_ends: vec![1], values: b"7".to_vec() };
        assert_eq!(outcome.emitted, Emitted { outputs: vec![(0, first), (1, second)], more: false });
        assert_eq!(out.finish(Ok(())).unwrap(), Outcome::default());
    }

    #[test]
    fn refused_rows_are_in_order_and_once() {
        let mut out = Output::new(0);
        out.start(3).unwrap();
        out.reject(2, "b");
        out.reject(0, "a");
        out.reject(2, "again");
        let rejected = out.finish(Ok(())).unwrap().rejected;
        assert_eq!(rejected.iter().map(|r| (r.row, r.reason.as_str())).collect::<Vec<_>>(), [(0, "a"), (2, "b")]);
    }

    #[test]
    fn outputs_and_rows_that_do_not_exist_fail_the_call() {
        let mut out = Output::new(1);
        out.start(3).unwrap();
        out.emit_to(7, 0, "", "");
        assert_eq!(out.finish(Ok(())), Err("a row was emitted on output 7, but 1 are declared".to_owned()));
        out.start(3).unwrap();
        out.reject(3, "no such row");
        assert_eq!(out.finish(Ok(())), Err("row 3 was refused, but the call has 3 rows".to_owned()));
        assert_eq!(out.finish(Ok(())), Ok(Outcome::default()));
    }

    /// Takes all pieces; gives the sizes of each, and the values of one output.
    fn taken(out: &mut Output, port: u32) -> (Vec<usize>, Vec<Vec<u8>>) {
        let (mut sizes, mut values) = (Vec::new(), Vec::new());
        let mut emitted = out.finish(Ok(())).unwrap().emitted;
        loop {
            sizes.push(emitted.outputs.iter().map(|(_, batch)| batch.size_bytes()).sum());
            for (_, batch) in emitted.outputs.iter().filter(|(to, _)| *to == port) {
                values.extend(batch.rows(0).into_iter().map(|row| [row.key, row.value].concat()));
            }
            if !emitted.more {
                return (sizes, values);
            }
            emitted = out.resume();
        }
    }

    #[test]
    fn much_output_comes_in_pieces_cut_between_rows_and_in_order() {
        for piece_bytes_max in [0, 17, 18, 40, 54, 1000] {
            let mut out = Output::new(2);
            out.limit(piece_bytes_max);
            for round in 0..3 {
                for i in 0..10u8 {
                    out.emit(0, [i], [round]);
                    out.emit_to(1, 0, "", [i]);
                }
                let (sizes, values) = taken(&mut out, 0);
                assert_eq!(values, (0..10).map(|i| vec![i, round]).collect::<Vec<_>>());
                assert!(sizes.iter().all(|&size| size <= piece_bytes_max.max(18)), "{piece_bytes_max}: {sizes:?}");
                assert_eq!(sizes.iter().sum::<usize>(), 10 * 18 + 10 * 17);
            }
        }
    }

    #[test]
    fn a_row_that_is_too_large_for_a_piece_gets_one_to_itself() {
        let mut out = Output::new(1);
        out.limit(100);
        for length in [10, 500, 10, 10] {
            out.emit(0, "", vec![0; length]);
        }
        assert_eq!(taken(&mut out, 0).0, [26, 516, 52]);
    }

    #[test]
    fn reasons_count_in_the_first_piece() {
        let mut out = Output::new(1);
        out.limit(40);
        out.start(1).unwrap();
        out.reject(0, "a reason of 24 bytes, it");
        out.emit(0, "", "");
        out.emit(0, "", "");
        assert_eq!(taken(&mut out, 0).0, [0, 32]);
    }

    #[test]
    fn output_that_was_not_taken_is_not_lost_in_silence_and_that_of_a_failed_call_is_dropped() {
        let mut out = Output::new(1);
        out.limit(0);
        out.emit(0, "a", "");
        out.emit(0, "b", "");
        assert!(out.finish(Ok(())).unwrap().emitted.more);
        assert!(out.start(1).unwrap_err().contains("before all output of the last one was taken"));
        assert!(!out.resume().more);
        out.start(1).unwrap();
        out.emit(0, "a", "");
        out.emit(0, "b", "");
        assert_eq!(out.finish(Err("it failed".to_owned())), Err("it failed".to_owned()));
        out.start(1).unwrap();
    }
}
