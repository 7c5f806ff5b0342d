//! Hands out one more cell of 32 KiB for ever. Counts rows by key, and lies in every snapshot after a value `poison`.

use components::lies::{Chunk, Liar, Lie, Part, chunk};

struct SnapshotGrows;

impl Lie for SnapshotGrows {
    const NAME: &'static str = "snapshot-grows";

    fn part(part: &mut Part) {
        part.chunks = vec![Chunk { value_ends: vec![32 << 10], values: vec![0; 32 << 10], ..chunk() }];
        part.done = false;
    }
}

type Guest = Liar<SnapshotGrows>;
components::export_lying!(Guest);
