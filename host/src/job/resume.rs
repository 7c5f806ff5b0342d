//! The end of a pause on request: who asks, and the host that runs the job.
//!
//! ```text
//! asker: create requests/OPERATOR.resume ──> host: paused?  yes ──────────────────────────────> request removed ──> the next call decides
//!                                                           no ──> OPERATOR.not-paused created ──> request removed
//! ```
//! The answer is that the request is gone. The command that made it knows from the second object that there was no pause, and removes it; one that
//! is not removed is replaced by the next answer. A pause is in the memory of a host alone, so a request that outlives its host is answered
//! by the next one with "not paused".

use super::error::Error;
use super::notice::{Notice, Watch};
use super::recovery::{self, failed};
use super::replay::Requester;
use crate::engine::{Control, OperatorEvent, SharedCircuitBreaker};
use crate::store::{Created, Store, StoreError};
use bytes::Bytes;
use reprise_core::checkpoint::manifest::Resume;
use reprise_core::checkpoint::paths;
use reprise_core::codec::record;
use reprise_core::ids::Generation;
use reprise_core::topology::Topology;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks for the answer.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Ends the pauses of a run on request.
pub(super) struct Resumer {
    /// In the order of the topology file, as the breakers are.
    operators: Vec<String>,
    generation: Generation,
    control: Arc<Control>,
    watch: Watch,
    /// Requests that were done as they say, and could not be removed.
    done: BTreeSet<Resume>,
}

impl Resumer {
    /// For a run of this generation.
    pub fn new(topology: &Topology, generation: Generation, control: Arc<Control>, watch: Watch) -> Self {
        let operators = topology.operators.iter().map(|operator| operator.name.clone()).collect();
        Self { operators, generation, control, watch, done: BTreeSet::new() }
    }

    /// Answers requests. `answers`: those that lie about. What the store does not take is tried again with the next look.
    pub async fn answer(&mut self, store: &Store, asked: Vec<Resume>, answers: &BTreeSet<String>) {
        self.done.retain(|done| asked.contains(done));
        if asked.is_empty() {
            return;
        }
        // They are for the host that runs the job: a host that was replaced must not say that nothing is paused.
        match recovery::newest_generation(store).await {
            Ok(newest) if newest <= self.generation => {}
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(cause = %error, "requests cannot be answered now");
                return;
            }
        }
        for request in asked {
            let operator = request.operator.clone();
            if let Err(error) = self.answer_one(store, request, answers).await {
                tracing::debug!(operator, cause = %error, "a request cannot be answered now");
            }
        }
    }

    async fn answer_one(&mut self, store: &Store, request: Resume, answers: &BTreeSet<String>) -> Result<(), StoreError> {
        let (Some(path), Some(not_paused)) = (paths::resume(&request.operator), paths::not_paused(&request.operator)) else {
            return Ok(());
        };
        if answers.contains(&not_paused) {
            store.delete(&not_paused).await?;
        }
        if self.done.contains(&request) {
            return store.delete(&path).await;
        }
        let Some(guard) = self.guard(&request.operator).filter(|guard| guard.is_open()) else {
            // An error of the codec cannot be: the record was read just now.
            if let Ok(bytes) = record::encode(&request) {
                store.create(&not_paused, Bytes::from(bytes)).await?;
            }
            return store.delete(&path).await;
        };
        // First the answer: a request that is made after the next pause has begun is another one.
        let answered = store.delete(&path).await;
        if guard.resume() {
            (self.watch)(Notice::Operator(OperatorEvent::PauseEnded { operator: request.operator.clone() }));
        }
        if answered.is_err() {
            self.done.insert(request);
        }
        answered
    }

    fn guard(&self, operator: &str) -> Option<Arc<SharedCircuitBreaker>> {
        let at = self.operators.iter().position(|name| name == operator)?;
        self.control.breakers.get(at).cloned()
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// The operator's name in the topology.
    pub operator: String,
    /// There was a pause, which is ended. `None` where it cannot be known, since another command asked at the same time.
    pub was_paused: Option<bool>,
}

/// A request that was left.
struct LeftRequest {
    operator: String,
    path: String,
    not_paused: String,
    /// It was there already, and is another command's.
    is_joined: bool,
}

/// Asks the host that runs the job to end the pauses of operators, and waits for it. Answers are in the order of `operators`.
///
/// # Errors
/// [`Error::Resume`] where no host answered in time: requests are taken back then, save those of others. [`Error::Store`].
pub async fn ask(store: &Store, operators: &[String], by: Requester, wait: Duration) -> Result<Vec<Resumed>, Error> {
    let refused =
        |operator: &str, what: &str, help: &str| Error::Resume { operator: operator.into(), what: what.into(), help: help.into() };
    let mut left = Vec::new();
    for operator in operators {
        let illegal = || refused(operator, "is no name of an operator", "give the name that the topology has");
        let (path, not_paused) = paths::resume(operator).zip(paths::not_paused(operator)).ok_or_else(illegal)?;
        let request = Resume { operator: operator.clone(), writer: by.writer, asked_ms: by.now_ms };
        let bytes = record::encode(&request).map_err(|error| Error::Internal(format!("a request: {error}")))?;
        let created = store.create(&path, Bytes::from(bytes)).await.map_err(failed("leave a request"))?;
        left.push(LeftRequest { operator: operator.clone(), path, not_paused, is_joined: created == Created::Exists });
    }
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let listed = store.list(paths::REQUESTS).await.map_err(failed("look for the answer"))?;
        let there: BTreeSet<String> = listed.into_iter().map(|entry| entry.path).collect();
        let Some(unanswered) = left.iter().find(|request| there.contains(&request.path)) else { break };
        if tokio::time::Instant::now() >= deadline {
            for own in left.iter().filter(|request| !request.is_joined && there.contains(&request.path)) {
                store.delete(&own.path).await.map_err(failed("take the request back"))?;
            }
            let help = "is the job running? Where it does not, nothing is paused; `--wait` waits longer";
            return Err(refused(&unanswered.operator, "was not resumed in time: no host answered", help));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let mut resumed = Vec::new();
    for request in left {
        let was_paused = if request.is_joined { None } else { Some(was_paused(store, &request, by.writer).await?) };
        resumed.push(Resumed { operator: request.operator, was_paused });
    }
    Ok(resumed)
}

/// Reads the answer to a request that is gone, and takes it away.
async fn was_paused(store: &Store, request: &LeftRequest, writer: u64) -> Result<bool, Error> {
    let Some(bytes) = store.get(&request.not_paused).await.map_err(failed("read the answer"))? else { return Ok(true) };
    let is_ours = record::decode::<Resume>(&bytes).is_ok_and(|answer| answer.writer == writer);
    if is_ours {
        store.delete(&request.not_paused).await.map_err(failed("take the answer away"))?;
    }
    Ok(!is_ours)
}
