//! Wrong: where a snapshot has more than one part, the last of several cells in each part but the last one is lost.

use components::wrong::{Part, Scope, Wrong, retain};

struct LostPart;

impl Wrong for LostPart {
    const NAME: &'static str = "wrong-lost-part";

    fn part(_: Scope, part: &mut Part) {
        let last = part.chunks.iter().flat_map(|chunk| &chunk.key_ends).count();
        if !part.done && last > 1 {
            let seen = std::cell::Cell::new(0);
            retain(part, |_, _| seen.replace(seen.get() + 1) + 1 < last);
        }
    }
}

components::export_wrong!(LostPart);
