//! The simulated object store: atomic for each object, put-if-absent, and as unreliable on the way there and back as a network is.
//!
//! ```text
//! request ──> on its way ──> takes effect ──> on its way back ──> answer
//!                │                                 └── lost
//!                ├── lost
//!                └── given up by its sender ......> takes effect late, even when the sender is dead
//! ```

use crate::clockwork::{HostId, NETWORK, Signal, WHOLE};
use crate::mutation::Mutation;
use crate::plan::Fault;
use crate::world::Sim;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Bytes of an object.
pub type Bytes = Rc<[u8]>;

/// What is there.
#[derive(Default)]
pub struct Objects {
    objects: BTreeMap<String, Bytes>,
    /// What was damaged: the checks of stored objects leave it out.
    pub damaged: BTreeSet<String>,
    /// Until then nothing is answered.
    away_until: u64,
    /// Requests that may still take effect.
    pub under_way: u64,
}

/// A request.
#[derive(Debug, Clone)]
pub enum Op {
    /// Create this object if it is absent.
    Put(String, Bytes),
    /// Read an object.
    Get(String),
    /// List names below a folder, after this one.
    List(String, Option<String>),
    /// Delete an object; one that is absent is deleted.
    Delete(String),
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Reply {
    /// To a put: it was absent.
    Put(bool),
    /// To a get.
    Got(Option<Bytes>),
    /// To a list: a page of names, and whether there are more.
    Names(Vec<String>, bool),
    /// To a delete.
    Deleted,
}

/// No answer: it may have happened, or may happen later.
#[derive(Debug, Clone, Copy)]
pub struct Lost;

enum Fate {
    Plain { there: u64, back: u64 },
    FailBefore(u64),
    LostAnswer { there: u64, back: u64 },
    Late { given_up: u64, arrives: u64 },
}

impl Objects {
    /// Everything that is there.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }

    /// An object, whatever the network does.
    #[must_use]
    pub fn peek(&self, path: &str) -> Option<Bytes> {
        self.objects.get(path).cloned()
    }

    /// Changes or removes an object, as no request can.
    pub fn damage(&mut self, path: &str, becomes: Option<Bytes>) {
        self.damaged.insert(path.to_owned());
        match becomes {
            Some(bytes) => self.objects.insert(path.to_owned(), bytes),
            None => self.objects.remove(path),
        };
    }
}

impl Sim {
    /// The store answers nothing for so many milliseconds.
    pub fn outage(&self, ms: u64) {
        self.note(format_args!("the store is away for {ms} ms"));
        self.count(Fault::Outage);
        self.store.borrow_mut().away_until = self.now() + ms;
    }

    fn fate(&self) -> Fate {
        let plan = &self.plan;
        let mut random = self.random.borrow_mut();
        let r = &mut *random;
        if self.is_calm() {
            return Fate::Plain { there: r.between(1, 5), back: r.between(1, 5) };
        }
        if self.now() < self.store.borrow().away_until {
            drop(random);
            self.count(Fault::FailedRequest);
            let arrives = self.chance(150);
            let ms = self.between(5, 60);
            return if arrives { Fate::LostAnswer { there: ms, back: 1 } } else { Fate::FailBefore(ms) };
        }
        let roll = r.below(1000);
        let mut edge = 0;
        let mut falls = |share: u64| {
            edge += share;
            roll < edge
        };
        if falls(plan.fail_before) {
            let ms = r.between(2, 80);
            self.count(Fault::FailedRequest);
            Fate::FailBefore(ms)
        } else if falls(plan.lost_answer) {
            self.count(Fault::LostAnswer);
            Fate::LostAnswer { there: r.between(1, 20), back: r.between(2, 80) }
        } else if falls(plan.late) {
            let longest = if r.chance(500) { 8_000 } else { 300 };
            Fate::Late { given_up: r.between(20, 100), arrives: r.between(1, longest) }
        } else if falls(plan.slow) {
            self.count(Fault::SlowRequest);
            Fate::Plain { there: r.between(1, 600), back: r.between(1, 600) }
        } else {
            Fate::Plain { there: r.between(1, 15), back: r.between(1, 15) }
        }
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`Lost`].
    pub async fn request(&self, host: HostId, op: Op) -> Result<Reply, Lost> {
        let answer: Rc<RefCell<Option<Result<Reply, Lost>>>> = Rc::default();
        let signal = Signal::default();
        let (sim, tell, ring) = (self.clone(), Rc::clone(&answer), signal.clone());
        let fate = self.fate();
        self.store.borrow_mut().under_way += 1;
        self.spawn(NETWORK, WHOLE, async move {
            let reply = |reply| {
                *tell.borrow_mut() = Some(reply);
                ring.notify(&sim);
            };
            match fate {
                Fate::Plain { there, back } => {
                    sim.sleep(there).await;
                    let done = sim.take_effect(host, &op, "");
                    sim.sleep(back).await;
                    reply(Ok(done));
                }
                Fate::FailBefore(ms) => {
                    sim.sleep(ms).await;
                    reply(Err(Lost));
                }
                Fate::LostAnswer { there, back } => {
                    sim.sleep(there).await;
                    sim.take_effect(host, &op, ", its answer is lost");
                    sim.sleep(back).await;
                    reply(Err(Lost));
                }
                Fate::Late { given_up, arrives } => {
                    sim.sleep(given_up).await;
                    reply(Err(Lost));
                    sim.sleep(arrives).await;
                    sim.count(Fault::LateArrival);
                    let posthumous = !sim.hosts.borrow()[host].alive && matches!(op, Op::Put(..));
                    if posthumous {
                        sim.count(Fault::Posthumous);
                    }
                    sim.take_effect(host, &op, ", late");
                }
            }
            sim.store.borrow_mut().under_way -= 1;
        });
        loop {
            if let Some(answer) = answer.borrow_mut().take() {
                return answer;
            }
            signal.wait(self).await;
        }
    }

    fn take_effect(&self, host: HostId, op: &Op, how: &str) -> Reply {
        match op {
            Op::Put(path, bytes) => {
                let absent = !self.store.borrow().objects.contains_key(path);
                self.note(format_args!("store: put {path} of host {host}: {}{how}", if absent { "new" } else { "exists" }));
                if absent || self.is_broken(Mutation::PutOverwrites) {
                    self.store.borrow_mut().objects.insert(path.clone(), Rc::clone(bytes));
                    self.check_created(path, bytes);
                    return Reply::Put(true);
                }
                Reply::Put(false)
            }
            Op::Get(path) => Reply::Got(self.store.borrow().peek(path)),
            Op::List(folder, after) => {
                let store = self.store.borrow();
                let below = format!("{folder}/");
                let after = after.as_ref().unwrap_or(&below);
                let mut names = store.objects.range::<String, _>(after..).map(|(name, _)| name).filter(|name| *name != after);
                let mut page: Vec<String> =
                    names.by_ref().take_while(|name| name.starts_with(&below)).take(self.plan.page + 1).cloned().collect();
                let more = page.len() > self.plan.page;
                page.truncate(self.plan.page);
                Reply::Names(page, more)
            }
            Op::Delete(path) => {
                let was = self.store.borrow_mut().objects.remove(path).is_some();
                if was {
                    self.note(format_args!("store: {path} deleted by host {host}{how}"));
                    self.check_deleted(path);
                }
                Reply::Deleted
            }
        }
    }
}
