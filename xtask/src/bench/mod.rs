//! `cargo xtask bench`: the keyed count, as a native program and as two Wasm operators under the host.
//!
//! Both parse lines `key,value,time`, and count and sum the values by key, over 100 thousand keys with Zipf's frequencies; see [`input`].
//! The native program is `benches/native-keyed-count.rs`: one thread, no checkpoints, nothing to recover. The rounds run all
//! variants one after the other, so that whatever else the machine does befalls all of them; medians are compared. Every run must give
//! the same counts as the native one.
//!
//! A run's wall time is from its start to its end, loading the (already compiled) components included; its processor time is what the
//! kernel counted for it in user and system mode. Its longest pause is that of any instance at the end of an epoch, while its snapshot is
//! read and others have their turns.
//!
//! At last one worker runs over an input of [`PAUSE_KEYS`] keys, which all change in every epoch: for the pause alone.

mod input;
pub mod recovery;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::demo::grouped;
use crate::{guests, paths, run};

/// Rows of the input, unless the command line says otherwise.
pub const ROWS_DEFAULT: u64 = 10_000_000;
/// Rounds, unless the command line says otherwise.
pub const ROUNDS_DEFAULT: u64 = 3;
/// Rows of the input with which components are compiled before anything is measured.
const WARM_ROWS: u64 = 1000;
/// Of the kernel's clock that processor times are given in, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A run with fewer checkpoints says little about what they cost. The last one comes with the end of the input.
const CHECKPOINTS_MIN: u64 = 4;

/// Keys of the input for the pause.
const PAUSE_KEYS: usize = 10_000;

/// What is measured.
#[derive(Clone, Copy)]
enum Variant {
    Native,
    Host { workers: u32, interval: &'static str },
}

impl Variant {
    /// Whether checkpoints are meant to happen on the way.
    fn has_checkpoints(self) -> bool {
        matches!(self, Variant::Host { interval: "1s", .. })
    }
}

const VARIANTS: [(&str, Variant); 4] = [
    ("native, 1 thread", Variant::Native),
    ("1 worker, no checkpoints", Variant::Host { workers: 1, interval: "1h" }),
    ("1 worker, every second", Variant::Host { workers: 1, interval: "1s" }),
    ("2 workers, every second", Variant::Host { workers: 2, interval: "1s" }),
];

/// One run of a variant.
#[derive(Clone, Copy, Debug)]
struct Sample {
    wall_s: f64,
    processor_s: f64,
    checkpoints: u64,
    /// The longest pause of an instance at the end of an epoch.
    pause_ms: f64,
}

/// `count,sum` by key.
type Counts = BTreeMap<String, String>;

struct Bench {
    folder: PathBuf,
}

/// Measures all variants and prints a table.
///
/// # Errors
/// A run fails or gives other counts than the native program.
pub fn bench(rows: u64, rounds: u64) -> Result<()> {
    guests::build()?;
    run::run(run::cargo().args(["build", "--release", "--package", "reprise", "--package", "xtask"]))?;
    let bench = Bench { folder: paths::target().join("bench") };
    fs::create_dir_all(&bench.folder)?;
    bench.run(Variant::Host { workers: 1, interval: "1h" }, &bench.input(WARM_ROWS, input::KEYS)?)?;
    let file = bench.input(rows, input::KEYS)?;
    // Once through the page cache, so that the first run does not pay for the disk.
    std::io::copy(&mut fs::File::open(&file)?, &mut std::io::sink())?;

    let mut samples = vec![Vec::new(); VARIANTS.len()];
    let mut expected: Option<Counts> = None;
    for round in 1..=rounds {
        println!("\n== round {round} of {rounds}");
        for (place, (name, variant)) in VARIANTS.into_iter().enumerate() {
            let sample = bench.run(variant, &file)?;
            let counts = bench.counts(variant)?;
            match &expected {
                None => expected = Some(counts),
                Some(expected) => ensure!(counts == *expected, "`{name}` gives other counts than the native program"),
            }
            let Sample { wall_s, processor_s, checkpoints, pause_ms } = sample;
            println!(
                "{name}: {wall_s:.2} s, {processor_s:.2} s of processor time, {checkpoints} checkpoints, pauses up to {pause_ms:.1} ms"
            );
            samples[place].push(sample);
        }
    }
    let bytes = fs::metadata(&file)?.len();
    let keys = expected.map_or(0, |counts| counts.len() as u64);
    println!("\nkeyed count: {} rows, {} MB, {} keys; medians of {rounds}", grouped(rows), bytes / 1_000_000, grouped(keys));
    print_table(rows, &samples);
    bench.print_pause(rows)?;
    let is_short = |samples: &[Sample]| samples.iter().any(|sample| sample.checkpoints < CHECKPOINTS_MIN);
    if VARIANTS.iter().zip(&samples).any(|((_, variant), samples)| variant.has_checkpoints() && is_short(samples)) {
        println!("The runs were too short for what checkpoints cost; `--rows {}` tells more.", rows.saturating_mul(5));
    }
    Ok(())
}

/// What checkpoints cost: the run with one every second against the run without, both with one worker.
fn print_cost(samples: &[Vec<Sample>]) {
    let wall = |place: usize| median(samples[place].iter().map(|sample| sample.wall_s));
    println!("A checkpoint every second costs {:.1} % of the throughput.", (1.0 - wall(1) / wall(2)) * 100.0);
}

fn print_table(rows: u64, samples: &[Vec<Sample>]) {
    println!("{:<26} {:>8} {:>8} {:>12} {:>7} {:>7} {:>12}", "", "wall s", "cpu s", "rows/s", "x wall", "x cpu", "checkpoints");
    let wall = |samples: &[Sample]| median(samples.iter().map(|sample| sample.wall_s));
    let processor = |samples: &[Sample]| median(samples.iter().map(|sample| sample.processor_s));
    let native = (wall(&samples[0]), processor(&samples[0]));
    for ((name, _), samples) in VARIANTS.iter().zip(samples) {
        let (wall_s, processor_s) = (wall(samples), processor(samples));
        let checkpoints = median(samples.iter().map(|sample| sample.checkpoints as f64));
        println!(
            "{name:<26} {wall_s:>8.2} {processor_s:>8.2} {:>12} {:>7.2} {:>7.2} {checkpoints:>12.0}",
            grouped((rows as f64 / wall_s) as u64),
            wall_s / native.0,
            processor_s / native.1,
        );
    }
    print_cost(samples);
}

/// The middle one, or the upper of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Bench {
    /// The input file of so many rows, generated if it is not there.
    fn input(&self, rows: u64, keys: usize) -> Result<PathBuf> {
        let file = self.folder.join(format!("input-{rows}-{keys}.csv"));
        if !file.is_file() {
            println!("generating {}", paths::shown(&file));
            let fresh = file.with_extension("fresh");
            input::write(rows, keys, &fresh)
                .and_then(|()| fs::rename(&fresh, &file))
                .with_context(|| format!("{} cannot be written", paths::shown(&file)))?;
        }
        Ok(file)
    }

    fn print_pause(&self, rows: u64) -> Result<()> {
        let sample = self.run(Variant::Host { workers: 1, interval: "1s" }, &self.input(rows, PAUSE_KEYS)?)?;
        let (keys, Sample { checkpoints, pause_ms, .. }) = (grouped(PAUSE_KEYS as u64), sample);
        println!("The longest pause of an instance at {checkpoints} ends of epochs with {keys} changed keys: {pause_ms:.1} ms.");
        Ok(())
    }

    /// Everything that a run writes; removed before each.
    fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    fn native_output(&self) -> PathBuf {
        self.run_folder().join("native.tsv")
    }

    fn run(&self, variant: Variant, file: &Path) -> Result<Sample> {
        if self.run_folder().exists() {
            fs::remove_dir_all(self.run_folder())?;
        }
        fs::create_dir_all(self.run_folder())?;
        let mut command = match variant {
            Variant::Native => {
                let mut command = Command::new(paths::release("native-keyed-count"));
                command.arg(file).arg(self.native_output());
                command
            }
            Variant::Host { workers, interval } => {
                let topology = self.folder.join("topology.toml");
                fs::write(&topology, topology_text(file, interval)?)?;
                let mut command = Command::new(paths::release("reprise"));
                command.arg("run").arg(topology).args(["--log", "json", "--workers", &workers.to_string()]);
                command
            }
        };
        command.current_dir(paths::root()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let (processor_before, start) = (children_processor_s()?, Instant::now());
        let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
        let wall_s = start.elapsed().as_secs_f64();
        let processor_s = children_processor_s()? - processor_before;
        if !output.status.success() {
            bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        let pause_ms = pause_us(&String::from_utf8_lossy(&output.stderr)) as f64 / 1000.0;
        Ok(Sample { wall_s, processor_s, checkpoints: self.checkpoints(), pause_ms })
    }

    /// The epoch of the newest manifest: epochs count from 1.
    fn checkpoints(&self) -> u64 {
        let folder = self.run_folder().join("state/keyed-count/checkpoints");
        let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter_map(|name| name.strip_suffix(".manifest")?.parse().ok()).max().unwrap_or(0)
    }

    fn counts(&self, variant: Variant) -> Result<Counts> {
        match variant {
            Variant::Native => native_counts(&fs::read_to_string(self.native_output())?),
            Variant::Host { .. } => {
                let mut counts = Counts::new();
                for entry in fs::read_dir(self.run_folder().join("out"))? {
                    let path = entry?.path();
                    if path.extension().is_some_and(|extension| extension == "json") {
                        add_published(&fs::read_to_string(path)?, &mut counts)?;
                    }
                }
                Ok(counts)
            }
        }
    }
}

fn topology_text(file: &Path, interval: &str) -> Result<String> {
    let file = file.file_name().and_then(|name| name.to_str()).context("the input's name is ours, and text")?;
    Ok(format!(
        r#"name = "keyed-count"

[checkpoint]
store    = "file:./run/state"
interval = "{interval}"

[[source]]
name = "lines"
file = {{ path = "{file}", format = "lines" }}

[[operator]]
name      = "parse"
component = "../guests/parse-kv.wasm"
input     = "lines"

[[operator]]
name      = "count"
component = "../guests/count-sum.wasm"
input     = {{ from = "parse", by = "key" }}

[[sink]]
name  = "sums"
input = "count"
file  = {{ path = "run/out", format = "json" }}
"#
    ))
}

fn native_counts(text: &str) -> Result<Counts> {
    let row = |line: &str| line.split_once('\t').map(|(key, counts)| (key.to_owned(), counts.to_owned()));
    text.lines().map(|line| row(line).with_context(|| format!("`{line}` is not `key<TAB>count,sum`"))).collect()
}

fn add_published(text: &str, counts: &mut Counts) -> Result<()> {
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).with_context(|| format!("`{line}` is not JSON"))?;
        let (Some(key), Some(value)) = (row["key"].as_str(), row["value"].as_str()) else {
            bail!("`{line}` has no text as `key` and `value`");
        };
        ensure!(counts.insert(key.to_owned(), value.to_owned()).is_none(), "`{key}` was published twice");
    }
    Ok(())
}

/// The longest pause that the JSON lines of a run tell, in microseconds.
fn pause_us(told: &str) -> u64 {
    fn longest(value: &Value) -> u64 {
        match value {
            Value::Object(members) => {
                let own = members.get("snapshot_us_max").and_then(Value::as_u64).unwrap_or(0);
                members.values().map(longest).max().unwrap_or(0).max(own)
            }
            Value::Array(entries) => entries.iter().map(longest).max().unwrap_or(0),
            _ => 0,
        }
    }
    told.lines().filter_map(|line| serde_json::from_str(line).ok()).map(|line| longest(&line)).max().unwrap_or(0)
}

/// Seconds of processor time of all children that have ended, in user and system mode.
fn children_processor_s() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat").context("processor times are read from /proc, which only Linux has")?;
    children_ticks(&text).map(|ticks| ticks as f64 / TICKS_PER_SECOND).context("/proc/self/stat is not as proc(5) says")
}

/// Fields 16 and 17 of proc(5)'s `stat`. The second field is a name in parentheses, which may hold anything.
fn children_ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_whitespace().skip(13);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_of_children_is_read_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 100 200 0 0 11 12 130 14 20 0 1 0 5 6 7";
        assert_eq!(children_ticks(stat), Some(144));
        assert_eq!(children_ticks("7 (x) S 1"), None);
        assert!(children_processor_s().expect("this is Linux") >= 0.0);
    }

    #[test]
    fn medians_are_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([1.0].into_iter()), 1.0);
        assert!(median([].into_iter()).is_nan());
    }

    #[test]
    fn the_longest_pause_of_all_lines_counts() {
        let told = "{\"operators\":{\"a\":{\"snapshot_us_max\":7},\"b\":{\"snapshot_us_max\":900}}}\nno JSON\n{\"snapshot_us_max\":5}\n";
        assert_eq!((pause_us(told), pause_us("")), (900, 0));
    }

    #[test]
    fn both_outputs_read_the_same() {
        let mut published = Counts::new();
        add_published("{\"key\":\"b\",\"value\":\"1,-2\",\"time\":0}\n{\"key\":\"a\",\"value\":\"3,4\",\"time\":0}\n", &mut published)
            .expect("rows");
        assert_eq!(published, native_counts("a\t3,4\nb\t1,-2\n").expect("rows"));
        assert!(native_counts("a 3").is_err());
        assert!(add_published("{\"key\":\"a\",\"value\":\"3,4\"}", &mut published).is_err(), "published twice");
    }
}
