//! Everything that an operator with keyed state may do, done right: two inputs, two outputs, two slots, windows that close at watermarks,
//! cells that are removed, rows that are refused.
//!
//! Rows of `rows` are counted by key and minute; rows of `marks` set the key's mark. A minute is emitted with the mark when it is over; a
//! row that comes late opens its minute again. An empty mark removes the one before, which goes to the second output. Marks over 1 KiB are
//! refused.

use reprise_guest::{Description, Encoding::Utf8, Keyed, KeyedItems, Operator, Output, Record, export};

const MINUTE_MS: i64 = 60_000;
const MARK_BYTES_MAX: usize = 1 << 10;
const REMOVED: u32 = 1;

#[derive(Default)]
struct KeyedWindows {
    counts: KeyedItems<u64>,
    marks: Keyed<Vec<u8>>,
}

impl Operator for KeyedWindows {
    fn describe() -> Description {
        Description::new("keyed-windows").input("rows").input("marks").output("minutes", Utf8, Utf8).output("removed", Utf8, Utf8)
    }

    fn record(&mut self, row: Record<'_>, out: &mut Output) -> Result<(), String> {
        if row.input == 0 {
            let start = row.time.div_euclid(MINUTE_MS) * MINUTE_MS;
            *self.counts.entry(row.key, &start.to_be_bytes()) += 1;
            return Ok(());
        }
        match row.value.len() {
            0 => {
                if let Some(mark) = self.marks.remove(row.key) {
                    out.emit_to(REMOVED, row.time, row.key, mark);
                }
            }
            1..=MARK_BYTES_MAX => self.marks.set(row.key, row.value.to_vec()),
            _ => out.reject(row.row, "the mark is too long"),
        }
        Ok(())
    }

    fn advance(&mut self, watermark: i64, out: &mut Output) -> Result<(), String> {
        let marks = &self.marks;
        self.counts.retain(|key, item, count| {
            let start = i64::from_be_bytes(item.try_into().expect("`record` writes eight bytes"));
            let is_over = start + (MINUTE_MS - 1) <= watermark;
            if is_over {
                let mark = marks.get(key).map_or(0, Vec::len);
                out.row(start, key).int(*count).text(" rows, a mark of ").int(mark).text(" bytes");
            }
            !is_over
        });
        Ok(())
    }
}

export!(KeyedWindows { counts, marks });
