//! The settings of a verification.

use crate::wasm::Limits;

/// The settings that an operator is verified with.
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
