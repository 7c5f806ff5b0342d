//! Says for ever that there is more output. Counts rows by key, and lies from the call on that holds a value `poison`.

use components::lies::{Emitted, Liar, Lie, Outcome};

struct LieMore;

impl Lie for LieMore {
    const NAME: &'static str = "lie-more";

    fn outcome(outcome: &mut Outcome) {
        outcome.more = true;
    }

    fn emitted(emitted: &mut Emitted) {
        emitted.more = true;
    }
}

type Guest = Liar<LieMore>;
components::export_lying!(Guest);
