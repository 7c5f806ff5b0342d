//! A standby of the simulation: a second guest, to which a task of its own restores every snapshot.

use crate::clockwork::{Queue, Signal};
use crate::guest::SimGuest;
use crate::mutation::Mutation;
use crate::operator::Place;
use crate::plan::Fault;
use reprise_core::operator::{StandbyInstance, VersionedChunk};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// A standby.
pub struct SimStandby {
    place: Rc<Place>,
    orders: Queue<Vec<Arc<VersionedChunk>>>,
    shared: Rc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Snapshots that are not restored yet.
    behind: Cell<usize>,
    has_failed: Cell<bool>,
    /// The guest, once it was made, while nothing is restored to it.
    guest: RefCell<Option<SimGuest>>,
    changed: Signal,
}

impl SimStandby {
    /// Starts one.
    #[must_use]
    pub fn start(place: &Rc<Place>, state: Vec<Arc<VersionedChunk>>) -> Self {
        let standby = Self { place: Rc::clone(place), orders: Queue::default(), shared: Rc::default() };
        let (orders, shared, place) = (standby.orders.clone(), Rc::clone(&standby.shared), Rc::clone(place));
        let sim = place.sim.clone();
        sim.clone().spawn(place.run.host, place.run.engine, async move {
            sim.pause(0, 40).await;
            *shared.guest.borrow_mut() = Some(SimGuest::restored(&place, &state));
            drop(state);
            shared.changed.notify(&sim);
            while let Some(changes) = orders.pop(&sim).await {
                sim.pause(0, 40).await;
                let Some(mut guest) = shared.guest.borrow_mut().take() else { break };
                if sim.strikes_other_call() {
                    sim.count(Fault::StandbyFails);
                    shared.has_failed.set(true);
                    break;
                }
                guest.restore(&changes);
                *shared.guest.borrow_mut() = Some(guest);
                shared.behind.set(shared.behind.get().saturating_sub(1));
                shared.changed.notify(&sim);
            }
            shared.changed.notify(&sim);
        });
        standby
    }

    /// Waits until all was restored, or the standby has failed.
    pub fn settled(&self) -> impl Future<Output = ()> + 'static {
        let (shared, sim) = (Rc::clone(&self.shared), self.place.sim.clone());
        async move {
            while !shared.has_failed.get() && (shared.behind.get() > 0 || shared.guest.borrow().is_none()) {
                shared.changed.wait(&sim).await;
            }
        }
    }
}

impl Drop for SimStandby {
    fn drop(&mut self) {
        self.orders.close(&self.place.sim);
    }
}

impl StandbyInstance for SimStandby {
    type Guest = SimGuest;

    fn apply(&self, changes: Vec<Arc<VersionedChunk>>, _: u64) -> bool {
        let sim = &self.place.sim;
        if self.shared.has_failed.get() || self.shared.behind.get() >= sim.plan.trouble.standby_behind_max {
            sim.count(Fault::StandbyBehind);
            return false;
        }
        self.shared.behind.set(self.shared.behind.get() + 1);
        self.orders.push(sim, changes);
        true
    }

    fn take_if_ready(self) -> Result<SimGuest, Self> {
        let sim = &self.place.sim;
        let is_ready = self.shared.behind.get() == 0 || sim.is_broken(Mutation::StandbyTakenBehind);
        let guest = self.shared.guest.borrow_mut().take_if(|_| is_ready);
        guest.inspect(|_| sim.count(Fault::StandbyReady)).ok_or(self)
    }

    fn take(self) -> Option<SimGuest> {
        self.shared.guest.borrow_mut().take()
    }
}
