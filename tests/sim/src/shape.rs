//! How many instances there are: of source and sink one on each worker; of the operator as many as its `parallelism` asks for, the same
//! number on each worker. A process that is started later may have other numbers.
//!
//! Keys belong to instances of the operator, and so do chains. Where only the workers change, each instance goes on with its chain; with
//! another number of instances their cells go to the owners of their keys, and all chains begin anew.

use crate::random::Random;
use reprise_core::keying;

/// Workers of a job, at most.
pub const WORKERS_MAX: u64 = 3;
/// Instances of the operator that are asked for, at most.
const PARALLELISM_MAX: u64 = 6;
/// Of 1000 changes, so many change what is asked for, too.
const OTHER_PARALLELISM: u64 = 400;

/// The numbers of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Workers. Each has an instance of the source, and one of the sink.
    pub workers: u32,
    /// Instances of the operator that are asked for, over all workers.
    pub parallelism: u32,
}

impl Shape {
    /// That of so many workers; chance picks what is asked for.
    #[must_use]
    pub fn new(workers: u32, random: &mut Random) -> Self {
        Self { workers, parallelism: random.between(1, PARALLELISM_MAX) as u32 }
    }

    /// Another one that chance picks: often with as many instances on other workers.
    #[must_use]
    pub fn another(self, random: &mut Random) -> Self {
        let workers = random.between(1, WORKERS_MAX) as u32;
        if random.chance(OTHER_PARALLELISM) { Self::new(workers, random) } else { Self { workers, ..self } }
    }

    /// Instances of the operator over all workers.
    #[must_use]
    pub fn instances(self) -> u32 {
        keying::instances(self.parallelism, self.workers)
    }

    /// The instance of the source that reads a split.
    #[must_use]
    pub fn reader(self, split: usize) -> u32 {
        split as u32 % self.workers
    }

    /// The instance of the operator after this one on its worker, the first one after the last one.
    #[must_use]
    pub fn next_on_worker(self, at: u32) -> u32 {
        let each = self.instances() / self.workers;
        let local = keying::of_worker(at / each, self.instances(), self.workers);
        local.start + (at + 1 - local.start) % each
    }
}

/// The instance of the operator, of so many, that has this key.
#[must_use]
pub fn owner(key: &[u8], instances: u32) -> u32 {
    keying::owner(keying::group(key), instances)
}
