//! `cargo xtask recovery`: how long an operator with state takes to come back after a trap.
//!
//! A source, a parser, the counter A, which traps when it meets poison at an odd millisecond, a counter B and a sink, on two workers. First come
//! so many different keys, each a cell of A; then rows of some of these keys, every [`GOOD_ROWS`]-th with poison. The output must be that of
//! the same input without poison. Times are those that the host tells: from the failure to the new instance.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::demo::grouped;
use crate::{guests, paths, run};

/// Cells of the operator over both workers, unless the command line says otherwise.
pub const CELLS_DEFAULT: u64 = 300_000;
/// Rows with poison, unless the command line says otherwise. About half of them trap, some more than once.
pub const POISON_DEFAULT: u64 = 2_000;
/// A row in so many has poison, after the keys.
const GOOD_ROWS: u64 = 200;

/// Measures without and with a standby, and prints a table.
///
/// # Errors
/// A run fails, or gives another output than it should.
pub fn recovery(cells: u64, poison: u64) -> Result<()> {
    guests::build()?;
    run::run(run::cargo().args(["build", "--release", "--package", "reprise"]))?;
    let folder = paths::target().join("bench");
    fs::create_dir_all(&folder)?;
    let file = input(&folder, cells, poison)?;
    println!("\n{} cells, {} rows with poison; times in milliseconds", grouped(cells), grouped(poison));
    println!("{:<16} {:>10} {:>9} {:>9} {:>9} {:>10} {:>12}", "", "recoveries", "p50", "p99", "longest", "predicted", "state MB");
    for standby in [false, true] {
        let recovery = measure(&folder, &file, standby, cells + poison * GOOD_ROWS)?;
        let ms = |name: &str| recovery[name].as_u64().unwrap_or(0) as f64 / 1e3;
        println!(
            "{:<16} {:>10} {:>9.1} {:>9.1} {:>9.1} {:>10.1} {:>12.1}",
            if standby { "with a standby" } else { "alone" },
            recovery["recoveries"].as_u64().unwrap_or(0),
            ms("p50_us"),
            ms("p99_us"),
            ms("max_us"),
            ms("predicted_us"),
            recovery["state_bytes"].as_u64().unwrap_or(0) as f64 / 1e6,
        );
    }
    Ok(())
}

/// The input file: keys, then rows of which some have poison.
fn input(folder: &Path, cells: u64, poison: u64) -> Result<PathBuf> {
    let file = folder.join(format!("poison-{cells}-{poison}.csv"));
    if !file.is_file() {
        let fresh = file.with_extension("fresh");
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&fresh)?);
        for cell in 0..cells {
            writeln!(out, "key-{cell:09},v,7")?;
        }
        for row in 0..poison * GOOD_ROWS {
            // A step through the keys that meets all of them in an order of no order.
            let cell = row.wrapping_mul(7_919) % cells;
            writeln!(out, "key-{cell:09},{},7", if row % GOOD_ROWS == GOOD_ROWS - 1 { "poison" } else { "v" })?;
        }
        out.into_inner().context("the input cannot be written")?;
        fs::rename(&fresh, &file)?;
    }
    Ok(file)
}

fn measure(folder: &Path, file: &Path, standby: bool, rows: u64) -> Result<Value> {
    let place = folder.join("recovery");
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::create_dir_all(&place)?;
    let topology = place.join("topology.toml");
    fs::write(&topology, topology_text(file, standby)?)?;
    let mut command = Command::new(paths::release("reprise"));
    command.arg("run").arg(&topology).args(["--log", "json", "--workers", "2"]).env("REPRISE_LOG", "off");
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, told.lines().last().unwrap_or_default());
    }
    let events = || told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let end = events().find(|line| line["event"] == "end").context("the run does not tell its end")?;
    let operators = &end["status"]["operators"];
    let mut recovery = operators["a"]["recovery"].clone();
    recovery["state_bytes"] = operators["a"]["state_bytes"].clone();
    ensure!(operators["b"]["recovery"]["recoveries"] == 0, "the neighbour was replaced, too");
    ensure!(events().filter(|line| line["event"] == "started").count() == 1, "the job itself was taken up again");
    ensure!(recovery["quarantined"] == 0, "rows went to quarantine");
    let published = end["status"]["rows_out"].as_u64().unwrap_or(0);
    ensure!(published == rows, "{published} rows were published of {rows}");
    check_counts(&place.join("out"), rows)?;
    Ok(recovery)
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

fn topology_text(file: &Path, standby: bool) -> Result<String> {
    let file = file.file_name().and_then(|name| name.to_str()).context("the input's name is ours, and text")?;
    Ok(format!(
        r#"name = "recovery"

[checkpoint]
store    = "file:./state"
interval = "1s"

[flow]
batch-rows  = 512
steps-ahead = 4

[[source]]
name = "lines"
file = {{ path = "../{file}", format = "lines", split = "64GiB" }}

[[operator]]
name      = "parse"
component = "../../guests/parse-text.wasm"
input     = "lines"

[[operator]]
name       = "a"
component  = "../../guests/trap-sometimes.wasm"
input      = {{ from = "parse", by = "key" }}
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
"#,
        within = if standby { "5ms" } else { "60ms" },
    ))
}
