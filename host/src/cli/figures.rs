//! The figures of a running job, operator by operator, and of parked input: as lines for people, and as JSON for scripts.

use super::text::{count, thousands, time};
use crate::engine::{Control, NodeCounters, SharedCircuitBreaker};
use crate::job::survey::ParkedSummary;
use reprise_core::operator::ParkedTally;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The value of a counter.
pub(super) fn load(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub(super) fn counters(c: &NodeCounters) -> serde_json::Value {
    json!({
        "rows_in": load(&c.rows_in), "rows_out": load(&c.rows_out), "rejected": load(&c.rejected),
        "busy_ms": load(&c.busy_ns) / 1_000_000, "state_bytes": c.state_bytes.load(Ordering::Relaxed),
        "snapshot_us_max": load(&c.snapshot_ns_max) / 1000,
    })
}

/// The usage of an operator, in a line for people.
pub(super) fn usage(name: &str, c: &NodeCounters) -> String {
    let mut text = format!(
        "operator `{name}`: {} calls, {:.1} s busy, {:.1} s of a processor · {} in, {} out · memory {} at most",
        thousands(load(&c.calls)),
        load(&c.busy_ns) as f64 / 1e9,
        load(&c.processor_ns) as f64 / 1e9,
        bytes(load(&c.bytes_in)),
        bytes(load(&c.bytes_out)),
        bytes(load(&c.memory_peak_bytes)),
    );
    for (number, what) in
        [(load(&c.host_calls), "calls of the host"), (load(&c.log_lines_dropped), "log lines dropped"), (load(&c.fuel), "instructions")]
    {
        if number > 0 {
            text.push_str(&format!(" · {} {what}", thousands(number)));
        }
    }
    text
}

/// The operators: counters, and what came of their failures.
pub(super) fn operators(names: &[String], control: &Control, now_ms: i64) -> serde_json::Value {
    let all = names.iter().zip(&control.operators).zip(&control.breakers).zip(&control.operators_parked);
    let each = all.map(|(((name, c), guard), parked)| {
        let mut members = counters(c);
        for (key, counter) in [
            ("calls", &c.calls),
            ("fuel", &c.fuel),
            ("host_calls", &c.host_calls),
            ("log_lines_dropped", &c.log_lines_dropped),
            ("bytes_in", &c.bytes_in),
            ("bytes_out", &c.bytes_out),
            ("memory_peak_bytes", &c.memory_peak_bytes),
        ] {
            members[key] = load(counter).into();
        }
        members["cpu_ms"] = (load(&c.processor_ns) / 1_000_000).into();
        members["recovery"] = recovery(guard);
        let ParkedTally { rows, bytes, since_ms } = parked.tally();
        let age = since_ms.map(|since| now_ms.saturating_sub(since).max(0));
        members["parked"] = json!({ "rows": rows, "bytes": bytes, "age_ms": age });
        (name.clone(), members)
    });
    each.collect::<serde_json::Map<_, _>>().into()
}

/// The operators that are paused, as the end of a line; empty where none is.
pub(super) fn paused(names: &[String], control: &Control) -> String {
    let paused = names.iter().zip(&control.breakers).filter(|(_, guard)| guard.is_open());
    let names: Vec<String> = paused.map(|(name, _)| format!("`{name}`")).collect();
    if names.is_empty() { String::new() } else { format!(" · paused: {}", names.join(", ")) }
}

/// What is parked for operators, as the end of a line; empty where nothing is.
pub(super) fn parked(names: &[String], control: &Control, now_ms: i64) -> String {
    let each = names.iter().zip(&control.operators_parked).filter_map(|(name, parked)| {
        let ParkedTally { rows, bytes: size, since_ms } = parked.tally();
        let since = since_ms?;
        let waited = Duration::from_millis(now_ms.saturating_sub(since).max(0).unsigned_abs());
        Some(format!("`{name}` {}, {}, oldest {}", count(rows, "row"), bytes(size), age(waited)))
    });
    let each: Vec<String> = each.collect();
    if each.is_empty() { String::new() } else { format!(" · parked: {}", each.join("; ")) }
}

/// The recoveries of an operator: how many there were, and how long they took.
pub(super) fn recoveries(name: &str, guard: &SharedCircuitBreaker) -> String {
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    let times = &guard.recoveries;
    format!(
        "operator `{name}`: {} recoveries, {} by a standby; half within {:.1} ms, 99 of 100 within {:.1} ms, the longest {:.1} ms; {} rows to quarantine",
        thousands(times.count()),
        thousands(load(&guard.by_standby)),
        ms(times.within(500)),
        ms(times.within(990)),
        ms(times.max()),
        thousands(load(&guard.quarantined)),
    )
}

fn recovery(guard: &SharedCircuitBreaker) -> serde_json::Value {
    let us = |took: Duration| took.as_micros() as u64;
    let times = &guard.recoveries;
    json!({
        "recoveries": times.count(), "by_standby": load(&guard.by_standby), "at_once": load(&guard.at_once),
        "p50_us": us(times.within(500)), "p99_us": us(times.within(990)), "max_us": us(times.max()),
        "predicted_us": us(guard.predicted()), "quarantined": load(&guard.quarantined), "is_paused": guard.is_open(),
    })
}

/// What is parked, in JSON.
pub(super) fn parked_json(parked: &ParkedSummary) -> serde_json::Value {
    let ParkedSummary { rows, bytes, since_ms, objects, object_bytes } = parked;
    json!({ "rows": rows, "bytes": bytes, "since_ms": since_ms, "objects": objects, "object_bytes": object_bytes })
}

/// What is parked, in words.
pub(super) fn parked_text(parked: &ParkedSummary) -> String {
    let ParkedSummary { rows, bytes: size, since_ms, objects, object_bytes } = *parked;
    let since = since_ms.map_or_else(String::new, |since| format!(", the oldest since {}", time(since)));
    format!("{} ({}) in {} of {}{since}", count(rows, "row"), bytes(size), count(objects as u64, "object"), bytes(object_bytes))
}

/// A time that has passed, in one unit.
pub(super) fn age(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..60.0 => format!("{seconds:.1} s"),
        ..3_600.0 => format!("{:.1} min", seconds / 60.0),
        ..86_400.0 => format!("{:.1} h", seconds / 3_600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// A number of bytes with a binary unit.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{number} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasm::Usage;

    #[test]
    fn what_an_operator_used_is_told_in_one_line() {
        let counters = NodeCounters::default();
        let used = Usage {
            calls: 1200,
            busy: Duration::from_millis(1500),
            processor: Duration::from_millis(1200),
            bytes_in: 2048,
            memory_peak_bytes: 3 << 20,
            ..Usage::default()
        };
        counters.add_usage(&used);
        let shown = "operator `count`: 1,200 calls, 1.5 s busy, 1.2 s of a processor · 2.0 KiB in, 0 B out · memory 3.0 MiB at most";
        assert_eq!(usage("count", &counters), shown);
        counters.add_usage(&Usage { host_calls: 3, fuel: 10_000, memory_peak_bytes: 1 << 20, ..Usage::default() });
        assert_eq!(usage("count", &counters), format!("{shown} · 3 calls of the host · 10,000 instructions"));
    }

    #[test]
    fn numbers_are_shown_for_people() {
        assert_eq!((thousands(0), thousands(999), thousands(1_234_567)), ("0".into(), "999".into(), "1,234,567".into()));
        let ages = [9_940, 90_000, 5_400_000, 200_000_000].map(|ms| age(Duration::from_millis(ms)));
        assert_eq!(ages, ["9.9 s", "1.5 min", "1.5 h", "2.3 days"]);
        assert_eq!((bytes(10), bytes(1536), bytes(3 << 30)), ("10 B".into(), "1.5 KiB".into(), "3.0 GiB".into()));
    }
}
