//! A successor for an instance that failed: a fresh one, restored from the image, that has repeated the calls since.
//!
//! ```text
//!            image ──restore──┐
//!  fresh instance ──open──────┴──> as of the last snapshot ──repeat the log──> as before the call that failed
//!                                        ^
//!                  standby, kept there by every snapshot
//! ```
//!
//! A standby that is ready repeats a few calls at once, on the worker. Whatever takes longer is done on a thread of its own, so that the worker
//! goes on with its other operators.

use super::control::Control;
use super::crew::Crew;
use super::image::{self, Versioned};
use super::operator::{OperatorBlueprint, Wake};
use super::replay::{Entry, InputLog};
use super::trial::Trial;
use crate::wasm::{Call, Component, GuestError, Instance, InstanceIdentity};
use reprise_core::description::Description;
use reprise_core::failure::blame::Blame;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of snapshots that may wait for a standby, where its operator has less state than this; else as many as that has. One that is further
/// behind is given up: to restore a new one is less work.
const STANDBY_BEHIND_BYTES_MIN: u64 = 16 << 20;

/// How long the worker itself may repeat calls, but for the last of them. Neighbours wait so long; a thread would have to wait for a processor,
/// and the worker for the thread.
pub(super) const AT_ONCE_MAX: Duration = Duration::from_millis(10);

/// How instances of one place in the dataflow are made, each like the one before.
#[derive(Clone)]
pub(super) struct Maker {
    pub blueprint: Arc<OperatorBlueprint>,
    pub identity: InstanceIdentity,
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
    /// The thread that was to make it is gone.
    Host(String),
}

/// A successor, or why there is none, with the log that it repeated.
pub(super) struct Revived {
    pub instance: Result<Instance, Lost>,
    pub log: InputLog,
    /// How long it took to restore; `None` where a standby was there.
    pub restored: Option<Duration>,
    /// Instances that failed and are not dropped yet.
    pub dead: Vec<Instance>,
    /// Who is to blame, where that was to be found out.
    pub blame: Option<Blame>,
    /// How long that took.
    pub tried: Duration,
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
    pub successor: Successor,
    /// Instances that failed: dropping them takes time, too.
    pub dead: Vec<Instance>,
    pub control: Arc<Control>,
    /// What is to be found out before.
    pub trial: Option<Trial>,
}

/// What there is of a successor when its predecessor fails.
pub(super) enum Successor {
    /// Nothing.
    Unmade,
    /// A standby that has something to restore still.
    Behind(Standby),
    /// One as of the last snapshot, that has repeated so many calls since.
    Ready(Box<Instance>, usize),
}

impl Successor {
    /// What there is where this is kept.
    pub fn of(standby: Option<Standby>) -> Self {
        match standby.map(Standby::take_if_ready) {
            None => Self::Unmade,
            Some(Err(standby)) => Self::Behind(standby),
            Some(Ok(instance)) => Self::Ready(Box::new(instance), 0),
        }
    }
}

impl Remains {
    /// The successor, or why there will be none, where that is a matter of so little time; else what there is by then.
    pub fn at_once(mut self, within: Duration) -> Result<Revived, Box<Self>> {
        let (mut instance, repeated) = match self.successor {
            Successor::Ready(instance, repeated) if self.log.logged().busy <= within && self.trial.is_none() => (instance, repeated),
            other => {
                self.successor = other;
                return Err(Box::new(self));
            }
        };
        let (entries, until) = (self.log.entries(), Instant::now() + within);
        let instance = match repeat(&mut instance, entries, repeated, &self.maker.blueprint.description, &self.control, Some(until)) {
            Ok(repeated) if repeated < entries.len() => {
                self.successor = Successor::Ready(instance, repeated);
                return Err(Box::new(self));
            }
            Ok(_) => Ok(*instance),
            Err(lost) => {
                self.dead.push(*instance);
                Err(lost)
            }
        };
        Ok(Revived { instance, log: self.log, restored: None, dead: self.dead, blame: None, tried: Duration::ZERO })
    }
}

impl Revival {
    /// Lets a thread make a successor. `wake` is called when it is there, or will never be.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn begin(remains: Remains, wake: Wake) -> std::io::Result<Self> {
        let (sender, done) = sync_channel(1);
        let name = format!("revive-{}", remains.maker.identity.operator);
        let enlisted = remains.maker.crew.enlist();
        let work = move || {
            // Dropped last, when no instance is left.
            let _enlisted = enlisted;
            let waking = WakeOnDrop(wake);
            let dead = revive(remains, &sender);
            drop(waking);
            drop(dead);
        };
        std::thread::Builder::new().name(name).spawn(work)?;
        Ok(Self { done })
    }

    /// The successor, once it is there.
    pub fn take(&self) -> Option<Revived> {
        match self.done.try_recv() {
            Ok(revived) => Some(revived),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                let instance = Err(Lost::Host("the thread that makes a new instance is gone".to_owned()));
                let (log, dead) = (InputLog::default(), Vec::new());
                Some(Revived { instance, log, restored: None, dead, blame: None, tried: Duration::ZERO })
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

fn revive(remains: Remains, sender: &SyncSender<Revived>) -> Vec<Instance> {
    let Remains { maker, image, log, successor, mut dead, control, trial } = remains;
    let began = Instant::now();
    let blame = trial.map(|trial| {
        // There is room for one instance more.
        dead.clear();
        trial.decide(&maker, &image, log.entries(), &control)
    });
    let tried = began.elapsed();
    let ready = match successor {
        Successor::Unmade => None,
        Successor::Behind(standby) => standby.take().map(|instance| (instance, 0)),
        Successor::Ready(instance, repeated) => Some((*instance, repeated)),
    };
    let began = Instant::now();
    let (made, restored, dead) = match ready {
        Some(ready) => (Ok(ready), None, dead),
        None => {
            // Its successor takes over its pages: fresh ones would have to be asked for.
            drop(dead);
            let made = maker.make(&image, &|| !maker.crew.is_dismissed());
            let made = made.map_err(|(error, context)| Lost::Guest { error, context: context.to_owned() });
            (made.map(|instance| (instance, 0)), Some(began.elapsed()), Vec::new())
        }
    };
    let instance = made.and_then(|(mut instance, repeated)| {
        repeat(&mut instance, log.entries(), repeated, &maker.blueprint.description, &control, None)?;
        Ok(instance)
    });
    // Nobody listens where the run is over.
    let _ = sender.send(Revived { instance, log, restored, dead: Vec::new(), blame, tried });
    dead
}

/// Makes the calls of a log again, from one of them, and drops what they return. Says how many are done: all, or as many as have begun by a
/// time.
pub(super) fn repeat(
    instance: &mut Instance,
    entries: &[Arc<Entry>],
    from: usize,
    description: &Description,
    control: &Control,
    until: Option<Instant>,
) -> Result<usize, Lost> {
    let inputs = &description.inputs;
    for (index, entry) in entries.iter().enumerate().skip(from) {
        if control.aborted() {
            return Err(Lost::Aborted);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(index);
        }
        instance.set_repeating(true);
        let repeated = entry.input.make(instance, entry.call);
        instance.set_repeating(false);
        let outcome = repeated.map_err(|error| {
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
    Ok(entries.len())
}

enum Order {
    /// Restore this, too; with its bytes.
    Apply(Vec<Arc<Versioned>>, u64),
    /// Hand the instance over.
    Take(SyncSender<Instance>),
}

/// A second instance, opened and restored, to which a thread of its own restores every snapshot as well. The thread ends when this is dropped.
pub(super) struct Standby {
    orders: Sender<Order>,
    standing: Arc<Standing>,
}

/// What both sides of a standby know.
#[derive(Default)]
struct Standing {
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

impl Standing {
    fn made(&self) -> MutexGuard<'_, Option<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Made {
    /// Whoever takes it wants the next one at once.
    fn take(self) -> Instance {
        drop(self.kept);
        self.instance
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.standing.is_given_up.store(true, Ordering::Release);
    }
}

impl Standby {
    /// Lets a thread make one. `None` where the last one is still on its way out, or where there is no thread to be had.
    /// Before, the thread drops instances that are not needed any more.
    pub fn start(maker: Maker, image: Vec<Arc<Versioned>>, dead: Vec<Instance>) -> Option<Self> {
        let kept = Kept::new(&maker.is_kept)?;
        let (orders, waiting) = channel();
        let standing = Arc::new(Standing::default());
        let keeper = Keeper { standing: Arc::clone(&standing), operator: maker.identity.operator.clone(), crew: Arc::clone(&maker.crew) };
        let name = format!("standby-{}", keeper.operator);
        let enlisted = maker.crew.enlist();
        let work = move || {
            let _enlisted = enlisted;
            // These before it, too, even where this thread panics.
            let (keeper, waiting) = (keeper, waiting);
            drop(dead);
            let made = maker.make(&image, &|| keeper.is_wanted());
            drop(image);
            match made {
                Ok(instance) => keeper.keep(Made { instance, kept }, &waiting),
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

    /// The instance, where all was restored to it.
    pub fn take_if_ready(self) -> Result<Instance, Self> {
        let is_ready = self.standing.behind_bytes.load(Ordering::Acquire) == 0;
        let made = self.standing.made.try_lock().ok().filter(|_| is_ready).and_then(|mut made| made.take());
        made.map(Made::take).ok_or(self)
    }

    /// The instance, once all was restored to it; `None` where it failed.
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

    fn keep(&self, made: Made, orders: &Receiver<Order>) {
        *self.standing.made() = Some(made);
        while let Ok(order) = orders.recv() {
            match order {
                Order::Apply(changes, bytes) => {
                    let mut held = self.standing.made();
                    let Some(made) = held.as_mut() else { return };
                    if let Err(error) = restore(&mut made.instance, &changes, &|| self.is_wanted()) {
                        self.lost(&error, "while changes were restored");
                        break;
                    }
                    self.standing.behind_bytes.fetch_sub(bytes, Ordering::AcqRel);
                }
                Order::Take(hand_over) => {
                    let Some(made) = self.standing.made().take() else { return };
                    // Nobody waits where the run is over.
                    let _ = hand_over.send(made.take());
                    return;
                }
            }
        }
        // Here and not where it was given up: that takes time.
        drop(self.standing.made().take());
    }
}
