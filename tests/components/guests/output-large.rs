//! Returns 4 MiB at once, whatever it was told. Counts rows by key, and lies in the call that holds a value `poison`.

use components::lies::{Liar, Lie, Outcome, batch, one_output};

struct OutputLarge;

impl Lie for OutputLarge {
    const NAME: &'static str = "output-large";

    fn outcome(outcome: &mut Outcome) {
        outcome.outputs = one_output(0, batch(&[0], &[1], b"k", &[4 << 20], &vec![b'v'; 4 << 20]));
    }
}

type Guest = Liar<OutputLarge>;
components::export_lying!(Guest);
