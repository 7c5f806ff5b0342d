//! Hands out a snapshot a cell at a time, for ever, and works on each for a while: every part is quick, and the snapshot never ends. Counts
//! rows by key, and lies in every snapshot after a value `poison`.

use components::lies::{Liar, Lie, Part, crumb};

struct SnapshotDrip;

impl Lie for SnapshotDrip {
    const NAME: &'static str = "snapshot-drip";

    fn part(part: &mut Part) {
        (0..3_000_000u64).for_each(|round| {
            std::hint::black_box(round);
        });
        part.chunks = vec![crumb()];
        part.done = false;
    }
}

type Guest = Liar<SnapshotDrip>;
components::export_lying!(Guest);
