//! Returns a batch whose last end lies beyond its bytes. Counts rows by key, and lies in the call that holds a value `poison`.

use components::lies::{Liar, Lie, Outcome, batch, one_output};

struct LieLastEnd;

impl Lie for LieLastEnd {
    const NAME: &'static str = "lie-last-end";

    fn outcome(outcome: &mut Outcome) {
        outcome.outputs = one_output(0, batch(&[0], &[1], b"a", &[1000], b"b"));
    }
}

type Guest = Liar<LieLastEnd>;
components::export_lying!(Guest);
