//! `cargo xtask recovery`: how long an operator with state takes to come back after a trap.
//!
//! A source, a parser, the counter A, which traps when it meets poison in a bad millisecond, a counter B and a sink, on two workers. First come
//! so many different keys, each a cell of A, as fast as they go; then, at a steady rate, rows of some of these keys, some with poison, at
//! random. The output must be that of the same input without poison. Times are those that the host tells: from the failure to the new instance.
//!
//! One millisecond of two is bad, so a retry may trap again. Only the first failure of a call counts in the table: at the second one a standby
//! is not made yet.

use std::fs;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::input::Random;
use crate::demo::grouped;
use crate::{guests, paths, run};

/// What comes in.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Cells of the operator over both workers.
    pub cells: u64,
    /// Rows with poison. About half of them trap, some more than once.
    pub poison: u64,
    /// One of so many rows has poison, after the keys: which one is drawn.
    pub apart: u64,
    /// Rows a second, after the keys.
    pub rate: u64,
    /// Instances of A, at least one on each worker.
    pub parallelism: u64,
    /// Only with a standby, or only without. `None`: both.
    pub standby: Option<bool>,
    /// Seconds between two checkpoints.
    pub interval: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self { cells: 300_000, poison: 2_200, apart: 20_000, rate: 100_000, parallelism: 1, standby: None, interval: 10 }
    }
}

impl Load {
    fn rows(self) -> u64 {
        self.cells + self.poison * self.apart
    }
}

/// Rows are handed over in so many pieces a second.
const PIECES_A_SECOND: u64 = 200;
const WORKERS: u64 = 2;
/// Seconds of input that a chain may have in its deltas, whatever the interval.
const CHAIN_SECONDS: u64 = 160;
/// How long an instance may take, as the topologies say: without and with a standby.
const WITHIN: [(bool, &str); 2] = [(false, "40ms"), (true, "4ms")];

/// Measures without and with a standby, and prints a table.
///
/// # Errors
/// A run fails, or gives another output than it should.
pub fn recovery(load: Load) -> Result<()> {
    guests::build()?;
    run::run(run::cargo().args(["build", "--release", "--package", "reprise"]))?;
    let folder = paths::target().join("bench");
    let Load { cells, poison, apart, rate, parallelism, standby: only, interval } = load;
    let instances = parallelism.div_ceil(WORKERS).max(1) * WORKERS;
    let [cells, poison, apart, rate] = [cells, poison, apart, rate].map(grouped);
    println!(
        "\n{cells} cells on {instances} instances, {poison} rows with poison, {apart} rows apart, {rate} rows a second, a checkpoint every {interval} s; milliseconds"
    );
    println!("{:<16} {:>10} {:>9} {:>9} {:>9} {:>9} {:>10}", "", "recoveries", "p50", "p90", "p99", "longest", "predicted");
    for (standby, within) in WITHIN.into_iter().filter(|(standby, _)| only.is_none_or(|only| only == *standby)) {
        let (took_us, predicted_us) = measure(&folder, load, standby, within)?;
        let of = |per_cent: usize| took_us.get(took_us.len() * per_cent / 100).or(took_us.last()).map_or(f64::NAN, |us| *us as f64 / 1e3);
        println!(
            "{:<16} {:>10} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>10.1}",
            if standby { "with a standby" } else { "alone" },
            took_us.len(),
            of(50),
            of(90),
            of(99),
            of(100),
            predicted_us as f64 / 1e3,
        );
    }
    Ok(())
}

/// Hands the input over: keys, then rows at their rate.
fn feed(load: Load, into: ChildStdin) -> std::io::Result<()> {
    let Load { cells, poison, apart, rate, .. } = load;
    let mut out = BufWriter::with_capacity(1 << 20, into);
    for cell in 0..cells {
        writeln!(out, "key-{cell:09},v,7")?;
    }
    out.flush()?;
    let began = Instant::now();
    let piece = rate.div_ceil(PIECES_A_SECOND).max(1);
    let (mut random, mut poisoned) = (Random(0), 0);
    for row in 0..poison * apart {
        if row % piece == 0 {
            out.flush()?;
            let due = Duration::from_secs_f64(row as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        if row % apart == 0 {
            poisoned = row + random.below(apart);
        }
        // A step through the keys that meets all of them in an order of no order.
        let cell = row.wrapping_mul(7_919) % cells;
        writeln!(out, "key-{cell:09},{},7", if row == poisoned { "poison" } else { "v" })?;
    }
    out.flush()
}

/// How long each recovery from the first failure of a call took, sorted, and how long the next one would; microseconds.
fn measure(folder: &Path, load: Load, standby: bool, within: &str) -> Result<(Vec<u64>, u64)> {
    let place = folder.join("recovery");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let topology = place.join("topology.toml");
    fs::write(&topology, topology_text(load, standby, within))?;
    let mut command = Command::new(paths::release("reprise"));
    command.arg("run").arg(&topology).args(["--log", "json", "--workers", &WORKERS.to_string()]).env("REPRISE_LOG", "off");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let (stdin, mut stderr) = (child.stdin.take().context("it was piped")?, child.stderr.take().context("it was piped")?);
    let feeder = std::thread::spawn(move || feed(load, stdin));
    let mut told = String::new();
    stderr.read_to_string(&mut told)?;
    let status = child.wait()?;
    if !status.success() {
        bail!("{command:?} ended with {status}: {}", told.lines().last().unwrap_or_default());
    }
    feeder.join().expect("the feeder does not panic")?;
    let rows = load.rows();
    let events = || told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let end = events().find(|line| line["event"] == "end").context("the run does not tell its end")?;
    let operators = &end["status"]["operators"];
    let recovery = &operators["a"]["recovery"];
    ensure!(operators["b"]["recovery"]["recoveries"] == 0, "the neighbour was replaced, too");
    ensure!(events().filter(|line| line["event"] == "started").count() == 1, "the job itself was taken up again");
    ensure!(recovery["quarantined"] == 0, "rows went to quarantine");
    let count = |name: &str| recovery[name].as_u64().unwrap_or(0);
    let (all, by_standby) = (count("recoveries"), count("by_standby"));
    // There is none for a moment after one was given up.
    ensure!(if standby { by_standby * 10 >= all * 9 } else { by_standby == 0 }, "a standby took over {by_standby} times of {all}");
    let published = end["status"]["rows_out"].as_u64().unwrap_or(0);
    ensure!(published == rows, "{published} rows were published of {rows}");
    check_counts(&place.join("out"), rows)?;
    Ok((first_recoveries(events()), recovery["predicted_us"].as_u64().unwrap_or(0)))
}

/// How long the recoveries from first failures took, sorted.
fn first_recoveries(events: impl Iterator<Item = Value>) -> Vec<u64> {
    let (mut attempts, mut took_us) = (std::collections::BTreeMap::new(), Vec::new());
    for event in events {
        let instance = event["instance"].as_u64().unwrap_or(0);
        match event["event"].as_str() {
            Some("operator-failed") => drop(attempts.insert(instance, event["attempt"].as_u64())),
            Some("operator-recovered") if attempts.get(&instance) == Some(&Some(1)) => took_us.extend(event["took_us"].as_u64()),
            _ => {}
        }
    }
    took_us.sort_unstable();
    took_us
}

/// Each key was counted by ones, and all counts together are the rows: nothing lost, nothing doubled.
fn check_counts(out: &Path, rows: u64) -> Result<()> {
    let (mut lines, mut counts, mut highest) = (0, 0u64, std::collections::HashMap::<String, u64>::new());
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            for line in fs::read_to_string(&path)?.lines() {
                let mut fields = line.split(',');
                let (Some(key), Some(count)) = (fields.next(), fields.next().and_then(|count| count.parse::<u64>().ok())) else {
                    bail!("`{line}` is no row of the output");
                };
                lines += 1;
                counts += count;
                let most = highest.entry(key.to_owned()).or_default();
                *most = (*most).max(count);
            }
        }
    }
    ensure!(lines == rows && highest.values().sum::<u64>() == rows, "{lines} rows of {rows}");
    ensure!(counts == highest.values().map(|count| count * (count + 1) / 2).sum::<u64>(), "a count is there twice, or not at all");
    Ok(())
}

fn topology_text(load: Load, standby: bool, within: &str) -> String {
    let Load { parallelism, interval, .. } = load;
    let chain = (CHAIN_SECONDS / interval.max(1)).max(1);
    format!(
        r#"name = "recovery"

[checkpoint]
store    = "file:./state"
interval = "{interval}s"
chain-length-max = {chain}

[flow]
batch-rows  = 512
steps-ahead = 4

[[source]]
name = "lines"
file = {{ path = "-", format = "lines" }}

[[operator]]
name      = "parse"
component = "../../guests/parse-text.wasm"
input     = "lines"

[[operator]]
name       = "a"
component  = "../../guests/trap-sometimes.wasm"
input      = {{ from = "parse", by = "key" }}
parallelism = {parallelism}
memory     = "4GiB"
deadline   = "1m"
standby    = {standby}
recover-within = "{within}"
on-failure = {{ retries = 1000, backoff = "1ms..2ms", faults-max = 1000000 }}

[[operator]]
name      = "b"
component = "../../guests/running-count.wasm"
input     = {{ from = "a", by = "key" }}
memory    = "4GiB"
deadline  = "1m"

[[sink]]
name  = "out"
input = "b"
file  = {{ path = "out", format = "csv" }}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_first_failure_of_a_call_counts() {
        let failed = |instance: u64, attempt: u64| json!({ "event": "operator-failed", "instance": instance, "attempt": attempt });
        let back = |instance: u64, took: u64| json!({ "event": "operator-recovered", "instance": instance, "took_us": took });
        let events = [failed(0, 1), failed(1, 1), back(1, 9), back(0, 5), failed(0, 2), back(0, 700), failed(1, 1), back(1, 2)];
        assert_eq!(first_recoveries(events.into_iter()), [2, 5, 9]);
    }
}
