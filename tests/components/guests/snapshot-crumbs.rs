//! Hands out a snapshot as thousands of chunks a part, with one cell and no byte in each, for ever. Counts rows by key, and lies in every
//! snapshot after a value `poison`.

use components::lies::{Liar, Lie, Part, crumb};

struct SnapshotCrumbs;

impl Lie for SnapshotCrumbs {
    const NAME: &'static str = "snapshot-crumbs";

    fn part(part: &mut Part) {
        part.chunks = (0..4000).map(|_| crumb()).collect();
        part.done = false;
    }
}

type Guest = Liar<SnapshotCrumbs>;
components::export_lying!(Guest);
