//! Refuses a row for a reason that is no text. Counts rows by key, and lies in the call that holds a value `poison`.

use components::lies::{Liar, Lie, Outcome, Rejection};

struct LieReasonUtf8;

impl Lie for LieReasonUtf8 {
    const NAME: &'static str = "lie-reason-utf8";

    fn outcome(outcome: &mut Outcome) {
        // SAFETY: there is none. The bytes are no UTF-8, for the host to find; nothing here reads them.
        let reason = unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe, 0xc0, 0x80]) };
        outcome.rejected = vec![Rejection { row: 0, reason }];
    }
}

type Guest = Liar<LieReasonUtf8>;
components::export_lying!(Guest);
