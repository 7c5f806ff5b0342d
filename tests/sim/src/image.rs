//! What the host holds of an instance, so that it can come back: its state as of the last snapshot, the calls since then, and perhaps a second
//! instance that stands by.

use crate::clockwork::{Queue, Signal};
use crate::guest::{Guest, Input};
use crate::input::Row;
use crate::mutation::Mutation;
use crate::plan::Fault;
use crate::run::Run;
use crate::world::Sim;
use reprise_core::cells::Chunk;
use reprise_core::checkpoint::chain;
use reprise_core::failure::pace::Logged;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// What a cell counts beside its bytes.
const CELL_BYTES: u64 = 12;

/// State as of the last snapshot: chunks in the order in which they are restored.
#[derive(Debug, Default)]
pub struct Image {
    chunks: Vec<Rc<Chunk>>,
    folding: Option<Folding>,
}

/// Chunks that are being folded into one state, beside everything else.
#[derive(Debug)]
struct Folding {
    /// How many at the front.
    chunks: usize,
    folded: Vec<Chunk>,
    done_ms: u64,
}

impl Image {
    /// Of a full state.
    #[must_use]
    pub fn new(chunks: Vec<Rc<Chunk>>) -> Self {
        Self { chunks, folding: None }
    }

    /// The chunks.
    #[must_use]
    pub fn chunks(&self) -> &[Rc<Chunk>] {
        &self.chunks
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.size_bytes() as u64 + chunk.len() as u64 * CELL_BYTES).sum()
    }

    /// Adds changes; takes what was folded, and folds again where there is much.
    pub fn append(&mut self, sim: &Sim, changes: &[Rc<Chunk>]) {
        self.chunks.extend(changes.iter().cloned());
        if let Some(Folding { chunks, folded, .. }) = self.folding.take_if(|folding| folding.done_ms <= sim.now()) {
            let more = usize::from(sim.is_broken(Mutation::FoldLosesNewer) && chunks < self.chunks.len());
            self.chunks.splice(..chunks + more, folded.into_iter().map(Rc::new));
            sim.count(Fault::ImageFolded);
        }
        if self.folding.is_none() && self.chunks.len() > sim.plan.trouble.fold_after {
            let plain: Vec<&Chunk> = self.chunks.iter().map(AsRef::as_ref).collect();
            let folded = chain::fold(&plain).expect("the cells of a simulation are few");
            self.folding = Some(Folding { chunks: plain.len(), folded, done_ms: sim.now() + sim.between(0, 60) });
        }
    }
}

/// A call that succeeded.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What it was given.
    pub input: Input,
    /// What it returned; `None` where that is not compared.
    pub outputs: Option<Vec<Row>>,
}

/// The calls since the last snapshot.
#[derive(Debug, Default)]
pub struct InputLog {
    /// In their order.
    pub entries: Vec<Entry>,
    /// What they cost.
    pub logged: Logged,
}

impl InputLog {
    /// Adds a call that took so long.
    pub fn push(&mut self, entry: Entry, busy: Duration) {
        self.logged.bytes += entry.input.bytes();
        self.logged.busy += busy;
        self.entries.push(entry);
    }

    /// Forgets all calls: a snapshot holds what they did.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

enum Order {
    /// Restore this, too.
    Apply(Vec<Rc<Chunk>>),
    /// Hand the instance over.
    Take,
}

/// A second instance, which takes snapshots in its own time.
pub struct Standby {
    orders: Queue<Order>,
    /// Snapshots that are not restored to it yet.
    behind: Rc<Cell<usize>>,
    failed: Rc<Cell<bool>>,
    /// The instance, once it was made, while nothing is restored to it.
    ready: Rc<RefCell<Option<Guest>>>,
    handed_over: Rc<RefCell<Option<Guest>>>,
    done: Signal,
}

impl Standby {
    /// Starts one.
    #[must_use]
    pub fn start(sim: &Sim, run: &Rc<Run>, at: u32, image: Vec<Rc<Chunk>>) -> Self {
        let standby = Self {
            orders: Queue::default(),
            behind: Rc::default(),
            failed: Rc::default(),
            ready: Rc::default(),
            handed_over: Rc::default(),
            done: Signal::default(),
        };
        let (orders, behind, failed) = (standby.orders.clone(), Rc::clone(&standby.behind), Rc::clone(&standby.failed));
        let instances = run.shape.instances();
        let (ready, handed_over) = (Rc::clone(&standby.ready), Rc::clone(&standby.handed_over));
        let (done, sim) = (standby.done.clone(), sim.clone());
        sim.clone().spawn(run.host, run.engine, async move {
            sim.pause(0, 40).await;
            *ready.borrow_mut() = Some(Guest::restored(at, instances, &image));
            drop(image);
            while let Some(order) = orders.pop(&sim).await {
                sim.pause(0, 40).await;
                let Some(mut guest) = ready.borrow_mut().take() else { break };
                match order {
                    Order::Apply(_) if sim.strikes_other_call() => {
                        sim.count(Fault::StandbyFails);
                        failed.set(true);
                        break;
                    }
                    Order::Apply(changes) => {
                        guest.restore(&changes);
                        *ready.borrow_mut() = Some(guest);
                        behind.set(behind.get().saturating_sub(1));
                    }
                    Order::Take => {
                        *handed_over.borrow_mut() = Some(guest);
                        break;
                    }
                }
            }
            done.notify(&sim);
        });
        standby
    }

    /// Restores changes to it, some time soon. False where it is too far behind, or gone.
    #[must_use]
    pub fn apply(&self, sim: &Sim, changes: Vec<Rc<Chunk>>) -> bool {
        if self.failed.get() || self.behind.get() >= sim.plan.trouble.standby_behind_max {
            return false;
        }
        self.behind.set(self.behind.get() + 1);
        self.orders.push(sim, Order::Apply(changes));
        true
    }

    /// The instance, where all was restored to it.
    pub fn take_if_ready(self, sim: &Sim) -> Result<Guest, Self> {
        let is_ready = self.behind.get() == 0 || sim.is_broken(Mutation::StandbyTakenBehind);
        let guest = self.ready.borrow_mut().take_if(|_| is_ready).ok_or(());
        guest.inspect(|_| self.orders.close(sim)).map_err(|()| self)
    }

    /// The instance, with all that was applied; `None` where it failed.
    pub async fn take(self, sim: &Sim) -> Option<Guest> {
        self.orders.push(sim, Order::Take);
        loop {
            if let Some(guest) = self.handed_over.borrow_mut().take() {
                return Some(guest);
            }
            if self.failed.get() {
                return None;
            }
            self.done.wait(sim).await;
        }
    }

    /// Lets it go.
    pub fn dismiss(self, sim: &Sim) {
        self.orders.close(sim);
    }
}
