//! A standby: a second instance beside one, kept by a thread that restores every snapshot to it.

use super::control::Control;
use super::instance_factory::{WasmFactory, restore};
use crate::wasm::{GuestError, Instance};
use reprise_core::operator::{StandbyInstance, VersionedChunk, state_bytes};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of snapshots that may wait for a standby, where its operator has less state than this; else as many as that has. One that is further
/// behind is given up: to restore a new one is less work.
const STANDBY_BEHIND_BYTES_MIN: u64 = 16 << 20;

enum Order {
    /// Restore this, too; with its bytes.
    Apply(Vec<Arc<VersionedChunk>>, u64),
    /// Hand the instance over.
    Take(SyncSender<Instance>),
}

/// A standby: a second instance, opened and restored, to which a thread of its own restores every snapshot as well. The thread ends when this is
/// dropped.
pub(super) struct Standby {
    orders: Sender<Order>,
    shared: Arc<StandbyShared>,
}

/// What both sides of a standby know.
#[derive(Default)]
struct StandbyShared {
    /// Bytes of the snapshots that are not restored to it yet.
    behind_bytes: AtomicU64,
    is_given_up: AtomicBool,
    /// The instance, once it was made, unless it was taken. Held while something is restored to it.
    made: Mutex<Option<Made>>,
}

/// Dropped in this order: the next one may be made when the instance is gone.
struct Made {
    instance: Instance,
    kept: Kept,
}

impl StandbyShared {
    fn made(&self) -> MutexGuard<'_, Option<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Made {
    /// The instance; the next standby may be made at once.
    fn take(self) -> Instance {
        drop(self.kept);
        self.instance
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.shared.is_given_up.store(true, Ordering::Release);
    }
}

impl Standby {
    /// Lets a thread make one. `None` where the last one is still on its way out, or where there is no thread to be had.
    /// Before, the thread drops instances that are not needed any more.
    pub fn start(factory: WasmFactory, state: Vec<Arc<VersionedChunk>>, dead: Vec<Instance>) -> Option<Self> {
        let kept = Kept::new(&factory.has_standby)?;
        let (orders, waiting) = channel();
        let shared = Arc::new(StandbyShared::default());
        let thread = StandbyThread {
            shared: Arc::clone(&shared),
            operator: factory.identity.operator.clone(),
            control: Arc::clone(&factory.control),
        };
        let name = format!("standby-{}", thread.operator);
        let member = factory.control.threads.join();
        let work = move || {
            let _member = member;
            // These before it, too, even where this thread panics.
            let (thread, waiting) = (thread, waiting);
            drop(dead);
            let made = factory.make_wanted(&state, &|| thread.is_wanted());
            drop(state);
            match made {
                Ok(instance) => thread.keep(Made { instance, kept }, &waiting),
                Err((error, context)) => thread.lost(&error, context),
            }
        };
        match std::thread::Builder::new().name(name).spawn(work) {
            Ok(_) => Some(Self { orders, shared }),
            Err(error) => {
                tracing::warn!(%error, "there is no standby: its thread cannot be started");
                None
            }
        }
    }
}

impl StandbyInstance for Standby {
    type Guest = Instance;

    fn apply(&self, changes: Vec<Arc<VersionedChunk>>, of_bytes: u64) -> bool {
        let bytes = state_bytes(&changes);
        let behind_bytes = self.shared.behind_bytes.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        behind_bytes <= of_bytes.max(STANDBY_BEHIND_BYTES_MIN) && self.orders.send(Order::Apply(changes, bytes)).is_ok()
    }

    fn take_if_ready(self) -> Result<Instance, Self> {
        let is_ready = self.shared.behind_bytes.load(Ordering::Acquire) == 0;
        let made = self.shared.made.try_lock().ok().filter(|_| is_ready).and_then(|mut made| made.take());
        made.map(Made::take).ok_or(self)
    }

    fn take(self) -> Option<Instance> {
        let (hand_over, instance) = sync_channel(1);
        self.orders.send(Order::Take(hand_over)).ok()?;
        instance.recv().ok()
    }
}

/// True in a [`WasmFactory`] while this is there.
struct Kept(Arc<AtomicBool>);

impl Kept {
    /// `None` where there is one.
    fn new(has_standby: &Arc<AtomicBool>) -> Option<Self> {
        (!has_standby.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(has_standby)))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What the thread of a standby goes by.
struct StandbyThread {
    shared: Arc<StandbyShared>,
    operator: String,
    control: Arc<Control>,
}

impl StandbyThread {
    fn is_wanted(&self) -> bool {
        !self.shared.is_given_up.load(Ordering::Acquire) && !self.control.threads.is_dismissed()
    }

    fn lost(&self, error: &GuestError, context: &str) {
        if self.is_wanted() {
            tracing::warn!(operator = self.operator, %error, context, "there is no standby: its instance failed");
        }
    }

    fn keep(&self, made: Made, orders: &Receiver<Order>) {
        *self.shared.made() = Some(made);
        while let Ok(order) = orders.recv() {
            match order {
                Order::Apply(changes, bytes) => {
                    let mut held = self.shared.made();
                    let Some(made) = held.as_mut() else { return };
                    if let Err(error) = restore(&mut made.instance, &changes, &|| self.is_wanted()) {
                        self.lost(&error, "while changes were restored");
                        break;
                    }
                    self.shared.behind_bytes.fetch_sub(bytes, Ordering::AcqRel);
                }
                Order::Take(hand_over) => {
                    let Some(made) = self.shared.made().take() else { return };
                    // The run may be over.
                    let _ = hand_over.send(made.take());
                    return;
                }
            }
        }
        // Here and not where it was given up: that takes time.
        drop(self.shared.made().take());
    }
}
