//! The rows of faults: traps, poison and kills, each from the fault until the output is past it, seen from outside. One worker, input at full
//! rate, rows shown at once.
//!
//! A guest traps at poison in a bad millisecond only; where it traps again it was bad luck twice, and such a stall is left out, as is one where
//! two traps came at once. The count of every row that is looked at must be the right one: nothing lost, nothing doubled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::hosts::Host;
use super::input::{self, Content};
use super::process::measured;
use super::result::{Measure, ResultRow};
use super::rounds::fresh;
use super::sizes::Sizes;
use super::stalls::{Stall, stalls};
use super::statistics::Statistic;
use super::topologies::{AT_ONCE, EVERY_SECOND, LARGE, TopologyText, by_key, from};
use super::watched::{Heard, Watched};
use crate::demo::grouped;
use crate::paths;

/// Names of the rows.
pub const NAMES: [&str; 3] = ["poison", "trap", "kill"];
/// A call that failed is made again as often as it takes, without much of a pause: the fault passes by itself.
const PATIENT: &str = "on-failure = { retries = 1000, backoff = \"1ms..2ms\", faults-max = 1000000 }";
/// Rows between two with poison, few keys: some 40 ms at full rate, and more than the host has under way.
const APART: u64 = 100_000;
/// The same with many keys: so that checkpoints come in between.
const APART_LARGE: u64 = 500_000;
/// A kill comes so long after a checkpoint: in the middle between two.
const KILL_AFTER: Duration = Duration::from_millis(500);
/// Rows that are read between two kills, at most: each takes some seconds.
const KILL_APART: u64 = 5_000_000;

/// What measures faults.
pub struct Faults<'a> {
    pub folder: &'a Path,
    pub sizes: &'a Sizes,
    pub hosts: &'a [Host],
}

/// A job that meets faults.
struct FaultyJob {
    rows: u64,
    keys: u64,
    /// Rows from one with poison to the next; 0: there is none.
    apart: u64,
    counter: &'static str,
    settings: String,
}

impl FaultyJob {
    fn content(&self) -> Content {
        Content::Even { rows: self.rows, keys: self.keys, poison_apart: self.apart }
    }

    fn poison(&self) -> impl Iterator<Item = u64> {
        let Self { rows, keys, apart, .. } = *self;
        (0..rows).step_by(apart.max(1) as usize).filter(move |row| input::is_poisoned(*row, keys, apart))
    }

    fn is_right(&self, (row, count): (u64, u64)) -> bool {
        count == row / self.keys + 1
    }
}

impl Faults<'_> {
    /// The rows that are wanted.
    ///
    /// # Errors
    /// A run fails, or gives another output than it should.
    pub fn rows(&self, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<ResultRow>> {
        let mut rows = Vec::new();
        let Sizes { keys, keys_large, .. } = *self.sizes;
        if is_wanted("poison") {
            let title = format!("a row that always traps, until past it, {} keys", grouped(keys));
            rows.push(ResultRow { name: "poison", title, measures: self.poison()? });
        }
        if is_wanted("trap") {
            let title = "one trap, until past it, at full rate".to_owned();
            rows.push(ResultRow { name: "trap", title, measures: self.traps()? });
        }
        if is_wanted("kill") {
            let title = format!("kill -9, until past it, {} keys", grouped(keys_large));
            rows.push(ResultRow { name: "kill", title, measures: self.kills()? });
        }
        Ok(rows)
    }

    fn poison(&self) -> Result<Vec<Measure>> {
        let Sizes { keys, poison, .. } = *self.sizes;
        // Far apart, so that rows wait neither for the row before nor for its quarantine.
        let apart = 5 * APART;
        let rows = keys.next_multiple_of(apart) + poison * apart;
        let job = FaultyJob { rows, keys, apart, counter: "trap-unreachable", settings: String::new() };
        let mut measures = Vec::new();
        for host in self.hosts {
            let took: Vec<f64> = self.stalls(host, &job, false)?.iter().map(|stall| ms(stall.took)).collect();
            ensure!(took.len() as u64 == poison, "{} of {poison} rows with poison were noticed", took.len());
            measures.push(Measure::new(&host.name, "ms", took.clone()).target(200.0));
            measures.push(Measure::new(format!("{}: longest of {poison}", host.name), "ms", took).by(Statistic::Longest));
        }
        Ok(measures)
    }

    fn traps(&self) -> Result<Vec<Measure>> {
        let Sizes { keys, keys_large, traps, traps_large, .. } = *self.sizes;
        let few = (keys + traps * APART, keys, APART);
        let many = (keys_large + traps_large * APART_LARGE, keys_large, APART_LARGE);
        let job = |(rows, keys, apart), settings: &str| {
            let settings = format!("{settings}\n{PATIENT}");
            FaultyJob { rows, keys, apart, counter: "trap-sometimes", settings }
        };
        let jobs = [
            (format!("{} keys", grouped(keys_large)), 500.0, job(many, "recover-within = \"500ms\"")),
            (format!("{} keys", grouped(keys)), 50.0, job(few, "recover-within = \"40ms\"")),
            (format!("{} keys, a standby", grouped(keys)), 10.0, job(few, "recover-within = \"4ms\"\nstandby = true")),
        ];
        let mut measures = Vec::new();
        for host in self.hosts {
            for (what, target_ms, job) in &jobs {
                let stalls = self.stalls(host, job, true)?;
                let took: Vec<f64> = stalls.iter().filter(|stall| stall.failures == 1).map(|stall| ms(stall.took)).collect();
                let label = format!("{}, {what}", host.name);
                let kept = format!("p50 of {}, {} left out", took.len(), stalls.len() - took.len());
                measures.push(Measure::new(format!("{label}: {kept}"), "ms", took.clone()));
                measures.push(Measure::new(format!("{label}: p99"), "ms", took).by(Statistic::Percentile(99.0)).target(*target_ms));
            }
        }
        Ok(measures)
    }

    /// Runs a job to its end. `is_counted`: its rows with poison come out, too.
    fn stalls(&self, host: &Host, job: &FaultyJob, is_counted: bool) -> Result<Vec<Stall>> {
        let mut watched = Watched::start(&mut self.command(host, job)?)?;
        let (mut all, mut rows_out, mut restarts) = (Vec::new(), 0, 0);
        while let Some((at, heard)) = watched.next(None)? {
            match &heard {
                Heard::Passed { rows, last } => {
                    rows_out += rows;
                    ensure!(last.is_none_or(|last| job.is_right(last)), "row and count {last:?} do not fit");
                }
                Heard::Told(event) => restarts += u32::from(event["event"] == "started"),
                Heard::Ended | Heard::Broken(_) => {}
            }
            all.push((at, heard));
        }
        watched.finish()?;
        ensure!(restarts == 1, "the job itself was taken up again");
        let poison = if is_counted { job.poison().count() as u64 } else { 0 };
        let expected = job.rows + poison;
        ensure!(rows_out == expected, "{rows_out} rows came out of {expected}");
        let stalls = stalls(all.into_iter(), job.poison());
        println!("{}: {} with {} rows to fail at: {} stalls", host.name, job.counter, job.poison().count(), stalls.len());
        Ok(stalls)
    }

    fn kills(&self) -> Result<Vec<Measure>> {
        let Sizes { keys_large: keys, kills, .. } = *self.sizes;
        let rows = 2 * keys + kills * KILL_APART;
        let job = FaultyJob { rows, keys, apart: 0, counter: "running-count", settings: String::new() };
        let mut measures = self.natives_anew()?;
        for host in self.hosts {
            let mut command = self.command(host, &job)?;
            let mut watched = Watched::start(&mut command)?;
            let (mut reached, mut took) = (run_until_mid_epoch(&mut watched, &job, keys)?, Vec::new());
            while let Some(row) = reached.filter(|_| (took.len() as u64) < kills) {
                let killed = watched.kill()?;
                watched = Watched::start(&mut command)?;
                took.push(ms(past(&mut watched, &job, row)?.saturating_duration_since(killed)));
                println!("{}: past row {row} {:.0} ms after a kill", host.name, took.last().copied().unwrap_or(f64::NAN));
                reached = run_until_mid_epoch(&mut watched, &job, row)?;
            }
            let count = took.len();
            measures.push(Measure::new(format!("{}: median of {count}", host.name), "ms", took.clone()).target(1000.0));
            measures.push(Measure::new(format!("{}: longest", host.name), "ms", took).by(Statistic::Longest));
        }
        Ok(measures)
    }

    /// How long the native loops take from the beginning to where a kill is the earliest, since they keep nothing.
    fn natives_anew(&self) -> Result<Vec<Measure>> {
        let keys = self.sizes.keys_large;
        let file = input::file(self.folder, Content::Even { rows: self.sizes.rows_large(), keys, poison_apart: 0 })?;
        let run = |name: &str| {
            fresh(&self.run_folder())?;
            let mut command = Command::new(paths::release("native-keyed-count"));
            command.args([name, "discard"]).arg(&file).arg(self.run_folder().join("native"));
            let label = format!("native, {name}: from the beginning, {} rows", grouped(self.sizes.rows_large()));
            Ok(Measure::new(label, "ms", vec![measured(&mut command)?.wall_s * 1e3]))
        };
        ["plain", "careful"].into_iter().map(run).collect()
    }

    fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    fn command(&self, host: &Host, job: &FaultyJob) -> Result<Command> {
        fresh(&self.run_folder())?;
        let file = input::file(self.folder, job.content())?;
        let topology = TopologyText::new(EVERY_SECOND)
            .source(&file.display().to_string(), "format = \"lines\"")
            .operator("parse", &host.guest("parse-text"), &from("rows"), "")
            .operator("count", &host.guest(job.counter), &by_key("parse"), &format!("{LARGE}\n{}", job.settings))
            .sink("out", "count", AT_ONCE);
        let place = self.folder.join("topology.toml");
        fs::write(&place, topology.text())?;
        Ok(host.run(&place, 1))
    }
}

/// Goes on until the output is past a row, two checkpoints came after that, and half of an interval. Gives the last row of the output then, or
/// nothing where the input ended before.
fn run_until_mid_epoch(watched: &mut Watched, job: &FaultyJob, row: u64) -> Result<Option<u64>> {
    let (mut last, mut checkpoints, mut until) = (0, 0, None);
    loop {
        let heard = watched.next(until)?;
        match heard {
            Some((_, Heard::Passed { last: Some(passed), .. })) => {
                ensure!(job.is_right(passed), "row and count {passed:?} do not fit");
                last = passed.0;
            }
            Some((_, Heard::Told(event))) if event["event"] == "end" => return Ok(None),
            Some((at, Heard::Told(event))) if event["event"] == "checkpoint" && last >= row => {
                checkpoints += 1;
                if checkpoints == 2 {
                    until = Some(at + KILL_AFTER);
                }
            }
            Some((at, _)) if until.is_some_and(|until| at >= until) => return Ok(Some(last)),
            Some(_) => {}
            None => return Ok(until.map(|_| last)),
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Some(last));
        }
    }
}

/// Goes on until the output is past a row, and says when that was.
fn past(watched: &mut Watched, job: &FaultyJob, row: u64) -> Result<Instant> {
    loop {
        let (at, heard) = watched.next(None)?.context("the run ended before it was past the kill")?;
        if let Heard::Passed { last: Some(passed), .. } = heard {
            ensure!(job.is_right(passed), "row and count {passed:?} do not fit");
            if passed.0 > row {
                return Ok(at);
            }
        }
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poison_and_counts_follow_from_the_number_of_a_row() {
        let job = FaultyJob { rows: 40, keys: 12, apart: 10, counter: "count", settings: String::new() };
        assert_eq!(job.poison().collect::<Vec<_>>(), [20, 30]);
        assert!(job.is_right((11, 1)) && job.is_right((12, 2)) && !job.is_right((12, 1)));
    }
}
