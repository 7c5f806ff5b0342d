//! Snapshot chains: when one is due to be compacted. [`super::fold`] makes one full snapshot of it.
//!
//! A chain is a full snapshot and the deltas after it. The host compacts it without the guest: it knows cells by slot, key and item. So
//! a guest is asked for a full snapshot only where it begins a chain.
//!
//! Costs: a compaction reads and writes the state once. It is due at the latest when the deltas together have as many bytes as the
//! full snapshot, so over time it moves no more bytes than the deltas themselves.

use super::manifest::ObjectRef;

/// Deltas below which a chain is left alone however large they are: reading it back costs little.
const DELTAS_MIN: u32 = 4;
/// How many times `length_max` a chain may have, and `DELTAS_MIN` more, before new checkpoints wait for its compaction.
const SLACK: u32 = 4;

/// The limits of a chain. They come from the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainLimits {
    /// Deltas after which a chain is compacted. 0: every snapshot is full, and nothing is ever compacted.
    pub length_max: u32,
    /// Bytes of deltas after which it is compacted.
    pub bytes_max: u64,
}

impl ChainLimits {
    /// The chain should be compacted.
    #[must_use]
    pub fn is_due(&self, chain: &[ObjectRef]) -> bool {
        let Some((full, deltas)) = chain.split_first() else { return false };
        let (count, bytes) = (deltas.len() as u32, deltas.iter().map(|d| d.bytes).fold(0, u64::saturating_add));
        count > 0 && (count >= self.length_max || bytes >= self.bytes_max || (count >= DELTAS_MIN && bytes > full.bytes))
    }

    /// The chain has outrun its compaction: no checkpoint should make it longer.
    #[must_use]
    pub fn is_over(&self, chain: &[ObjectRef]) -> bool {
        chain.len() as u64 > u64::from(self.length_max) * u64::from(SLACK) + u64::from(DELTAS_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::snapshot::SnapshotScope;

    fn chain(sizes: &[u64]) -> Vec<ObjectRef> {
        let scope = |at| if at == 0 { SnapshotScope::Full } else { SnapshotScope::Delta };
        let object = |(at, &bytes): (usize, &u64)| ObjectRef { path: format!("o{at}"), scope: scope(at), bytes, checksum: 0, entries: 1 };
        sizes.iter().enumerate().map(object).collect()
    }

    #[test]
    fn a_chain_is_due_by_length_by_bytes_and_by_proportion() {
        let limits = ChainLimits { length_max: 8, bytes_max: 1000 };
        assert!(!limits.is_due(&[]));
        assert!(!limits.is_due(&chain(&[5_000])), "a full snapshot alone cannot be shortened");
        assert!(!limits.is_due(&chain(&[5_000, 1, 1, 1, 1, 1, 1, 1])));
        assert!(limits.is_due(&chain(&[5_000, 1, 1, 1, 1, 1, 1, 1, 1])), "8 deltas");
        assert!(limits.is_due(&chain(&[5_000, 999, 1])), "1000 bytes");
        assert!(!limits.is_due(&chain(&[10, 9, 9, 9])), "so few deltas are left alone");
        assert!(limits.is_due(&chain(&[10, 9, 1, 1, 1])), "as large as the full snapshot");
        assert!(!limits.is_over(&chain(&[1; 36])));
        assert!(limits.is_over(&chain(&[1; 37])));
    }
}
