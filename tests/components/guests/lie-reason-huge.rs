//! Refuses a row for a reason of a gigabyte. Counts rows by key, and lies in the call that holds a value `poison`.

use components::lies::{Liar, Lie, Outcome, Rejection};

struct LieReasonHuge;

impl Lie for LieReasonHuge {
    const NAME: &'static str = "lie-reason-huge";

    fn outcome(outcome: &mut Outcome) {
        // SAFETY: there is none. The length is a lie for the host to find; nothing here reads it, and it is freed by nobody.
        let reason = unsafe { String::from_raw_parts(std::ptr::dangling_mut(), 1 << 30, 1 << 30) };
        outcome.rejected = vec![Rejection { row: 0, reason }];
    }
}

type Guest = Liar<LieReasonHuge>;
components::export_lying!(Guest);
