//! The driver of an instance, where input is parked: what waits for an operator that is paused or slow becomes part of its checkpoint, so that
//! the epoch ends without it.
//!
//! ```text
//!  paused ─────────────────────────────┐
//!  has held its epoch for `align-max` ─┴──> parks what waits ──> ends the epoch ──> works it off, before anything that arrives
//! ```
//! While anything is parked, epochs end as soon as nothing more of them can arrive. At the end of the input the instance is the only one that has
//! something left to do: it ends epochs of its own then, as sources do.

use super::backlog::{Backlog, Parking, SegmentState};
use super::contract::{CircuitBreaker, Frontier, Incident};
use super::environment::Environment;
use super::instance::{FailureOf, OperatorFailure, OperatorInstance, Turn};
use super::mutation::Mutation;
use super::tally::REJECTED_BYTES_MAX;
use crate::checkpoint::manifest::QuarantinedRow;
use std::time::Duration;

/// Bytes of refused rows with which no further parked rows go to quarantine in an epoch.
const GIVEN_UP_BYTES: usize = REJECTED_BYTES_MAX / 2;
/// The reason of parked rows in quarantine.
pub const GIVEN_UP: &str = "its operator did not come back: it was parked, and moved to quarantine on request";

impl<E: Environment> OperatorInstance<E> {
    /// True where input was parked in an earlier run, or is now.
    pub fn has_parked(&self) -> bool {
        !self.queue.backlog.is_empty()
    }

    /// Gives the right by which what comes of parked input is sent, at the start of a run.
    pub fn give_right(&mut self, right: E::Right) {
        self.queue.give_right(right);
    }

    /// Parks what is to be parked, before a turn: what arrives, while anything is parked; everything, while the operator is paused.
    pub(super) fn park(&mut self, frontier: &impl Frontier) -> Result<(), FailureOf<E>> {
        if self.failover.is_some() || self.suspect.is_some() || self.queue.is_ending() {
            return Ok(());
        }
        if self.epoch_wanted_in().is_some_and(|left| left.is_zero()) {
            self.parking.has_asked = true;
            self.env.ask_epoch();
        }
        // Where nothing is parked now, what is parked later is not meant.
        let unpark = self.env.takes_unpark().filter(|_| self.queue.is_parking());
        let is_paused = self.env.breaker().shut_for().is_some();
        if !is_paused && !self.queue.is_parking() {
            return Ok(());
        }
        self.queue.park_begun(self.env.wall_ms());
        if let Some(to_quarantine) = unpark {
            self.give_up_parked(to_quarantine)?;
        }
        // Twice, since sources stop only when so much is parked, and what they have let in comes all the same.
        let bytes_max = self.env.settings().park_bytes_max.saturating_mul(2);
        loop {
            self.park_arrivals(|backlog| !backlog.is_due() && backlog.tally().bytes < bytes_max)?;
            self.tend_backlog(frontier)?;
            let may_more = !self.queue.backlog.is_due() && self.queue.parked().bytes < bytes_max;
            if !may_more || !self.queue.has_arrivals() {
                return Ok(());
            }
        }
    }

    fn park_arrivals(&mut self, may: impl Fn(&Backlog) -> bool) -> Result<(), FailureOf<E>> {
        let (env, epoch) = (&self.env, self.queue.epoch());
        if env.breaks(Mutation::ParkedOfNextEpoch) {
            self.queue.mix_epochs();
        }
        let parked = self.queue.park_arrivals(env.wall_ms(), may, |edge, bytes| env.took(edge, epoch, bytes));
        parked.map_err(|error| OperatorFailure::Internal(error.to_string()))
    }

    /// Gives up all that is parked now.
    fn give_up_parked(&mut self, to_quarantine: bool) -> Result<(), FailureOf<E>> {
        self.store_segments(true)?;
        let rows = self.queue.backlog.give_up(to_quarantine);
        self.tally.rows += rows;
        self.env.tell(self.queue.epoch(), Incident::RowsIn { rows, rejected: 0 });
        self.env.ask_epoch();
        Ok(())
    }

    /// Stores, reads and counts what is parked.
    fn tend_backlog(&mut self, frontier: &impl Frontier) -> Result<(), FailureOf<E>> {
        if self.env.may_store_parked() {
            self.store_segments(false)?;
        }
        for (number, done) in self.queue.backlog.unread() {
            let Some(read) = self.env.read_parked(number, done) else { continue };
            let items = read.map_err(OperatorFailure::Parked)?;
            self.queue.backlog.put_items(number, items);
        }
        self.quarantine_parked()?;
        let epoch = self.queue.epoch();
        if let Some(right) = self.queue.parked_right_mut() {
            self.env.advance(right, epoch, frontier.least());
        }
        self.tell_parked();
        Ok(())
    }

    /// Hands segments out to be stored: those that are large enough, or all that is parked.
    fn store_segments(&mut self, all: bool) -> Result<(), FailureOf<E>> {
        if self.env.breaks(Mutation::ParkedRowsLost) && all {
            self.queue.backlog.lose_fresh();
        }
        if self.env.breaks(Mutation::NewerBeforeParked) {
            self.queue.backlog.let_newer_pass();
        }
        if self.env.breaks(Mutation::WatermarkPassesParked) {
            self.queue.backlog.let_watermarks_pass();
        }
        while let Some((number, items)) = self.queue.backlog.cut(all) {
            self.env.store_parked(self.queue.epoch(), number, items).map_err(OperatorFailure::Internal)?;
        }
        Ok(())
    }

    fn tell_parked(&mut self) {
        let now = self.queue.parked();
        if now != self.parking.told {
            self.parking.told = now;
            self.env.parked(now);
        }
    }

    /// Begins the end of the epoch where some of it waits and need not be waited for. False where there is something to wait for still.
    pub(super) fn ends_parked(&mut self, frontier: &impl Frontier) -> Result<bool, FailureOf<E>> {
        if self.queue.is_ending() {
            // A snapshot that fails waits as any other call does.
            return Ok(!self.retry.snapshot_has_failed());
        }
        let is_past = self.queue.is_past(frontier);
        if !is_past || !self.queue.is_waiting() {
            self.parking.held_since = None;
            // An epoch of which nothing waits ends as ever, also while the operator is paused.
            return Ok(is_past && !self.retry.snapshot_has_failed());
        }
        let now = self.env.now();
        let since = *self.parking.held_since.get_or_insert(now);
        let is_last = self.queue.is_last(frontier);
        let is_stopped = self.env.is_stopping() && is_last;
        if is_last && !is_stopped {
            // Nobody else ends an epoch any more.
            let age = now.saturating_sub(self.parking.began);
            if !self.env.epoch_is_due(self.queue.epoch(), age, self.tally.has_news()) {
                return Ok(false);
            }
        }
        let is_paused = self.env.breaker().shut_for().is_some();
        let is_due = is_paused || self.queue.is_parking() || now.saturating_sub(since) >= self.env.align_max();
        if !is_due || self.retry.snapshot_has_failed() {
            return Ok(false);
        }
        self.queue.park_begun(self.env.wall_ms());
        self.park_arrivals(|_| true)?;
        self.queue.begin_end(is_stopped);
        Ok(true)
    }

    /// Time until the end of the epoch is to be asked for: sources that read nothing end none, and what comes of parked input is to be seen.
    fn epoch_wanted_in(&self) -> Option<Duration> {
        let Parking { has_worked, has_asked, began, .. } = self.parking;
        (has_worked && !has_asked).then(|| self.env.interval().saturating_sub(self.env.now().saturating_sub(began)))
    }

    /// How long to rest at most: until the epoch has been held for long enough, or its end is to be asked for.
    pub(super) fn rest(&self, turn: Turn) -> Turn {
        let held = self.parking.held_since.filter(|_| !self.queue.is_parking());
        let held = held.map(|since| self.env.align_max().saturating_sub(self.env.now().saturating_sub(since)));
        let Some(left) = [held, self.epoch_wanted_in()].into_iter().flatten().min() else { return turn };
        let left = left.max(Duration::from_millis(1));
        match turn {
            Turn::Rest => Turn::Later(left),
            Turn::Later(wait) => Turn::Later(wait.min(left)),
            Turn::Again => Turn::Again,
        }
    }

    /// What of the parked input a report tells, once all of it is handed out to be stored.
    pub(super) fn report_parked(&mut self) -> Result<Vec<SegmentState>, FailureOf<E>> {
        self.store_segments(true)?;
        let mut states = self.queue.backlog.states();
        if self.env.breaks(Mutation::ParkedRowsAgain) {
            Backlog::forget_done(&mut states);
        }
        Ok(states)
    }

    /// The next epoch has begun.
    pub(super) fn begin_epoch(&mut self) {
        let told = self.parking.told;
        self.parking = Parking { began: self.env.now(), told, ..Parking::default() };
        let epoch = self.queue.epoch();
        if self.tally.is_closed {
            self.queue.drop_right();
        } else if let Some(right) = self.queue.parked_right_mut() {
            self.env.advance(right, epoch, 0);
        }
        self.tell_parked();
    }

    /// Puts parked rows that were given up into quarantine, as many as an epoch takes.
    fn quarantine_parked(&mut self) -> Result<(), FailureOf<E>> {
        while let Some((input, rows)) = self.queue.take_given_up(self.tally.refused.bytes() < GIVEN_UP_BYTES) {
            for row in rows.rows() {
                let (key, value) = (row.key.to_vec(), row.value.to_vec());
                let row = QuarantinedRow { input, origin: String::new(), time: row.time, key, value, reason: GIVEN_UP.to_owned() };
                if !self.tally.refused.push(row) {
                    return Err(self.refused_too_much());
                }
            }
            let count = rows.len() as u64;
            self.tally.rows += count;
            self.env.tell(self.queue.epoch(), Incident::RowsIn { rows: count, rejected: count });
            if self.tally.refused.bytes() >= GIVEN_UP_BYTES {
                self.env.ask_epoch();
            }
        }
        Ok(())
    }
}
