//! The driver of one instance of an operator, turn by turn.
//!
//! Deliveries are worked on epoch by epoch ([`super::queue`]), a **unit** of work at a time: rows, a watermark, or the end of an epoch, when the
//! snapshot is read and the epoch reported; only then does the next one begin. A unit stays until all of it was done.

use super::backlog::{Backlog, Parking, SegmentState};
use super::backup::Backup;
use super::blame_trial::with_remedy;
use super::call::{CallInput, Rejection};
use super::contract::{CircuitBreaker, Frontier, Incident, InstanceFactory, Outlet};
use super::crash_dump::{CrashDump, FailedCall};
use super::environment::{CallOf, Environment, FaultOf};
use super::failover::Failover;
use super::mutation::Mutation;
use super::pending_rows::PendingRows;
use super::queue::{Arrival, EdgeEnd, Queue, Unit, Work};
use super::retry::{Failed, Retry};
use super::slot::GuestSlot;
use super::snapshot_reading::SnapshotReading;
use super::state_backup::VersionedChunk;
use super::suspect::Suspect;
use super::tally::{REJECTED_BYTES_MAX, RunningTally};
use super::watermarks::{IDLE, Risen};
use crate::batch::Batch;
use crate::checkpoint::manifest::QuarantinedRow;
use crate::ids::Epoch;
use crate::portion::{CALL_TIME_MAX, Portion};
use crate::topology::Capsules;
use std::sync::Arc;
use std::time::Duration;

/// Units that are worked on before other operators of the worker get their turn.
const UNITS_A_TURN: usize = 8;
/// How long a turn may last, but for the last unit and its recovery.
const TURN_MAX: Duration = CALL_TIME_MAX;

/// The state that an instance begins with.
#[derive(Debug, Default)]
pub struct Restored {
    /// Chunks in the order in which they are to be restored, with the slot numbers of the present component. With each the version that
    /// its slot had in the component which wrote it.
    pub chunks: Vec<VersionedChunk>,
    /// The watermark that the instance had been told; `i64::MIN` for none.
    pub watermark: i64,
    /// Deltas may follow what was restored; else the next snapshot must be full.
    pub continues: bool,
    /// Input that waited, the oldest first.
    pub parked: Vec<SegmentState>,
}

/// When an instance wants its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// At once.
    Again,
    /// After a while.
    Later(Duration),
    /// When something arrives, or it is woken.
    Rest,
}

/// What the next call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// A guest.
    ForReplacement,
    /// The end of a pause, or of a wait before a retry.
    For(Duration),
}

/// Why an instance ends its run before its time.
#[derive(Debug)]
pub enum OperatorFailure<Call, Fault> {
    /// The guest failed, and cannot come back alone.
    Guest {
        /// Why.
        fault: Fault,
        /// What it was working on.
        context: String,
        /// Failures after which it was given up; `None` where taking the whole job up again may help.
        gave_up: Option<u32>,
        /// Failed calls of the epoch that are to be written down: its report will not come.
        dumps: Vec<CrashDump<Call, Fault>>,
    },
    /// A call that was repeated returned something else.
    Diverged {
        /// Which call, and in what its repetition differs.
        context: String,
    },
    /// The system gives no thread for a failover; why.
    NoThread(String),
    /// Parked input cannot be read; why.
    Parked(String),
    /// A limit was reached; the text says which.
    Limit(String),
    /// A fault of the host.
    Internal(String),
}

pub(super) type FailureOf<E> = OperatorFailure<CallOf<E>, FaultOf<E>>;
pub(super) type DumpOf<E> = CrashDump<CallOf<E>, FaultOf<E>>;

/// The driver of one instance of an operator.
pub struct OperatorInstance<E: Environment> {
    pub(super) env: E,
    pub(super) queue: Queue<E::Right>,
    pub(super) slot: GuestSlot<E>,
    pub(super) backup: Backup<E>,
    pub(super) reading: SnapshotReading<E::Guest>,
    pub(super) retry: Retry,
    /// A single row on which calls fail, until it is known whether it is to blame.
    pub(super) suspect: Option<Suspect<FaultOf<E>>>,
    pub(super) failover: Option<Failover<E::Guest>>,
    pub(super) tally: RunningTally<DumpOf<E>>,
    pub(super) parking: Parking,
    /// How many rows a call is given.
    portion: Portion,
}

impl<E: Environment> OperatorInstance<E> {
    /// The driver of an instance in its first epoch: a guest is made, opened and restored. `edges`: those that lead to it.
    ///
    /// # Errors
    /// The guest cannot be made of this state.
    pub fn open(env: E, edges: Vec<EdgeEnd>, first: Epoch, restored: Restored) -> Result<Self, FailureOf<E>> {
        let chunks: Vec<Arc<VersionedChunk>> = restored.chunks.into_iter().map(Arc::new).collect();
        let began = env.now();
        let guest = env.factory().make(&chunks).map_err(|(fault, context)| Self::unmade(&env, &chunks, fault, context))?;
        let took = env.now().saturating_sub(began);
        let mut backup = Backup::new(&env, chunks, restored.continues, took);
        backup.hold_to_limit(&env, first);
        backup.start_standby(&env, Vec::new());
        Ok(Self {
            queue: Queue::new(edges, first, restored.watermark, Backlog::restored(env.backlog_limits(), restored.parked)),
            slot: GuestSlot::new(&env, guest),
            backup,
            reading: SnapshotReading::default(),
            retry: Retry::default(),
            suspect: None,
            failover: None,
            tally: RunningTally::default(),
            parking: Parking::default(),
            portion: Portion::new(env.call_bytes()),
            env,
        })
    }

    fn unmade(env: &E, state: &[Arc<VersionedChunk>], fault: FaultOf<E>, context: &str) -> FailureOf<E> {
        let factory = env.factory();
        let dump = || CrashDump {
            parallelism: factory.parallelism(),
            open: factory.open_call(),
            state: state.to_vec(),
            calls: Vec::new(),
            failed: FailedCall::Start,
            call: factory.open_call(),
            fault: fault.clone(),
        };
        let is_kept = env.settings().on_failure.capsules == Capsules::Always;
        let dumps = is_kept.then(dump).into_iter().collect();
        OperatorFailure::Guest { context: with_remedy(context.to_owned(), &fault), fault, gave_up: None, dumps }
    }

    /// What the instance needs of its host.
    pub fn environment(&self) -> &E {
        &self.env
    }

    /// The epoch that is being worked on.
    pub fn epoch(&self) -> Epoch {
        self.queue.epoch()
    }

    /// True once the last epoch was reported.
    pub fn is_closed(&self) -> bool {
        self.tally.is_closed
    }

    /// Takes a delivery in.
    pub fn put(&mut self, epoch: Epoch, delivery: Arrival<E::Right>) {
        self.queue.put(epoch, delivery);
    }

    /// One turn.
    ///
    /// # Errors
    /// The run has to end.
    pub fn turn(&mut self, frontier: &impl Frontier, out: &mut impl Outlet<E::Right>) -> Result<Turn, FailureOf<E>> {
        let turn_ends = self.env.now() + TURN_MAX;
        for _ in 0..UNITS_A_TURN {
            if self.tally.is_closed || self.env.is_aborted() {
                return Ok(Turn::Rest);
            }
            let wait = self.wait(turn_ends)?;
            if wait == Some(Wait::ForReplacement) {
                return Ok(Turn::Rest);
            }
            self.park(frontier)?;
            if !self.ends_parked(frontier)?
                && let Some(Wait::For(left)) = wait
            {
                return Ok(self.rest(Turn::Later(left)));
            }
            if self.env.breaks(Mutation::NextEpochTouchesState) {
                self.queue.mix_epochs();
            }
            let (env, epoch) = (&self.env, self.queue.epoch());
            let next = self.queue.next(frontier, |edge, bytes| env.took(edge, epoch, bytes));
            let Some(unit) = next.map_err(|error| OperatorFailure::Internal(error.to_string()))? else { return Ok(self.rest(Turn::Rest)) };
            if unit.work.may_emit() && !self.env.has_room(epoch) {
                self.queue.put_back(unit);
                return Ok(self.rest(Turn::Rest));
            }
            self.work_on(unit, out, turn_ends)?;
            if self.env.now() >= turn_ends {
                break;
            }
        }
        Ok(if self.tally.is_closed { Turn::Rest } else { Turn::Again })
    }

    fn work_on(&mut self, unit: Unit<E::Right>, out: &mut impl Outlet<E::Right>, turn_ends: Duration) -> Result<(), FailureOf<E>> {
        let Some(Unit { work, right }) = self.save_before(unit, turn_ends)? else { return Ok(()) };
        match (work, right) {
            (Work::Rows { input, rows }, Some(right)) => self.work_on_rows(input, rows, right, out, turn_ends),
            (Work::Watermark(risen), Some(right)) => self.advance(risen, right, out, turn_ends),
            (Work::EndOfEpoch { is_last }, _) => self.end_epoch(is_last, turn_ends),
            (_, None) => Err(OperatorFailure::Internal("a unit of work has no right to send".to_owned())),
        }
    }

    fn call_succeeded(&mut self, rows: usize) {
        self.parking.has_worked |= self.queue.is_of_backlog();
        self.retry.succeeded(rows);
        self.retry.settled();
        if self.env.breaker().success() {
            self.env.tell(self.queue.epoch(), Incident::Resumed);
        }
    }

    fn work_on_rows(
        &mut self,
        input: u32,
        rows: PendingRows,
        right: E::Right,
        out: &mut impl Outlet<E::Right>,
        turn_ends: Duration,
    ) -> Result<(), FailureOf<E>> {
        let piece = self.retry.piece(rows.len()).min(self.portion.rows(rows.len(), rows.size_bytes() as u64));
        let (now, left) = match piece < rows.len() {
            true => (rows.front(piece), Some(rows)),
            false => (rows.into_batch(), None),
        };
        let given = CallInput::Rows { input, rows: now };
        match self.slot.call(&self.env, &given) {
            Ok((outcome, call, busy)) => {
                self.call_succeeded(piece);
                let digest = self.backup.digest(&self.env, &outcome);
                let CallInput::Rows { rows: now, .. } = &given else { return Ok(()) };
                let emitted = outcome.outputs.iter().map(|(_, rows)| rows.size_bytes() as u64).sum();
                self.portion.note(now.size_bytes() as u64, emitted, busy);
                self.tally.rows += now.len() as u64;
                let rejected = outcome.rejected.len() as u64;
                self.env.tell(self.queue.epoch(), Incident::RowsIn { rows: now.len() as u64, rejected });
                for rejection in outcome.rejected {
                    self.refuse(input, now, rejection)?;
                }
                self.send_rows(outcome.outputs, &right, out);
                if let Some(digest) = digest {
                    self.backup.push(&self.env, given, digest, call, busy);
                }
                if let Some(rows) = left {
                    self.queue.put_back(Unit { work: Work::Rows { input, rows: rows.after(piece) }, right: Some(right) });
                }
                if rejected > 0 { self.rejected(rejected) } else { Ok(()) }
            }
            Err(fault) => {
                let context = given.describe(&self.env.factory().description().inputs);
                if self.env.breaks(Mutation::FailedCallLogged) {
                    let nothing = self.backup.digest(&self.env, &Default::default());
                    let call = self.slot.last_call();
                    nothing.into_iter().for_each(|nothing| self.backup.push(&self.env, given.clone(), nothing, call, Duration::ZERO));
                }
                let CallInput::Rows { rows: now, .. } = given else { return Ok(()) };
                let rows = left.unwrap_or_else(|| PendingRows::new(now));
                let unit = Unit { work: Work::Rows { input, rows }, right: Some(right) };
                self.call_failed(unit, Failed::Rows(piece), fault, context, turn_ends)
            }
        }
    }

    fn refuse(&mut self, input: u32, batch: &Batch, rejection: Rejection) -> Result<(), FailureOf<E>> {
        let Some(row) = batch.get(rejection.row as usize) else { return Ok(()) };
        let (key, value) = (row.key.to_vec(), row.value.to_vec());
        let row = QuarantinedRow { input, origin: String::new(), time: row.time, key, value, reason: rejection.reason };
        if self.tally.refused.push(row) { Ok(()) } else { Err(self.refused_too_much()) }
    }

    pub(super) fn refused_too_much(&self) -> FailureOf<E> {
        let text = format!("operator `{}` refused over {REJECTED_BYTES_MAX} bytes of rows in one epoch", self.env.settings().name);
        OperatorFailure::Limit(format!("{text}\n  help: look at the reasons in the quarantine, or lower `checkpoint.interval`"))
    }

    fn advance(&mut self, risen: Risen, right: E::Right, out: &mut impl Outlet<E::Right>, turn_ends: Duration) -> Result<(), FailureOf<E>> {
        let Risen { watermark, is_new, then_idle } = risen;
        if is_new {
            let given = CallInput::Watermark(watermark);
            match self.slot.call(&self.env, &given) {
                Ok((outcome, call, busy)) => {
                    self.call_succeeded(0);
                    let digest = self.backup.digest(&self.env, &outcome);
                    self.send_rows(outcome.outputs, &right, out);
                    if let Some(digest) = digest {
                        self.backup.push(&self.env, given, digest, call, busy);
                    }
                }
                Err(fault) => {
                    let context = given.describe(&self.env.factory().description().inputs);
                    let unit = Unit { work: Work::Watermark(risen), right: Some(right) };
                    return self.call_failed(unit, Failed::Watermark, fault, context, turn_ends);
                }
            }
        }
        self.parking.has_worked |= self.queue.is_of_backlog();
        self.queue.note_said(watermark, then_idle);
        out.watermark(&right, watermark);
        if then_idle {
            out.watermark(&right, IDLE);
        }
        Ok(())
    }

    fn send_rows(&self, outputs: Vec<(u32, Batch)>, right: &E::Right, out: &mut impl Outlet<E::Right>) {
        for (port, rows) in outputs.into_iter().filter(|(_, rows)| !rows.is_empty()) {
            self.env.emits(port, self.queue.epoch(), &rows);
            out.rows(right, port, rows);
        }
    }
}
