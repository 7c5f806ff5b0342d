//! Hands out pieces of 256 KiB for ever. Counts rows by key, and lies from the call on that holds a value `poison`.

use components::lies::{Emitted, Liar, Lie, Outcome, batch, one_output};

struct OutputBomb;

impl Lie for OutputBomb {
    const NAME: &'static str = "output-bomb";

    fn outcome(outcome: &mut Outcome) {
        outcome.more = true;
    }

    fn emitted(emitted: &mut Emitted) {
        emitted.outputs = one_output(0, batch(&[0], &[1], b"k", &[256 << 10], &vec![b'v'; 256 << 10]));
        emitted.more = true;
    }
}

type Guest = Liar<OutputBomb>;
components::export_lying!(Guest);
