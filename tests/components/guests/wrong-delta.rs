//! Wrong: changes of one key are never among the changes.

use components::wrong::{Part, Scope, Wrong, retain};

struct Delta;

impl Wrong for Delta {
    const NAME: &'static str = "wrong-delta";

    fn part(scope: Scope, part: &mut Part) {
        if scope == Scope::Changes {
            retain(part, |key, is_removed| is_removed || key != b"key-1");
        }
    }
}

components::export_wrong!(Delta);
