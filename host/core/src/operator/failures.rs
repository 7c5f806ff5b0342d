//! The driver of an instance, where a call has failed: a replacement takes over, and the unit of work is tried again, whole or in pieces, until
//! all of it is done but for the rows that cannot be worked on.
//!
//! Decisions are [`super::retry`] (what to try), the circuit breaker (whether to try at all); the replacement comes from [`super::failover`].

use super::blame_trial::{BlameTrial, remedy, with_remedy};
use super::call::CallInput;
use super::contract::{CircuitBreaker, GuestFault, Incident, InstanceFactory};
use super::crash_dump::{CrashDump, FailedCall};
use super::environment::{CallOf, Environment, FaultOf};
use super::failover::{AT_ONCE_MAX, Candidate, Failover, Replacement, ReplacementParts};
use super::instance::{DumpOf, FailureOf, OperatorFailure, OperatorInstance, Wait};
use super::mutation::Mutation;
use super::queue::{Unit, Work};
use super::repetition::FailoverError;
use super::retry::{Failed, Reaction, Ruling};
use super::suspect::Suspect;
use super::tally::FailedRow;
use crate::checkpoint::faulted::{FaultedRow, LINE_BYTES_MAX, LINES_MAX};
use crate::checkpoint::manifest::QuarantinedRow;
use crate::failure::Policy;
use crate::topology::{Capsules, Open, Then};
use std::time::Duration;

type UnitOf<E> = Unit<<E as Environment>::Right>;

impl<E: Environment> OperatorInstance<E> {
    fn policy(&self) -> Policy {
        let settings = &self.env.settings().on_failure;
        Policy { retries: settings.retries, backoff_min: settings.backoff_min, backoff_max: settings.backoff_max }
    }

    fn tell(&self, incident: Incident<'_, FaultOf<E>>) {
        self.env.tell(self.queue.epoch(), incident);
    }

    /// What to wait for before the next call; `None`: it can be made.
    pub(super) fn wait(&mut self, turn_ends: Duration) -> Result<Option<Wait>, FailureOf<E>> {
        if let Some(failover) = &self.failover {
            let Some(replacement) = failover.take() else { return Ok(Some(Wait::ForReplacement)) };
            self.failover = None;
            self.adopt(replacement, turn_ends)?;
            if !self.slot.is_taken() {
                return Ok(Some(Wait::ForReplacement));
            }
        }
        let pause = self.env.breaker().shut_for();
        Ok(pause.or_else(|| self.retry.wait(|| self.env.now())).map(Wait::For))
    }

    /// Takes a replacement in.
    fn adopt(&mut self, replacement: Replacement<E::Guest>, turn_ends: Duration) -> Result<(), FailureOf<E>> {
        let Replacement { guest, log, restored, dead, blame, tried } = replacement;
        self.backup.set_log(log);
        if let Some(suspect) = &mut self.suspect {
            suspect.blame = suspect.blame.or(blame);
        }
        match guest {
            Ok(guest) => {
                self.slot.put(guest);
                let (since, is_told) = self.retry.replaced(self.env.now());
                let took = since.saturating_sub(tried);
                if let Some(restored) = restored {
                    self.backup.note_restore(restored);
                }
                self.backup.start_standby(&self.env, dead);
                if let Some(suspect) = self.suspect.take() {
                    self.judge(suspect)?;
                }
                self.tell(Incident::Replaced { took, by_standby: restored.is_none(), is_told });
                Ok(())
            }
            Err(FailoverError::Guest { fault, context }) => {
                if self.retry.replacement_failed() {
                    return self.fail_over(dead, turn_ends);
                }
                self.keep_dump(FailedCall::Start, &fault);
                let context = with_remedy(context, &fault);
                Err(self.last_failure(fault, context, None))
            }
            Err(FailoverError::Diverged { context }) => Err(OperatorFailure::Diverged { context }),
            Err(FailoverError::Aborted) => Ok(()),
            Err(FailoverError::Gone) => Err(OperatorFailure::Internal("the thread that makes a new instance is gone".to_owned())),
        }
    }

    /// Takes a replacement in, or lets one be made.
    fn replace(&mut self, turn_ends: Duration) -> Result<(), FailureOf<E>> {
        if self.env.breaks(Mutation::RetryOnDeadInstance) {
            return Ok(());
        }
        let dead = self.slot.take_dead().into_iter().collect();
        self.fail_over(dead, turn_ends)
    }

    /// `dead`: guests that are still to be dropped.
    fn fail_over(&mut self, dead: Vec<E::Guest>, turn_ends: Duration) -> Result<(), FailureOf<E>> {
        let Some(state) = self.backup.state().map(<[_]>::to_vec) else { return Ok(()) };
        let parts = ReplacementParts {
            trial: self.trial(),
            factory: self.env.factory().clone(),
            state,
            log: self.backup.take_log(),
            candidate: Candidate::of(self.backup.take_standby()),
            dead,
        };
        // Where the call that failed took long, others have waited enough.
        let within = if self.env.now() < turn_ends { AT_ONCE_MAX } else { Duration::ZERO };
        match parts.at_once(&|| self.env.now(), within) {
            Ok(replacement) => {
                if replacement.guest.is_ok() {
                    self.tell(Incident::ReplacedAtOnce);
                }
                self.adopt(replacement, turn_ends)
            }
            Err(parts) => {
                let (failover, work) = Failover::begin(*parts);
                self.failover = Some(failover);
                self.env.start_failover(work).map_err(OperatorFailure::NoThread)
            }
        }
    }

    /// What finds out who is to blame, where that is open.
    fn trial(&self) -> Option<BlameTrial<CallOf<E>>> {
        let suspect = self.suspect.as_ref().filter(|suspect| suspect.blame.is_none())?;
        if self.env.breaks(Mutation::InstanceFaultOnRow) {
            return None;
        }
        let Work::Rows { input, rows } = &self.queue.begun()?.work else { return None };
        let again = self.retry.may_pass().then(|| self.slot.next_call(&self.env));
        Some(BlameTrial::new((*input, rows), self.queue.waiting_rows(*input), self.slot.last_call(), again, &suspect.fault))
    }

    /// The failure that ends the run, with what is to be written down: the report of this epoch will not come.
    fn last_failure(&mut self, fault: FaultOf<E>, context: String, gave_up: Option<u32>) -> FailureOf<E> {
        let (_, _, dumps) = self.tally.refused.take();
        OperatorFailure::Guest { fault, context, gave_up, dumps }
    }

    /// Decides what follows a call that failed: the run ends where the instance cannot come back alone.
    pub(super) fn call_failed(
        &mut self,
        unit: UnitOf<E>,
        failed: Failed,
        fault: FaultOf<E>,
        context: String,
        turn_ends: Duration,
    ) -> Result<(), FailureOf<E>> {
        if self.backup.state().is_none() {
            return Err(self.last_failure(fault, context, None));
        }
        let (policy, quarantines) = (self.policy(), self.env.settings().on_failure.then == Then::Quarantine);
        match self.retry.failed(failed, &policy, quarantines, self.env.now(), self.env.jitter()) {
            Reaction::Again { retry, is_first } => {
                let rows = if let Failed::Rows(rows) = failed { rows } else { 0 };
                self.retry_unit(unit, retry, (is_first, rows), &fault, &context)?;
                self.replace(turn_ends)
            }
            Reaction::Suspect { is_first } => {
                self.queue.put_back(unit);
                self.suspect = Some(Suspect { is_first, fault, context, blame: None });
                self.replace(turn_ends)
            }
            Reaction::GiveUp { failures, is_first } => {
                self.give_up(unit, is_first, fault, context, failures)?;
                self.replace(turn_ends)
            }
        }
    }

    /// Puts a unit back to be tried again. `is_first`: nothing of it failed before. `rows`: how many of its rows the call had.
    fn retry_unit(
        &mut self,
        unit: UnitOf<E>,
        retry: Option<(u32, Duration)>,
        (is_first, rows): (bool, usize),
        fault: &FaultOf<E>,
        context: &str,
    ) -> Result<(), FailureOf<E>> {
        if retry.is_some() || is_first {
            let (attempt, wait) = retry.unwrap_or_default();
            self.tell(Incident::Failed { fault, context, attempt, wait });
        }
        if is_first {
            self.write_down(&unit, rows, fault);
            self.count_fault(fault, context)?;
        }
        if !self.env.breaks(Mutation::FailedUnitDropped) {
            self.queue.put_back(unit);
        }
        Ok(())
    }

    /// Keeps what failed of a unit of work for a capsule. `count`: how many of its rows the call had, where it had any.
    fn write_down(&mut self, unit: &UnitOf<E>, count: usize, fault: &FaultOf<E>) {
        let failed = match &unit.work {
            // It is read before any unit that makes it due.
            _ if fault.call() == "snapshot" => {
                FailedCall::Snapshot { scope: self.reading.scope, part_bytes_max: self.env.part_bytes_max() }
            }
            Work::Rows { input, rows } => FailedCall::Input(CallInput::Rows { input: *input, rows: rows.front(count) }),
            Work::Watermark(risen) => FailedCall::Input(CallInput::Watermark(risen.watermark)),
            Work::EndOfEpoch { .. } => return,
        };
        self.keep_dump(failed, fault);
    }

    /// Keeps what failed for a capsule, where all failures are to be written down.
    fn keep_dump(&mut self, failed: FailedCall, fault: &FaultOf<E>) {
        if self.env.settings().on_failure.capsules == Capsules::Always
            && let Some(dump) = self.dump(failed, fault)
        {
            self.tally.refused.push_dump(dump);
        }
    }

    /// What led to a failure; `None` where there are too many already.
    fn dump(&mut self, failed: FailedCall, fault: &FaultOf<E>) -> Option<DumpOf<E>> {
        let held = self.backup.log().logged().bytes;
        let state = self.backup.state().filter(|_| self.tally.refused.takes_capsule(held))?.to_vec();
        let factory = self.env.factory();
        let call = match failed {
            FailedCall::Input(_) => self.slot.last_call(),
            FailedCall::Snapshot { .. } => self.slot.circumstances(),
            FailedCall::Start => factory.open_call(),
        };
        let (parallelism, open, calls) = (factory.parallelism(), factory.open_call(), self.backup.log().entries().to_vec());
        Some(CrashDump { parallelism, open, state, calls, failed, call, fault: fault.clone() })
    }

    /// Counts a fault, which may open the breaker.
    fn count_fault(&mut self, fault: &FaultOf<E>, context: &str) -> Result<(), FailureOf<E>> {
        let Some(pause) = self.env.breaker().fault() else { return Ok(()) };
        let settings = &self.env.settings().on_failure;
        if settings.open == Open::Stop {
            let faults = settings.faults_max.saturating_add(1);
            return Err(self.last_failure(fault.clone(), context.to_owned(), Some(faults)));
        }
        let many = || format!("over {} faults in {:?}", settings.faults_max, settings.window);
        let reason = self.retry.blamed().map_or_else(many, str::to_owned);
        self.tell(Incident::Paused { pause, reason });
        Ok(())
    }

    /// Counts rejected rows, which may open the breaker, too.
    pub(super) fn rejected(&mut self, rows: u64) -> Result<(), FailureOf<E>> {
        let Some(pause) = self.env.breaker().rejected(rows) else { return Ok(()) };
        let settings = &self.env.settings().on_failure;
        let reason = format!("over {} rejected rows in {:?}", settings.rejections_max, settings.window);
        if settings.open == Open::Stop {
            let text = format!("operator `{}` is stopped: {reason}", self.env.settings().name);
            return Err(OperatorFailure::Limit(format!(
                "{text}\n  help: look at the reasons in the quarantine, or raise `rejections-max`"
            )));
        }
        self.tell(Incident::Paused { pause, reason });
        Ok(())
    }

    /// Puts the unit back and opens the breaker, for this reason.
    fn pause(&mut self, unit: UnitOf<E>, reason: String) {
        self.queue.put_back(unit);
        if let Some(pause) = self.env.breaker().trip() {
            self.tell(Incident::Paused { pause, reason });
        }
    }

    /// There is nothing left to try but to leave the operator alone, or to stop.
    fn give_up(&mut self, unit: UnitOf<E>, is_first: bool, fault: FaultOf<E>, context: String, failures: u32) -> Result<(), FailureOf<E>> {
        if is_first {
            self.write_down(&unit, 1, &fault);
        }
        let context = with_remedy(context, &fault);
        // A stop waits for no snapshot that fails; rows are parked.
        let is_stopped = self.env.is_stopping() && matches!(unit.work, Work::EndOfEpoch { .. });
        if self.env.settings().on_failure.then != Then::Pause || is_stopped {
            return Err(self.last_failure(fault, context, Some(failures)));
        }
        self.retry.start_over();
        let reason = self.env.describe(self.queue.epoch(), &fault, &context);
        self.pause(unit, reason);
        Ok(())
    }

    /// Does what follows, once there is a replacement and it is known who is to blame for a row.
    fn judge(&mut self, suspect: Suspect<FaultOf<E>>) -> Result<(), FailureOf<E>> {
        let Suspect { is_first, fault, context, blame } = suspect;
        let Some(unit) = self.queue.take_begun() else { return Ok(()) };
        blame.into_iter().for_each(|blame| self.tell(Incident::Blamed(blame)));
        match self.retry.judged(blame) {
            Ruling::Again => {
                if is_first {
                    self.tell(Incident::Failed { fault: &fault, context: &context, attempt: 0, wait: Duration::ZERO });
                    self.write_down(&unit, 1, &fault);
                    self.count_fault(&fault, &context)?;
                }
                self.queue.put_back(unit);
                Ok(())
            }
            Ruling::GiveUp => self.blame_instance(unit, is_first, fault, context),
            Ruling::Quarantine => self.quarantine(unit, is_first, fault, context),
        }
    }

    /// No row is to blame: the operator is left alone, or the job stops. Rows that would fail for no fault of theirs wait.
    fn blame_instance(&mut self, unit: UnitOf<E>, is_first: bool, fault: FaultOf<E>, context: String) -> Result<(), FailureOf<E>> {
        if is_first {
            self.write_down(&unit, 1, &fault);
        }
        let context = format!("{context}\n  no row is to blame, and none goes to quarantine: {}", remedy(&fault));
        if self.env.settings().on_failure.open == Open::Stop {
            let failures = self.policy().retries.saturating_add(1);
            return Err(self.last_failure(fault, context, Some(failures)));
        }
        let reason = self.env.describe(self.queue.epoch(), &fault, &context);
        self.retry.blame(reason.clone());
        self.pause(unit, reason);
        Ok(())
    }

    /// Puts the first row of a unit into quarantine. `is_first`: it had not failed before, and is not counted yet.
    fn quarantine(&mut self, unit: UnitOf<E>, is_first: bool, fault: FaultOf<E>, context: String) -> Result<(), FailureOf<E>> {
        let Unit { work: Work::Rows { input, rows }, right } = unit else {
            return Err(OperatorFailure::Internal("only rows go to quarantine".to_owned()));
        };
        let first = rows.front(1);
        let Some(row) = first.get(0) else { return Err(OperatorFailure::Internal("there is no row to quarantine".to_owned())) };
        let (key, value) = (row.key.to_vec(), row.value.to_vec());
        let row = QuarantinedRow { input, origin: String::new(), time: row.time, key, value, reason: fault.to_string() };
        let dump = match self.env.settings().on_failure.capsules {
            Capsules::Never => None,
            Capsules::Quarantine | Capsules::Always => self.dump(FailedCall::Input(CallInput::Rows { input, rows: first }), &fault),
        };
        let failed = FailedRow { row: faulted_row(row, &fault), dump };
        if !self.env.breaks(Mutation::PoisonNotQuarantined) && !self.tally.refused.push_failed(failed) {
            return Err(self.refused_too_much());
        }
        self.tally.rows += 1;
        self.tell(Incident::RowsIn { rows: 1, rejected: 1 });
        self.tell(Incident::Quarantined { fault: &fault, context: &context });
        if rows.len() > 1 && !self.env.breaks(Mutation::RowsAfterPoisonDropped) {
            self.queue.put_back(Unit { work: Work::Rows { input, rows: rows.after(1) }, right });
        }
        if is_first { self.count_fault(&fault, &context) } else { Ok(()) }
    }
}

/// What is kept of a row and its fault, within the limits of its record.
fn faulted_row(row: QuarantinedRow, fault: &impl GuestFault) -> FaultedRow {
    let lines = |lines: &[String]| -> Vec<String> { lines.iter().take(LINES_MAX).map(|line| cut(line)).collect() };
    FaultedRow {
        row,
        call: fault.call().to_owned(),
        kind: fault.kind().to_owned(),
        backtrace: lines(fault.backtrace()),
        log_tail: lines(fault.log_tail()),
        capsule: None,
    }
}

/// A line, no longer than its record allows.
fn cut(line: &str) -> String {
    line[..line.floor_char_boundary(LINE_BYTES_MAX)].to_owned()
}
