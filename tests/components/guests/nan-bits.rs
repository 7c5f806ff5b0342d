//! Emits the bits of what arithmetic makes that is no number, in hexadecimal: what these bits are is up to the machine, unless its host
//! sees to them. The value of a row is what it divides by itself; the key is passed on with the name of the operation.

use reprise_guest::{Description, Encoding::Utf8, Operator, Output, Record, Text, export};
use std::hint::black_box;

/// No number, with bits of its own: an operation may pass them on.
const SIGNALLING: u64 = 0xfff0_0000_dead_beef;
/// The same of 32 bits.
const SIGNALLING_SHORT: u32 = 0xffa0_beef;

#[derive(Default)]
struct NanBits;

impl Operator for NanBits {
    fn describe() -> Description {
        Description::new("nan-bits").input("rows").output("bits", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        let text = std::str::from_utf8(row.value).map_err(|error| error.to_string())?;
        let zero: f64 = black_box(text.parse().map_err(|_| format!("{text} is no number"))?);
        let (no_number, short) = (f64::from_bits(black_box(SIGNALLING)), f32::from_bits(black_box(SIGNALLING_SHORT)));
        let doubles = [
            ("0/0", zero / zero),
            ("-0/0", -zero / zero),
            ("sqrt(-1)", (zero - 1.0).sqrt()),
            ("inf-inf", 1.0 / zero - 1.0 / zero),
            ("nan+1", no_number + 1.0),
            ("1*nan", black_box(1.0) * no_number),
            ("f32 as f64", f64::from(short)),
        ];
        for (name, made) in doubles {
            out.emit(row.time, name, Text(format_args!("{:016x}", made.to_bits())));
        }
        let singles = [("0/0", zero as f32 / zero as f32), ("nan+1", short + 1.0), ("f64 as f32", no_number as f32)];
        for (name, made) in singles {
            out.emit(row.time, name, Text(format_args!("{:08x}", made.to_bits())));
        }
        Ok(())
    }
}

export!(NanBits);
