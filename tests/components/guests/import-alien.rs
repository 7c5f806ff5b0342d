//! Passes rows through, and imports an interface that no host has.

use reprise_guest::{Description, Encoding::Bytes, Operator, Output, Record, export};

mod alien {
    wit_bindgen::generate!({
        inline: "
            package evil:host@0.1.0;

            interface api {
                take-over: func() -> u32;
            }

            world guest {
                import api;
            }
        ",
    });
}

#[derive(Default)]
struct ImportAlien;

impl Operator for ImportAlien {
    fn describe() -> Description {
        Description::new("import-alien").input("rows").output("rows", Bytes, Bytes)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        if row.value == components::POISON {
            alien::evil::host::api::take_over();
        }
        out.emit(row.time, row.key, row.value);
        Ok(())
    }
}

export!(ImportAlien);
