//! Tasks in simulated time: one thread, no waiting. Of the tasks that could go on, chance picks the next one; when none can, the clock jumps
//! to the next timer.
//!
//! Each task belongs to a host. A host that crashes loses its tasks, wherever they are; those of a frozen host wait until it thaws. What
//! belongs to [`NETWORK`] is under way on its own, whatever becomes of who sent it.

use crate::world::Sim;
use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Index of a host.
pub type HostId = usize;
/// No host: requests under way, and the world's own tasks.
pub const NETWORK: HostId = usize::MAX;
/// A group of tasks of a host that can end while the host goes on.
pub type Scope = u64;
/// Tasks that end with their host.
pub const WHOLE: Scope = 0;

type TaskId = u64;
type Work = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    host: HostId,
    scope: Scope,
    work: Work,
}

enum Change {
    Spawn(TaskId, Task),
    KillHost(HostId),
    KillScope(Scope),
}

/// The clock, the timers, and who may go on.
#[derive(Default)]
pub struct Turns {
    now: u64,
    sequence: u64,
    current: TaskId,
    timers: BinaryHeap<Reverse<(u64, u64, TaskId)>>,
    ready: Vec<TaskId>,
    frozen: BTreeSet<HostId>,
    parked: Vec<(HostId, TaskId)>,
    changes: Vec<Change>,
    steps: u64,
}

impl Turns {
    fn next_number(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn wake(&mut self, task: TaskId) {
        if !self.ready.contains(&task) {
            self.ready.push(task);
        }
    }
}

/// Runs until nothing is left to do, or something is wrong. `steps_max`: more counts as a job that does not come to its end.
pub fn run(sim: &Sim, steps_max: u64) {
    let mut tasks: BTreeMap<TaskId, Task> = BTreeMap::new();
    let mut context = Context::from_waker(Waker::noop());
    while !sim.has_failed() {
        apply_changes(sim, &mut tasks);
        let Some(id) = next(sim) else { break };
        let Some(mut task) = tasks.remove(&id) else { continue };
        let parks = {
            let mut turns = sim.turns.borrow_mut();
            let parks = turns.frozen.contains(&task.host);
            if parks {
                turns.parked.push((task.host, id));
            } else {
                turns.current = id;
                turns.steps += 1;
            }
            parks
        };
        if parks || task.work.as_mut().poll(&mut context).is_pending() {
            tasks.insert(id, task);
        }
        if sim.turns.borrow().steps > steps_max {
            sim.fail(format!("the job has not come to its end after {steps_max} steps"));
        }
    }
    // What holds the world is dropped before the world.
    drop(tasks);
    let left = std::mem::take(&mut sim.turns.borrow_mut().changes);
    drop(left);
}

fn apply_changes(sim: &Sim, tasks: &mut BTreeMap<TaskId, Task>) {
    let changes = std::mem::take(&mut sim.turns.borrow_mut().changes);
    for change in changes {
        match change {
            Change::Spawn(id, task) => {
                tasks.insert(id, task);
                sim.turns.borrow_mut().wake(id);
            }
            Change::KillHost(host) => tasks.retain(|_, task| task.host != host),
            Change::KillScope(scope) => tasks.retain(|_, task| task.scope != scope),
        }
    }
}

/// The next task to poll; moves the clock where nobody can go on.
fn next(sim: &Sim) -> Option<TaskId> {
    let mut turns = sim.turns.borrow_mut();
    if turns.ready.is_empty() {
        let Reverse((at, _, task)) = turns.timers.pop()?;
        turns.now = at;
        turns.wake(task);
        while let Some(Reverse((also, _, _))) = turns.timers.peek() {
            if *also > at {
                break;
            }
            if let Some(Reverse((_, _, task))) = turns.timers.pop() {
                turns.wake(task);
            }
        }
    }
    let place = sim.random.borrow_mut().below(turns.ready.len() as u64) as usize;
    Some(turns.ready.swap_remove(place))
}

impl Sim {
    /// Simulated time, in milliseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.turns.borrow().now
    }

    /// Polls made so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.turns.borrow().steps
    }

    /// Starts a task.
    pub fn spawn(&self, host: HostId, scope: Scope, work: impl Future<Output = ()> + 'static) {
        let mut turns = self.turns.borrow_mut();
        let id = turns.next_number();
        turns.changes.push(Change::Spawn(id, Task { host, scope, work: Box::pin(work) }));
    }

    /// A scope of its own.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.turns.borrow_mut().next_number()
    }

    /// Ends all tasks of a host, where they are.
    pub fn kill_host(&self, host: HostId) {
        let mut turns = self.turns.borrow_mut();
        turns.changes.push(Change::KillHost(host));
        turns.frozen.remove(&host);
        turns.parked.retain(|(of, _)| *of != host);
    }

    /// Ends all tasks of a scope.
    pub fn kill_scope(&self, scope: Scope) {
        self.turns.borrow_mut().changes.push(Change::KillScope(scope));
    }

    /// Stops all tasks of a host.
    pub fn still(&self, host: HostId) {
        self.turns.borrow_mut().frozen.insert(host);
    }

    /// Lets them go on.
    pub fn thaw(&self, host: HostId) {
        let mut turns = self.turns.borrow_mut();
        turns.frozen.remove(&host);
        let parked = std::mem::take(&mut turns.parked);
        for (of, task) in parked {
            if of == host { turns.wake(task) } else { turns.parked.push((of, task)) }
        }
    }

    /// True while the host stands still.
    #[must_use]
    pub fn is_frozen(&self, host: HostId) -> bool {
        self.turns.borrow().frozen.contains(&host)
    }

    /// Waits so many milliseconds; 0 lets others go first.
    pub fn sleep(&self, ms: u64) -> Sleep {
        Sleep { sim: self.clone(), until: self.now() + ms, armed: false }
    }

    /// Waits from `low` to `high` milliseconds.
    pub fn pause(&self, low: u64, high: u64) -> Sleep {
        let ms = self.random.borrow_mut().between(low, high);
        self.sleep(ms)
    }
}

/// See [`Sim::sleep`].
pub struct Sleep {
    sim: Sim,
    until: u64,
    armed: bool,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let mut turns = self.sim.turns.borrow_mut();
        if self.armed && turns.now >= self.until {
            return Poll::Ready(());
        }
        if !self.armed {
            let (sequence, current) = (turns.next_number(), turns.current);
            turns.timers.push(Reverse((self.until, sequence, current)));
        }
        drop(turns);
        self.armed = true;
        Poll::Pending
    }
}

/// Something may have changed: wakes all who wait. They must look for themselves.
#[derive(Clone, Default)]
pub struct Signal(Rc<RefCell<Vec<TaskId>>>);

impl Signal {
    /// Wakes them.
    pub fn notify(&self, sim: &Sim) {
        let waiting = std::mem::take(&mut *self.0.borrow_mut());
        let mut turns = sim.turns.borrow_mut();
        waiting.into_iter().for_each(|task| turns.wake(task));
    }

    /// Waits for the next time.
    pub async fn wait(&self, sim: &Sim) {
        let mut asked = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(());
            }
            self.0.borrow_mut().push(sim.turns.borrow().current);
            Poll::Pending
        })
        .await;
    }
}

struct Waiting<T> {
    items: VecDeque<T>,
    closed: bool,
}

/// A queue with one reader.
pub struct Queue<T> {
    waiting: Rc<RefCell<Waiting<T>>>,
    signal: Signal,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { waiting: Rc::clone(&self.waiting), signal: self.signal.clone() }
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { waiting: Rc::new(RefCell::new(Waiting { items: VecDeque::new(), closed: false })), signal: Signal::default() }
    }
}

impl<T> Queue<T> {
    /// Adds something. What comes after the end is lost.
    pub fn push(&self, sim: &Sim, item: T) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.closed {
            waiting.items.push_back(item);
        }
        drop(waiting);
        self.signal.notify(sim);
    }

    /// Nothing more will come.
    pub fn close(&self, sim: &Sim) {
        self.waiting.borrow_mut().closed = true;
        self.signal.notify(sim);
    }

    /// The next one; `None` at the end.
    pub async fn pop(&self, sim: &Sim) -> Option<T> {
        loop {
            {
                let mut waiting = self.waiting.borrow_mut();
                if let Some(item) = waiting.items.pop_front() {
                    return Some(item);
                }
                if waiting.closed {
                    return None;
                }
            }
            self.signal.wait(sim).await;
        }
    }
}
