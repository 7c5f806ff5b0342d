//! Returns rows for an output that does not exist. Counts rows by key, and lies in the call that holds a value `poison`.

use components::lies::{Liar, Lie, Outcome, batch, one_output};

struct LiePort;

impl Lie for LiePort {
    const NAME: &'static str = "lie-port";

    fn outcome(outcome: &mut Outcome) {
        outcome.outputs = one_output(7, batch(&[0], &[1], b"a", &[1], b"b"));
    }
}

type Guest = Liar<LiePort>;
components::export_lying!(Guest);
