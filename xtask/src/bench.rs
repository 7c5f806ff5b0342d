//! x
use anyhow::Result;
pub const ROWS_DEFAULT: u64 = 10_000_000;
pub const ROUNDS_DEFAULT: u64 = 3;
pub fn bench(_: u64, _: u64) -> Result<()> {
    Ok(())
}
