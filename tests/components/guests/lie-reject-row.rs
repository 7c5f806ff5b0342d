//! Refuses a row that was never handed over. Counts rows by key, and lies in the call that holds a value `poison`.

use components::lies::{Liar, Lie, Outcome, Rejection};

struct LieRejectRow;

impl Lie for LieRejectRow {
    const NAME: &'static str = "lie-reject-row";

    fn outcome(outcome: &mut Outcome) {
        outcome.rejected = vec![Rejection { row: 4_000_000_000, reason: "no such row".to_owned() }];
    }
}

type Guest = Liar<LieRejectRow>;
components::export_lying!(Guest);
