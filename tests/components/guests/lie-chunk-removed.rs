//! Hands out a snapshot that removes a cell it does not have. Counts rows by key, and lies in every snapshot after a value `poison`.

use components::lies::{Chunk, Liar, Lie, Part, chunk};

struct LieChunkRemoved;

impl Lie for LieChunkRemoved {
    const NAME: &'static str = "lie-chunk-removed";

    fn part(part: &mut Part) {
        part.chunks = vec![Chunk { removed: vec![5], ..chunk() }];
    }
}

type Guest = Liar<LieChunkRemoved>;
components::export_lying!(Guest);
