//! Random numbers of a simulation, in the units of its plans: all of its chance comes from one seed.

/// A sequence of random numbers.
#[derive(Debug, Clone)]
pub struct Random(reprise_core::random::Random);

impl Random {
    /// Of a seed always the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(reprise_core::random::Random::new(seed))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0.number()
    }

    /// A number below `end`, which is above 0. The bias is far below what a simulation can notice.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in `per_mille` of 1000 cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of them; `None` of none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len() as u64) as usize) }
    }
}
