//! The input of a run as a list of calls, and the other lists that mean the same.

use super::SeededRandom;
use crate::batch::{Batch, Row};
use crate::keying;

/// One call of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `process`.
    Rows {
        /// Index of the input.
        input: u32,
        /// What it is given.
        rows: Batch,
    },
    /// `advance`.
    Watermark(i64),
}

/// The calls of a run, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// See [`Step`].
    pub steps: Vec<Step>,
}

impl Script {
    /// Rows of all steps.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.batches().map(|rows| rows.len() as u64).sum()
    }

    /// The batches, in order.
    pub fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.steps.iter().filter_map(|step| match step {
            Step::Rows { rows, .. } => Some(rows),
            Step::Watermark(_) => None,
        })
    }

    /// The same rows and watermarks in the same order, in batches that are cut at other places.
    #[must_use]
    pub fn recut(&self, random: &mut SeededRandom) -> Self {
        // Long batches and single rows in one run: what goes wrong with batches goes wrong at their ends.
        self.regroup(|left| match random.below(4) {
            0 => 1,
            1 => 1 + random.below(4),
            2 => 1 + random.below(left),
            _ => left,
        })
    }

    /// The same rows and watermarks, in batches as long as they can be, and of at most `rows_max` rows.
    #[must_use]
    pub fn joined(&self, rows_max: usize) -> Self {
        self.regroup(|left| left.min(rows_max))
    }

    /// Puts neighbouring batches of one input together, and cuts them anew: `length` is told how many rows are left.
    fn regroup(&self, mut length: impl FnMut(usize) -> usize) -> Self {
        let mut steps = Vec::new();
        let mut gathered: Option<(u32, Vec<Row<'_>>)> = None;
        let mut cut = |gathered: Option<(u32, Vec<Row<'_>>)>, steps: &mut Vec<Step>| {
            let Some((input, rows)) = gathered else { return };
            let mut rest = rows.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(length(rest.len()).clamp(1, rest.len()));
                steps.push(Step::Rows { input, rows: batch(now.iter().copied()) });
                rest = later;
            }
        };
        for step in &self.steps {
            match step {
                Step::Rows { input, rows } => match &mut gathered {
                    Some((of, all)) if of == input => all.extend(rows.rows()),
                    _ => cut(gathered.replace((*input, rows.rows().collect())), &mut steps),
                },
                Step::Watermark(watermark) => {
                    cut(gathered.take(), &mut steps);
                    steps.push(Step::Watermark(*watermark));
                }
            }
        }
        cut(gathered, &mut steps);
        Self { steps }
    }

    /// The same, with empty keys.
    #[must_use]
    pub fn without_keys(&self) -> Self {
        let bare = |step: &Step| match step {
            Step::Rows { input, rows } => Step::Rows { input: *input, rows: batch(rows.rows().map(|row| Row { key: b"", ..row })) },
            Step::Watermark(watermark) => Step::Watermark(*watermark),
        };
        Self { steps: self.steps.iter().map(bare).collect() }
    }

    /// What each of `instances` gets where the input is exchanged by key. All have as many steps; rows of others leave empty batches.
    #[must_use]
    pub fn dealt(&self, instances: u32) -> Vec<Self> {
        let owners = keying::owners(instances);
        let owns = |instance: u32, key: &[u8]| owners[keying::group(key).0 as usize] == instance;
        let share = |instance: u32| {
            let steps = self.steps.iter().map(|step| match step {
                Step::Rows { input, rows } => Step::Rows { input: *input, rows: batch(rows.rows().filter(|row| owns(instance, row.key))) },
                Step::Watermark(watermark) => Step::Watermark(*watermark),
            });
            Self { steps: steps.collect() }
        };
        (0..instances).map(share).collect()
    }
}

/// Rows of a batch that are made of rows of others.
const BATCH_ROWS_MAX: usize = 64;

impl Script {
    /// A script of rows that are given: one batch for each input, or one for all inputs, which take turns then. Watermarks come between
    /// where rows have times, none of them before its time, and the end of the input comes last.
    #[must_use]
    pub fn of_rows(given: &[Batch], inputs: u32, has_times: bool, random: &mut SeededRandom) -> Self {
        let mut rest: Vec<(usize, usize)> =
            given.iter().enumerate().map(|(file, rows)| (file, rows.len())).filter(|(_, left)| *left > 0).collect();
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let place = random.below(rest.len());
            let (file, left) = rest[place];
            let length = (1 + random.below(BATCH_ROWS_MAX)).min(left);
            let begin = given[file].len() - left;
            let rows = batch(given[file].rows().skip(begin).take(length));
            let input = if given.len() == 1 { random.below(inputs as usize) as u32 } else { file as u32 };
            steps.push(Step::Rows { input, rows });
            rest[place].1 -= length;
            rest.retain(|(_, left)| *left > 0);
        }
        if has_times {
            steps = with_watermarks(steps, random);
        }
        steps.push(Step::Watermark(i64::MAX));
        Self { steps }
    }
}

/// Puts watermarks in, each as late as the rows behind it allow.
fn with_watermarks(steps: Vec<Step>, random: &mut SeededRandom) -> Vec<Step> {
    let mut earliest = i64::MAX;
    let mut behind: Vec<i64> = Vec::with_capacity(steps.len());
    for step in steps.iter().rev() {
        behind.push(earliest);
        if let Step::Rows { rows, .. } = step {
            earliest = rows.times().iter().copied().fold(earliest, i64::min);
        }
    }
    let (mut told, mut all) = (i64::MIN, Vec::with_capacity(steps.len()));
    for (step, behind) in steps.into_iter().zip(behind.into_iter().rev()) {
        all.push(step);
        let watermark = behind.saturating_sub(1);
        if behind != i64::MAX && watermark > told && random.chance(50) {
            told = watermark;
            all.push(Step::Watermark(told));
        }
    }
    all
}

/// A batch of rows that come from batches of one script. `host/src/verify` bounds the bytes of a script far below 4 GiB.
fn batch<'a>(rows: impl Iterator<Item = Row<'a>>) -> Batch {
    let mut batch = Batch::new();
    for row in rows {
        batch.push(row).expect("a script has far less than 4 GiB of rows");
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::{Shape, generate};

    fn flat(script: &Script) -> Vec<String> {
        let mut all = Vec::new();
        for step in &script.steps {
            match step {
                Step::Rows { input, rows } => all.extend(rows.rows().map(|row| format!("{input} {row:?}"))),
                Step::Watermark(watermark) => all.push(format!("watermark {watermark}")),
            }
        }
        all
    }

    #[test]
    fn cutting_anew_changes_neither_rows_nor_their_order() {
        let script = generate(Shape::Words, 2, 300, &mut SeededRandom::new(3));
        for seed in 0..20 {
            let recut = script.recut(&mut SeededRandom::new(seed));
            assert_eq!(flat(&recut), flat(&script));
            assert_ne!(recut, script);
            assert!(recut.batches().all(|rows| !rows.is_empty()));
        }
        let joined = script.joined(100);
        assert_eq!(flat(&joined), flat(&script));
        assert!(joined.steps.len() < script.steps.len() && joined.batches().all(|rows| rows.len() <= 100));
    }

    #[test]
    fn every_row_is_dealt_to_the_owner_of_its_key() {
        let script = generate(Shape::Words, 1, 300, &mut SeededRandom::new(3));
        let dealt = script.dealt(3);
        for (instance, share) in dealt.iter().enumerate() {
            assert_eq!(share.steps.len(), script.steps.len());
            assert!(share.batches().flat_map(Batch::rows).all(|row| keying::owner(keying::group(row.key), 3) == instance as u32));
        }
        assert_eq!(dealt.iter().map(Script::rows).sum::<u64>(), script.rows());
    }

    #[test]
    fn given_rows_keep_their_order_and_no_watermark_is_early() {
        let rows = |times: std::ops::Range<i64>| batch(times.map(|time| Row { time: time * 10 + time % 3, key: b"k", value: b"" }));
        let given = [rows(0..400), rows(100..300)];
        let script = Script::of_rows(&given, 2, true, &mut SeededRandom::new(5));
        let (mut seen, mut told, mut watermarks) = (vec![Batch::new(), Batch::new()], i64::MIN, 0);
        for step in &script.steps {
            match step {
                Step::Rows { input, rows } => {
                    assert!(rows.times().iter().all(|time| *time > told));
                    seen[*input as usize].append(rows).unwrap();
                }
                Step::Watermark(watermark) => {
                    assert!(*watermark > told);
                    (told, watermarks) = (*watermark, watermarks + 1);
                }
            }
        }
        assert_eq!(seen, given);
        assert!(told == i64::MAX && watermarks > 2);

        let alone = Script::of_rows(&given[..1], 3, false, &mut SeededRandom::new(5));
        assert_eq!(alone.rows(), 400);
        assert_eq!(alone.steps.iter().filter(|step| matches!(step, Step::Watermark(_))).count(), 1);
        assert!((0..3).all(|of| alone.steps.iter().any(|step| matches!(step, Step::Rows { input, .. } if *input == of))));
        assert_eq!(Script::of_rows(&[Batch::new()], 1, true, &mut SeededRandom::new(5)).steps, [Step::Watermark(i64::MAX)]);
    }

    #[test]
    fn keys_can_be_taken_away() {
        let script = generate(Shape::Words, 1, 50, &mut SeededRandom::new(3));
        let bare = script.without_keys();
        assert!(bare.batches().flat_map(Batch::rows).all(|row| row.key.is_empty()));
        assert_eq!(bare.rows(), script.rows());
    }
}
