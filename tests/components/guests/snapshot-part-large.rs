//! Hands out a piece of a snapshot of 8 MiB, whatever was asked for. Counts rows by key, and lies in every snapshot after a value `poison`.

use components::lies::{Chunk, Liar, Lie, Part, chunk};

struct SnapshotPartLarge;

impl Lie for SnapshotPartLarge {
    const NAME: &'static str = "snapshot-part-large";

    fn part(part: &mut Part) {
        let half = 4 << 20;
        part.chunks = vec![Chunk {
            key_ends: vec![1, 2],
            keys: b"ab".to_vec(),
            item_ends: vec![0, 0],
            value_ends: vec![half, 2 * half],
            values: vec![0; 2 * half as usize],
            ..chunk()
        }];
    }
}

type Guest = Liar<SnapshotPartLarge>;
components::export_lying!(Guest);
