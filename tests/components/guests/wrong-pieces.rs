//! Wrong: every second piece of output is lost, the last one too.

use components::wrong::{Emitted, Wrong};
use std::cell::Cell;

thread_local! {
    static IS_SECOND: Cell<bool> = const { Cell::new(true) };
}

struct Pieces;

impl Wrong for Pieces {
    const NAME: &'static str = "wrong-pieces";

    fn emitted(emitted: &mut Emitted) {
        if IS_SECOND.replace(!IS_SECOND.get()) {
            emitted.outputs.clear();
        }
    }
}

components::export_wrong!(Pieces);
