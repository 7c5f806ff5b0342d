//! What is around a sink.

use crate::store;
use std::path::PathBuf;
use std::sync::Arc;

/// What is around a sink: whose it is, where it is, and what its storage calls need.
#[derive(Debug, Clone)]
pub struct SinkContext {
    /// The folder of the topology file; relative paths start here.
    pub base_dir: PathBuf,
    /// Name of the job.
    pub job: String,
    /// Name of the sink.
    pub sink: String,
    /// Runs storage calls, which are asynchronous.
    pub runtime: tokio::runtime::Handle,
    /// Limits of storage calls.
    pub storage: store::StoreLimits,
    /// May interfere with storage calls.
    pub intercept: Option<Arc<dyn store::Intercept>>,
}
