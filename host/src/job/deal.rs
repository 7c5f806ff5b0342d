//! Which instance of a source reads which split.
//!
//! With the same number of workers a split stays with its instance: operators that take rows from their own worker were told a watermark on the
//! word of that instance. For the same reason new splits go to instances that still have something to read, where there are any.

use crate::connect::{SourceConnector, SourceSplit};
use reprise_core::checkpoint::manifest;
use std::collections::{BTreeMap, BTreeSet};

/// The instance for each of `splits`, in their order. `known`: the splits of the checkpoint, if there is one that had as many workers.
///
/// Where nothing of a checkpoint is left to read, new splits go to the first instance: the others may have told that their input had ended,
/// and nobody may have rows after that. The first one looks for new splits where a source follows its input, and does not end.
pub(super) fn owners(
    source: &dyn SourceConnector,
    splits: &[SourceSplit],
    known: Option<&[manifest::SplitPosition]>,
    workers: u32,
) -> Vec<u32> {
    let (workers, is_fresh) = (workers.max(1), known.is_none());
    let known = known.unwrap_or_default();
    let kept: BTreeMap<&str, u32> = known.iter().map(|k| (k.split.as_str(), k.instance.0 % workers)).collect();
    let busy: BTreeSet<u32> =
        splits.iter().filter(|split| !source.is_done(split)).filter_map(|split| kept.get(split.split.as_str()).copied()).collect();
    let takers: Vec<u32> = match (busy.is_empty(), is_fresh) {
        (true, true) => (0..workers).collect(),
        (true, false) => vec![0],
        (false, _) => busy.into_iter().collect(),
    };
    let mut turn = takers.iter().copied().cycle();
    splits.iter().map(|split| kept.get(split.split.as_str()).copied().or_else(|| turn.next()).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::{ConnectError, SourceReader};
    use reprise_core::ids::Instance;

    /// Splits whose position is "done" are done.
    struct Told;

    impl SourceConnector for Told {
        fn splits(&self, known: &[SourceSplit]) -> Result<Vec<SourceSplit>, ConnectError> {
            Ok(known.to_vec())
        }

        fn is_done(&self, split: &SourceSplit) -> bool {
            split.position == "done"
        }

        fn reader(&self, _: Vec<SourceSplit>) -> Result<Box<dyn SourceReader>, ConnectError> {
            Err(ConnectError::ClosedPipe { what: "a test" })
        }

        fn replays(&self) -> bool {
            true
        }
    }

    fn split(name: &str, position: &str) -> SourceSplit {
        SourceSplit { split: name.into(), position: position.into() }
    }

    fn known(name: &str, instance: u32) -> manifest::SplitPosition {
        manifest::SplitPosition { split: name.into(), position: String::new(), instance: Instance(instance) }
    }

    #[test]
    fn at_first_splits_are_dealt_in_turn() {
        let splits = [split("a", ""), split("b", ""), split("c", "")];
        assert_eq!(owners(&Told, &splits, None, 2), [0, 1, 0]);
    }

    #[test]
    fn splits_stay_with_their_instance_whatever_their_order() {
        let splits = [split("c", ""), split("a", "done"), split("b", "")];
        assert_eq!(owners(&Told, &splits, Some(&[known("a", 0), known("b", 1), known("c", 0)]), 2), [0, 0, 1]);
    }

    #[test]
    fn after_the_end_of_all_that_was_known_the_first_instance_reads_on() {
        assert_eq!(owners(&Told, &[split("a", "")], Some(&[]), 2), [0]);
        assert_eq!(owners(&Told, &[split("a", "done"), split("b", ""), split("c", "")], Some(&[known("a", 1)]), 2), [1, 0, 0]);
    }

    #[test]
    fn new_splits_go_to_instances_that_have_not_ended() {
        let splits = [split("a", "done"), split("b", ""), split("c", ""), split("d", "")];
        assert_eq!(owners(&Told, &splits, Some(&[known("a", 0), known("b", 1)]), 2), [0, 1, 1, 1]);
    }
}
