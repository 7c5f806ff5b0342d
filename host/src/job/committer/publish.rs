//! Publishes output beside the committer: each sink in a lane of its own, the epochs of a lane in order, the instances of an epoch together.
//!
//! ```text
//! committer: manifest n is stored ──> publish(n) ──> lane of each sink ──publish, on a thread that may block──> through(lane, n)
//!                                                                                                   all lanes have n ──> n is published
//! ```
//! What waits in the lanes is bounded by the coordinator, which lets at most `UNPUBLISHED_MAX` manifests be ahead of their output. Nothing is
//! decided here: a manifest that is not known to be published is named again by later ones, whatever happens to a lane.
//!
//! The lanes end with the publisher, and a call that is under way then does not: an attempt that is to publish the same output again waits for
//! it, see [`PublishCalls`].

use crate::connect::{ConnectError, SinkConnector, Staged};
use crate::engine::Failure;
use crate::job::error::Error;
use crate::job::notice::{Notice, Watch};
use reprise_core::checkpoint::manifest::StagedRef;
use reprise_core::checkpoint::publishing::LaneOutput;
use reprise_core::ids::Epoch;
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

/// The publish calls of one attempt, which outlive the lane that waits for them. Clones share them.
#[derive(Clone)]
pub(in crate::job) struct PublishCalls {
    /// One permit for each lane; a call takes one along.
    permits: Arc<Semaphore>,
    lanes: u32,
}

impl PublishCalls {
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
        // The semaphore is never closed.
        if let Ok(all) = all.map_err(hangs)? {
            all.forget();
        }
        Ok(())
    }

    /// Begins a call on a thread that may block. Where the calls have settled it waits for ever.
    async fn begin<T: Send + 'static>(&self, call: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return std::future::pending().await };
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            call()
        })
    }
}

/// A sink of the job, with its name in the topology.
pub(in crate::job) struct NamedSink {
    pub name: String,
    pub sink: Arc<dyn SinkConnector>,
}

/// The lanes in which the sinks of a run publish. What each is given, and when an epoch is published, is decided in
/// [`reprise_core::checkpoint::publishing`].
pub(in crate::job) struct Publisher {
    lanes: Vec<mpsc::UnboundedSender<LaneOutput>>,
    through: mpsc::UnboundedReceiver<Result<(usize, Epoch), Error>>,
    /// The lanes end with this.
    _tasks: JoinSet<()>,
}

impl Publisher {
    /// Starts a lane for each sink.
    pub fn start(sinks: Vec<NamedSink>, calls: &PublishCalls, watch: &Watch) -> Self {
        let (tell, through) = mpsc::unbounded_channel();
        let (mut lanes, mut tasks) = (Vec::new(), JoinSet::new());
        for (lane, sink) in sinks.into_iter().enumerate() {
            let (give, given) = mpsc::unbounded_channel();
            let lane = Lane { lane, sink, calls: calls.clone(), tell: tell.clone(), watch: Arc::clone(watch) };
            tasks.spawn(lane.run(given));
            lanes.push(give);
        }
        Self { lanes, through, _tasks: tasks }
    }

    /// Gives a lane its next output.
    pub fn publish(&mut self, output: LaneOutput) {
        if let Some(lane) = self.lanes.get(output.lane) {
            // A lane that has ended has told why.
            let _ = lane.send(output);
        }
    }

    /// The next lane that is through with an epoch. Nothing is lost where the answer is not waited for.
    ///
    /// # Errors
    /// A sink has failed; its lane has ended.
    pub async fn through(&mut self) -> Result<(usize, Epoch), Error> {
        match self.through.recv().await {
            Some(through) => through,
            None => std::future::pending().await,
        }
    }
}

/// What a lane works with.
struct Lane {
    lane: usize,
    sink: NamedSink,
    calls: PublishCalls,
    tell: mpsc::UnboundedSender<Result<(usize, Epoch), Error>>,
    watch: Watch,
}

impl Lane {
    async fn run(self, mut given: mpsc::UnboundedReceiver<LaneOutput>) {
        while let Some(LaneOutput { mut epoch, mut staged, .. }) = given.recv().await {
            while staged.len() < BATCH_MAX {
                let Ok(more) = given.try_recv() else { break };
                epoch = more.epoch;
                staged.extend(more.staged);
            }
            let published = if staged.is_empty() { Ok(()) } else { self.publish(staged).await };
            let failed = published.is_err();
            // A send fails where the run is over.
            let _ = self.tell.send(published.map(|()| (self.lane, epoch)));
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
    use reprise_core::checkpoint::manifest::{Manifest, SinkState};
    use reprise_core::checkpoint::publishing::PublishLanes;
    use reprise_core::ids::Generation;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Condvar, Mutex};

    /// A sink that notes what it publishes, and waits at a gate before that.
    #[derive(Default)]
    struct Gated {
        is_shut: Mutex<bool>,
        opened: Condvar,
        /// PublishCalls that have come to the gate.
        waiting: AtomicU64,
        calls: Mutex<Vec<Vec<String>>>,
    }

    impl Gated {
        /// Waits until a call of the sink hangs.
        async fn hangs(&self) {
            while self.waiting.load(Ordering::Acquire) == 0 {
                tokio::task::yield_now().await;
            }
        }

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
            workers: 1,
            sinks: vec![SinkState { name: "slow".into(), staged: vec![], rows: 0 }],
            ..Manifest::default()
        }
    }

    /// A publisher with the lanes that tell it what to publish.
    struct Publishing {
        publisher: Publisher,
        lanes: PublishLanes,
    }

    impl Publishing {
        fn publish(&mut self, manifest: Manifest, staged: Vec<(usize, StagedRef)>) -> Vec<Manifest> {
            let (outputs, published) = self.lanes.publish(manifest, staged);
            outputs.into_iter().for_each(|output| self.publisher.publish(output));
            published
        }
    }

    fn start() -> (Arc<Gated>, Arc<Gated>, Publishing) {
        start_with(&PublishCalls::new(2))
    }

    fn start_with(calls: &PublishCalls) -> (Arc<Gated>, Arc<Gated>, Publishing) {
        let (slow, quick) = (Arc::new(Gated::default()), Arc::new(Gated::default()));
        let named = |name: &str, sink: &Arc<Gated>| NamedSink { name: name.into(), sink: Arc::clone(sink) as Arc<dyn SinkConnector> };
        let watch: Watch = Arc::new(|_| ());
        let publisher = Publisher::start(vec![named("slow", &slow), named("quick", &quick)], calls, &watch);
        let publisher = Publishing { publisher, lanes: PublishLanes::new(2, Epoch(10)) };
        (slow, quick, publisher)
    }

    /// Takes notes until so many manifests are published; gives their epochs.
    async fn published(publisher: &mut Publishing, mut done: Vec<Manifest>, count: usize) -> Vec<u64> {
        while done.len() < count {
            let (lane, epoch) = publisher.publisher.through().await.unwrap_or_else(|error| panic!("{error}"));
            done.extend(publisher.lanes.through(lane, epoch));
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
        assert!(done.is_empty() && publisher.lanes.behind() == 30);
        while quick.published().len() < 30 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(slow.published().is_empty());
        slow.set(false);
        let all = published(&mut publisher, done, 30).await;
        assert_eq!(all, (11..=40).collect::<Vec<_>>(), "in the order of epochs, and each once");
        assert_eq!(slow.published(), (11..=40).map(|of| format!("slow-{of}")).collect::<Vec<_>>(), "each once, in order");
        assert_eq!(publisher.lanes.behind(), 0);
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
        assert!(matches!(publisher.publisher.through().await, Err(Error::Engine(_))));
        assert_eq!(publisher.lanes.behind(), 2);
    }
    #[tokio::test]
    async fn who_settles_the_calls_waits_for_those_that_outlive_their_run_and_none_begins_later() {
        let calls = PublishCalls::new(2);
        let (slow, _, mut publisher) = start_with(&calls);
        slow.set(true);
        drop(publisher.publish(manifest(11), vec![(0, output(11, "slow"))]));
        slow.hangs().await;
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
        let calls = PublishCalls::new(2);
        let (slow, _, mut publisher) = start_with(&calls);
        slow.set(true);
        drop(publisher.publish(manifest(11), vec![(0, output(11, "slow"))]));
        slow.hangs().await;
        drop(publisher);
        let ended = calls.settle_within(Duration::from_millis(1)).await;
        assert!(ended.is_err_and(|error| error.to_string().contains("publishing")));
        slow.set(false);
    }
}
