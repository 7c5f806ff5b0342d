//! What calls gave, and where two runs differ.

use crate::batch::{Batch, Row};
use std::collections::BTreeMap;

/// What one call did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// The rows of each output, in order. No batch is empty.
    pub outputs: BTreeMap<u32, Batch>,
    /// Rows that were refused, by their place in the batch, and why.
    pub rejected: BTreeMap<u32, String>,
}

impl Effect {
    /// Puts the pieces of a call together. A column that would pass 4 GiB ends there; the limit on the output of a call is far below.
    #[must_use]
    pub fn new(outputs: Vec<(u32, Batch)>, rejected: impl IntoIterator<Item = (u32, String)>) -> Self {
        let mut effect = Self { outputs: BTreeMap::new(), rejected: rejected.into_iter().collect() };
        for (port, rows) in outputs {
            if !rows.is_empty() && effect.outputs.entry(port).or_default().append(&rows).is_err() {
                break;
            }
        }
        effect
    }

    /// Rows of all outputs.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.outputs.values().map(|rows| rows.len() as u64).sum()
    }
}

/// A row of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRow {
    /// Event time.
    pub time: i64,
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

impl From<Row<'_>> for OwnedRow {
    fn from(row: Row<'_>) -> Self {
        Self { time: row.time, key: row.key.to_vec(), value: row.value.to_vec() }
    }
}

/// Where the outputs of two runs differ first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutputDifference {
    /// A row is missing, is one too many, or is another one.
    Row {
        /// Index of the output.
        port: u32,
        /// Its place among those that were compared; where rows are paired by key, its place among the rows of that key.
        place: usize,
        /// What had to come.
        expected: Option<OwnedRow>,
        /// What came.
        came: Option<OwnedRow>,
        /// The same rows came, in another order.
        is_order: bool,
    },
    /// A row was refused in one run alone, or for another reason.
    Rejected {
        /// Its place in the batch, or among all rows of its input where the batches were cut at other places.
        row: u64,
        /// Why it had to be refused.
        expected: Option<String>,
        /// Why it was refused.
        came: Option<String>,
    },
}

impl OutputDifference {
    /// The same rows came, in another order.
    #[must_use]
    pub fn is_order(&self) -> bool {
        matches!(self, Self::Row { is_order: true, .. })
    }
}

/// Which rows of two runs belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// CheckedCall by call, row by row. What a call refuses is compared with the reasons.
    Exact,
    /// The n-th row of each key, wherever the calls were cut: all that a receiver behind an exchange by key can rely on. What was refused
    /// counts by number.
    ByKey,
    /// Any order: rows came from several instances.
    Any,
}

/// Where two runs differ first: the place in the lists (0 unless [`Pairing::Exact`]), and how.
#[must_use]
pub fn compare(expected: &[Effect], came: &[Effect], pairing: Pairing) -> Option<(usize, OutputDifference)> {
    if pairing == Pairing::Exact {
        let none = Effect::default();
        return (0..expected.len().max(came.len())).find_map(|at| {
            let (expected, came) = (expected.get(at).unwrap_or(&none), came.get(at).unwrap_or(&none));
            compare_outputs(&[expected], &[came], pairing).or_else(|| compare_rejected(expected, came)).map(|found| (at, found))
        });
    }
    let (expected, came): (Vec<&Effect>, Vec<&Effect>) = (expected.iter().collect(), came.iter().collect());
    compare_outputs(&expected, &came, pairing).or_else(|| count_rejected(&expected, &came)).map(|found| (0, found))
}

fn compare_outputs(expected: &[&Effect], came: &[&Effect], pairing: Pairing) -> Option<OutputDifference> {
    let ports = |effects: &[&Effect]| effects.iter().filter_map(|effect| effect.outputs.keys().next_back().copied()).max();
    let last = ports(expected).max(ports(came))?;
    (0..=last).find_map(|port| compare_port(port, rows(expected, port, pairing), rows(came, port, pairing), pairing))
}

/// The rows of one output, in the order in which they are compared.
fn rows<'a>(effects: &[&'a Effect], port: u32, pairing: Pairing) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = effects.iter().filter_map(|effect| effect.outputs.get(&port)).flat_map(Batch::rows).collect();
    match pairing {
        Pairing::Exact => {}
        // Stable: the order of each key stays.
        Pairing::ByKey => rows.sort_by(|a, b| a.key.cmp(b.key)),
        Pairing::Any => rows.sort_by(|a, b| order(a).cmp(&order(b))),
    }
    rows
}

fn order<'a>(row: &Row<'a>) -> (&'a [u8], i64, &'a [u8]) {
    (row.key, row.time, row.value)
}

fn compare_port(port: u32, expected: Vec<Row<'_>>, came: Vec<Row<'_>>, pairing: Pairing) -> Option<OutputDifference> {
    let length = expected.len().max(came.len());
    let place = (0..length).find(|&place| expected.get(place) != came.get(place))?;
    let (mut left, mut right) = (expected.get(place).copied(), came.get(place).copied());
    match (pairing, left, right) {
        // In lists sorted by key the smaller one of two keys has no partner.
        (Pairing::ByKey, Some(a), Some(b)) if a.key < b.key => right = None,
        (Pairing::ByKey, Some(a), Some(b)) if a.key > b.key => left = None,
        (Pairing::Any, ..) => (left, right) = (without_partner(&expected, &came), without_partner(&came, &expected)),
        _ => {}
    }
    let of_key = |rows: &[Row<'_>], key: &[u8]| rows[..place.min(rows.len())].iter().filter(|row| row.key == key).count();
    let shown = match (pairing, left.or(right)) {
        (Pairing::ByKey, Some(row)) => of_key(&expected, row.key),
        _ => place,
    };
    let sorted = |mut rows: Vec<Row<'_>>| -> Vec<OwnedRow> {
        rows.sort_by(|a, b| order(a).cmp(&order(b)));
        rows.into_iter().map(OwnedRow::from).collect()
    };
    let (left, right) = (left.map(OwnedRow::from), right.map(OwnedRow::from));
    let is_order = expected.len() == came.len() && sorted(expected) == sorted(came);
    Some(OutputDifference::Row { port, place: shown, expected: left, came: right, is_order })
}

/// The first row of one sorted list that the other one lacks.
fn without_partner<'a>(rows: &[Row<'a>], other: &[Row<'_>]) -> Option<Row<'a>> {
    let mut other = other.iter().peekable();
    rows.iter().copied().find(|row| {
        while other.next_if(|partner| order(partner) < order(row)).is_some() {}
        other.next_if(|partner| **partner == *row).is_none()
    })
}

fn compare_rejected(expected: &Effect, came: &Effect) -> Option<OutputDifference> {
    let all: std::collections::BTreeSet<u32> = expected.rejected.keys().chain(came.rejected.keys()).copied().collect();
    all.into_iter().find_map(|row| {
        let (left, right) = (expected.rejected.get(&row), came.rejected.get(&row));
        (left != right).then(|| OutputDifference::Rejected { row: u64::from(row), expected: left.cloned(), came: right.cloned() })
    })
}

fn count_rejected(expected: &[&Effect], came: &[&Effect]) -> Option<OutputDifference> {
    let count = |effects: &[&Effect]| effects.iter().map(|effect| effect.rejected.len() as u64).sum::<u64>();
    let (left, right) = (count(expected), count(came));
    let text = |count: u64| Some(format!("{count} rows refused in all"));
    (left != right).then(|| OutputDifference::Rejected { row: left.min(right), expected: text(left), came: text(right) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(rows: &[(&str, &str)]) -> Effect {
        let mut batch = Batch::new();
        for (key, value) in rows {
            batch.push(Row { time: 0, key: key.as_bytes(), value: value.as_bytes() }).unwrap();
        }
        Effect::new(vec![(0, batch)], [])
    }

    fn row(key: &str, value: &str) -> Option<OwnedRow> {
        Some(OwnedRow { time: 0, key: key.into(), value: value.into() })
    }

    #[test]
    fn the_first_row_that_differs_is_named_with_its_call() {
        let run = [effect(&[("a", "1")]), effect(&[("a", "2"), ("b", "1")])];
        assert_eq!(compare(&run, &run, Pairing::Exact), None);
        let other = [effect(&[("a", "1")]), effect(&[("a", "2"), ("b", "2")])];
        let found = OutputDifference::Row { port: 0, place: 1, expected: row("b", "1"), came: row("b", "2"), is_order: false };
        assert_eq!(compare(&run, &other, Pairing::Exact), Some((1, found)));
        let short = [effect(&[("a", "1")])];
        let Some((1, OutputDifference::Row { came: None, .. })) = compare(&run, &short, Pairing::Exact) else { panic!("nothing came") };
    }

    #[test]
    fn another_order_is_told_from_other_rows() {
        let (run, other) = ([effect(&[("a", "1"), ("b", "1")])], [effect(&[("b", "1"), ("a", "1")])]);
        assert!(compare(&run, &other, Pairing::Exact).unwrap().1.is_order());
        assert_eq!(compare(&run, &other, Pairing::ByKey), None, "only the order of a key counts");
        let (run, other) = ([effect(&[("a", "1"), ("a", "2")])], [effect(&[("a", "2")]), effect(&[("a", "1")])]);
        let (_, found) = compare(&run, &other, Pairing::ByKey).unwrap();
        assert!(found.is_order());
        assert_eq!(compare(&run, &other, Pairing::Any), None);
    }

    #[test]
    fn rows_without_a_partner_are_missing_or_too_many() {
        let (run, other) = ([effect(&[("a", "1"), ("b", "1"), ("b", "2")])], [effect(&[("a", "1"), ("b", "2")])]);
        let missing = OutputDifference::Row { port: 0, place: 1, expected: row("b", "1"), came: None, is_order: false };
        assert_eq!(compare(&run, &other, Pairing::Any), Some((0, missing)));
        let changed = [effect(&[("b", "2"), ("a", "1"), ("b", "0")])];
        let both = OutputDifference::Row { port: 0, place: 1, expected: row("b", "1"), came: row("b", "0"), is_order: false };
        assert_eq!(compare(&run, &changed, Pairing::Any), Some((0, both)));
        let Some((_, OutputDifference::Row { expected: None, .. })) = compare(&other, &run, Pairing::Any) else { panic!("one too many") };
        let Some((_, OutputDifference::Row { place, .. })) = compare(&run, &other, Pairing::ByKey) else { panic!("they differ") };
        assert_eq!(place, 0, "the first row of its key");
    }

    #[test]
    fn refused_rows_are_compared_too() {
        let refuse = |row: u32, why: &str| Effect::new(Vec::new(), [(row, why.to_owned())]);
        assert_eq!(compare(&[refuse(1, "x")], &[refuse(1, "x")], Pairing::Exact), None);
        assert!(compare(&[refuse(1, "x")], &[refuse(1, "y")], Pairing::Exact).is_some());
        assert!(compare(&[refuse(1, "x")], &[refuse(2, "x")], Pairing::Exact).is_some());
        assert_eq!(compare(&[refuse(1, "x")], &[refuse(2, "y")], Pairing::ByKey), None);
        assert!(compare(&[refuse(1, "x")], &[Effect::default()], Pairing::ByKey).is_some());
    }
}
