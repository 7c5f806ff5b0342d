//! What lies in the places of a job's sinks and is of no sink: looked for once by a host, beside its first attempt, on a thread of its own. The
//! start does not wait for it, a run that has come to its end does for a second, and whatever it meets stops nothing.

use super::attempt::Job;
use crate::connect::{self, SinkConnector};
use crate::job::committer::NamedSink;
use crate::job::notice::Notice;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the end of a run waits for a look that is not over: a short run would else end before it.
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// A look that may be under way.
pub(super) struct ForeignLook(Option<oneshot::Receiver<()>>);

impl ForeignLook {
    /// Waits until what was found is told, for a limited time.
    pub async fn told(self) {
        if let Some(over) = self.0 {
            // Neither an end of the look nor a late one is worth more.
            let _ = tokio::time::timeout(TOLD_WITHIN, over).await;
        }
    }
}

impl Job {
    /// Begins to look, where this is the `first` attempt.
    pub(super) fn look_for_foreign(&self, sinks: &[NamedSink], first: bool) -> ForeignLook {
        if !first {
            return ForeignLook(None);
        }
        let places = self.plan().topology.sinks.iter().map(|sink| connect::place(&sink.kind, &self.prepared.base_dir));
        let looks: Vec<(String, String, Arc<dyn SinkConnector>)> =
            sinks.iter().zip(places).map(|(NamedSink { name, sink }, place)| (name.clone(), place, Arc::clone(sink))).collect();
        let watch = Arc::clone(&self.options.watch);
        let (over, is_over) = oneshot::channel();
        let work = move || {
            for (sink, place, opened) in looks {
                match opened.foreign() {
                    Ok(foreign) if foreign.count > 0 => watch(Notice::Foreign { sink, place, foreign }),
                    Ok(_) => {}
                    Err(error) => {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::warn!(sink, place, %error, cause, "whether foreign things lie beside the output cannot be told; the job goes on");
                    }
                }
            }
            // Nobody waits any more only where the run is over.
            let _ = over.send(());
        };
        if let Err(error) = std::thread::Builder::new().name("foreign-output".to_owned()).spawn(work) {
            tracing::warn!(%error, "there is no thread to look for foreign things beside the output; the job goes on");
        }
        ForeignLook(Some(is_over))
    }
}
