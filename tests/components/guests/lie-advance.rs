//! Emits rows for an output that does not exist at every watermark after a value `poison`.

use components::lies::{Emitted, Liar, Lie, batch, one_output};

struct LieAdvance;

impl Lie for LieAdvance {
    const NAME: &'static str = "lie-advance";

    fn advanced(emitted: &mut Emitted) {
        emitted.outputs = one_output(7, batch(&[0], &[1], b"k", &[1], b"v"));
    }
}

type Guest = Liar<LieAdvance>;
components::export_lying!(Guest);
