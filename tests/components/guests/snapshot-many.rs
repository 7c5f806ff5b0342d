//! Hands out ten thousand chunks without a cell. Counts rows by key, and lies in every snapshot after a value `poison`.

use components::lies::{Chunk, Liar, Lie, Part, chunk};

struct SnapshotMany;

impl Lie for SnapshotMany {
    const NAME: &'static str = "snapshot-many";

    fn part(part: &mut Part) {
        let empty = || Chunk {
            key_ends: Vec::new(),
            keys: Vec::new(),
            item_ends: Vec::new(),
            value_ends: Vec::new(),
            values: Vec::new(),
            ..chunk()
        };
        part.chunks = (0..10_000).map(|_| empty()).collect();
    }
}

type Guest = Liar<SnapshotMany>;
components::export_lying!(Guest);
