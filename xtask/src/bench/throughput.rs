//! The rows of throughput: which variants each needs, and what is made of their samples.

use std::collections::BTreeSet;

use super::hosts::Host;
use super::result::{Measure, ResultRow, TIMES};
use super::rounds::{Sample, Samples};
use super::sizes::Sizes;
use super::statistics::{Statistic, ratios};
use super::variant::{Emits, Load, Variant};
use crate::demo::grouped;

/// A row, and how it comes about.
struct ThroughputRow {
    name: &'static str,
    title: fn(&Sizes) -> String,
    variants: fn() -> Vec<Variant>,
    measures: fn(&Seen<'_>) -> Vec<Measure>,
}

const UNIT: &str = "us/row";
/// Bytes of a cell in a snapshot, beside its key and value (`docs/topology.md`, `limits.snapshot`).
const CELL_EXTRA_BYTES: u64 = 12;
/// Bytes of a key and of a value of the counters.
const KEY_BYTES: u64 = 9;
const VALUE_BYTES: u64 = 16;

const ROWS: [ThroughputRow; 8] = [
    ThroughputRow {
        name: "discard",
        title: |sizes| format!("keyed count, {} keys, one row of output each, discarded", grouped(sizes.keys)),
        variants: || beside(Emits::Discarded, Load::Few),
        measures: |seen| seen.beside(Emits::Discarded, Load::Few, [Some(1.2), Some(2.5)]),
    },
    ThroughputRow {
        name: "file",
        title: |_| "the same into an exactly-once file sink".to_owned(),
        variants: || beside(Emits::Files, Load::Few),
        measures: |seen| seen.beside(Emits::Files, Load::Few, [Some(1.4), None]),
    },
    ThroughputRow {
        name: "csv",
        title: |_| "the same, discarded, from CSV columns".to_owned(),
        variants: || [Load::Columns, Load::Few].map(|load| Variant::hosted(Emits::Discarded, load)).into(),
        measures: columns,
    },
    ThroughputRow {
        name: "totals",
        title: |_| "keyed count, totals only".to_owned(),
        variants: || beside(Emits::Totals, Load::Few),
        measures: |seen| seen.beside(Emits::Totals, Load::Few, [Some(1.2), None]),
    },
    ThroughputRow {
        name: "large",
        title: |sizes| {
            format!("{} keys, {} rows, one row of output each, discarded", grouped(sizes.keys_large), grouped(sizes.rows_large()))
        },
        variants: || beside(Emits::Discarded, Load::Many),
        measures: large,
    },
    ThroughputRow {
        name: "exactly-once",
        title: |_| "a checkpoint each second and recovery in place, against neither".to_owned(),
        variants: || [Load::Few, Load::Many].into_iter().flat_map(both_ways).collect(),
        measures: exactly_once,
    },
    ThroughputRow {
        name: "checkpoints",
        title: |_| "checkpoints: bytes, and the longest pause of a worker at an epoch".to_owned(),
        variants: || [Load::Even, Load::Many].map(|load| Variant::hosted(Emits::Discarded, load)).into(),
        measures: checkpoints,
    },
    ThroughputRow {
        name: "workers",
        title: |_| "two workers against one, one row of output each, discarded".to_owned(),
        variants: || [1, 2].map(of_workers).into(),
        measures: workers,
    },
];

/// The names of the rows.
pub fn names() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|row| row.name)
}

/// What has to run for the rows that are wanted.
pub fn variants(is_wanted: impl Fn(&str) -> bool) -> BTreeSet<Variant> {
    ROWS.iter().filter(|row| is_wanted(row.name)).flat_map(|row| (row.variants)()).collect()
}

/// The rows that are wanted, of the samples.
pub fn rows(is_wanted: impl Fn(&str) -> bool, samples: &Samples, sizes: &Sizes, hosts: &[Host]) -> Vec<ResultRow> {
    let seen = Seen { samples, sizes, hosts };
    let wanted = ROWS.iter().filter(|row| is_wanted(row.name));
    wanted.map(|row| ResultRow { name: row.name, title: (row.title)(sizes), measures: (row.measures)(&seen) }).collect()
}

fn beside(emits: Emits, load: Load) -> Vec<Variant> {
    let native = |is_careful| Variant::Native { is_careful, emits, load };
    vec![native(false), native(true), Variant::hosted(emits, load)]
}

fn both_ways(load: Load) -> [Variant; 2] {
    [true, false].map(|is_safe| Variant::Hosted { emits: Emits::Discarded, load, workers: 1, is_safe })
}

fn of_workers(workers: u32) -> Variant {
    Variant::Hosted { emits: Emits::Discarded, load: Load::Few, workers, is_safe: true }
}

struct Seen<'a> {
    samples: &'a Samples,
    sizes: &'a Sizes,
    hosts: &'a [Host],
}

impl Seen<'_> {
    /// Processor time a row, in microseconds, round by round.
    fn processor(&self, variant: Variant, host: usize) -> Vec<f64> {
        let rows = variant.load().content(self.sizes).rows() as f64;
        self.samples.of(variant, host, |sample| sample.processor_s / rows * 1e6)
    }

    /// What `each` makes of every host, by its name and place.
    fn of_hosts(&self, each: impl Fn(&str, usize) -> Vec<Measure>) -> Vec<Measure> {
        self.hosts.iter().enumerate().flat_map(|(place, host)| each(&host.name, place)).collect()
    }

    /// Processor time a row of the native loops and the hosts, and the ratios, with their targets.
    fn beside(&self, emits: Emits, load: Load, targets: [Option<f64>; 2]) -> Vec<Measure> {
        let native = [("plain", false), ("careful", true)].map(|(name, is_careful)| {
            let values = self.processor(Variant::Native { is_careful, emits, load }, 0);
            (format!("native, {name}"), values)
        });
        let mut measures: Vec<Measure> = native.iter().map(|(name, values)| Measure::new(name, UNIT, values.clone())).collect();
        measures.extend(self.of_hosts(|name, place| {
            let own = self.processor(Variant::hosted(emits, load), place);
            let against = native.iter().zip(targets).map(|((native, values), target)| {
                let ratio = Measure::new(format!("{name} / {native}"), TIMES, ratios(&own, values));
                target.into_iter().fold(ratio, Measure::target)
            });
            let against: Vec<Measure> = against.collect();
            [Measure::new(name, UNIT, own)].into_iter().chain(against).collect()
        }));
        measures
    }
}

fn columns(seen: &Seen<'_>) -> Vec<Measure> {
    seen.of_hosts(|name, place| {
        let [columns, lines] = [Load::Columns, Load::Few].map(|load| seen.processor(Variant::hosted(Emits::Discarded, load), place));
        let ratio = ratios(&columns, &lines);
        vec![
            Measure::new(format!("{name}, lines"), UNIT, lines),
            Measure::new(format!("{name}, columns"), UNIT, columns),
            Measure::new(format!("{name}, columns / lines"), TIMES, ratio).target(1.1),
        ]
    })
}

fn large(seen: &Seen<'_>) -> Vec<Measure> {
    let memory = |sample: &Sample| sample.memory_peak_bytes as f64 / 1e6;
    let mut measures = seen.beside(Emits::Discarded, Load::Many, [None, Some(3.0)]);
    let native = [("plain", false), ("careful", true)].map(|(name, is_careful)| {
        (name, seen.samples.of(Variant::Native { is_careful, emits: Emits::Discarded, load: Load::Many }, 0, memory))
    });
    measures.extend(native.iter().map(|(name, values)| Measure::new(format!("native, {name}: peak memory"), "MB", values.clone())));
    measures.extend(seen.of_hosts(|name, place| {
        let own = seen.samples.of(Variant::hosted(Emits::Discarded, Load::Many), place, memory);
        let ratio = ratios(&own, &native[0].1);
        vec![
            Measure::new(format!("{name}: peak memory"), "MB", own),
            Measure::new(format!("{name} / native, plain: peak memory"), TIMES, ratio).target(1.6),
        ]
    }));
    measures
}

fn exactly_once(seen: &Seen<'_>) -> Vec<Measure> {
    seen.of_hosts(|name, place| {
        let of = |(load, keys, target): (Load, u64, f64)| {
            let [with, without] = both_ways(load).map(|variant| seen.processor(variant, place));
            let (ratio, keys) = (ratios(&with, &without), grouped(keys));
            [
                Measure::new(format!("{name}, {keys} keys, with"), UNIT, with),
                Measure::new(format!("{name}, {keys} keys, without"), UNIT, without),
                Measure::new(format!("{name}, {keys} keys, with / without"), TIMES, ratio).target(target),
            ]
        };
        [(Load::Few, seen.sizes.keys, 1.1), (Load::Many, seen.sizes.keys_large, 1.4)].into_iter().flat_map(of).collect()
    })
}

fn checkpoints(seen: &Seen<'_>) -> Vec<Measure> {
    seen.of_hosts(|name, place| {
        let [even, many] = [Load::Even, Load::Many].map(|load| Variant::hosted(Emits::Discarded, load));
        let changed = (seen.sizes.keys * (KEY_BYTES + VALUE_BYTES + CELL_EXTRA_BYTES)) as f64;
        let bytes = seen.samples.of(even, place, |sample| usual_bytes(&sample.checkpoints));
        let ratio = bytes.iter().map(|bytes| bytes / changed).collect();
        let pause = |variant| seen.samples.of(variant, place, |sample| sample.pause_ms);
        let [few_keys, many_keys] = [seen.sizes.keys, seen.sizes.keys_large].map(grouped);
        vec![
            Measure::new(format!("{name}, {few_keys} changed keys: a checkpoint"), "MB", bytes.iter().map(|bytes| bytes / 1e6).collect()),
            Measure::new(format!("{name}: a checkpoint / its changed cells"), TIMES, ratio).target(1.1),
            Measure::new(format!("{name}, {few_keys} changed keys: pause"), "ms", pause(even)).target(2.0),
            Measure::new(format!("{name}, {many_keys} keys: pause"), "ms", pause(many)).target(10.0),
        ]
    })
}

/// The bytes of a checkpoint in the middle of a run: the first may be a full one, and the last is cut short by the end of the input.
fn usual_bytes(checkpoints: &[u64]) -> f64 {
    let inner = checkpoints.get(1..checkpoints.len().saturating_sub(1)).filter(|inner| !inner.is_empty()).unwrap_or(checkpoints);
    Statistic::MEDIAN.of(&inner.iter().map(|bytes| *bytes as f64).collect::<Vec<_>>())
}

fn workers(seen: &Seen<'_>) -> Vec<Measure> {
    seen.of_hosts(|name, place| {
        let rows = seen.sizes.rows as f64 / 1e6;
        let [one, two] = [1, 2].map(|workers| seen.samples.of(of_workers(workers), place, |sample| rows / sample.wall_s));
        let ratio = ratios(&two, &one);
        vec![
            Measure::new(format!("{name}, 1 worker"), "M rows/s", one),
            Measure::new(format!("{name}, 2 workers"), "M rows/s", two),
            Measure::new(format!("{name}, 2 workers / 1 worker"), TIMES, ratio).at_least(1.85),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variant_that_two_rows_need_runs_once() {
        assert_eq!(variants(|name| name == "discard").len(), 3);
        assert_eq!(variants(|name| name == "discard" || name == "csv").len(), 4);
        assert_eq!(variants(|_| false).len(), 0);
    }

    #[test]
    fn the_first_and_last_checkpoint_do_not_count() {
        assert_eq!(usual_bytes(&[900, 10, 12, 11, 1]), 11.0);
        assert_eq!(usual_bytes(&[900, 10]), 10.0);
        assert!(usual_bytes(&[]).is_nan());
    }
}
