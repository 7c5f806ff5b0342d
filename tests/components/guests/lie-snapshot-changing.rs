//! Lies in every snapshot after a value `poison`, each time in another way.

use components::lies::{Chunk, Liar, Lie, Part, chunk};

struct LieSnapshotChanging;

impl Lie for LieSnapshotChanging {
    const NAME: &'static str = "lie-snapshot-changing";

    fn part(part: &mut Part) {
        let two = || Chunk {
            key_ends: vec![1, 2],
            keys: b"ab".to_vec(),
            item_ends: vec![0, 0],
            value_ends: vec![0, 0],
            values: Vec::new(),
            ..chunk()
        };
        part.chunks = match reprise_guest::runtime::random() % 3 {
            0 => vec![Chunk { removed: vec![1, 0], ..two() }],
            1 => vec![Chunk { removed: vec![0, 0], ..two() }],
            _ => vec![Chunk { removed: vec![0], ..chunk() }],
        };
    }
}

type Guest = Liar<LieSnapshotChanging>;
components::export_lying!(Guest);
