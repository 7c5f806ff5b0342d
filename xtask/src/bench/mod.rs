//! `cargo xtask bench`: what Reprise costs and how fast it recovers, beside native loops that do the same.
//!
//! | row | file |
//! |---|---|
//! | throughput: processor time a row, memory, checkpoints, pauses | `throughput.rs` says what is run and compared, `rounds.rs` runs it |
//! | a stateless operator in a chain | `chain.rs` |
//! | poison, traps, kills | `faults.rs`, watched from outside by `watched.rs` |
//! | latency | `latency.rs` |
//!
//! The native loops are `benches/native-keyed-count`: one thread, no checkpoints, nothing to recover; a plain one and a careful one. Rounds run
//! all variants one after the other, so that whatever else the machine does befalls all of them, and ratios are those of a round. Every run must
//! give the output of the native loop. `--binary` measures other binaries than that of the working tree, several side by side.
//!
//! A run's wall time is from its start to its end, loading the (already compiled) components included; its processor time is what the
//! kernel counted for it in user and system mode.

mod chain;
mod chart;
mod events;
mod faults;
mod hosts;
mod input;
mod latency;
mod machine;
mod options;
mod process;
pub mod recovery;
mod report;
mod result;
mod rounds;
mod sizes;
mod stalls;
mod statistics;
mod tally;
mod throughput;
mod topologies;
mod variant;
mod watched;

use std::fs;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::paths;
use faults::Faults;
use machine::Origin;
use result::ResultRow;
use rounds::Rounds;
use sizes::Sizes;

/// Measures what the words of the command line ask for: prints a table, and writes table, JSON and chart.
///
/// # Errors
/// A word is wrong, a run fails, or it gives other output than it should.
pub fn bench(words: &[String]) -> Result<()> {
    let options = options::parse(words)?;
    let names: Vec<&str> = throughput::names().chain([chain::NAME]).chain(faults::NAMES).chain([latency::NAME]).collect();
    if let Some(unknown) = options.only.iter().find(|name| !names.contains(&name.as_str())) {
        bail!("there is no row `{unknown}`; the rows are {}", names.join(", "));
    }
    let is_wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    ensure!(!options.is_saved || options.only.is_empty(), "`--save` keeps a whole table: leave `--only` out");
    ensure!(!options.is_saved || options.hosts.is_empty(), "`--save` keeps what this working tree does: leave `--binary` out");
    let origin = Origin::of(words)?;
    let hosts = hosts::hosts(&options.hosts)?;
    let (folder, sizes) = (paths::target().join("bench"), &options.sizes);
    fs::create_dir_all(&folder)?;

    let samples = Rounds { folder: &folder, sizes, hosts: &hosts }.run(&throughput::variants(is_wanted))?;
    let mut rows = throughput::rows(is_wanted, &samples, sizes, &hosts);
    if is_wanted(chain::NAME) {
        rows.push(chain::row(&folder, sizes, &hosts)?);
    }
    rows.extend(Faults { folder: &folder, sizes, hosts: &hosts }.rows(is_wanted)?);
    if is_wanted(latency::NAME) {
        rows.push(latency::row(&folder, sizes, &hosts)?);
    }
    origin.lines().iter().for_each(|line| println!("\n{line}"));
    print!("{}", report::terminal(&rows));
    write(&origin, sizes, &rows, if options.is_saved { paths::root().join("docs/benchmarks") } else { folder })
}

fn write(origin: &Origin, sizes: &Sizes, rows: &[ResultRow], folder: std::path::PathBuf) -> Result<()> {
    let sizes = json!({
        "rows": sizes.rows, "keys": sizes.keys, "rows_large": sizes.rows_large(), "keys_large": sizes.keys_large, "rounds": sizes.rounds,
        "traps": sizes.traps, "traps_large": sizes.traps_large, "poison": sizes.poison, "kills": sizes.kills, "latency_s": sizes.latency_s,
    });
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("results.json"), format!("{:#}\n", report::json(origin, sizes, rows)))?;
    fs::write(folder.join("results.md"), report::page(origin, rows))?;
    fs::write(folder.join("results.svg"), chart::svg(rows))?;
    println!("\ntable, JSON and chart: {}/results.*", paths::shown(&folder));
    Ok(())
}
