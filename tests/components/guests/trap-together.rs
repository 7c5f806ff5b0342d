//! Traps when poison comes in a call of more than two rows: no single row is to blame, and all of them pass in smaller calls.

use reprise_guest::{Description, Keyed, Operator, Output, Rows, export};

/// Rows that may come with poison among them.
const ROWS_MAX: usize = 2;

#[derive(Default)]
struct TrapTogether {
    counts: Keyed<u64>,
}

impl Operator for TrapTogether {
    fn describe() -> Description {
        components::counting("trap-together")
    }

    fn process(&mut self, _: u32, rows: Rows<'_>, out: &mut Output) -> Result<(), String> {
        if rows.len() > ROWS_MAX && rows.iter().any(|row| row.value == components::POISON) {
            std::process::abort();
        }
        rows.into_iter().for_each(|row| components::count(&mut self.counts, row, out));
        Ok(())
    }
}

export!(TrapTogether { counts });
