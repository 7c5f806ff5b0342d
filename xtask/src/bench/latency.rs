//! The row of latency: a keyed count at a steady rate, from the moment at which a row is handed over to the one at which its result is read.
//!
//! Rows are handed over by a thread that sleeps in between, so some come together. A row counts from the moment at which it is written; where the
//! one before is not taken in time, from the moment at which it was due, so that a host that stands still does not look fast.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::hosts::Host;
use super::input::FIRST_TIME_MS;
use super::result::{Measure, ResultRow};
use super::rounds::fresh;
use super::sizes::Sizes;
use super::statistics::Statistic;
use super::topologies::{AT_ONCE, EVERY_SECOND, TopologyText, by_key, from};
use super::watched::row as row_of;
use crate::demo::grouped;
use crate::paths;

/// The name of the row.
pub const NAME: &str = "latency";
const ROWS_PER_SECOND: u64 = 10_000;
/// Rows of the first seconds do not count: the host is still about to begin.
const WARM_S: u64 = 2;
/// Has no divisor in common with the number of keys.
const STEP: u64 = 7_919;

/// Measures the row.
///
/// # Errors
/// A run fails, or gives another output than it should.
pub fn row(folder: &Path, sizes: &Sizes, hosts: &[Host]) -> Result<ResultRow> {
    let mut measures = Vec::new();
    for name in ["plain", "careful"] {
        let mut command = Command::new(paths::release("native-keyed-count"));
        let took = measure(command.args([name, "live"]), sizes)?;
        measures.extend(percentiles(&format!("native, {name}"), &took).map(|(measure, _)| measure));
    }
    for host in hosts {
        fresh(&folder.join("run"))?;
        let place = folder.join("topology.toml");
        fs::write(&place, topology(host))?;
        let took = measure(&mut host.run(&place, 1), sizes)?;
        let with_target = |(measure, target): (Measure, Option<f64>)| target.into_iter().fold(measure, Measure::target);
        measures.extend(percentiles(&host.name, &took).map(with_target));
    }
    let title = format!("latency at {} rows a second, rows shown at once, {} keys", grouped(ROWS_PER_SECOND), grouped(sizes.keys));
    Ok(ResultRow { name: NAME, title, measures })
}

fn percentiles(name: &str, took_ms: &[f64]) -> [(Measure, Option<f64>); 3] {
    [(50.0, None), (99.0, Some(0.3)), (99.9, Some(1.0))].map(|(per_cent, target)| {
        let measure = Measure::new(format!("{name}: p{per_cent}"), "ms", took_ms.to_vec());
        (measure.by(Statistic::Percentile(per_cent)), target)
    })
}

fn topology(host: &Host) -> String {
    let topology = TopologyText::new(EVERY_SECOND)
        .source("-", "format = \"lines\"")
        .operator("parse", &host.guest("parse-text"), &from("rows"), "")
        .operator("count", &host.guest("running-count"), &by_key("parse"), "")
        .sink("out", "count", AT_ONCE);
    topology.text().to_owned()
}

/// The latency of each row, in milliseconds.
fn measure(command: &mut Command, sizes: &Sizes) -> Result<Vec<f64>> {
    let (rows, keys) = ((WARM_S + sizes.latency_s) * ROWS_PER_SECOND, sizes.keys);
    println!("\n== latency, {} s: {command:?}", WARM_S + sizes.latency_s);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (input, output) = (child.stdin.take().context("it was piped")?, child.stdout.take().context("it was piped")?);
    let feeder = std::thread::spawn(move || feed(rows, keys, input));
    let (mut came, mut line) = (vec![None; rows as usize], Vec::new());
    let mut output = BufReader::with_capacity(1 << 16, output);
    let outcome = loop {
        line.clear();
        if output.read_until(b'\n', &mut line)? == 0 {
            break Ok(());
        }
        match row_of(line.trim_ascii_end()) {
            Some(Some((row, count))) if row < rows && count == row / keys + 1 => came[row as usize] = Some(Instant::now()),
            _ => break Err(anyhow::anyhow!("`{}` is a wrong row", String::from_utf8_lossy(&line))),
        }
    };
    if outcome.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    outcome?;
    let Ok(sent) = feeder.join() else { bail!("the feeder panicked") };
    let sent = sent?;
    ensure!(status.success(), "{command:?} ended with {status}");
    let counted = sent.iter().zip(&came).skip((WARM_S * ROWS_PER_SECOND) as usize);
    let took = counted.map(|(sent, came)| came.map(|came| came.saturating_duration_since(*sent).as_secs_f64() * 1e3));
    took.collect::<Option<Vec<f64>>>().context("a row did not come")
}

/// Hands rows over, each when it is due, and gives the moments from which they count.
fn feed(rows: u64, keys: u64, mut into: ChildStdin) -> std::io::Result<Vec<Instant>> {
    let (began, mut sent, mut lines) = (Instant::now(), Vec::with_capacity(rows as usize), Vec::new());
    let due = |row: u64| began + Duration::from_secs_f64(row as f64 / ROWS_PER_SECOND as f64);
    let mut written = began;
    while (sent.len() as u64) < rows {
        std::thread::sleep(due(sent.len() as u64).saturating_duration_since(Instant::now()));
        let now = Instant::now();
        lines.clear();
        while (sent.len() as u64) < rows && due(sent.len() as u64) <= now {
            let row = sent.len() as u64;
            writeln!(lines, "key-{:05},7,{}", row * STEP % keys, FIRST_TIME_MS + row)?;
            sent.push(counts_from(due(row), written, now));
        }
        into.write_all(&lines)?;
        written = Instant::now();
    }
    Ok(sent)
}

/// The moment from which a row counts that is written `now`: where it was due before the write before it had ended, that one held it up.
fn counts_from(due: Instant, written: Instant, now: Instant) -> Instant {
    if due < written { due } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_was_held_up_counts_from_when_it_was_due() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(counts_from(at(5), at(9), at(10)), at(5));
        assert_eq!(counts_from(at(9), at(5), at(10)), at(10));
    }

    #[test]
    fn percentiles_carry_their_targets() {
        let took: Vec<f64> = (1..=1000).map(f64::from).collect();
        let values = percentiles("x", &took).map(|(measure, target)| (measure.value(), target));
        assert_eq!(values, [(500.0, None), (990.0, Some(0.3)), (999.0, Some(1.0))]);
    }
}
