//! How much is measured: rows, keys, rounds, faults.

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of the throughput runs with few keys.
    pub rows: u64,
    /// Few keys.
    pub keys: u64,
    /// Many keys.
    pub keys_large: u64,
    /// Rounds, of which the median counts.
    pub rounds: u64,
    /// Rows that may trap, with few keys. About half of them do, and those that trap again are left out.
    pub traps: u64,
    /// The same with many keys.
    pub traps_large: u64,
    /// Rows that always trap.
    pub poison: u64,
    /// Kills of the process.
    pub kills: u64,
    /// How long the run for the latency is.
    pub latency_s: u64,
}

impl Sizes {
    /// Those of the results that are kept.
    pub fn full() -> Self {
        Self {
            rows: 20_000_000,
            keys: 100_000,
            keys_large: 5_000_000,
            rounds: 5,
            traps: 400,
            traps_large: 32,
            poison: 10,
            kills: 5,
            latency_s: 30,
        }
    }

    /// A look within some minutes.
    pub fn quick() -> Self {
        Self { keys_large: 1_000_000, rounds: 3, traps: 120, traps_large: 12, poison: 5, kills: 3, latency_s: 10, ..Self::full() }
            .with_rows(4_000_000)
    }

    /// The same with other rows.
    pub fn with_rows(self, rows: u64) -> Self {
        Self { rows, ..self }
    }

    /// Rows of the runs with many keys: each key comes twice.
    pub fn rows_large(&self) -> u64 {
        2 * self.keys_large
    }
}
