//! Returns a batch with fewer ends than times. Counts rows by key, and lies in the call that holds a value `poison`.

use components::lies::{Liar, Lie, Outcome, batch, one_output};

struct LieShortEnds;

impl Lie for LieShortEnds {
    const NAME: &'static str = "lie-short-ends";

    fn outcome(outcome: &mut Outcome) {
        outcome.outputs = one_output(0, batch(&[0, 0], &[1], b"a", &[1, 2], b"bc"));
    }
}

type Guest = Liar<LieShortEnds>;
components::export_lying!(Guest);
