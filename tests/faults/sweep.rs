//! Every fault at every storage call of a job and of its sinks, one after another. After each the job is run again, without faults, and has
//! then come to what it comes to where nothing happens.
//!
//! `REPRISE_SWEEP=full` sweeps two workers as well. It takes some minutes.

use super::calls::{At, Fault, Trap};
use super::reference::{Image, JOB, Outcome, Reference, Run, now, reference};
use reprise::job::{self, ChosenRows, Ending, Kind, Requester};
use reprise::store::{CallKind, StorageCall};
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::codec::record;
use reprise_core::topology::Checkpoint;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Runs without faults that tell how many calls there are. Where a compaction or a sweep falls is up to the moment.
const COUNTED_RUNS: usize = 8;
/// Calls that a run may make less than the least of these. Beyond as many more than the most of them no call is looked for.
const TOLERANCE: u64 = 10;
/// Times that a call is waited for.
const TRIES: usize = 3;
/// Failures that a report shows.
const SHOWN_MAX: usize = 10;

/// A place to begin with.
struct Start {
    what: &'static str,
    image: Image,
    /// Savepoints that were asked for.
    asked: Vec<&'static str>,
    workers: u32,
    /// The least and the most calls of runs without faults.
    calls: (u64, u64),
    kinds: BTreeMap<CallKind, u64>,
    expected: Outcome,
    /// Settings of the job that are other ones than usual.
    tune: fn(&mut Checkpoint),
}

impl Start {
    fn new(reference: &Reference, what: &'static str, image: Image, asked: &[&'static str], workers: u32) -> Self {
        Self::tuned(reference, what, image, asked, workers, |_| {})
    }

    fn tuned(
        reference: &Reference,
        what: &'static str,
        image: Image,
        asked: &[&'static str],
        workers: u32,
        tune: fn(&mut Checkpoint),
    ) -> Self {
        let mut runs = (0..COUNTED_RUNS).map(|_| {
            let (mut site, trap) = (reference.site(&image), Arc::new(Trap::none()));
            site.tune = tune;
            let run = site.run(workers, &trap, None).unwrap();
            assert!(matches!(run.result, Ok(Ending::Finished)), "{what}: {:?}", run.result);
            site.faults(asked, true).unwrap();
            (site.outcome(workers).unwrap(), trap)
        });
        let (expected, trap) = runs.next().unwrap();
        let mut calls = (trap.calls(), trap.calls());
        for (outcome, trap) in runs {
            assert_eq!(outcome.difference(&expected), None, "{what}: two runs without faults");
            calls = (calls.0.min(trap.calls()), calls.1.max(trap.calls()));
        }
        Self { what, image, asked: asked.to_vec(), workers, calls, kinds: trap.kinds(), expected, tune }
    }
}

/// A job that was never run, one whose host died in its middle, with output that is staged and not visible, and that one with rows to send again.
fn starts(reference: &Reference, workers: u32) -> Vec<Start> {
    let mut fresh = Image::default();
    fresh.ask("first");
    fresh.ask_to_resume();
    let site = reference.site(&fresh);
    let death = Arc::new(Trap::new(Fault::DeathAfter, At::Created("checkpoints/", 5)));
    assert!(site.run(workers, &death, None).is_none(), "the host died");
    let mut left = site.image();
    left.ask("second");
    let fresh = Start::new(reference, "from the beginning", fresh, &["first"], workers);
    let left = Start::new(reference, "after a death", left, &["first", "second"], workers);
    assert_eq!(fresh.expected.difference(&left.expected), None);
    assert!(!fresh.expected.refused.is_empty() && !fresh.expected.cells.is_empty() && !fresh.expected.files.is_empty());
    let again = with_rows_to_send(reference, &left);
    let parked = with_parked_input(reference, &fresh);
    vec![fresh, left, again, parked]
}

/// The job of `fresh`, whose host died when a checkpoint had parked input, since its counter was slow. It goes on with one that is not. In none of
/// its runs does an epoch wait for an operator.
fn with_parked_input(reference: &Reference, fresh: &Start) -> Start {
    const TUNE: fn(&mut Checkpoint) = |checkpoint| checkpoint.align_max = Duration::ZERO;
    let mut site = reference.site(&fresh.image);
    (site.tune, site.is_slow) = (TUNE, true);
    let death = Arc::new(Trap::new(Fault::DeathAfter, At::Created("checkpoints/", 4)));
    assert!(site.run(fresh.workers, &death, None).is_none(), "the host died");
    let image = site.image();
    let newest = image.state.range("checkpoints/".to_owned().."checkpoints0".to_owned()).next_back();
    let newest: Manifest = record::decode(newest.expect("there is a checkpoint").1).unwrap();
    assert!(newest.has_parked(), "{newest:?}");
    let start = Start::tuned(reference, "with parked input", image, &fresh.asked, fresh.workers, TUNE);
    assert_eq!(start.expected.difference(&fresh.expected), None);
    start
}

/// The job of `left`, of whose refused rows all are to be sent again. They will be refused again: then each is there twice.
fn with_rows_to_send(reference: &Reference, left: &Start) -> Start {
    let site = reference.site(&left.image);
    let by = Requester { writer: 7, now_ms: 1_000 };
    let asked = now(async { job::ask_for_rows(&site.state().await, JOB, &ChosenRows::All, by).await.unwrap() });
    let start = Start::new(reference, "with rows to send again", site.image(), &left.asked, left.workers);
    assert!(asked.rows > 0);
    assert_eq!(start.expected.refused.len(), left.expected.refused.len() + asked.rows as usize);
    assert_eq!((&start.expected.cells, &start.expected.files), (&left.expected.cells, &left.expected.files));
    start
}

/// What became of one case.
struct Case {
    fired: StorageCall,
    /// The faulty run came to a good end by itself.
    through: bool,
    failed: BTreeMap<CallKind, u64>,
}

/// Runs one case; `None` where the call never came.
fn case(reference: &Reference, start: &Start, number: u64, fault: Fault) -> Result<Option<Case>, String> {
    let mut site = reference.site(&start.image);
    site.tune = start.tune;
    let trap = Arc::new(Trap::new(fault, At::Number(number)));
    let first = site.run(start.workers, &trap, None);
    let fired = trap.fired();
    let through = match &first {
        Some(Run { result: Ok(Ending::Finished), .. }) => true,
        Some(Run { result: Ok(ending), .. }) => return Err(format!("the faulty run ended as {ending:?}")),
        Some(Run { result: Err(error), .. }) => {
            if fired.is_none() || fault.is_passing() {
                return Err(format!("{fired:?} stopped the job: {error:?}"));
            }
            if !matches!(error.kind(), Kind::Storage | Kind::Connect) {
                return Err(format!("{fired:?} was told as {:?}: {error:?}", error.kind()));
            }
            false
        }
        None => false,
    };
    let again = site.run(start.workers, &Arc::new(Trap::none()), None).ok_or("nobody was to die")?;
    let expected = if through { Ending::AlreadyFinished } else { Ending::Finished };
    match again.result {
        // A host may die after it has stored its last checkpoint.
        Ok(ending) if ending == expected || (!through && ending == Ending::AlreadyFinished) => {
            let outcome = site.outcome(start.workers).map_err(|error| format!("{fired:?}: {error}"))?;
            if let Some(difference) = outcome.difference(&start.expected) {
                return Err(format!("{fired:?}: {difference}"));
            }
            site.faults(&start.asked, ending == Ending::Finished).map_err(|error| format!("{fired:?}: {error}"))?;
        }
        other => return Err(format!("{fired:?}: the next run ended as {other:?}")),
    }
    Ok(fired.map(|fired| Case { fired, through, failed: trap.failed() }))
}

/// Cases by the kind of the call and the fault.
#[derive(Default)]
struct Tally {
    cases: BTreeMap<(CallKind, Fault), u64>,
    through: BTreeMap<Fault, u64>,
    failed: BTreeMap<CallKind, u64>,
    /// Calls that never came, by number.
    missed: Vec<(u64, Fault)>,
    wrong: Vec<String>,
}

impl Tally {
    fn note(&mut self, start: &Start, number: u64, fault: Fault, case: Result<Option<Case>, String>) {
        match case {
            Ok(Some(case)) => {
                *self.cases.entry((case.fired.kind, fault)).or_default() += 1;
                *self.through.entry(fault).or_default() += u64::from(case.through);
                case.failed.iter().for_each(|(kind, count)| *self.failed.entry(*kind).or_default() += count);
            }
            Ok(None) => self.missed.push((number, fault)),
            Err(error) => self.wrong.push(format!("{} with {} workers, {fault:?} at call {number}: {error}", start.what, start.workers)),
        }
    }

    fn all(&self) -> u64 {
        self.cases.values().sum()
    }

    fn print(&self) {
        println!("{:20}{}", "", Fault::ALL.map(|fault| format!("{:>16}", format!("{fault:?}"))).concat());
        for kind in CallKind::ALL {
            let counts = Fault::ALL.map(|fault| format!("{:>16}", self.cases.get(&(kind, fault)).copied().unwrap_or(0)));
            println!("{:20}{}", format!("{kind:?}"), counts.concat());
        }
        println!(
            "{:20}{}",
            "came through",
            Fault::ALL.map(|fault| format!("{:>16}", self.through.get(&fault).copied().unwrap_or(0))).concat()
        );
    }
}

/// Every fault at every call of a run from one start.
fn sweep(reference: &Reference, start: &Start) -> Tally {
    let numbers = 0..start.calls.1 + TOLERANCE;
    let cases: Vec<(u64, Fault)> = numbers.flat_map(|number| Fault::ALL.map(|fault| (number, fault))).collect();
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&(number, fault)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tries = if number < start.calls.0 { TRIES } else { 1 };
                    let mut done = Ok(None);
                    for _ in 0..tries {
                        done = case(reference, start, number, fault);
                        if !matches!(done, Ok(None)) {
                            break;
                        }
                    }
                    tally.lock().unwrap().note(start, number, fault, done);
                }
            });
        }
    });
    tally.into_inner().unwrap()
}

fn sweep_all(workers: u32) -> u64 {
    let reference = reference();
    let mut all = 0;
    for start in starts(reference, workers) {
        let tally = sweep(reference, &start);
        all += tally.all();
        println!("{}, workers {workers}: {} to {} calls, {} cases", start.what, start.calls.0, start.calls.1, tally.all());
        tally.print();
        let wrong = tally.wrong.iter().take(SHOWN_MAX).cloned().collect::<Vec<_>>().join("\n");
        assert!(tally.wrong.is_empty(), "{} cases went wrong:\n{wrong}", tally.wrong.len());
        let missed: Vec<_> = tally.missed.iter().filter(|(number, _)| number + TOLERANCE < start.calls.0).collect();
        assert!(missed.is_empty(), "faults that never came about, of {} calls: {missed:?}", start.calls.0);
        for (kind, fault) in start.kinds.keys().flat_map(|kind| Fault::ALL.map(|fault| (*kind, fault))) {
            assert!(tally.cases.contains_key(&(kind, fault)), "no {fault:?} at a {kind:?}");
        }
        // An upload is given up only after a fault; and nothing is ever written over what is there.
        assert!(tally.failed.contains_key(&CallKind::MultipartAbort), "no fault where an upload is given up");
        assert!(!start.kinds.contains_key(&CallKind::Put), "an object was written on no condition");
        let used = CallKind::ALL.into_iter().filter(|kind| !matches!(kind, CallKind::Put | CallKind::MultipartAbort));
        assert!(used.clone().all(|kind| start.kinds.contains_key(&kind)), "{:?}", start.kinds);
    }
    all
}

#[test]
fn output_and_state_are_those_of_a_run_without_faults_after_any_fault_at_any_storage_call() {
    let mut cases = sweep_all(1);
    if std::env::var("REPRISE_SWEEP").is_ok_and(|sweep| sweep == "full") {
        cases += sweep_all(2);
    }
    println!("{cases} cases");
    assert!(cases > 1_000, "{cases} cases");
}
