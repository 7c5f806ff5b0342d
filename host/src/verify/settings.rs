//! What an operator is verified with.

use crate::wasm::Limits;

/// What an operator is run with.
#[derive(Debug, Clone)]
pub struct VerifySettings {
    /// Its configuration, JSON.
    pub config: String,
    /// All chance follows from it.
    pub seed: u64,
    /// Rounds of each check.
    pub rounds: u32,
    /// Limits of each instance.
    pub limits: Limits,
}
