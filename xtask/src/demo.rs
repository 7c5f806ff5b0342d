//! x
use anyhow::Result;
pub const TIMES_DEFAULT: u64 = 60;
pub fn demo(_: u64) -> Result<()> {
    Ok(())
}
