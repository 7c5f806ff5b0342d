//! Wrong: counts its calls in a field that is not declared, and emits the number with each row.

use reprise_guest::{Description, Encoding::Utf8, Int, Operator, Output, Rows, export};

#[derive(Default)]
struct CallCounter {
    calls: u64,
}

impl Operator for CallCounter {
    fn describe() -> Description {
        Description::new("wrong-call-counter").input("rows").output("calls", Utf8, Utf8)
    }

    fn process(&mut self, _: u32, rows: Rows<'_>, out: &mut Output) -> Result<(), String> {
        self.calls += 1;
        rows.into_iter().for_each(|row| out.emit(row.time, row.key, Int(self.calls)));
        Ok(())
    }
}

export!(CallCounter);
