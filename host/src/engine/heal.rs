//! What becomes of a unit of work that fails: a new instance takes over, and the unit is tried again, whole or in pieces, until all of it is
//! done but for the rows that cannot be worked on. Other operators of the worker go on while a thread makes that.
//!
//! Decisions are [`reprise_core::failure::search`] (what to try), [`reprise_core::failure::window`] (whether to try at all); the
//! successor comes from [`super::revive`].

use super::capsule::{Case, Evidence, Failing};
use super::control::Failure;
use super::event::Event;
use super::operator::{OperatorInstance, Turn, Unit, Work};
use super::replay::Input;
use super::report::Faulted;
use super::revive::{AT_ONCE_MAX, Lost, Remains, Revival, Revived, Successor};
use super::trial::{Trial, remedy, with_remedy};
use crate::clock::Clock;
use crate::wasm::{self, GuestError, Instance};
use reprise_core::checkpoint::faulted::{FaultedRow, LINE_BYTES_MAX, LINES_MAX};
use reprise_core::checkpoint::manifest::QuarantinedRow;
use reprise_core::failure::Policy;
use reprise_core::failure::blame::{Blame, PASSES_MAX};
use reprise_core::failure::search::Next;
use reprise_core::topology::{Capsules, Open, Then};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Successors in a row that may fail before the run ends and the job is taken up again from its last checkpoint.
const REVIVALS_MAX: u32 = 3;

/// Who is to blame for what fails.
#[derive(Default)]
pub(super) struct Inquiry {
    /// The first row of the unit is to go to quarantine, unless the instance is to blame.
    suspect: Option<Suspect>,
    /// Why the instance is to blame, while it is.
    pub blamed: Option<String>,
    /// Faults in a row that nobody was to blame for.
    passes: u32,
}

impl Inquiry {
    /// A call succeeded, or its row went to quarantine: what follows is another matter.
    pub fn over(&mut self) {
        (self.blamed, self.passes) = (None, 0);
    }
}

/// A single row on which calls fail, until it is known whether it is to blame.
struct Suspect {
    /// Its unit had not failed before, and is not counted yet.
    is_first: bool,
    error: GuestError,
    context: String,
    blame: Option<Blame>,
}

impl OperatorInstance {
    fn policy(&self) -> Policy {
        let settings = &self.blueprint.settings.on_failure;
        Policy { retries: settings.retries, backoff_min: settings.backoff_min, backoff_max: settings.backoff_max }
    }

    /// What to wait for before the next call; `None`: it can be made.
    pub(super) fn wait(&mut self) -> Result<Option<Turn>, Failure> {
        if let Some(revival) = &self.revival {
            let Some(revived) = revival.take() else { return Ok(Some(Turn::Rest)) };
            self.revival = None;
            self.welcome(revived)?;
            if self.instance.is_none() {
                return Ok(Some(Turn::Rest));
            }
        }
        if let Some(left) = self.blueprint.guard.shut_for() {
            if !self.control.stopping() {
                return Ok(Some(Turn::Later(left)));
            }
            // Whoever asks to stop wants a last checkpoint, not a pause.
            self.blueprint.guard.resume();
        }
        let left = self.not_before.map(|at| at.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
        if left.is_none() {
            self.not_before = None;
        }
        Ok(left.map(Turn::Later))
    }

    /// Takes a successor in.
    fn welcome(&mut self, revived: Revived) -> Result<(), Failure> {
        let Revived { instance, log, restored, dead, blame, tried } = revived;
        self.log = log;
        if let Some(suspect) = &mut self.inquiry.suspect {
            suspect.blame = suspect.blame.or(blame);
        }
        match instance {
            Ok(instance) => {
                self.instance = Some(instance);
                self.revivals_failed = 0;
                let took = self.failed_at.elapsed().saturating_sub(tried);
                self.blueprint.guard.recoveries.note(took);
                if restored.is_none() {
                    self.blueprint.guard.by_standby.fetch_add(1, Ordering::Relaxed);
                }
                if let (Some(restored), Some(image)) = (restored, &self.image) {
                    self.pace.note_restore(image.bytes(), restored);
                }
                self.start_standby(dead);
                if let Some(suspect) = self.inquiry.suspect.take() {
                    self.judge(suspect)?;
                }
                // Those of a search are not told one by one; that of the failure which began it is.
                if self.search.is_narrowing() && self.search.failures() > 1 {
                    return Ok(());
                }
                let operator = self.blueprint.settings.name.clone();
                (self.blueprint.events)(Event::Recovered { operator, instance: self.at.instance, took });
                Ok(())
            }
            Err(Lost::Guest { error, context }) => {
                self.revivals_failed += 1;
                if self.revivals_failed < REVIVALS_MAX {
                    return self.revive_after(dead);
                }
                self.keep_case(Failing::Start, &error);
                let context = with_remedy(context, &error);
                Err(self.last_failure(error, context, None))
            }
            Err(Lost::Diverged { context }) => {
                let (operator, instance) = (self.blueprint.settings.name.clone(), self.at.instance);
                Err(Failure::Diverged { operator, index: self.index(), instance, epoch: self.inbox.current(), context })
            }
            Err(Lost::Aborted) => Ok(()),
            Err(Lost::Host(why)) => Err(Failure::Internal(why)),
        }
    }

    /// Takes a successor in, or lets one be made.
    fn revive(&mut self) -> Result<(), Failure> {
        self.note_instant();
        let dead = self.instance.take().into_iter().collect();
        self.revive_after(dead)
    }

    /// `dead`: instances that are still to be dropped.
    fn revive_after(&mut self, dead: Vec<Instance>) -> Result<(), Failure> {
        let Some(image) = &self.image else { return Ok(()) };
        let remains = Remains {
            trial: self.trial(),
            maker: self.maker.clone(),
            image: image.chunks().to_vec(),
            log: std::mem::take(&mut self.log),
            successor: Successor::of(self.standby.take()),
            dead,
            control: Arc::clone(&self.control),
        };
        // Where the call that failed took long, others have waited enough.
        let within = if Instant::now() < self.turn_ends { AT_ONCE_MAX } else { Duration::ZERO };
        match remains.at_once(within) {
            Ok(revived) => {
                self.blueprint.guard.at_once.fetch_add(u64::from(revived.instance.is_ok()), Ordering::Relaxed);
                self.welcome(revived)
            }
            Err(remains) => {
                let what = || format!("a thread for a new instance of operator `{}`", self.blueprint.settings.name);
                let revival = Revival::begin(*remains, Arc::clone(&self.wake));
                self.revival = Some(revival.map_err(|error| Failure::no_thread(&what(), &error))?);
                Ok(())
            }
        }
    }

    /// What finds out who is to blame, where that is open.
    fn trial(&self) -> Option<Trial> {
        let suspect = self.inquiry.suspect.as_ref().filter(|suspect| suspect.blame.is_none())?;
        let Work::Rows { input, rows } = &self.unit.as_ref()?.work else { return None };
        let again = (self.inquiry.passes < PASSES_MAX).then(|| self.next_call());
        Some(Trial::new((*input, rows), self.waiting_rows(*input), self.last_call, again, &suspect.error))
    }

    /// What an instance that failed leaves: an end of the run where it cannot come back alone.
    fn fell(&mut self, error: &GuestError, context: &str) -> Result<(), Failure> {
        self.failed_at = Instant::now();
        if self.image.is_none() {
            return Err(self.last_failure(error.clone(), context.to_owned(), None));
        }
        Ok(())
    }

    /// The failure that ends the run, with what is to be written down: the report of this epoch will not come.
    fn last_failure(&mut self, error: GuestError, context: String, gave_up: Option<u32>) -> Failure {
        let mut failure = self.failure(error, context, gave_up);
        if let Failure::Guest { evidence, .. } = &mut failure {
            let (_, _, cases) = self.refused.take();
            *evidence = Evidence::Cases(cases);
        }
        failure
    }

    /// After a call failed: says so, waits where it must, and lets a successor be made. `next` is [`Next::Retry`] or [`Next::Narrow`].
    /// `is_first`: nothing of the unit failed before. `rows`: how many of its rows the call had.
    fn again(
        &mut self,
        unit: Unit,
        next: Next,
        (is_first, rows): (bool, usize),
        error: GuestError,
        context: String,
    ) -> Result<(), Failure> {
        let retry = if let Next::Retry { attempt, wait } = next { Some((attempt, wait)) } else { None };
        if retry.is_some() || is_first {
            let (attempt, wait) = retry.unwrap_or_default();
            self.not_before = (!wait.is_zero()).then(|| Instant::now() + wait);
            self.say_failed(&error, &context, attempt, wait);
        }
        if is_first {
            self.write_down(&unit, rows, &error);
            self.fault(&error, &context)?;
        }
        self.unit = Some(unit);
        self.revive()
    }

    fn say_failed(&self, error: &GuestError, context: &str, attempt: u32, wait: Duration) {
        let report = self.failure(error.clone(), context.to_owned(), None).to_string();
        let (operator, retries) = (self.blueprint.settings.name.clone(), self.blueprint.settings.on_failure.retries);
        (self.blueprint.events)(Event::Failed { operator, instance: self.at.instance, report, attempt, retries, wait });
    }

    /// Keeps what failed of a unit of work for a capsule. `count`: how many of its rows the call had, where it had any.
    fn write_down(&mut self, unit: &Unit, count: usize, error: &GuestError) {
        let failing = match &unit.work {
            // It is read before any unit that makes it due.
            _ if error.call == "snapshot" => Failing::Snapshot { scope: self.scope, part_bytes_max: self.blueprint.part_bytes_max },
            Work::Rows { input, rows } => Failing::Input(Input::Rows { input: *input, rows: rows.front(count) }),
            Work::Watermark(risen) => Failing::Input(Input::Watermark(risen.watermark)),
            Work::EndOfEpoch { .. } => return,
        };
        self.keep_case(failing, error);
    }

    /// Keeps what failed for a capsule, where all failures are to be written down.
    fn keep_case(&mut self, failing: Failing, error: &GuestError) {
        if self.blueprint.settings.on_failure.capsules == Capsules::Always
            && let Some(case) = self.case(failing, error)
        {
            self.refused.push_case(case);
        }
    }

    /// What led to a failure; `None` where there are too many already.
    fn case(&mut self, failing: Failing, error: &GuestError) -> Option<Case> {
        let held = self.log.logged().bytes;
        let image = self.image.as_ref().filter(|_| self.refused.takes_capsule(held))?;
        let call = match failing {
            Failing::Input(_) => self.last_call,
            Failing::Snapshot { .. } => self.instance.as_ref().map_or(self.last_call, wasm::Instance::circumstances),
            Failing::Start => self.maker.open,
        };
        Some(Case {
            parallelism: self.maker.parallelism,
            open: self.maker.open,
            state: image.chunks().to_vec(),
            calls: self.log.entries().to_vec(),
            failing,
            call,
            error: error.clone(),
        })
    }

    /// Counts a fault, which may open the breaker.
    fn fault(&mut self, error: &GuestError, context: &str) -> Result<(), Failure> {
        let Some(pause) = self.blueprint.guard.fault() else { return Ok(()) };
        let settings = &self.blueprint.settings.on_failure;
        if settings.open == Open::Stop {
            let faults = settings.faults_max.saturating_add(1);
            return Err(self.last_failure(error.clone(), context.to_owned(), Some(faults)));
        }
        let many = || format!("over {} faults in {:?}", settings.faults_max, settings.window);
        self.say_paused(pause, self.inquiry.blamed.clone().unwrap_or_else(many));
        Ok(())
    }

    /// Counts rejected rows, which may open the breaker, too.
    pub(super) fn rejected(&mut self, rows: u64) -> Result<(), Failure> {
        let Some(pause) = self.blueprint.guard.rejected(rows) else { return Ok(()) };
        let settings = &self.blueprint.settings.on_failure;
        let reason = format!("over {} rejected rows in {:?}", settings.rejections_max, settings.window);
        if settings.open == Open::Stop {
            let text = format!("operator `{}` is stopped: {reason}", self.blueprint.settings.name);
            return Err(Failure::Limit(format!("{text}\n  help: look at the reasons in the quarantine, or raise `rejections-max`")));
        }
        self.say_paused(pause, reason);
        Ok(())
    }

    fn say_paused(&self, pause: Duration, reason: String) {
        (self.blueprint.events)(Event::Paused { operator: self.blueprint.settings.name.clone(), pause, reason });
    }

    /// There is nothing left to try but to leave the operator alone, or to stop.
    fn give_up(&mut self, unit: Unit, is_first: bool, error: GuestError, context: String, failures: u32) -> Result<(), Failure> {
        if is_first {
            self.write_down(&unit, 1, &error);
        }
        let context = with_remedy(context, &error);
        let pauses = self.blueprint.settings.on_failure.then == Then::Pause && !self.control.stopping();
        if !pauses {
            return Err(self.last_failure(error, context, Some(failures)));
        }
        self.unit = Some(unit);
        self.search = Default::default();
        self.snapshot_search = Default::default();
        if let Some(pause) = self.blueprint.guard.trip() {
            let reason = self.failure(error, context, None).to_string();
            self.say_paused(pause, reason);
        }
        self.revive()
    }

    /// A call with rows failed.
    pub(super) fn rows_failed(&mut self, unit: Unit, piece: usize, error: GuestError, context: String) -> Result<(), Failure> {
        self.fell(&error, &context)?;
        let (policy, is_first) = (self.policy(), self.search.failures() == 0);
        match self.search.failed(Some(piece), &policy, Clock::unlikely_number()) {
            Next::Poison => match self.blueprint.settings.on_failure.then {
                Then::Quarantine => self.suspect(unit, Suspect { is_first, error, context, blame: None }),
                Then::Pause | Then::Stop => self.give_up(unit, is_first, error, context, policy.retries.saturating_add(1)),
            },
            Next::GiveUp { failures } => self.give_up(unit, is_first, error, context, failures),
            next => self.again(unit, next, (is_first, piece), error, context),
        }
    }

    /// A watermark failed: there is no row to blame.
    pub(super) fn watermark_failed(&mut self, unit: Unit, error: GuestError, context: String) -> Result<(), Failure> {
        self.fell(&error, &context)?;
        let is_first = self.search.failures() == 0;
        match self.search.failed(None, &self.policy(), Clock::unlikely_number()) {
            Next::GiveUp { failures } => self.give_up(unit, is_first, error, context, failures),
            next => self.again(unit, next, (is_first, 0), error, context),
        }
    }

    /// Reading a snapshot failed.
    pub(super) fn snapshot_failed(&mut self, unit: Unit, error: GuestError, context: &str) -> Result<(), Failure> {
        self.fell(&error, context)?;
        let is_first = self.snapshot_search.failures() == 0;
        match self.snapshot_search.failed(None, &self.policy(), Clock::unlikely_number()) {
            Next::GiveUp { failures } => self.give_up(unit, is_first, error, context.to_owned(), failures),
            next => self.again(unit, next, (is_first, 0), error, context.to_owned()),
        }
    }

    /// Lets it be found out whether the first row of a unit is to blame, while a successor is made.
    fn suspect(&mut self, unit: Unit, suspect: Suspect) -> Result<(), Failure> {
        (self.unit, self.inquiry.suspect) = (Some(unit), Some(suspect));
        self.revive()
    }

    /// Does what follows, once there is a successor.
    fn judge(&mut self, suspect: Suspect) -> Result<(), Failure> {
        let Suspect { is_first, error, context, blame } = suspect;
        let Some(unit) = self.unit.take() else { return Ok(()) };
        match blame {
            Some(Blame::Nobody) => self.blame_nobody(unit, is_first, error, context),
            Some(Blame::Instance) => self.blame_instance(unit, is_first, error, context),
            Some(Blame::Row) | None => self.quarantine(unit, is_first, error, context),
        }
    }

    /// It has passed: the unit is tried again.
    fn blame_nobody(&mut self, unit: Unit, is_first: bool, error: GuestError, context: String) -> Result<(), Failure> {
        self.inquiry.passes += 1;
        if is_first {
            self.say_failed(&error, &context, 0, Duration::ZERO);
            self.write_down(&unit, 1, &error);
            self.fault(&error, &context)?;
        }
        self.unit = Some(unit);
        Ok(())
    }

    /// No row is to blame: the operator is left alone, or the job stops. Rows that would fail for no fault of theirs wait.
    fn blame_instance(&mut self, unit: Unit, is_first: bool, error: GuestError, context: String) -> Result<(), Failure> {
        if is_first {
            self.write_down(&unit, 1, &error);
        }
        let context = format!("{context}\n  no row is to blame, and none goes to quarantine: {}", remedy(&error));
        if self.blueprint.settings.on_failure.open == Open::Stop || self.control.stopping() {
            let failures = self.policy().retries.saturating_add(1);
            return Err(self.last_failure(error, context, Some(failures)));
        }
        self.unit = Some(unit);
        let reason = self.failure(error, context, None).to_string();
        self.inquiry.blamed = Some(reason.clone());
        if let Some(pause) = self.blueprint.guard.trip() {
            self.say_paused(pause, reason);
        }
        Ok(())
    }

    /// Puts the first row of a unit into quarantine. `is_first`: it had not failed before, and is not counted yet.
    fn quarantine(&mut self, unit: Unit, is_first: bool, error: GuestError, context: String) -> Result<(), Failure> {
        let Unit { work: Work::Rows { input, rows }, capabilities } = unit else {
            return Err(Failure::Internal("only rows go to quarantine".to_owned()));
        };
        self.inquiry.over();
        let first = rows.front(1);
        let Some(row) = first.get(0) else { return Err(Failure::Internal("there is no row to quarantine".to_owned())) };
        let (key, value) = (row.key.to_vec(), row.value.to_vec());
        let row = QuarantinedRow { input, origin: String::new(), time: row.time, key, value, reason: error.to_string() };
        let report = self.failure(error.clone(), context.clone(), None).to_string();
        let case = match self.blueprint.settings.on_failure.capsules {
            Capsules::Never => None,
            Capsules::Quarantine | Capsules::Always => self.case(Failing::Input(Input::Rows { input, rows: first }), &error),
        };
        let faulted = Faulted { row: faulted_row(row, &error), case };
        if !self.refused.push_faulted(faulted) {
            return Err(self.refused_too_much());
        }
        self.rows += 1;
        self.counters().rows_in.fetch_add(1, Ordering::Relaxed);
        self.counters().rejected.fetch_add(1, Ordering::Relaxed);
        self.blueprint.guard.quarantined.fetch_add(1, Ordering::Relaxed);
        let (operator, instance) = (self.blueprint.settings.name.clone(), self.at.instance);
        (self.blueprint.events)(Event::Quarantined { operator, instance, epoch: self.inbox.current(), report });
        if rows.len() > 1 {
            self.unit = Some(Unit { work: Work::Rows { input, rows: rows.after(1) }, capabilities });
        }
        if is_first {
            self.fault(&error, &context)?;
        }
        Ok(())
    }
}

/// What is kept of a row and its fault, within the limits of its record.
fn faulted_row(row: QuarantinedRow, error: &GuestError) -> FaultedRow {
    let lines = |lines: &[String]| -> Vec<String> { lines.iter().take(LINES_MAX).map(|line| cut(line)).collect() };
    FaultedRow {
        row,
        call: error.call.to_owned(),
        kind: error.fault.kind().to_owned(),
        backtrace: lines(&error.backtrace),
        log_tail: lines(&error.log_tail),
        capsule: None,
    }
}

/// A line, no longer than its record allows.
fn cut(line: &str) -> String {
    let mut end = line.len().min(LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line[..end].to_owned()
}
