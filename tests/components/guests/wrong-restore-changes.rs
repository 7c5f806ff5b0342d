//! Wrong: after a restore the first snapshot of changes holds a cell that nobody changed.

use components::wrong::{Chunk, Part, Scope, Wrong, empty, push, with};
use std::cell::Cell;

thread_local! {
    static RESTORED: Cell<bool> = const { Cell::new(false) };
}

struct RestoreChanges;

impl Wrong for RestoreChanges {
    const NAME: &'static str = "wrong-restore-changes";

    fn part(scope: Scope, part: &mut Part) {
        if RESTORED.take() && scope == Scope::Changes && part.done {
            let mut chunk = empty();
            push(&mut chunk, b"key-1", &with(|runner| runner.operator().count(b"key-1")).to_le_bytes());
            part.chunks.push(chunk);
        }
    }

    fn restored(_: &mut Chunk) {
        RESTORED.set(true);
    }
}

components::export_wrong!(RestoreChanges);
