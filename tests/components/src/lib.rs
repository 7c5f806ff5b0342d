//! What the guests share: an operator that counts rows by key, an evil that waits for the value `poison`, and lies about what a call did.

pub mod count_sum;
pub mod lies;
pub mod parse;
pub mod wrong;

use reprise_guest::{Context, Description, Encoding::Utf8, Int, Keyed, Output, Record};

/// The value that wakes the evil.
pub const POISON: &[u8] = b"poison";

/// The description of an operator that counts.
#[must_use]
pub fn counting(name: &str) -> Description {
    Description::new(name).input("rows").output("counts", Utf8, Utf8)
}

/// Counts a row under its key, and emits the running count.
pub fn count(counts: &mut Keyed<u64>, row: Record<'_>, out: &mut Output) {
    count_on(counts.entry(row.key), row, out);
}

/// Counts a row, and emits the count.
pub fn count_on(count: &mut u64, row: Record<'_>, out: &mut Output) {
    *count += 1;
    out.emit(row.time, row.key, Int(*count));
}

/// Traps at a row with poison.
pub fn fall_over_poison(row: Record<'_>) {
    if row.value == POISON {
        std::process::abort();
    }
}

/// What falls over poison, unless the config of its operator says `mended`.
#[derive(Default)]
pub struct Sickness {
    is_mended: bool,
}

impl Sickness {
    /// Looks at the config.
    pub fn open(&mut self, context: &Context) -> Result<(), String> {
        self.is_mended = context.config.contains("mended");
        Ok(())
    }

    /// Traps at a row with poison, unless it is mended.
    pub fn meet(&self, row: Record<'_>) {
        if !self.is_mended {
            fall_over_poison(row);
        }
    }
}

/// Keeps busy for so many steps. A million take some hundred microseconds or more.
pub fn keep_busy(steps: u32) {
    (0..steps).for_each(|step| _ = std::hint::black_box(step));
}

/// A component that counts rows by key, and calls `$poison` for each row with the value `poison` before it counts it.
#[macro_export]
macro_rules! evil {
    ($name:literal, $poison:expr) => {
        #[derive(Default)]
        struct Guest {
            counts: reprise_guest::Keyed<u64>,
        }

        impl reprise_guest::Operator for Guest {
            fn describe() -> reprise_guest::Description {
                $crate::counting($name)
            }

            fn record(&mut self, row: reprise_guest::Record<'_>, out: &mut reprise_guest::Output) -> Result<(), String> {
                if row.value == $crate::POISON {
                    let poison: fn() -> Result<(), String> = $poison;
                    poison()?;
                }
                $crate::count(&mut self.counts, row, out);
                Ok(())
            }
        }

        reprise_guest::export!(Guest { counts });
    };
}
