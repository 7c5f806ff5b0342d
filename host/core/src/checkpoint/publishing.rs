//! The order of publishing: each sink has a lane, in which it is given the output of epoch after epoch, each once. A checkpoint is published
//! when every lane is through with its epoch.
//!
//! A lane may lag behind the others. The coordinator bounds how far: at most `UNPUBLISHED_MAX` manifests are ahead of their output.

use super::manifest::{Manifest, StagedRef};
use crate::ids::Epoch;
use std::collections::VecDeque;

/// Output that a sink is to publish, up to and with an epoch; there may be none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneOutput {
    /// The sink's place in the topology file.
    pub lane: usize,
    /// The epoch.
    pub epoch: Epoch,
    /// The output, oldest first.
    pub staged: Vec<StagedRef>,
}

/// The lanes of all sinks of a run.
#[derive(Debug)]
pub struct PublishLanes {
    /// Up to which epoch each lane has been given output.
    given: Vec<Epoch>,
    /// Up to which epoch each lane is through.
    through: Vec<Epoch>,
    /// Manifests whose output is not published by all lanes, oldest first.
    waiting: VecDeque<Manifest>,
}

impl PublishLanes {
    /// Lanes for so many sinks. All output of epochs up to `published` is published.
    #[must_use]
    pub fn new(sinks: usize, published: Epoch) -> Self {
        Self { given: vec![published; sinks], through: vec![published; sinks], waiting: VecDeque::new() }
    }

    /// Manifests whose output is not published.
    #[must_use]
    pub fn behind(&self) -> usize {
        self.waiting.len()
    }

    /// Divides what a stored manifest names among the lanes, save what was given to a lane before. A lane that has nothing to wait for is
    /// through at once. Gives the manifests that are published by that, too.
    pub fn publish(&mut self, manifest: Manifest, staged: Vec<(usize, StagedRef)>) -> (Vec<LaneOutput>, Vec<Manifest>) {
        let epoch = manifest.epoch;
        self.waiting.push_back(manifest);
        let mut outputs: Vec<_> = (0..self.given.len()).map(|lane| LaneOutput { lane, epoch, staged: Vec::new() }).collect();
        for (lane, output) in staged {
            if self.given.get(lane).is_some_and(|given| output.epoch > *given) {
                outputs[lane].staged.push(output);
            }
        }
        outputs.retain_mut(|LaneOutput { lane, staged, .. }| {
            staged.sort_by_key(|output| output.epoch);
            let waits = !staged.is_empty() || self.through[*lane] != self.given[*lane];
            if !waits {
                self.through[*lane] = epoch;
            }
            self.given[*lane] = epoch;
            waits
        });
        (outputs, self.published())
    }

    /// Notes that a lane is through with an epoch; gives the manifests that are published by that, oldest first.
    pub fn through(&mut self, lane: usize, epoch: Epoch) -> Vec<Manifest> {
        if let Some(through) = self.through.get_mut(lane) {
            *through = epoch.max(*through);
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
