//! Settings of a runtime: how many guests there may be, how large they may become, whether their instructions are counted.

use super::load::LoadError;
use std::path::PathBuf;
use std::time::Duration;

/// Address space reserved for each memory, where there is enough. With 4 GiB and a guard behind them no access needs a check of its own, because a 32-bit
/// address cannot reach past them: measured, guests run 1.5 times as fast as with a smaller reservation. It is address space, not memory:
/// nothing is committed before a guest touches it.
pub(super) const RESERVATION_BYTES: u64 = 4 << 30;
/// Memory behind each memory that no guest can touch, so that an access past its end is noticed. As wasmtime has it for the reservation above.
pub(super) const GUARD_BYTES: u64 = 32 << 20;
/// Stack of a guest, unless a job says otherwise.
const STACK_BYTES_DEFAULT: usize = 512 << 10;

/// Settings of a [`Runtime`](super::Runtime).
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of compiled components, in files that only this user can write. `None`: compile at every start.
    pub cache_dir: Option<PathBuf>,
    /// Grain of deadlines, 1 to 10 ms.
    pub tick: Duration,
    /// Instances that may live at the same time, 1 to 4096. 4 GiB of address space are reserved for each.
    pub instances_max: u32,
    /// Linear memories that all of them may have beyond one each, for components that have several.
    pub further_memories_max: u32,
    /// The most linear memory that any operator may be allowed, 64 KiB to 4 GiB.
    pub memory_bytes_max: u64,
    /// Stack of a guest, 64 KiB to 1 MiB. It is part of the calling thread's, which needs 512 KiB beyond it.
    pub stack_bytes_max: usize,
    /// Guests' instructions are counted, for [`Usage::fuel`](super::Usage). It slows them down, so that operators which ask for it are given
    /// a runtime of their own.
    pub fuel: bool,
}

/// Most instances that one runtime has room for: each takes 4 GiB of address space.
pub const INSTANCES_MAX: u32 = 4_096;

impl Default for Settings {
    fn default() -> Self {
        Self {
            cache_dir: None,
            tick: Duration::from_millis(5),
            instances_max: 256,
            further_memories_max: 0,
            memory_bytes_max: RESERVATION_BYTES,
            stack_bytes_max: STACK_BYTES_DEFAULT,
            fuel: false,
        }
    }
}

impl Settings {
    /// The settings with room for instances of a component with so many memories each.
    #[must_use]
    pub fn with_memories(self, each: u32) -> Self {
        let further_memories_max = self.instances_max.saturating_mul(each.saturating_sub(1));
        Self { further_memories_max, ..self }
    }

    /// Linear memories that all instances may have.
    pub(super) fn memories_max(&self) -> u32 {
        self.instances_max.saturating_add(self.further_memories_max)
    }

    /// Address space that is taken at the start where each memory has its whole reservation.
    pub(super) fn wide_bytes(&self) -> u64 {
        u64::from(self.memories_max()).saturating_mul(RESERVATION_BYTES + GUARD_BYTES)
    }

    /// Refuses settings out of their ranges.
    ///
    /// # Errors
    /// [`LoadError::Setting`].
    pub(super) fn check(&self) -> Result<(), LoadError> {
        let refuse = |name, why: &str| Err(LoadError::Setting { name, why: why.to_owned() });
        if !(Duration::from_millis(1)..=Duration::from_millis(10)).contains(&self.tick) {
            return refuse("tick", "must be 1 to 10 ms");
        }
        if !(1..=INSTANCES_MAX).contains(&self.instances_max) {
            return refuse("instances_max", &format!("must be 1 to {INSTANCES_MAX}"));
        }
        if self.memories_max() > INSTANCES_MAX.saturating_mul(4) {
            return refuse("further_memories_max", &format!("must leave at most {} memories in all", INSTANCES_MAX * 4));
        }
        if !(64 << 10..=RESERVATION_BYTES).contains(&self.memory_bytes_max) {
            return refuse("memory_bytes_max", "must be 64 KiB to 4 GiB");
        }
        if !(64 << 10..=1 << 20).contains(&self.stack_bytes_max) {
            return refuse("stack_bytes_max", "must be 64 KiB to 1 MiB");
        }
        Ok(())
    }
}
