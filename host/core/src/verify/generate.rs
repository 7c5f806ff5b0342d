//! Rows to try an operator with. The contract does not say what an input holds, so there are several shapes, and whoever tries them takes
//! the one that the operator takes.

use super::{Script, SeededRandom, Step};
use crate::batch::{Batch, Row};

/// What the values of generated rows look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A few words of text.
    Words,
    /// A whole number as text.
    Numbers,
    /// `word,number,time`.
    Fields,
    /// A JSON object.
    Json,
    /// A signed 64-bit integer, 8 bytes, least significant first.
    I64Le,
    /// Any bytes.
    Bytes,
}

impl Shape {
    /// All of them, the likeliest first.
    pub const ALL: [Self; 6] = [Self::Words, Self::Json, Self::Numbers, Self::Fields, Self::I64Le, Self::Bytes];

    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Words => "words of text",
            Self::Numbers => "whole numbers as text",
            Self::Fields => "lines `word,number,time`",
            Self::Json => "JSON objects",
            Self::I64Le => "integers of 8 bytes",
            Self::Bytes => "any bytes",
        }
    }
}

/// The event time at which generated rows begin.
const BEGIN_MS: i64 = 1_700_000_000_000;
/// Rows of a batch, at most.
const BATCH_ROWS_MAX: usize = 40;
/// Bytes of the longest values, of which there are a few.
const LONG_BYTES: usize = 64 << 10;
/// How far the watermark is behind the clock of the rows.
const LAG_MS: i64 = 30_000;

const WORDS: [&str; 12] = ["be", "not", "Or", "to", "the", "question", "naïve", "слово", "語", "sea-of", "it's", "x"];

/// A script of about `rows` rows over all inputs, with watermarks between and the end of the input behind them.
///
/// Keys: few that come often, many that come once, the empty one, long ones and such that are not ASCII. Times rise with exceptions; one
/// in fifty is behind a watermark that was told.
#[must_use]
pub fn generate(shape: Shape, inputs: u32, rows: usize, random: &mut SeededRandom) -> Script {
    let mut steps = Vec::new();
    let (mut clock, mut told, mut made) = (BEGIN_MS, i64::MIN, 0);
    while made < rows {
        let length = if random.chance(15) { 1 } else { 1 + random.below(BATCH_ROWS_MAX) };
        let mut batch = Batch::new();
        for _ in 0..length {
            clock += random.between(0, 2_000);
            let time = time(clock, told, random);
            let (key, value) = (key(shape, made, random), value(shape, made, time, random));
            batch.push(Row { time, key: &key, value: &value }).expect("a batch has a few dozen rows of at most 64 KiB");
            made += 1;
        }
        steps.push(Step::Rows { input: random.below(inputs as usize) as u32, rows: batch });
        if random.chance(30) && clock - LAG_MS > told {
            told = clock - LAG_MS;
            steps.push(Step::Watermark(told));
        }
    }
    steps.push(Step::Watermark(i64::MAX));
    Script { steps }
}

fn time(clock: i64, told: i64, random: &mut SeededRandom) -> i64 {
    if random.chance(2) {
        return clock - LAG_MS - random.between(0, 60_000);
    }
    let behind = if random.chance(25) { random.between(0, 20_000) } else { 0 };
    (clock - behind).max(told.saturating_add(1))
}

fn key(shape: Shape, made: usize, random: &mut SeededRandom) -> Vec<u8> {
    let text_only = !matches!(shape, Shape::I64Le | Shape::Bytes);
    match random.below(20) {
        0 => Vec::new(),
        1 => random.pick(&["ключ", "鍵", "naïve key", "a\tb", "\"quoted\"", "a/b,c"]).as_bytes().to_vec(),
        2 => format!("once-{made}").into_bytes(),
        3 if made.is_multiple_of(7) => vec![b'k'; 1 + random.below(4096)],
        4 if !text_only => vec![0xff, 0x00, (made % 3) as u8],
        // The smaller of two numbers: some keys come far more often than others.
        _ => format!("key-{}", random.below(24).min(random.below(24))).into_bytes(),
    }
}

fn words(made: usize, random: &mut SeededRandom) -> String {
    let mut text: Vec<&str> = (0..random.below(7)).map(|_| random.pick(&WORDS)).collect();
    if made % 401 == 200 {
        text.resize(LONG_BYTES / 3 + 1, "be");
    }
    text.join(" ")
}

fn value(shape: Shape, made: usize, time: i64, random: &mut SeededRandom) -> Vec<u8> {
    let number = random.between(-1_000, 1_000);
    match shape {
        Shape::Words => words(made, random).into_bytes(),
        Shape::Numbers => number.to_string().into_bytes(),
        Shape::Fields => format!("{},{number},{time}", random.pick(&WORDS)).into_bytes(),
        Shape::Json => {
            let (text, word) = (words(made, random), random.pick(&WORDS));
            let (flag, half) = (random.chance(50), number as f64 / 2.0);
            let head = format!("{{\"id\":{made},\"key\":\"key-{}\",\"word\":\"{word}\",\"text\":\"{text}\"", random.below(9));
            format!("{head},\"n\":{number},\"x\":{half:?},\"flag\":{flag},\"none\":null,\"tags\":[\"{word}\"],\"time\":{time}}}")
                .into_bytes()
        }
        Shape::I64Le => number.to_le_bytes().to_vec(),
        Shape::Bytes => {
            let length = if made % 401 == 200 { LONG_BYTES } else { random.below(40) };
            (0..length).map(|_| random.number() as u8).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn generated_rows_have_what_operators_stumble_over() {
        for shape in Shape::ALL {
            let script = generate(shape, 2, 1200, &mut SeededRandom::new(1));
            assert_eq!(script, generate(shape, 2, 1200, &mut SeededRandom::new(1)));
            let (mut keys, mut inputs, mut told) = (BTreeMap::<Vec<u8>, u32>::new(), [0, 0], i64::MIN);
            let (mut late, mut falling, mut last) = (0, 0, i64::MIN);
            for step in &script.steps {
                match step {
                    Step::Rows { input, rows } => {
                        inputs[*input as usize] += rows.len();
                        for row in rows.rows() {
                            *keys.entry(row.key.to_vec()).or_default() += 1;
                            late += u32::from(row.time <= told);
                            falling += u32::from(row.time < last);
                            last = row.time;
                        }
                    }
                    Step::Watermark(watermark) => {
                        assert!(*watermark > told);
                        told = *watermark;
                    }
                }
            }
            assert_eq!(told, i64::MAX, "the input ends");
            assert!(inputs.iter().all(|rows| *rows > 300) && script.rows() >= 1200);
            assert!(keys.contains_key(&Vec::new()) && keys.keys().any(|key| key.len() > 500));
            assert!(keys.keys().any(|key| !key.is_ascii()));
            assert!(keys.values().any(|count| *count > 50) && keys.values().filter(|count| **count == 1).count() > 10);
            assert!(late > 0 && falling > 50);
        }
    }

    #[test]
    fn values_are_of_their_shape() {
        let values = |shape| {
            let script = generate(shape, 1, 900, &mut SeededRandom::new(2));
            script.batches().flat_map(|rows| rows.rows().map(|row| row.value.to_vec()).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert!(values(Shape::Numbers).into_iter().all(|value| text(value).parse::<i64>().is_ok()));
        assert!(values(Shape::Fields).into_iter().all(|value| text(value).split(',').count() == 3));
        assert!(values(Shape::I64Le).iter().all(|value| value.len() == 8));
        let long = |shape| values(shape).iter().any(|value| value.len() >= LONG_BYTES);
        assert!(long(Shape::Words) && long(Shape::Json) && long(Shape::Bytes));
        assert!(values(Shape::Words).iter().any(Vec::is_empty));
    }
}
