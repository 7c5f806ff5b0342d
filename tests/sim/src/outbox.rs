//! The outbox of the sink: files in a folder that all hosts see. Its law is the one of the sink `file`.
//!
//! ```text
//! stage ──> staged ──publish: rename──> visible ──reader──> gone
//!              │                           └── take up an older checkpoint: taken back
//!              └── take up without it: removed
//! ```
//! Each move is one step that happens or not. Between two steps a host may freeze or die, and others may go first.

use crate::clockwork::HostId;
use crate::input::Row;
use crate::mutation::Mutation;
use crate::plan::{Fault, Point};
use crate::world::Sim;
use reprise_core::checkpoint::manifest::StagedRef;
use reprise_core::ids::{Epoch, Generation};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Name of staged output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// The epoch of its rows.
    pub epoch: Epoch,
    /// The run that made it.
    pub generation: Generation,
    /// The instance that made it.
    pub instance: u32,
}

/// The rows of a file.
pub type Rows = Rc<[Row]>;
/// A visible file: its epoch and instance.
pub type Place = (Epoch, u32);

/// The folder.
#[derive(Default)]
pub struct Outbox {
    staged: BTreeMap<Token, Rows>,
    visible: BTreeMap<Place, Rows>,
    /// What a reader has taken away.
    gone: BTreeMap<Place, Rows>,
    /// The last epoch that each instance made visible.
    published: BTreeMap<u32, Epoch>,
}

/// Why a sink gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkFault {
    /// Staged output is neither there nor known to be published.
    Missing(Token),
    /// Another file is visible in its place.
    Corrupt(String),
}

impl Token {
    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}-{}-{}", self.epoch, self.generation, self.instance)
    }

    /// Reads it; `None` for what was not written here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(str::parse::<u64>);
        let mut next = || parts.next()?.ok();
        Some(Self { epoch: Epoch(next()?), generation: Generation(next()?), instance: u32::try_from(next()?).ok()? })
    }
}

impl Outbox {
    /// All that a reader has seen or can see, in the order of epochs and instances.
    pub fn seen(&self) -> impl Iterator<Item = (Place, &Rows)> {
        let mut all: Vec<_> = self.visible.iter().chain(&self.gone).map(|(place, rows)| (*place, rows)).collect();
        all.sort_by_key(|(place, _)| *place);
        all.into_iter()
    }

    /// Makes staged output visible; false where there is none.
    fn rename(&mut self, token: &Token) -> bool {
        let Some(rows) = self.staged.remove(token) else { return false };
        self.visible.insert((token.epoch, token.instance), rows);
        true
    }

    /// Remembers that output was made visible, should it be gone when somebody looks again.
    fn note_published(&mut self, token: &Token) {
        let last = self.published.entry(token.instance).or_insert(token.epoch);
        *last = token.epoch.max(*last);
    }

    /// A reader takes a file away.
    pub fn take_away(&mut self, choose: u64) -> Option<Place> {
        let visible: Vec<Place> = self.visible.keys().copied().collect();
        let place = *visible.get(choose as usize % visible.len().max(1))?;
        let rows = self.visible.remove(&place)?;
        self.gone.insert(place, rows);
        Some(place)
    }
}

impl Sim {
    /// Stages the rows of an epoch, durable.
    pub fn stage(&self, host: HostId, token: Token, rows: Rows) {
        self.tell(host, format_args!("stages {}: {} rows", token.text(), rows.len()));
        self.outbox.borrow_mut().staged.insert(token, rows);
    }

    /// Makes staged output visible. Again and again is the same as once.
    ///
    /// # Errors
    /// See [`SinkFault`].
    pub async fn publish(&self, host: HostId, by: Generation, staged: &StagedRef) -> Result<(), SinkFault> {
        let Some(token) = Token::parse(&staged.token) else { return Err(SinkFault::Corrupt(staged.token.clone())) };
        let place = (token.epoch, token.instance);
        loop {
            let (waiting, there, last) = {
                let outbox = self.outbox.borrow();
                let last = outbox.published.get(&token.instance).copied();
                (outbox.staged.get(&token).cloned(), outbox.visible.get(&place).cloned(), last)
            };
            self.pause(0, 2).await;
            match (waiting, there) {
                (None, Some(found)) if found.len() as u64 == staged.rows => break,
                (None, None) if last.is_some_and(|last| last >= token.epoch) => return Ok(()),
                (None, None) => return Err(SinkFault::Missing(token)),
                (Some(waiting), Some(there)) if waiting != there => return Err(SinkFault::Corrupt(staged.token.clone())),
                (None, Some(_)) => return Err(SinkFault::Corrupt(staged.token.clone())),
                (Some(_), _) => {}
            }
            // Noted first: a reader may take the file away as soon as it is there.
            if !self.is_broken(Mutation::NotedAfterRename) {
                self.outbox.borrow_mut().note_published(&token);
            }
            self.point(host, Point::Rename).await;
            let renamed = self.outbox.borrow_mut().rename(&token);
            if renamed {
                self.tell(host, format_args!("makes {} visible", token.text()));
                self.check_visible(by, token);
                self.point(host, Point::Renamed).await;
                break;
            }
            // Another host was faster: look again.
        }
        self.outbox.borrow_mut().note_published(&token);
        Ok(())
    }

    /// Puts the outbox in order for a run that took over: publishes what the checkpoint names, removes what earlier runs staged, takes back
    /// what is visible of epochs between `covered` and `own`, the newest first. Those from `own` on belong to the run itself and to later ones.
    ///
    /// # Errors
    /// See [`SinkFault`].
    pub async fn recover(
        &self,
        host: HostId,
        by: Generation,
        covered: Option<Epoch>,
        own: Epoch,
        staged: &[StagedRef],
    ) -> Result<(), SinkFault> {
        for output in staged {
            if covered.is_none_or(|covered| output.epoch > covered) {
                return Err(SinkFault::Corrupt(format!("{} is of a later epoch than the checkpoint", output.token)));
            }
            self.publish(host, by, output).await?;
        }
        if self.is_broken(Mutation::RecoverTakesBackFirst) {
            self.take_back(host, covered, own).await;
            // It takes its time, so that a host that was frozen before a rename is through with it by now.
            self.pause(0, 200).await;
        }
        self.point(host, Point::BeforeRemoval).await;
        let all = self.is_broken(Mutation::RecoverRemovesNewer);
        let staged: Vec<Token> = self.outbox.borrow().staged.keys().copied().collect();
        for token in staged.into_iter().filter(|token| all || token.generation < by) {
            self.tell(host, format_args!("removes {}", token.text()));
            self.outbox.borrow_mut().staged.remove(&token);
            self.sleep(0).await;
        }
        self.point(host, Point::BeforeTakeBack).await;
        if !self.is_broken(Mutation::RecoverTakesBackFirst) {
            self.take_back(host, covered, own).await;
        }
        Ok(())
    }

    async fn take_back(&self, host: HostId, covered: Option<Epoch>, own: Epoch) {
        let all = self.is_broken(Mutation::RecoverTakesBackNewer);
        let after = |epoch: Epoch| covered.is_none_or(|covered| epoch > covered) && (all || epoch < own);
        let visible: Vec<Place> = self.outbox.borrow().visible.keys().copied().collect();
        for place in visible.into_iter().rev().filter(|(epoch, _)| after(*epoch)) {
            self.tell(host, format_args!("takes back epoch {} of instance {}", place.0, place.1));
            self.outbox.borrow_mut().visible.remove(&place);
            self.count(Fault::TakenBack);
            self.check_taken_back();
            self.sleep(0).await;
        }
        let mut outbox = self.outbox.borrow_mut();
        outbox.published.retain(|_, last| {
            if !after(*last) {
                return true;
            }
            *last = covered.unwrap_or(*last);
            covered.is_some()
        });
    }
}
