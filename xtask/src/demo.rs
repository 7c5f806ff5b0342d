//! `cargo xtask demo`: a word count that is killed on the way and still counts right.
//!
//! The text of the example is small, so it is repeated, and the expected counts are multiplied. The first run is killed with SIGKILL once it
//! has completed a checkpoint, the second one after the next checkpoint, if it still runs by then; the third one ends. A run that ends before
//! it could be killed proves nothing: then there is another try with more text.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{guests, paths, run};

/// How often the text is repeated, unless the command line says otherwise.
pub const TIMES_DEFAULT: u64 = 60;
/// Tries with ever more text until a kill hits a run on its way.
const TRIES_MAX: u32 = 4;
/// Times more text with each try.
const TRY_GROWTH: u64 = 3;
/// For one run to reach its next checkpoint or its end.
const RUN_LIMIT: Duration = Duration::from_secs(600);
/// Between two looks at a run.
const POLL: Duration = Duration::from_millis(2);
/// Of the host and the operators, where nothing is built yet.
const FIRST_BUILD_MINUTES: u32 = 15;
const SIGKILL: i32 = 9;
const WORKERS: &str = "2";

/// The folder of the demo, and what is in it as the topology names it.
struct Stage {
    folder: PathBuf,
}

/// How a run came to its end.
enum End {
    Finished,
    Killed,
}

/// Runs the demo with the text repeated so many times.
///
/// # Errors
/// The counts differ, a run fails, or no kill hit a run on its way.
pub fn demo(times: u64) -> Result<()> {
    if !paths::release("reprise").is_file() {
        println!(
            "The first build takes about {FIRST_BUILD_MINUTES} minutes on 2 cores: the host, with its compiler for Wasm, and two operators."
        );
    }
    guests::build_examples()?;
    run::run(run::cargo().args(["build", "--release", "--package", "reprise", "--bin", "reprise"]))?;
    let mut times = times;
    for _ in 0..TRIES_MAX {
        let stage = Stage { folder: paths::target().join("demo") };
        let expected = stage.prepare(times)?;
        let kills = stage.run_and_kill()?;
        if kills > 0 {
            return stage.verdict(&expected, kills);
        }
        println!("\nThe run ended before it could be killed: once more, with {TRY_GROWTH} times the text.");
        times = times.saturating_mul(TRY_GROWTH);
    }
    bail!("no kill hit a run on its way in {TRIES_MAX} tries\n  help: give more text with `--times {}`", times.saturating_mul(TRY_GROWTH))
}

impl Stage {
    fn topology(&self) -> PathBuf {
        self.folder.join("topology.toml")
    }

    fn checkpoints(&self) -> PathBuf {
        self.folder.join("run/state/word-count/checkpoints")
    }

    fn output(&self) -> PathBuf {
        self.folder.join("run/out")
    }

    /// Lays out the folder and returns the expected counts.
    fn prepare(&self, times: u64) -> Result<BTreeMap<String, u64>> {
        let example = paths::root().join("examples/word-count");
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).with_context(|| format!("{} cannot be removed", paths::shown(&self.folder)))?;
        }
        fs::create_dir_all(self.folder.join("input"))?;
        fs::copy(example.join("topology.toml"), self.topology())?;
        let mut bytes = 0;
        for book in files(&example.join("input"), "txt")? {
            let text = fs::read(&book)?;
            ensure!(text.ends_with(b"\n"), "{} does not end with a line break: repeated, it would make new words", paths::shown(&book));
            let name = book.file_name().context("a listed file has a name")?;
            bytes += repeat(&text, times, &self.folder.join("input").join(name))?;
        }
        let expected = read_expected(&example.join("expected/counts.txt"), times)?;
        let words: u64 = expected.values().sum();
        println!("\n== The input");
        println!(
            "{times} times the books of {}: {} MB, {} words.",
            paths::shown(&example.join("input")),
            bytes / 1_000_000,
            grouped(words)
        );
        println!("The expected counts are those of {} times {times}.", paths::shown(&example.join("expected/counts.txt")));
        Ok(expected)
    }

    /// Runs the job to its end with up to two kills on the way, and returns how many there were.
    fn run_and_kill(&self) -> Result<usize> {
        for (kills, title) in [(0, "The first run, to be killed after a checkpoint"), (1, "It starts again, to be killed once more")] {
            println!("\n== {title}");
            if let End::Finished = self.run_until_checkpoint()? {
                return Ok(kills);
            }
            self.show()?;
        }
        println!("\n== It starts again, and is left alone");
        let mut child = self.start()?;
        let status = wait(&mut child, || false)?.context("the wait ends with the run")?;
        ensure!(status.success(), "the run ended with {status}");
        Ok(2)
    }

    fn start(&self) -> Result<Child> {
        let mut command = Command::new(paths::release("reprise"));
        command.current_dir(paths::root()).arg("run").arg(self.topology()).args(["--workers", WORKERS, "--log", "text"]);
        run::print(&command);
        command.spawn().context("the host cannot be started")
    }

    /// Runs the job and kills it when it has completed a checkpoint of its own. The first manifest of a run only takes over what was there.
    fn run_until_checkpoint(&self) -> Result<End> {
        let before = self.newest_manifest();
        let start = Instant::now();
        let mut child = self.start()?;
        let ended = wait(&mut child, || self.newest_manifest() > before + 1)?;
        let status = match ended {
            Some(status) => status,
            None => {
                // The run may end by itself between the look and the kill: its status tells.
                child.kill().context("the run cannot be killed")?;
                child.wait()?
            }
        };
        if status.signal() == Some(SIGKILL) {
            println!("Killed with SIGKILL after {:.2} s: {status}", start.elapsed().as_secs_f64());
            return Ok(End::Killed);
        }
        ensure!(status.success(), "the run ended with {status}");
        Ok(End::Finished)
    }

    /// The epoch of the newest manifest, which is its name; 0 where there is none.
    fn newest_manifest(&self) -> u64 {
        let manifests = files(&self.checkpoints(), "manifest").unwrap_or_default();
        let epoch = |path: &std::path::PathBuf| path.file_stem()?.to_str()?.parse().ok();
        manifests.iter().filter_map(epoch).max().unwrap_or(0)
    }

    /// Shows what a kill left behind.
    fn show(&self) -> Result<()> {
        println!("What is there now:");
        for manifest in files(&self.checkpoints(), "manifest")? {
            println!("  checkpoint  {}", paths::shown(&manifest));
        }
        let published = if self.output().exists() { files(&self.output(), "json")? } else { Vec::new() };
        for file in &published {
            println!("  published   {}", paths::shown(file));
        }
        if published.is_empty() {
            println!("  published   nothing: the totals come when the input ends");
        }
        Ok(())
    }

    fn verdict(&self, expected: &BTreeMap<String, u64>, kills: usize) -> Result<()> {
        println!("\n== The verdict");
        let published = files(&self.output(), "json")?;
        let mut counts = BTreeMap::new();
        for file in &published {
            add_counts(&fs::read_to_string(file)?, &mut counts).with_context(|| format!("{} is wrong", paths::shown(file)))?;
        }
        let differences = differences(expected, &counts);
        for difference in differences.iter().take(10) {
            println!("  {difference}");
        }
        ensure!(differences.is_empty(), "{} words differ from the expected counts after {kills} kills", differences.len());
        let kills = if kills == 1 { "1 kill".to_owned() } else { format!("{kills} kills") };
        println!(
            "The counts of {} words in {} files equal the expected ones, after {kills}.",
            grouped(counts.len() as u64),
            published.len()
        );
        Ok(())
    }
}

/// Waits for the end of a run, or until `done` holds (then there is no status).
fn wait(child: &mut Child, done: impl Fn() -> bool) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if done() {
            return Ok(None);
        }
        if start.elapsed() > RUN_LIMIT {
            child.kill()?;
            child.wait()?;
            bail!("the run neither ended nor completed a checkpoint within {} s", RUN_LIMIT.as_secs());
        }
        sleep(POLL);
    }
}

/// Files of a folder with this extension, in the order of their names.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{} cannot be read", paths::shown(folder)))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Writes the text so many times over and returns the length of the file.
fn repeat(text: &[u8], times: u64, file: &Path) -> Result<u64> {
    use std::io::Write;
    let mut out = fs::File::create(file).with_context(|| format!("{} cannot be made", paths::shown(file)))?;
    for _ in 0..times {
        out.write_all(text).with_context(|| format!("{} cannot be written", paths::shown(file)))?;
    }
    Ok(times * text.len() as u64)
}

fn read_expected(file: &Path, times: u64) -> Result<BTreeMap<String, u64>> {
    let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", paths::shown(file)))?;
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let (word, count) = line.split_once('\t').with_context(|| format!("`{line}` is not `word<TAB>count`"))?;
        counts.insert(word.to_owned(), count.parse::<u64>()?.checked_mul(times).context("a count is too large")?);
    }
    Ok(counts)
}

/// Adds the lines of a published file. A word that is there already is an error: totals come once.
fn add_counts(text: &str, counts: &mut BTreeMap<String, u64>) -> Result<()> {
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).with_context(|| format!("`{line}` is not JSON"))?;
        let (Some(word), Some(count)) = (row["key"].as_str(), row["value"].as_str()) else {
            bail!("`{line}` has no text as `key` and `value`");
        };
        let count = count.parse().with_context(|| format!("the value of `{line}` is not a count"))?;
        ensure!(counts.insert(word.to_owned(), count).is_none(), "`{word}` was published twice");
    }
    Ok(())
}

fn differences(expected: &BTreeMap<String, u64>, counts: &BTreeMap<String, u64>) -> Vec<String> {
    let missing =
        expected.iter().filter(|(word, _)| !counts.contains_key(*word)).map(|(word, count)| format!("{word}: nothing instead of {count}"));
    let others = counts.iter().filter_map(|(word, count)| match expected.get(word) {
        Some(right) if right == count => None,
        Some(right) => Some(format!("{word}: {count} instead of {right}")),
        None => Some(format!("{word}: {count} instead of nothing")),
    });
    missing.chain(others).collect()
}

/// A number with commas.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
    }

    #[test]
    fn published_lines_become_counts_and_a_word_twice_is_an_error() {
        let mut read = BTreeMap::new();
        add_counts("{\"key\":\"a\",\"value\":\"12\",\"time\":1}\n{\"key\":\"b\",\"value\":\"3\",\"time\":1}\n", &mut read)
            .expect("both are rows");
        assert_eq!(read, counts(&[("a", 12), ("b", 3)]));
        for line in
            ["{\"key\":\"a\",\"value\":\"12\"}", "{\"key\":\"c\",\"value\":1}", "{\"key\":\"c\"}", "{", "{\"key\":\"c\",\"value\":\"x\"}"]
        {
            assert!(add_counts(line, &mut read).is_err(), "{line}");
        }
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        let expected = counts(&[("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(differences(&expected, &expected), [""; 0]);
        let found = differences(&expected, &counts(&[("a", 1), ("b", 3), ("d", 4)]));
        assert_eq!(found, ["c: nothing instead of 3", "b: 3 instead of 2", "d: 4 instead of nothing"]);
    }

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
