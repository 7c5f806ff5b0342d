//! What becomes of a unit of work that fails, as `host/src/engine/heal.rs` and `revive.rs` have it: a new instance takes over and makes the
//! calls since the last snapshot again, and the unit is tried again, whole or in pieces, until all of it is done but for poison.
//!
//! The decisions are those of the core: [`reprise_core::failure::search`], [`reprise_core::failure::blame`], [`reprise_core::failure::window`].

use crate::guest::{Guest, Input, Trapped};
use crate::image::Entry;
use crate::input::Record;
use crate::mutation::Mutation;
use crate::operator::{OperatorInstance, RunOver, Work};
use crate::plan::Fault;
use crate::trouble::Then;
use reprise_core::failure::Policy;
use reprise_core::failure::blame::{Blame, Compared, after_another, after_blank, after_itself};
use reprise_core::failure::search::{Next, Search};
use reprise_core::failure::window::Standing;
use reprise_core::ids::Epoch;
use std::time::Duration;

/// Calls that a standby makes again at once, at most.
const AT_ONCE_MAX: u64 = 8;
/// Successors in a row that may fail before the run ends.
const REVIVALS_MAX: u32 = 3;
/// So often somebody looks whether a pause is to end.
const LOOK_MS: u64 = 400;
/// Of 1000 looks, so many end it.
const RESUMED: u64 = 60;
/// Of 1000 calls that fail for want of memory, so many are followed by more of it.
const RAISED: u64 = 100;

impl OperatorInstance {
    fn policy(&self) -> Policy {
        let trouble = &self.sim.plan.trouble;
        let backoff_min = Duration::from_millis(trouble.backoff_ms);
        Policy { retries: trouble.retries, backoff_min, backoff_max: backoff_min * 8 }
    }

    /// Waits until the next call may be made.
    pub(crate) async fn wait(&mut self) {
        loop {
            let now = self.sim.now();
            let standing = self.run.guard.borrow_mut().standing(Duration::from_millis(now));
            let left = match standing {
                Standing::Open { until } => (until.as_millis() as u64).saturating_sub(now).clamp(1, LOOK_MS),
                Standing::Closed | Standing::HalfOpen => self.not_before_ms.saturating_sub(now),
            };
            if left == 0 {
                return;
            }
            // Whoever asks to stop wants a last checkpoint, not a pause; and people end a pause before its time.
            if matches!(standing, Standing::Open { .. }) && (self.run.flow.borrow().stop || self.sim.chance(RESUMED)) {
                self.sim.count(Fault::BreakerResumed);
                self.run.guard.borrow_mut().resume(Duration::from_millis(now));
                continue;
            }
            self.sim.sleep(left).await;
        }
    }

    /// What an instance that failed leaves: an end of the run where it cannot come back alone.
    fn fell(&mut self, fault: Fault) -> Result<(), RunOver> {
        self.sim.tell(self.run.host, format_args!("instance {} fails: {fault:?}", self.at));
        self.sim.count(fault);
        self.run.fell(self.at);
        if self.image.is_some() { Ok(()) } else { Err(RunOver) }
    }

    /// A call with rows failed.
    pub(crate) async fn rows_failed(&mut self, of: Epoch, rows: Vec<Record>, given: Input) -> Result<(), RunOver> {
        let outgrown = self.guest.as_ref().is_some_and(|guest| guest.is_outgrown(&self.sim));
        if outgrown && self.sim.chance(RAISED) {
            self.sim.raise();
        }
        self.fell(if outgrown { Fault::Outgrown } else { Fault::Trap })?;
        if self.sim.is_broken(Mutation::FailedCallLogged) {
            self.log.push(Entry { input: given.clone(), outputs: None }, Duration::ZERO);
        }
        if !self.search.is_narrowing() {
            self.failures += 1;
        }
        let Input::Rows(piece) = given else { return Ok(()) };
        let is_first = self.search.failures() == 0;
        match self.search.failed(Some(piece.len()), &self.policy(), self.jitter()) {
            Next::Poison => {
                self.failures = 0;
                match self.sim.plan.trouble.then {
                    Then::Quarantine => match self.blame(&rows, outgrown).await {
                        Blame::Nobody => self.blame_nobody(Work::Rows(of, rows), is_first).await,
                        Blame::Instance => self.blame_instance(Work::Rows(of, rows)).await,
                        Blame::Row => self.quarantine(of, rows, is_first).await,
                    },
                    Then::Pause | Then::Stop => self.give_up(Work::Rows(of, rows)).await,
                }
            }
            Next::GiveUp { .. } => self.give_up(Work::Rows(of, rows)).await,
            next => self.again(Work::Rows(of, rows), next, is_first).await,
        }
    }

    /// A watermark failed: there is no row to blame.
    pub(crate) async fn watermark_failed(&mut self, watermark: i64) -> Result<(), RunOver> {
        self.fell(Fault::TrapAtWatermark)?;
        let is_first = self.search.failures() == 0;
        match self.search.failed(None, &self.policy(), self.jitter()) {
            Next::GiveUp { .. } => self.give_up(Work::Watermark(watermark)).await,
            next => self.again(Work::Watermark(watermark), next, is_first).await,
        }
    }

    /// Reading a snapshot failed.
    pub(crate) async fn snapshot_failed(&mut self, unit: Work) -> Result<(), RunOver> {
        self.fell(Fault::TrapAtSnapshot)?;
        let is_first = self.snapshot_search.failures() == 0;
        match self.snapshot_search.failed(None, &self.policy(), self.jitter()) {
            Next::GiveUp { .. } => self.give_up(unit).await,
            next => self.again(unit, next, is_first).await,
        }
    }

    fn jitter(&self) -> u64 {
        self.sim.random.borrow_mut().number()
    }

    async fn again(&mut self, unit: Work, next: Next, is_first: bool) -> Result<(), RunOver> {
        match next {
            Next::Retry { wait, .. } => self.not_before_ms = self.sim.now() + wait.as_millis() as u64,
            _ => self.sim.count(Fault::Narrowed),
        }
        if is_first {
            self.fault()?;
        }
        self.unit = Some(unit).filter(|_| !self.sim.is_broken(Mutation::FailedUnitDropped));
        self.revive().await
    }

    /// Counts a fault, which may open the breaker.
    fn fault(&mut self) -> Result<(), RunOver> {
        let now = Duration::from_millis(self.sim.now());
        if self.run.guard.borrow_mut().fault(now) {
            if self.sim.plan.trouble.stops_when_open {
                return Err(RunOver);
            }
            self.paused();
        }
        Ok(())
    }

    fn paused(&self) {
        self.sim.tell(self.run.host, "the operator pauses");
        self.sim.count(Fault::BreakerOpens);
    }

    /// There is nothing left to try but to leave the operator alone, or to end the run.
    async fn give_up(&mut self, unit: Work) -> Result<(), RunOver> {
        if self.sim.plan.trouble.then != Then::Pause || self.run.flow.borrow().stop {
            return Err(RunOver);
        }
        self.unit = Some(unit);
        (self.search, self.snapshot_search) = (Search::default(), Search::default());
        let now = Duration::from_millis(self.sim.now());
        if self.run.guard.borrow_mut().trip(now) {
            self.paused();
        }
        self.revive().await
    }

    /// Finds out who is to blame where calls fail on the first row of a unit.
    async fn blame(&mut self, rows: &[Record], outgrown: bool) -> Blame {
        if self.sim.is_broken(Mutation::InstanceFaultOnRow) {
            return Blame::Row;
        }
        if self.may_pass() {
            let itself = self.on_alike(Some(rows[0]), outgrown).await;
            if let Some(blame) = after_itself(itself) {
                return blame;
            }
        }
        let alone = self.on_blank(rows[0], outgrown);
        if let Some(blame) = after_blank(outgrown, alone) {
            return blame;
        }
        let others = rows[1..].iter().filter(|other| other.key != rows[0].key);
        let other = others.copied().find(|other| self.on_blank(*other, outgrown) == Compared::Succeeded);
        after_another(self.on_alike(other, outgrown).await)
    }

    /// Tries a row, or none, on an instance like the one that failed, where there is one to be had. `outgrown`: how that failed.
    async fn on_alike(&mut self, row: Option<Record>, outgrown: bool) -> Option<Compared> {
        let input = Input::Rows(row.into_iter().collect());
        let sim = self.sim.clone();
        let compared = match self.successor().await {
            Ok(mut guest) => {
                let is_outgrown = guest.is_outgrown(&sim);
                Some(compared(guest.call(&sim, &input, false), is_outgrown == outgrown))
            }
            Err(Trapped) => None,
        };
        // The instance of the trial is dropped.
        self.run.fell(self.at);
        compared
    }

    /// Tries a row on an instance without state. `outgrown`: how the call in question failed.
    fn on_blank(&self, row: Record, outgrown: bool) -> Compared {
        let mut guest = Guest::restored(self.at, self.run.shape.instances(), &[]);
        compared(guest.call(&self.sim, &Input::Rows(vec![row]), false), !outgrown)
    }

    /// It has passed: the unit is tried again.
    async fn blame_nobody(&mut self, unit: Work, is_first: bool) -> Result<(), RunOver> {
        self.sim.count(Fault::NobodyBlamed);
        self.passes += 1;
        if is_first {
            self.fault()?;
        }
        self.unit = Some(unit);
        self.revive().await
    }

    /// No row is to blame: the operator is left alone, or the run ends.
    async fn blame_instance(&mut self, unit: Work) -> Result<(), RunOver> {
        self.sim.count(Fault::InstanceBlamed);
        if self.sim.plan.trouble.stops_when_open || self.run.flow.borrow().stop {
            return Err(RunOver);
        }
        self.unit = Some(unit);
        let now = Duration::from_millis(self.sim.now());
        if self.run.guard.borrow_mut().trip(now) {
            self.paused();
        }
        self.revive().await
    }

    /// Puts the first row of a unit into quarantine.
    async fn quarantine(&mut self, of: Epoch, mut rows: Vec<Record>, is_first: bool) -> Result<(), RunOver> {
        let left = rows.split_off(1);
        self.sim.tell(self.run.host, format_args!("{:?} goes to quarantine", rows[0]));
        self.sim.count(Fault::Poison);
        self.passes = 0;
        if !self.sim.is_broken(Mutation::PoisonNotQuarantined) {
            self.faulted.extend(rows);
        }
        self.rows += 1;
        if !left.is_empty() && !self.sim.is_broken(Mutation::RowsAfterPoisonDropped) {
            self.unit = Some(Work::Rows(of, left));
        }
        if is_first {
            self.fault()?;
        }
        self.revive().await
    }

    /// Makes a successor. Others work on meanwhile.
    async fn revive(&mut self) -> Result<(), RunOver> {
        if self.sim.is_broken(Mutation::RetryOnDeadInstance) {
            self.guest.iter_mut().for_each(Guest::raise);
            return Ok(());
        }
        self.guest = None;
        if self.sim.is_broken(Mutation::NeighbourReplaced) && self.run.shape.instances() > 1 {
            self.run.born(&self.sim, (self.at + 1) % self.run.shape.instances());
        }
        loop {
            match self.successor().await {
                Ok(guest) => {
                    self.guest = Some(guest);
                    self.revivals_failed = 0;
                    self.sim.count(Fault::Revived);
                    self.start_standby();
                    return Ok(());
                }
                Err(Trapped) => {
                    self.run.fell(self.at);
                    self.revivals_failed += 1;
                    if self.revivals_failed >= REVIVALS_MAX {
                        return Err(RunOver);
                    }
                }
            }
        }
    }

    async fn successor(&mut self) -> Result<Guest, Trapped> {
        let sim = self.sim.clone();
        self.run.born(&sim, self.at);
        // So many calls are made again at once, before anybody else does anything.
        let mut at_once = 0;
        let stood_by = match self.standby.take().map(|standby| standby.take_if_ready(&sim)) {
            None => None,
            Some(Err(standby)) => standby.take(&sim).await,
            Some(Ok(guest)) => {
                sim.count(Fault::StandbyReady);
                at_once = sim.between(0, AT_ONCE_MAX) as usize;
                Some(guest)
            }
        };
        let Some(image) = &self.image else { return Err(Trapped) };
        let mut guest = match stood_by {
            Some(guest) => {
                sim.count(Fault::StandbyTakesOver);
                guest
            }
            None => {
                let took = sim.between(0, 30);
                sim.sleep(took).await;
                if sim.strikes_other_call() {
                    sim.count(Fault::TrapAtRestore);
                    return Err(Trapped);
                }
                self.pace.note_restore(image.bytes(), Duration::from_millis(took));
                Guest::restored(self.at, self.run.shape.instances(), image.chunks())
            }
        };
        for (done, Entry { input, outputs }) in self.log.entries.iter().enumerate() {
            if done >= at_once {
                sim.pause(0, 2).await;
            }
            let struck = sim.strikes_other_call();
            let returned = guest.call(&sim, input, struck).inspect_err(|_| sim.count(Fault::TrapAtReplay))?;
            if sim.is_broken(Mutation::ReplayedOutputsSent) {
                self.send(self.epoch, &returned);
            }
            // What is broken on purpose is to be seen from outside.
            if sim.plan.mutation.is_none() && outputs.as_ref().is_some_and(|outputs| *outputs != returned) {
                sim.fail(format!("instance {} returned something else when a call was made again", self.at));
            }
        }
        Ok(guest)
    }
}

/// What came of a call, where a failure would be one of the same kind, or not.
fn compared<T>(came: Result<T, Trapped>, is_same: bool) -> Compared {
    match came {
        Ok(_) => Compared::Succeeded,
        Err(Trapped) if is_same => Compared::Same,
        Err(Trapped) => Compared::Otherwise,
    }
}
