//! The backup of an instance: what a replacement is made from. Its state as of the last snapshot, the calls since, a standby; and when the next
//! snapshot is due, so that a replacement comes soon enough.

use super::call::{CallInput, Outcome};
use super::contract::{Incident, InstanceFactory, StandbyInstance};
use super::environment::{CallOf, Environment};
use super::input_log::{InputLog, LoggedCall};
use super::mutation::Mutation;
use super::output_digest::OutputDigest;
use super::state_backup::{StateBackup, UnreportedChanges, VersionedChunk};
use crate::failure::pace::Pace;
use crate::ids::Epoch;
use std::sync::Arc;
use std::time::Duration;

/// The backup of an instance.
pub(super) struct Backup<E: Environment> {
    /// The state as of the last snapshot. `None` where it is too large to be kept.
    state: Option<StateBackup>,
    /// The calls since, where there is state.
    log: InputLog<CallOf<E>>,
    /// Changes that are in the state and in no report yet.
    unreported: UnreportedChanges,
    pace: Pace,
    standby: Option<E::Standby>,
    /// There is a chain that deltas may be added to.
    continues: bool,
}

impl<E: Environment> Backup<E> {
    /// The backup of what an instance was restored from, which took so long.
    pub fn new(env: &E, chunks: Vec<Arc<VersionedChunk>>, continues: bool, restored: Duration) -> Self {
        let settings = env.settings();
        let mut pace = Pace::new(settings.recover_within, settings.replay_log_bytes_max);
        let state = StateBackup::new(chunks, env.fold_bytes_min());
        pace.note_restore(state.bytes(), restored);
        let unreported = UnreportedChanges::new(env.fold_bytes_min());
        Self { state: Some(state), log: InputLog::default(), unreported, pace, standby: None, continues }
    }

    /// The state as of the last snapshot. `None` where it is too large to be kept: the instance cannot come back alone.
    pub fn state(&self) -> Option<&[Arc<VersionedChunk>]> {
        self.state.as_ref().map(StateBackup::chunks)
    }

    /// The calls since the last snapshot.
    pub fn log(&self) -> &InputLog<CallOf<E>> {
        &self.log
    }

    /// Gives the log away, to a replacement that repeats it.
    pub fn take_log(&mut self) -> InputLog<CallOf<E>> {
        std::mem::take(&mut self.log)
    }

    /// Takes the log back.
    pub fn set_log(&mut self, log: InputLog<CallOf<E>>) {
        self.log = log;
    }

    /// Gives the standby away.
    pub fn take_standby(&mut self) -> Option<E::Standby> {
        self.standby.take()
    }

    /// Deltas may be added to a chain.
    pub fn continues(&self) -> bool {
        self.continues
    }

    /// There are changes that no report has yet.
    pub fn has_unreported(&self) -> bool {
        !self.unreported.is_empty()
    }

    /// Gives the unreported changes to a report.
    pub fn take_unreported(&mut self) -> Vec<Arc<VersionedChunk>> {
        self.unreported.take()
    }

    /// The digest of what a call returned, where the call has to be logged: an instance without state repeats nothing.
    pub fn digest(&self, env: &E, outcome: &Outcome) -> Option<OutputDigest> {
        (has_state(env) && self.state.is_some()).then(|| OutputDigest::of(outcome))
    }

    /// Logs a call that succeeded.
    pub fn push(&mut self, env: &E, input: CallInput, returned: OutputDigest, call: CallOf<E>, busy: Duration) {
        let is_forgotten = env.breaks(Mutation::WatermarksNotLogged) && matches!(input, CallInput::Watermark(_));
        if !is_forgotten {
            self.log.push(LoggedCall { input, call, returned }, busy);
        }
    }

    /// Takes note of a restore.
    pub fn note_restore(&mut self, took: Duration) {
        if let Some(state) = &self.state {
            self.pace.note_restore(state.bytes(), took);
        }
    }

    /// True where a snapshot is due before a call that brings `more` bytes: repeating the calls since the last one would take too long, or too
    /// much memory.
    pub fn is_due(&self, more: u64) -> bool {
        self.state.as_ref().is_some_and(|state| self.pace.is_due(state.bytes(), self.log.logged(), more, self.standby.is_some()))
    }

    /// True where a snapshot is due before a call that has failed is made again.
    pub fn is_due_before_retry(&self) -> bool {
        self.state.is_some() && self.pace.is_due_before_retry(self.log.logged())
    }

    /// Takes a full snapshot in the place of everything.
    pub fn replace(&mut self, env: &E, epoch: Epoch, full: &[Arc<VersionedChunk>]) {
        drop(self.unreported.take());
        self.log.clear();
        if let Some(state) = &mut self.state {
            state.replace(full.to_vec());
            // Cells that are gone are in no full snapshot: the standby would keep them.
            self.standby = None;
        }
        self.hold_to_limit(env, epoch);
        self.start_standby(env, Vec::new());
    }

    /// There is a chain from now on.
    pub fn continue_chain(&mut self) {
        self.continues = true;
    }

    /// Adds the changes of a snapshot, which took so long to read.
    pub fn add(&mut self, env: &E, epoch: Epoch, changes: Vec<Arc<VersionedChunk>>, took: Duration, is_reported: bool) {
        self.pace.note_snapshot(took);
        if !env.breaks(Mutation::LogNotCleared) {
            self.log.clear();
        }
        let state_bytes = self.state.as_ref().map_or(u64::MAX, StateBackup::bytes);
        if is_reported {
            let fold = self.unreported.append(changes.iter().cloned(), state_bytes);
            fold.into_iter().for_each(|fold| env.start_fold(fold));
        }
        let Some(state) = &mut self.state else { return };
        state.append(changes.iter().cloned());
        let fold = state.tend(env.breaks(Mutation::FoldLosesNewer));
        fold.into_iter().for_each(|fold| env.start_fold(fold));
        let is_told = !changes.is_empty() && !env.breaks(Mutation::StandbyMissesSnapshot);
        if is_told && self.standby.as_ref().is_some_and(|standby| !standby.apply(changes, state.bytes())) {
            self.standby = None;
        }
        self.hold_to_limit(env, epoch);
        self.start_standby(env, Vec::new());
    }

    /// Forgets the calls, which only a mutation does before their snapshot was read.
    pub fn forget_calls(&mut self) {
        self.log.clear();
    }

    /// How long the instance would take to come back now.
    pub fn predicted(&self) -> Duration {
        self.pace.predicted(self.state.as_ref().map_or(0, StateBackup::bytes), self.log.logged(), self.standby.is_some())
    }

    /// How long it would take to restore the state, where that alone is too long and no standby is there to help.
    pub fn restore_too_long(&self, env: &E) -> Option<Duration> {
        let bytes = self.state.as_ref().map(StateBackup::bytes)?;
        self.pace.restore_too_long(bytes).filter(|_| !env.settings().standby)
    }

    /// Gives the state up where it is too large.
    pub fn hold_to_limit(&mut self, env: &E, epoch: Epoch) {
        let Some(bytes) = self.state.as_ref().map(StateBackup::bytes) else { return };
        if bytes > env.settings().snapshot_copy_bytes_max {
            (self.state, self.standby) = (None, None);
            self.log.clear();
            env.tell(epoch, Incident::TooLarge { bytes });
        }
    }

    /// Starts a standby where there should be one. `dead`: guests to be dropped before.
    pub fn start_standby(&mut self, env: &E, dead: Vec<E::Guest>) {
        if let Some(state) = self.state.as_ref().filter(|_| env.settings().standby && self.standby.is_none()) {
            self.standby = env.start_standby(state.chunks().to_vec(), dead);
        }
    }
}

/// True where there is state to restore and to lose.
pub(super) fn has_state<E: Environment>(env: &E) -> bool {
    !env.factory().description().slots.is_empty()
}
