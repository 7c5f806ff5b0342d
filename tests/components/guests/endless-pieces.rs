//! Hands out its output a row at a time, as fast as it can, for ever. Counts rows by key, and lies from the call on that holds a value `poison`.

use components::lies::{Emitted, Liar, Lie, Outcome, batch, one_output};

struct EndlessPieces;

impl Lie for EndlessPieces {
    const NAME: &'static str = "endless-pieces";

    fn outcome(outcome: &mut Outcome) {
        outcome.more = true;
    }

    fn emitted(emitted: &mut Emitted) {
        emitted.outputs = one_output(0, batch(&[0], &[1], b"k", &[1], b"v"));
        emitted.more = true;
    }
}

type Guest = Liar<EndlessPieces>;
components::export_lying!(Guest);
