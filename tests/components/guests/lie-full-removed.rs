//! Removes cells in every snapshot, a full one too. Counts rows by key, and lies in every snapshot after a value `poison`.

use components::lies::{Chunk, Liar, Lie, Part, chunk};

struct LieFullRemoved;

impl Lie for LieFullRemoved {
    const NAME: &'static str = "lie-full-removed";

    fn part(part: &mut Part) {
        part.chunks = vec![Chunk { value_ends: vec![0], values: Vec::new(), removed: vec![0], ..chunk() }];
    }
}

type Guest = Liar<LieFullRemoved>;
components::export_lying!(Guest);
