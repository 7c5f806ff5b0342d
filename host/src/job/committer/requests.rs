//! Requests to the host that runs a job, left in its store: for savepoints ([`crate::job::savepoint`]), about operators
//! ([`crate::job::operator_requests`]), and for rows of the quarantine to be sent again ([`crate::job::replay`]). One list serves the first two.

use crate::engine::Control;
use crate::job::operator_requests::{OperatorDesk, OperatorRequest};
use crate::job::replay::ReplayWatcher;
use crate::store::{Entry, Store, StoreError};
use reprise_core::checkpoint::committer::CommitterEvent;
use reprise_core::checkpoint::fenced_committer::SAVEPOINTS_WAITING_MAX;
use reprise_core::checkpoint::manifest::{Manifest, Request, Resume, Unpark};
use reprise_core::checkpoint::paths::{self, RequestKind};
use reprise_core::codec::record::{self, Record};
use reprise_core::ids::Epoch;
use std::collections::BTreeSet;
use std::time::Duration;

/// Requests of one kind that are looked at in one go. The others wait for a later look.
const REQUESTS_MAX: usize = 64;

/// The requests that a run has seen and is to see.
pub(in crate::job) struct Requests {
    /// How often they are looked for.
    pub poll: Duration,
    /// The run ends for rows that the next one sends again, and for nothing else.
    pub ends_for_replays: bool,
    reader: RequestReader,
    /// Ends pauses of operators on request, and gives parked input up.
    desk: OperatorDesk,
    /// Requests that are being answered, by the name of the savepoint.
    savepoints: BTreeSet<String>,
    /// Tells when to end for rows that the next run sends again. `None`: this one does not end for any.
    replays: Option<ReplayWatcher>,
}

impl Requests {
    pub fn new(poll: Duration, desk: OperatorDesk, replays: Option<ReplayWatcher>) -> Self {
        Self { poll, ends_for_replays: false, reader: RequestReader::default(), desk, savepoints: BTreeSet::new(), replays }
    }

    /// Looks for requests: answers those about operators, ends the run for rows that are to be sent again and that it knows nothing of, and gives
    /// the requests for savepoints that were not there before. A store that does not answer is asked again later.
    pub async fn look(&mut self, store: &Store, control: &Control) -> Vec<CommitterEvent> {
        let asked = match self.reader.look(store).await {
            Ok(found) => {
                self.desk.answer(store, found.about_operators, &found.answers).await;
                found.savepoints.into_iter().filter_map(|request| self.asked(request, control)).collect()
            }
            Err(error) => {
                tracing::debug!(cause = %error, "requests cannot be listed now");
                Vec::new()
            }
        };
        if let Some(replays) = self.replays.as_mut().filter(|_| !control.stopping()) {
            match replays.sees_new(store).await {
                Ok(false) => {}
                Ok(true) => self.end_for_replays(control),
                Err(error) => tracing::debug!(cause = %error, "requests to send rows again cannot be listed now"),
            }
        }
        asked
    }

    fn asked(&mut self, request: Request, control: &Control) -> Option<CommitterEvent> {
        // More than that may not wait: the others are looked at again later.
        if self.savepoints.len() >= SAVEPOINTS_WAITING_MAX || !self.savepoints.insert(request.name.clone()) {
            return None;
        }
        let epoch = if request.stop {
            // Nothing is to go on after this.
            (self.ends_for_replays, self.replays) = (false, None);
            control.stop();
            Epoch(u64::MAX)
        } else {
            control.want_epoch()
        };
        Some(CommitterEvent::SavepointAsked { name: request.name, epoch })
    }

    /// The savepoint is kept; gives the path of its request, where there is one.
    pub fn answered(&mut self, name: &str) -> Option<String> {
        paths::request(name).filter(|_| self.savepoints.remove(name))
    }

    /// The output of this checkpoint is published. Ends the run where all rows are sent again that it was to send, and there are more.
    pub fn published(&mut self, manifest: &Manifest, control: &Control) {
        let is_time = self.replays.as_ref().is_some_and(|replays| replays.is_time_for_the_rest(manifest));
        if is_time && !control.stopping() {
            self.end_for_replays(control);
        }
    }

    fn end_for_replays(&mut self, control: &Control) {
        self.ends_for_replays = true;
        control.stop();
    }
}

/// Requests that wait to be answered, and answers.
#[derive(Debug, Default)]
struct WaitingRequests {
    /// Requests for savepoints.
    savepoints: Vec<Request>,
    /// Requests about operators.
    about_operators: Vec<OperatorRequest>,
    /// Paths of answers that were not taken away.
    answers: BTreeSet<String>,
}

/// The reader of requests. It remembers objects that could not be read, so that they neither are read again and again nor keep others from their
/// turn.
#[derive(Debug, Default)]
struct RequestReader {
    unreadable: BTreeSet<Entry>,
}

impl RequestReader {
    /// Looks for requests. Objects that are none are passed over, and so are those of kinds that a later version has.
    async fn look(&mut self, store: &Store) -> Result<WaitingRequests, StoreError> {
        let mut found = WaitingRequests::default();
        let (mut savepoints, mut resumes, mut unparks) = (Vec::new(), Vec::new(), Vec::new());
        let listed: BTreeSet<Entry> = store.list(paths::REQUESTS).await?.into_iter().collect();
        self.unreadable.retain(|entry| listed.contains(entry));
        for entry in listed.into_iter().filter(|entry| !self.unreadable.contains(entry)) {
            match paths::request_kind(&entry.path) {
                Some(RequestKind::Savepoint) => savepoints.push(entry),
                Some(RequestKind::Resume) => resumes.push(entry),
                Some(RequestKind::Unpark) => unparks.push(entry),
                Some(RequestKind::NotPaused | RequestKind::NotParked) => _ = found.answers.insert(entry.path),
                None => _ = store.pass_over(&entry.path, "it is no request of a kind that this version knows"),
            }
        }
        found.savepoints = self.read(store, savepoints, |request: &Request| paths::request(&request.name)).await?;
        let resumes = self.read(store, resumes, |request: &Resume| paths::resume(&request.operator)).await?;
        let unparks = self.read(store, unparks, |request: &Unpark| paths::unpark(&request.operator)).await?;
        let resumes = resumes.into_iter().map(OperatorRequest::Resume);
        found.about_operators = resumes.chain(unparks.into_iter().map(OperatorRequest::Unpark)).collect();
        Ok(found)
    }

    /// Reads requests, each of which must be of the name that it has.
    async fn read<R: Record>(
        &mut self,
        store: &Store,
        entries: Vec<Entry>,
        name: impl Fn(&R) -> Option<String>,
    ) -> Result<Vec<R>, StoreError> {
        let mut found = Vec::new();
        for entry in entries {
            if found.len() == REQUESTS_MAX {
                break;
            }
            let bytes = match store.get(&entry.path).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                // One that may not be read keeps no other from its answer.
                Err(StoreError::Denied { .. }) => {
                    store.pass_over(&entry.path, "it may not be read");
                    self.unreadable.insert(entry);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match record::decode::<R>(&bytes) {
                Ok(request) if name(&request).as_ref() == Some(&entry.path) => found.push(request),
                _ => {
                    store.pass_over(&entry.path, "it is no request that can be answered; remove it");
                    self.unreadable.insert(entry);
                }
            }
        }
        Ok(found)
    }
}
