//! Refuses one row twice. Counts rows by key, and lies in the call that holds a value `poison`.

use components::lies::{Liar, Lie, Outcome, Rejection};

struct LieRejectTwice;

impl Lie for LieRejectTwice {
    const NAME: &'static str = "lie-reject-twice";

    fn outcome(outcome: &mut Outcome) {
        outcome.rejected = vec![Rejection { row: 0, reason: "once".to_owned() }, Rejection { row: 0, reason: "twice".to_owned() }];
    }
}

type Guest = Liar<LieRejectTwice>;
components::export_lying!(Guest);
