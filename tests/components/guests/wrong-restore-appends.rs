//! Wrong: restored counts are added to what is there, instead of taking its place.

use components::wrong::{Chunk, Wrong, with};

struct RestoreAppends;

impl Wrong for RestoreAppends {
    const NAME: &'static str = "wrong-restore-appends";

    fn restored(chunk: &mut Chunk) {
        let mut start = 0;
        for (&end, value) in chunk.key_ends.iter().zip(chunk.values.chunks_exact_mut(8)) {
            let there = with(|runner| runner.operator().count(&chunk.keys[start..end as usize]));
            let sum = there + u64::from_le_bytes(value.try_into().expect("chunks of 8 bytes"));
            value.copy_from_slice(&sum.to_le_bytes());
            start = end as usize;
        }
    }
}

components::export_wrong!(RestoreAppends);
