//! Hands out a snapshot that never ends. Counts rows by key, and lies in every snapshot after a value `poison`.

use components::lies::{Liar, Lie, Part};

struct LieSnapshotEndless;

impl Lie for LieSnapshotEndless {
    const NAME: &'static str = "lie-snapshot-endless";

    fn part(part: &mut Part) {
        part.chunks.clear();
        part.done = false;
    }
}

type Guest = Liar<LieSnapshotEndless>;
components::export_lying!(Guest);
