//! Hands out a snapshot with a slot that does not exist. Counts rows by key, and lies in every snapshot after a value `poison`.

use components::lies::{Chunk, Liar, Lie, Part, chunk};

struct LieChunkSlot;

impl Lie for LieChunkSlot {
    const NAME: &'static str = "lie-chunk-slot";

    fn part(part: &mut Part) {
        part.chunks = vec![Chunk { slot: 9, ..chunk() }];
    }
}

type Guest = Liar<LieChunkSlot>;
components::export_lying!(Guest);
