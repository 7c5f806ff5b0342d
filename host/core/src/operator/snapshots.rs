//! The driver of an instance, where a snapshot is read: at the end of an epoch, or where the backup is due.
//!
//! ```text
//!                                       ┌──> backup, from which a replacement is made
//!  end of epoch, or due ──> snapshot ───┼──> standby, where there is one
//!                                       └──> report of the epoch
//! ```
//!
//! A snapshot that takes longer than a turn goes on in the next one. The unit of work that it belongs to stays until then, so that the
//! guest is called for nothing else meanwhile.

use super::backup::has_state;
use super::call::ENTRY_BYTES;
use super::contract::{Guest, GuestFault, Incident, InstanceFactory};
use super::environment::{Environment, FaultOf};
use super::instance::{FailureOf, OperatorFailure, OperatorInstance};
use super::mutation::Mutation;
use super::queue::{Unit, Work};
use super::retry::Failed;
use super::snapshot_reading::{Snapshot, UnderWay};
use super::state_backup::VersionedChunk;
use super::tally::{EpochTally, ReportedSnapshot};
use super::watermarks::Risen;
use crate::codec::snapshot::SnapshotScope;
use std::sync::Arc;
use std::time::Duration;

/// What comes of a turn with a snapshot.
enum Turned<T> {
    /// It goes on in the next one.
    Unfinished,
    /// It is done.
    Done(T),
}

type UnitOf<E> = Unit<<E as Environment>::Right>;

impl<E: Environment> OperatorInstance<E> {
    /// Reads a snapshot, or goes on with it.
    fn read_snapshot(
        &mut self,
        scope: SnapshotScope,
        (is_asked, is_local): (bool, bool),
        turn_ends: Duration,
    ) -> Result<Turned<Snapshot>, FaultOf<E>> {
        let Some(guest) = self.slot.guest_mut() else { return Err(GuestFault::missing()) };
        let started = self.env.now();
        self.reading.scope = scope;
        let mut under_way = self.reading.under_way.take().unwrap_or_else(|| UnderWay {
            reading: guest.begin_snapshot(scope, self.env.part_bytes_max()),
            scope,
            snapshot: Snapshot { chunks: Vec::new(), took: Duration::ZERO },
            is_asked,
            is_local,
        });
        let UnderWay { reading, snapshot, .. } = &mut under_way;
        let (env, slots) = (&self.env, &self.env.factory().description().slots);
        let version = |slot: u32| slots.get(slot as usize).map_or(0, |slot| slot.version);
        let pauses = || env.is_aborted() || env.now() >= turn_ends;
        let is_done = guest.read_on(reading, &pauses, &mut |chunk| {
            snapshot.chunks.push(Arc::new(VersionedChunk { version: version(chunk.slot()), chunk }));
        });
        env.after_call(guest);
        let is_done = is_done?;
        under_way.snapshot.took += env.now().saturating_sub(started);
        if is_done {
            return Ok(Turned::Done(under_way.snapshot));
        }
        self.reading.under_way = Some(under_way);
        Ok(Turned::Unfinished)
    }

    /// The snapshot of an epoch; `None` where there is nothing to say.
    fn snapshot(&mut self, turn_ends: Duration) -> Result<Turned<Option<ReportedSnapshot>>, FaultOf<E>> {
        if !has_state(&self.env) {
            return Ok(Turned::Done(None));
        }
        // It was begun before a call that is parked by now.
        if self.reading.under_way.as_ref().is_some_and(|under_way| under_way.is_local)
            && let Turned::Unfinished = self.save_changes(true, true, turn_ends)?
        {
            return Ok(Turned::Unfinished);
        }
        // The host compacts chains: it needs no full snapshot from the guest, unless it may not keep deltas, or an object was lost.
        let (is_full, is_asked) = match &self.reading.under_way {
            Some(under_way) => (under_way.scope == SnapshotScope::Full, under_way.is_asked),
            None => {
                let is_asked = self.env.takes_full();
                (is_asked || !self.backup.continues(), is_asked)
            }
        };
        if !is_full {
            if let Turned::Unfinished = self.save_changes(true, false, turn_ends)? {
                return Ok(Turned::Unfinished);
            }
            if !self.backup.has_unreported() {
                return Ok(Turned::Done(None));
            }
            if self.env.chain_length_max() > 0 {
                return Ok(Turned::Done(Some((SnapshotScope::Delta, self.backup.take_unreported()))));
            }
            if self.env.breaks(Mutation::FullForgetsChanges) {
                drop(self.backup.take_unreported());
            }
        }
        // This may fail. Until it has not, changes are unreported and the full snapshot is due: a replacement would have nothing to say.
        let read = self.read_snapshot(SnapshotScope::Full, (is_asked, false), turn_ends).inspect_err(|_| {
            if is_asked {
                self.env.ask_full();
            }
        })?;
        let Turned::Done(Snapshot { chunks: full, .. }) = read else { return Ok(Turned::Unfinished) };
        self.backup.replace(&self.env, self.queue.epoch(), &full);
        if full.is_empty() && !self.backup.continues() {
            return Ok(Turned::Done(None));
        }
        self.backup.continue_chain();
        Ok(Turned::Done(Some((SnapshotScope::Full, full))))
    }

    /// Reads what has changed since the last snapshot into the backup.
    fn save_changes(&mut self, is_reported: bool, is_local: bool, turn_ends: Duration) -> Result<Turned<()>, FaultOf<E>> {
        if self.env.breaks(Mutation::LogClearedTooSoon) {
            self.backup.forget_calls();
        }
        let read = self.read_snapshot(SnapshotScope::Delta, (false, is_local), turn_ends)?;
        let Turned::Done(Snapshot { chunks, took }) = read else { return Ok(Turned::Unfinished) };
        self.backup.add(&self.env, self.queue.epoch(), chunks, took, is_reported);
        Ok(Turned::Done(()))
    }

    /// Reads a snapshot where one is due before a unit. Gives the unit back where it can be worked on.
    pub(super) fn save_before(&mut self, unit: UnitOf<E>, turn_ends: Duration) -> Result<Option<UnitOf<E>>, FailureOf<E>> {
        let more = match &unit.work {
            Work::Rows { rows, .. } => rows.size_bytes() as u64,
            Work::Watermark(Risen { is_new: true, .. }) => ENTRY_BYTES,
            Work::Watermark(_) | Work::EndOfEpoch { .. } => return Ok(Some(unit)),
        };
        match self.snapshot_if_due(more, turn_ends) {
            // Its last part may have taken long.
            Ok(Turned::Done(was_due)) if !was_due || self.env.now() < turn_ends => Ok(Some(unit)),
            Ok(_) => {
                self.queue.put_back(unit);
                Ok(None)
            }
            Err(fault) => {
                self.call_failed(unit, Failed::Snapshot, fault, "a snapshot between two checkpoints".to_owned(), turn_ends).map(|()| None)
            }
        }
    }

    /// Reads a snapshot where one is due. Says whether it was.
    fn snapshot_if_due(&mut self, more: u64, turn_ends: Duration) -> Result<Turned<bool>, FaultOf<E>> {
        if !has_state(&self.env) || self.backup.state().is_none() {
            return Ok(Turned::Done(false));
        }
        let is_due = self.backup.is_due(more) || (self.retry.has_failed() && self.backup.is_due_before_retry());
        if self.reading.under_way.is_none() && !is_due {
            return Ok(Turned::Done(false));
        }
        let is_reported = !self.env.breaks(Mutation::LocalChangesNotReported);
        let Turned::Done(()) = self.save_changes(is_reported, true, turn_ends)? else { return Ok(Turned::Unfinished) };
        self.env.tell(self.queue.epoch(), Incident::LocalSnapshot);
        self.retry.snapshot_succeeded();
        Ok(Turned::Done(true))
    }

    /// Reads the snapshot of an epoch and reports the epoch.
    pub(super) fn end_epoch(&mut self, is_last: bool, turn_ends: Duration) -> Result<(), FailureOf<E>> {
        let epoch = self.queue.epoch();
        let now = self.env.now();
        let since = *self.reading.ending_since.get_or_insert(now);
        self.env.tell(epoch, Incident::Predicted(self.backup.predicted()));
        let unit = Unit { work: Work::EndOfEpoch { is_last }, right: None };
        let snapshot = match self.snapshot(turn_ends) {
            Ok(Turned::Done(snapshot)) => snapshot,
            Ok(Turned::Unfinished) => {
                self.queue.put_back(unit);
                return Ok(());
            }
            Err(fault) => {
                self.reading.ending_since = None;
                return self.call_failed(unit, Failed::Snapshot, fault, "at the end of the epoch".to_owned(), turn_ends);
            }
        };
        if let Some(takes) = self.backup.restore_too_long(&self.env) {
            self.env.tell(epoch, Incident::TooSlow { takes });
        }
        self.retry.snapshot_succeeded();
        self.reading.ending_since = None;
        self.env.tell(epoch, Incident::SnapshotTook(self.env.now().saturating_sub(since)));
        self.tally.is_closed = is_last;
        let (rejected, faulted, dumps) = self.tally.refused.take();
        if self.env.breaks(Mutation::FaultedReportedAgain) {
            faulted.iter().for_each(|failed| _ = self.tally.refused.push_failed(failed.clone()));
        }
        let (watermark, rows) = (self.queue.watermark(), std::mem::take(&mut self.tally.rows));
        let parked = self.report_parked()?;
        let tally = EpochTally { epoch, is_last, snapshot, watermark, rows, rejected, faulted, dumps, parked };
        self.env.report(tally).map_err(OperatorFailure::Internal)?;
        self.queue.next_epoch();
        self.begin_epoch();
        Ok(())
    }
}
