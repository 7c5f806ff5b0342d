//! Returns a list that claims 5 GB. Counts rows by key, and lies in the call that holds a value `poison`.

use components::lies::{Liar, Lie, Outcome, batch, one_output};

struct LieHuge;

impl Lie for LieHuge {
    const NAME: &'static str = "lie-huge";

    fn outcome(outcome: &mut Outcome) {
        let mut rows = batch(&[], &[], b"", &[], b"");
        // SAFETY: there is none. The length is a lie for the host to find; the list is forgotten here, and the host frees nothing it refuses.
        rows.times = unsafe { Vec::from_raw_parts(std::ptr::dangling_mut(), 625_000_000, 625_000_000) };
        outcome.outputs = one_output(0, rows);
    }
}

type Guest = Liar<LieHuge>;
components::export_lying!(Guest);
