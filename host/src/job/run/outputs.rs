//! The sinks of a job at the start of a run: whether their places are this job's, and what they put in order.

use super::attempt::{Job, cannot_start};
use super::seen_sinks::SeenSinks;
use crate::job::blocking::blocking;
use crate::job::committer::NamedSink;
use crate::job::error::{Error, failed};
use crate::job::identity;
use crate::job::notice::Notice;
use crate::job::recovery;

use crate::connect::{self, ConnectError, Recovery, RowEncoding, SinkConnector, Staged};
use reprise_core::checkpoint::manifest::Manifest;
use reprise_core::checkpoint::paths;
use reprise_core::checkpoint::recovery::RecoveredJob;
use reprise_core::ids::{Epoch, Generation};
use reprise_core::topology::Node;
use std::sync::Arc;

impl Job {
    /// Opens the sinks and looks at their places, before anything is claimed or written but the identity of the job.
    ///
    /// The places are looked at first and the store then: what is published has a manifest before, so that whatever another host does meanwhile,
    /// the store knows it.
    pub(super) async fn look_at_sinks(&self, writer: u64, first: bool) -> Result<(Vec<NamedSink>, SeenSinks), Error> {
        let name = &self.plan().topology.name;
        let sinks = self.open_sinks().await?;
        let life = identity::of(&self.store, name, &self.options.clock).await?;
        let mut holdings = Vec::new();
        for NamedSink { name, sink } in &sinks {
            let sink = Arc::clone(sink);
            holdings.push(blocking(move || sink.holding()).await?.map_err(cannot_start("sink", name))?);
        }
        let claimed = recovery::newest_generation(&self.store).await.map_err(failed("list generations"))?;
        // A claim may be lost whose manifests are there.
        let seen = recovery::glance(&self.store, name).await?;
        let claimed = seen.map_or(claimed, |manifest| manifest.generation.max(claimed));
        let listed = self.store.list(paths::CHECKPOINTS).await.map_err(failed("list checkpoints"))?;
        let newest = listed.iter().filter_map(|entry| paths::manifest_epoch(&entry.path)).max().unwrap_or(Epoch(0));
        let mut look = SeenSinks { after: Epoch(0), life, writer, adopt: vec![None; sinks.len()], now_ms: self.options.clock.now_ms() };
        let recovery = look.recovery(None, newest.next(), Generation(claimed.0.saturating_add(1)));
        let looked = sinks.iter().zip(&holdings).zip(&self.plan().topology.sinks).zip(&mut look.adopt);
        for (((NamedSink { name, .. }, holding), sink), adopt) in looked {
            let place = connect::place(&sink.kind, &self.prepared.base_dir);
            if !(self.options.adopt && first) {
                holding.check(&place, name, &recovery).map_err(cannot_start("sink", name))?;
                continue;
            }
            let Some(what) = holding.unknown(&place, name, &recovery) else { continue };
            self.tell(Notice::Adopted { sink: name.clone(), what });
            *adopt = Some(holding.newest_note());
            look.after = look.after.max(Epoch(holding.newest.unwrap_or(0)));
        }
        Ok((sinks, look))
    }

    async fn open_sinks(&self) -> Result<Vec<NamedSink>, Error> {
        let plan = self.plan();
        let mut sinks = Vec::new();
        for (index, sink) in plan.topology.sinks.iter().enumerate() {
            let encodings = plan.edges.iter().filter(|e| e.to == Node::Sink(index)).map(|edge| self.encoding(edge.from, edge.port));
            let encodings: Vec<RowEncoding> = encodings.collect();
            let around = connect::SinkContext {
                base_dir: self.prepared.base_dir.clone(),
                job: plan.topology.name.clone(),
                sink: sink.name.clone(),
                runtime: tokio::runtime::Handle::current(),
                storage: self.store.limits().clone(),
                intercept: self.options.intercept.clone(),
            };
            let settings = sink.clone();
            // Sinks block.
            let opened = blocking(move || connect::sink(&settings, &around, encodings)).await?;
            let opened: Arc<dyn SinkConnector> = opened.map_err(cannot_start("sink", &sink.name))?.into();
            sinks.push(NamedSink { name: sink.name.clone(), sink: opened });
        }
        Ok(sinks)
    }

    /// Lets the sinks put their output in order.
    pub(super) async fn recover_sinks(&self, sinks: &[NamedSink], look: &SeenSinks, up: &RecoveredJob) -> Result<(), Error> {
        let common = look.recovery(up.base.as_ref().and_then(Manifest::covered), up.first_own, up.generation);
        for (NamedSink { name, sink }, adopt) in sinks.iter().zip(&look.adopt) {
            let recovery = Recovery { adopt: *adopt, ..common };
            let old = up.base.as_ref().and_then(|b| b.sinks.iter().find(|s| s.name == *name));
            let staged = old.map_or(&[][..], |s| &s.staged);
            let staged: Vec<Staged> = staged.iter().map(|s| Staged { token: s.token.clone(), rows: s.rows, bytes: s.bytes }).collect();
            let opened = Arc::clone(sink);
            let recovered = match blocking(move || opened.recover(&recovery, &staged)).await? {
                Ok(recovered) => recovered,
                Err(error) => return Err(self.not_recovered(name, error, up.generation).await),
            };
            if !sink.exactly_once() {
                self.tell(Notice::Weaker { what: format!("sink `{name}` shows rows at once: after a crash some are shown again") });
            }
            self.tell(Notice::SinkRecovered { sink: name.clone(), recovered });
        }
        Ok(())
    }

    /// Why a sink could not put its output in order. It may be that another host runs the job by now, and that the output is that one's.
    async fn not_recovered(&self, name: &str, error: ConnectError, ours: Generation) -> Error {
        if matches!(error, ConnectError::Unknown { .. }) {
            match recovery::newest_generation(&self.store).await {
                Ok(theirs) if theirs > ours => return Error::Fenced { ours, theirs },
                _ => {}
            }
        }
        cannot_start("sink", name)(error)
    }
}
