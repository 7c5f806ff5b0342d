//! Wrong: full snapshots leave out the cell of one key.

use components::wrong::{Part, Scope, Wrong, retain};

struct Full;

impl Wrong for Full {
    const NAME: &'static str = "wrong-full";

    fn part(scope: Scope, part: &mut Part) {
        if scope == Scope::Full {
            retain(part, |key, _| key != b"key-1");
        }
    }
}

components::export_wrong!(Full);
