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
use super::image::Versioned;
use super::operator::{OperatorBlueprint, Wake};
use super::replay::{Entry, InputLog, digest};
use crate::wasm::{Call, Component, GuestError, Identity, Instance};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// Snapshots that may wait for a standby. One that is further behind is given up for a new one.
const STANDBY_BEHIND_MAX: usize = 64;

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
}

impl Maker {
    /// A fresh instance, opened and restored. An error comes with what was done.
    pub fn make(&self, image: &[Arc<Versioned>]) -> Result<Instance, (GuestError, &'static str)> {
        let component: &Component = &self.blueprint.component;
        let instance = component.instantiate(&self.blueprint.limits, self.identity.clone());
        let mut instance = instance.map_err(|error| (error, "before its first row"))?;
        instance.open(&self.blueprint.settings.config, self.parallelism, self.open).map_err(|error| (error, "before its first row"))?;
        restore(&mut instance, image, &self.crew).map_err(|error| (error, "while its state was restored"))?;
        Ok(instance)
    }
}

/// An error where it fails, and where nobody waits for it any more.
fn restore(instance: &mut Instance, chunks: &[Arc<Versioned>], crew: &Crew) -> Result<(), GuestError> {
    let wanted = chunks.iter().take_while(|_| !crew.is_dismissed());
    instance.restore_all(wanted.map(|held| (held.version, &held.chunk)))?;
    if crew.is_dismissed() { Err(GuestError::missing()) } else { Ok(()) }
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
    let stood_by = standby.and_then(Standby::take);
    let is_restored_here = stood_by.is_none();
    // Where nothing stands by, the successor takes the pages of the dead one: fresh ones would have to be asked for.
    let dead = dead.filter(|_| !is_restored_here);
    let made = match stood_by {
        Some(instance) => Ok(instance),
        None => maker.make(&image).map_err(|(error, context)| Lost::Guest { error, context: context.to_owned() }),
    };
    let restored = is_restored_here.then(|| began.elapsed());
    let instance = made.and_then(|mut instance| {
        repeat(&mut instance, log.entries(), &maker.blueprint.description.inputs, &control)?;
        Ok(instance)
    });
    // Nobody listens where the run is over.
    let _ = sender.send(Revived { instance, log, restored });
    dead
}

/// Makes the calls of a log again, and drops what they return.
fn repeat(instance: &mut Instance, entries: &[Arc<Entry>], inputs: &[String], control: &Control) -> Result<(), Lost> {
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
        if digest(&outcome) != entry.digest {
            return Err(Lost::Diverged { context: format!("call {}, {}", entry.call.number, entry.input.describe(inputs)) });
        }
    }
    Ok(())
}

enum Order {
    /// Restore this, too.
    Apply(Vec<Arc<Versioned>>),
    /// Hand the instance over.
    Take(SyncSender<Instance>),
}

/// A second instance, opened and restored, that every snapshot is restored to as well. It lives on a thread of its own.
pub(super) struct Standby {
    orders: SyncSender<Order>,
}

impl Standby {
    /// Lets a thread make one. `None` where there is no thread to be had.
    pub fn start(maker: Maker, image: Vec<Arc<Versioned>>) -> Option<Self> {
        let (orders, waiting) = sync_channel(STANDBY_BEHIND_MAX);
        let name = format!("standby-{}", maker.identity.operator);
        let enlisted = maker.crew.enlist();
        let work = move || {
            let _enlisted = enlisted;
            let operator = maker.identity.operator.clone();
            let made = maker.make(&image);
            drop(image);
            match made {
                Ok(instance) => stand_by(instance, &waiting, &operator, &maker.crew),
                Err(_) if maker.crew.is_dismissed() => {}
                Err((error, context)) => tracing::warn!(operator, %error, context, "there is no standby: its instance failed"),
            }
        };
        match std::thread::Builder::new().name(name).spawn(work) {
            Ok(_) => Some(Self { orders }),
            Err(error) => {
                tracing::warn!(%error, "there is no standby: its thread cannot be started");
                None
            }
        }
    }

    /// Restores changes to it, some time soon. False where it is too far behind, or gone.
    pub fn apply(&self, changes: Vec<Arc<Versioned>>) -> bool {
        self.orders.try_send(Order::Apply(changes)).is_ok()
    }

    /// The instance, with all that was applied; `None` where it failed.
    fn take(self) -> Option<Instance> {
        let (hand_over, instance) = sync_channel(1);
        self.orders.send(Order::Take(hand_over)).ok()?;
        instance.recv().ok()
    }
}

fn stand_by(mut instance: Instance, orders: &Receiver<Order>, operator: &str, crew: &Crew) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Apply(changes) => {
                if let Err(error) = restore(&mut instance, &changes, crew) {
                    if !crew.is_dismissed() {
                        tracing::warn!(operator, %error, "there is no standby: its instance failed");
                    }
                    return;
                }
            }
            Order::Take(hand_over) => {
                // Nobody waits where the run is over.
                let _ = hand_over.send(instance);
                return;
            }
        }
    }
}
