//! Calls itself without end in every snapshot after a value `poison`.

use components::lies::{Liar, Lie, Part};

struct SnapshotRecursion;

/// Real recursion: the rotation keeps the compiler from making a loop of it.
#[inline(never)]
fn deeper(depth: u64) -> u64 {
    if std::hint::black_box(depth) == u64::MAX { 0 } else { deeper(depth + 1).rotate_left(1) ^ depth }
}

impl Lie for SnapshotRecursion {
    const NAME: &'static str = "snapshot-recursion";

    fn part(part: &mut Part) {
        part.done = deeper(0) == 1;
    }
}

type Guest = Liar<SnapshotRecursion>;
components::export_lying!(Guest);
