//! Many seeds, over all processors; and what to say where one fails.

use crate::mutation::Mutation;
use crate::plan::{Counts, FAULTS, Plan};
use crate::world::{Outcome, simulate};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Lines of the trace that a failure shows.
pub const LINES_SHOWN: usize = 60;

/// What became of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// What struck in all of them.
    pub counts: Counts,
    /// Polls of tasks in all of them, and of the longest.
    pub steps: (u64, u64),
    /// The failures, by seed.
    pub failures: Vec<Outcome>,
}

/// Runs all seeds of a range. `first_only`: stops at the first failure. `progress` is told after each seed how many are through.
pub fn run(seeds: Range<u64>, mutation: Option<Mutation>, first_only: bool, progress: impl Fn(u64) + Sync) -> Summary {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, done, enough) = (AtomicU64::new(seeds.start), AtomicU64::new(0), AtomicBool::new(false));
    let summary = Mutex::new(Summary::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || enough.load(Ordering::Relaxed) {
                        return;
                    }
                    let outcome = simulate(Plan::new(seed, mutation), LINES_SHOWN);
                    if outcome.failure.is_some() && first_only {
                        enough.store(true, Ordering::Relaxed);
                    }
                    summary.lock().expect("no thread panics while it holds this").add(outcome);
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                }
            });
        }
    });
    let mut summary = summary.into_inner().expect("no thread panicked");
    summary.failures.sort_by_key(|outcome| outcome.seed);
    summary
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.steps = (self.steps.0 + outcome.steps, self.steps.1.max(outcome.steps));
        for (fault, count) in &outcome.counts {
            *self.counts.entry(*fault).or_insert(0) += count;
        }
        if outcome.failure.is_some() {
            self.failures.push(outcome);
        }
    }

    /// Kinds of faults that did not strike.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        FAULTS.iter().filter(|fault| !self.counts.contains_key(fault)).map(|fault| format!("{fault:?}")).collect()
    }

    /// How often each kind struck, in lines.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        for row in FAULTS.chunks(4) {
            for fault in row {
                let _ = write!(table, "{:<20}{:>9}   ", format!("{fault:?}"), self.counts.get(fault).copied().unwrap_or(0));
            }
            table.push('\n');
        }
        table
    }
}

/// A failure for people: what is wrong, the end of the trace, and how to see it again.
#[must_use]
pub fn report(outcome: &Outcome) -> String {
    let mut text = String::new();
    let shown = outcome.lines.len().saturating_sub(LINES_SHOWN);
    for line in &outcome.lines[shown..] {
        let _ = writeln!(text, "{line}");
    }
    let mutation = outcome.mutation.map(|mutation| format!(" --mutation {}", mutation.name())).unwrap_or_default();
    let failure = outcome.failure.as_deref().unwrap_or("nothing is wrong");
    let _ = writeln!(text, "seed {}: {failure}", outcome.seed);
    let _ = writeln!(text, "  after {} steps, trace hash {:016x}", outcome.steps, outcome.hash);
    let _ = writeln!(text, "  run it again: cargo xtask sim --seed {}{mutation}", outcome.seed);
    text
}
