//! Hands out its output a row at a time, for ever, and works on each for a while: every piece is quick, and the call never ends.

use components::lies::{Emitted, Liar, Lie, Outcome, batch, one_output};

struct SlowDrip;

impl Lie for SlowDrip {
    const NAME: &'static str = "slow-drip";

    fn outcome(outcome: &mut Outcome) {
        outcome.more = true;
    }

    fn emitted(emitted: &mut Emitted) {
        (0..300_000u64).for_each(|round| {
            std::hint::black_box(round);
        });
        emitted.outputs = one_output(0, batch(&[0], &[1], b"k", &[1], b"v"));
        emitted.more = true;
    }
}

type Guest = Liar<SlowDrip>;
components::export_lying!(Guest);
