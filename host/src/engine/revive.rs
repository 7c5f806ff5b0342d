//! A successor for an instance that failed: a fresh one, restored from the image, that has repeated the calls since. All of it on a thread of
//! its own, so that the worker goes on with its other operators.
//!
//! ```text
//!            image ──restore──┐
//!  fresh instance ──open──────┴──> as of the last snapshot ──repeat the log──> as before the call that failed
//!                                        ^
//!                  standby, kept there by every snapshot
//! ```

use super::control::Control;
use super::crew::Crew;
use super::image::{self, Versioned};
use super::operator::{OperatorBlueprint, Wake};
use super::replay::{Entry, InputLog};
use crate::wasm::{Call, Component, GuestError, Identity, Instance};
use reprise_core::description::Description;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::time::{Duration, Instant};

/// Bytes of snapshots that may wait for a standby, where its operator has less state than this; else as many as that has. One that is further
/// behind is given up: to restore a new one is less work.
const STANDBY_BEHIND_BYTES_MIN: u64 = 16 << 20;

/// How instances of one place in the dataflow are made, each like the one before.
#[derive(Clone)]
pub(super) struct Maker {
    pub blueprint: Arc<OperatorBlueprint>,
    pub identity: Identity,
    pub parallelism: u32,
    /// The call of `open`, the same for each.
    pub open: Call,
    /// The threads that make and keep instances.
    pub crew: Arc<Crew>,
    /// A thread keeps a standby: one at a time, there is no room for more.
    pub is_kept: Arc<AtomicBool>,
}

impl Maker {
    /// A fresh instance, opened and restored. An error comes with what was done: where it fails, and where it is not `wanted` any more.
    pub fn make(&self, image: &[Arc<Versioned>], wanted: &dyn Fn() -> bool) -> Result<Instance, (GuestError, &'static str)> {
        let component: &Component = &self.blueprint.component;
        let instance = component.instantiate(&self.blueprint.limits, self.identity.clone());
        let mut instance = instance.map_err(|error| (error, "before its first row"))?;
        instance.open(&self.blueprint.settings.config, self.parallelism, self.open).map_err(|error| (error, "before its first row"))?;
        restore(&mut instance, image, wanted).map_err(|error| (error, "while its state was restored"))?;
        Ok(instance)
    }
}

/// Looks between two calls whether anybody wants it.
fn restore(instance: &mut Instance, chunks: &[Arc<Versioned>], wanted: &dyn Fn() -> bool) -> Result<(), GuestError> {
    let mut is_whole = true;
    let held = chunks.iter().take_while(|_| {
        is_whole = wanted();
        is_whole
    });
    instance.restore_all(held.map(|held| (held.version, &held.chunk)))?;
    if is_whole { Ok(()) } else { Err(GuestError::missing()) }
}

/// Why there is no successor.
#[derive(Debug)]
pub(super) enum Lost {
    /// It failed, too.
    Guest { error: GuestError, context: String },
    /// It returned something else than its predecessor did.
    Diverged { context: String },
    /// The run is over.
    Aborted,
    /// The host has no thread for it.
    Host(String),
}

/// A successor, or why there is none, with the log that it repeated.
pub(super) struct Revived {
    pub instance: Result<Instance, Lost>,
    pub log: InputLog,
    /// How long it took to restore; `None` where a standby was there.
    pub restored: Option<Duration>,
}

/// A successor in the making.
pub(super) struct Revival {
    done: Receiver<Revived>,
}

/// What a successor is made of.
pub(super) struct Remains {
    pub maker: Maker,
    pub image: Vec<Arc<Versioned>>,
    pub log: InputLog,
    pub standby: Option<Standby>,
    /// The instance that failed: dropping it takes time, too.
    pub dead: Option<Instance>,
    pub control: Arc<Control>,
}

impl Revival {
    /// Begins. `wake` is called when the successor is there, or will never be.
    pub fn begin(remains: Remains, wake: Wake) -> Result<Self, String> {
        let (sender, done) = sync_channel(1);
        let name = format!("revive-{}", remains.maker.identity.operator);
        let enlisted = remains.maker.crew.enlist();
        let work = move || {
            // Dropped last, when no instance is left.
            let _enlisted = enlisted;
            let waking = WakeOnDrop(wake);
            let dead = revive(remains, sender);
            drop(waking);
            drop(dead);
        };
        std::thread::Builder::new().name(name).spawn(work).map_err(|error| error.to_string())?;
        Ok(Self { done })
    }

    /// The successor, once it is there.
    pub fn take(&self) -> Option<Revived> {
        match self.done.try_recv() {
            Ok(revived) => Some(revived),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                let instance = Err(Lost::Host("the thread that makes a new instance is gone".to_owned()));
                Some(Revived { instance, log: InputLog::default(), restored: None })
            }
        }
    }
}

/// Wakes whoever waits for a thread, whatever becomes of it.
struct WakeOnDrop(Wake);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn revive(remains: Remains, sender: SyncSender<Revived>) -> Option<Instance> {
    let Remains { maker, image, log, standby, dead, control } = remains;
    let began = Instant::now();
    let (made, restored, dead) = match standby.and_then(Standby::take) {
        Some(instance) => (Ok(instance), None, dead),
        None => {
            // Its successor takes over its pages: fresh ones would have to be asked for.
            drop(dead);
            let made = maker
                .make(&image, &|| !maker.crew.is_dismissed())
                .map_err(|(error, context)| Lost::Guest { error, context: context.to_owned() });
            (made, Some(began.elapsed()), None)
        }
    };
    let instance = made.and_then(|mut instance| {
        repeat(&mut instance, log.entries(), &maker.blueprint.description, &control)?;
        Ok(instance)
    });
    // Nobody listens where the run is over.
    let _ = sender.send(Revived { instance, log, restored });
    dead
}

/// Makes the calls of a log again, and drops what they return.
fn repeat(instance: &mut Instance, entries: &[Arc<Entry>], description: &Description, control: &Control) -> Result<(), Lost> {
    let inputs = &description.inputs;
    for entry in entries {
        if control.aborted() {
            return Err(Lost::Aborted);
        }
        let outcome = entry.input.make(instance, entry.call).map_err(|error| {
            let context = format!("while its calls were repeated: {}", entry.input.describe(inputs));
            Lost::Guest { error, context }
        })?;
        // What it logged was handed on the first time.
        drop(instance.take_log());
        if let Some(difference) = entry.returned.difference(&outcome) {
            let (given, difference) = (entry.input.describe(inputs), difference.describe(&description.outputs));
            return Err(Lost::Diverged { context: format!("call {}, {given}\n  {difference}", entry.call.number) });
        }
    }
    Ok(())
}

enum Order {
    /// Restore this, too; with its bytes.
    Apply(Vec<Arc<Versioned>>, u64),
    /// Hand the instance over.
    Take(SyncSender<Instance>),
}

/// A second instance, opened and restored, that every snapshot is restored to as well. It lives on a thread of its own, which ends when this is
/// dropped.
pub(super) struct Standby {
    orders: Sender<Order>,
    standing: Arc<Standing>,
}

/// What both sides of a standby know.
#[derive(Default)]
struct Standing {
    /// Bytes of the snapshots that wait for it.
    behind_bytes: AtomicU64,
    is_given_up: AtomicBool,
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.standing.is_given_up.store(true, Ordering::Release);
    }
}

impl Standby {
    /// Lets a thread make one. `None` where the last one is still on its way out, or where there is no thread to be had.
    pub fn start(maker: Maker, image: Vec<Arc<Versioned>>) -> Option<Self> {
        let kept = Kept::new(&maker.is_kept)?;
        let (orders, waiting) = channel();
        let standing = Arc::new(Standing::default());
        let keeper = Keeper { standing: Arc::clone(&standing), operator: maker.identity.operator.clone(), crew: Arc::clone(&maker.crew) };
        let name = format!("standby-{}", keeper.operator);
        let enlisted = maker.crew.enlist();
        let work = move || {
            let _enlisted = enlisted;
            let made = maker.make(&image, &|| keeper.is_wanted());
            drop(image);
            match made {
                Ok(instance) => keeper.keep(kept, instance, &waiting),
                Err((error, context)) => keeper.lost(&error, context),
            }
        };
        match std::thread::Builder::new().name(name).spawn(work) {
            Ok(_) => Some(Self { orders, standing }),
            Err(error) => {
                tracing::warn!(%error, "there is no standby: its thread cannot be started");
                None
            }
        }
    }

    /// Restores changes to it, some time soon. `state_bytes`: of its operator. False where it is too far behind, or gone.
    pub fn apply(&self, changes: Vec<Arc<Versioned>>, state_bytes: u64) -> bool {
        let bytes = image::bytes(&changes);
        let behind_bytes = self.standing.behind_bytes.fetch_add(bytes, Ordering::AcqRel).saturating_add(bytes);
        behind_bytes <= state_bytes.max(STANDBY_BEHIND_BYTES_MIN) && self.orders.send(Order::Apply(changes, bytes)).is_ok()
    }

    /// The instance, with all that was applied; `None` where it failed.
    fn take(self) -> Option<Instance> {
        let (hand_over, instance) = sync_channel(1);
        self.orders.send(Order::Take(hand_over)).ok()?;
        instance.recv().ok()
    }
}

/// True in a [`Maker`] while this is there.
struct Kept(Arc<AtomicBool>);

impl Kept {
    /// `None` where there is one.
    fn new(is_kept: &Arc<AtomicBool>) -> Option<Self> {
        (!is_kept.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(is_kept)))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What the thread of a standby goes by.
struct Keeper {
    standing: Arc<Standing>,
    operator: String,
    crew: Arc<Crew>,
}

impl Keeper {
    fn is_wanted(&self) -> bool {
        !self.standing.is_given_up.load(Ordering::Acquire) && !self.crew.is_dismissed()
    }

    fn lost(&self, error: &GuestError, context: &str) {
        if self.is_wanted() {
            tracing::warn!(operator = self.operator, %error, context, "there is no standby: its instance failed");
        }
    }

    /// `kept` is dropped after the instance.
    fn keep(&self, kept: Kept, mut instance: Instance, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Apply(changes, bytes) => {
                    if let Err(error) = restore(&mut instance, &changes, &|| self.is_wanted()) {
                        return self.lost(&error, "while changes were restored");
                    }
                    self.standing.behind_bytes.fetch_sub(bytes, Ordering::AcqRel);
                }
                Order::Take(hand_over) => {
                    // Whoever takes it wants the next one at once.
                    drop(kept);
                    // Nobody waits where the run is over.
                    let _ = hand_over.send(instance);
                    return;
                }
            }
        }
    }
}
