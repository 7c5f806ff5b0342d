//! Parked input in a checkpoint, summed up: what waits for an operator that is paused or slow.

use reprise_core::checkpoint::manifest::ParkedRef;
use reprise_core::checkpoint::manifest::{InstanceState, Manifest, OperatorState};
use std::collections::BTreeMap;

/// Parked input in short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParkedSummary {
    /// Rows that wait.
    pub rows: u64,
    /// Their size in memory, in bytes.
    pub bytes: u64,
    /// When the oldest was parked: milliseconds since 1970-01-01T00:00:00Z, by the host's clock; `None` where nothing waits.
    pub since_ms: Option<i64>,
    /// Objects that hold it. One that several instances share counts once.
    pub objects: usize,
    /// Their bytes.
    pub object_bytes: u64,
}

/// Of one object: it itself in entries and bytes, and rows and bytes that wait.
struct Share {
    entries: u64,
    object_bytes: u64,
    rows: u64,
    bytes: u64,
}

impl ParkedSummary {
    /// All that waits in a checkpoint.
    #[must_use]
    pub fn of_manifest(manifest: &Manifest) -> Self {
        Self::of(manifest.operators.iter().flat_map(|operator| &operator.instances).flat_map(|instance| &instance.parked))
    }

    /// What waits for an operator.
    #[must_use]
    pub fn of_operator(operator: &OperatorState) -> Self {
        Self::of(operator.instances.iter().flat_map(|instance| &instance.parked))
    }

    /// What waits for an instance.
    #[must_use]
    pub fn of_instance(instance: &InstanceState) -> Self {
        Self::of(instance.parked.iter())
    }

    /// Where a run has just begun with another number of instances, the shares in an object are not told apart yet, and each says the whole: they
    /// count as what the object has, at most.
    fn of<'a>(parked: impl Iterator<Item = &'a ParkedRef>) -> Self {
        let mut shares: BTreeMap<&str, Share> = BTreeMap::new();
        let mut since_ms = None;
        for ParkedRef { object, rows, bytes, since_ms: since, .. } in parked {
            let whole = Share { entries: object.entries, object_bytes: object.bytes, rows: 0, bytes: 0 };
            let share = shares.entry(object.path.as_str()).or_insert(whole);
            share.rows = share.rows.saturating_add(*rows).min(share.entries);
            share.bytes = share.bytes.saturating_add(*bytes).min(share.object_bytes);
            since_ms = Some(since_ms.map_or(*since, |earlier: i64| earlier.min(*since)));
        }
        let sum = |pick: fn(&Share) -> u64| shares.values().map(pick).fold(0, u64::saturating_add);
        let (rows, bytes, object_bytes) = (sum(|share| share.rows), sum(|share| share.bytes), sum(|share| share.object_bytes));
        Self { rows, bytes, since_ms, objects: shares.len(), object_bytes }
    }

    /// How long the oldest has waited at this time, milliseconds.
    #[must_use]
    pub fn age_ms(&self, now_ms: i64) -> Option<u64> {
        self.since_ms.map(|since| now_ms.saturating_sub(since).max(0).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprise_core::checkpoint::manifest::ObjectRef;
    use reprise_core::codec::snapshot::SnapshotScope;

    fn parked(path: &str, rows: u64, since_ms: i64) -> ParkedRef {
        let object = ObjectRef { path: path.into(), scope: SnapshotScope::Full, bytes: 1_000, checksum: 0, entries: 10 };
        ParkedRef { object, hops: vec![], done: 0, rows, bytes: rows * 20, since_ms }
    }

    #[test]
    fn an_object_that_instances_share_counts_once() {
        let instance = |parked| InstanceState { parked, ..InstanceState::default() };
        let instances = vec![instance(vec![parked("a", 3, 70), parked("b", 5, 80)]), instance(vec![parked("a", 4, 60)])];
        assert_eq!(
            ParkedSummary::of_instance(&instances[0]),
            ParkedSummary { rows: 8, bytes: 160, since_ms: Some(70), objects: 2, object_bytes: 2_000 }
        );
        let operator = OperatorState { name: "o".into(), component: Default::default(), slots: vec![], instances };
        let all = ParkedSummary { rows: 12, bytes: 240, since_ms: Some(60), objects: 2, object_bytes: 2_000 };
        assert_eq!(ParkedSummary::of_operator(&operator), all);
        let manifest = Manifest { operators: vec![operator], ..Manifest::default() };
        assert_eq!(ParkedSummary::of_manifest(&manifest), all);
        assert_eq!((all.age_ms(100), all.age_ms(5), ParkedSummary::default().age_ms(9)), (Some(40), Some(0), None));
    }

    #[test]
    fn shares_that_are_not_told_apart_count_as_their_object_at_most() {
        let all = [parked("a", 8, 1), parked("a", 8, 1), parked("a", 8, 1)];
        assert_eq!(ParkedSummary::of(all.iter()).rows, 10);
        assert_eq!(ParkedSummary::of([].iter()), ParkedSummary::default());
    }
}
