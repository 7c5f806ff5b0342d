//! Returns ten thousand batches without a row. Counts rows by key, and lies in the call that holds a value `poison`.

use components::lies::{Liar, Lie, Outcome, batch, one_output};

struct OutputMany;

impl Lie for OutputMany {
    const NAME: &'static str = "output-many";

    fn outcome(outcome: &mut Outcome) {
        outcome.outputs = (0..10_000).flat_map(|_| one_output(0, batch(&[], &[], b"", &[], b""))).collect();
    }
}

type Guest = Liar<OutputMany>;
components::export_lying!(Guest);
