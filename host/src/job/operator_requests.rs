//! Requests about an operator: who asks for the end of its pause, or for its parked input to be given up, and the host that runs the job.
//!
//! ```text
//! asker: create requests/OPERATOR.resume ──> host: paused?  yes ──────────────────────────────> request removed ──> the next call decides
//!                                                           no ──> OPERATOR.not-paused created ──> request removed
//! asker: create requests/OPERATOR.unpark ──> host: anything parked?  and so on: OPERATOR.not-parked ──> a checkpoint soon has it
//! ```
//! The answer is that the request is gone. The command that made it knows from the second object that there was nothing to do, and removes it; one
//! that is not removed is replaced by the next answer. A pause is in the memory of a host alone, so a request that outlives its host is answered by
//! the next one with "not paused". Parked input is in checkpoints: what a host was asked to give up is given up once a checkpoint says so.

use super::error::{Error, failed};
use super::notice::{Notice, Watch};
use super::recovery;
use super::replay::Requester;
use crate::engine::{Control, OperatorEvent, SharedCircuitBreaker};
use crate::store::{Created, Store, StoreError};
use bytes::Bytes;
use reprise_core::checkpoint::manifest::{Resume, Unpark};
use reprise_core::checkpoint::paths;
use reprise_core::codec::{CodecError, record};
use reprise_core::ids::Generation;
use reprise_core::topology::Topology;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks for the answer.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// What may be asked about an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorWish {
    /// That its pause ends.
    Resume,
    /// That its parked input is given up.
    Unpark {
        /// The rows go to quarantine, from which they can be sent again; else they are dropped.
        to_quarantine: bool,
    },
}

/// A request, as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OperatorRequest {
    Resume(Resume),
    Unpark(Unpark),
}

impl OperatorRequest {
    fn new(wish: OperatorWish, operator: &str, by: Requester) -> Self {
        let (operator, Requester { writer, now_ms: asked_ms }) = (operator.to_owned(), by);
        match wish {
            OperatorWish::Resume => Self::Resume(Resume { operator, writer, asked_ms }),
            OperatorWish::Unpark { to_quarantine } => Self::Unpark(Unpark { operator, to_quarantine, writer, asked_ms }),
        }
    }

    fn operator(&self) -> &str {
        match self {
            Self::Resume(Resume { operator, .. }) | Self::Unpark(Unpark { operator, .. }) => operator,
        }
    }

    /// Where it lies, and where the answer does that there is nothing to do. `None` where its operator is none.
    fn paths(&self) -> Option<(String, String)> {
        match self {
            Self::Resume(Resume { operator, .. }) => paths::resume(operator).zip(paths::not_paused(operator)),
            Self::Unpark(Unpark { operator, .. }) => paths::unpark(operator).zip(paths::not_parked(operator)),
        }
    }

    fn encode(&self) -> Result<Bytes, CodecError> {
        let bytes = match self {
            Self::Resume(resume) => record::encode(resume),
            Self::Unpark(unpark) => record::encode(unpark),
        };
        bytes.map(Bytes::from)
    }

    /// Reads one of the same kind.
    fn decode(&self, bytes: &[u8]) -> Result<Self, CodecError> {
        match self {
            Self::Resume(_) => record::decode(bytes).map(Self::Resume),
            Self::Unpark(_) => record::decode(bytes).map(Self::Unpark),
        }
    }

    fn writer(&self) -> u64 {
        match self {
            Self::Resume(Resume { writer, .. }) | Self::Unpark(Unpark { writer, .. }) => *writer,
        }
    }

    /// True where both ask for the same, whoever asks.
    fn wants_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Resume(one), Self::Resume(other)) => one.operator == other.operator,
            (Self::Unpark(one), Self::Unpark(other)) => (&one.operator, one.to_quarantine) == (&other.operator, other.to_quarantine),
            _ => false,
        }
    }
}

/// Does on request what is asked about the operators of a run.
pub(super) struct OperatorDesk {
    /// In the order of the topology file, as those of the control are.
    operators: Vec<String>,
    generation: Generation,
    control: Arc<Control>,
    watch: Watch,
    /// Requests that were done as they say, and could not be removed.
    done: BTreeSet<OperatorRequest>,
}

impl OperatorDesk {
    /// For a run of this generation.
    pub fn new(topology: &Topology, generation: Generation, control: Arc<Control>, watch: Watch) -> Self {
        let operators = topology.operators.iter().map(|operator| operator.name.clone()).collect();
        Self { operators, generation, control, watch, done: BTreeSet::new() }
    }

    /// Answers requests. `answers`: those that lie about. What the store does not take is tried again with the next look.
    pub async fn answer(&mut self, store: &Store, asked: Vec<OperatorRequest>, answers: &BTreeSet<String>) {
        self.done.retain(|done| asked.contains(done));
        if asked.is_empty() {
            return;
        }
        // They are for the host that runs the job: a host that was replaced must not say that there is nothing to do.
        match recovery::newest_generation(store).await {
            Ok(newest) if newest <= self.generation => {}
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(cause = %error, "requests cannot be answered now");
                return;
            }
        }
        for request in asked {
            let operator = request.operator().to_owned();
            if let Err(error) = self.answer_one(store, request, answers).await {
                tracing::debug!(operator, cause = %error, "a request cannot be answered now");
            }
        }
    }

    async fn answer_one(&mut self, store: &Store, request: OperatorRequest, answers: &BTreeSet<String>) -> Result<(), StoreError> {
        let Some((path, nothing)) = request.paths() else { return Ok(()) };
        if answers.contains(&nothing) {
            store.delete(&nothing).await?;
        }
        if self.done.contains(&request) {
            return store.delete(&path).await;
        }
        let Some(place) = self.place(&request) else {
            // An error of the codec cannot be: the record was read just now.
            if let Ok(bytes) = request.encode() {
                store.create(&nothing, bytes).await?;
            }
            return store.delete(&path).await;
        };
        // First the answer: a request that is made after the next pause has begun is another one.
        let answered = store.delete(&path).await;
        self.carry_out(place, &request);
        if answered.is_err() {
            self.done.insert(request);
        }
        answered
    }

    /// The place of the operator among those of the control, where there is anything to do.
    fn place(&self, request: &OperatorRequest) -> Option<usize> {
        let place = self.operators.iter().position(|name| name == request.operator())?;
        let is_due = match request {
            OperatorRequest::Resume(_) => self.guard(place)?.is_open(),
            OperatorRequest::Unpark(_) => self.control.operators_parked.get(place)?.tally().rows > 0,
        };
        is_due.then_some(place)
    }

    fn guard(&self, place: usize) -> Option<&Arc<SharedCircuitBreaker>> {
        self.control.breakers.get(place)
    }

    fn carry_out(&self, place: usize, request: &OperatorRequest) {
        let operator = request.operator().to_owned();
        match request {
            OperatorRequest::Resume(_) => {
                if self.guard(place).is_some_and(|guard| guard.resume()) {
                    (self.watch)(Notice::Operator(OperatorEvent::PauseEnded { operator }));
                }
            }
            OperatorRequest::Unpark(Unpark { to_quarantine, .. }) => {
                let Some(parked) = self.control.operators_parked.get(place) else { return };
                let (rows, to_quarantine) = (parked.tally().rows, *to_quarantine);
                parked.unpark(to_quarantine);
                self.control.want_epoch();
                (self.watch)(Notice::ParkedGivenUp { operator, rows, to_quarantine });
            }
        }
    }
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorAnswer {
    /// The operator's name in the topology.
    pub operator: String,
    /// There was what the request is about, a pause or parked input. `None` where it cannot be known, since another command asked at the same time.
    pub was_so: Option<bool>,
}

/// A request that was left.
struct LeftRequest {
    request: OperatorRequest,
    path: String,
    /// The answer that there was nothing to do.
    nothing: String,
    /// It was there already, and is another command's.
    is_joined: bool,
}

fn refused(operator: &str, what: &str, help: &str) -> Error {
    Error::Operator { operator: operator.into(), what: what.into(), help: help.into() }
}

/// Asks the host that runs the job about operators, and waits for it. Answers are in the order of `operators`.
///
/// # Errors
/// [`Error::Operator`] where no host answered in time, or somebody else asks for something else: requests are taken back then, save those of others.
/// [`Error::Store`].
pub async fn ask(
    store: &Store,
    operators: &[String],
    wish: OperatorWish,
    by: Requester,
    wait: Duration,
) -> Result<Vec<OperatorAnswer>, Error> {
    let mut left = Vec::new();
    for operator in operators {
        let request = OperatorRequest::new(wish, operator, by);
        let illegal = || refused(operator, "is no name of an operator", "give the name that the topology has");
        let (path, nothing) = request.paths().ok_or_else(illegal)?;
        let bytes = request.encode().map_err(|error| Error::Internal(format!("a request: {error}")))?;
        let created = store.create(&path, bytes).await.map_err(failed("leave a request"))?;
        let one = LeftRequest { request, path, nothing, is_joined: created == Created::Exists };
        if one.is_joined && wants_otherwise(store, &one).await? {
            take_back(store, &left).await?;
            return Err(refused(
                operator,
                "has parked input that somebody else is giving up in the other way",
                "nothing was asked; wait for the answer to the other request",
            ));
        }
        left.push(one);
    }
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let listed = store.list(paths::REQUESTS).await.map_err(failed("look for the answer"))?;
        let there: BTreeSet<String> = listed.into_iter().map(|entry| entry.path).collect();
        let Some(unanswered) = left.iter().find(|one| there.contains(&one.path)) else { break };
        if tokio::time::Instant::now() >= deadline {
            let (what, help) = match wish {
                OperatorWish::Resume => (
                    "was not resumed in time: no host answered",
                    "is the job running? Where it does not, nothing is paused; `--wait` waits longer",
                ),
                OperatorWish::Unpark { .. } => (
                    "has parked input that was not given up in time: no host answered",
                    "is the job running? The host that runs it does this; `--wait` waits longer",
                ),
            };
            let error = refused(unanswered.request.operator(), what, help);
            left.retain(|one| there.contains(&one.path));
            take_back(store, &left).await?;
            return Err(error);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let mut answers = Vec::new();
    for one in left {
        let was_so = if one.is_joined { None } else { Some(was_so(store, &one).await?) };
        answers.push(OperatorAnswer { operator: one.request.operator().to_owned(), was_so });
    }
    Ok(answers)
}

/// True where the request that was there already asks for something else.
async fn wants_otherwise(store: &Store, joined: &LeftRequest) -> Result<bool, Error> {
    let bytes = store.get(&joined.path).await.map_err(failed("read the other request"))?;
    // One that nobody can read is answered by nobody, which its asker will be told.
    let other = bytes.and_then(|bytes| joined.request.decode(&bytes).ok());
    Ok(other.is_some_and(|other| !other.wants_as(&joined.request)))
}

/// Removes requests, save those of others.
async fn take_back(store: &Store, left: &[LeftRequest]) -> Result<(), Error> {
    for own in left.iter().filter(|one| !one.is_joined) {
        store.delete(&own.path).await.map_err(failed("take the request back"))?;
    }
    Ok(())
}

/// Reads the answer to a request that is gone, and takes it away.
async fn was_so(store: &Store, one: &LeftRequest) -> Result<bool, Error> {
    let Some(bytes) = store.get(&one.nothing).await.map_err(failed("read the answer"))? else { return Ok(true) };
    let is_ours = one.request.decode(&bytes).is_ok_and(|answer| answer.writer() == one.request.writer());
    if is_ours {
        store.delete(&one.nothing).await.map_err(failed("take the answer away"))?;
    }
    Ok(!is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreLimits;
    use reprise_core::ids::Epoch;
    use reprise_core::topology;
    use std::path::Path;

    const DROP: OperatorWish = OperatorWish::Unpark { to_quarantine: false };
    const MOVE: OperatorWish = OperatorWish::Unpark { to_quarantine: true };

    async fn store(name: &str) -> Store {
        Store::open(&format!("memory:requests-{name}"), Path::new("."), "j", StoreLimits::default()).await.unwrap()
    }

    fn by(writer: u64) -> Requester {
        Requester { writer, now_ms: 5 }
    }

    async fn leave(store: &Store, request: &OperatorRequest) {
        store.create(&request.paths().unwrap().0, request.encode().unwrap()).await.unwrap();
    }

    async fn requests(store: &Store) -> Vec<String> {
        store.list(paths::REQUESTS).await.unwrap().into_iter().map(|entry| entry.path).collect()
    }

    /// A host whose operators are neither paused nor have anything parked.
    fn desk() -> OperatorDesk {
        let text = r#"
            name = "j"
            checkpoint = { store = "memory:" }
            source = [{ name = "lines", file = { path = "in.txt", format = "lines" } }]
            operator = [{ name = "a", component = "a.wasm", input = "lines" }]
            sink = [{ name = "out", input = "a", stdout = { format = "lines" } }]
        "#;
        let topology = topology::parse(text, &|_| None).unwrap();
        let control = Control::new(Epoch(1), 1, 1, (1, 1), Vec::new());
        OperatorDesk::new(&topology, Generation(1), Arc::new(control), Arc::new(|notice| panic!("{notice:?}")))
    }

    #[tokio::test]
    async fn who_asks_where_there_is_nothing_to_do_is_told_so() {
        let store = store("nothing").await;
        for wish in [OperatorWish::Resume, DROP, MOVE] {
            let request = OperatorRequest::new(wish, "a", by(7));
            leave(&store, &request).await;
            desk().answer(&store, vec![request.clone()], &BTreeSet::new()).await;
            let (path, nothing) = request.paths().unwrap();
            assert_eq!(requests(&store).await, [nothing.as_str()]);
            // Its asker takes the answer away; another one leaves it.
            for (writer, was_other, left) in [(8, true, 1), (7, false, 0)] {
                let request = OperatorRequest::new(wish, "a", by(writer));
                let one = LeftRequest { request, path: path.clone(), nothing: nothing.clone(), is_joined: false };
                assert_eq!((was_so(&store, &one).await.unwrap(), requests(&store).await.len()), (was_other, left));
            }
        }
    }

    #[tokio::test]
    async fn where_nobody_answers_each_takes_back_what_is_its_own() {
        let store = store("nobody").await;
        let names = ["a".to_owned(), "b".to_owned()];
        for (wish, what) in [(OperatorWish::Resume, "was not resumed in time"), (MOVE, "has parked input that was not given up in time")] {
            let other = OperatorRequest::new(wish, "a", by(8));
            leave(&store, &other).await;
            let error = ask(&store, &names, wish, by(7), Duration::ZERO).await.unwrap_err().to_string();
            assert!(error.starts_with(&format!("operator `a` {what}: no host answered")), "{error}");
            assert_eq!(requests(&store).await, [other.paths().unwrap().0]);
            store.delete(&other.paths().unwrap().0).await.unwrap();
        }
    }

    #[tokio::test]
    async fn who_wants_to_keep_rows_that_another_drops_is_told_so() {
        let store = store("otherwise").await;
        let other = OperatorRequest::new(DROP, "b", by(8));
        leave(&store, &other).await;
        let error = ask(&store, &["a".to_owned(), "b".to_owned()], MOVE, by(7), Duration::from_secs(60)).await.unwrap_err().to_string();
        assert!(error.starts_with("operator `b` has parked input that somebody else is giving up in the other way"), "{error}");
        assert_eq!(requests(&store).await, [other.paths().unwrap().0]);
        let error = ask(&store, &["../x".to_owned()], DROP, by(7), Duration::ZERO).await.unwrap_err().to_string();
        assert!(error.starts_with("operator `../x` is no name of an operator"), "{error}");
    }
}
