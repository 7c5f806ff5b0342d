//! Says what a row tells it to, in every way that a guest has: as a line of its log, as the reason of a rejection, as the error that a call
//! returns, as the name of a counter. Rows `key,value,time`: the key says how, the value what, in hexadecimal digits, so that it may be
//! anything. Passes all rows on.

use reprise_guest::{Description, Encoding::Utf8, Operator, Output, Record, export, runtime};

#[derive(Default)]
struct Loud;

fn text(hex: &[u8]) -> String {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or(0) as u8;
    let bytes: Vec<u8> = hex.chunks(2).map(|pair| pair.iter().fold(0, |value, byte| value << 4 | digit(byte))).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Operator for Loud {
    fn describe() -> Description {
        Description::new("loud").input("rows").output("rows", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        let said = text(row.value);
        match row.key {
            b"log" => runtime::log(runtime::Level::Warn, &said),
            b"reject" => {
                out.reject(row.row, said);
                return Ok(());
            }
            b"fail" => return Err(said),
            b"count" => runtime::count(&said, 1),
            _ => {}
        }
        out.emit(row.time, row.key, row.value);
        Ok(())
    }
}

export!(Loud);
