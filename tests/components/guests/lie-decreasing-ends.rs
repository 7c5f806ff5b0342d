//! Returns a batch whose ends decrease. Counts rows by key, and lies in the call that holds a value `poison`.

use components::lies::{Liar, Lie, Outcome, batch, one_output};

struct LieDecreasingEnds;

impl Lie for LieDecreasingEnds {
    const NAME: &'static str = "lie-decreasing-ends";

    fn outcome(outcome: &mut Outcome) {
        outcome.outputs = one_output(0, batch(&[0, 0, 0], &[2, 1, 3], b"abc", &[0, 0, 0], b""));
    }
}

type Guest = Liar<LieDecreasingEnds>;
components::export_lying!(Guest);
