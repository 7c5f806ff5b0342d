//! Whether a checkpoint fits the topology: no state of a node may be without its node.

use super::assembly::digest;
use super::attempt::Job;
use crate::job::error::Error;
use crate::job::notice::Notice;
use crate::job::restore;
use reprise_core::checkpoint::manifest::{Manifest, OperatorState};
use reprise_core::checkpoint::quarantine::is_replay_source;

impl Job {
    /// Refuses a checkpoint that has state for nodes that the topology no longer has.
    pub(super) fn check_nodes(&self, base: Option<&Manifest>, tell: bool) -> Result<(), Error> {
        let Some(base) = base else { return Ok(()) };
        if tell && base.topology != digest(&self.plan().topology.digest_text()) {
            self.tell(Notice::OtherTopology);
        }
        let topology = &self.plan().topology;
        let misfit = |kind: &str, name: &str| Error::Misfit {
            epoch: base.epoch,
            what: format!("it has state of the {kind} `{name}`, which the topology does not have"),
            help: "give the node its old name back, or start a new job under another `name`".into(),
        };
        let sources = base.sources.iter().filter(|s| !s.splits.is_empty() && !is_replay_source(&s.name));
        if let Some(gone) = sources.map(|s| &s.name).find(|name| !topology.sources.iter().any(|now| now.name == **name)) {
            return Err(misfit("source", gone));
        }
        for operator in &base.operators {
            let Some(at) = topology.operators.iter().position(|now| now.name == operator.name) else {
                if let Some(rows) = Some(parked_rows(operator)).filter(|rows| *rows > 0) {
                    return Err(Error::Misfit {
                        epoch: base.epoch,
                        what: format!("{rows} rows are parked for the operator `{}`, which the topology does not have", operator.name),
                        help: "give the operator back, so that they are worked off; or give it back once, and drop them or move them to quarantine with `reprise parked`".into(),
                    });
                }
                if operator.instances.iter().all(|i| i.chain.is_empty()) {
                    continue;
                }
                return Err(misfit("operator", &operator.name));
            };
            if restore::has_state(operator) {
                restore::moves(operator, &self.plan().descriptions[at], base.epoch)?;
            }
            if tell && self.prepared.components[at].digest() != operator.component {
                self.tell(Notice::OtherComponent { operator: operator.name.clone() });
            }
        }
        let sinks = base.sinks.iter().filter(|s| !s.staged.is_empty());
        if let Some(gone) = sinks.map(|s| &s.name).find(|name| !topology.sinks.iter().any(|now| now.name == **name)) {
            return Err(misfit("sink", gone));
        }
        Ok(())
    }
}

/// Rows that wait for an operator. Those that instances have in common count for each.
fn parked_rows(operator: &OperatorState) -> u64 {
    operator.instances.iter().flat_map(|instance| &instance.parked).map(|parked| parked.rows).sum()
}
