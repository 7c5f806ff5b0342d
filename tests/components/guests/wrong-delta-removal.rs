//! Wrong: removals are never among the changes.

use components::wrong::{Part, Scope, Wrong, retain};

struct DeltaRemoval;

impl Wrong for DeltaRemoval {
    const NAME: &'static str = "wrong-delta-removal";

    fn part(_: Scope, part: &mut Part) {
        retain(part, |_, is_removed| !is_removed);
    }
}

components::export_wrong!(DeltaRemoval);
