//! Which objects hold the segments of parked input of a run. Each is noted once it is stored, before the report that names it.

use super::SegmentState;
use crate::checkpoint::layout::Participant;
use crate::checkpoint::manifest::{ObjectRef, ParkedRef};
use std::collections::BTreeMap;

/// The objects with parked input of a run, by instance and number.
#[derive(Debug, Default)]
pub struct SegmentObjects(BTreeMap<(Participant, u64), ParkedRef>);

impl SegmentObjects {
    /// Numbers the parked input that an instance begins with.
    pub fn begin(&mut self, at: Participant, parked: Vec<ParkedRef>) -> Vec<SegmentState> {
        let numbered = (0..).zip(parked).map(|(number, of)| {
            let ParkedRef { done, rows, bytes, since_ms, .. } = of;
            self.0.insert((at, number), of);
            SegmentState { number, done, rows, bytes, since_ms }
        });
        numbered.collect()
    }

    /// Takes note of an object that was stored.
    pub fn note(&mut self, at: Participant, number: u64, object: ObjectRef) {
        self.0.insert((at, number), ParkedRef { object, hops: Vec::new(), done: 0, rows: 0, bytes: 0, since_ms: 0 });
    }

    /// What a manifest says of the segments that a report names. Others of the instance are forgotten.
    ///
    /// # Errors
    /// The number of a segment that was not stored.
    pub fn refs(&mut self, at: Participant, states: &[SegmentState]) -> Result<Vec<ParkedRef>, u64> {
        let own = |state: &SegmentState| {
            let SegmentState { number, done, rows, bytes, since_ms } = *state;
            let stored = self.0.get(&(at, number)).cloned().ok_or(number)?;
            Ok(ParkedRef { done, rows, bytes, since_ms, ..stored })
        };
        let refs = states.iter().map(own).collect::<Result<_, u64>>()?;
        self.0.retain(|(of, number), _| *of != at || states.iter().any(|state| state.number == *number));
        Ok(refs)
    }

    /// A segment of which so many entries are done; `None` until it is stored.
    #[must_use]
    pub fn find(&self, at: Participant, number: u64, done: u64) -> Option<ParkedRef> {
        Some(ParkedRef { done, ..self.0.get(&(at, number))?.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::snapshot::SnapshotScope;
    use crate::topology::Node;

    #[test]
    fn segments_are_known_until_a_report_leaves_them_out() {
        let [one, other] = [0, 1].map(|instance| Participant { node: Node::Operator(0), instance });
        let object = |path: &str| ObjectRef::new(path.into(), SnapshotScope::Full, b"", 9);
        let parked = |path, done, rows| ParkedRef { object: object(path), hops: vec![], done, rows, bytes: 2 * rows, since_ms: 5 };
        let state = |number, done, rows| SegmentState { number, done, rows, bytes: 2 * rows, since_ms: 5 };
        let mut segments = SegmentObjects::default();
        assert_eq!(segments.begin(one, vec![parked("a", 3, 6), parked("b", 0, 9)]), [state(0, 3, 6), state(1, 0, 9)]);
        segments.note(one, 2, object("c"));
        segments.note(other, 0, object("d"));
        assert_eq!(segments.find(one, 1, 7).map(|of| (of.object.path, of.done)), Some(("b".into(), 7)));
        assert_eq!(segments.refs(one, &[state(1, 4, 5), state(2, 0, 9)]), Ok(vec![parked("b", 4, 5), parked("c", 0, 9)]));
        assert_eq!((segments.find(one, 0, 0), segments.find(other, 0, 0).is_some()), (None, true));
        assert_eq!(segments.refs(one, &[state(3, 0, 1)]), Err(3));
    }
}
