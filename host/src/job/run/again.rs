//! How a run goes on for rows of the quarantine that are to be sent again: not at once, and not for ever where there are none. And what it
//! keeps for people.

use super::attempt::{Job, asked};
use crate::job::replay::Replays;
use crate::job::tidy;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Time from one attempt to the next where the first ends for rows that the next one sends again.
const AGAIN_MIN: Duration = Duration::from_secs(1);
/// Attempts in a row that may end for rows to send again where there are none: after that the run looks for no more.
const AGAIN_IDLE_MAX: u32 = 3;

impl Job {
    /// Waits before the attempt that sends rows again; a user who asks to stop meanwhile ends the wait. `began`: when the one before it did.
    pub(super) async fn rest(&self, began: Instant) {
        self.idle.fetch_add(1, Ordering::Relaxed);
        let mut stop = self.options.stop.clone();
        tokio::select! {
            () = tokio::time::sleep(AGAIN_MIN.saturating_sub(began.elapsed())) => {}
            () = asked(&mut stop) => {}
        }
    }

    /// False where attempts ended for rows to send again, time after time, and there were none.
    pub(super) fn looks_for_replays(&self, replays: &Replays) -> bool {
        if replays.rows() > 0 {
            self.idle.store(0, Ordering::Relaxed);
        }
        let looks = self.idle.load(Ordering::Relaxed) < AGAIN_IDLE_MAX;
        if !looks {
            tracing::warn!("requests to send rows of the quarantine again come to nothing; this run looks for no more of them");
        }
        looks
    }

    /// What is kept for people.
    pub(super) fn rules(&self) -> tidy::Rules {
        let topology = &self.plan().topology;
        let components = self.prepared.components.iter().map(|component| component.digest()).collect();
        tidy::Rules { quarantine: topology.quarantine, capsules: topology.capsules, components }
    }
}
