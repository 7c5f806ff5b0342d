//! Logs every row, and passes it on. Keeps no state. Never returns from a row `spin`, and traps at a row `trap`.

use reprise_guest::runtime::{Level, log};
use reprise_guest::{Description, Encoding::Utf8, Operator, Output, Record, export};

#[derive(Default)]
struct Chatter;

impl Operator for Chatter {
    fn describe() -> Description {
        Description::new("chatter").input("lines").output("rows", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        match row.value {
            b"spin" => loop {
                std::hint::black_box(());
            },
            b"trap" => std::process::abort(),
            _ => {}
        }
        log(Level::Info, &String::from_utf8_lossy(row.value));
        out.emit(row.time, row.key, row.value);
        Ok(())
    }
}

export!(Chatter);
