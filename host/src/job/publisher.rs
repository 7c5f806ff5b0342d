//! Publishes output beside the keeper: each sink in a lane of its own, the epochs of a lane in order, the instances of an epoch together.
//!
//! ```text
//! keeper: manifest n is stored ──> publish(n) ──> lane of each sink ──publish, on a thread that may block──> told(sink, n)
//!                                                                                                   all lanes have n ──> n is published
//! ```
//! What waits in the lanes is bounded by the coordinator, which lets at most `UNPUBLISHED_MAX` manifests be ahead of their output. Nothing is
//! decided here: a manifest that is not known to be published is named again by later ones, whatever becomes of this.
//!
//! The lanes end with the publisher, and a call that is under way then does not: whoever is to publish the same output again waits for it, see
//! [`Calls`].

use super::error::Error;
use super::notice::{Notice, Watch};
use crate::connect::{ConnectError, SinkConnector, Staged};
use crate::engine::Failure;
use reprise_core::checkpoint::manifest::{Manifest, StagedRef};
use reprise_core::ids::Epoch;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};

/// Outputs that a sink is given in one call, save those of one epoch, which may be more.
const BATCH_MAX: usize = 256;
/// A call of a sink that takes longer is told of, and again each time it has taken so long once more.
const SLOW: Duration = Duration::from_secs(10);

/// How long an attempt that follows waits for the calls of the one before it. A sink that hangs for ever ends the run.
const CALLS_END_MAX: Duration = Duration::from_secs(300);

/// The publish calls of one attempt, which outlive whoever waits for them. Clones share them.
#[derive(Clone)]
pub(super) struct Calls {
    /// One permit for each lane; a call takes one along.
    permits: Arc<Semaphore>,
    lanes: u32,
}

impl Calls {
    /// For the lanes of so many sinks, each of which makes one call at a time.
    pub fn new(sinks: usize) -> Self {
        let lanes = u32::try_from(sinks).unwrap_or(u32::MAX);
        Self { permits: Arc::new(Semaphore::new(lanes as usize)), lanes }
    }

    /// Lets no further call begin, and waits for those that are under way: an attempt that follows publishes the same output.
    ///
    /// # Errors
    /// [`Failure::Limit`] where one does not come back in time.
    pub async fn settle(&self) -> Result<(), Error> {
        self.settle_within(CALLS_END_MAX).await
    }

    async fn settle_within(&self, limit: Duration) -> Result<(), Error> {
        let all = tokio::time::timeout(limit, self.permits.acquire_many(self.lanes)).await;
        let hangs = |_| {
            let text = format!("a sink has not come back from publishing for {} s, and the job cannot go on before", limit.as_secs());
            let help = "look whether what it writes to hangs, and run again: nothing is lost";
            Error::Engine(Box::new(Failure::Limit(format!("{text}\n  help: {help}"))))
        };
        // Nobody closes the semaphore.
        if let Ok(all) = all.map_err(hangs)? {
            all.forget();
        }
        Ok(())
    }

    /// Begins a call on a thread that may block. Where the calls have settled it waits for ever.
    async fn begin<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // Nobody closes the semaphore.
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return std::future::pending().await };
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            call()
        })
    }
}

/// A sink of the job, with its name in the topology.
pub(super) struct NamedSink {
    pub name: String,
    pub sink: Arc<dyn SinkConnector>,
}

/// Output of one sink in one epoch; there may be none.
struct Due {
    epoch: Epoch,
    staged: Vec<StagedRef>,
}

/// A lane has published all up to an epoch.
pub(super) struct Told {
    lane: usize,
    epoch: Epoch,
}

/// See the module.
pub(super) struct Publisher {
    lanes: Vec<mpsc::UnboundedSender<Due>>,
    /// Up to which epoch each lane has been given output.
    given: Vec<Epoch>,
    /// Up to which epoch each lane is through.
    through: Vec<Epoch>,
    /// Manifests whose output is not published by all lanes, oldest first.
    waiting: VecDeque<Manifest>,
    told: mpsc::UnboundedReceiver<Result<Told, Error>>,
    /// The lanes end with this.
    _tasks: JoinSet<()>,
}

impl Publisher {
    /// Starts a lane for each sink. All output of epochs up to `published` is published.
    pub fn start(sinks: Vec<NamedSink>, calls: &Calls, published: Epoch, watch: &Watch) -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let (mut lanes, mut tasks) = (Vec::new(), JoinSet::new());
        for (lane, sink) in sinks.into_iter().enumerate() {
            let (give, given) = mpsc::unbounded_channel();
            let lane = Lane { lane, sink, calls: calls.clone(), tell: tell.clone(), watch: Arc::clone(watch) };
            tasks.spawn(lane.run(given));
            lanes.push(give);
        }
        let begun = vec![published; lanes.len()];
        Self { given: begun.clone(), through: begun, lanes, waiting: VecDeque::new(), told, _tasks: tasks }
    }

    /// Manifests whose output is not published.
    pub fn behind(&self) -> usize {
        self.waiting.len()
    }

    /// Publishes what a stored manifest names, save what was given to a lane before. Gives the manifests that are published by that, where there
    /// is nothing to wait for.
    pub fn publish(&mut self, manifest: Manifest, staged: Vec<(usize, StagedRef)>) -> Vec<Manifest> {
        let epoch = manifest.epoch;
        self.waiting.push_back(manifest);
        let mut dues: Vec<Vec<StagedRef>> = self.lanes.iter().map(|_| Vec::new()).collect();
        for (lane, output) in staged {
            if self.given.get(lane).is_some_and(|given| output.epoch > *given) {
                dues[lane].push(output);
            }
        }
        for (lane, mut staged) in dues.into_iter().enumerate() {
            if staged.is_empty() && self.through[lane] == self.given[lane] {
                self.through[lane] = epoch;
            } else {
                staged.sort_by_key(|output| output.epoch);
                // A lane that has ended has told why.
                let _ = self.lanes[lane].send(Due { epoch, staged });
            }
            self.given[lane] = epoch;
        }
        self.published()
    }

    /// What the next lane that is through, or has failed, has to say. Nothing is lost where nobody waits for the answer.
    pub async fn told(&mut self) -> Result<Told, Error> {
        match self.told.recv().await {
            Some(told) => told,
            None => std::future::pending().await,
        }
    }

    /// Takes note of what a lane has told; gives the manifests that are published by that, oldest first.
    pub fn note(&mut self, told: &Told) -> Vec<Manifest> {
        if let Some(through) = self.through.get_mut(told.lane) {
            *through = told.epoch.max(*through);
        }
        self.published()
    }

    fn published(&mut self) -> Vec<Manifest> {
        let through = self.through.iter().min().copied();
        let mut done = Vec::new();
        while let Some(manifest) = self.waiting.pop_front_if(|manifest| through.is_none_or(|through| manifest.epoch <= through)) {
            done.push(manifest);
        }
        done
    }
}

/// What a lane works with.
struct Lane {
    lane: usize,
    sink: NamedSink,
    calls: Calls,
    tell: mpsc::UnboundedSender<Result<Told, Error>>,
    watch: Watch,
}

impl Lane {
    async fn run(self, mut given: mpsc::UnboundedReceiver<Due>) {
        while let Some(Due { mut epoch, mut staged }) = given.recv().await {
            while staged.len() < BATCH_MAX {
                let Ok(more) = given.try_recv() else { break };
                epoch = more.epoch;
                staged.extend(more.staged);
            }
            let published = if staged.is_empty() { Ok(()) } else { self.publish(staged).await };
            let failed = published.is_err();
            // Nobody listens any more where the run is over.
            let _ = self.tell.send(published.map(|()| Told { lane: self.lane, epoch }));
            if failed {
                return;
            }
        }
    }

    /// Publishes staged output, on a thread that may block.
    async fn publish(&self, staged: Vec<StagedRef>) -> Result<(), Error> {
        let NamedSink { name, sink } = &self.sink;
        let epoch = staged.first().map_or(Epoch(0), |output| output.epoch);
        let staged: Vec<Staged> = staged.into_iter().map(|s| Staged { token: s.token, rows: s.rows, bytes: s.bytes }).collect();
        let sink = Arc::clone(sink);
        let mut call = self.calls.begin(move || sink.publish(&staged)).await;
        let began = tokio::time::Instant::now();
        let joined = loop {
            match tokio::time::timeout(SLOW, &mut call).await {
                Ok(joined) => break joined,
                Err(_) => (self.watch)(Notice::SinkSlow { sink: name.clone(), epoch, since: began.elapsed() }),
            }
        };
        let published: Result<(), ConnectError> = joined.map_err(|error| Error::Internal(format!("a task failed: {error}")))?;
        let failed = |error| Failure::Connect { kind: "sink", name: name.clone(), instance: 0, error };
        published.map_err(|error| Error::Engine(Box::new(failed(error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::holding::Holding;
    use crate::connect::{Recovered, Recovery, SinkConnector, SinkWriter};
    use reprise_core::checkpoint::manifest::SinkState;
    use reprise_core::ids::{Digest, Generation};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Condvar, Mutex};

    /// A sink that notes what it publishes, and waits at a gate before that.
    #[derive(Default)]
    struct Gated {
        is_shut: Mutex<bool>,
        opened: Condvar,
        /// Calls that have come to the gate.
        waiting: AtomicU64,
        calls: Mutex<Vec<Vec<String>>>,
    }

    impl Gated {
        fn set(&self, is_shut: bool) {
            *self.is_shut.lock().unwrap() = is_shut;
            self.opened.notify_all();
        }

        fn published(&self) -> Vec<String> {
            self.calls.lock().unwrap().concat()
        }
    }

    impl SinkConnector for Gated {
        fn holding(&self) -> Result<Holding, ConnectError> {
            Ok(Holding::default())
        }

        fn writer(&self, _: u32, _: u64) -> Result<Box<dyn SinkWriter>, ConnectError> {
            Err(ConnectError::ClosedPipe { what: "a test" })
        }

        fn publish(&self, staged: &[Staged]) -> Result<(), ConnectError> {
            let shut = self.is_shut.lock().unwrap();
            self.waiting.fetch_add(1, Ordering::Release);
            drop(self.opened.wait_while(shut, |is_shut| *is_shut).unwrap());
            self.calls.lock().unwrap().push(staged.iter().map(|output| output.token.clone()).collect());
            if staged.iter().any(|output| output.token == "bad") { Err(ConnectError::ClosedPipe { what: "a test" }) } else { Ok(()) }
        }

        fn recover(&self, _: &Recovery, _: &[Staged]) -> Result<Recovered, ConnectError> {
            Ok(Recovered::default())
        }

        fn exactly_once(&self) -> bool {
            true
        }
    }

    fn output(epoch: u64, token: &str) -> StagedRef {
        StagedRef { epoch: Epoch(epoch), token: token.to_owned(), rows: 1, bytes: 1 }
    }

    fn manifest(epoch: u64) -> Manifest {
        Manifest {
            job: "j".into(),
            epoch: Epoch(epoch),
            generation: Generation(1),
            writer: 0,
            parent: None,
            written_ms: 0,
            topology: Digest([0; 32]),
            workers: 1,
            finished: false,
            taken_over: false,
            operators: vec![],
            sources: vec![],
            sinks: vec![SinkState { name: "slow".into(), staged: vec![], rows: 0 }],
        }
    }

    fn start() -> (Arc<Gated>, Arc<Gated>, Publisher) {
        start_with(&Calls::new(2))
    }

    fn start_with(calls: &Calls) -> (Arc<Gated>, Arc<Gated>, Publisher) {
        let (slow, quick) = (Arc::new(Gated::default()), Arc::new(Gated::default()));
        let named = |name: &str, sink: &Arc<Gated>| NamedSink { name: name.into(), sink: Arc::clone(sink) as Arc<dyn SinkConnector> };
        let watch: Watch = Arc::new(|_| ());
        let publisher = Publisher::start(vec![named("slow", &slow), named("quick", &quick)], calls, Epoch(10), &watch);
        (slow, quick, publisher)
    }

    /// Takes notes until so many manifests are published; gives their epochs.
    async fn published(publisher: &mut Publisher, mut done: Vec<Manifest>, count: usize) -> Vec<u64> {
        while done.len() < count {
            let told = publisher.told().await.unwrap_or_else(|error| panic!("{error}"));
            done.extend(publisher.note(&told));
        }
        done.into_iter().map(|manifest| manifest.epoch.0).collect()
    }

    #[tokio::test]
    async fn a_sink_that_hangs_holds_up_neither_the_other_sinks_nor_who_gives_it_output() {
        let (slow, quick, mut publisher) = start();
        slow.set(true);
        let mut done = Vec::new();
        for epoch in 11..=40 {
            // Each manifest names again what was not known to be published when it was written.
            let mut staged: Vec<_> = (11..=epoch).map(|of| (0, output(of, &format!("slow-{of}")))).collect();
            staged.extend((11..=epoch).map(|of| (1, output(of, &format!("quick-{of}")))));
            done.extend(publisher.publish(manifest(epoch), staged));
        }
        assert!(done.is_empty() && publisher.behind() == 30);
        while quick.published().len() < 30 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(slow.published().is_empty());
        slow.set(false);
        let all = published(&mut publisher, done, 30).await;
        assert_eq!(all, (11..=40).collect::<Vec<_>>(), "in the order of epochs, and each once");
        assert_eq!(slow.published(), (11..=40).map(|of| format!("slow-{of}")).collect::<Vec<_>>(), "each once, in order");
        assert_eq!(publisher.behind(), 0);
    }

    #[tokio::test]
    async fn the_instances_of_an_epoch_are_published_together_and_an_epoch_without_output_waits_for_nothing() {
        let (slow, _, mut publisher) = start();
        assert_eq!(publisher.publish(manifest(11), Vec::new()).len(), 1);
        let staged = (0..16).map(|instance| (0, output(12, &format!("{instance}")))).collect();
        let done = publisher.publish(manifest(12), staged);
        assert_eq!(published(&mut publisher, done, 1).await, [12]);
        assert_eq!(slow.calls.lock().unwrap().len(), 1);
        // What waits behind output that is not there yet waits with it.
        slow.set(true);
        assert!(publisher.publish(manifest(13), vec![(0, output(13, "x"))]).is_empty());
        assert!(publisher.publish(manifest(14), Vec::new()).is_empty());
        slow.set(false);
        assert_eq!(published(&mut publisher, Vec::new(), 2).await, [13, 14]);
    }

    #[tokio::test]
    async fn a_sink_that_fails_is_told_and_nothing_after_it_counts_as_published() {
        let (_, _, mut publisher) = start();
        drop(publisher.publish(manifest(11), vec![(0, output(11, "bad"))]));
        drop(publisher.publish(manifest(12), vec![(0, output(12, "good"))]));
        assert!(matches!(publisher.told().await, Err(Error::Engine(_))));
        assert_eq!(publisher.behind(), 2);
    }
    #[tokio::test]
    async fn who_settles_the_calls_waits_for_those_that_outlive_their_run_and_none_begins_later() {
        let calls = Calls::new(2);
        let (slow, _, mut publisher) = start_with(&calls);
        slow.set(true);
        drop(publisher.publish(manifest(11), vec![(0, output(11, "slow"))]));
        while slow.waiting.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        drop(publisher.publish(manifest(12), vec![(0, output(12, "later"))]));
        drop(publisher);
        let mut settling = Box::pin(calls.settle());
        assert!(futures::poll!(&mut settling).is_pending(), "the call is under way");
        slow.set(false);
        settling.await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(slow.published(), ["slow"]);
        assert!(futures::poll!(Box::pin(calls.begin(|| ()))).is_pending(), "nothing begins beside the attempt that follows");
    }

    #[tokio::test]
    async fn a_sink_that_hangs_for_ever_ends_the_run() {
        let calls = Calls::new(2);
        let (slow, _, mut publisher) = start_with(&calls);
        slow.set(true);
        drop(publisher.publish(manifest(11), vec![(0, output(11, "slow"))]));
        while slow.waiting.load(Ordering::Acquire) == 0 {
            tokio::task::yield_now().await;
        }
        drop(publisher);
        let ended = calls.settle_within(Duration::from_millis(1)).await;
        assert!(ended.is_err_and(|error| error.to_string().contains("publishing")));
        slow.set(false);
    }
}
