//! Rounds: every variant runs once in each, one after the other, so that whatever else the machine does befalls all of them. What comes out
//! is held against the native loop.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::hosts::Host;
use super::process::{Ran, measured};
use super::sizes::Sizes;
use super::tally::{Form, Tally, tally};
use super::variant::{Emits, Load, Variant, topology};
use super::{events, input};
use crate::paths;

/// One run of a variant.
#[derive(Debug, Clone)]
pub struct Sample {
    pub wall_s: f64,
    pub processor_s: f64,
    pub memory_peak_bytes: u64,
    /// Bytes of each checkpoint.
    pub checkpoints: Vec<u64>,
    pub pause_ms: f64,
}

/// The samples of each variant, round by round; under a host, by its place among the hosts.
#[derive(Default)]
pub struct Samples(BTreeMap<(Variant, usize), Vec<Sample>>);

impl Samples {
    /// A quantity of a variant, round by round.
    pub fn of(&self, variant: Variant, host: usize, quantity: impl Fn(&Sample) -> f64) -> Vec<f64> {
        self.0.get(&key(variant, host)).into_iter().flatten().map(quantity).collect()
    }
}

/// A native loop is the same for all hosts.
fn key(variant: Variant, host: usize) -> (Variant, usize) {
    (variant, if matches!(variant, Variant::Native { .. }) { 0 } else { host })
}

/// What runs the rounds.
pub struct Rounds<'a> {
    pub folder: &'a Path,
    pub sizes: &'a Sizes,
    pub hosts: &'a [Host],
}

impl Rounds<'_> {
    /// Runs all variants, as often as the sizes say.
    ///
    /// # Errors
    /// A run fails, or its output is not that of the native loop.
    pub fn run(&self, variants: &BTreeSet<Variant>) -> Result<Samples> {
        let (mut samples, mut expected) = (Samples::default(), Expected::default());
        if variants.is_empty() {
            return Ok(samples);
        }
        for load in variants.iter().map(|variant| variant.load().as_lines()).collect::<BTreeSet<_>>() {
            // Where nothing native is measured, it is what the others are held against all the same.
            let oracle = Variant::Native { is_careful: false, emits: Emits::Files, load };
            self.run_one(oracle, &self.hosts[0], &mut expected)?;
        }
        // Components are compiled once, before anything is measured.
        let few = Rounds { sizes: &Sizes { rows: 1000, keys_large: 500, ..*self.sizes }, ..*self };
        for variant in variants.iter().filter(|variant| matches!(variant, Variant::Hosted { .. })) {
            self.hosts.iter().try_for_each(|host| few.prepared(*variant, host).and_then(|mut command| measured(&mut command)).map(drop))?;
        }
        for round in 1..=self.sizes.rounds {
            println!("\n== round {round} of {}", self.sizes.rounds);
            for variant in variants {
                let hosts = if matches!(variant, Variant::Native { .. }) { &self.hosts[..1] } else { self.hosts };
                for (place, host) in hosts.iter().enumerate() {
                    let sample = self.run_one(*variant, host, &mut expected)?;
                    let Sample { wall_s, processor_s, memory_peak_bytes, ref checkpoints, pause_ms } = sample;
                    println!(
                        "{:<94} {wall_s:>7.2} s {processor_s:>7.2} s cpu {:>5} MB {:>3} checkpoints {pause_ms:>6.1} ms pause",
                        label(*variant, host),
                        memory_peak_bytes / 1_000_000,
                        checkpoints.len(),
                    );
                    samples.0.entry(key(*variant, place)).or_default().push(sample);
                }
            }
        }
        Ok(samples)
    }

    fn run_one(&self, variant: Variant, host: &Host, expected: &mut Expected) -> Result<Sample> {
        let Ran { wall_s, processor_s, memory_peak_bytes, told } = measured(&mut self.prepared(variant, host)?)?;
        self.check(variant, host, expected)?;
        let pause_ms = events::pause_us(&told) as f64 / 1000.0;
        Ok(Sample { wall_s, processor_s, memory_peak_bytes, checkpoints: events::checkpoints(&told), pause_ms })
    }

    /// Everything that a run writes; removed before each.
    fn run_folder(&self) -> PathBuf {
        self.folder.join("run")
    }

    fn native_output(&self) -> String {
        self.run_folder().join("native").display().to_string()
    }

    fn prepared(&self, variant: Variant, host: &Host) -> Result<Command> {
        fresh(&self.run_folder())?;
        let file = input::file(self.folder, variant.load().content(self.sizes))?;
        Ok(match variant {
            Variant::Native { is_careful, emits, .. } => {
                let mut command = Command::new(paths::release("native-keyed-count"));
                command.arg(if is_careful { "careful" } else { "plain" }).arg(match emits {
                    Emits::Totals => "totals",
                    Emits::Discarded => "discard",
                    Emits::Files => "file",
                });
                command.arg(file).arg(self.native_output());
                command
            }
            Variant::Hosted { emits, load, workers, is_safe } => {
                let place = self.folder.join("topology.toml");
                fs::write(&place, topology(emits, load, is_safe, &file.display().to_string(), |name| host.guest(name)))?;
                host.run(&place, workers)
            }
        })
    }

    /// Holds the output of a run against that of the first one with the same rows, which is the native loop.
    fn check(&self, variant: Variant, host: &Host, expected: &mut Expected) -> Result<()> {
        let (totals, rows) = match variant {
            Variant::Native { .. } => (PathBuf::from(self.native_output()), PathBuf::from(format!("{}.rows", self.native_output()))),
            Variant::Hosted { .. } => (self.run_folder().join("totals"), self.run_folder().join("rows")),
        };
        let (load, name) = (variant.load().as_lines(), label(variant, host));
        let found = tally(&totals, Form::Totals)?;
        ensure!(*expected.totals.entry(load).or_insert(found) == found, "{name}: other totals than those of the native loop");
        if variant.emits() == Emits::Files {
            let found = tally(&rows, Form::Whole)?;
            ensure!(found.lines == load.content(self.sizes).rows(), "{name}: {} rows of output", found.lines);
            ensure!(*expected.rows.entry(load).or_insert(found) == found, "{name}: other rows than those of the native loop");
        }
        Ok(())
    }
}

#[derive(Default)]
struct Expected {
    totals: BTreeMap<Load, Tally>,
    rows: BTreeMap<Load, Tally>,
}

fn label(variant: Variant, host: &Host) -> String {
    match variant {
        Variant::Native { .. } => variant.description(),
        Variant::Hosted { .. } => format!("{}: {}", host.name, variant.description()),
    }
}

/// An empty folder.
///
/// # Errors
/// It cannot be made.
pub fn fresh(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}
