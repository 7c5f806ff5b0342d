//! Hands out a snapshot whose ends lie beyond its bytes. Counts rows by key, and lies in every snapshot after a value `poison`.

use components::lies::{Chunk, Liar, Lie, Part, chunk};

struct LieChunkEnds;

impl Lie for LieChunkEnds {
    const NAME: &'static str = "lie-chunk-ends";

    fn part(part: &mut Part) {
        part.chunks = vec![Chunk { value_ends: vec![1000], ..chunk() }];
    }
}

type Guest = Liar<LieChunkEnds>;
components::export_lying!(Guest);
